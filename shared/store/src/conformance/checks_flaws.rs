//! What an audit finds wrong among our own items, and how that can be told from the items.

use std::collections::BTreeMap;

use domain::{
    ChannelId, ConflictId, ConnectionKey, Field, FlawCount, FlawKind, LogId, OperationId, Step,
    Value,
};

use super::support::{committed, edited, file, fresh, ms, observed, page, snapshot, stored};
use crate::key::Key;
use crate::{
    Channel, ChannelState, Created, Flaw, Kept, Log, Misplaced, Operation, OperationKind,
    OperationState, Store, Subject, Written,
};

/// Takes an item out of an index, behind everyone's back.
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
    Operation {
        state: OperationState::Examining,
        due_at: Some(ms(1_000)),
        ..Operation::new(
            key.clone(),
            id,
            LogId::user(),
            OperationKind::Audit,
            "ann",
            ms(1_000),
        )
    }
}

pub(super) async fn a_file_that_an_index_has_wrong_is_seen_and_put_right_by_a_write(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "folder").await;
    let mut record = edited(store, &key, &first, Field::Name, Value::text("b"), 5).await;
    let head = Key::head(&key, &file("f1"));
    let misplaced = async || {
        let kept = store.load_kept_file(&key, &file("f1")).await.unwrap();
        kept.unwrap().misplaced
    };
    assert_eq!(misplaced().await, None);
    let all = [
        ("due", Misplaced::Waiting),
        ("attention", Misplaced::Waiting),
        ("children", Misplaced::Listed),
        ("files", Misplaced::Listed),
    ];
    for (index, wrong) in all {
        hide(store, &head, index).await;
        assert_eq!(misplaced().await, Some(wrong), "{index}");
        let ids = [file("f1")];
        let many = store.load_kept_files(&key, &ids).await.unwrap();
        assert_eq!(many[0].misplaced, Some(wrong));
        let before = record.revision;
        record = committed(store, &key, before, &Step::stay(record)).await;
        assert_eq!(misplaced().await, None, "{index}");
    }
    let listed = store.list_kept_files(&key, &page(10)).await.unwrap();
    let right = Kept {
        value: record,
        misplaced: None,
    };
    assert_eq!(listed.items, [right]);
}

pub(super) async fn a_log_a_channel_and_an_operation_that_are_not_due_are_seen_and_put_right(
    store: &Store,
) {
    let key = fresh();
    let log = Log::new(key.clone(), LogId::user(), ms(5));
    store.create_log(&log).await.unwrap();
    let of_log = async || {
        store
            .list_kept_logs(&key)
            .await
            .unwrap()
            .remove(0)
            .misplaced
    };
    assert_eq!(of_log().await, None);
    hide(store, &Key::of_connection(&key, "LOG", "user"), "due").await;
    assert_eq!(of_log().await, Some(Misplaced::Waiting));
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
        let kept = store.load_kept_channel(&channel.id).await.unwrap();
        kept.unwrap().misplaced
    };
    assert_eq!(of_channel().await, None);
    hide(store, &Key::channel(&channel.id), "due").await;
    assert_eq!(of_channel().await, Some(Misplaced::Waiting));
    let postponed = store.postpone_channel(&channel.id, ms(8_000)).await;
    postponed.unwrap();
    assert_eq!(of_channel().await, None);

    let operation = audit(&key);
    let made = store.create_operation(&operation).await.unwrap();
    assert_eq!(made, Created::Created);
    let of_operation = async || {
        let kept = store.list_kept_operations(&key, &page(1)).await.unwrap();
        kept.items[0].misplaced
    };
    assert_eq!(of_operation().await, None);
    hide(store, &Key::of_connection(&key, "OP", "op1"), "due").await;
    assert_eq!(of_operation().await, Some(Misplaced::Waiting));
    let moved = store.move_operation(&operation, &operation).await.unwrap();
    assert_eq!(moved, Written::Done(operation));
    assert_eq!(of_operation().await, None);
}

