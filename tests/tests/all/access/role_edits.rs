//! Permissions that are edited on both sides: roles reach Drive one at a time, return as echoes,
//! conflict, and are resolved.

use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{Outside, Person, Setup, World, by_hand, eventually, own, own_with, shared};

const ANN: &str = "user:ann@example.com";
const BOB: &str = "user:bob@example.com";

fn permissions(file: &str) -> String {
    format!("/drive/v3/files/{file}/permissions")
}

/// Returns the direct permissions of a file in Drive, by e-mail address or type.
async fn direct_roles(person: &Person, file: &str) -> Value {
    let path = format!(
        "{}?supportsAllDrives=true&fields=permissions(id,type,role,emailAddress,permissionDetails)",
        permissions(file)
    );
    let (status, list) = person.call(Method::GET, &path, None).await;
    assert_eq!(status, 200, "{list}");
    let mut roles = serde_json::Map::new();
    for permission in list["permissions"].as_array().unwrap() {
        let details = permission["permissionDetails"].as_array().unwrap();
        let direct = details.iter().find(|detail| detail["inherited"] == false);
        let who = permission["emailAddress"].as_str();
        let who = who.unwrap_or_else(|| permission["type"].as_str().unwrap());
        if let Some(direct) = direct {
            roles.insert(who.to_owned(), direct["role"].clone());
        }
    }
    Value::Object(roles)
}

async fn reshare(person: &Person, file: &str, id: &str, role: &str) {
    let path = format!("{}/{id}?supportsAllDrives=true", permissions(file));
    let body = json!({ "role": role });
    let (status, changed) = person.call(Method::PATCH, &path, Some(body)).await;
    assert_eq!(status, 200, "{changed}");
}

/// Waits until a principal has this role at the API and no edit is owed.
async fn role_until(world: &Outside, file: &str, who: &str, role: &Value) -> Value {
    let what = format!("{who} is {role}");
    world
        .file_until(&what, file, |f| {
            f["fields"]["permissions"][who] == *role && f["intent"].is_null()
        })
        .await
}

/// Grants Ann a role at the API, and another one in Drive before the first is pushed.
async fn set_role_on_both_sides(world: &World, file: &str, id: &str, ours: &str, theirs: &str) {
    let delayed = format!("* /drive/v2/files/{file}");
    world.fault(json!({"match": delayed, "times": 1, "respond": {"status": 503}}));
    world
        .edit_ok(file, json!({"permissions": {ANN: ours}}))
        .await;
    reshare(&world.owner(), file, id, theirs).await;
}

#[test]
fn granted_changed_and_revoked_roles_reach_drive_one_at_a_time() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let bob = owner.grant(&file, "bob", "writer").await;
        let shown = role_until(world, &file, BOB, &json!("writer")).await;
        assert_eq!(
            shown["fields"]["permissions"]["user:owner@example.com"],
            "owner"
        );
        let all = shown["permissions"].as_array().unwrap();
        let of_bob = all.iter().find(|p| p["principal"] == BOB).unwrap();
        assert_eq!(
            (&of_bob["direct"], &of_bob["id"]),
            (&json!(true), &json!(bob))
        );

        world.simulator.zero_counters();
        let taken = world
            .edit_ok(
                &file,
                json!({"name": "Shared.md", "permissions": {"user:Ann@Example.com": "commenter",
                    BOB: "reader"}}),
            )
            .await;
        let owed = taken["intent"]["fields"].as_array().unwrap();
        assert_eq!(owed.len(), 3, "{taken}");
        role_until(world, &file, ANN, &json!("commenter")).await;
        let wanted = json!({"owner@example.com": "owner", "ann@example.com": "commenter",
            "bob@example.com": "reader"});
        assert_eq!(direct_roles(&owner, &file).await, wanted);
        assert_eq!(owner.name_of(&file).await, "Shared.md");

        world
            .edit_ok(&file, json!({"permissions": {BOB: null}}))
            .await;
        let shown = role_until(world, &file, BOB, &Value::Null).await;
        assert!(
            shown["permissions"]
                .as_array()
                .unwrap()
                .iter()
                .all(|p| p["principal"] != BOB)
        );
        let wanted = json!({"owner@example.com": "owner", "ann@example.com": "commenter"});
        assert_eq!(direct_roles(&owner, &file).await, wanted);
        let calls = |method: &str| world.calls(method);
        assert_eq!(
            (
                calls("permissions.create"),
                calls("permissions.update"),
                calls("permissions.delete")
            ),
            (1, 1, 1)
        );
        // The echoes have been processed: a later change of the log has arrived.
        let behind = world.take();
        owner.rename(&behind, "behind the echo.txt").await;
        world
            .file_until("the echo", &behind, |f| {
                f["fields"]["name"] == "behind the echo.txt"
            })
            .await;
        world.converge().await;
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
        // This test itself calls it twice.
        assert_eq!(
            calls("permissions.list"),
            2,
            "My Drive shows them in the file"
        );
    });
}

