//! The inconsistencies that an audit records, the files that a restore records, and the index
//! defects that items reveal.

use std::collections::{BTreeMap, BTreeSet};

use domain::restore::{LeftReason, RestoreField, RestorePlan};
use domain::{
    ChannelId, ConflictId, ConnectionKey, Field, InconsistencyCount, InconsistencyKind, LogId,
    Operation, OperationId, Revision, Run, Transition, Value,
};

use super::super::support::{committed, edited, file, fresh, ms, observed, page, snapshot, stored};
use crate::table::key::Key;
use crate::{
    Channel, ChannelState, Created, Inconsistency, IndexDefect, Indexed, Log, RestoreEntry, Store,
    Subject, Written,
};

/// Removes an item from an index, bypassing the store.
async fn hide(store: &Store, key: &Key, index: &str) {
    let update = store.client.update_item().table_name(&store.table);
    let update = update
        .set_key(Some(key.to_item()))
        .update_expression("REMOVE #pk, #sk")
        .expression_attribute_names("#pk", format!("{index}_pk"))
        .expression_attribute_names("#sk", format!("{index}_sk"));
    update.send().await.unwrap();
}

fn audit(key: &ConnectionKey) -> Operation {
    let id = OperationId::parse("op1").unwrap();
    let run = Run::audit(false);
    Operation::new(key.clone(), id, LogId::user(), "ann", ms(1_000), run)
}

pub(crate) async fn a_misindexed_file_is_detected_and_repaired_by_a_write(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "folder").await;
    let mut record = edited(store, &key, &first, Field::Name, Value::text("b"), 5).await;
    let head = Key::head(&key, &file("f1"));
    let index_defect = async || {
        let indexed = store
            .load_file_with_index_state(&key, &file("f1"))
            .await
            .unwrap();
        indexed.unwrap().index_defect
    };
    assert_eq!(index_defect().await, None);
    let all = [
        ("due", IndexDefect::Work),
        ("attention", IndexDefect::Work),
        ("children", IndexDefect::Listing),
        ("files", IndexDefect::Listing),
    ];
    for (index, wrong) in all {
        hide(store, &head, index).await;
        assert_eq!(index_defect().await, Some(wrong), "{index}");
        let ids = [file("f1")];
        let many = store.load_files_with_index_state(&key, &ids).await.unwrap();
        assert_eq!(many[0].index_defect, Some(wrong));
        let before = record.revision;
        record = committed(store, &key, before, &Transition::unchanged(record)).await;
        assert_eq!(index_defect().await, None, "{index}");
    }
    let listed = store
        .list_files_with_index_state(&key, &page(10))
        .await
        .unwrap();
    let right = Indexed {
        value: record,
        index_defect: None,
    };
    assert_eq!(listed.items, [right]);
}

pub(crate) async fn a_log_channel_or_operation_missing_from_due_is_detected_and_repaired(
    store: &Store,
) {
    let key = fresh();
    let log = Log::new(key.clone(), LogId::user(), ms(5));
    store.create_log(&log).await.unwrap();
    let of_log = async || {
        store
            .list_logs_with_index_state(&key)
            .await
            .unwrap()
            .remove(0)
            .index_defect
    };
    assert_eq!(of_log().await, None);
    hide(store, &Key::of_connection(&key, "LOG", "user"), "due").await;
    assert_eq!(of_log().await, Some(IndexDefect::Work));
    let postponed = store.postpone_poll(&key, &log.log, ms(5)).await;
    postponed.unwrap();
    assert_eq!(of_log().await, None);

    let channel = Channel {
        id: ChannelId::parse(&format!("00000000-{}", key.tenant)).unwrap(),
        key: key.clone(),
        log: LogId::user(),
        token_hash: [7; 32],
        resource_id: None,
        state: ChannelState::Pending,
        expires_at: ms(9_000),
        due_at: ms(8_000),
    };
    store.create_channel(&channel).await.unwrap();
    let of_channel = async || {
        let indexed = store
            .load_channel_with_index_state(&channel.id)
            .await
            .unwrap();
        indexed.unwrap().index_defect
    };
    assert_eq!(of_channel().await, None);
    hide(store, &Key::channel(&channel.id), "due").await;
    assert_eq!(of_channel().await, Some(IndexDefect::Work));
    let postponed = store.postpone_channel(&channel.id, ms(8_000)).await;
    postponed.unwrap();
    assert_eq!(of_channel().await, None);

    let operation = audit(&key);
    let made = store.create_operation(&operation).await.unwrap();
    assert_eq!(made, Created::Created);
    let of_operation = async || {
        let indexed = store
            .list_operations_with_index_state(&key, &page(1))
            .await
            .unwrap();
        indexed.items[0].index_defect
    };
    assert_eq!(of_operation().await, None);
    hide(store, &Key::of_connection(&key, "OP", "op1"), "due").await;
    assert_eq!(of_operation().await, Some(IndexDefect::Work));
    let moved = store
        .advance_operation(&operation, &operation)
        .await
        .unwrap();
    assert_eq!(moved, Written::Done(operation));
    assert_eq!(of_operation().await, None);
}

