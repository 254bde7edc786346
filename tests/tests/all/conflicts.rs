//! Both sides edit: different fields survive, the same field is one conflict, and every decision
//! ends it.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Setup, World, both_edit, eventually, own, own_with, shared};

#[test]
fn edits_of_different_fields_both_survive() {
    shared(async |world| {
        let file = world.take();
        both_edit(
            world,
            &file,
            json!({"name": "ours.txt"}),
            json!({"description": "theirs"}),
        )
        .await;
        eventually("both sides have both", async || {
            let (at, ours) = (world.owner().get(&file).await, world.file(&file).await);
            (at["name"] == "ours.txt"
                && at["description"] == "theirs"
                && ours["fields"]["name"] == "ours.txt"
                && ours["fields"]["description"] == "theirs"
                && ours["intent"].is_null())
            .then_some(())
        })
        .await;
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}

#[test]
fn edits_of_different_properties_both_survive() {
    shared(async |world| {
        let file = world.take();
        both_edit(
            world,
            &file,
            json!({"properties": {"a": "1"}}),
            json!({"properties": {"b": "2"}}),
        )
        .await;
        eventually("both sides have both", async || {
            let (at, ours) = (world.owner().get(&file).await, world.file(&file).await);
            let both = json!({"a": "1", "b": "2"});
            (at["properties"] == both
                && ours["fields"]["properties"] == both
                && ours["intent"].is_null())
            .then_some(())
        })
        .await;
    });
}

#[test]
fn edits_of_the_same_field_are_one_open_conflict_with_three_values() {
    shared(async |world| {
        let file = world.take();
        let before = world.owner().name_of(&file).await;
        both_edit(
            world,
            &file,
            json!({"name": "ours.txt"}),
            json!({"name": "theirs.txt"}),
        )
        .await;
        let conflict = world.conflict_on(&file, "name").await;
        assert_eq!(conflict["base"], before.as_str());
        assert_eq!(conflict["app"], "ours.txt");
        assert_eq!(conflict["drive"], "theirs.txt");
        let at = world.file(&file).await;
        assert_eq!(at["conflicts"], json!([conflict["id"]]));
        assert_eq!(
            (&at["fields"]["name"], &at["drive"]["name"]),
            (&json!("ours.txt"), &json!("theirs.txt"))
        );
        assert_eq!(at["intent"], json!(null), "a held field is not owed");
        assert_eq!(
            world.owner().name_of(&file).await,
            "theirs.txt",
            "nothing was overwritten"
        );

        // The conflict follows Drive and stays a single one.
        world.owner().rename(&file, "theirs again.txt").await;
        eventually("it follows", async || {
            (world.conflict_on(&file, "name").await["drive"] == "theirs again.txt").then_some(())
        })
        .await;
        assert_eq!(world.conflicts_of(&file).await.len(), 1);

        // An edit with a held field is rejected as a whole; other fields can be edited.
        let refused = world
            .edit(&file, json!({"name": "x.txt", "description": "y"}))
            .await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert_eq!(refused.body["conflicts"], json!([conflict["id"]]));
        assert_eq!(world.file(&file).await["fields"]["description"], "");
        world.edit_ok(&file, json!({"description": "free"})).await;
        eventually("the other field is pushed", async || {
            (world.owner().get(&file).await["description"] == "free").then_some(())
        })
        .await;

        // When Drive has our value, the conflict is closed.
        world.owner().rename(&file, "ours.txt").await;
        world
            .file_until("it closes by itself", &file, |f| {
                f["conflicts"] == json!([])
            })
            .await;
        let all = world.conflicts_of(&file).await;
        assert_eq!((all.len(), &all[0]["status"]), (1, &json!("closed")));
    });
}

async fn resolve_and_check(world: &World, choice: Value, wanted: &str) {
    let file = world.take();
    let base = world.owner().name_of(&file).await;
    let wanted = if wanted.is_empty() {
        base
    } else {
        wanted.to_owned()
    };
    both_edit(
        world,
        &file,
        json!({"name": "ours.txt"}),
        json!({"name": "theirs.txt"}),
    )
    .await;
    let conflict = world.conflict_on(&file, "name").await;
    let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
    let answer = world
        .api(Method::POST, &path, &[], Some(choice.clone()))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["status"], "resolved");
    assert_eq!(answer.body["resolution"]["value"], wanted.as_str());
    assert_eq!(answer.body["resolution"]["by"], "you");
    eventually(&format!("{choice}: both sides are equal"), async || {
        let ours = world.file(&file).await;
        let theirs = world.owner().name_of(&file).await;
        (ours["fields"]["name"] == wanted.as_str() && theirs == wanted && ours["intent"].is_null())
            .then_some(())
    })
    .await;
    // The second decision gets the result of the first.
    let again = world
        .api(Method::POST, &path, &[], Some(json!({"choose": "base"})))
        .await;
    assert_eq!(again.status, 409, "{}", again.body);
    assert_eq!(
        again.body["current"]["resolution"]["value"],
        wanted.as_str()
    );
    assert_eq!(
        world.conflicts_of(&file).await.len(),
        1,
        "no decision opened another"
    );
}

#[test]
fn each_choice_makes_both_sides_equal_and_a_second_decision_is_rejected() {
    shared(async |world| {
        tokio::join!(
            resolve_and_check(world, json!({"choose": "app"}), "ours.txt"),
            resolve_and_check(world, json!({"choose": "drive"}), "theirs.txt"),
            resolve_and_check(world, json!({"choose": "base"}), ""),
            resolve_and_check(world, json!({"value": "both.txt"}), "both.txt"),
        );
    });
}

#[test]
fn a_decision_on_outdated_sides_is_rejected_with_the_current_ones() {
    shared(async |world| {
        let file = world.take();
        both_edit(
            world,
            &file,
            json!({"name": "ours.txt"}),
            json!({"name": "theirs.txt"}),
        )
        .await;
        let conflict = world.conflict_on(&file, "name").await;
        let path = format!("/conflicts/{}", conflict["id"].as_str().unwrap());
        let seen = world.api(Method::GET, &path, &[], None).await.etag();
        world.owner().rename(&file, "moved on.txt").await;
        eventually("it follows", async || {
            (world.conflict_on(&file, "name").await["drive"] == "moved on.txt").then_some(())
        })
        .await;
        let path = format!("{path}/resolution");
        let choice = json!({"choose": "drive"});
        let headers = [("if-match", seen.as_str())];
        let answer = world
            .api(Method::POST, &path, &headers, Some(choice.clone()))
            .await;
        assert_eq!(answer.status, 409, "{}", answer.body);
        assert_eq!(answer.body["current"]["drive"], "moved on.txt");
        let now = answer.etag();
        let answer = world
            .api(
                Method::POST,
                &path,
                &[("if-match", now.as_str())],
                Some(choice),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        world
            .file_until("Drive's value", &file, |f| {
                f["fields"]["name"] == "moved on.txt"
            })
            .await;
    });
}

#[test]
fn two_people_who_decide_at_once_get_one_winner() {
    shared(async |world| {
        let file = world.take();
        both_edit(
            world,
            &file,
            json!({"name": "ours.txt"}),
            json!({"name": "theirs.txt"}),
        )
        .await;
        let conflict = world.conflict_on(&file, "name").await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let decide = |choice: &'static str, key: &'static str| {
            let path = path.clone();
            async move {
                let body = json!({ "choose": choice });
                world
                    .api(Method::POST, &path, &[("idempotency-key", key)], Some(body))
                    .await
            }
        };
        let (one, two) = tokio::join!(decide("app", "k1"), decide("drive", "k2"));
        let (winner, loser, choice, key) = if one.status == 200 {
            (one, two, "app", "k1")
        } else {
            (two, one, "drive", "k2")
        };
        assert_eq!(
            (winner.status, loser.status),
            (200, 409),
            "{} {}",
            winner.body,
            loser.body
        );
        assert_eq!(
            loser.body["current"]["resolution"],
            winner.body["resolution"]
        );
        let again = decide(choice, key).await;
        assert_eq!(
            (again.status, &again.body),
            (200, &winner.body),
            "a repeat with the same key is answered"
        );
    });
}

#[test]
fn many_decisions_in_one_request_are_each_on_their_own() {
    shared(async |world| {
        let (one, two) = (world.take(), world.take());
        let mut decisions = Vec::new();
        for file in [&one, &two] {
            both_edit(
                world,
                file,
                json!({"name": "ours.txt"}),
                json!({"name": "theirs.txt"}),
            )
            .await;
        }
        for file in [&one, &two] {
            let id = world.conflict_on(file, "name").await["id"].clone();
            decisions.push(json!({"id": id, "choose": "drive"}));
        }
        decisions.insert(1, json!({"id": "no-such-conflict", "choose": "drive"}));
        let answer = world
            .post(
                "/conflicts/resolutions",
                json!({ "resolutions": decisions }),
            )
            .await;
        let statuses: Vec<&Value> = answer["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| &r["status"])
            .collect();
        assert_eq!(statuses, [200, 404, 200]);
        for file in [&one, &two] {
            world
                .file_until("Drive's value", file, |f| {
                    f["fields"]["name"] == "theirs.txt"
                })
                .await;
        }
    });
}

#[test]
fn a_file_deleted_under_an_owed_edit_is_a_conflict_that_keeps_the_edit() {
    shared(async |world| {
        let owner = world.owner();
        let file = owner.create("contested.txt", false).await;
        world
            .file_until("the file", &file, |f| f["presence"] == "present")
            .await;
        let held = format!("GET /drive/v2/files/{file}");
        world.fault(json!({"match": held, "times": 1, "respond": {"status": 503}}));
        world
            .edit_ok(&file, json!({"name": "still wanted.txt"}))
            .await;
        owner.delete(&file).await;
        let conflict = world.conflict_on(&file, "existence").await;
        assert_eq!(conflict["owed"], json!({"name": "still wanted.txt"}));
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let answer = world
            .api(Method::POST, &path, &[], Some(json!({"choose": "app"})))
            .await;
        assert_eq!(answer.status, 422, "{}", answer.body);
        let answer = world
            .api(Method::POST, &path, &[], Some(json!({"choose": "drive"})))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let at = world.file(&file).await;
        assert_eq!(
            (&at["presence"], &at["conflicts"]),
            (&json!("removed"), &json!([]))
        );
        let kept = world.conflicts_of(&file).await;
        assert_eq!(
            kept[0]["owed"],
            json!({"name": "still wanted.txt"}),
            "what was lost is on record"
        );
    });
}

#[test]
fn policies_decide_and_leave_a_record() {
    own(async |world| {
        let policies = json!({"policies": {
            "default": "manual",
            "fields": {
                "name": "drive_wins",
                "description": "app_wins",
                "properties.stage": {"last_writer_wins": {"window_seconds": 0}},
            },
        }});
        let etag = world.api(Method::GET, "", &[], None).await;
        let headers = etag
            .headers
            .get("etag")
            .map(|tag| tag.to_str().unwrap().to_owned());
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|tag| ("if-match", tag.as_str()))
            .collect();
        let answer = world.api(Method::PATCH, "", &headers, Some(policies)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let file = world.take();
        let ours = json!({"name": "ours.txt", "description": "ours", "starred": true,
            "properties": {"stage": "ours", "x": "ours"}});
        let theirs = json!({"name": "theirs.txt", "description": "theirs",
            "properties": {"stage": "theirs", "x": "theirs"}});
        both_edit(world, &file, ours, theirs).await;
        world.conflict_on(&file, "properties.x").await;
        world.converge().await;
        let at = world.owner().get(&file).await;
        assert_eq!(at["name"], "theirs.txt");
        assert_eq!(at["description"], "ours");
        assert_eq!(at["starred"], true, "what only we moved is no conflict");
        assert_eq!(
            at["properties"]["stage"], "theirs",
            "Drive's edit was later"
        );
        let decided = world.conflicts_of(&file).await;
        for (field, value, lost) in [
            ("name", "theirs.txt", ("app", "ours.txt")),
            ("description", "ours", ("drive", "theirs")),
            ("properties.stage", "theirs", ("app", "ours")),
        ] {
            let record = decided
                .iter()
                .find(|conflict| conflict["field"] == field)
                .unwrap();
            assert_eq!(record["status"], "resolved", "{record}");
            assert_eq!(record["resolution"]["by"], "policy");
            assert_eq!(record["resolution"]["value"], value);
            assert_eq!(record[lost.0], lost.1, "what was lost is on record");
        }
    });
}

#[test]
fn an_undone_write_whose_response_was_lost_is_an_unsure_conflict() {
    own_with(
        Setup {
            notified: false,
            ..Setup::default()
        },
        async |world| {
            let file = world.take();
            let before = world.owner().name_of(&file).await;
            // The write is executed and its response lost; then Drive can't be read until the
            // person has undone it.
            world.fault(json!({"match": "PATCH /drive/v2/files/*", "applied": true, "drop": true}));
            world.fault(
                json!({"match": "GET /drive/v2/files/*", "after": 1, "times": 0,
                "respond": {"status": 503}}),
            );
            world
                .edit_ok(&file, json!({"name": "sent, but who knows.txt"}))
                .await;
            eventually("it landed", async || {
                (world.owner().name_of(&file).await == "sent, but who knows.txt").then_some(())
            })
            .await;
            world.owner().rename(&file, &before).await;
            world.simulator.clear_faults();
            let conflict = world.conflict_on(&file, "name").await;
            assert_eq!(conflict["unsure"], true, "{conflict}");
            assert_eq!(conflict["app"], "sent, but who knows.txt");
            assert_eq!(conflict["drive"], before.as_str());
            world.converge().await;
            assert_eq!(
                world.owner().name_of(&file).await,
                before,
                "the person's undo stands"
            );
            assert_eq!(world.calls("v2.files.patch"), 1);
        },
    );
}