#[test]
fn roles_set_on_both_sides_are_one_conflict_and_the_choice_reaches_drive() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let ann = owner.grant(&file, "ann", "writer").await;
        role_until(world, &file, ANN, &json!("writer")).await;
        set_role_on_both_sides(world, &file, &ann, "reader", "commenter").await;
        let conflict = world
            .conflict_on(&file, &format!("permissions.{ANN}"))
            .await;
        assert_eq!(
            (&conflict["base"], &conflict["app"], &conflict["drive"]),
            (&json!("writer"), &json!("reader"), &json!("commenter"))
        );
        let refused = world
            .edit(&file, json!({"permissions": {ANN: "writer"}}))
            .await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        let id = conflict["id"].as_str().unwrap();
        world
            .post(
                &format!("/conflicts/{id}/resolution"),
                json!({"choose": "app"}),
            )
            .await;
        eventually("the choice is in Drive", async || {
            (direct_roles(&owner, &file).await["ann@example.com"] == "reader").then_some(())
        })
        .await;
        role_until(world, &file, ANN, &json!("reader")).await;
        world.converge().await;
        assert_eq!(world.conflicts_of(&file).await.len(), 1);
    });
}

#[test]
fn the_policy_most_restrictive_picks_the_lower_role_and_records_the_other() {
    own(async |world| {
        let etag = world.api(Method::GET, "", &[], None).await.etag();
        let policies = json!({"policies": {"fields": {"permissions": "most_restrictive"}}});
        let headers = [("if-match", etag.as_str())];
        let answer = world.api(Method::PATCH, "", &headers, Some(policies)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        for (ours, theirs, lower) in [
            ("reader", "commenter", "reader"),
            ("commenter", "reader", "reader"),
        ] {
            let (file, owner) = (world.take(), world.owner());
            let ann = owner.grant(&file, "ann", "writer").await;
            role_until(world, &file, ANN, &json!("writer")).await;
            set_role_on_both_sides(world, &file, &ann, ours, theirs).await;
            role_until(world, &file, ANN, &json!(lower)).await;
            eventually("Drive has the lower role", async || {
                (direct_roles(&owner, &file).await["ann@example.com"] == lower).then_some(())
            })
            .await;
            let decided = world.conflicts_of(&file).await;
            let [record] = decided.as_slice() else {
                panic!("{decided:?}");
            };
            assert_eq!(record["status"], "resolved", "{record}");
            assert_eq!(record["resolution"]["by"], "policy");
            assert_eq!(
                (&record["app"], &record["drive"]),
                (&json!(ours), &json!(theirs))
            );
        }
        world.converge().await;
    });
}

#[test]
fn a_permission_whose_response_was_lost_is_not_granted_twice() {
    own(async |world| {
        for lost in [
            json!({"applied": true, "drop": true}),
            json!({"applied": true, "respond": {"status": 503}}),
            json!({"drop": true}),
        ] {
            let (file, owner) = (world.take(), world.owner());
            let mut fault = json!({"match": format!("POST {}", permissions(&file)), "times": 1});
            for (member, value) in lost.as_object().unwrap() {
                fault[member] = value.clone();
            }
            world.fault(fault);
            world
                .edit_ok(&file, json!({"permissions": {ANN: "reader"}}))
                .await;
            role_until(world, &file, ANN, &json!("reader")).await;
            assert_eq!(
                direct_roles(&owner, &file).await["ann@example.com"],
                "reader",
                "{lost}"
            );
            assert_eq!(
                world.conflicts_of(&file).await,
                Vec::<Value>::new(),
                "{lost}"
            );
        }
        world.converge().await;
    });
}

#[test]
fn a_rejected_permission_delays_no_other_field() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let refused = json!({"status": 400, "reason": "invalidSharingRequest"});
        world.fault(
            json!({"match": format!("POST {}", permissions(&file)), "times": 1,
            "respond": refused}),
        );
        world
            .edit_ok(
                &file,
                json!({"name": "named.txt", "permissions": {ANN: "reader", BOB: "commenter"}}),
            )
            .await;
        let shown = world
            .file_until("the grant to Ann fails", &file, |f| {
                f["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(
            shown["intent"]["fields"],
            json!([format!("permissions.{ANN}")])
        );
        assert_eq!(shown["intent"]["reason"], "invalidSharingRequest");
        let wanted = json!({"owner@example.com": "owner", "bob@example.com": "commenter"});
        assert_eq!(direct_roles(&owner, &file).await, wanted);
        assert_eq!(owner.name_of(&file).await, "named.txt");
        // The cause is fixed, and the edit is retried.
        world
            .post(&format!("/intents/{file}/retry"), json!({}))
            .await;
        role_until(world, &file, ANN, &json!("reader")).await;
    });
}

