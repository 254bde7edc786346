//! Operations: a listing page by page, each recorded once.

use domain::operation::{ConnectionFacts, StopReason, SyncKind, Work};
use domain::{
    ConnectionKey, FileId, Jitter, LogId, Operation, OperationId, OperationState, PageToken,
    RemovalLimits, Run,
};

use super::super::support::{eventually, file, fresh, listed, ms, page};
use crate::operation::operation_item::operation_key;
use crate::{
    Created, DUE_SHARDS, DueItem, Log, LogPosition, PageRequest, Store, StoreError, Written,
};

fn operation(key: &ConnectionKey, id: &str, run: Run) -> Operation {
    let id = OperationId::parse(id).unwrap();
    Operation::new(key.clone(), id, LogId::user(), "alice", ms(1_000), run)
}

/// An audit whose own items are checked.
fn audit(key: &ConnectionKey, id: &str) -> Operation {
    operation(key, id, Run::audit(false)).on_self_check(None, ms(1_000))
}

async fn record(
    store: &Store,
    before: &Operation,
    ids: Vec<FileId>,
    next: Option<&str>,
    now: i64,
) -> Result<Written<Operation>, StoreError> {
    let files = u64::try_from(ids.len()).unwrap();
    let after = listed(before, files, next, now);
    store.record_page(before, &after, &ids).await
}

fn done<T: std::fmt::Debug>(outcome: Written<T>) -> T {
    match outcome {
        Written::Done(value) => value,
        Written::Stale(current) => panic!("stale: {current:?}"),
    }
}

/// A log whose first listing has begun, and the operation as it is stored.
async fn listing(store: &Store) -> (Log, Operation) {
    let log = Log::new(fresh(), LogId::user(), ms(1_000));
    store.create_log(&log).await.unwrap();
    let first = operation(&log.key, "op1", Run::sync(SyncKind::Initial));
    let log = done(
        store
            .begin_listing(&log, &PageToken::new("start"), &first)
            .await
            .unwrap(),
    );
    let stored = store
        .load_operation(&log.key, &first.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored, first);
    assert!(stored.blocks_log());
    (log, stored)
}

fn files(range: std::ops::Range<u32>) -> Vec<FileId> {
    range.map(|n| file(&format!("f{n}"))).collect()
}

async fn is_due(store: &Store, operation: &Operation, now: i64) -> bool {
    let wanted = DueItem::Operation(operation.key.clone(), operation.id.clone());
    for shard in 0..DUE_SHARDS {
        if store
            .due(shard, ms(now), None, 1_000)
            .await
            .unwrap()
            .items
            .contains(&wanted)
        {
            return true;
        }
    }
    false
}

