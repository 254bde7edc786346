//! Drive rejects, disconnects, forgets: nothing is lost, done twice or overwritten.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Setup, credentials, eventually, own, own_with, shared};

/// Returns each kind of temporary failure of Drive, as a fault.
fn passing() -> Vec<(&'static str, Value)> {
    let refused =
        |status: u16, reason: &str| json!({"respond": {"status": status, "reason": reason}});
    vec![
        (
            "403 for the user's rate",
            refused(403, "userRateLimitExceeded"),
        ),
        (
            "403 for the project's rate",
            refused(403, "rateLimitExceeded"),
        ),
        ("429", refused(429, "rateLimitExceeded")),
        ("500", refused(500, "backendError")),
        ("503", refused(503, "backendError")),
        ("no answer, not done", json!({"drop": true})),
        (
            "500, yet done",
            json!({"respond": {"status": 500}, "applied": true}),
        ),
        (
            "no answer, yet done",
            json!({"drop": true, "applied": true}),
        ),
    ]
}

fn fault(pattern: &str, times: u64, how: &Value) -> Value {
    let mut fault = how.clone();
    fault["match"] = json!(pattern);
    fault["times"] = json!(times);
    fault
}

#[test]
fn temporary_failures_of_changes_list_lose_nothing() {
    own(async |world| {
        // One at a time: a wake that failed several times in a row would back off for long.
        for (what, how) in passing().into_iter().step_by(2) {
            world.fault(fault("GET /drive/v3/changes", 1, &how));
            let file = world.take();
            let name = format!("despite {what}.txt");
            world.owner().rename(&file, &name).await;
            world
                .file_until(what, &file, |f| f["fields"]["name"] == name.as_str())
                .await;
        }
        assert!(
            world.simulator.pending_faults().is_empty(),
            "every fault was met"
        );
    });
}

#[test]
fn regression_a_file_that_can_not_be_read_delays_no_other() {
    own(async |world| {
        let (broken, sound) = (world.take(), world.take());
        let pattern = format!("GET /drive/v2/files/{broken}");
        world.fault(json!({"match": pattern, "times": 0, "respond": {"status": 500}}));
        for number in 0..4 {
            // Each round the broken file is due again, and the wake would fail with it.
            world
                .edit_ok(&broken, json!({"name": format!("broken {number}.txt")}))
                .await;
            world
                .edit_ok(&sound, json!({"name": format!("sound {number}.txt")}))
                .await;
            world
                .file_until("it is pushed", &sound, |f| f["intent"].is_null())
                .await;
        }
        assert_eq!(world.owner().name_of(&sound).await, "sound 3.txt");
        assert_eq!(world.file(&broken).await["intent"]["status"], "owed");
        world.simulator.clear_faults();
        world.converge().await;
        assert_eq!(world.owner().name_of(&broken).await, "broken 3.txt");
    });
}

#[test]
fn a_write_with_any_temporary_failure_arrives_once_without_a_conflict() {
    own(async |world| {
        let mut files = Vec::new();
        for (what, how) in passing() {
            for (method, times) in [("GET", 1), ("PATCH", 1)] {
                let file = world.take();
                world.fault(fault(
                    &format!("{method} /drive/v2/files/{file}"),
                    times,
                    &how,
                ));
                world
                    .edit_ok(&file, json!({"name": format!("{method} {what}.txt")}))
                    .await;
                files.push((file, format!("{method} {what}.txt")));
            }
        }
        for (file, name) in &files {
            world
                .file_until(name, file, |f| {
                    f["intent"].is_null() && f["fields"]["name"] == name.as_str()
                })
                .await;
            assert_eq!(&world.owner().name_of(file).await, name);
            assert_eq!(
                world.conflicts_of(file).await,
                Vec::<Value>::new(),
                "{name}"
            );
        }
    });
}

