//! Why a file or a connection is as it is: the reason that a person reads, for each state.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, Outside, both_rename, by_hand, eventually, own};

async fn why(world: &Outside, file: &str) -> Value {
    world.get(&format!("/files/{file}/why")).await
}

/// Returns the names of the reasons, in their order.
fn reasons(why: &Value) -> Vec<&str> {
    let also = why["also"].as_array().unwrap().iter();
    let all = std::iter::once(why).chain(also);
    all.map(|reason| reason["reason"].as_str().unwrap())
        .collect()
}

#[test]
fn a_file_in_conflict_says_so_until_it_is_decided() {
    own(async |world| {
        let file = world.take();
        let before = why(world, &file).await;
        assert_eq!(before["reason"], "in_step", "{before}");
        assert_eq!(before["group"], "in_step");
        assert!(before["as_of"].is_string(), "{before}");
        let conflict = both_rename(world, &file).await["id"].clone();
        let held = why(world, &file).await;
        assert_eq!(held["reason"], "conflict", "{held}");
        assert_eq!(held["group"], "needs_person");
        assert_eq!(
            (&held["conflict_id"], &held["field"]),
            (&conflict, &json!("name"))
        );
        let todo = held["what_to_do"].as_str().unwrap();
        assert!(todo.contains("/resolution"), "{todo}");
        let connection = world.get("/why").await;
        assert_eq!(connection["reason"], "conflict", "{connection}");
        assert_eq!(connection["count"], 1);
        let decision = format!("/conflicts/{}/resolution", conflict.as_str().unwrap());
        world.post(&decision, json!({"choose": "drive"})).await;
        eventually("it is in step", async || {
            (why(world, &file).await["reason"] == "in_step").then_some(())
        })
        .await;
        eventually("the connection is in step", async || {
            (world.get("/why").await["reason"] == "in_step").then_some(())
        })
        .await;
    });
}

#[test]
fn what_the_connection_and_the_rules_hold_back_is_named_in_order() {
    own(async |world| {
        let (owner, file) = (world.owner(), world.take());
        let folder = owner.create("Old", true).await;
        owner.move_to(&file, &folder).await;
        world
            .file_until("the move", &file, |f| {
                f["fields"]["parent"] == folder.as_str()
            })
            .await;
        owner.update(&folder, json!({"trashed": true})).await;
        let trashed = eventually("the trash is seen", async || {
            let why = why(world, &file).await;
            (why["reason"] == "trashed").then_some(why)
        })
        .await;
        assert_eq!(reasons(&trashed), ["trashed", "in_step"], "{trashed}");
        assert!(trashed["sentence"].as_str().unwrap().contains(&folder));
        owner.update(&folder, json!({"trashed": false})).await;
        world.converge().await;
        world.post("/pause", json!({})).await;
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        let rules = json!({"exclude": [{"name": "Ol?"}]});
        world.configure(json!({"rules": rules})).await;
        let held = why(world, &file).await;
        assert_eq!(reasons(&held), ["paused", "excluded", "owed"], "{held}");
        let excluded = &held["also"][0];
        assert_eq!(excluded["rule"], json!({"name": "Ol?"}));
        assert!(held["also"][1]["since"].is_string(), "{held}");
        assert_eq!(held["also"][1]["field"], "name");
        let connection = world.get("/why").await;
        assert_eq!(connection["reason"], "paused", "{connection}");
        world.configure(json!({"rules": null})).await;
        world.post("/resume", json!({})).await;
        eventually("it is in step again", async || {
            (why(world, &file).await["reason"] == "in_step").then_some(())
        })
        .await;

        owner.delete(&file).await;
        let gone = eventually("it is gone", async || {
            let why = why(world, &file).await;
            (why["reason"] == "removed").then_some(why)
        })
        .await;
        assert_eq!(reasons(&gone), ["removed"], "{gone}");
        assert!(gone["since"].is_string());
        let missing = world.ask(Method::GET, "/files/never-there/why", None).await;
        assert_eq!(missing.status, 404, "{}", missing.body);
    });
}

#[test]
fn an_edit_says_what_drive_answered_and_when_it_is_tried_again() {
    by_hand(6, async |hand: &ByHand| {
        let (file, other) = (hand.take(), hand.take());
        let fails = |respond: Value| {
            for pattern in ["PATCH /drive/v2/files/*", "PUT /drive/v2/files/*"] {
                hand.fault(json!({"match": pattern, "times": 0, "respond": respond}));
            }
        };
        fails(json!({"status": 403, "reason": "storageQuotaExceeded"}));
        hand.edit_ok(&file, json!({"name": "full.txt"})).await;
        hand.sweep_and_pump().await;
        let refused = why(hand, &file).await;
        assert_eq!(refused["reason"], "edit_refused_for_now", "{refused}");
        assert_eq!(refused["detail"], "storageQuotaExceeded");
        assert!(refused["next_try_at"].is_string() && refused["since"].is_string());
        assert_eq!(
            (&refused["field"], &refused["count"]),
            (&json!("name"), &json!(1))
        );
        hand.simulator.clear_faults();

        fails(json!({"status": 400, "reason": "invalid"}));
        hand.edit_ok(&other, json!({"name": "never.txt"})).await;
        hand.sweep_and_pump().await;
        let refused = why(hand, &other).await;
        assert_eq!(refused["reason"], "edit_refused", "{refused}");
        assert_eq!(
            (&refused["detail"], &refused["next_try_at"]),
            (&json!("invalid"), &Value::Null)
        );
        hand.simulator.clear_faults();
        let cancel = format!("/intents/{other}/cancel");
        hand.post(&cancel, json!({})).await;
        assert_eq!(why(hand, &other).await["reason"], "in_step");

        // Drive answers no write at all, and can be read.
        fails(json!({"status": 503}));
        hand.edit_ok(&other, json!({"description": "owed"})).await;
        for _ in 0..3 {
            hand.sweep_and_pump().await;
            hand.advance_clock(Duration::from_secs(20));
        }
        let owed = why(hand, &other).await;
        let named = reasons(&owed);
        assert_eq!(named[..2], ["writes_refused", "owed"], "{owed}");
        assert!(owed["since"].is_string(), "{owed}");
        let sentence = owed["also"][0]["sentence"].as_str().unwrap();
        assert!(sentence.contains("the description"), "{sentence}");
        let connection = hand.get("/why").await;
        assert_eq!(
            reasons(&connection)[..2],
            ["writes_refused", "owed"],
            "{connection}"
        );
    });
}

#[test]
fn a_suspended_connection_says_what_ends_it() {
    own(async |world| {
        let file = world.take();
        let revoked = json!({"user": "owner", "revoked": true});
        world.control(Method::POST, "grants", revoked).await;
        world.owner().rename(&file, "theirs.txt").await;
        world.state_until("suspended").await;
        for path in ["/why".to_owned(), format!("/files/{file}/why")] {
            let why = world.get(&path).await;
            assert_eq!(why["reason"], "suspended", "{why}");
            assert_eq!(
                (&why["detail"], &why["group"]),
                (&json!("invalid_grant"), &json!("needs_person"))
            );
            assert!(
                why["since"].is_string() && why["next_try_at"].is_string(),
                "{why}"
            );
            let todo = why["what_to_do"].as_str().unwrap();
            assert!(todo.contains("Grant access again"), "{todo}");
        }
    });
}
