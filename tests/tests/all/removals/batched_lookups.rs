//! Files that Drive reports as removed are looked up in batches, and each gets the state that the
//! lookup found.

use std::time::Duration;

use domain::FileId;
use http::Method;
use local::aws::Queue;
use serde_json::json;
use worker::{Origin, SnapshotMessage, queue};

use crate::support::{ByHand, Setup, Team, World, by_hand, own_with};

impl ByHand {
    /// Runs the schedule until all of these files are present.
    async fn wait_until_present(&self, files: &[&String]) {
        for _ in 0..40 {
            let ours = self.files().await;
            if files.iter().all(|file| ours.contains_key(*file)) {
                return;
            }
            self.sweep_and_pump().await;
            self.advance_clock(Duration::from_secs(61));
        }
        panic!("not all files have arrived");
    }

    /// Reads every log to its end; the changes are queued, but not applied.
    async fn fetch(&self) {
        self.sync().await;
        self.pump_only(Queue::LogWakes).await;
    }

    /// Delivers the queued snapshots, and returns the number of batches.
    async fn apply(&self, queue: Queue) -> u64 {
        let mut batches = 0;
        self.wait_until_visible(queue).await;
        loop {
            let received = self.receive(queue).await;
            if received.is_empty() {
                return batches;
            }
            self.deliver(queue, &received, self.deadline()).await;
            batches += 1;
        }
    }

    /// Queues a lookup of each of these files, as an operation does.
    async fn queue_lookups(&self, files: &[&String]) {
        let lookup = |file: &&String| SnapshotMessage {
            key: self.key.clone(),
            origin: Origin::Operation("op1".to_owned()),
            file: FileId::parse(file).unwrap(),
            at: self.now(),
            snapshot: None,
        };
        let lookups: Vec<SnapshotMessage> = files.iter().map(lookup).collect();
        let bulk = &self.functions.run_operations.snapshots_bulk;
        queue::send_snapshots(bulk, &lookups).await.unwrap();
    }

    async fn presence(&self, file: &str) -> String {
        let file = self.file(file).await;
        file["presence"].as_str().unwrap().to_owned()
    }
}

#[test]
fn three_hundred_files_of_a_deleted_folder_are_looked_up_in_batches() {
    by_hand(2, async |hand| {
        let team = Team::make(hand, "Team").await;
        let (folder, kept) = (team.folder("all").await, team.file("kept.txt").await);
        let mut gone = vec![folder.clone()];
        for number in 0..300 {
            gone.push(team.file_in(&folder, &format!("{number}.txt")).await);
        }
        team.join().await;
        hand.wait_until_present(&gone.iter().chain([&kept]).collect::<Vec<_>>())
            .await;
        hand.pump().await;

        team.delete(&folder).await;
        hand.fetch().await;
        hand.simulator.zero_counters();
        let batches = hand.apply(Queue::Snapshots).await;
        assert!(batches >= 31, "{batches} batches of ten");
        let counters = hand.simulator.counters();
        assert_eq!(hand.calls("v2.files.get"), 301, "each is asked about once");
        let (requests, drives) = (hand.calls("batch"), hand.calls("drives.get"));
        assert!(
            requests > 0 && requests <= batches,
            "{requests} of {batches}"
        );
        assert!(drives > 0 && drives <= batches, "{drives} of {batches}");
        assert!(counters.quota_units <= 5 * (301 + batches), "{counters:?}");

        let ours = hand.files().await;
        assert!(ours.contains_key(&kept));
        assert!(gone.iter().all(|file| !ours.contains_key(file)));
        for file in gone.iter().step_by(60) {
            assert_eq!(hand.presence(file).await, "removed");
        }
    });
}

