//! The audit trail: every accepted request that changes something is there once, in chains that
//! show every alteration.

use std::time::Duration;

use domain::content::ObjectKey;
use domain::trail::ChainCheck;
use http::Method;
use local::aws::AUDIT_BUCKET;
use objects::Objects;
use serde_json::{Value, json};
use store::act_line;

use crate::support::{ByHand, Outside, by_hand, own};

/// Reads all acts that match a query, in small pages.
async fn acts(world: &Outside, query: &str) -> Vec<Value> {
    let mut acts = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/audit?limit=7{query}{cursor}");
        let page = world.ask(Method::GET, &path, None).await;
        assert_eq!(page.status, 200, "{}", page.body);
        acts.extend(page.body["items"].as_array().unwrap().iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return acts,
        }
    }
}

/// Returns what was done, in order.
fn what(acts: &[Value]) -> Vec<&str> {
    let what = acts.iter().map(|act| act["what"].as_str().unwrap());
    what.collect()
}

/// Returns the number of places where the chains of these acts do not hold.
fn breaks(acts: &[Value]) -> usize {
    let mut check = ChainCheck::default();
    let links = acts
        .iter()
        .map(|act| act_line::link(act.as_object().unwrap()).unwrap());
    links.map(|link| check.take(&link).len()).sum()
}

#[test]
fn every_accepted_request_that_changes_something_is_one_act() {
    own(async |world| {
        let (file, other) = (world.take(), world.take());
        let before = acts(world, "").await.len();
        let any = [("if-match", "*")];
        let keyed = [("if-match", "*"), ("idempotency-key", "once")];
        let patch = format!("/files/{file}");
        let renamed = Some(json!({"name": "renamed.txt"}));
        let edit = async |headers: &[(&str, &str)]| {
            let edited = world.api(Method::PATCH, &patch, headers, renamed.clone());
            edited.await.status
        };
        assert_eq!(edit(&keyed).await, 200);
        // A repeat, a request that changes nothing, one that is refused and one that reads.
        assert_eq!(edit(&keyed).await, 200);
        assert_eq!(edit(&any).await, 200);
        assert_eq!(edit(&[]).await, 428);
        world.get(&patch).await;

        world.configure(json!({"name": "Renamed"})).await;
        world.post("/pause", Value::Null).await;
        world.post("/pause", Value::Null).await;
        world.post("/resume", Value::Null).await;
        world.post("/sync", json!({"mode": "delta"})).await;
        world
            .post("/sync", json!({"mode": "audit", "dry_run": true}))
            .await;
        world
            .post(
                "/files",
                json!({"name": "new.txt", "mime_type": "text/plain"}),
            )
            .await;
        let path = format!("/files/{other}");
        let deleted = world.api(Method::DELETE, &path, &any, None).await;
        assert_eq!(deleted.status, 200);
        world
            .post("/intents/cancel", json!({"status": "owed", "all": true}))
            .await;

        let done = acts(world, "").await;
        let done = &done[before..];
        let mut found = what(done);
        // What is owed may have reached Drive before it was cancelled.
        found.retain(|what| *what != "cancel_intents");
        assert_eq!(
            found,
            [
                "update_file",
                "update_connection",
                "pause_connection",
                "resume_connection",
                "start_sync",
                "start_sync",
                "create_file",
                "delete_file",
            ]
        );
        assert_eq!(breaks(done), 0);
        for act in done {
            assert_eq!(act["connection"], world.connection, "{act}");
            assert_eq!(act["subject"], "you", "{act}");
            assert!(act["by"].as_str().unwrap().starts_with("p_"), "{act}");
        }
        assert_eq!(done[0]["file"], file);
        assert_eq!(done[0]["fields"], json!(["name"]));
        let name = &done[1]["changes"]["name"];
        assert_eq!(name["after"], "Renamed");

        let query = format!("&what=update_connection&connection={}", world.connection);
        assert_eq!(acts(world, &query).await.len(), 1);
        assert_eq!(acts(world, "&by=you&what=create_file").await.len(), 1);
        assert_eq!(acts(world, "&by=nobody").await, [] as [Value; 0]);
        let last = done.last().unwrap()["at"].as_str().unwrap();
        assert_eq!(
            acts(world, &format!("&after={last}")).await,
            [] as [Value; 0]
        );
        let bad = world.ask(Method::GET, "/v1/audit?after=today", None).await;
        assert_eq!((bad.status, &bad.body["parameter"]), (400, &json!("after")));
    });
}

