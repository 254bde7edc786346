//! The first listing of all files: it is complete by its own word and a second look.

use std::time::Duration;

use drive_simulator::Simulator;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, World, by_hand, eventually, run, serve};

/// Runs a test with a connection to a Drive of 50 files that pages its listings like this from the
/// start.
fn first_sync(pages: &Value, test: impl AsyncFnOnce(&World)) {
    run(async {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(50, 4);
        let drive_url = serve(&simulator).await;
        let order = reqwest::Client::new().post(format!("{drive_url}/_control/pages"));
        let order = order.header("x-drive-control", simulator.control_key().unwrap());
        let done = order.json(pages).send().await.unwrap();
        assert!(done.status().is_success());
        let world = World::beside(simulator, &drive_url, None, true).await;
        Box::pin(test(&world)).await;
        world.system.stop().await;
    });
}

#[test]
fn regression_a_first_listing_that_ends_early_is_completed_by_the_second_look() {
    first_sync(&json!({"search_ends_after": 10}), async |world| {
        let done = world.latest_in("initial_sync", "done").await;
        let all = world.simulator.file_ids().len();
        assert_eq!(done["listed"], 10, "{done}");
        assert_eq!(done["second_look"]["listed"], all, "{done}");
        assert_eq!(done["drift"]["missing_here"], all - 10, "{done}");
        world.converge().await;
        assert_eq!(world.files().await.len(), all);
    });
}

/// Lists all files again, and delivers everything that is queued.
async fn relist(hand: &ByHand) {
    hand.post("/sync", json!({"mode": "full"})).await;
    hand.sweep_and_pump().await;
}

async fn resync(hand: &ByHand) -> Value {
    let operations = hand.get("/operations").await;
    let mut items = operations["items"].as_array().unwrap().iter();
    let latest = items.find(|operation| operation["kind"] == "resync");
    latest.expect("a resync").clone()
}

/// Sweeps and delivers for this many seconds.
async fn seconds_pass(hand: &ByHand, seconds: u64) {
    for _ in 0..seconds / 5 {
        hand.advance_clock(Duration::from_secs(5));
        hand.sweep_and_pump().await;
    }
}

#[test]
fn regression_an_incomplete_search_is_not_a_whole_listing() {
    by_hand(12, async |hand| {
        let pages = json!({"incomplete_search": true});
        hand.control(Method::POST, "pages", pages).await;
        relist(hand).await;
        seconds_pass(hand, 60).await;
        let waits = resync(hand).await;
        assert_eq!(waits["state"], "listing", "{waits}");
        assert_eq!(waits["stopped"]["reason"], "incomplete", "{waits}");
        assert!(
            waits["stopped"]["attempts"].as_u64().unwrap() <= 4,
            "{waits}"
        );
        hand.control(Method::POST, "pages", json!({})).await;
        seconds_pass(hand, 200).await;
        let done = resync(hand).await;
        assert_eq!(done["state"], "done", "{done}");
        assert!(done["stopped"].is_null(), "{done}");
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn regression_a_resync_that_ends_early_misses_no_change_to_a_file_that_is_stored() {
    by_hand(12, async |hand| {
        hand.sweep_and_pump().await;
        hand.hide_changes().await;
        for (number, file) in hand.simulator.file_ids().iter().enumerate() {
            hand.owner()
                .rename(file, &format!("missed-{number}.txt"))
                .await;
        }
        let pages = json!({"search_ends_after": 3});
        hand.control(Method::POST, "pages", pages).await;
        relist(hand).await;
        seconds_pass(hand, 60).await;
        let done = resync(hand).await;
        assert_eq!(done["state"], "done", "{done}");
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

/// Begins a listing under the current faults, which stop it after at most this many calls in a
/// minute, and completes it without them.
async fn stops_and_continues(hand: &ByHand, reason: &str, calls_max: u64) {
    hand.simulator.zero_counters();
    relist(hand).await;
    seconds_pass(hand, 60).await;
    let waits = resync(hand).await;
    assert_eq!(waits["stopped"]["reason"], reason, "{waits}");
    let calls = hand.calls("files.list");
    assert!(calls <= calls_max, "{calls}");
    hand.simulator.clear_faults();
    seconds_pass(hand, 200).await;
    assert_eq!(resync(hand).await["state"], "done");
    assert_eq!(hand.differences().await, Vec::<String>::new());
}

#[test]
fn regression_a_listing_whose_next_page_is_refused_again_and_again_waits() {
    by_hand(12, async |hand| {
        let words = json!({
            "\"incompleteSearch\":false": "\"incompleteSearch\":false,\"nextPageToken\":\"x\""
        });
        hand.fault(json!({"match": "GET /drive/v3/files", "times": 0, "replace": words}));
        stops_and_continues(hand, "token_refused", 10).await;
    });
}

#[test]
fn regression_a_listing_whose_token_repeats_waits_and_is_continued() {
    by_hand(12, async |hand| {
        hand.control(Method::POST, "pages", json!({"size": 5}))
            .await;
        hand.fault(json!({"match": "GET /drive/v3/files", "times": 0, "repeat_token": 1}));
        stops_and_continues(hand, "token_repeats", 6).await;
    });
}

#[test]
fn a_comparison_a_week_finds_what_no_log_reports_and_touches_nothing_else() {
    by_hand(8, async |hand| {
        hand.sweep_and_pump().await;
        let before = hand.files().await;
        hand.hide_changes().await;
        let unreported = hand.owner().create("unreported.txt", false).await;
        for _ in 0..8 {
            hand.advance_clock(Duration::from_hours(24));
            for _ in 0..4 {
                hand.sweep_and_pump().await;
                hand.advance_clock(Duration::from_secs(61));
            }
        }
        let operations = hand.get("/operations").await;
        let items = operations["items"].as_array().unwrap().iter();
        let comparisons: Vec<&Value> = items.filter(|run| run["kind"] == "audit").collect();
        for run in &comparisons {
            assert_eq!(
                (&run["state"], &run["by"]),
                (&json!("done"), &json!("drivesync"))
            );
        }
        let finds = |run: &&&Value| run["drift"]["missing_here"] == 1;
        assert_eq!(
            comparisons.iter().filter(finds).count(),
            1,
            "{comparisons:?}"
        );
        eventually("the file is here", async || hand.find(&unreported).await).await;
        let mut after = hand.files().await;
        after.remove(&unreported);
        assert_eq!(after, before, "no other record was written");

        let any = [("if-match", "*")];
        let off = json!({"comparison_interval_days": 0});
        let turned_off = hand.api(Method::PATCH, "", &any, Some(off)).await;
        assert_eq!(
            turned_off.body["comparison_interval_days"], 0,
            "{}",
            turned_off.body
        );
    });
}
