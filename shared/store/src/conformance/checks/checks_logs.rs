//! Change logs, and everything that is due at a time.

use domain::operation::{PageWalk, Stop, StopReason, WalkedPage};
use domain::{ChannelId, Jitter, LogId, Operation, PageToken, Run, Suspicion};

use super::super::support::{eventually, fresh, ms};
use crate::{Created, DUE_SHARDS, DueItem, Log, LogPosition, LogProgress, Store, Updated, Written};

fn token(text: &str) -> PageToken {
    PageToken::new(text)
}

fn progress(next_poll_at: i64) -> LogProgress {
    LogProgress {
        complete_listing_began: None,
        next_poll_at: Some(ms(next_poll_at)),
        last_change_at: None,
        lag_millis: None,
        walk: None,
    }
}

/// A log that is followed from token `1`.
async fn followed(store: &Store) -> Log {
    let log = Log {
        cursor: Some(token("1")),
        position: LogPosition::Following,
        ..Log::new(fresh(), LogId::user(), ms(1_000))
    };
    assert_eq!(store.create_log(&log).await.unwrap(), Created::Created);
    log
}

pub(crate) async fn a_log_is_created_once_and_listed(store: &Store) {
    let key = fresh();
    let log = Log::new(key.clone(), LogId::user(), ms(1_000));
    assert_eq!(store.load_log(&key, &log.log).await.unwrap(), None);
    assert_eq!(store.create_log(&log).await.unwrap(), Created::Created);
    assert_eq!(
        store.load_log(&key, &log.log).await.unwrap(),
        Some(log.clone())
    );
    let again = Log::new(key.clone(), LogId::user(), ms(2_000));
    assert_eq!(
        store.create_log(&again).await.unwrap(),
        Created::Exists(log.clone())
    );

    let shared = Log {
        cursor: Some(token("9")),
        position: LogPosition::Following,
        listed_from: Some(ms(3)),
        channel: Some(ChannelId::parse("ch").unwrap()),
        last_change_at: Some(ms(2)),
        lag_millis: Some(-4),
        drive_name: Some("Team ü".to_owned()),
        drives_checked_at: Some(ms(4)),
        missing: Some(Suspicion {
            since: ms(5),
            times: 2,
        }),
        compared_at: Some(ms(5)),
        ..Log::new(key.clone(), LogId::parse("0ABC").unwrap(), ms(1))
    };
    store.create_log(&shared).await.unwrap();
    assert_eq!(
        store.list_logs(&key).await.unwrap(),
        [shared.clone(), log.clone()]
    );
    assert!(store.list_logs(&fresh()).await.unwrap().is_empty());

    let later = store
        .postpone_poll(&key, &log.log, ms(5_000))
        .await
        .unwrap();
    assert_eq!(later, Updated::Done);
    let stored = store.load_log(&key, &log.log).await.unwrap().unwrap();
    assert_eq!(stored.next_poll_at, ms(5_000));
    store.delete_log(&key, &log.log).await.unwrap();
    assert_eq!(store.list_logs(&key).await.unwrap(), [shared]);
    let nothing = store
        .postpone_poll(&key, &log.log, ms(6_000))
        .await
        .unwrap();
    assert_eq!(nothing, Updated::Absent, "an update makes no item");
    assert_eq!(store.load_log(&key, &log.log).await.unwrap(), None);
}

pub(crate) async fn of_two_workers_on_one_token_one_advances(store: &Store) {
    let log = followed(store).await;
    let racer = |to: &'static str| {
        let (store, log) = (store.clone(), log.clone());
        tokio::spawn(async move {
            store
                .advance(&log, &token(to), progress(2_000))
                .await
                .unwrap()
        })
    };
    let racers = [racer("2a"), racer("2b")];
    let mut won = Vec::new();
    let mut lost = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Written::Done(log) => won.push(log),
            Written::Stale(log) => lost.push(log.expect("the log is there")),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, 1));
    assert_eq!(won, lost, "the loser receives the winner's log");
    let stored = store.load_log(&log.key, &log.log).await.unwrap();
    assert_eq!(stored.as_ref(), won.first());

    let nothing = Log::new(fresh(), LogId::user(), ms(1));
    let outcome = store
        .advance(&nothing, &token("2"), progress(1))
        .await
        .unwrap();
    assert_eq!(outcome, Written::Stale(None));
    assert_eq!(
        store.load_log(&nothing.key, &nothing.log).await.unwrap(),
        None
    );
}

