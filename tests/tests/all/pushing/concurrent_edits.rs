//! A collaborator edits a file between drivesync's read and its write.

use serde_json::{Value, json};

use crate::support::{ByHand, by_hand};

/// Edits a file at the API, and lets a collaborator edit it in Drive between our read and our
/// write.
async fn race(hand: &ByHand, ours: Value, theirs: Value) -> String {
    let file = hand.take();
    hand.edit_ok(&file, ours).await;
    let (alice, id) = (hand.person("alice"), file.clone());
    hand.before_our_write(move || {
        let (alice, id, theirs) = (alice.clone(), id.clone(), theirs.clone());
        Box::pin(async move {
            alice.update(&id, theirs).await;
        })
    });
    turns(hand).await;
    file
}

/// Lets five minutes pass, in which everything is swept and delivered.
pub(super) async fn turns(hand: &ByHand) {
    for _ in 0..10 {
        hand.pump().await;
        hand.advance_clock(std::time::Duration::from_secs(30));
        hand.sweep().await;
    }
    hand.pump().await;
}

#[test]
fn pain_16_an_edit_of_the_same_field_between_our_read_and_write_is_a_conflict() {
    by_hand(4, async |hand| {
        let name = |text: &str| json!({ "name": text });
        let file = race(hand, name("ours.txt"), name("theirs.txt")).await;
        let conflict = hand.conflict_on(&file, "name").await;
        assert_eq!(
            (&conflict["app"], &conflict["drive"]),
            (&json!("ours.txt"), &json!("theirs.txt"))
        );
        assert_eq!(hand.owner().name_of(&file).await, "theirs.txt");
        let id = conflict["id"].as_str().unwrap();
        let choice = json!({"choose": "app"});
        hand.post(&format!("/conflicts/{id}/resolution"), choice)
            .await;
        hand.pump().await;
        assert_eq!(hand.owner().name_of(&file).await, "ours.txt");
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn pain_16_an_edit_of_another_field_between_our_read_and_write_survives() {
    by_hand(4, async |hand| {
        let theirs = json!({"description": "theirs", "properties": {"theirs": "1"}});
        let file = race(hand, json!({"name": "ours.txt"}), theirs).await;
        let at = hand.owner().get(&file).await;
        assert_eq!(
            (&at["name"], &at["description"], &at["properties"]["theirs"]),
            (&json!("ours.txt"), &json!("theirs"), &json!("1"))
        );
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        assert_eq!(hand.file(&file).await["intent"], json!(null));
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}
