//! Shared drives that no log reports, and files that drivesync itself moves between drives.

use std::time::Duration;

use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{ByHand, Team, by_hand};

/// Runs the schedule often enough to apply a listing and to mark files.
async fn run_schedule(hand: &ByHand) {
    for _ in 0..5 {
        hand.sweep_and_pump().await;
        hand.advance_clock(Duration::from_secs(20));
    }
}

/// Moves the clock past the next comparison of drives, and runs the schedule again.
async fn run_an_hour_later(hand: &ByHand) {
    hand.advance_clock(Duration::from_secs(61 * 60));
    run_schedule(hand).await;
}

#[test]
fn the_hourly_comparison_finds_drives_joined_or_left_without_a_log_entry() {
    by_hand(4, async |hand| {
        hand.hide_changes().await;
        let before = hand.files().await.len();
        let team = Team::make(hand, "Silent").await;
        let files = team.files(3).await;
        let permission = team.join().await;
        run_schedule(hand).await;
        assert!(hand.log_of(&team.id).await.is_none(), "no log reported it");
        run_an_hour_later(hand).await;
        let log = hand.log_of(&team.id).await.unwrap();
        assert_eq!(log["position"], "following");
        assert_eq!(log["drive"]["name"], "Silent");
        for file in &files {
            assert_eq!(hand.file(file).await["presence"], "present");
        }

        // The drive's log would report the end of the membership by a rejection; here its error
        // says nothing.
        let pattern = format!("GET /drive/v3/changes?*driveId={}*", team.id);
        let refused = json!({"status": 400, "reason": "notNow"});
        hand.fault(json!({"match": pattern, "times": 0, "respond": refused}));
        team.expel(&permission).await;
        run_schedule(hand).await;
        assert_eq!(
            hand.log_of(&team.id).await.unwrap()["position"],
            "following"
        );
        run_an_hour_later(hand).await;
        assert_eq!(hand.log_of(&team.id).await.unwrap()["position"], "left");
        for file in &files {
            assert_eq!(hand.file(file).await["presence"], "access_lost");
        }
        assert_eq!(hand.files().await.len(), before, "and no other file");
        assert_eq!(hand.get("/status").await["state"], "active");
    });
}

/// Returns the parents of a file in Drive.
async fn parent_of(hand: &ByHand, file: &str) -> Value {
    let path = format!("/drive/v3/files/{file}?supportsAllDrives=true&fields=parents");
    hand.owner().done(Method::GET, &path, None).await["parents"].clone()
}

/// Makes only the log that reports `removed` available, of the two that report a move.
fn make_only_the_old_log_available(hand: &ByHand, drive: &str, old_is_the_users: bool) {
    let of_drive = format!("GET /drive/v3/changes?*driveId={drive}*");
    let refused = json!({"status": 400, "reason": "notNow"});
    if old_is_the_users {
        hand.fault(json!({"match": of_drive, "times": 0, "respond": refused}));
    } else {
        // A call meets its first matching fault, and this one has no effect.
        hand.fault(json!({"match": of_drive, "times": 0, "delay_ms": 1}));
        hand.fault(json!({"match": "GET /drive/v3/changes", "times": 0, "respond": refused}));
    }
}

#[test]
fn our_move_into_a_shared_drive_and_back_keeps_the_file_and_its_history() {
    by_hand(4, async |hand| {
        let team = Team::make(hand, "Theirs").await;
        let folder = team.folder("Inbox").await;
        let permission = team.give(&team.id, "organizer").await;
        hand.sync().await;
        run_schedule(hand).await;
        let file = hand.take();
        let home = hand.file(&file).await["fields"]["parent"].clone();
        let home = home.as_str().unwrap();
        let count = hand.files().await.len();
        let mut before = hand.versions(&file).await;
        for (parent, drive_id) in [(folder.as_str(), json!(team.id)), (home, Value::Null)] {
            make_only_the_old_log_available(hand, &team.id, !drive_id.is_null());
            hand.edit_ok(&file, json!({ "parent": parent })).await;
            hand.pump().await;
            assert_eq!(parent_of(hand, &file).await, json!([parent]));
            hand.sync().await;
            hand.pump().await;
            let is_there = async || {
                let shown = hand.file(&file).await;
                assert_eq!(shown["presence"], "present", "{shown}");
                assert_eq!(shown["fields"]["parent"], parent, "{shown}");
                assert_eq!(shown["fields"]["drive_id"], drive_id, "{shown}");
                assert_eq!(shown["intent"], Value::Null);
            };
            is_there().await;
            // The other log is read, and the failed messages are retried.
            hand.simulator.clear_faults();
            hand.advance_clock(Duration::from_secs(400));
            hand.sweep_and_pump().await;
            is_there().await;
            assert_eq!(hand.conflicts_of(&file).await, Vec::<Value>::new());
            let after = hand.versions(&file).await;
            assert!(after.len() > before.len(), "{before:?} {after:?}");
            assert!(after.ends_with(&before), "{before:?} {after:?}");
            let all = hand.files().await;
            assert!(all.contains_key(&file) && all.len() == count);
            before = after;
        }

        // The file is not in that drive any more.
        team.expel(&permission).await;
        hand.sync().await;
        run_an_hour_later(hand).await;
        assert_eq!(hand.log_of(&team.id).await.unwrap()["position"], "left");
        assert_eq!(hand.file(&folder).await["presence"], "access_lost");
        assert_eq!(hand.file(&file).await["presence"], "present");
    });
}

#[test]
fn a_file_that_moved_to_another_drive_before_its_drive_was_left_stays_present() {
    by_hand(2, async |hand| {
        let (from, to) = (Team::make(hand, "From").await, Team::make(hand, "To").await);
        let (goes, stays) = (from.file("goes.txt").await, from.file("stays.txt").await);
        let permission = from.join().await;
        to.join().await;
        hand.sync().await;
        run_schedule(hand).await;
        assert_eq!(
            hand.file(&goes).await["fields"]["drive_id"],
            from.id.as_str()
        );

        from.expel(&permission).await;
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        assert_eq!(hand.log_of(&from.id).await.unwrap()["position"], "left");
        hand.sweep().await;
        assert!(
            hand.waiting(Queue::SnapshotsBulk) > 0,
            "the marks are queued"
        );
        let path = format!(
            "/drive/v3/files/{goes}?addParents={}&removeParents={}&supportsAllDrives=true",
            to.id, from.id
        );
        let body = Some(json!({}));
        to.organizer.done(Method::PATCH, &path, body).await;
        hand.advance_clock(Duration::from_secs(2));
        hand.sync().await;
        hand.pump_only(Queue::LogWakes).await;
        hand.pump_only(Queue::Snapshots).await;
        assert_eq!(hand.file(&goes).await["fields"]["drive_id"], to.id.as_str());
        run_schedule(hand).await;
        assert_eq!(hand.file(&goes).await["presence"], "present");
        assert_eq!(hand.file(&stays).await["presence"], "access_lost");
    });
}
