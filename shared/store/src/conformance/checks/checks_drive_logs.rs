//! Shared drives: joined, left, joined again.

use domain::operation::SyncKind;
use domain::{
    ChannelId, ConnectionKey, Gone, LogId, Observation, Operation, OperationId, OperationState,
    PageToken, Run,
};

use super::super::support::{committed, context, file, fresh, ms, stored};
use crate::operation::operation_item::operation_key;
use crate::{Arrival, Log, LogPosition, Store, Updated, Written};

fn shared() -> LogId {
    LogId::parse("0ABC").unwrap()
}

fn operation(key: &ConnectionKey, id: &str, run: Run) -> Operation {
    let id = OperationId::parse(id).unwrap();
    Operation::new(key.clone(), id, shared(), "drivesync", ms(1_000), run)
}

fn done<T: std::fmt::Debug>(outcome: Written<T>) -> T {
    match outcome {
        Written::Done(value) => value,
        Written::Stale(current) => panic!("stale: {current:?}"),
    }
}

/// The log of a shared drive whose first listing has begun.
async fn listing(store: &Store) -> Log {
    let log = Log {
        drive_name: Some("Team".to_owned()),
        channel: Some(ChannelId::parse("ch").unwrap()),
        ..Log::new(fresh(), shared(), ms(1_000))
    };
    store.create_log(&log).await.unwrap();
    let first = operation(&log.key, "op1", Run::sync(SyncKind::Initial));
    let start = PageToken::new("start");
    done(store.begin_listing(&log, &start, &first).await.unwrap())
}

/// The log, left at 2,000.
async fn left(store: &Store, log: &Log) -> Log {
    let leave = operation(&log.key, "op2", Run::leave_drive()).due(ms(2_000));
    done(
        store
            .leave_log(log, &leave, ms(2_000), ms(9_000))
            .await
            .unwrap(),
    )
}

pub(crate) async fn leaving_a_drive_fails_its_listing_and_creates_the_scan(store: &Store) {
    let log = listing(store).await;
    let left = left(store, &log).await;
    assert_eq!(left.position, LogPosition::Left { at: ms(2_000) });
    assert_eq!((&left.cursor, left.next_poll_at), (&None, ms(9_000)));
    assert_eq!(
        left.channel, log.channel,
        "the operation that marks the files stops it"
    );
    let kept = store.load_log(&log.key, &log.log).await.unwrap();
    assert_eq!(kept, Some(left));
    let load = async |id: &str| {
        let id = OperationId::parse(id).unwrap();
        store.load_operation(&log.key, &id).await.unwrap().unwrap()
    };
    let listing = load("op1").await;
    assert_eq!(listing.state(), OperationState::Failed);
    assert_eq!(listing.finished_at, Some(ms(2_000)));
    let place = operation_key(&log.key, &listing.id);
    let item = store.get(&place).await.unwrap().unwrap();
    assert!(item.contains_key("expires"), "it ended");
    let leave = load("op2").await;
    assert!(leave.leave_drive().is_some() && !leave.has_ended());
    assert_eq!(leave.due_at, Some(ms(2_000)));
}

pub(crate) async fn a_log_that_moved_is_not_left(store: &Store) {
    let log = listing(store).await;
    left(store, &log).await;
    let again = operation(&log.key, "op3", Run::leave_drive());
    let outcome = store.leave_log(&log, &again, ms(3_000), ms(9_000)).await;
    assert!(matches!(outcome.unwrap(), Written::Stale(Some(_))));
    let made = store.load_operation(&log.key, &again.id).await.unwrap();
    assert_eq!(made, None, "all or nothing");
}

pub(crate) async fn a_drive_that_is_joined_again_starts_anew(store: &Store) {
    let log = listing(store).await;
    let left = left(store, &log).await;
    let joined = done(store.rejoin_log(&left, ms(5_000)).await.unwrap());
    let wanted = (LogPosition::New, None, None, ms(5_000));
    let shown = |log: Log| (log.position, log.cursor, log.channel, log.next_poll_at);
    assert_eq!(shown(joined.clone()), wanted);
    // By another worker, with what it read before: the move is already done.
    let again = done(store.rejoin_log(&left, ms(6_000)).await.unwrap());
    assert_eq!(again, joined);
    let named = store
        .set_drive_name(&log.key, &log.log, "Other")
        .await
        .unwrap();
    assert_eq!(named, Updated::Done);
    let kept = store.load_log(&log.key, &log.log).await.unwrap().unwrap();
    assert_eq!(kept.drive_name.as_deref(), Some("Other"));
    let nowhere = store
        .set_drive_name(&fresh(), &log.log, "Other")
        .await
        .unwrap();
    assert_eq!(nowhere, Updated::Absent, "an update makes no item");
}

pub(crate) async fn the_drives_are_compared_again_after_a_listing_began(store: &Store) {
    let log = listing(store).await;
    let checked = done(store.record_drives_checked(&log, ms(4_000)).await.unwrap());
    assert_eq!(checked.drives_checked_at, Some(ms(4_000)));
    let again = operation(&log.key, "op4", Run::sync(SyncKind::Resync));
    let token = PageToken::new("new");
    let relisted = done(store.begin_listing(&checked, &token, &again).await.unwrap());
    assert_eq!(relisted.drives_checked_at, None);
    let kept = store.load_log(&log.key, &log.log).await.unwrap();
    assert_eq!(kept, Some(relisted));
    let outcome = store.record_drives_checked(&checked, ms(5_000)).await;
    assert!(matches!(outcome.unwrap(), Written::Stale(Some(_))));
}

pub(crate) async fn a_scan_continues_from_its_recorded_position(store: &Store) {
    let log = listing(store).await;
    left(store, &log).await;
    let id = OperationId::parse("op2").unwrap();
    let leave = store.load_operation(&log.key, &id).await.unwrap().unwrap();
    let half = leave.on_marked(7, Some("there".to_owned()), ms(3_000));
    let half = done(store.advance_operation(&leave, &half).await.unwrap());
    let form = half.form();
    assert_eq!(form.page_token.as_deref(), Some("there"));
    assert_eq!((form.listed, form.verified), (7, 0));
    let round = half.on_marked(2, None, ms(4_000));
    let round = done(store.advance_operation(&half, &round).await.unwrap());
    let form = round.form();
    assert_eq!((form.page_token.as_deref(), form.pages), (None, 1));
    assert_eq!((form.listed, form.verified), (9, 9));
    let late = store.advance_operation(&half, &round).await.unwrap();
    assert_eq!(late, Written::Done(round.clone()), "a repetition is done");
    let other = half.on_marked(0, Some("back".to_owned()), ms(5_000));
    let late = store.advance_operation(&half, &other).await.unwrap();
    assert_eq!(late, Written::Stale(Some(round)));
}

pub(crate) async fn a_gone_file_has_arrived_and_is_reported_as_gone(store: &Store) {
    let key = fresh();
    stored(store, &key, "here", "root").await;
    let present = stored(store, &key, "gone", "root").await;
    let gone = present.apply_lookup(&Observation::Gone(Gone::AccessLost), context(7));
    committed(store, &key, present.revision, &gone).await;
    let asked = ["here", "gone", "nowhere"].map(file);
    let wanted = Arrival {
        missing: vec![file("nowhere")],
        gone: vec![file("gone")],
        dead: vec![],
    };
    assert_eq!(store.check_arrival(&key, &asked).await.unwrap(), wanted);
}
