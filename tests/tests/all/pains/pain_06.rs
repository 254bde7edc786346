//! Later pages of a log get dropped, or the cursor jumps past what was not delivered.

use http::Method;
use local::aws::Queue;
use serde_json::json;

use crate::support::{ByHand, by_hand};

#[test]
fn pain_06_of_two_and_a_half_thousand_changes_on_short_and_empty_pages_none_is_missed() {
    by_hand(4, async |hand| {
        let pages = json!({"size": 300, "empty_every": 4});
        hand.control(Method::POST, "pages", pages).await;
        let load = json!({"files": 2_450, "folders": 50});
        hand.control(Method::POST, "load", load).await;
        hand.simulator.zero_counters();
        hand.woken().await;
        hand.pump().await;
        assert_eq!(hand.differences().await, Vec::<String>::new());
        assert_eq!(hand.files().await.len(), 2_506);
        let listed = hand.calls("changes.list");
        assert!(listed >= 9 + 2, "short pages, and empty ones: {listed}");
        assert_eq!(hand.calls("files.get") + hand.calls("v2.files.get"), 0);
    });
}

/// The files whose change Drive would still tell of, from where the cursor stands.
async fn ahead_of_the_cursor(hand: &ByHand) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), hand.log().await.cursor.unwrap());
    loop {
        let path = format!("/drive/v3/changes?pageToken={}&fields=*", token.as_str());
        let (status, page) = hand.owner().call(Method::GET, &path, None).await;
        assert_eq!(status, 200, "{page}");
        let changes = page["changes"].as_array().unwrap().iter();
        ids.extend(changes.map(|change| change["fileId"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(next) => token = domain::PageToken::new(next),
            None => return ids,
        }
    }
}

#[test]
fn pain_06_stopped_at_any_of_its_calls_the_reader_never_leaves_its_cursor_ahead_of_the_queue() {
    by_hand(7, async |hand| {
        let pages = json!({"size": 2, "empty_every": 3});
        hand.control(Method::POST, "pages", pages).await;
        let files: Vec<String> = (0..5).map(|_| hand.take()).collect();
        let mut calls = 0;
        loop {
            let name = format!("stopped at {calls}.txt");
            for file in &files {
                hand.owner().rename(file, &name).await;
            }
            hand.woken().await;
            let crashed = hand.crashes(Queue::LogWakes, calls).await;
            hand.pump_only(Queue::Snapshots).await;
            let told = ahead_of_the_cursor(hand).await;
            for file in &files {
                let applied = hand.file(file).await["fields"]["name"] == name.as_str();
                assert!(
                    applied || told.contains(file),
                    "{file} is neither queued nor ahead of the cursor after call {calls}"
                );
            }
            // What was in work comes back.
            hand.pump().await;
            assert_eq!(hand.differences().await, Vec::<String>::new());
            if !crashed {
                break;
            }
            calls += 1;
        }
        assert!(calls >= 8, "three pages are at least eight calls: {calls}");
        assert_eq!(hand.get("/conflicts?status=all").await["items"], json!([]));
    });
}