pub(crate) async fn a_conflict_missing_from_its_index_is_detected(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "folder").await;
    let ours = edited(store, &key, &first, Field::Name, Value::text("ours"), 5).await;
    let theirs = snapshot("f1", 2, "theirs", "folder");
    let record = observed(store, &key, &ours, theirs, 6).await;
    let id = record.open_conflict(&Field::Name).unwrap();
    let load = async |id: &ConflictId| {
        store
            .load_conflict_with_index_state(&key, id)
            .await
            .unwrap()
    };
    assert_eq!(load(&id).await.unwrap().index_defect, None);
    hide(store, &Key::conflict(&key, &id), "attention").await;
    let indexed = load(&id).await.unwrap();
    assert_eq!(indexed.index_defect, Some(IndexDefect::Work));
    assert_eq!(indexed.value.drive, Value::text("theirs"));
    let other = ConflictId { number: 9, ..id };
    assert_eq!(load(&other).await, None);
}

fn inconsistency(kind: InconsistencyKind, subject: Subject) -> Inconsistency {
    Inconsistency {
        kind,
        subject,
        repaired: false,
        detail: "seen".to_owned(),
        found_at: ms(7),
    }
}

pub(crate) async fn of_one_kind_and_subject_the_latest_inconsistency_is_kept(store: &Store) {
    let operation = audit(&fresh());
    let conflict = ConflictId {
        file: file("f1"),
        field: Field::Property("a#b".to_owned()),
        number: 3,
    };
    let op = OperationId::parse("op9").unwrap();
    // In the order of their keys.
    let mut found = [
        inconsistency(
            InconsistencyKind::ChannelLapsed,
            Subject::Log(LogId::user()),
        ),
        inconsistency(
            InconsistencyKind::ConflictStray,
            Subject::Conflict(conflict),
        ),
        inconsistency(InconsistencyKind::IntentNotDue, Subject::File(file("f1"))),
        inconsistency(InconsistencyKind::IntentNotDue, Subject::File(file("f2"))),
        inconsistency(InconsistencyKind::OperationStalled, Subject::Operation(op)),
    ];
    for one in &found {
        store.record_inconsistency(&operation, one).await.unwrap();
    }
    found[2].repaired = true;
    store
        .record_inconsistency(&operation, &found[2])
        .await
        .unwrap();
    let late = Inconsistency {
        found_at: ms(6),
        detail: "seen before".to_owned(),
        ..found[2].clone()
    };
    store.record_inconsistency(&operation, &late).await.unwrap();
    // Those of another operation are not listed.
    let other = Operation {
        id: OperationId::parse("op2").unwrap(),
        ..operation.clone()
    };
    store.record_inconsistency(&other, &found[0]).await.unwrap();
    let (key, id) = (&operation.key, &operation.id);
    let first = store
        .list_inconsistencies(key, id, None, &page(3))
        .await
        .unwrap();
    assert_eq!(first.items, found[..3]);
    let mut next = page(3);
    next.cursor = first.next_cursor;
    let rest = store
        .list_inconsistencies(key, id, None, &next)
        .await
        .unwrap();
    assert_eq!(
        (rest.items.as_slice(), rest.next_cursor),
        (&found[3..], None)
    );
    let kind = Some(InconsistencyKind::IntentNotDue);
    let of_kind = store
        .list_inconsistencies(key, id, kind, &page(9))
        .await
        .unwrap();
    assert_eq!(of_kind.items, found[2..4]);
}

