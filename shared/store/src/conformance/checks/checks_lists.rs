//! Lists: the indexes of a record as its sides move, and the cursors between pages.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{
    AttemptId, Choice, ConnectionKey, Context, Field, FileRecord, Gone, Jitter, Observation, Patch,
    Policies, Refusal, Revision, Transition, Value,
};

use super::super::support::{
    committed, context, edited, eventually, file, fresh, ids, ms, nonce, observed, page, snapshot,
    stored,
};
use crate::{
    Attention, Committed, ConflictFilter, ConflictState, IntentStatus, PageRequest, Store,
    StoreError, Tombstones,
};

async fn children(store: &Store, key: &ConnectionKey, parent: &str) -> Vec<String> {
    let parent = file(parent);
    let found = store
        .list_files(key, Some(&parent), Tombstones::Include, &page(50))
        .await;
    ids(&found.unwrap().items)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

async fn intents(store: &Store, key: &ConnectionKey, status: IntentStatus) -> Vec<String> {
    let found = store.list_intents(key, status, &page(50)).await.unwrap();
    ids(&found.items).into_iter().map(str::to_owned).collect()
}

pub(crate) async fn a_file_is_listed_under_the_folder_that_the_application_sees(store: &Store) {
    let key = fresh();
    let a = stored(store, &key, "fa", "root").await;
    stored(store, &key, "fb", "root").await;
    eventually(vec!["fa".to_owned(), "fb".to_owned()], async || {
        children(store, &key, "root").await
    })
    .await;

    let moved = edited(store, &key, &a, Field::Parent, Value::text("box"), 5).await;
    eventually(vec!["fb".to_owned()], async || {
        children(store, &key, "root").await
    })
    .await;
    eventually(vec!["fa".to_owned()], async || {
        children(store, &key, "box").await
    })
    .await;

    let gone = moved.apply_lookup(&Observation::Gone(Gone::Removed), context(6));
    committed(store, &key, moved.revision, &gone).await;
    eventually(Vec::<String>::new(), async || {
        children(store, &key, "box").await
    })
    .await;
}

pub(crate) async fn every_file_is_listed_once_page_by_page(store: &Store) {
    let key = fresh();
    for n in 0..30 {
        stored(store, &key, &format!("f{n}"), "root").await;
    }
    let unknown = FileRecord::tombstone(file("gone"), Gone::Removed, ms(1_000));
    committed(store, &key, Revision(0), &Transition::unchanged(unknown)).await;
    let all = async |tombstones, limit| {
        let mut seen = BTreeSet::new();
        let mut next = page(limit);
        loop {
            let found = store
                .list_files(&key, None, tombstones, &next)
                .await
                .unwrap();
            assert!(found.items.len() <= usize::try_from(limit).unwrap());
            for record in &found.items {
                assert!(seen.insert(record.file.clone()), "{} twice", record.file);
            }
            match found.next_cursor {
                Some(cursor) => next.cursor = Some(cursor),
                None => return seen,
            }
        }
    };
    eventually(31, async || all(Tombstones::Include, 7).await.len()).await;
    assert_eq!(all(Tombstones::Skip, 1).await.len(), 30);
    assert_eq!(all(Tombstones::Skip, 1_000).await.len(), 30);
    assert!(!all(Tombstones::Skip, 7).await.contains(&file("gone")));
}

pub(crate) async fn an_intent_is_owed_then_failed_then_gone_from_the_list(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "root").await;
    let none = Vec::<String>::new();
    let one = vec!["f1".to_owned()];
    assert_eq!(intents(store, &key, IntentStatus::Owed).await, none);

    let owed = edited(store, &key, &first, Field::Name, Value::text("b"), 5_000).await;
    eventually(one.clone(), async || {
        intents(store, &key, IntentStatus::Owed).await
    })
    .await;
    assert_eq!(intents(store, &key, IntentStatus::Failed).await, none);

    let mut failed = owed.clone();
    failed
        .push
        .failed
        .insert(Field::Name, "not allowed".to_owned());
    failed.revision = failed.revision.next();
    let failed = committed(store, &key, owed.revision, &Transition::unchanged(failed)).await;
    eventually(one, async || {
        intents(store, &key, IntentStatus::Failed).await
    })
    .await;
    eventually(none.clone(), async || {
        intents(store, &key, IntentStatus::Owed).await
    })
    .await;

    let agreed = observed(store, &key, &failed, snapshot("f1", 2, "b", "root"), 6_000).await;
    assert_eq!(agreed.due(), None);
    eventually(none, async || {
        intents(store, &key, IntentStatus::Failed).await
    })
    .await;
}

pub(crate) async fn due_files_come_earliest_first_and_not_before_their_time(store: &Store) {
    let key = fresh();
    for (id, at) in [("fc", 3_000), ("fa", 1_000), ("fb", 2_000), ("fd", 4_000)] {
        let first = stored(store, &key, id, "root").await;
        edited(store, &key, &first, Field::Name, Value::text("new"), at).await;
    }
    let due = async |now, limit| store.due_files(&key, ms(now), limit).await.unwrap();
    let three = vec![file("fa"), file("fb"), file("fc")];
    eventually(three, async || due(3_000, 10).await).await;
    assert_eq!(due(2_999, 10).await, [file("fa"), file("fb")]);
    assert_eq!(due(9_000, 1).await, [file("fa")]);
    assert!(due(999, 10).await.is_empty());
}