pub(crate) async fn a_listing_goes_from_its_first_page_to_done(store: &Store) {
    let (log, first) = listing(store).await;
    assert_eq!(log.position, LogPosition::Listing(first.id.clone()));
    assert_eq!(
        store.load_log(&log.key, &log.log).await.unwrap(),
        Some(log.clone())
    );

    let one = done(
        record(store, &first, files(0..3), Some("t2"), 2_000)
            .await
            .unwrap(),
    );
    assert_eq!(
        (one.form().pages, one.form().listed, one.page_to_list()),
        (1, 3, Some(Some("t2")))
    );
    assert_eq!(
        store.load_operation(&one.key, &one.id).await.unwrap(),
        Some(one.clone())
    );
    assert!(!is_due(store, &one, 9_000).await);

    let two = done(record(store, &one, files(3..4), None, 3_000).await.unwrap());
    assert_eq!(
        (two.state(), two.due_at, two.blocks_log()),
        (OperationState::Listed, Some(ms(3_000)), false)
    );
    assert_eq!(
        store.load_operation(&two.key, &two.id).await.unwrap(),
        Some(two.clone())
    );
    let log = store.load_log(&log.key, &log.log).await.unwrap().unwrap();
    assert_eq!(
        (log.position, log.cursor),
        (LogPosition::Following, Some(PageToken::new("start")))
    );
    eventually(true, async || is_due(store, &two, 3_000).await).await;
    assert!(!is_due(store, &two, 2_999).await);

    let pages = async |n| store.load_page(&two.key, &two.id, n).await.unwrap();
    assert_eq!(pages(0).await, Some(files(0..3)));
    assert_eq!(pages(1).await, Some(files(3..4)));
    assert_eq!(pages(2).await, None);

    let arrived = two.on_arrival(1, 3, 1, ms(3_500));
    let three = done(store.advance_operation(&two, &arrived).await.unwrap());
    let form = three.form();
    assert_eq!((form.pages_verified, form.verified, form.errors), (1, 3, 1));
    assert_eq!(form.progressed_at, Some(ms(3_500)));
    assert_eq!(
        done(store.advance_operation(&two, &arrived).await.unwrap()),
        three,
        "it is already done"
    );
    let other = two.on_arrival(2, 4, 0, ms(3_600));
    let stale = store.advance_operation(&two, &other).await.unwrap();
    assert_eq!(stale, Written::Stale(Some(three.clone())));
    eventually(false, async || is_due(store, &three, 4_499).await).await;

    let arrived = three.on_arrival(1, 1, 0, ms(4_500));
    let arrived = done(store.advance_operation(&three, &arrived).await.unwrap());
    let again = arrived.on_all_arrived(ms(5_000));
    let again = done(store.advance_operation(&arrived, &again).await.unwrap());
    assert_eq!(
        (again.state(), again.page_to_list()),
        (OperationState::Listed, Some(None)),
        "the files are listed a second time"
    );
    let compared = done(
        record(store, &again, files(0..4), None, 5_500)
            .await
            .unwrap(),
    );
    assert_eq!(pages(2).await, Some(files(0..4)));
    assert_eq!(
        (compared.state(), compared.pages_compared()),
        (OperationState::Comparing, (2, 1))
    );
    let late = record(store, &again, files(0..9), None, 5_600).await;
    assert_eq!(late.unwrap(), Written::Stale(Some(compared.clone())));
    let end = compared.failed("ended", ms(6_000));
    let four = done(store.advance_operation(&compared, &end).await.unwrap());
    assert_eq!((four.finished_at, four.due_at), (Some(ms(6_000)), None));
    assert_eq!(
        store.load_operation(&four.key, &four.id).await.unwrap(),
        Some(four.clone())
    );
    eventually(false, async || is_due(store, &four, 9_000).await).await;
    let failed = arrived.failed("x", ms(6));
    let late = store.advance_operation(&arrived, &failed).await.unwrap();
    assert_eq!(late, Written::Stale(Some(four)));
}

pub(crate) async fn a_page_that_stops_its_listing_is_not_recorded(store: &Store) {
    let (_, first) = listing(store).await;
    let page = record(store, &first, files(0..3), Some("t2"), 2_000).await;
    let one = done(page.unwrap());
    let page = record(store, &one, files(3..4), Some("t2"), 3_000).await;
    let stopped = done(page.unwrap());
    assert_eq!(
        (stopped.form().pages, stopped.page_to_list()),
        (1, Some(Some("t2")))
    );
    let stop = stopped.stop().unwrap();
    assert_eq!(
        (stop.reason, stop.attempts, stop.until),
        (StopReason::TokenRepeats, 1, ms(13_000))
    );
    let stored = store.load_operation(&one.key, &one.id).await.unwrap();
    assert_eq!(stored, Some(stopped.clone()));
    assert_eq!(store.load_page(&one.key, &one.id, 1).await.unwrap(), None);
    let page = record(store, &stopped, files(3..4), None, 13_000).await;
    assert_eq!(done(page.unwrap()).stop(), None);
}

pub(crate) async fn a_page_that_was_recorded_is_stale(store: &Store) {
    let (_, first) = listing(store).await;
    let racers = [files(0..3), files(0..2)].map(|ids| {
        let (store, first) = (store.clone(), first.clone());
        tokio::spawn(async move { record(&store, &first, ids, Some("t2"), 2_000).await })
    });
    let mut outcomes = Vec::new();
    for racer in racers {
        outcomes.push(racer.await.unwrap().unwrap());
    }
    let one = outcomes.iter().find_map(|outcome| match outcome {
        Written::Done(one) => Some(one.clone()),
        Written::Stale(_) => None,
    });
    let one = one.expect("one listing begins");
    assert!(outcomes.contains(&Written::Stale(Some(one.clone()))));
    let stored = store
        .load_page(&one.key, &one.id, 0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        u64::try_from(stored.len()).unwrap(),
        one.form().listed,
        "the page is that of the listing that began"
    );

    let again = record(store, &first, files(0..9), Some("t2"), 2_000)
        .await
        .unwrap();
    assert_eq!(again, Written::Stale(Some(one.clone())));
    assert_eq!(
        store.load_page(&one.key, &one.id, 0).await.unwrap(),
        Some(stored)
    );
}

