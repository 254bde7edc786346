//! Drive forgets the page token: the connection is resynced, and no record is lost or invented.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, Setup, World, by_hand, eventually, own, own_with};

/// Returns the revision and the number of versions of each file, which must not change without an
/// edit.
async fn revisions(world: &World) -> BTreeMap<String, (Value, usize)> {
    let mut all = BTreeMap::new();
    for (id, file) in world.files().await {
        let history = world.get(&format!("/files/{id}/history")).await;
        let versions = history["items"].as_array().unwrap().len();
        all.insert(id, (file["revision"].clone(), versions));
    }
    all
}

async fn resync_changes_only_edited_files(world: &World) {
    let owner = world.owner();
    let [renamed, deleted, trashed, edited] = [(); 4].map(|()| world.take());
    let before = revisions(world).await;
    world.disable_notifications();
    world.invalidate_cursor().await;
    owner.rename(&renamed, "renamed.txt").await;
    owner.update(&trashed, json!({"trashed": true})).await;
    owner.delete(&deleted).await;
    let made = owner.create("made.txt", false).await;
    world.edit_ok(&edited, json!({"description": "ours"})).await;
    world.sync().await;
    let resync = world.latest_in("resync", "done").await;
    assert_eq!(resync["drift"]["missing_there"], 1, "{resync}");
    assert_eq!(
        resync["drift"]["held"],
        before.len() + 1,
        "what was listed has arrived before it is compared"
    );
    world.converge().await;
    assert_eq!(world.file(&deleted).await["presence"], "removed");
    let after = revisions(world).await;
    let changed = [&renamed, &trashed, &edited, &deleted, &made];
    for (id, was) in &before {
        if !changed.contains(&id) {
            assert_eq!(after.get(id), Some(was), "{id} was not touched");
        }
    }
    assert_eq!(after.len(), before.len(), "one has gone, one has come");
    assert_eq!(
        after[&renamed].1,
        before[&renamed].1 + 1,
        "its history goes on"
    );
    assert_eq!(world.get("/conflicts?status=all").await["items"], json!([]));
}

#[test]
fn pain_08_an_invalid_page_token_loses_no_file_and_invents_none() {
    own(async |world| resync_changes_only_edited_files(world).await);
}

/// Returns the kinds of all operations, newest first.
async fn kinds(hand: &ByHand) -> Vec<String> {
    let operations = hand.get("/operations").await;
    let items = operations["items"].as_array().unwrap().iter();
    let kind = |item: &Value| item["kind"].as_str().unwrap().to_owned();
    items.map(kind).collect()
}

#[test]
fn pain_08_a_page_token_that_is_not_found_for_ten_minutes_leads_to_a_resync() {
    by_hand(6, async |hand| {
        for (status, reason) in [(404, "notFound"), (410, "gone")] {
            let before = kinds(hand).await.len();
            let renamed = hand.take();
            let respond = json!({"status": status, "reason": reason});
            hand.fault(json!({"match": "GET /drive/v3/changes", "times": 0, "respond": respond}));
            hand.owner().rename(&renamed, "while not found.txt").await;
            for _ in 0..9 {
                hand.advance_clock(Duration::from_secs(60));
                hand.sweep_and_pump().await;
            }
            assert_eq!(kinds(hand).await.len(), before, "one {status} is no fact");
            for _ in 0..20 {
                hand.advance_clock(Duration::from_secs(60));
                hand.sweep_and_pump().await;
            }
            assert!(kinds(hand).await.len() > before, "{status}");
            assert_eq!(kinds(hand).await[0], "resync");
            hand.simulator.clear_faults();
            for _ in 0..10 {
                hand.advance_clock(Duration::from_secs(60));
                hand.sweep_and_pump().await;
            }
            assert_eq!(hand.differences().await, Vec::<String>::new());
            assert_eq!(
                hand.file(&renamed).await["fields"]["name"],
                "while not found.txt"
            );
        }
    });
}

#[test]
fn pain_08_changes_during_the_listing_are_not_lost() {
    own(async |world| {
        let (gone, owner) = (world.take(), world.owner());
        world.disable_notifications();
        // A file that is listed on the first page, so that no later page shows its change.
        let path = "/drive/v3/files?pageSize=10&fields=files(id,mimeType)";
        let (_, first) = owner.call(Method::GET, path, None).await;
        let mut first = first["files"].as_array().unwrap().iter();
        let early = first.find(|file| file["mimeType"] == "text/plain" && file["id"] != gone);
        let early = early.unwrap()["id"].as_str().unwrap().to_owned();
        world
            .control(Method::POST, "pages", json!({"size": 10}))
            .await;
        world.invalidate_cursor().await;
        // From the second page on the listing fails until files of the first page have been edited.
        world.fault(
            json!({"match": "GET /drive/v3/files", "after": 1, "times": 0,
            "respond": {"status": 503, "reason": "backendError"}}),
        );
        world.sync().await;
        eventually("the first page is recorded", async || {
            let latest = world.get("/operations").await["items"][0].clone();
            (latest["kind"] == "resync" && latest["pages"] == 1).then_some(())
        })
        .await;
        owner.rename(&early, "after its page.txt").await;
        owner.delete(&gone).await;
        let made = owner.create("after its page too.txt", false).await;
        world.simulator.clear_faults();
        world.sync().await;
        world.latest_in("resync", "done").await;
        world.converge().await;
        assert_eq!(world.file(&made).await["presence"], "present");
        assert_eq!(
            world.file(&early).await["fields"]["name"],
            "after its page.txt"
        );
    });
}

#[test]
fn pain_08_an_unrelated_400_never_starts_a_resync() {
    let setup = Setup {
        notified: false,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let (read, written) = (world.take(), world.take());
        let refuse = |pattern: String, location: &str| {
            let respond = json!({"status": 400, "reason": "invalid", "location": location});
            world.fault(json!({"match": pattern, "respond": respond}));
        };
        // With the location of a lost cursor, but on calls without one.
        refuse(format!("GET /drive/v2/files/{read}"), "pageToken");
        refuse(format!("PATCH /drive/v2/files/{written}"), "pageToken");
        let pushed = |f: &serde_json::Value| f["intent"].is_null();
        let failed = |f: &serde_json::Value| f["intent"]["status"] == "failed";
        for file in [&read, &written] {
            world.edit_ok(file, json!({"name": "refused.txt"})).await;
        }
        world.file_until("it is read again", &read, pushed).await;
        world.file_until("it has failed", &written, failed).await;
        // On the call with a cursor, but with another location.
        refuse("GET /drive/v3/changes".to_owned(), "fields");
        world.sync().await;
        eventually("it is suspended", async || {
            let status = world.get("/status").await;
            (status["state"] == "suspended").then_some(())
        })
        .await;
        let cursor = world.log().await.cursor;
        world.owner().rename(&read, "meanwhile.txt").await;
        world.post("/resume", json!({})).await;
        for file in [&read, &written] {
            world
                .post(&format!("/intents/{file}/cancel"), json!({}))
                .await;
        }
        world.sync().await;
        world.converge().await;
        assert_ne!(world.log().await.cursor, cursor, "it went on from there");
        let operations = world.get("/operations").await;
        let kinds: Vec<&Value> = operations["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|operation| &operation["kind"])
            .collect();
        assert_eq!(kinds, ["initial_sync"], "{operations}");
    });
}