#[test]
fn acts_of_many_at_once_are_all_there_and_an_altered_one_is_found() {
    own(async |world| {
        let before = acts(world, "").await.len();
        let files: Vec<String> = (0..12).map(|_| world.take()).collect();
        let edits = files.iter().map(|file| async move {
            for number in 0..4 {
                let description = format!("{number}");
                let edited = world.edit(file, json!({ "description": description }));
                assert_eq!(edited.await.status, 200);
            }
        });
        futures_util::future::join_all(edits).await;
        let mut done = acts(world, "").await;
        assert_eq!(done.len() - before, 48);
        for file in &files {
            let of_file = done.iter().filter(|act| act["file"] == **file);
            assert_eq!(of_file.count(), 4);
        }
        assert_eq!(breaks(&done), 0);
        let at = done.len() / 2;
        done[at]["file"] = json!("another");
        assert_eq!(breaks(&done), 1, "one altered act");
        done.remove(at);
        assert!(breaks(&done) <= 1);
    });
}

#[test]
fn what_a_policy_decides_and_what_a_person_decides_are_acts() {
    by_hand(4, async |hand: &ByHand| {
        let (first, second) = (hand.take(), hand.take());
        let before = acts(hand, "").await.len();
        for (file, policy) in [(&first, "manual"), (&second, "drive_wins")] {
            hand.configure(json!({"policies": {"default": policy}}))
                .await;
            hand.edit_ok(file, json!({"name": "ours.txt"})).await;
            hand.owner().rename(file, "theirs.txt").await;
            hand.sweep_and_pump().await;
        }
        let open = hand.get("/conflicts?status=open").await;
        let id = open["items"][0]["id"].as_str().unwrap();
        let body =
            json!({"resolutions": [{"id": id, "choose": "app"}, {"id": "none", "choose": "app"}]});
        let decided = hand.post("/conflicts/resolutions", body.clone()).await;
        assert_eq!(decided["results"][0]["status"], 200, "{decided}");
        // Nothing is left to decide.
        hand.post("/conflicts/resolutions", body).await;
        let done = acts(hand, "").await;
        let mut found = what(&done[before..]);
        found.retain(|what| !matches!(*what, "update_connection" | "update_file"));
        assert_eq!(found, ["decide_by_policy", "resolve_conflicts"]);
        let policy = &done[before..]
            .iter()
            .find(|act| act["what"] == "decide_by_policy")
            .unwrap();
        assert_eq!(policy["by"], "policy");
        assert_eq!(policy["subject"], Value::Null);
        assert_eq!(policy["file"], second);
        let person = done.last().unwrap();
        assert_eq!(person["count"], 2);
        assert_eq!(person["ids"], json!([id, "none"]));
        assert_eq!(breaks(&done), 0);
    });
}

#[test]
fn each_day_is_exported_to_a_file_that_names_the_one_before() {
    by_hand(4, async |hand: &ByHand| {
        let file = hand.take();
        let bucket = Objects::new(hand.aws.s3_client(), AUDIT_BUCKET);
        let mut previous = None;
        for round in 0..3 {
            let day: String = hand.now().to_string().chars().take(10).collect();
            let description = format!("{round}");
            hand.edit_ok(&file, json!({ "description": description }))
                .await;
            let mut done = acts(hand, "").await;
            done.retain(|act| act["at"].as_str().unwrap().starts_with(&day));
            assert!(!done.is_empty());
            hand.advance_clock(Duration::from_secs(24 * 3_600 + 660));
            // A day without an act may be passed over first.
            for _ in 0..3 {
                hand.sweep().await;
            }
            let key = ObjectKey::acts(&hand.key.tenant, &day, 1);
            let body = bucket.get(&key, None).await.unwrap();
            let body = body.expect("the day is exported").collect(1_000_000).await;
            let text = String::from_utf8(body.unwrap().to_vec()).unwrap();
            let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let head: Value = lines.next().unwrap();
            assert_eq!(head["export"]["day"], day);
            if let Some(previous) = &previous {
                assert_eq!(&head["export"]["previous"]["sha256"], previous);
            }
            for act in &mut done {
                act.as_object_mut().unwrap().remove("subject");
            }
            assert_eq!(lines.collect::<Vec<Value>>(), done);
            previous = Some(act_line::hash_of(&text).to_string());
        }
    });
}