#[test]
fn a_later_edit_in_drive_survives_an_unanswered_write_of_ours() {
    own_with(
        Setup {
            notified: false,
            ..Setup::default()
        },
        async |world| {
            let file = world.take();
            world.fault(json!({"match": "PATCH /drive/v2/files/*", "applied": true, "drop": true}));
            world.fault(
                json!({"match": "GET /drive/v2/files/*", "after": 1, "times": 0,
                "respond": {"status": 503}}),
            );
            world.edit_ok(&file, json!({"name": "ours.txt"})).await;
            eventually("it landed", async || {
                (world.owner().name_of(&file).await == "ours.txt").then_some(())
            })
            .await;
            world.owner().rename(&file, "theirs.txt").await;
            world.simulator.clear_faults();
            world.sync().await;
            world.converge().await;
            assert_eq!(
                world.owner().name_of(&file).await,
                "theirs.txt",
                "the later edit of a person stands"
            );
            assert_eq!(world.calls("v2.files.patch"), 1);
        },
    );
}

#[test]
fn an_edit_between_our_read_and_our_write_causes_a_412_and_both_survive() {
    own(async |world| {
        let file = world.take();
        // The write is rejected with 412, and the person edits before its retry.
        world.fault(
            json!({"match": "PATCH /drive/v2/files/*", "respond": {"status": 412,
            "reason": "conditionNotMet"}}),
        );
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        world
            .owner()
            .update(&file, json!({"description": "theirs"}))
            .await;
        world.converge().await;
        let at = world.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["description"]),
            (&json!("ours.txt"), &json!("theirs"))
        );
        assert_eq!(
            world.file(&file).await["intent"],
            json!(null),
            "a lost race is no failure"
        );
    });
}

