//! Changes of content wake `mirror-content` through the table's stream; no other change does.

use bytes::Bytes;
use domain::FileId;
use drive_simulator::Edit;
use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};
use worker::ContentWake;

use crate::support::{ByHand, Folder, Outside, Setup, by_hand, eventually, own_with};

/// Changes the content settings of the connection.
pub async fn mirror(world: &Outside, content: Value) -> Value {
    world.configure(json!({ "content": content })).await
}

/// Runs a test by hand with a connection that mirrors content, and whose stream has been read.
pub fn mirrored(files: usize, test: impl AsyncFnOnce(&ByHand)) {
    by_hand(files, async |hand| {
        mirror(hand, json!({"enabled": true})).await;
        hand.sweep_and_pump().await;
        hand.pump().await;
        test(hand).await;
    });
}

/// Applies the changes in Drive to the records, and processes nothing else.
pub async fn apply(hand: &ByHand) {
    hand.sync().await;
    hand.pump_only(Queue::LogWakes).await;
    hand.pump_only(Queue::Snapshots).await;
}

/// Returns the files whose wakes are in a queue, and delivers them.
async fn deliver_wakes(hand: &ByHand, queue: Queue) -> Vec<String> {
    let mut files = Vec::new();
    loop {
        let received = hand.receive(queue).await;
        if received.is_empty() {
            files.sort_unstable();
            return files;
        }
        for message in &received {
            let wake = ContentWake::from_body(&message.body).unwrap();
            assert_eq!(wake.key, hand.key);
            files.push(wake.file.to_string());
        }
        hand.deliver(queue, &received, hand.deadline()).await;
    }
}

pub fn content(hand: &ByHand, file: &str, text: &'static str) {
    hand.simulator
        .replace_content("owner", file, Bytes::from_static(text.as_bytes()))
        .unwrap();
}

#[test]
fn no_wake_is_sent_for_a_connection_that_mirrors_no_content() {
    by_hand(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "changed");
        apply(hand).await;
        assert!(hand.pump_stream().await.unwrap() > 0);
        assert_eq!(
            deliver_wakes(hand, Queue::Content).await,
            Vec::<String>::new()
        );
        assert_eq!(
            deliver_wakes(hand, Queue::ContentBulk).await,
            Vec::<String>::new()
        );
    });
}

#[test]
fn a_content_change_sends_one_wake_and_other_changes_send_none() {
    mirrored(3, async |hand| {
        let (changed, renamed) = (hand.take(), hand.take());
        content(hand, &changed, "changed");
        hand.owner().rename(&renamed, "renamed.txt").await;
        apply(hand).await;
        assert!(hand.pump_stream().await.unwrap() > 0);
        assert_eq!(
            deliver_wakes(hand, Queue::Content).await,
            [changed.as_str()]
        );
        // The mirror has written its own state.
        hand.pump_stream().await.unwrap();
        assert_eq!(hand.pump_stream().await.unwrap(), 0, "it was read");
        hand.owner().rename(&changed, "renamed, too.txt").await;
        apply(hand).await;
        hand.pump_stream().await.unwrap();
        assert_eq!(
            deliver_wakes(hand, Queue::Content).await,
            Vec::<String>::new()
        );
        assert_eq!(
            deliver_wakes(hand, Queue::ContentBulk).await,
            Vec::<String>::new()
        );
    });
}

#[test]
fn new_files_are_woken_with_low_priority_and_removals_with_high_priority() {
    mirrored(3, async |hand| {
        let (trashed, deleted) = (hand.take(), hand.take());
        let made = hand.owner().create("new.txt", false).await;
        hand.owner().create("a folder", true).await;
        let trash = Edit::Trash(true);
        hand.simulator.apply("owner", &trashed, trash).unwrap();
        hand.owner().delete(&deleted).await;
        apply(hand).await;
        hand.pump_stream().await.unwrap();
        assert_eq!(
            deliver_wakes(hand, Queue::ContentBulk).await,
            [made.as_str()]
        );
        let mut left = [trashed, deleted];
        left.sort_unstable();
        assert_eq!(deliver_wakes(hand, Queue::Content).await, left);
    });
}

#[test]
fn the_stream_is_read_again_after_a_crash_before_the_wake() {
    mirrored(3, async |hand| {
        let files = [hand.take(), hand.take()];
        for file in &files {
            content(hand, file, "changed");
        }
        apply(hand).await;
        for _ in 0..2 {
            assert!(hand.stream_crashes("content_of").await);
            assert_eq!(
                deliver_wakes(hand, Queue::Content).await,
                Vec::<String>::new()
            );
        }
        hand.pump_stream().await.unwrap();
        let mut files = files;
        files.sort_unstable();
        assert_eq!(deliver_wakes(hand, Queue::Content).await, files);
    });
}

#[test]
fn a_file_that_changes_in_drive_is_processed_by_mirror_content() {
    let folder = Folder::new();
    let setup = Setup {
        files: 6,
        folders: 1,
        data_dir: Some(folder.path().to_owned()),
        ..Setup::default()
    };
    own_with(setup, async |world| {
        mirror(world, json!({"enabled": true})).await;
        let processed = |queue: Queue| {
            let counters = world.system.aws.sqs().counters();
            counters.deleted.get(queue.name()).map_or(0, |one| one.all)
        };
        let before = processed(Queue::Content);
        let file = world.take();
        let changed = Bytes::from_static(b"changed");
        world
            .simulator
            .replace_content("owner", &file, changed)
            .unwrap();
        eventually("its content is processed", async || {
            (processed(Queue::Content) > before).then_some(())
        })
        .await;
        let before = processed(Queue::ContentBulk);
        world.owner().create("new.txt", false).await;
        eventually("a new file's, too", async || {
            (processed(Queue::ContentBulk) > before).then_some(())
        })
        .await;
    });
}