#[test]
fn missing_files_of_one_batch_get_the_state_of_their_own_reason() {
    by_hand(2, async |hand| {
        let (ours, theirs) = (
            Team::make(hand, "Ours").await,
            Team::make(hand, "Theirs").await,
        );
        let [deleted, moved, kept, refused] =
            ["deleted", "moved", "kept", "refused"].map(|name| async { ours.file(name).await });
        let (deleted, moved) = (deleted.await, moved.await);
        let (kept, refused) = (kept.await, refused.await);
        let away = theirs.file("out of reach").await;
        ours.join().await;
        let permission = theirs.join().await;
        let all = [&deleted, &moved, &kept, &refused, &away];
        hand.wait_until_present(&all).await;
        hand.pump().await;

        ours.delete(&deleted).await;
        theirs.expel(&permission).await;
        let home = hand.owner().get("root").await["id"].clone();
        let path = format!(
            "/drive/v3/files/{moved}?supportsAllDrives=true&addParents={}&removeParents={}",
            home.as_str().unwrap(),
            ours.id
        );
        // Moving a file out of a shared drive requires the role of an organizer.
        ours.give(&ours.id, "organizer").await;
        let owner = hand.owner();
        owner.done(Method::PATCH, &path, Some(json!({}))).await;
        let denied = json!({"status": 403, "reason": "somethingNew"});
        let pattern = format!("GET /drive/v2/files/{refused}*");
        hand.fault(json!({"match": pattern, "times": 0, "respond": denied}));

        hand.queue_lookups(&all).await;
        hand.simulator.zero_counters();
        let received = hand.receive(Queue::SnapshotsBulk).await;
        assert_eq!(received.len(), all.len(), "they are one batch");
        hand.deliver(Queue::SnapshotsBulk, &received, hand.deadline())
            .await;
        assert_eq!(hand.calls("batch"), 1);
        assert_eq!(hand.calls("drives.get"), 2, "each drive once");

        assert_eq!(hand.presence(&deleted).await, "removed");
        assert_eq!(hand.presence(&away).await, "access_lost");
        let shown = hand.file(&moved).await;
        assert_eq!(shown["presence"], "present");
        assert_eq!(shown["fields"]["parent"], home);
        assert_eq!(hand.presence(&kept).await, "present");
        assert_eq!(hand.presence(&refused).await, "present");
        let left = hand.aws.sqs().depth(Queue::SnapshotsBulk.name()).unwrap();
        assert_eq!(left.total(), 1, "the refused one comes back");
        hand.simulator.clear_faults();
        hand.advance_clock(Duration::from_secs(60));
        hand.apply(Queue::SnapshotsBulk).await;
        let left = hand.aws.sqs().depth(Queue::SnapshotsBulk.name()).unwrap();
        assert_eq!(left.total(), 0);
        assert_eq!(hand.presence(&refused).await, "present");
    });
}

#[test]
fn a_batch_of_lookups_that_crashes_at_any_call_ends_as_undisturbed() {
    by_hand(8, async |hand| {
        let team = Team::make(hand, "Team").await;
        let files = team.files(4).await;
        team.join().await;
        hand.wait_until_present(&files.iter().collect::<Vec<_>>())
            .await;
        hand.pump().await;
        team.delete(&files[0]).await;
        team.delete(&files[1]).await;
        hand.queue_lookups(&files.iter().collect::<Vec<_>>()).await;
        let mut at = 0;
        while hand.crashes(Queue::SnapshotsBulk, at).await {
            at += 1;
        }
        assert!(at >= 3, "it was stopped {at} times");
        let mut found = Vec::new();
        for file in &files {
            found.push(hand.presence(file).await);
        }
        assert_eq!(found, ["removed", "removed", "present", "present"]);
    });
}

async fn delete_unreported(world: &World, team: &Team, files: &[String]) {
    world.hide_changes().await;
    for file in files {
        team.delete(file).await;
    }
}

#[test]
fn a_page_of_drift_candidates_is_looked_up_in_one_batch() {
    let setup = Setup {
        files: 3,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let team = Team::make(world, "Team").await;
        let files = team.files(130).await;
        team.join().await;
        for file in &files {
            world
                .file_until("it is here", file, |f| f["presence"] == "present")
                .await;
        }
        let (gone, kept) = files.split_at(110);
        delete_unreported(world, &team, gone).await;
        let body = json!({"mode": "audit", "log": team.id, "dry_run": true});
        world.simulator.zero_counters();
        let started = world.post("/sync", body).await;
        let id = started["operation"]["id"].as_str().unwrap();
        let audit = world.operation_in(id, "done").await;
        assert_eq!(audit["drift"]["missing_there"], 110, "{audit}");
        let found = world.drift(id).await;
        assert!(
            found.iter().all(|item| item["gone"] == "removed"),
            "{found:?}"
        );
        // The drive's root is in no listing, and looked up too.
        let asked = world.calls("v2.files.get");
        assert!((110..=111).contains(&asked), "{asked}");
        // Two pages of candidates.
        let (requests, drives) = (world.calls("batch"), world.calls("drives.get"));
        assert!((1..=6).contains(&requests), "{requests}");
        assert!((1..=6).contains(&drives), "{drives}");
        assert_eq!(world.file(&kept[0]).await["presence"], "present");
    });
}