pub(super) async fn a_conflict_that_no_list_has_is_seen(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "folder").await;
    let ours = edited(store, &key, &first, Field::Name, Value::text("ours"), 5).await;
    let theirs = snapshot("f1", 2, "theirs", "folder");
    let record = observed(store, &key, &ours, theirs, 6).await;
    let id = record.open_conflict(&Field::Name).unwrap();
    let load = async |id: &ConflictId| store.load_kept_conflict(&key, id).await.unwrap();
    assert_eq!(load(&id).await.unwrap().misplaced, None);
    hide(store, &Key::conflict(&key, &id), "attention").await;
    let kept = load(&id).await.unwrap();
    assert_eq!(kept.misplaced, Some(Misplaced::Waiting));
    assert_eq!(kept.value.drive, Value::text("theirs"));
    let other = ConflictId { number: 9, ..id };
    assert_eq!(load(&other).await, None);
}

fn flaw(kind: FlawKind, subject: Subject) -> Flaw {
    Flaw {
        kind,
        subject,
        repaired: false,
        detail: "seen".to_owned(),
        found_at: ms(7),
    }
}

pub(super) async fn a_flaw_comes_back_as_it_was_and_of_one_thing_the_latest_is_kept(store: &Store) {
    let operation = audit(&fresh());
    let conflict = ConflictId {
        file: file("f1"),
        field: Field::Property("a#b".to_owned()),
        number: 3,
    };
    let op = OperationId::parse("op9").unwrap();
    // In the order of their keys.
    let mut flaws = [
        flaw(FlawKind::ChannelLapsed, Subject::Log(LogId::user())),
        flaw(FlawKind::ConflictStray, Subject::Conflict(conflict)),
        flaw(FlawKind::IntentNotDue, Subject::File(file("f1"))),
        flaw(FlawKind::IntentNotDue, Subject::File(file("f2"))),
        flaw(FlawKind::OperationStalled, Subject::Operation(op)),
    ];
    for flaw in &flaws {
        store.note_flaw(&operation, flaw).await.unwrap();
    }
    flaws[2].repaired = true;
    store.note_flaw(&operation, &flaws[2]).await.unwrap();
    let late = Flaw {
        found_at: ms(6),
        detail: "seen before".to_owned(),
        ..flaws[2].clone()
    };
    store.note_flaw(&operation, &late).await.unwrap();
    // Another operation's are not among them.
    let other = Operation {
        id: OperationId::parse("op2").unwrap(),
        ..operation.clone()
    };
    store.note_flaw(&other, &flaws[0]).await.unwrap();
    let (key, id) = (&operation.key, &operation.id);
    let first = store.list_flaws(key, id, None, &page(3)).await.unwrap();
    assert_eq!(first.items, flaws[..3]);
    let mut next = page(3);
    next.cursor = first.next_cursor;
    let rest = store.list_flaws(key, id, None, &next).await.unwrap();
    assert_eq!(
        (rest.items.as_slice(), rest.next_cursor),
        (&flaws[3..], None)
    );
    let kind = Some(FlawKind::IntentNotDue);
    let of_kind = store.list_flaws(key, id, kind, &page(9)).await.unwrap();
    assert_eq!(of_kind.items, flaws[2..4]);
}

pub(super) async fn an_operation_keeps_how_many_flaws_it_found(store: &Store) {
    let operation = audit(&fresh());
    store.create_operation(&operation).await.unwrap();
    let count = |found, repaired| FlawCount { found, repaired };
    let flaws = BTreeMap::from([
        (FlawKind::IntentNotDue, count(3, 2)),
        (FlawKind::CursorAhead, count(1, 0)),
    ]);
    let after = Operation {
        state: OperationState::Listing,
        flaws,
        ..operation.clone()
    };
    let moved = store.move_operation(&operation, &after).await.unwrap();
    assert_eq!(moved, Written::Done(after.clone()));
    let stands = store.load_operation(&after.key, &after.id).await.unwrap();
    assert_eq!(stands.as_ref(), Some(&after));
    let again = store.move_operation(&operation, &after).await.unwrap();
    assert_eq!(again, Written::Done(after), "it is so already");
}
