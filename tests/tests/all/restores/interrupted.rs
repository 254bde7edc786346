//! Restores that are interrupted, and files that change meanwhile.

use serde_json::{Value, json};

use super::{Library, begin, findings, quiet_time, run_out, settle};
use crate::content::content_wakes::mirrored;
use crate::support::by_hand;

#[test]
fn a_restore_that_is_killed_at_every_call_sets_back_the_same() {
    mirrored(2, async |hand| {
        let library = Library::make(hand).await;
        let at = quiet_time(hand).await;
        let good = library.in_drive(hand).await;
        library.damage(hand).await;
        settle(hand).await;
        let id = begin(hand, json!({"folder": library.folder, "at": at})).await;
        let mut crashes = 0;
        for call in 0..2_000 {
            if !hand.operation_crashes(&id, call).await {
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 15, "it was killed {crashes} times");
        let done = run_out(hand, &id).await;
        assert_eq!(done["state"], "done", "{done}");
        assert_eq!(done["restore"]["files"], 8, "{done}");
        assert_eq!(done["restore"]["to_restore"], 5, "{done}");
        assert_eq!(done["restore"]["restored"], 5, "{done}");
        let left = json!({"made_since": 1, "purged": 1});
        assert_eq!(done["restore"]["left"], left, "{done}");
        settle(hand).await;
        assert_eq!(library.in_drive(hand).await, good);
        let listed = findings(hand, &id).await;
        assert_eq!(listed.len(), 7);
    });
}

#[test]
fn a_restore_above_the_limit_waits_and_leaves_what_is_changed_meanwhile() {
    by_hand(2, async |hand| {
        let limits = json!({"removal_share_percent_max": 0, "removals_unasked_max": 1});
        hand.configure(limits).await;
        let owner = hand.owner();
        let folder = owner.create("Team", true).await;
        let mut files = Vec::new();
        for name in ["a", "b", "c"] {
            files.push(owner.create_in(&folder, name, false).await);
        }
        let at = quiet_time(hand).await;
        for file in &files {
            owner.rename(file, "locked").await;
        }
        settle(hand).await;
        let body = json!({"folder": folder, "at": at});
        let cancelled = begin(hand, body.clone()).await;
        let id = begin(hand, body).await;
        let waiting = run_out(hand, &id).await;
        assert_eq!(waiting["state"], "awaiting_confirmation", "{waiting}");
        assert_eq!(waiting["restore"]["to_restore"], 3, "{waiting}");
        let why = hand.get("/why").await.to_string();
        assert!(why.contains("would set back 3 files"), "{why}");
        let cancel = format!("/operations/{cancelled}/cancel");
        assert_eq!(hand.post(&cancel, Value::Null).await["state"], "cancelled");

        // A person repairs one file in Drive, and the application another.
        owner.rename(&files[0], "by Alice").await;
        settle(hand).await;
        hand.edit_ok(&files[1], json!({"name": "by the application"}))
            .await;
        let confirm = format!("/operations/{id}/confirm");
        let confirmed = hand.post(&confirm, Value::Null).await;
        assert_eq!(confirmed["decision"]["confirmed"], true, "{confirmed}");
        let done = run_out(hand, &id).await;
        assert_eq!(done["restore"]["restored"], 1, "{done}");
        let left = json!({"changed_meanwhile": 2});
        assert_eq!(done["restore"]["left"], left, "{done}");
        settle(hand).await;
        let listed = findings(hand, &id).await;
        for (file, name) in files.iter().zip(["by Alice", "by the application", "c"]) {
            assert_eq!(owner.name_of(file).await, name);
            let is_left = listed[file]["kind"] == "left";
            assert_eq!(is_left, name != "c", "{listed:#?}");
        }
    });
}

#[test]
fn an_edit_in_drive_that_is_not_known_yet_becomes_a_conflict() {
    by_hand(2, async |hand| {
        let file = hand.take();
        let at = quiet_time(hand).await;
        hand.owner().rename(&file, "locked").await;
        settle(hand).await;
        let id = begin(hand, json!({"folder": file, "at": at})).await;
        hand.owner().rename(&file, "by Alice").await;
        let done = run_out(hand, &id).await;
        assert_eq!(done["restore"]["restored"], 1, "{done}");
        settle(hand).await;
        assert_eq!(hand.owner().name_of(&file).await, "by Alice");
        let conflict = hand.conflict_on(&file, "name").await;
        assert_eq!(conflict["drive"], "by Alice");
        // A file with an open conflict is left to a person.
        let again = begin(hand, json!({"folder": file, "at": at})).await;
        let done = run_out(hand, &again).await;
        let left = json!({"conflict": 1});
        assert_eq!(done["restore"]["left"], left, "{done}");
    });
}
