//! An edit of the application reaches Drive once, and its echo is recognised.

use http::Method;
use serde_json::{Value, json};

use crate::support::{by_hand, eventually, own, shared};

#[test]
fn an_edit_reaches_drive_in_one_write_and_its_echo_is_no_conflict() {
    own(async |world| {
        let file = world.take();
        world.simulator.zero_counters();
        let fields = json!({"name": "Roadmap.md", "description": "ours", "starred": true,
            "properties": {"stage": "final"}});
        let taken = world.edit_ok(&file, fields).await;
        assert_eq!(taken["intent"]["status"], "owed");
        let mut owed: Vec<&str> = taken["intent"]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f.as_str().unwrap())
            .collect();
        owed.sort_unstable();
        assert_eq!(owed, ["description", "name", "properties.stage", "starred"]);
        world
            .file_until("it is pushed", &file, |f| f["intent"].is_null())
            .await;
        world.converge().await;
        let at = world.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["properties"]["stage"]),
            (&json!("Roadmap.md"), &json!("final"))
        );
        // The echo has been processed: a later change of the log has arrived.
        let behind = world.take();
        world.owner().rename(&behind, "behind the echo.txt").await;
        world
            .file_until("the echo", &behind, |f| {
                f["fields"]["name"] == "behind the echo.txt"
            })
            .await;
        world.converge().await;
        assert_eq!(world.calls("v2.files.patch"), 1);
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}

#[test]
fn every_writable_field_reaches_drive() {
    shared(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let folder = owner.create("Target", true).await;
        owner
            .update(&file, json!({"properties": {"old": "1"}}))
            .await;
        world
            .file_until("the property", &file, |f| {
                f["fields"]["properties"]["old"] == "1"
            })
            .await;
        world
            .edit_ok(
                &file,
                json!({"parent": folder, "trashed": true, "properties": {"old": null, "new": "2"}}),
            )
            .await;
        eventually("all of it is in Drive", async || {
            let at = owner.get(&file).await;
            (at["parents"] == json!([folder])
                && at["explicitlyTrashed"] == true
                && at["properties"] == json!({"new": "2"}))
            .then_some(())
        })
        .await;
        world.edit_ok(&file, json!({"trashed": false})).await;
        eventually("out of the trash", async || {
            (owner.get(&file).await["trashed"] == false).then_some(())
        })
        .await;
    });
}

#[test]
fn private_properties_of_other_applications_survive_our_write() {
    shared(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let path = format!("/drive/v3/files/{file}?fields=appProperties");
        let secret = json!({"appProperties": {"theirs": "1"}});
        assert_eq!(owner.call(Method::PATCH, &path, Some(secret)).await.0, 200);
        world
            .edit_ok(&file, json!({"properties": {"ours": "2"}}))
            .await;
        eventually("ours is in Drive", async || {
            (owner.get(&file).await["properties"]["ours"] == "2").then_some(())
        })
        .await;
        assert_eq!(
            owner.call(Method::GET, &path, None).await.1["appProperties"],
            json!({"theirs": "1"})
        );
    });
}

#[test]
fn a_withdrawn_edit_is_not_sent() {
    own(async |world| {
        let file = world.take();
        let before = world.owner().get(&file).await;
        world.fault(
            json!({"match": "GET /drive/v2/files/*", "times": 0, "respond": {"status": 503}}),
        );
        world
            .edit_ok(&file, json!({"name": "never mind.txt"}))
            .await;
        world
            .post(&format!("/intents/{file}/cancel"), json!({}))
            .await;
        world.simulator.clear_faults();
        world.converge().await;
        assert_eq!(world.owner().get(&file).await["name"], before["name"]);
        assert_eq!(world.calls("v2.files.patch"), 0);
    });
}

#[test]
fn after_many_edits_of_one_file_both_sides_have_the_last() {
    shared(async |world| {
        let file = world.take();
        for number in 0..12 {
            world
                .edit_ok(&file, json!({"name": format!("draft {number}.txt")}))
                .await;
        }
        eventually("the last is in Drive", async || {
            (world.owner().name_of(&file).await == "draft 11.txt").then_some(())
        })
        .await;
        world
            .file_until("it is pushed", &file, |f| f["intent"].is_null())
            .await;
        assert_eq!(world.file(&file).await["fields"]["name"], "draft 11.txt");
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}

#[test]
fn pain_10_the_echo_of_a_write_of_several_fields_opens_nothing_and_sends_nothing() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let fields = json!({"name": "Roadmap.md", "description": "ours", "starred": true,
            "properties": {"stage": "final", "team": "a"}});
        hand.edit_ok(&file, fields).await;
        hand.pump().await;
        let pushed = hand.file(&file).await;
        for _ in 0..3 {
            hand.pump().await;
            hand.sync().await;
            hand.advance_clock(std::time::Duration::from_secs(5));
            hand.sweep_and_pump().await;
        }
        assert_eq!(hand.calls("v2.files.patch"), 1);
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        let at = hand.file(&file).await;
        assert_eq!(at["intent"], json!(null));
        assert_eq!(at["fields"], pushed["fields"]);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn pain_10_an_edit_by_the_connections_own_user_is_no_echo() {
    by_hand(4, async |hand| {
        let (file, owner) = (hand.take(), hand.owner());
        hand.edit_ok(&file, json!({"name": "ours.txt", "description": "ours"}))
            .await;
        hand.pump().await;
        // The connection acts as the same user. The edit changes, in the same second, a field that
        // we wrote and one that we did not.
        let theirs = json!({"description": "theirs", "properties": {"by": "hand"}});
        owner.update(&file, theirs).await;
        hand.wait_for_wake().await;
        hand.pump().await;
        let at = hand.file(&file).await;
        assert_eq!(
            (
                &at["fields"]["name"],
                &at["fields"]["description"],
                &at["fields"]["properties"]["by"]
            ),
            (&json!("ours.txt"), &json!("theirs"), &json!("hand"))
        );
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        assert_eq!(hand.calls("v2.files.patch"), 1);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn pain_10_the_echo_of_an_unanswered_write_is_no_conflict_with_a_newer_edit() {
    by_hand(4, async |hand| {
        let file = hand.take();
        hand.fault(json!({"match": "PATCH /drive/v2/files/*", "applied": true,
            "respond": {"status": 503}}));
        hand.edit_ok(&file, json!({"name": "first.txt"})).await;
        hand.pump().await;
        assert_eq!(hand.owner().name_of(&file).await, "first.txt", "it landed");
        hand.edit_ok(&file, json!({"name": "second.txt"})).await;
        // The echo is neither a person's edit nor the owed one.
        hand.sync().await;
        for _ in 0..3 {
            hand.pump().await;
            hand.advance_clock(std::time::Duration::from_secs(60));
            hand.sweep().await;
        }
        hand.pump().await;
        assert_eq!(
            hand.conflicts_of(&file).await,
            Vec::<serde_json::Value>::new()
        );
        assert_eq!(hand.owner().name_of(&file).await, "second.txt");
        assert_eq!(hand.calls("v2.files.patch"), 2);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}