pub(crate) async fn of_two_listings_of_one_log_one_begins(store: &Store) {
    let log = Log::new(fresh(), LogId::user(), ms(1_000));
    store.create_log(&log).await.unwrap();
    let a = operation(&log.key, "opa", Run::sync(SyncKind::Initial));
    let b = operation(&log.key, "opb", Run::sync(SyncKind::Initial));
    let start = PageToken::new("start");
    let begun = done(store.begin_listing(&log, &start, &a).await.unwrap());
    let late = store.begin_listing(&log, &start, &b).await.unwrap();
    assert_eq!(late, Written::Stale(Some(begun.clone())));
    assert_eq!(
        store.load_operation(&log.key, &b.id).await.unwrap(),
        None,
        "all or nothing"
    );
    let again = store.begin_listing(&log, &start, &a).await.unwrap();
    assert_eq!(again, Written::Done(begun), "it is already done");
}

pub(crate) async fn a_superseded_listing_does_not_release_the_log(store: &Store) {
    let (log, first) = listing(store).await;
    let second = operation(&log.key, "op2", Run::sync(SyncKind::Resync));
    let start = PageToken::new("later");
    let log = done(store.begin_listing(&log, &start, &second).await.unwrap());
    let late = record(store, &first, files(0..3), None, 2_000)
        .await
        .unwrap();
    assert_eq!(
        late,
        Written::Stale(Some(first.clone())),
        "nothing of it was written"
    );
    assert_eq!(store.load_log(&log.key, &log.log).await.unwrap(), Some(log));
    assert_eq!(
        store.load_page(&first.key, &first.id, 0).await.unwrap(),
        None
    );
}

pub(crate) async fn an_audit_leaves_the_log_alone(store: &Store) {
    let log = Log::new(fresh(), LogId::user(), ms(1_000));
    store.create_log(&log).await.unwrap();
    let audit = audit(&log.key, "op1");
    assert_eq!(
        store.create_operation(&audit).await.unwrap(),
        Created::Created
    );
    let other = Operation {
        by: "bob".to_owned(),
        ..audit.clone()
    };
    assert_eq!(
        store.create_operation(&other).await.unwrap(),
        Created::Exists(audit.clone())
    );
    let listed = done(record(store, &audit, vec![], None, 2_000).await.unwrap());
    assert_eq!(listed.state(), OperationState::Listed);
    assert_eq!(
        store.load_page(&audit.key, &audit.id, 0).await.unwrap(),
        Some(Vec::new())
    );
    assert_eq!(store.load_log(&log.key, &log.log).await.unwrap(), Some(log));
}

pub(crate) async fn a_restarted_listing_refuses_a_page_of_the_previous_one(store: &Store) {
    let (_, first) = listing(store).await;
    let one = done(
        record(store, &first, files(0..3), Some("t2"), 2_000)
            .await
            .unwrap(),
    );
    let again = one.on_token_lost(ms(2_500), Jitter(0.5));
    let again = done(store.advance_operation(&one, &again).await.unwrap());
    assert_eq!((again.form().pages, again.page_to_list()), (1, Some(None)));
    // A worker that still lists from the lost token has read the same number of pages.
    let late = record(store, &one, files(3..9), None, 3_000).await.unwrap();
    assert_eq!(late, Written::Stale(Some(again.clone())));
    // A worker that still has the first page in hand has read the same token: none.
    let late = record(store, &first, files(3..9), None, 3_000)
        .await
        .unwrap();
    assert_eq!(late, Written::Stale(Some(again.clone())));
    let two = done(
        record(store, &again, files(0..4), None, 4_000)
            .await
            .unwrap(),
    );
    assert_eq!((two.form().pages, two.form().listed), (2, 7));
    let read = store.load_page(&two.key, &two.id, 0).await.unwrap();
    assert_eq!(read, Some(files(0..3)));
}

