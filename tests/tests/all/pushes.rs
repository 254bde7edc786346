//! What the application writes reaches Drive, once, and its echo is nobody's edit.

use http::Method;
use serde_json::{Value, json};

use crate::support::{eventually, own, shared};

#[test]
fn an_edit_reaches_drive_in_exactly_one_write_and_its_echo_is_no_conflict() {
    own(async |world| {
        let file = world.take();
        world.simulator.zero_counters();
        let fields = json!({"name": "Roadmap.md", "description": "ours", "starred": true, "properties": {"stage": "final"}});
        let taken = world.edited(&file, fields).await;
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
            .file_until("it is settled", &file, |f| f["intent"].is_null())
            .await;
        world.converge().await;
        let at = world.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["properties"]["stage"]),
            (&json!("Roadmap.md"), &json!("final"))
        );
        // The echo has come and gone: another change behind it in the log has arrived.
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
            .edited(
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
        world.edited(&file, json!({"trashed": false})).await;
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
            .edited(&file, json!({"properties": {"ours": "2"}}))
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
        world.edited(&file, json!({"name": "never mind.txt"})).await;
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
fn many_edits_of_one_file_end_with_the_last_in_both() {
    shared(async |world| {
        let file = world.take();
        for number in 0..12 {
            world
                .edited(&file, json!({"name": format!("draft {number}.txt")}))
                .await;
        }
        eventually("the last is in Drive", async || {
            (world.owner().name_of(&file).await == "draft 11.txt").then_some(())
        })
        .await;
        world
            .file_until("it is settled", &file, |f| f["intent"].is_null())
            .await;
        assert_eq!(world.file(&file).await["fields"]["name"], "draft 11.txt");
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}