#[test]
fn a_content_wake_in_the_dead_letter_queue_is_listed_and_redriven() {
    mirrored(2, async |hand| {
        let token = Some(hand.token.as_str());
        for queue in [Queue::Content, Queue::ContentBulk] {
            let file = hand.take();
            let wake = ContentWake {
                key: hand.key.clone(),
                file: FileId::parse(&file).unwrap(),
            };
            let (dead, body) = (queue.dead_letter_name(), wake.to_body());
            let message = sqs_fifo::NewMessage::new("g", "1", &body);
            hand.aws.sqs().send(dead, message).unwrap();
            hand.sweep().await;
            let listed = hand
                .call(token, Method::GET, "/v1/dead-letters", &[], None)
                .await;
            let mut letters = listed.body["items"].as_array().unwrap().iter();
            let letter = letters.find(|letter| letter["file_id"] == file.as_str());
            let letter = letter.unwrap();
            assert_eq!(letter["queue"], dead, "{letter}");
            let ids = json!({"ids": [letter["id"]]}).to_string();
            let path = "/v1/dead-letters/redrive";
            let sent = hand.call(token, Method::POST, path, &[], Some(&ids)).await;
            assert_eq!(sent.body["results"][0]["status"], 200, "{}", sent.body);
            assert_eq!(deliver_wakes(hand, queue).await, [file.as_str()]);
        }
    });
}

#[test]
fn enabling_content_scans_every_file_once() {
    by_hand(5, async |hand| {
        let refused = hand
            .api(Method::POST, "/sync", &[], Some(json!({"mode": "mirror"})))
            .await;
        assert_eq!(refused.status, 409, "it is not mirrored: {}", refused.body);
        mirror(hand, json!({"enabled": true})).await;
        let scan = hand.get("/operations?limit=1").await["items"][0].clone();
        assert_eq!(
            (&scan["kind"], &scan["state"]),
            (&json!("mirror"), &json!("listed"))
        );
        hand.sweep().await;
        hand.sweep().await;
        let scan = hand
            .get(&format!("/operations/{}", scan["id"].as_str().unwrap()))
            .await;
        assert_eq!(
            (&scan["state"], &scan["listed"]),
            (&json!("done"), &json!(5)),
            "{scan}"
        );
        let mut all: Vec<String> = (0..5).map(|_| hand.take()).collect();
        all.sort_unstable();
        assert_eq!(deliver_wakes(hand, Queue::ContentBulk).await, all);

        // Unchanged settings start no scan, and an explicit request starts another one.
        mirror(hand, json!({"enabled": true})).await;
        hand.sweep().await;
        assert_eq!(
            deliver_wakes(hand, Queue::ContentBulk).await,
            Vec::<String>::new()
        );
        let started = hand.post("/sync", json!({"mode": "mirror"})).await;
        assert_eq!(started["operations"][0]["kind"], "mirror", "{started}");
        hand.sweep().await;
        assert_eq!(deliver_wakes(hand, Queue::ContentBulk).await, all);
    });
}

#[test]
fn content_that_changed_during_a_pause_is_found_by_a_scan_afterwards() {
    mirrored(2, async |hand| {
        let file = hand.take();
        hand.post("/pause", json!({})).await;
        content(hand, &file, "changed");
        hand.post("/resume", json!({})).await;
        hand.sweep_and_pump().await;
        let scans = hand.get("/operations").await;
        let mut scans = scans["items"].as_array().unwrap().iter();
        let newest = scans
            .find(|operation| operation["kind"] == "mirror")
            .unwrap();
        assert_eq!(newest["state"], "done", "{newest}");
        assert_eq!(newest["listed"], 2);
    });
}

#[test]
fn push_intents_hands_owed_content_to_mirror_content() {
    mirrored(2, async |hand| {
        let file = FileId::parse(&hand.take()).unwrap();
        let record = hand.store().load_file(&hand.key, &file).await.unwrap();
        let (record, policies) = (record.unwrap(), domain::Policies::default());
        let context = domain::Context {
            now: hand.now(),
            drive_at: None,
            above: None,
            policies: &policies,
        };
        let ours = domain::Value::text("ab".repeat(32));
        let edit = [(domain::Field::Content, ours)].into_iter().collect();
        let step = record.edit(&edit, "ada", context).unwrap();
        let nonce = store::Nonce(1);
        let before = record.revision;
        let committed = hand.store().commit(&hand.key, before, &step, nonce);
        assert_eq!(committed.await.unwrap(), store::Committed::Done);
        hand.pump_stream().await.unwrap();
        assert_eq!(
            deliver_wakes(hand, Queue::Content).await,
            [file.as_str()],
            "at once"
        );
        hand.sweep().await;
        hand.pump_only(Queue::PushWakes).await;
        assert_eq!(
            deliver_wakes(hand, Queue::Content).await,
            [file.as_str()],
            "and when it is due"
        );
    });
}
