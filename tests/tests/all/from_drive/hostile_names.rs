//! Unusual names, types and trees are kept unchanged, and shown so that they do no harm.

use std::time::Duration;

use domain::derive::path_names;
use http::Method;
use local::aws::Queue;
use serde_json::json;
use worker::SnapshotMessage;

use crate::support::{FOLDER, by_hand, shared};

#[test]
fn a_hostile_name_is_kept_in_both_directions_and_shown_escaped() {
    shared(async |world| {
        let owner = world.owner();
        let long = "n".repeat(32 * 1024);
        for name in [
            "in/out\\both",
            "line\nbreak\ttab\u{7f}",
            "txt.\u{202e}exe\u{200b}",
            "👩‍👩‍👧 日本語 Größe",
            "..",
            long.as_str(),
        ] {
            let file = owner.create(name, false).await;
            let seen = world
                .file_until("the name", &file, |f| f["fields"]["name"] == name)
                .await;
            let path = seen["path"].as_str().unwrap();
            assert!(!path.chars().any(char::is_control), "{path}");
            assert_eq!(path_names(path), Some((vec![name.to_owned()], true)));

            // In the other direction, Drive gets the application's value.
            let back = format!("{}b", &name[..name.len().min(1_000)]);
            world.edit_ok(&file, json!({ "name": back })).await;
            world
                .file_until("the push", &file, |f| f["intent"].is_null())
                .await;
            assert_eq!(owner.name_of(&file).await, back);
        }
    });
}