#[test]
fn a_permanently_rejected_field_fails_and_the_others_are_pushed() {
    own(async |world| {
        let file = world.take();
        let refuse = json!({"status": 403, "reason": "insufficientFilePermissions"});
        // The write of several fields is rejected, then that of the first field alone; the others
        // succeed.
        world.fault(json!({"match": "PATCH /drive/v2/files/*", "times": 2, "respond": refuse}));
        world
            .edit_ok(
                &file,
                json!({"name": "not this.txt", "description": "but this"}),
            )
            .await;
        let at = world
            .file_until("one has failed", &file, |f| {
                f["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(at["intent"]["reason"], "insufficientFilePermissions");
        assert_eq!(
            at["intent"]["fields"].as_array().unwrap().len(),
            1,
            "the other went through: {at}"
        );
        let listed = world.get("/intents?status=failed").await;
        assert_eq!(
            listed["items"][0]["id"]
                .as_str()
                .or(listed["items"][0]["file_id"].as_str()),
            Some(file.as_str()),
            "{listed}"
        );
        assert_eq!(world.get("/status").await["attention"]["failed"], 1);
        world
            .post(&format!("/intents/{file}/retry"), json!({}))
            .await;
        world
            .file_until("all is pushed", &file, |f| f["intent"].is_null())
            .await;
        let at = world.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["description"]),
            (&json!("not this.txt"), &json!("but this"))
        );
    });
}

#[test]
fn a_connection_with_an_invalid_grant_is_resumed_and_nothing_is_lost() {
    own(async |world| {
        let (file, edited, owner) = (world.take(), world.take(), world.owner());
        world.fault(
            json!({"match": "POST /token", "times": 0, "respond": {"status": 400,
            "reason": "invalid_grant"}}),
        );
        // Google's token endpoint has its own error format; the cached access tokens are revoked
        // too.
        world.simulator.invalidate_tokens(true, false);
        owner.rename(&file, "while suspended.txt").await;
        let answer = world
            .edit(&edited, json!({"name": "owed while suspended.txt"}))
            .await;
        assert_eq!(answer.status, 200);
        let status = eventually("it is suspended", async || {
            let status = world.get("/status").await;
            (status["state"] == "suspended").then_some(status)
        })
        .await;
        assert!(status["suspension"]["reason"].is_string(), "{status}");
        world.simulator.clear_faults();
        world.post("/resume", json!({})).await;
        world.converge().await;
        assert_eq!(world.get("/status").await["state"], "active");
        assert_eq!(
            world.file(&file).await["fields"]["name"],
            "while suspended.txt"
        );
        assert_eq!(owner.name_of(&edited).await, "owed while suspended.txt");
    });
}

#[test]
fn an_access_token_that_expires_early_is_replaced() {
    own(async |world| {
        let file = world.take();
        world.simulator.invalidate_tokens(true, false);
        world
            .edit_ok(&file, json!({"name": "after a 401.txt"}))
            .await;
        world.converge().await;
        assert_eq!(world.owner().name_of(&file).await, "after a 401.txt");
        assert_eq!(world.get("/status").await["state"], "active");
    });
}

#[test]
fn a_lost_cursor_leads_to_a_resync_that_forgets_and_repeats_nothing() {
    own(async |world| {
        let (file, held) = (world.take(), world.take());
        let before: Vec<(String, Value)> = world
            .files()
            .await
            .into_iter()
            .map(|(id, file)| (id, file["revision"].clone()))
            .collect();
        world.disable_notifications();
        world
            .control(
                Method::POST,
                "invalidate_tokens",
                json!({"page_tokens": true}),
            )
            .await;
        world.owner().rename(&file, "while lost.txt").await;
        world
            .edit_ok(&held, json!({"name": "owed while lost.txt"}))
            .await;
        world.sync().await;
        let done = eventually("the resync is done", async || {
            let operations = world.get("/operations").await;
            let resync = operations["items"]
                .as_array()
                .unwrap()
                .iter()
                .find(|o| o["kind"] == "resync")
                .cloned();
            resync.filter(|resync| resync["state"] == "done")
        })
        .await;
        assert_eq!(done["listed"], 28, "{done}");
        world.converge().await;
        let after = world.files().await;
        for (id, revision) in before {
            let moved = after[&id]["revision"] != revision;
            assert_eq!(
                moved,
                id == file || id == held,
                "only what changed has moved: {id}"
            );
        }
        assert_eq!(world.get("/conflicts?status=all").await["items"], json!([]));
    });
}

#[test]
fn regression_a_file_deleted_while_the_cursor_was_lost_becomes_a_tombstone() {
    own(async |world| {
        let gone = world.take();
        world.disable_notifications();
        let forget = json!({"page_tokens": true});
        world
            .control(Method::POST, "invalidate_tokens", forget)
            .await;
        world.owner().delete(&gone).await;
        world.sync().await;
        let tombstone = world
            .file_until("it is gone", &gone, |f| f["presence"] != "present")
            .await;
        assert_eq!(tombstone["presence"], "removed", "{tombstone}");
        world.converge().await;
    });
}

#[test]
fn an_unrelated_400_starts_no_resync() {
    own(async |world| {
        let file = world.take();
        world.fault(json!({"match": "GET /drive/v2/files/*", "times": 1,
            "respond": {"status": 400, "reason": "invalid"}}));
        world
            .edit_ok(&file, json!({"name": "refused reading.txt"}))
            .await;
        // A read that is refused once says nothing about the edit either.
        world
            .file_until("it is pushed", &file, |f| f["intent"].is_null())
            .await;
        let operations = world.get("/operations").await;
        assert_eq!(
            operations["items"].as_array().unwrap().len(),
            1,
            "{operations}"
        );
    });
}

#[test]
fn credentials_that_drive_rejects_create_no_connection() {
    shared(async |world| {
        let body =
            json!({"name": "No", "scope": {"type": "user"}, "secret": "missing"}).to_string();
        let token = Some(world.token.as_str());
        let answer = world
            .call(token, Method::POST, "/v1/connections", &[], Some(&body))
            .await;
        assert_eq!(
            (answer.status, &answer.body["pointer"]),
            (422, &json!("/secret")),
            "{}",
            answer.body
        );
        assert!(
            !answer
                .body
                .to_string()
                .contains(&credentials(&world.drive_url, "owner"))
        );
        let listed = world
            .call(token, Method::GET, "/v1/connections", &[], None)
            .await;
        assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    });
}