pub(crate) async fn an_operation_stores_its_inconsistency_counts(store: &Store) {
    let operation = audit(&fresh());
    store.create_operation(&operation).await.unwrap();
    let count = |found, repaired| InconsistencyCount { found, repaired };
    let inconsistencies = BTreeMap::from([
        (InconsistencyKind::IntentNotDue, count(3, 2)),
        (InconsistencyKind::CursorAhead, count(1, 0)),
    ]);
    let after = operation
        .on_self_check(None, ms(2_000))
        .with_inconsistencies(inconsistencies);
    let moved = store.advance_operation(&operation, &after).await.unwrap();
    assert_eq!(moved, Written::Done(after.clone()));
    let stands = store.load_operation(&after.key, &after.id).await.unwrap();
    assert_eq!(stands.as_ref(), Some(&after));
    let again = store.advance_operation(&operation, &after).await.unwrap();
    assert_eq!(again, Written::Done(after), "it is already done");
}

pub(crate) async fn the_files_of_a_restore_are_read_back_equal_and_completed_once(store: &Store) {
    let key = fresh();
    let (id, run) = (
        OperationId::parse("op1").unwrap(),
        Run::restore(None, ms(9), false),
    );
    let restore = Operation::new(key.clone(), id, LogId::user(), "ann", ms(1_000), run);
    let long = "x".repeat(500);
    let field = |field, to: &str, left| RestoreField {
        field,
        from: Value::Null,
        to: Value::text(to),
        left,
    };
    let entry = |id: &str, left| RestoreEntry {
        file: file(id),
        name: format!("{id}.txt"),
        seen: Revision(7),
        plan: RestorePlan {
            left,
            fields: vec![
                field(Field::Name, "plan.txt", None),
                field(
                    Field::Permission("user:a@b.c".to_owned()),
                    "writer",
                    Some(LeftReason::WidensSharing),
                ),
            ],
        },
        found_at: ms(1_001),
        done_at: None,
        left_later: BTreeSet::new(),
    };
    let mut entries: Vec<RestoreEntry> = LeftReason::ALL
        .into_iter()
        .enumerate()
        .map(|(at, reason)| entry(&format!("f{at:02}"), Some(reason)))
        .collect();
    entries.push(entry("f99", None));
    for entry in &entries {
        store.record_restore_entry(&restore, entry).await.unwrap();
        let other = RestoreEntry {
            seen: Revision(8),
            ..entry.clone()
        };
        store.record_restore_entry(&restore, &other).await.unwrap();
    }
    let read = async || {
        let (mut seen, mut next) = (Vec::new(), page(5));
        loop {
            let found = store
                .list_restore_entries(&key, &restore.id, &next)
                .await
                .unwrap();
            seen.extend(found.items);
            match found.next_cursor {
                Some(cursor) => next.cursor = Some(cursor),
                None => return seen,
            }
        }
    };
    assert_eq!(read().await, entries);
    let mut done = RestoreEntry {
        done_at: Some(ms(2_000)),
        left_later: BTreeSet::from([LeftReason::ChangedMeanwhile]),
        ..entries[0].clone()
    };
    done.plan.fields[0].to = Value::text(&long);
    let late = RestoreEntry {
        done_at: Some(ms(3_000)),
        ..entries[0].clone()
    };
    for entry in [&done, &done, &late] {
        store.complete_restore_entry(&restore, entry).await.unwrap();
    }
    done.plan.fields[0].to = Value::text(format!("{}...", &long[..200]));
    assert_eq!(read().await[0], done);
}