#[test]
fn a_sharing_limit_delays_the_permission_without_failing_other_fields() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let limit = json!({"status": 403, "reason": "sharingRateLimitExceeded"});
        world.fault(
            json!({"match": format!("POST {}", permissions(&file)), "times": 1, "respond": limit}),
        );
        world
            .edit_ok(&file, json!({"permissions": {ANN: "reader"}}))
            .await;
        let before = world.now();
        let shown = world
            .file_until("it waits", &file, |f| {
                let at = f["intent"]["next_attempt_at"].as_str();
                let at = at.and_then(domain::Timestamp::parse_rfc3339);
                at.is_some_and(|at| at.millis_since(before) > 600_000)
            })
            .await;
        assert_eq!(shown["intent"]["status"], "owed");
        world.edit_ok(&file, json!({"name": "goes on.txt"})).await;
        eventually("the name is in Drive", async || {
            (owner.name_of(&file).await == "goes on.txt").then_some(())
        })
        .await;
        role_until(world, &file, ANN, &json!("reader")).await;
    });
}

#[test]
fn permissions_that_can_not_be_granted_are_rejected() {
    own_with(
        Setup {
            files: 6,
            ..Setup::default()
        },
        async |world| {
            let file = world.take();
            for (patch, pointer) in [
                (json!({ANN: "owner"}), "/permissions/user:ann@example.com"),
                (json!({ANN: "emperor"}), "/permissions/user:ann@example.com"),
                (json!({"ann": "reader"}), "/permissions/ann"),
                (
                    json!({"user:owner@example.com": "reader"}),
                    "/permissions/user:owner@example.com",
                ),
                (
                    json!({"user:owner@example.com": null}),
                    "/permissions/user:owner@example.com",
                ),
            ] {
                let answer = world.edit(&file, json!({ "permissions": patch })).await;
                assert_eq!(answer.status, 422, "{patch} {}", answer.body);
                assert_eq!(answer.body["pointer"], pointer, "{}", answer.body);
            }
            assert!(world.file(&file).await["intent"].is_null());
        },
    );
}

/// Changes the address of an account, or adds one that leads to it. No change log reports either.
async fn readdress(world: &World, account: Value) {
    world.control(Method::POST, "accounts", account).await;
}

#[test]
fn regression_revoking_somebody_whose_address_changed_ends_the_access() {
    own(async |world| {
        let owner = world.owner();
        let new = "ann@married.example.com";
        // Our record has not seen the new address, or has seen it already.
        for seen in [false, true] {
            let file = world.take();
            readdress(world, json!({"user": "ann", "address": "ann@example.com"})).await;
            owner.grant(&file, "ann", "writer").await;
            role_until(world, &file, ANN, &json!("writer")).await;
            readdress(world, json!({"user": "ann", "address": new})).await;
            if seen {
                owner.rename(&file, "seen.txt").await;
                role_until(world, &file, &format!("user:{new}"), &json!("writer")).await;
            }
            let owed = world
                .edit_ok(&file, json!({"permissions": {ANN: null}}))
                .await;
            assert!(!owed["intent"].is_null(), "{owed}");
            let shown = world
                .file_until("it is revoked", &file, |f| f["intent"].is_null())
                .await;
            let roles = shown["fields"]["permissions"].as_object().unwrap();
            assert_eq!(
                roles.keys().collect::<Vec<_>>(),
                ["user:owner@example.com"],
                "{shown}"
            );
            let wanted = json!({"owner@example.com": "owner"});
            assert_eq!(direct_roles(&owner, &file).await, wanted);
        }
        world.converge().await;
    });
}

#[test]
fn regression_a_role_given_to_an_alias_is_granted_once() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let alias = "user:a.smith@example.com";
        readdress(
            world,
            json!({"user": "ann", "aliases": ["a.smith@example.com"]}),
        )
        .await;
        world.simulator.zero_counters();
        world
            .edit_ok(&file, json!({"permissions": {alias: "writer"}}))
            .await;
        let shown = role_until(world, &file, ANN, &json!("writer")).await;
        assert!(
            shown["fields"]["permissions"].get(alias).is_none(),
            "{shown}"
        );
        // A later change is processed, and nothing is granted again.
        owner.rename(&file, "later.txt").await;
        world
            .file_until("the rename", &file, |f| f["fields"]["name"] == "later.txt")
            .await;
        world.converge().await;
        assert_eq!(world.calls("permissions.create"), 1);
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());

        world
            .edit_ok(&file, json!({"permissions": {alias: null}}))
            .await;
        role_until(world, &file, ANN, &Value::Null).await;
        let wanted = json!({"owner@example.com": "owner"});
        assert_eq!(direct_roles(&owner, &file).await, wanted);
    });
}

