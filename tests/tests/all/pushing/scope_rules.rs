//! A connection's rules: the files that are shown and written, and the edits that wait out of
//! scope.

use std::time::Duration;

use domain::FileId;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, Outside, World, by_hand, eventually, own};

async fn set_rules(world: &Outside, rules: Value) {
    world.configure(json!({ "rules": rules })).await;
}

/// Returns the ids of a list.
async fn listed(world: &World, path: &str) -> Vec<String> {
    let page = world.get(path).await;
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn excluded_files_are_not_listed_and_not_written() {
    own(async |world| {
        let owner = world.owner();
        let (folder, file) = (owner.create("Private", true).await, world.take());
        owner.move_to(&file, &folder).await;
        world
            .file_until("the move", &file, |f| {
                f["fields"]["parent"] == folder.as_str()
            })
            .await;
        let all = world.files().await.len();
        set_rules(world, json!({"exclude": [{"name": "priv*"}]})).await;
        let seen = world.files().await;
        assert_eq!(seen.len(), all - 2);
        assert!(!seen.contains_key(&file));
        let mut out = listed(world, "/files?excluded=true").await;
        out.sort();
        let mut wanted = vec![file.clone(), folder.clone()];
        wanted.sort();
        assert_eq!(out, wanted);
        assert_eq!(world.file(&file).await["in_scope"], false);
        let refused = world.edit(&file, json!({"name": "b"})).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert_eq!(refused.body["type"], "urn:drivesync:problem:out-of-scope");
        // Its record still follows Drive.
        owner.rename(&file, "still-followed.txt").await;
        world
            .file_until("the name", &file, |f| {
                f["fields"]["name"] == "still-followed.txt"
            })
            .await;
        set_rules(world, json!({})).await;
        set_rules(world, json!({"exclude": []})).await;
        assert_eq!(world.files().await.len(), all);
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        world.converge().await;
        assert_eq!(owner.name_of(&file).await, "ours.txt");
    });
}

#[test]
fn an_intent_out_of_scope_is_held_and_pushed_once_the_file_is_back() {
    own(async |world| {
        let (owner, file) = (world.owner(), world.take());
        let before = owner.name_of(&file).await;
        world.post("/pause", json!({})).await;
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        set_rules(
            world,
            json!({"exclude": [{"mime_type": "text/*"},
            {"mime_type": "application/*"}, {"mime_type": "image/*"}]}),
        )
        .await;
        world.post("/resume", json!({})).await;
        let held = eventually("the push has tried it", async || {
            let intents = world.get("/intents").await;
            let item = intents["items"].as_array().unwrap().first().cloned();
            item.filter(|item| item["intent"]["attempts"].as_u64() > Some(0))
        })
        .await;
        assert_eq!(held["file_id"], file.as_str());
        assert_eq!(held["intent"]["status"], "held", "{held}");
        assert_eq!(held["file"]["in_scope"], false);
        assert_eq!(world.file(&file).await["intent"]["status"], "held");
        assert_eq!(owner.name_of(&file).await, before, "nothing was written");

        set_rules(world, json!({"exclude": []})).await;
        world
            .post(&format!("/intents/{file}/retry"), json!({}))
            .await;
        world
            .file_until("the push", &file, |f| f["intent"].is_null())
            .await;
        assert_eq!(owner.name_of(&file).await, "ours.txt");
    });
}

/// Runs the schedule until the push of a file out of scope is delayed by more than a minute.
async fn back_off_out_of_scope(hand: &ByHand, file: &str) {
    let file = FileId::parse(file).unwrap();
    for _ in 0..100 {
        hand.advance_clock(Duration::from_secs(301));
        hand.sweep_and_pump().await;
        let record = hand.store().load_file(&hand.key, &file).await.unwrap();
        let push = record.unwrap().push;
        assert!(push.out_of_scope, "{push:?}");
        if push.not_before.millis_since(hand.now()) > 60_000 {
            return;
        }
    }
    panic!("it is never left for long");
}

#[test]
fn an_edit_out_of_scope_is_pushed_as_soon_as_a_rule_allows_it() {
    by_hand(6, async |hand| {
        let (owner, file) = (hand.owner(), hand.take());
        let before = owner.name_of(&file).await;
        hand.post("/pause", json!({})).await;
        hand.edit_ok(&file, json!({"name": "ours.txt"})).await;
        set_rules(hand, json!({"exclude": [{"name": before}]})).await;
        hand.post("/resume", json!({})).await;
        back_off_out_of_scope(hand, &file).await;
        // An unrelated rule does not release it.
        set_rules(
            hand,
            json!({"exclude": [{"name": before}, {"name": "none"}]}),
        )
        .await;
        hand.pump().await;
        assert_eq!(hand.file(&file).await["intent"]["status"], "held");
        back_off_out_of_scope(hand, &file).await;

        set_rules(hand, json!({"exclude": [{"name": "none"}]})).await;
        hand.pump().await;
        assert_eq!(owner.name_of(&file).await, "ours.txt");
    });
}

#[test]
fn an_edit_out_of_scope_is_pushed_when_its_folder_moves_into_scope() {
    by_hand(6, async |hand| {
        let (owner, file) = (hand.owner(), hand.take());
        let included = owner.create("Included", true).await;
        let folder = owner.create("Elsewhere", true).await;
        owner.move_to(&file, &folder).await;
        hand.sync().await;
        hand.pump().await;
        hand.post("/pause", json!({})).await;
        hand.edit_ok(&file, json!({"name": "ours.txt"})).await;
        set_rules(hand, json!({"include": [{"folder": included}]})).await;
        hand.post("/resume", json!({})).await;
        back_off_out_of_scope(hand, &file).await;

        owner.move_to(&folder, &included).await;
        hand.sync().await;
        hand.pump().await;
        assert_eq!(owner.name_of(&file).await, "ours.txt");
    });
}

#[test]
fn a_conflict_out_of_scope_is_held_until_the_file_is_back() {
    own(async |world| {
        let (owner, file) = (world.owner(), world.take());
        world.post("/pause", json!({})).await;
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        owner.rename(&file, "theirs.txt").await;
        world.post("/resume", json!({})).await;
        let conflict = world.conflict_on(&file, "name").await;
        assert_eq!(conflict["held"], Value::Null);
        set_rules(world, json!({"exclude": [{"name": "theirs.txt"}]})).await;
        let conflict = world.conflict_on(&file, "name").await;
        assert_eq!(conflict["held"], true);
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let choose = Some(json!({"choose": "app"}));
        let refused = world.api(Method::POST, &path, &[], choose.clone()).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert_eq!(refused.body["type"], "urn:drivesync:problem:out-of-scope");
        set_rules(world, json!({"exclude": []})).await;
        let settled = world.api(Method::POST, &path, &[], choose).await;
        assert_eq!(settled.status, 200, "{}", settled.body);
        world.converge().await;
        assert_eq!(owner.name_of(&file).await, "ours.txt");
    });
}

#[test]
fn a_rule_without_matches_is_visible_and_an_invalid_one_is_rejected() {
    own(async |world| {
        let rules = json!({
            "include": [{"name": "*"}, {"folder": "1NoSuchFolder"}],
            "exclude": [{"name": "no such name"}],
        });
        set_rules(world, rules.clone()).await;
        let shown = world.get("").await;
        assert_eq!(shown["rules"], rules);
        let status = world.get("/status").await;
        let matches: Vec<(Value, bool)> = status["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| (rule["rule"].clone(), rule["matches"].as_u64() > Some(0)))
            .collect();
        assert_eq!(
            matches,
            [
                (json!({"name": "*"}), true),
                (json!({"folder": "1NoSuchFolder"}), false),
                (json!({"name": "no such name"}), false),
            ]
        );
        let bad = json!({"rules": {"include": [{"name": "a\\"}]}});
        let refused = world
            .api(Method::PATCH, "", &[("if-match", "*")], Some(bad))
            .await;
        assert_eq!(
            (refused.status, refused.body["pointer"].as_str()),
            (422, Some("/rules/include/0/name"))
        );
    });
}
