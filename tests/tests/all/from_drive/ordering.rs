//! Snapshots arrive in any order, and edits of one file are written one at a time.

use local::aws::Queue;
use local::sources::event;
use runtime::Deadline;
use serde_json::json;

use crate::support::by_hand;

#[test]
fn pain_19_snapshots_that_arrive_as_three_one_two_end_at_the_third() {
    for together in [true, false] {
        by_hand(4, async |hand| {
            let file = hand.take();
            for round in 1..=3 {
                let fields =
                    json!({"name": format!("{round}.txt"), "description": round.to_string()});
                hand.owner().update(&file, fields).await;
                hand.wait_for_wake().await;
                hand.pump_only(Queue::LogWakes).await;
            }
            let mut received = hand.receive(Queue::Snapshots).await;
            assert_eq!(received.len(), 3);
            received.rotate_right(1);
            let deadline = Deadline(hand.now().plus_millis(60_000));
            if together {
                hand.deliver(Queue::Snapshots, &received, deadline).await;
            } else {
                for one in received.chunks(1) {
                    let answer = hand
                        .handle(
                            Queue::Snapshots,
                            event(Queue::Snapshots, one).unwrap(),
                            deadline,
                        )
                        .await;
                    assert!(answer.batch_item_failures.is_empty(), "stale is no failure");
                    let at = hand.file(&file).await;
                    assert_eq!(at["fields"]["name"], "3.txt", "never back");
                }
            }
            let at = hand.file(&file).await;
            assert_eq!(
                (&at["fields"]["name"], &at["fields"]["description"]),
                (&json!("3.txt"), &json!("3"))
            );
            let history = hand.get(&format!("/files/{file}/history")).await;
            let items = history["items"].as_array().unwrap();
            assert_eq!(items.len(), 4, "the older ones are on record: {history}");
            assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        });
    }
}

#[test]
fn pain_19_two_edits_of_one_file_are_never_two_writes_at_once() {
    by_hand(4, async |hand| {
        let file = hand.take();
        hand.edit_ok(&file, json!({"name": "first.txt"})).await;
        hand.edit_ok(&file, json!({"description": "second"})).await;
        hand.edit_ok(&file, json!({"name": "third.txt"})).await;
        hand.pump().await;
        assert_eq!(
            hand.calls("v2.files.patch"),
            1,
            "one write for what is owed"
        );
        let at = hand.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["description"]),
            (&json!("third.txt"), &json!("second"))
        );
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}
