//! What does not fit into a message or an item is carried otherwise or set aside, and all else goes
//! on.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Setup, World, eventually, own, own_with};

/// Returns the dead letters of a file with a status.
async fn letters_of(world: &World, file: &str, status: &str) -> Vec<Value> {
    let path = format!(
        "/v1/dead-letters?connection={}&status={status}",
        world.connection
    );
    let list = world.ask(Method::GET, &path, None).await;
    assert_eq!(list.status, 200, "{}", list.body);
    let items = list.body["items"].as_array().unwrap().iter();
    items
        .filter(|letter| letter["file_id"] == file)
        .cloned()
        .collect()
}

async fn set_aside(world: &World, file: &str) -> Value {
    eventually("the file is set aside", async || {
        letters_of(world, file, "parked").await.pop()
    })
    .await
}

#[test]
fn regression_a_file_that_is_too_large_is_set_aside_and_others_go_on() {
    own(async |world| {
        let owner = world.owner();
        let known = world.take();
        let before = world.file(&known).await;
        let fresh = owner.create("fresh.txt", false).await;
        world.file_until("the file", &fresh, |_| true).await;
        for (file, description) in [
            (&known, "x".repeat(1_100_000)),
            (&fresh, "y".repeat(500_000)),
            (
                &owner.create("first sight.txt", false).await,
                "\u{1}".repeat(420_000),
            ),
        ] {
            owner
                .update(file, json!({ "description": description }))
                .await;
            let letter = set_aside(world, file).await;
            let reason = letter["reason"].as_str().unwrap();
            assert!(reason.starts_with("too_large: "), "{reason}");
            assert!(reason.contains("`description`"), "{reason}");
            let other = owner.create("other.txt", false).await;
            world.file_until("another file", &other, |_| true).await;
        }
        let shown = world.file(&known).await;
        assert_eq!(
            shown["fields"]["description"],
            before["fields"]["description"]
        );

        // It is still too large when it is read again, and has one dead letter.
        let id = set_aside(world, &fresh).await["id"].clone();
        let redrive = json!({ "ids": [id] });
        let sent = world
            .ask(Method::POST, "/v1/dead-letters/redrive", Some(redrive))
            .await;
        assert_eq!(sent.body["results"][0]["status"], 200, "{}", sent.body);
        let again = eventually("it is set aside again", async || {
            let letters = letters_of(world, &fresh, "parked").await;
            letters.into_iter().find(|letter| letter["redrives"] == 1)
        })
        .await;
        assert_eq!(again["id"], id);

        for file in [&known, &fresh] {
            owner
                .update(file, json!({"description": "short again"}))
                .await;
            world
                .file_until("the change", file, |f| {
                    f["fields"]["description"] == "short again"
                })
                .await;
            eventually("the dead letter has ended", async || {
                letters_of(world, file, "parked")
                    .await
                    .is_empty()
                    .then_some(())
            })
            .await;
            assert_eq!(letters_of(world, file, "redriven").await.len(), 1);
            world.edit_ok(file, json!({"description": "ours"})).await;
            world
                .file_until("the push", file, |f| f["intent"].is_null())
                .await;
            assert_eq!(owner.get(file).await["description"], "ours");
        }
    });
}

/// Its JSON is larger than a message, its record is not larger than an item.
#[test]
fn regression_a_file_that_is_too_large_for_a_message_arrives() {
    own(async |world| {
        let owner = world.owner();
        let (known, fresh) = (world.take(), owner.create("fresh.txt", false).await);
        for description in ["\u{1}".repeat(250_000), "z".repeat(300_000)] {
            for file in [&known, &fresh] {
                owner
                    .update(file, json!({ "description": description }))
                    .await;
                world
                    .file_until("the description", file, |f| {
                        f["fields"]["description"] == description.as_str()
                    })
                    .await;
            }
        }
        // There is room for an edit of another field, and the whole description is one item.
        let renamed = world.edit_ok(&known, json!({"starred": true})).await;
        assert_eq!(renamed["fields"]["starred"], true);
        world
            .file_until("the push", &known, |f| f["intent"].is_null())
            .await;
        assert_eq!(owner.get(&known).await["starred"], true);
        assert!(letters_of(world, &known, "all").await.is_empty());
    });
}

#[test]
fn a_first_sync_with_files_that_are_too_large_is_done() {
    let setup = Setup {
        files: 3,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let owner = world.owner();
        let large = owner.create("large.txt", false).await;
        let description = "d".repeat(600_000);
        owner
            .update(&large, json!({ "description": description }))
            .await;
        set_aside(world, &large).await;
        let started = world.post("/sync", json!({"mode": "full"})).await;
        let listing = started["operation"]["id"].as_str().unwrap();
        world.operation_in(listing, "done").await;
        assert!(world.find(&large).await.is_none());
        assert_eq!(letters_of(world, &large, "parked").await.len(), 1);
    });
}

#[test]
fn half_of_a_character_is_shown_replaced_and_not_written_back() {
    own(async |world| {
        let owner = world.owner();
        // Only as the system reads it: the person's own calls are others.
        for path in [
            "GET /drive/v3/changes",
            "GET /drive/v3/files",
            "* /drive/v2/files/*",
        ] {
            let replace = json!({"HALF": "\\ud83d"});
            world.fault(json!({"match": path, "times": 1_000_000, "replace": replace}));
        }
        let file = owner.create("cutHALF.txt", false).await;
        let seen = world.file_until("the file", &file, |_| true).await;
        assert_eq!(seen["fields"]["name"], "cut\u{fffd}.txt");
        assert_eq!(seen["path"], "/cut\u{fffd}.txt");
        world.edit_ok(&file, json!({"description": "ours"})).await;
        world
            .file_until("the push", &file, |f| f["intent"].is_null())
            .await;
        let theirs = world.simulator.file(&file).unwrap();
        assert_eq!(
            (theirs.name.as_str(), theirs.description.as_str()),
            ("cutHALF.txt", "ours")
        );
        world.edit_ok(&file, json!({"name": "whole.txt"})).await;
        world
            .file_until("the push", &file, |f| f["intent"].is_null())
            .await;
        assert_eq!(world.simulator.file(&file).unwrap().name, "whole.txt");
    });
}
