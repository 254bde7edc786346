//! Entries of the change log without a change that drivesync records.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::by_hand;

#[test]
fn pain_17_a_version_only_change_shows_nothing_and_opens_no_conflict() {
    by_hand(4, async |hand| {
        let (file, owner) = (hand.take(), hand.owner());
        let etag = async || {
            let path = format!("/files/{file}");
            hand.api(Method::GET, &path, &[], None).await.etag()
        };
        let (before, tag) = (hand.file(&file).await, etag().await);
        let path = format!("/drive/v3/files/{file}?fields=modifiedTime");
        let (_, at) = owner.call(Method::GET, &path, None).await;
        for round in 0..3 {
            // A private property of an application causes an entry and a new version, but changes
            // no recorded field.
            let change = json!({"appProperties": {"seen": round.to_string()},
                "modifiedTime": at["modifiedTime"]});
            let (status, _) = owner.call(Method::PATCH, &path, Some(change)).await;
            assert_eq!(status, 200);
            hand.wait_for_wake().await;
            hand.pump().await;
        }
        let after = hand.file(&file).await;
        assert_eq!(etag().await, tag, "the ETag is still valid");
        assert_eq!(after["fields"], before["fields"]);
        assert_eq!(after["intent"], json!(null));
        assert_eq!(hand.conflicts_of(&file).await.len(), 0);
        assert_eq!(hand.calls("v2.files.get"), 0);
        assert_eq!(hand.calls("v2.files.patch"), 0);
    });
}

#[test]
fn pain_17_a_file_that_no_longer_exists_is_looked_up_once() {
    by_hand(4, async |hand| {
        let (known, owner) = (hand.take(), hand.owner());
        let brief = owner.create("brief.txt", false).await;
        owner.delete(&brief).await;
        owner.delete(&known).await;
        hand.wait_for_wake().await;
        hand.pump().await;
        for _ in 0..10 {
            hand.advance_clock(Duration::from_secs(120));
            hand.sweep_and_pump().await;
        }
        let asked = hand.calls("v2.files.get") + hand.calls("files.get");
        assert!(asked <= 2, "once for each: {asked}");
        assert_eq!(hand.file(&known).await["presence"], "removed");
        assert_eq!(hand.get("/status").await["state"], "active");
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}