pub(crate) async fn only_out_of_scope_files_are_rescheduled(store: &Store) {
    let key = fresh();
    let policies = Policies::default();
    let context = |at| Context {
        now: ms(at),
        drive_at: None,
        above: None,
        policies: &policies,
    };
    for id in ["held", "backing_off", "due"] {
        let first = stored(store, &key, id, "root").await;
        let owed = edited(store, &key, &first, Field::Name, Value::text("new"), 1_000).await;
        let step = match id {
            "held" => owed.defer_out_of_scope(context(2_000), Jitter(1.0)),
            "backing_off" => {
                let nothing = Patch {
                    attempt: AttemptId(1),
                    values: BTreeMap::new(),
                };
                owed.refused(&nothing, &Refusal::Busy, context(2_000), Jitter(1.0))
            }
            _ => continue,
        };
        let done = store.commit(&key, owed.revision, &step, nonce()).await;
        assert_eq!(done.unwrap(), Committed::Done);
    }
    let due = async |now| store.due_files(&key, ms(now), 10).await.unwrap();
    eventually(vec![file("due")], async || due(2_500).await).await;
    eventually(3, async || due(3_000).await.len()).await;
    let released = store
        .reschedule_out_of_scope(&key, ms(2_400), nonce)
        .await
        .unwrap();
    assert_eq!(released, 1);
    let both = vec![file("due"), file("held")];
    eventually(both, async || due(2_500).await).await;
    // It is not out of scope until it is processed again.
    assert_eq!(
        store
            .reschedule_out_of_scope(&key, ms(2_500), nonce)
            .await
            .unwrap(),
        0
    );
}

/// A record with an open conflict on its name and, if given, on a property.
async fn contested(
    store: &Store,
    key: &ConnectionKey,
    id: &str,
    property: Option<&str>,
    at: i64,
) -> FileRecord {
    let first = stored(store, key, id, "root").await;
    let mut record = edited(store, key, &first, Field::Name, Value::text("ours"), at).await;
    let mut theirs = snapshot(id, 2, "theirs", "root");
    if let Some(property) = property {
        let field = Field::Property(property.to_owned());
        record = edited(store, key, &record, field.clone(), Value::text("1"), at).await;
        theirs.fields.insert(field, Value::text("2"));
    }
    observed(store, key, &record, theirs, at + 1).await
}

pub(crate) async fn conflicts_are_listed_by_state_and_field(store: &Store) {
    let key = fresh();
    // A property's key may contain the separator of key parts.
    let odd = "a#b#1";
    let record = contested(store, &key, "f1", Some(odd), 1_000).await;
    contested(store, &key, "f2", None, 2_000).await;
    let list = async |status, field: Option<Field>, limit| {
        let filter = ConflictFilter { status, field };
        let mut seen = Vec::new();
        let mut next = page(limit);
        loop {
            let found = store.list_conflicts(&key, &filter, &next).await.unwrap();
            seen.extend(
                found
                    .items
                    .into_iter()
                    .map(|c| (c.id.file.to_string(), c.id.field.label())),
            );
            match found.next_cursor {
                Some(cursor) => next.cursor = Some(cursor),
                None => return seen,
            }
        }
    };
    let pair = |id: &str, field: &str| (id.to_owned(), field.to_owned());
    let odd_pair = pair("f1", "properties.a#b#1");
    let all = vec![pair("f1", "name"), odd_pair.clone(), pair("f2", "name")];
    eventually(all.clone(), async || {
        list(Some(ConflictState::Open), None, 10).await
    })
    .await;
    assert_eq!(list(None, None, 1).await, all);
    assert_eq!(list(Some(ConflictState::Ended), None, 10).await, []);
    let property = Field::Property(odd.to_owned());
    assert_eq!(
        list(None, Some(property), 1).await,
        std::slice::from_ref(&odd_pair)
    );

    let id = record.open_conflict(&Field::Name).unwrap();
    let step = record
        .resolve(&id, None, &Choice::App, "carol", context(9_000))
        .unwrap();
    committed(store, &key, record.revision, &step).await;
    eventually(vec![pair("f1", "name")], async || {
        list(Some(ConflictState::Ended), None, 10).await
    })
    .await;
    eventually(vec![odd_pair.clone(), pair("f2", "name")], async || {
        list(Some(ConflictState::Open), None, 10).await
    })
    .await;
    let open_first = [odd_pair, pair("f2", "name"), pair("f1", "name")];
    assert_eq!(list(None, None, 1).await, open_first);
    let by_name = list(None, Some(Field::Name), 1).await;
    assert_eq!(by_name, [pair("f2", "name"), pair("f1", "name")]);
}

