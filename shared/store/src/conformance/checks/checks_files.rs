//! File records: one conditional write each.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    Choice, ConflictStatus, ConnectionKey, Field, FileRecord, Gone, Request, Revision, TenantId,
    Transition, Value,
};

use super::super::support::{
    committed, context, edited, file, fresh, ms, nonce, observed, page, snapshot, stored,
};
use crate::table::key::Key;
use crate::{Committed, HistoryEntry, Store, StoreError};

pub(crate) async fn a_record_is_created_once_and_read_back_equal(store: &Store) {
    let key = fresh();
    let first = FileRecord::from_snapshot(&snapshot("f1", 7, "a.txt", "root"));
    let step = Transition::unchanged(first.clone());
    let created = committed(store, &key, Revision(0), &step).await;
    assert_eq!(
        created,
        FileRecord {
            revision: Revision(1),
            ..first
        }
    );

    let again = store
        .commit(&key, Revision(0), &step, nonce())
        .await
        .unwrap();
    assert_eq!(again, Committed::Stale(Some(Box::new(created))));
    assert_eq!(store.load_file(&key, &file("f2")).await.unwrap(), None);
}

pub(crate) async fn a_stale_revision_returns_the_current_record(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "root").await;
    let second = edited(store, &key, &first, Field::Name, Value::text("b"), 5).await;
    assert!(second.revision > first.revision);

    let late = first.edit(
        &BTreeMap::from([(Field::Name, Value::text("c"))]),
        "bob",
        context(6),
    );
    let late = store
        .commit(&key, first.revision, &late.unwrap(), nonce())
        .await
        .unwrap();
    assert_eq!(late, Committed::Stale(Some(Box::new(second))));
}

pub(crate) async fn a_commit_on_nothing_is_stale_without_a_record(store: &Store) {
    let key = fresh();
    let mut record = FileRecord::from_snapshot(&snapshot("f1", 1, "a", "root"));
    record.revision = Revision(5);
    let outcome = store
        .commit(&key, Revision(4), &Transition::unchanged(record), nonce())
        .await
        .unwrap();
    assert_eq!(outcome, Committed::Stale(None));
    assert_eq!(store.load_file(&key, &file("f1")).await.unwrap(), None);
}