pub(crate) async fn a_stopped_log_is_due_at_the_end_of_its_wait(store: &Store) {
    let log = followed(store).await;
    let page = WalkedPage {
        token: Some("1"),
        next: "2",
        entries: Some(7),
    };
    let walk = PageWalk::default().follow(page).unwrap();
    let on_the_way = LogProgress {
        walk: Some(walk),
        ..progress(900)
    };
    let moved = store.advance(&log, &token("2"), on_the_way).await.unwrap();
    let moved = match moved {
        Written::Done(moved) => moved,
        Written::Stale(current) => panic!("{current:?}"),
    };
    assert_eq!(moved.walk, walk);
    let stop = Stop::after(None, StopReason::TokenRepeats, ms(1_000), Jitter(0.5));
    assert_eq!(
        store.stop_reading(&moved, stop).await.unwrap(),
        Updated::Done
    );
    let stopped = store.load_log(&log.key, &log.log).await.unwrap().unwrap();
    let wanted = Log {
        stop: Some(stop),
        next_poll_at: stop.until,
        ..moved
    };
    assert_eq!(stopped, wanted);
    let late = store.stop_reading(&log, stop).await.unwrap();
    assert_eq!(late, Updated::Absent, "the cursor has moved");
    let end = store.advance(&stopped, &token("3"), progress(90_000)).await;
    match end.unwrap() {
        Written::Done(end) => assert_eq!(end.stop, None),
        Written::Stale(current) => panic!("{current:?}"),
    }
}

pub(crate) async fn a_comparison_begins_once(store: &Store) {
    let log = followed(store).await;
    let from = store.count_comparisons_from(&log, ms(5)).await.unwrap();
    assert_eq!(from, Updated::Done);
    let counted = store.load_log(&log.key, &log.log).await.unwrap().unwrap();
    assert_eq!(counted.compared_at, Some(ms(5)));
    let comparison = |id| {
        let id = domain::OperationId::parse(id).unwrap();
        let run = Run::comparison();
        Operation::new(
            log.key.clone(),
            id,
            log.log.clone(),
            "drivesync",
            ms(9),
            run,
        )
    };
    let begun = store.begin_comparison(&counted, &comparison("op1")).await;
    assert_eq!(begun.unwrap(), Updated::Done);
    let late = store.begin_comparison(&counted, &comparison("op2")).await;
    assert_eq!(late.unwrap(), Updated::Absent);
    let load = async |id| {
        let id = domain::OperationId::parse(id).unwrap();
        store.load_operation(&log.key, &id).await.unwrap()
    };
    assert_eq!(load("op1").await, Some(comparison("op1")));
    assert_eq!(load("op2").await, None);
    let compared = store.load_log(&log.key, &log.log).await.unwrap().unwrap();
    assert_eq!(compared.compared_at, Some(ms(9)));
}

pub(crate) async fn advancing_to_the_current_cursor_is_done(store: &Store) {
    let log = followed(store).await;
    let full = LogProgress {
        complete_listing_began: Some(ms(70)),
        next_poll_at: Some(ms(900)),
        last_change_at: Some(ms(60)),
        lag_millis: Some(10),
        walk: None,
    };
    let wanted = Log {
        cursor: Some(token("2")),
        listed_from: Some(ms(70)),
        next_poll_at: ms(900),
        last_change_at: Some(ms(60)),
        lag_millis: Some(10),
        ..log.clone()
    };
    let first = store.advance(&log, &token("2"), full).await.unwrap();
    assert_eq!(first, Written::Done(wanted.clone()));
    let again = store.advance(&log, &token("2"), full).await.unwrap();
    assert_eq!(again, Written::Done(wanted.clone()));
    let third = store
        .advance(&wanted, &token("3"), progress(950))
        .await
        .unwrap();
    let third_wanted = Log {
        cursor: Some(token("3")),
        next_poll_at: ms(950),
        ..wanted
    };
    assert_eq!(
        third,
        Written::Done(third_wanted.clone()),
        "unset members keep their value"
    );
    let untimed = LogProgress {
        next_poll_at: None,
        ..progress(0)
    };
    let fourth = store
        .advance(&third_wanted, &token("4"), untimed)
        .await
        .unwrap();
    let fourth_wanted = Log {
        cursor: Some(token("4")),
        ..third_wanted
    };
    assert_eq!(fourth, Written::Done(fourth_wanted), "the poll too");
}

pub(crate) async fn a_listing_log_does_not_advance_for_a_follower(store: &Store) {
    let log = followed(store).await;
    let id = domain::OperationId::parse("op1").unwrap();
    let resync = Operation::new(
        log.key.clone(),
        id,
        log.log.clone(),
        "alice",
        ms(1),
        Run::sync(domain::operation::SyncKind::Resync),
    );
    // Even if the new cursor happens to equal the old one, the positions differ.
    let begun = store
        .begin_listing(&log, &token("1"), &resync)
        .await
        .unwrap();
    let Written::Done(listing) = begun else {
        panic!("{begun:?}")
    };
    let late = store.advance(&log, &token("2"), progress(1)).await.unwrap();
    assert_eq!(late, Written::Stale(Some(listing)));
}

