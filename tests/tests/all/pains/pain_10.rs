//! Our own writes come back as changes.

use serde_json::json;

use crate::support::by_hand;

#[test]
fn pain_10_the_echo_of_a_write_of_several_fields_opens_nothing_and_sends_nothing() {
    by_hand(4, async |hand| {
        let file = hand.take();
        let fields = json!({"name": "Roadmap.md", "description": "ours", "starred": true,
            "properties": {"stage": "final", "team": "a"}});
        hand.edited(&file, fields).await;
        hand.pump().await;
        let settled = hand.file(&file).await;
        for _ in 0..3 {
            hand.pump().await;
            hand.sync().await;
            hand.pass(std::time::Duration::from_secs(5));
            hand.turn().await;
        }
        assert_eq!(hand.calls("v2.files.patch"), 1);
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        let at = hand.file(&file).await;
        assert_eq!(at["intent"], json!(null));
        assert_eq!(at["fields"], settled["fields"]);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn pain_10_an_edit_by_the_very_user_that_we_write_as_is_no_echo() {
    by_hand(4, async |hand| {
        let (file, owner) = (hand.take(), hand.owner());
        hand.edited(&file, json!({"name": "ours.txt", "description": "ours"}))
            .await;
        hand.pump().await;
        // The connection acts as this same user; in the same second, on a field that we wrote and on one that we did not.
        let theirs = json!({"description": "theirs", "properties": {"by": "hand"}});
        owner.update(&file, theirs).await;
        hand.woken().await;
        hand.pump().await;
        let at = hand.file(&file).await;
        assert_eq!(
            (
                &at["fields"]["name"],
                &at["fields"]["description"],
                &at["fields"]["properties"]["by"]
            ),
            (&json!("ours.txt"), &json!("theirs"), &json!("hand"))
        );
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        assert_eq!(hand.calls("v2.files.patch"), 1);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn pain_10_the_echo_of_a_write_that_was_never_answered_meets_a_newer_edit_without_a_conflict() {
    by_hand(4, async |hand| {
        let file = hand.take();
        hand.fault(json!({"match": "PATCH /drive/v2/files/*", "applied": true, "respond": {"status": 503}}));
        hand.edited(&file, json!({"name": "first.txt"})).await;
        hand.pump().await;
        assert_eq!(hand.owner().name_of(&file).await, "first.txt", "it landed");
        hand.edited(&file, json!({"name": "second.txt"})).await;
        // Now it comes back, and is neither a person's edit nor the one that is owed.
        hand.sync().await;
        for _ in 0..3 {
            hand.pump().await;
            hand.pass(std::time::Duration::from_secs(60));
            hand.sweep().await;
        }
        hand.pump().await;
        assert_eq!(
            hand.conflicts_of(&file).await,
            Vec::<serde_json::Value>::new()
        );
        assert_eq!(hand.owner().name_of(&file).await, "second.txt");
        assert_eq!(hand.calls("v2.files.patch"), 2);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}