pub(crate) async fn attention_is_counted(store: &Store) {
    let key = fresh();
    assert_eq!(
        store.count_attention(&key).await.unwrap(),
        Attention::default()
    );
    contested(store, &key, "f1", Some("p"), 1_000).await;
    let first = stored(store, &key, "f2", "root").await;
    edited(store, &key, &first, Field::Name, Value::text("b"), 5_000).await;
    let mut failed = edited(
        store,
        &key,
        &stored(store, &key, "f3", "root").await,
        Field::Name,
        Value::text("b"),
        5_000,
    )
    .await;
    let before = failed.revision;
    failed.push.failed.insert(Field::Name, "no".to_owned());
    failed.revision = before.next();
    committed(store, &key, before, &Transition::unchanged(failed)).await;
    let wanted = Attention {
        open_conflicts: 2,
        owed: 1,
        failed: 1,
        content_unavailable: 0,
        more: false,
    };
    eventually(wanted, async || store.count_attention(&key).await.unwrap()).await;
}

pub(crate) async fn a_hostile_cursor_is_invalid(store: &Store) {
    let key = fresh();
    for n in 0..4 {
        stored(store, &key, &format!("f{n}"), "root").await;
    }
    let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let cursors = [
        String::new(),
        "garbage".to_owned(),
        "%%%".to_owned(),
        "x".repeat(1 << 20),
        encode("null"),
        encode("{}"),
        encode(r#"{"v":2,"l":"files","p":0,"a":"f1"}"#),
        encode(r#"{"v":1,"l":"children","p":0,"a":"f1"}"#),
        encode(r#"{"v":1,"l":"files","p":8,"a":null}"#),
        encode(r#"{"v":1,"l":"files","p":255,"a":"f1"}"#),
        encode(r#"{"v":1,"l":"files","p":-1,"a":"f1"}"#),
        encode(r#"{"v":1,"l":"files","p":0,"a":""}"#),
        encode(r#"{"v":1,"l":"files","p":0,"a":"\u00ff"}"#),
        encode(r#"{"v":1,"l":"files","p":0,"a":"f1","PK":"T#other#F#c1#f1"}"#),
    ];
    for cursor in cursors {
        let request = PageRequest {
            limit: 2,
            cursor: Some(cursor.clone()),
        };
        let outcome = store
            .list_files(&key, None, Tombstones::Skip, &request)
            .await;
        assert!(
            matches!(outcome, Err(StoreError::InvalidCursor)),
            "{cursor:.80}: {outcome:?}"
        );
    }
    for (list, after) in [("owed", "open#1"), ("owed", "owee"), ("owed", "a")] {
        let cursor = encode(&format!(r#"{{"v":1,"l":"{list}","p":0,"a":"{after}"}}"#));
        let request = PageRequest {
            limit: 2,
            cursor: Some(cursor),
        };
        let outcome = store.list_intents(&key, IntentStatus::Owed, &request).await;
        assert!(matches!(outcome, Err(StoreError::InvalidCursor)), "{after}");
    }
    let cursor = encode(r#"{"v":1,"l":"history","p":0,"a":"HEAD"}"#);
    let request = PageRequest {
        limit: 2,
        cursor: Some(cursor),
    };
    let outcome = store
        .history(&key, &file("f1"), &request, domain::Timestamp::default())
        .await;
    assert!(matches!(outcome, Err(StoreError::InvalidCursor)));
}

pub(crate) async fn a_cursor_of_another_connection_reads_nothing_of_it(store: &Store) {
    let mine = fresh();
    let theirs = fresh();
    for n in 0..6 {
        stored(store, &mine, &format!("m{n}"), "root").await;
        stored(store, &theirs, &format!("x{n}"), "root").await;
    }
    let first = async |key| {
        store
            .list_files(key, Some(&file("root")), Tombstones::Skip, &page(3))
            .await
            .unwrap()
    };
    eventually(true, async || first(&theirs).await.next_cursor.is_some()).await;
    let request = PageRequest {
        limit: 10,
        cursor: first(&theirs).await.next_cursor,
    };
    // The position is interpreted in the caller's own partition: all of the caller's files sort
    // before `x2`.
    let found = store
        .list_files(&mine, Some(&file("root")), Tombstones::Skip, &request)
        .await
        .unwrap();
    assert_eq!(ids(&found.items), Vec::<&str>::new());

    let mut next = page(1);
    loop {
        let found = store
            .list_files(&theirs, None, Tombstones::Skip, &next)
            .await
            .unwrap();
        let Some(cursor) = found.next_cursor else {
            break;
        };
        let request = PageRequest {
            limit: 100,
            cursor: Some(cursor.clone()),
        };
        let crossed = store
            .list_files(&mine, None, Tombstones::Skip, &request)
            .await
            .unwrap();
        assert!(
            crossed
                .items
                .iter()
                .all(|record| record.file.as_str().starts_with('m'))
        );
        next.cursor = Some(cursor);
    }
    let values = BTreeMap::from([(Field::Name, Value::text("n"))]);
    let record = store.load_file(&mine, &file("m1")).await.unwrap().unwrap();
    let step = record.edit(&values, "alice", context(3)).unwrap();
    let done = store
        .commit(&mine, record.revision, &step, nonce())
        .await
        .unwrap();
    assert_eq!(done, Committed::Done);
}