pub(crate) async fn a_failed_operation_has_a_reason(store: &Store) {
    let (_, first) = listing(store).await;
    let failed = first.failed("revoked", ms(5));
    let ended = done(store.advance_operation(&first, &failed).await.unwrap());
    assert_eq!(ended, failed);
    assert_eq!(ended.form().reason.as_deref(), Some("revoked"));
    let place = operation_key(&first.key, &first.id);
    let item = store.get(&place).await.unwrap().unwrap();
    let year = ms(5).plus_millis(365 * 24 * 3_600_000).as_seconds();
    assert_eq!(item["expires"].as_n().unwrap(), &year.to_string());
    assert_eq!(
        store.load_operation(&first.key, &first.id).await.unwrap(),
        Some(ended.clone())
    );
    let late = record(store, &first, files(0..1), Some("t"), 6)
        .await
        .unwrap();
    assert_eq!(late, Written::Stale(Some(ended)));
}

pub(crate) async fn operations_are_listed_newest_first_without_their_pages(store: &Store) {
    let key = fresh();
    let ids: Vec<String> = (0..7).map(|n| format!("0192f-{n}")).collect();
    for id in &ids {
        let created = audit(&key, id);
        store.create_operation(&created).await.unwrap();
        record(store, &created, files(0..2), Some("t"), 1)
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    let mut next = page(3);
    loop {
        let found = store.list_operations(&key, &next).await.unwrap();
        seen.extend(
            found
                .items
                .into_iter()
                .map(|operation| operation.id.to_string()),
        );
        match found.next_cursor {
            Some(cursor) => {
                next = PageRequest {
                    cursor: Some(cursor),
                    ..next
                }
            }
            None => break,
        }
    }
    let newest_first: Vec<String> = ids.into_iter().rev().collect();
    assert_eq!(seen, newest_first);
}

pub(crate) async fn a_scan_is_created_unless_one_is_pending(store: &Store) {
    let key = fresh();
    let scan = |number: u32| {
        let id = OperationId::at(ms(i64::from(number)), number);
        operation(&key, id.as_str(), Run::content_scan()).due(ms(2_000))
    };
    // Other operations don't count, and neither does another connection's scan.
    let audit = audit(&key, "audit");
    store.create_operation(&audit).await.unwrap();
    let elsewhere = Operation {
        key: fresh(),
        ..scan(0)
    };
    assert!(store.schedule_scan(&elsewhere).await.unwrap());

    let first = scan(1);
    assert!(store.schedule_scan(&first).await.unwrap());
    let found = store.load_operation(&key, &first.id).await.unwrap();
    assert_eq!(found, Some(first.clone()));
    assert_eq!(first.state(), OperationState::Listed);
    assert!(!is_due(store, &first, 1_999).await);
    assert!(is_due(store, &first, 2_000).await);
    assert!(!store.schedule_scan(&scan(2)).await.unwrap());

    // A scan in progress may have passed the files that the next one is for.
    let facts = ConnectionFacts {
        active: true,
        mirrors_content: true,
        has_rules: false,
        removals: RemovalLimits::default(),
    };
    let Work::Advance(begun) = first.next_work(&facts, ms(3_000)) else {
        panic!("{first:?}")
    };
    let begun = done(store.advance_operation(&first, &begun).await.unwrap());
    let scanning = begun.on_scanned(7, Some("a page".to_owned()), ms(3_500));
    let scanning = done(store.advance_operation(&begun, &scanning).await.unwrap());
    assert!(store.schedule_scan(&scan(3)).await.unwrap());
    assert!(!store.schedule_scan(&scan(4)).await.unwrap());

    // Two executors run one scan: the second one receives its current state.
    let late = store.advance_operation(&begun, &begun).await.unwrap();
    assert_eq!(late, Written::Stale(Some(scanning.clone())));
    let ended = scanning.on_scanned(0, None, ms(4_000));
    let ended = done(store.advance_operation(&scanning, &ended).await.unwrap());
    assert!(ended.has_ended());
    let third = store.load_operation(&key, &scan(3).id).await.unwrap();
    let third = third.unwrap();
    let failed = third.failed("nothing is mirrored", ms(4_000));
    done(store.advance_operation(&third, &failed).await.unwrap());
    assert!(store.schedule_scan(&scan(5)).await.unwrap());
}