pub(crate) async fn fifty_increments_by_five_writers_all_count(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "root").await;
    let writers = (0..5).map(|_| {
        let (store, key, first) = (store.clone(), key.clone(), first.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                increment(&store, &key, first.clone()).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let last = store.load_file(&key, &file("f1")).await.unwrap().unwrap();
    assert_eq!(last.conflicts_opened, 50);
    assert_eq!(last.revision.0, first.revision.0 + 50);
}

/// Increments a counter, starting from the given record or the current one.
pub(crate) async fn increment(store: &Store, key: &ConnectionKey, from: FileRecord) {
    let mut current = from;
    loop {
        let mut next = current.clone();
        next.conflicts_opened += 1;
        next.revision = next.revision.next();
        let step = Transition::unchanged(next);
        match store
            .commit(key, current.revision, &step, nonce())
            .await
            .unwrap()
        {
            Committed::Done => return,
            Committed::Stale(newer) => current = *newer.expect("the record is there"),
        }
    }
}

pub(crate) async fn every_write_increments_the_revision(store: &Store) {
    let key = fresh();
    let record = stored(store, &key, "f1", "root").await;
    let mut answered = record.clone();
    answered.last_request = Some(Request {
        key: "k".to_owned(),
        digest: "d".to_owned(),
    });
    let written = committed(
        store,
        &key,
        record.revision,
        &Transition::unchanged(answered.clone()),
    )
    .await;
    answered.revision = record.revision.next();
    assert_eq!(written, answered);
    let step = Transition::unchanged(record.clone());
    let late = store.commit(&key, record.revision, &step, nonce()).await;
    assert_eq!(late.unwrap(), Committed::Stale(Some(Box::new(written))));
}

pub(crate) async fn a_conflict_is_written_with_its_record_or_not_at_all(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "root").await;
    let ours = edited(store, &key, &first, Field::Name, Value::text("ours"), 5).await;

    let theirs = domain::Observation::Present(snapshot("f1", 2, "theirs", "root"));
    let step = ours.observe(&theirs, context(9));
    let id = step.record.open_conflict(&Field::Name).expect("a conflict");
    let stale = store
        .commit(&key, first.revision, &step, nonce())
        .await
        .unwrap();
    assert_eq!(stale, Committed::Stale(Some(Box::new(ours.clone()))));
    assert_eq!(store.load_conflict(&key, &id).await.unwrap(), None);

    let open = committed(store, &key, ours.revision, &step).await;
    let conflict = store
        .load_conflict(&key, &id)
        .await
        .unwrap()
        .expect("the conflict");
    assert_eq!(&conflict, &step.conflicts[&id]);
    assert_eq!(conflict.status, ConflictStatus::Open);

    let resolved = open
        .resolve(&id, None, &Choice::Drive, "carol", context(12))
        .unwrap();
    committed(store, &key, open.revision, &resolved).await;
    let conflict = store
        .load_conflict(&key, &id)
        .await
        .unwrap()
        .expect("the conflict");
    assert_eq!(&conflict, &resolved.conflicts[&id]);
}

pub(crate) async fn many_files_are_read_each_once(store: &Store) {
    let key = fresh();
    let mut wanted = Vec::new();
    for n in 0..120 {
        let id = format!("f{n}");
        let first = FileRecord::from_snapshot(&snapshot(&id, 1, &id, "root"));
        let outcome = store
            .commit(&key, Revision(0), &Transition::unchanged(first), nonce())
            .await;
        assert_eq!(outcome.unwrap(), Committed::Done);
        wanted.extend([file(&id), file(&id), file(&format!("missing{n}"))]);
    }
    let found = store.load_files(&key, &wanted).await.unwrap();
    assert_eq!(found.len(), 120);
    assert_eq!(
        store.load_files_consistent(&key, &wanted).await.unwrap(),
        found
    );
    assert!(found.iter().all(|(id, record)| *id == record.file));
    assert!(store.load_files(&key, &[]).await.unwrap().is_empty());
}

pub(crate) async fn two_tenants_with_the_same_ids_never_meet(store: &Store) {
    let mine = fresh();
    let theirs = ConnectionKey {
        tenant: fresh().tenant,
        ..mine.clone()
    };
    let a = stored(store, &mine, "f1", "root").await;
    assert_eq!(store.load_file(&theirs, &file("f1")).await.unwrap(), None);
    assert!(
        store
            .load_files(&theirs, &[file("f1")])
            .await
            .unwrap()
            .is_empty()
    );

    let b = stored(store, &theirs, "f1", "root").await;
    edited(store, &theirs, &b, Field::Name, Value::text("theirs"), 5).await;
    assert_eq!(store.load_file(&mine, &file("f1")).await.unwrap(), Some(a));
    assert_eq!(
        store
            .check_arrival(&mine, &[file("f1"), file("f2")])
            .await
            .unwrap()
            .missing,
        [file("f2")]
    );
    let listed = store
        .list_conflicts(&mine, &crate::ConflictFilter::default(), &page(10))
        .await;
    assert!(listed.unwrap().items.is_empty());
    let owed = store
        .list_intents(&mine, crate::IntentStatus::Owed, &page(10))
        .await
        .unwrap();
    assert!(owed.items.is_empty());
    assert!(
        TenantId::parse("a#F#c1").is_err(),
        "an id can't leave its part of a key"
    );
}

pub(crate) async fn an_item_of_a_format_after_the_next_is_refused(store: &Store) {
    let key = fresh();
    let record = stored(store, &key, "f1", "root").await;
    let mut item = store
        .get(&Key::head(&key, &record.file))
        .await
        .unwrap()
        .unwrap();
    item.insert("format".to_owned(), AttributeValue::N("3".to_owned()));
    item.insert("b".to_owned(), AttributeValue::S("another form".to_owned()));
    store.put_many(vec![item]).await.unwrap();

    let newer = |error: &StoreError| {
        let is_newer = matches!(error, StoreError::NewerItem { format: 3, .. });
        is_newer && error.to_string().contains("HEAD")
    };
    assert!(newer(
        &store.load_file(&key, &record.file).await.unwrap_err()
    ));
    assert!(newer(
        &store
            .load_files(&key, std::slice::from_ref(&record.file))
            .await
            .unwrap_err()
    ));
    let late = record.edit(
        &BTreeMap::from([(Field::Name, Value::text("c"))]),
        "bob",
        context(6),
    );
    let late = store
        .commit(&key, Revision(9), &late.unwrap(), nonce())
        .await;
    assert!(newer(&late.unwrap_err()));
}

pub(crate) async fn a_malformed_item_is_corrupt(store: &Store) {
    let key = fresh();
    let place = Key::head(&key, &file("f1"));
    store.put_many(vec![place.to_item()]).await.unwrap();
    let error = store.load_file(&key, &file("f1")).await.unwrap_err();
    assert!(matches!(
        error,
        StoreError::Corrupt {
            what: "its format is missing",
            ..
        }
    ));

    let record = stored(store, &key, "f2", "root").await;
    let mut item = store
        .get(&Key::head(&key, &record.file))
        .await
        .unwrap()
        .unwrap();
    let side = AttributeValue::M([("z".to_owned(), AttributeValue::Null(true))].into());
    item.insert("a".to_owned(), side);
    store.put_many(vec![item]).await.unwrap();
    let error = store.load_file(&key, &file("f2")).await.unwrap_err();
    assert!(matches!(
        error,
        StoreError::Corrupt {
            what: "it names an unknown field",
            ..
        }
    ));
}

pub(crate) async fn history_is_newest_first_and_writing_it_again_changes_nothing(store: &Store) {
    let key = fresh();
    let entry = |version: u64| HistoryEntry {
        snapshot: snapshot("f1", version, &format!("v{version}"), "root"),
        at: ms(1_000 + i64::try_from(version).unwrap()),
        cause: None,
    };
    let versions: Vec<u64> = (1..=40).map(|n| n * n).collect();
    let mut entries: Vec<_> = versions.iter().map(|version| entry(*version)).collect();
    entries.push(entry(1));
    let later = Some(ms(9_999_999_999_000));
    store.save_history(&key, &entries, later).await.unwrap();
    store.save_history(&key, &entries, later).await.unwrap();
    store.save_history(&key, &[], None).await.unwrap();

    let mut seen = Vec::new();
    let mut next = page(15);
    loop {
        let found = store
            .history(&key, &file("f1"), &next, domain::Timestamp::default())
            .await
            .unwrap();
        assert!(found.items.len() <= 15);
        seen.extend(found.items);
        match found.next_cursor {
            Some(cursor) => next.cursor = Some(cursor),
            None => break,
        }
    }
    let wanted: Vec<_> = versions
        .iter()
        .rev()
        .map(|version| entry(*version))
        .collect();
    assert_eq!(seen, wanted);
    let other = store
        .history(&key, &file("f2"), &page(15), domain::Timestamp::default())
        .await
        .unwrap();
    assert!(other.items.is_empty() && other.next_cursor.is_none());

    let at = async |id: &str, version: u64| {
        let version = domain::DriveVersion(version);
        store
            .load_history_entry(&key, &file(id), version, domain::Timestamp::default())
            .await
            .unwrap()
    };
    assert_eq!(at("f1", 16).await, Some(entry(16)));
    assert_eq!((at("f1", 17).await, at("f2", 16).await), (None, None));

    let newest = Key::snapshot(&key, &file("f1"), domain::DriveVersion(1_600));
    let item = store.get(&newest).await.unwrap().unwrap();
    assert_eq!(item["expires"], AttributeValue::N("9999999999".to_owned()));
}

pub(crate) async fn the_state_of_a_time_is_found_and_kept_when_it_is_replaced(store: &Store) {
    let key = fresh();
    let entry = |version: u64| HistoryEntry {
        snapshot: snapshot("f1", version, &format!("v{version}"), "root"),
        at: ms(1_000 * i64::try_from(version).unwrap()),
        cause: None,
    };
    let entries: Vec<_> = (1..=200).map(entry).collect();
    let (soon, late) = (ms(2_000_000), ms(9_000_000));
    store
        .save_history(&key, &entries, Some(soon))
        .await
        .unwrap();
    let at = async |millis: i64, now: i64| {
        store
            .state_at(&key, &file("f1"), ms(millis), ms(now))
            .await
            .unwrap()
    };
    for (millis, version) in [(200_000, 200), (999_999, 200), (7_999, 7), (1_000, 1)] {
        assert_eq!(
            at(millis, 1_999_000).await,
            Some(entry(version)),
            "{millis}"
        );
    }
    assert_eq!(at(999, 1_999_000).await, None);
    assert_eq!(at(200_000, 2_000_000).await, None, "all have expired");

    // What is stored for long enough is not written; the others are, even if they had expired.
    let keep = async |entries: &[HistoryEntry], least: i64| {
        store
            .keep_history(&key, entries, ms(least), late)
            .await
            .unwrap();
    };
    keep(&[entry(200)], 1_999_000).await;
    assert_eq!(at(200_000, 2_000_000).await, None);
    keep(&[entry(200)], 2_000_000).await;
    assert_eq!(at(200_000, 8_999_000).await, Some(entry(200)));
    keep(&[entry(300)], 2_000_000).await;
    assert_eq!(at(400_000, 8_999_000).await, Some(entry(300)));
    keep(&[], 2_000_000).await;
}

pub(crate) async fn a_tombstone_expires_after_its_retention_unless_in_conflict(store: &Store) {
    let key = fresh();
    let item = async |place: Key| store.get(&place).await.unwrap().unwrap();
    let head = async |record: &FileRecord| item(Key::head(&key, &record.file)).await;
    let after = |days: u32| Some(AttributeValue::N((1 + days * 24 * 3_600).to_string()));
    let gone = |why| domain::Observation::Gone(why);

    let unknown = FileRecord::tombstone(file("f1"), Gone::Removed, ms(1_000));
    let unknown = committed(store, &key, Revision(0), &Transition::unchanged(unknown)).await;
    assert!(!unknown.is_present());
    assert_eq!(head(&unknown).await.get("expires"), after(30).as_ref());

    // A file that was seen is kept for as long as the deployment keeps what has ended.
    let other = store.clone().keeping_ended_for(40);
    for (id, store, days) in [("f2", store, 365), ("f3", &other, 40)] {
        let present = stored(store, &key, id, "root").await;
        assert_eq!(head(&present).await.get("expires"), None);
        let lost = present.apply_lookup(&gone(Gone::AccessLost), context(1_000));
        let lost = committed(store, &key, present.revision, &lost).await;
        let item = head(&lost).await;
        assert_eq!(item.get("expires"), after(days).as_ref());
        assert!(item.contains_key("files_pk") && !item.contains_key("children_pk"));
    }

    let present = stored(store, &key, "f4", "root").await;
    let owing = edited(store, &key, &present, Field::Name, Value::text("ours"), 5).await;
    let open = owing.apply_lookup(&gone(Gone::Removed), context(1_000));
    let open = committed(store, &key, owing.revision, &open).await;
    let id = open.open_conflict(&Field::Existence).expect("a conflict");
    assert_eq!(head(&open).await.get("expires"), None, "it is undecided");
    let conflict = item(Key::conflict(&key, &id)).await;
    assert_eq!(conflict.get("expires"), None);
    let settled = open.resolve(&id, None, &Choice::Drive, "carol", context(1_000));
    let settled = committed(store, &key, open.revision, &settled.unwrap()).await;
    assert_eq!(head(&settled).await.get("expires"), after(365).as_ref());
    let conflict = item(Key::conflict(&key, &id)).await;
    assert_eq!(conflict.get("expires"), after(365).as_ref());

    let back = domain::Observation::Present(snapshot("f1", 3, "back", "root"));
    let back = unknown.apply_lookup(&back, context(8));
    let back = committed(store, &key, unknown.revision, &back).await;
    assert_eq!(head(&back).await.get("expires"), None);
    observed(store, &key, &back, snapshot("f1", 4, "on", "root"), 9).await;
}

pub(crate) async fn a_repeated_request_creates_one_file(store: &Store) {
    let key = fresh();
    let request = |digest: &str| Request {
        key: "k1".to_owned(),
        digest: digest.to_owned(),
    };
    assert_eq!(
        store
            .load_idempotency_record(&key, &request("d"))
            .await
            .unwrap(),
        None
    );
    let created = crate::IdempotencyRecord {
        digest: "d".to_owned(),
        file: file("f1"),
    };
    for (digest, id) in [("d", "f1"), ("d", "f2"), ("other", "f3")] {
        let stored = store
            .save_idempotency_record(&key, &request(digest), &file(id), ms(9_000))
            .await;
        assert_eq!(stored.unwrap(), created, "the first is kept");
    }
    let found = store
        .load_idempotency_record(&key, &request("other"))
        .await
        .unwrap();
    assert_eq!(found, Some(created));
    let elsewhere = store
        .load_idempotency_record(&fresh(), &request("d"))
        .await
        .unwrap();
    assert_eq!(elsewhere, None);
}

pub(crate) async fn a_file_in_creation_is_listed_and_due(store: &Store) {
    let key = fresh();
    let new = domain::NewFile {
        file: file("f1"),
        mime_type: "text/plain".to_owned(),
        shortcut_target: None,
        values: BTreeMap::from([
            (Field::Name, Value::text("a")),
            (Field::Parent, Value::text("0AFolder")),
        ]),
    };
    let step = FileRecord::creating(&new, "ann", context(5)).unwrap();
    let created = committed(store, &key, Revision(0), &step).await;
    assert_eq!(created, step.record);
    let folder = file("0AFolder");
    let listed = store
        .list_files(&key, Some(&folder), crate::Tombstones::Skip, &page(10))
        .await;
    assert_eq!(listed.unwrap().items, std::slice::from_ref(&created));
    let due = store.due_files(&key, ms(5), 10).await.unwrap();
    assert_eq!(due, [file("f1")]);
    let taken_back = created.cancel(context(6));
    let gone = committed(store, &key, created.revision, &taken_back).await;
    assert!(gone.is_gone());
    assert_eq!(store.due_files(&key, ms(9), 10).await.unwrap(), []);
}