pub(crate) async fn the_channel_of_a_log_is_set_once(store: &Store) {
    let log = followed(store).await;
    let (a, b) = (
        ChannelId::parse("a").unwrap(),
        ChannelId::parse("b").unwrap(),
    );
    let set = async |old, new| {
        store
            .set_channel(&log.key, &log.log, old, new)
            .await
            .unwrap()
    };
    let with = |channel: Option<&ChannelId>| Log {
        channel: channel.cloned(),
        ..log.clone()
    };
    assert_eq!(set(None, Some(&a)).await, Written::Done(with(Some(&a))));
    assert_eq!(
        set(None, Some(&b)).await,
        Written::Stale(Some(with(Some(&a))))
    );
    assert_eq!(
        set(None, Some(&a)).await,
        Written::Done(with(Some(&a))),
        "it is already done"
    );
    assert_eq!(set(Some(&a), Some(&b)).await, Written::Done(with(Some(&b))));
    assert_eq!(set(Some(&b), None).await, Written::Done(with(None)));
    let other = fresh();
    let nothing = store
        .set_channel(&other, &log.log, None, Some(&a))
        .await
        .unwrap();
    assert_eq!(nothing, Written::Stale(None));
}

pub(crate) async fn a_watch_is_postponed_until_a_channel_is_set(store: &Store) {
    let log = followed(store).await;
    let off = store
        .postpone_watch(&log.key, &log.log, 3, ms(9_000))
        .await
        .unwrap();
    assert_eq!(off, Updated::Done);
    let waiting = Log {
        watch_failures: 3,
        watch_again_at: Some(ms(9_000)),
        ..log.clone()
    };
    assert_eq!(
        store.load_log(&log.key, &log.log).await.unwrap(),
        Some(waiting)
    );
    let channel = ChannelId::parse("a").unwrap();
    let set = store
        .set_channel(&log.key, &log.log, None, Some(&channel))
        .await
        .unwrap();
    let watched = Log {
        channel: Some(channel),
        ..log.clone()
    };
    assert_eq!(set, Written::Done(watched));
    let absent = store
        .postpone_watch(&fresh(), &log.log, 1, ms(9_000))
        .await
        .unwrap();
    assert_eq!(absent, Updated::Absent);
}

pub(crate) async fn due_items_are_listed_earliest_first_per_shard(store: &Store) {
    let key = fresh();
    let mut wanted = Vec::new();
    for n in 0..40_i64 {
        let log = LogId::parse(&format!("log{n}")).unwrap();
        store
            .create_log(&Log::new(key.clone(), log, ms(50 + (n * 7) % 40)))
            .await
            .unwrap();
    }
    let mine = |item: &DueItem| match item {
        DueItem::Log(of, _) => *of == key,
        DueItem::File(..)
        | DueItem::Content(..)
        | DueItem::Object(..)
        | DueItem::Channel(_)
        | DueItem::StrayChannel(_)
        | DueItem::Operation(..)
        | DueItem::Acts(_)
        | DueItem::DeadLetters(_)
        | DueItem::EventLog(_)
        | DueItem::Webhook(..)
        | DueItem::Conflict(..)
        | DueItem::Unknown { .. } => false,
    };
    let all = async |now| {
        let mut found = Vec::new();
        for shard in 0..DUE_SHARDS {
            let due = store.due(shard, ms(now), None, 1_000).await.unwrap().items;
            found.push(due.into_iter().filter(mine).collect::<Vec<_>>());
        }
        found
    };
    let count = |found: &Vec<Vec<DueItem>>| found.iter().map(Vec::len).sum::<usize>();
    eventually(40, async || count(&all(89).await)).await;
    assert_eq!(count(&all(49).await), 0);
    assert_eq!(count(&all(50).await), 1);
    assert_eq!(count(&all(69).await), 20);
    let found = all(89).await;
    assert!(
        found.iter().filter(|shard| !shard.is_empty()).count() > 8,
        "spread over shards"
    );
    for shard in found {
        let mut times = Vec::new();
        for item in shard {
            let DueItem::Log(of, log) = item else {
                panic!("{item:?}")
            };
            times.push(
                store
                    .load_log(&of, &log)
                    .await
                    .unwrap()
                    .unwrap()
                    .next_poll_at,
            );
        }
        assert!(times.is_sorted(), "{times:?}");
        wanted.extend(times);
    }
    assert_eq!(wanted.len(), 40);
    assert!(
        store
            .due(DUE_SHARDS, ms(89), None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
