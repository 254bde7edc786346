//! Edits where an assumption about Drive is false: each ends as `drive::Assumption` says.

use std::collections::BTreeSet;

use drive_simulator::Breach;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::concurrent_edits::turns;
use crate::support::{ByHand, Person, by_hand};

/// Runs a test by hand with a Drive that is in breach.
fn under(breach: Breach, test: impl AsyncFnOnce(&ByHand)) {
    by_hand(4, async |hand| {
        hand.simulator.set_breaches(BTreeSet::from([breach]));
        test(hand).await;
    });
}

/// Edits a file at the API, and lets a person act between our read and our write.
async fn race(
    hand: &ByHand,
    ours: Value,
    act: impl Fn(Person, String) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> String {
    let file = hand.take();
    hand.edit_ok(&file, ours).await;
    let (person, id) = (hand.owner(), file.clone());
    hand.before_our_write(move || act(person.clone(), id.clone()));
    turns(hand).await;
    file
}

/// Updates a file in Drive.
fn updating(
    fields: Value,
) -> impl Fn(Person, String) -> BoxFuture<'static, ()> + Send + Sync + 'static {
    move |person, id| {
        let fields = fields.clone();
        Box::pin(async move {
            person.update(&id, fields).await;
        })
    }
}

/// Asserts that both sides agree, that nothing is owed, and that no conflict was opened.
async fn agreed(hand: &ByHand, file: &str) {
    assert_eq!(hand.differences().await, Vec::<String>::new());
    assert_eq!(hand.file(file).await["intent"], json!(null));
    assert_eq!(hand.conflicts_of(file).await, Vec::<Value>::new());
}

/// Asserts that an edit is shown as failed because Drive left the field as it was.
async fn failed_unchanged(hand: &ByHand, file: &str) {
    let shown = hand.file(file).await;
    let intent = &shown["intent"];
    assert_eq!(intent["status"], "failed", "{shown}");
    let reason = intent["reason"].as_str().unwrap();
    assert!(reason.contains("left the field as it was"), "{reason}");
}

#[test]
fn a_change_that_moves_no_etag_survives_our_write_of_another_field() {
    for (breach, fields) in [
        (Breach::StarMovesEtag, json!({"starred": true})),
        (Breach::TrashMovesEtag, json!({"trashed": true})),
        (
            Breach::PropertyMovesEtag,
            json!({"properties": {"theirs": "1"}}),
        ),
        (Breach::StaleEtagIsRefused, json!({"description": "theirs"})),
    ] {
        under(breach, async |hand| {
            let act = updating(fields.clone());
            let file = race(hand, json!({"name": "ours.txt"}), act).await;
            let at = hand.owner().get(&file).await;
            assert_eq!(at["name"], "ours.txt");
            for (field, value) in fields.as_object().unwrap() {
                assert_eq!(&at[field], value, "{breach:?}");
            }
            agreed(hand, &file).await;
        });
    }
    under(Breach::MoveMovesEtag, async |hand| {
        let folder = hand.owner().create("elsewhere", true).await;
        let to = folder.clone();
        let file = race(hand, json!({"name": "ours.txt"}), move |person, id| {
            let to = to.clone();
            Box::pin(async move { person.move_to(&id, &to).await })
        });
        let file = file.await;
        let shown = hand.file(&file).await;
        assert_eq!(shown["fields"]["parent"], json!(folder));
        assert_eq!(hand.owner().name_of(&file).await, "ours.txt");
        agreed(hand, &file).await;
    });
}

#[test]
fn a_change_that_moves_no_etag_is_overwritten_by_our_write_of_the_same_field() {
    for (breach, ours, theirs) in [
        (
            Breach::TrashMovesEtag,
            json!({"trashed": true}),
            json!({"trashed": true}),
        ),
        (
            Breach::PropertyMovesEtag,
            json!({"properties": {"stage": "ours"}}),
            json!({"properties": {"stage": "theirs"}}),
        ),
        (
            Breach::StaleEtagIsRefused,
            json!({"name": "ours.txt"}),
            json!({"name": "theirs.txt"}),
        ),
    ] {
        under(breach, async |hand| {
            let file = race(hand, ours.clone(), updating(theirs)).await;
            let at = hand.owner().get(&file).await;
            for (field, value) in ours.as_object().unwrap() {
                assert_eq!(&at[field], value, "{breach:?}");
            }
            agreed(hand, &file).await;
        });
    }
}

#[test]
fn a_change_that_moves_no_etag_before_our_read_is_a_conflict() {
    for breach in [Breach::PropertyMovesEtag, Breach::StaleEtagIsRefused] {
        under(breach, async |hand| {
            let file = hand.take();
            let stage = |value: &str| json!({"properties": {"stage": value}});
            hand.edit_ok(&file, stage("ours")).await;
            hand.owner().update(&file, stage("theirs")).await;
            turns(hand).await;
            let conflict = hand.conflict_on(&file, "properties.stage").await;
            assert_eq!(conflict["drive"], "theirs");
            assert_eq!(hand.differences().await, Vec::<String>::new());
        });
    }
}

#[test]
fn a_deletion_whose_condition_is_ignored_deletes_the_file_on_both_sides() {
    under(Breach::StaleEtagStopsDeletion, async |hand| {
        let file = hand.take();
        let path = format!("/files/{file}");
        let any = [("if-match", "*")];
        let asked = hand.api(Method::DELETE, &path, &any, None).await;
        assert!((200..300).contains(&asked.status), "{}", asked.body);
        turns(hand).await;
        assert_eq!(hand.simulator.file(&file).map(|file| file.name), None);
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn a_write_that_is_always_refused_fails_for_a_person_and_is_tried_again() {
    under(Breach::CurrentEtagIsAccepted, async |hand| {
        let file = hand.take();
        hand.edit_ok(&file, json!({"name": "ours.txt"})).await;
        for _ in 0..5 {
            turns(hand).await;
        }
        let shown = hand.file(&file).await;
        assert_eq!(shown["intent"]["status"], "failed", "{shown}");
        assert_eq!(shown["fields"]["name"], "ours.txt");

        hand.simulator.set_breaches(BTreeSet::new());
        hand.post(&format!("/intents/{file}/retry"), json!({}))
            .await;
        turns(hand).await;
        assert_eq!(hand.owner().name_of(&file).await, "ours.txt");
        agreed(hand, &file).await;
    });
}

#[test]
fn an_edit_that_drive_answers_and_ignores_fails_with_the_reason() {
    under(Breach::PatchTrashes, async |hand| {
        let file = hand.take();
        hand.edit_ok(&file, json!({"trashed": true})).await;
        turns(hand).await;
        failed_unchanged(hand, &file).await;
        assert_eq!(hand.owner().get(&file).await["trashed"], false);
    });
}

#[test]
fn a_property_that_drive_empties_in_place_of_removing_is_empty_on_both_sides() {
    under(Breach::NullDeletesProperty, async |hand| {
        let file = hand.take();
        let stage = |value: Value| json!({"properties": {"stage": value}});
        hand.owner().update(&file, stage(json!("draft"))).await;
        turns(hand).await;
        hand.edit_ok(&file, stage(json!(null))).await;
        turns(hand).await;
        let at = hand.owner().get(&file).await;
        assert_eq!(at["properties"]["stage"], "");
        agreed(hand, &file).await;
    });
}

#[test]
fn properties_that_drive_drops_with_our_write_are_dropped_on_both_sides() {
    under(Breach::PropertiesSentBackStay, async |hand| {
        let file = hand.take();
        let theirs = json!({"properties": {"a": "1", "b": "2"}, "appProperties": {"c": "3"}});
        hand.owner().update(&file, theirs).await;
        turns(hand).await;
        hand.edit_ok(&file, json!({"properties": {"a": "ours"}}))
            .await;
        turns(hand).await;
        let at = hand.owner().get(&file).await;
        assert_eq!(at["properties"], json!({"a": "ours", "b": "2"}));
        agreed(hand, &file).await;
    });
}

#[test]
fn a_lost_cursor_that_drive_does_not_name_is_found_and_nothing_is_lost() {
    under(Breach::InvalidPageTokenIsLocated, async |hand| {
        let file = hand.take();
        hand.owner().rename(&file, "after.txt").await;
        hand.invalidate_cursor().await;
        for _ in 0..5 {
            turns(hand).await;
        }
        assert_eq!(hand.file(&file).await["fields"]["name"], "after.txt");
        assert_eq!(hand.differences().await, Vec::<String>::new());
    });
}

#[test]
fn permissions_without_a_version_of_their_own_settle_and_an_audit_finds_the_rest() {
    under(Breach::SharingMovesVersion, async |hand| {
        let file = hand.take();
        let role = json!({"permissions": {"user:bob@example.com": "reader"}});
        hand.edit_ok(&file, role).await;
        turns(hand).await;
        agreed(hand, &file).await;

        hand.owner().grant(&file, "carol", "writer").await;
        turns(hand).await;
        let audit = hand.audit(false).await;
        turns(hand).await;
        hand.operation_in(&audit, "done").await;
        let shown = hand.file(&file).await;
        let roles = &shown["fields"]["permissions"];
        assert_eq!(roles["user:bob@example.com"], "reader", "{shown}");
        assert_eq!(roles["user:carol@example.com"], "writer", "{shown}");
    });
}

#[test]
fn what_v2_shows_otherwise_than_v3_ends_in_no_conflict_and_no_loop() {
    under(Breach::VersionsAgree, async |hand| {
        let file = hand.take();
        hand.edit_ok(&file, json!({"name": "ours.txt"})).await;
        turns(hand).await;
        agreed(hand, &file).await;
        let writes = hand.calls("v2.files.patch");
        turns(hand).await;
        assert_eq!(hand.calls("v2.files.patch"), writes, "it is written once");
        assert_eq!(hand.owner().name_of(&file).await, "ours.txt");
    });
}