#[test]
fn regression_a_name_is_found_in_either_unicode_spelling_and_kept_as_it_came() {
    by_hand(2, async |hand| {
        let owner = hand.owner();
        let (composed, apart) = ("caf\u{e9} \u{e5}.txt", "cafe\u{301} a\u{30a}.txt");
        let ids = [
            owner.create(composed, false).await,
            owner.create(apart, false).await,
        ];
        hand.sync().await;
        hand.pump().await;
        let named = async |query: &str| {
            let page = hand.get(&format!("/files?{query}")).await;
            let items = page["items"].as_array().unwrap().iter();
            let mut names: Vec<String> = items
                .map(|file| file["fields"]["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let both = [apart.to_owned(), composed.to_owned()];
        for q in ["f%C3%A9+%C3%A5", "fe%CC%81+a%CC%8A", "F%C3%89"] {
            assert_eq!(named(&format!("q={q}")).await, both, "{q}");
        }
        for glob in [composed, apart] {
            let rules = json!({"rules": {"include": [], "exclude": [{"name": glob}]}});
            hand.configure(rules).await;
            assert_eq!(named("excluded=true").await, both, "{glob:?}");
        }
        hand.configure(json!({"rules": {"include": [], "exclude": []}}))
            .await;
        hand.edit_ok(&ids[1], json!({"starred": true})).await;
        hand.pump().await;
        assert_eq!(owner.name_of(&ids[1]).await, apart, "as it came");
    });
}

#[test]
fn an_unknown_mime_type_is_kept() {
    shared(async |world| {
        let body = json!({"name": "odd", "mimeType": "application/vnd.unheard-of+thing"});
        let (status, made) = world
            .owner()
            .call(Method::POST, "/drive/v3/files", Some(body))
            .await;
        assert_eq!(status, 200, "{made}");
        let seen = world
            .file_until("the file", made["id"].as_str().unwrap(), |_| true)
            .await;
        assert_eq!(
            seen["fields"]["mime_type"],
            "application/vnd.unheard-of+thing"
        );
    });
}

#[test]
fn a_path_of_the_greatest_depth_is_shown_complete() {
    shared(async |world| {
        let owner = world.owner();
        let mut folders = vec![owner.create("deep", true).await];
        // Up to Drive's limit.
        let refused = loop {
            let parent = folders.last().unwrap();
            let body = json!({"name": "deep", "mimeType": FOLDER, "parents": [parent]});
            let path = "/drive/v3/files";
            match owner.call(Method::POST, path, Some(body)).await {
                (200, made) => folders.push(made["id"].as_str().unwrap().to_owned()),
                (_, refused) => break refused,
            }
        };
        let reason = &refused["error"]["errors"][0]["reason"];
        assert_eq!(reason, "myDriveHierarchyDepthLimitExceeded", "{refused}");
        assert!(folders.len() > 90, "{}", folders.len());
        let lowest = folders.last().unwrap();
        let wanted = "/deep".repeat(folders.len());
        let seen = world
            .file_until("the whole path", lowest, |f| f["path"] == wanted.as_str())
            .await;
        assert_eq!(seen["effective"]["complete"], true);
        world
            .edit_ok(lowest, json!({"description": "at the bottom"}))
            .await;
        world
            .file_until("the push", lowest, |f| f["intent"].is_null())
            .await;
        assert_eq!(owner.get(lowest).await["description"], "at the bottom");
    });
}

/// Drive has no cycles, but the second of two successive moves can be observed first.
#[test]
fn folders_that_seem_to_contain_each_other_are_shown_and_can_be_edited() {
    by_hand(4, async |hand| {
        let owner = hand.owner();
        let (outer, inner) = (
            owner.create("Outer", true).await,
            owner.create("Inner", true).await,
        );
        let file = owner.create("plan.txt", false).await;
        owner.move_to(&inner, &outer).await;
        owner.move_to(&file, &inner).await;
        hand.sync().await;
        hand.pump().await;
        let shown = hand.file(&file).await;
        assert_eq!(shown["path"], "/Outer/Inner/plan.txt");
        let root = hand.file(&outer).await["fields"]["parent"].clone();

        owner.move_to(&inner, root.as_str().unwrap()).await;
        owner.move_to(&outer, &inner).await;
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        let received = hand.receive(Queue::Snapshots).await;
        let of = |id: &str| {
            let message = received.iter().find(|message| {
                let read = SnapshotMessage::from_body(&message.body).unwrap();
                read.file.as_str() == id
            });
            vec![message.unwrap().clone()]
        };
        let deadline = hand.deadline();
        hand.deliver(Queue::Snapshots, &of(&outer), deadline).await;
        assert_eq!(
            hand.file(&outer).await["fields"]["parent"],
            inner.as_str(),
            "as Drive has it"
        );
        assert_eq!(hand.file(&inner).await["fields"]["parent"], outer.as_str());
        for (id, path) in [
            (&outer, "…/Inner/Outer"),
            (&inner, "…/Outer/Inner"),
            (&file, "…/Outer/Inner/plan.txt"),
        ] {
            let shown = hand.file(id).await;
            assert_eq!(shown["path"], path, "the cycle once");
            assert_eq!(shown["effective"]["complete"], false);
        }
        let page = hand.get("/files?path=true&trashed=false&limit=1000").await;
        let count = page["items"].as_array().unwrap().len();
        assert_eq!(count, hand.files().await.len());
        let rules = json!({"rules": {"include": [{"folder": outer}]}});
        let set = hand
            .api(Method::PATCH, "", &[("if-match", "*")], Some(rules))
            .await;
        assert_eq!(set.status, 200, "{}", set.body);
        assert_eq!(hand.file(&file).await["in_scope"], true);
        hand.edit_ok(&file, json!({"description": "ours"})).await;

        hand.deliver(Queue::Snapshots, &of(&inner), deadline).await;
        hand.pump().await;
        hand.advance_clock(Duration::from_secs(61));
        hand.sweep_and_pump().await;
        let shown = hand.file(&file).await;
        assert_eq!(shown["path"], "/Inner/plan.txt");
        assert_eq!(shown["in_scope"], false, "it is only in Inner");
        assert_eq!(hand.file(&outer).await["path"], "/Inner/Outer");
        assert_eq!(hand.file(&outer).await["effective"]["complete"], true);
    });
}
