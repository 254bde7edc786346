//! Content that nothing refers to any more.

use std::time::Duration;

use domain::content::ObjectState;
use drive_simulator::Edit;

use super::content_wakes::{apply, content, mirrored};
use super::{bucket, intact, object, upload, versions};
use crate::support::ByHand;

const DAY: Duration = Duration::from_secs(86_400);

async fn days(hand: &ByHand, days: u32) {
    for _ in 0..days {
        hand.advance_clock(DAY);
        hand.sweep_and_pump().await;
    }
    hand.sweep_and_pump().await;
}

#[test]
fn deleted_content_is_kept_for_the_retention_time_and_then_collected() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "to be deleted");
        apply(hand).await;
        hand.pump().await;
        let stored = versions(hand, &file).await.remove(0);
        hand.owner().delete(&file).await;
        apply(hand).await;
        hand.pump().await;
        days(hand, 29).await;
        intact(hand, &file).await;
        assert!(object(hand, &stored).await.is_some());
        days(hand, 2).await;
        assert_eq!(versions(hand, &file).await, []);
        assert_eq!(object(hand, &stored).await, None);
        assert_eq!(bucket(hand).head(&stored.object).await.unwrap(), None);
    });
}

#[test]
fn content_of_a_file_restored_from_the_trash_is_kept() {
    mirrored(2, async |hand| {
        let file = hand.take();
        content(hand, &file, "trashed");
        apply(hand).await;
        hand.pump().await;
        for trash in [true, false] {
            hand.simulator
                .apply("owner", &file, Edit::Trash(trash))
                .unwrap();
            apply(hand).await;
            hand.pump().await;
            days(hand, 20).await;
        }
        days(hand, 20).await;
        assert!(!versions(hand, &file).await.is_empty());
        intact(hand, &file).await;
    });
}

#[test]
fn content_that_another_file_or_a_new_upload_refers_to_is_not_collected() {
    mirrored(3, async |hand| {
        let (goes, stays) = (hand.take(), hand.take());
        content(hand, &goes, "held by two");
        content(hand, &stays, "held by two");
        apply(hand).await;
        hand.pump().await;
        let stored = versions(hand, &goes).await.remove(0);
        hand.owner().delete(&goes).await;
        apply(hand).await;
        hand.pump().await;
        days(hand, 32).await;
        assert_eq!(versions(hand, &goes).await, []);
        intact(hand, &stays).await;
        assert_eq!(object(hand, &stored).await.unwrap().refs, 1);

        // The last reference is removed, and the same bytes are uploaded before the collection.
        content(hand, &stays, "something else");
        apply(hand).await;
        hand.pump().await;
        upload(hand, &stays, b"held by two").await;
        days(hand, 40).await;
        intact(hand, &stays).await;
        let stands = object(hand, &stored).await.unwrap();
        assert_eq!(stands.state, ObjectState::Stored);
    });
}
