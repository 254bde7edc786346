//! The events of changes, case by case.

use super::*;
use crate::fixture::{
    Manually as _, NOW, context, permission, present, property, record, snapshot, text,
};
use crate::{
    Choice, ConflictRecord, DriveMetadata, Field, FileRecord, Gone, Observation, Policies,
    Presence, Transition, Value,
};

/// Returns what is reported of a change, as `type fields author`.
fn told(before: &FileRecord, after: &FileRecord) -> Vec<String> {
    let events = file_events(Some(before), after, NOW);
    let line = |event: &Event| {
        let fields = event.details.fields.join(",");
        format!("{} {fields} {}", event.kind, event.by)
    };
    events.iter().map(line).collect()
}

/// Returns what is reported of a change that Drive shows.
fn reported_for(fields: &[(Field, Value)]) -> Vec<String> {
    let before = record();
    let after = before.sees(&snapshot(2, fields)).record;
    told(&before, &after)
}

#[test]
fn a_change_of_drive_is_reported_by_its_fields() {
    let renamed = reported_for(&[(Field::Name, text("b"))]);
    assert_eq!(renamed, ["file:modified name drive"]);
    let moved = reported_for(&[(Field::Parent, text("d2"))]);
    assert_eq!(moved, ["file:moved parent drive"]);
    let shared = reported_for(&[(permission("user:a@b.c"), text("reader"))]);
    assert_eq!(shared, ["file:shared permissions drive"]);
    let several = reported_for(&[
        (Field::Name, text("b")),
        (Field::Parent, text("d2")),
        (property("k"), text("v")),
    ]);
    assert_eq!(
        several,
        [
            "file:moved parent drive",
            "file:modified name,properties.k drive"
        ]
    );
    let trashed = reported_for(&[(Field::Trashed, Value::Flag(true))]);
    assert_eq!(trashed, ["file:deleted  drive"]);
    assert_eq!(reported_for(&[]), Vec::<String>::new());
}

#[test]
fn metadata_alone_is_reported_if_readers_see_it() {
    let before = record();
    let mut seen = snapshot(2, &[]);
    seen.metadata = DriveMetadata {
        modified_at: Some(NOW),
        ..seen.metadata
    };
    let after = before.sees(&seen).record;
    assert_eq!(told(&before, &after), ["file:modified metadata drive"]);
}

#[test]
fn an_edit_is_reported_when_it_is_accepted_and_when_it_has_reached_drive() {
    let before = record();
    let edited = before.edits(Field::Name, text("b"));
    assert_eq!(told(&before, &edited), ["file:modified name user:ann"]);
    let (sent, patch) = edited.sends(&snapshot(1, &[]), 1);
    assert_eq!(told(&edited, &sent), Vec::<String>::new());
    let policies = Policies::default();
    let answer = snapshot(2, &[(Field::Name, text("b"))]);
    let confirmed = sent.confirmed(&patch, &answer, context(&policies)).record;
    assert_eq!(told(&sent, &confirmed), ["intent:confirmed name app"]);
    // It comes back by the change log.
    let echoed = confirmed.sees(&answer).record;
    assert_eq!(told(&confirmed, &echoed), Vec::<String>::new());
}

#[test]
fn presence_tells_more_than_fields() {
    let policies = Policies::default();
    let before = record();
    for (gone, expected) in [
        (Gone::Removed, "file:deleted  drive"),
        (Gone::AccessLost, "file:access_lost  drive"),
        (Gone::MovedAway, "file:deleted  drive"),
    ] {
        let after = before.apply_lookup(&Observation::Gone(gone), context(&policies));
        let after = after.record;
        assert_eq!(told(&before, &after), [expected]);
        let back = present(3, &[(Field::Name, text("b"))]);
        let back = after.apply_lookup(&back, context(&policies)).record;
        assert_eq!(told(&after, &back), ["file:restored  drive"]);
    }
    let created: Vec<EventType> = kinds(&file_events(None, &before, NOW));
    assert_eq!(created, [EventType::FileCreated]);
    let tombstone = FileRecord {
        presence: Presence::Gone(Gone::Removed, NOW),
        ..before
    };
    assert!(file_events(None, &tombstone, NOW).is_empty());
}

fn kinds(events: &[Event]) -> Vec<EventType> {
    events.iter().map(|event| event.kind).collect()
}

fn conflict(transition: &Transition) -> &ConflictRecord {
    transition.conflicts.values().next().unwrap()
}

#[test]
fn a_conflict_is_reported_from_its_opening_to_its_end() {
    let policies = Policies::default();
    let edited = record().edits(Field::Name, text("b"));
    let opened = edited.sees(&snapshot(2, &[(Field::Name, text("c"))]));
    let first = conflict(&opened);
    let event = conflict_events(None, first, NOW).unwrap();
    assert_eq!(event.kind, EventType::ConflictDetected);
    assert_eq!(event.details.conflict.as_ref(), Some(&first.id));
    // The application's view is unchanged.
    assert_eq!(told(&edited, &opened.record), Vec::<String>::new());
    let moved = opened
        .record
        .sees(&snapshot(3, &[(Field::Name, text("d"))]));
    let second = conflict(&moved);
    let event = conflict_events(Some(first), second, NOW).unwrap();
    assert_eq!(event.kind, EventType::ConflictChanged);
    let resolved = moved
        .record
        .resolve(&first.id, None, &Choice::Drive, "ann", context(&policies));
    let resolved = resolved.unwrap();
    let third = conflict(&resolved);
    let event = conflict_events(Some(second), third, NOW).unwrap();
    assert_eq!(event.kind, EventType::ConflictResolved);
    assert_eq!(event.by, Author::User("ann".to_owned()));
    // Written again by a restore or a repair, an ended conflict is not told again.
    assert_eq!(conflict_events(Some(third), third, NOW), None);
}

#[test]
fn a_decision_of_a_policy_is_reported_once() {
    let policies = crate::fixture::all(crate::Policy::DriveWins);
    let edited = record().edits(Field::Name, text("b"));
    let seen = present(2, &[(Field::Name, text("c"))]);
    let decided = edited.observe(&seen, context(&policies));
    let event = conflict_events(None, conflict(&decided), NOW).unwrap();
    assert_eq!(event.kind, EventType::ConflictResolved);
    assert_eq!(event.by, Author::Policy);
}

#[test]
fn every_type_and_author_reads_back_from_its_text() {
    for text in [
        "file:created",
        "sync:heartbeat",
        "dead_letter:parked",
        "webhook:disabled",
        "operation:awaiting_confirmation",
    ] {
        assert_eq!(
            EventType::from_label(text).map(EventType::label),
            Some(text)
        );
    }
    for author in [
        Author::Drive,
        Author::App,
        Author::Policy,
        Author::User("drive".to_owned()),
    ] {
        assert_eq!(Author::parse(&author.to_string()), Some(author));
    }
    assert_eq!(Author::parse("somebody"), None);
}

#[test]
fn the_same_change_has_the_same_id() {
    let before = record();
    let after = before
        .sees(&snapshot(2, &[(Field::Name, text("b"))]))
        .record;
    let id = |after: &FileRecord| file_events(Some(&before), after, NOW)[0].id();
    assert_eq!(id(&after), id(&after));
    let mut later = after.clone();
    later.revision = after.revision.next();
    assert_ne!(id(&after), id(&later));
}