/// A transaction takes a hundred writes, and each conflict is one of them.
#[test]
fn regression_a_file_with_many_roles_in_conflict_at_once_is_not_frozen() {
    by_hand(3, async |hand| {
        let owner = hand.owner();
        let (file, other) = (hand.take(), hand.take());
        let user = |n: usize| format!("user:u{n}@example.com");
        for part in [0..60, 60..120] {
            let roles: serde_json::Map<String, Value> =
                part.map(|n| (user(n), json!("writer"))).collect();
            hand.edit_ok(&file, json!({ "permissions": roles })).await;
        }
        // Before any of them is pushed, a program shares the file with the same people.
        for n in 0..120 {
            owner.grant(&file, &format!("u{n}"), "reader").await;
        }
        owner.update(&file, json!({"description": "theirs"})).await;
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        hand.pump_only(Queue::Snapshots).await;
        let seen = hand.file(&file).await;
        assert_eq!(seen["fields"]["description"], "theirs");
        assert_eq!(seen["conflicts"].as_array().unwrap().len(), 120);
        let open = hand.get("/conflicts?limit=1000").await;
        assert_eq!(open["items"].as_array().unwrap().len(), 120);

        // Each can be resolved, and other files are pushed.
        hand.edit_ok(&other, json!({"name": "other.txt"})).await;
        let ids = open["items"].as_array().unwrap().iter().take(100);
        let decisions: Vec<Value> = ids
            .map(|conflict| json!({"id": conflict["id"], "choose": "drive"}))
            .collect();
        let body = json!({ "resolutions": decisions });
        let answer = hand.post("/conflicts/resolutions", body).await;
        let results = answer["results"].as_array().unwrap();
        assert!(
            results.iter().all(|result| result["status"] == 200),
            "{answer}"
        );
        hand.pump().await;
        assert_eq!(owner.name_of(&other).await, "other.txt");
        let left = hand.get("/conflicts?limit=1000").await;
        assert_eq!(left["items"].as_array().unwrap().len(), 20);
    });
}

#[test]
fn regression_a_patch_of_too_many_roles_is_422_and_says_the_bound() {
    shared(async |world| {
        let file = world.take();
        let roles = |range: std::ops::Range<usize>| -> Value {
            let roles: serde_json::Map<String, Value> = range
                .map(|n| (format!("user:p{n}@x.y"), json!("reader")))
                .collect();
            json!({ "permissions": roles })
        };
        for count in [101, 5_000] {
            let answer = world.edit(&file, roles(0..count)).await;
            assert_eq!(answer.status, 422, "{}", answer.body);
            assert_eq!(answer.body["pointer"], "/permissions");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("at most 100"), "{detail}");
        }
        world.fault(
            json!({"match": format!("* /drive/v2/files/{file}"), "times": 1_000,
            "respond": {"status": 503}}),
        );
        world.edit_ok(&file, roles(0..100)).await;
        let answer = world.edit(&file, roles(100..200)).await;
        assert_eq!(
            answer.status, 422,
            "the owner has a role too: {}",
            answer.body
        );
        assert!(
            answer.body["pointer"]
                .as_str()
                .unwrap()
                .starts_with("/permissions/user:p")
        );
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("200"), "{detail}");
        let path = format!("/intents/{file}/cancel");
        world.post(&path, json!({})).await;
    });
}

/// Drive reports the end of a permission late, or not at all.
#[test]
fn regression_a_role_that_has_ended_by_itself_is_not_effective() {
    by_hand(2, async |hand| {
        let (owner, file) = (hand.owner(), hand.take());
        let end = hand.now().plus_millis(3_600_000).to_string();
        let body = json!({"type": "user", "role": "writer", "emailAddress": "ann@example.com",
            "expirationTime": end});
        owner
            .done(Method::POST, &permissions(&file), Some(body))
            .await;
        hand.sync().await;
        hand.pump().await;
        let seen = hand.file(&file).await;
        assert_eq!(
            seen["effective"]["permissions"][ANN]["role"], "writer",
            "{seen}"
        );
        hand.advance_clock(std::time::Duration::from_secs(3_601));
        let seen = hand.file(&file).await;
        assert!(seen["effective"]["permissions"][ANN].is_null(), "{seen}");
        assert!(!seen["effective"]["permissions"]["user:owner@example.com"].is_null());
    });
}
