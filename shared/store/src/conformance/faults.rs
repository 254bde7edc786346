//! Faults of the network and of DynamoDB, injected: only possible with the embedded table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::content::{ContentOutcome, ContentState};
use domain::{Field, FileRecord, LogId, Operation, PageToken, Revision, Run, Transition, Value};
use serde_json::{Value as Json, json};

use super::checks::checks_content::{hash, put, version};
use super::checks::checks_events;
use super::checks::checks_files::increment;
use super::support::{edited, faulty, file, fresh, ids, ms, nonce, page, snapshot, stored};
use super::transport::{Fault, Faults};
use crate::{
    Committed, GcStart, HistoryEntry, Linked, Log, LogProgress, Released, Store, StoreError,
    Tombstones, Written,
};

/// Injects `fault` into every `nth` call of an operation, and nothing into the others.
fn every(nth: u32, of: &'static str, fault: fn(&Json) -> Fault) -> (Faults, Arc<AtomicU32>) {
    let struck = Arc::new(AtomicU32::new(0));
    let calls = AtomicU32::new(0);
    let count = struck.clone();
    let faults: Faults = Arc::new(move |operation, body| {
        if operation != of || !(calls.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(nth) {
            return Fault::None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        fault(body)
    });
    (faults, struck)
}

async fn first_sight(store: &Store) -> Result<Committed, StoreError> {
    let first = FileRecord::from_snapshot(&snapshot("f1", 1, "a", "root"));
    store
        .commit(
            &fresh(),
            Revision(0),
            &Transition::unchanged(first),
            nonce(),
        )
        .await
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_a_lost_response_is_done() {
    let (faults, struck) = every(2, "PutItem", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    for _ in 0..10 {
        assert_eq!(first_sight(&store).await.unwrap(), Committed::Done);
    }
    assert!(struck.load(Ordering::Relaxed) >= 9);
}

#[tokio::test(start_paused = true)]
async fn an_append_with_a_lost_response_is_done_once() {
    let (faults, struck) = every(2, "PutItem", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    let key = fresh();
    for number in 1..=10_u64 {
        let told = [checks_events::event(&number.to_string())];
        let appending = checks_events::at(1, number);
        let end = store.append_events(&key, &told, &appending).await;
        assert_eq!(end.unwrap().unwrap().number, number);
    }
    assert!(struck.load(Ordering::Relaxed) >= 5);
}

#[tokio::test(start_paused = true)]
async fn writers_that_lose_answers_count_each_increment_once() {
    let (faults, struck) = every(3, "UpdateItem", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    let key = fresh();
    let first = stored(&store, &key, "f1", "root").await;
    // One after the other: if another writer continues after a lost response, the write is stale,
    // and the returned record contains it.
    for _ in 0..20 {
        let current = store.load_file(&key, &first.file).await.unwrap();
        increment(&store, &key, current.unwrap()).await;
    }
    let last = store.load_file(&key, &file("f1")).await.unwrap().unwrap();
    assert_eq!(last.conflicts_opened, 20);
    assert!(struck.load(Ordering::Relaxed) > 5);
}

#[tokio::test(start_paused = true)]
async fn units_that_were_taken_in_an_answer_that_was_lost_are_taken_once() {
    let (faults, struck) = every(2, "UpdateItem", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    let (key, limits) = (fresh(), domain::rate_limit::Limits::default());
    let mut limit = domain::rate_limit::RateLimit::new(&limits, ms(0));
    for revision in 0..10 {
        let ask = domain::rate_limit::CallKind::List.cost(1, limits.model);
        limit = limit
            .lease(ask, ask, false, &limits, ms(0))
            .unwrap()
            .rate_limit;
        let saved = store.save_rate_limit(&key, revision, &limit, nonce()).await;
        let expected = crate::StoredRateLimit {
            revision: revision + 1,
            rate_limit: limit,
        };
        assert_eq!(saved.unwrap(), Written::Done(expected));
    }
    assert!(struck.load(Ordering::Relaxed) >= 5);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_with_a_lost_response_is_done() {
    let (faults, lost) = every(2, "TransactWriteItems", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    for n in 0..6 {
        let key = fresh();
        let first = stored(&store, &key, "f1", "root").await;
        let ours = edited(&store, &key, &first, Field::Name, Value::text("ours"), 5).await;
        let theirs = domain::Observation::Present(snapshot("f1", 2, "theirs", "root"));
        let step = ours.observe(&theirs, super::support::context(9));
        assert_eq!(step.conflicts.len(), 1, "{n}");
        let outcome = store
            .commit(&key, ours.revision, &step, nonce())
            .await
            .unwrap();
        assert_eq!(outcome, Committed::Done);
    }
    assert!(lost.load(Ordering::Relaxed) > 2);
}

#[tokio::test(start_paused = true)]
async fn an_advance_with_a_lost_response_is_done() {
    let (faults, struck) = every(2, "UpdateItem", |_| Fault::AnswerLost);
    let store = faulty(faults).await;
    let mut log = Log::new(fresh(), LogId::user(), ms(1));
    store.create_log(&log).await.unwrap();
    for n in 0..10_i64 {
        let progress = LogProgress {
            complete_listing_began: Some(ms(n)),
            next_poll_at: Some(ms(n)),
            last_change_at: None,
            lag_millis: None,
            walk: None,
        };
        let token = PageToken::new(n.to_string());
        match store.advance(&log, &token, progress).await.unwrap() {
            Written::Done(moved) => log = moved,
            Written::Stale(current) => panic!("{current:?}"),
        }
        assert_eq!(log.cursor, Some(token));
    }
    assert!(struck.load(Ordering::Relaxed) > 5);
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_left_unread_are_asked_for_again() {
    let (faults, struck) = every(1, "BatchGetItem", leave_unread);
    let store = faulty(faults).await;
    let key = fresh();
    let mut wanted = Vec::new();
    for n in 0..5 {
        stored(&store, &key, &format!("f{n}"), "root").await;
        wanted.push(file(&format!("f{n}")));
    }
    let found = store.load_files(&key, &wanted).await.unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), wanted);
    assert_eq!(struck.load(Ordering::Relaxed), 5, "one key at a time");
    let listed = store
        .list_files(&key, None, Tombstones::Skip, &page(9))
        .await
        .unwrap();
    assert_eq!(ids(&listed.items).len(), 5);

    wanted.extend((5..12).map(|n| file(&format!("f{n}"))));
    let busy = store.load_files(&key, &wanted).await;
    assert!(
        matches!(busy, Err(StoreError::Busy(_))),
        "bounded, then reported"
    );
}

/// Processes the first key of a batch and leaves the rest.
fn leave_unread(body: &Json) -> Fault {
    let mut now = body.clone();
    let mut rest = body["RequestItems"].clone();
    let table = "drivesync";
    let keys = body["RequestItems"][table]["Keys"].as_array().unwrap();
    now["RequestItems"][table]["Keys"] = json!([keys[0]]);
    rest[table]["Keys"] = json!(keys[1..]);
    let unread = if keys.len() > 1 { rest } else { json!({}) };
    Fault::Instead(now, json!({"UnprocessedKeys": unread}))
}

#[tokio::test(start_paused = true)]
async fn history_that_was_left_unwritten_is_sent_again() {
    let (faults, struck) = every(1, "BatchWriteItem", leave_unwritten);
    let store = faulty(faults).await;
    let key = fresh();
    let entry = |version| HistoryEntry {
        snapshot: snapshot("f1", version, "a", "root"),
        at: ms(1),
        cause: None,
    };
    let entries: Vec<_> = (1..=4).map(entry).collect();
    store.save_history(&key, &entries, None).await.unwrap();
    assert_eq!(struck.load(Ordering::Relaxed), 4);
    let history = store
        .history(&key, &file("f1"), &page(9), domain::Timestamp::default())
        .await
        .unwrap();
    assert_eq!(history.items.len(), 4);
    let many: Vec<_> = (1..=20).map(entry).collect();
    let busy = store.save_history(&key, &many, None).await;
    assert!(matches!(busy, Err(StoreError::Busy(_))));
}

/// Writes the first item of a batch and leaves the rest.
fn leave_unwritten(body: &Json) -> Fault {
    let items = body["RequestItems"]["drivesync"].as_array().unwrap();
    let now = json!({"RequestItems": {"drivesync": [items[0]]}});
    let rest = &items[1..];
    let left = if rest.is_empty() {
        json!({})
    } else {
        json!({"drivesync": rest})
    };
    Fault::Instead(now, json!({"UnprocessedItems": left}))
}

fn refused(status: u16, code: &str) -> Fault {
    Fault::Refused(
        status,
        json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "no"}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_throttled_table_is_busy_and_a_wrong_request_is_refused() {
    for code in [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "SomethingNew",
    ] {
        let faults: Faults = Arc::new(move |operation, _| match operation {
            "PutItem" => refused(400, code),
            _ => Fault::None,
        });
        let outcome = first_sight(&faulty(faults).await).await;
        assert!(matches!(outcome, Err(StoreError::Busy(_))), "{code}");
    }
    for code in [
        "ValidationException",
        "AccessDeniedException",
        "ResourceNotFoundException",
    ] {
        let faults: Faults = Arc::new(move |operation, _| match operation {
            "PutItem" => refused(400, code),
            _ => Fault::None,
        });
        let outcome = first_sight(&faulty(faults).await).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{code}");
        let source = std::error::Error::source(&error).expect("the source is kept");
        assert!(
            source
                .downcast_ref::<aws_sdk_dynamodb::error::SdkError<
                    aws_sdk_dynamodb::operation::put_item::PutItemError,
                >>()
                .is_some()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_conflicts_with_a_transaction_is_retried_and_then_busy() {
    let (faults, struck) = every(2, "PutItem", |_| {
        refused(400, "TransactionConflictException")
    });
    let store = faulty(faults).await;
    for _ in 0..4 {
        assert_eq!(first_sight(&store).await.unwrap(), Committed::Done);
    }
    assert!(struck.load(Ordering::Relaxed) > 2);
    let (faults, _) = every(1, "PutItem", |_| {
        refused(400, "TransactionConflictException")
    });
    let outcome = first_sight(&faulty(faults).await).await;
    assert!(matches!(outcome, Err(StoreError::Busy(_))));
}

fn cancelled(reasons: &[&str]) -> Fault {
    let reasons: Vec<Json> = reasons.iter().map(|code| json!({"Code": code})).collect();
    Fault::Refused(
        400,
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "cancelled",
            "CancellationReasons": reasons,
        }),
    )
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_conflicts_with_another_is_retried() {
    let begin = async |faults| {
        let store = faulty(faults).await;
        let log = Log::new(fresh(), LogId::user(), ms(1));
        store.create_log(&log).await.unwrap();
        let id = domain::OperationId::parse("op1").unwrap();
        let run = Run::sync(domain::operation::SyncKind::Initial);
        let operation = Operation::new(log.key.clone(), id, log.log.clone(), "alice", ms(1), run);
        store
            .begin_listing(&log, &PageToken::new("s"), &operation)
            .await
    };
    let calls = AtomicU32::new(0);
    let twice: Faults = Arc::new(move |operation, _| {
        if operation == "TransactWriteItems" && calls.fetch_add(1, Ordering::Relaxed) < 2 {
            cancelled(&["TransactionConflict", "None"])
        } else {
            Fault::None
        }
    });
    assert!(matches!(begin(twice).await, Ok(Written::Done(_))));
    let (always, _) = every(1, "TransactWriteItems", |_| {
        cancelled(&["None", "TransactionConflict"])
    });
    assert!(matches!(begin(always).await, Err(StoreError::Busy(_))));
    let (throttled, _) = every(1, "TransactWriteItems", |_| {
        cancelled(&["None", "ThrottlingError"])
    });
    assert!(matches!(begin(throttled).await, Err(StoreError::Busy(_))));
    let (wrong, _) = every(1, "TransactWriteItems", |_| {
        cancelled(&["ValidationError", "None"])
    });
    assert!(matches!(begin(wrong).await, Err(StoreError::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn versions_whose_answers_were_lost_are_counted_once() {
    for operation in ["TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem"] {
        let (faults, _struck) = every(2, operation, |_| Fault::AnswerLost);
        let store = faulty(faults).await;
        let (key, f1) = (fresh(), file("f1"));
        let mut referenced = 0;
        for number in 1..=6 {
            // Three contents, each referenced twice.
            let content = 1 + u8::try_from(number % 3).unwrap();
            let object = match store
                .load_object(&key.tenant, &hash(content))
                .await
                .unwrap()
            {
                Some(object) => object,
                None => put(&store, &key, content).await,
            };
            let version = version(number, &object);
            let linked = store.link_version(&key, &f1, &version).await;
            assert_eq!(linked.unwrap(), Linked::Done, "{operation} {number}");
            referenced += 1;
        }
        assert_eq!(refs(&store, &key).await, referenced, "{operation}");
        for number in 1..=4 {
            let released = store.release_version(&key, &f1, number, ms(1)).await;
            // After the caller's own deletion, whose response was lost for good, there is nothing
            // to delete.
            let done = matches!(released.unwrap(), Released::Done { .. } | Released::Absent);
            assert!(done, "{operation} {number}");
        }
        assert_eq!(refs(&store, &key).await, 2, "{operation}");
        let state = store.load_content(&key, &f1).await.unwrap();
        let stored = state.with_outcome(6, ContentOutcome::Stored);
        for revision in 0..4 {
            let next = ContentState {
                revision,
                ..stored.clone()
            };
            let saved = store.save_content(&key, &f1, &next, nonce()).await.unwrap();
            assert!(matches!(saved, Written::Done(state) if state.revision == revision + 1));
        }
    }
}

async fn refs(store: &Store, key: &domain::ConnectionKey) -> u64 {
    let mut refs = 0;
    for content in 1..=3 {
        let object = store
            .load_object(&key.tenant, &hash(content))
            .await
            .unwrap();
        refs += object.map_or(0, |object| object.refs);
    }
    refs
}

#[tokio::test(start_paused = true)]
async fn a_garbage_collection_with_lost_responses_completes() {
    for operation in ["UpdateItem", "DeleteItem"] {
        let (faults, struck) = every(1, operation, |_| Fault::AnswerLost);
        let store = faulty(faults).await;
        let key = fresh();
        let one = put(&store, &key, 1).await;
        let mut ended = false;
        for _ in 0..5 {
            match store.begin_gc(&key.tenant, &one.hash, ms(5_000)).await {
                Ok(GcStart::Begun(object)) => {
                    // A worker without a response tries again at the next sweep.
                    let _unanswered = store.finish_gc(&key.tenant, &object).await;
                }
                Ok(GcStart::Absent) => {
                    ended = true;
                    break;
                }
                Ok(GcStart::NotYet(object)) => panic!("{object:?}"),
                Err(StoreError::Busy(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(ended && struck.load(Ordering::Relaxed) > 0, "{operation}");
    }
}
