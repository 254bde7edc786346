//! Event logs.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::event::{
    Author, Details, Epoch, Event, EventCursor, EventLogState, EventType, Subject, TableMark,
};
use domain::{
    ConflictId, ConnectionKey, DAY_MILLIS, EndpointId, Field, FileId, OperationId, Timestamp,
};

use crate::conformance::support::{fresh, ms};
use crate::event::event_item::{event_sk, log_pk};
use crate::table::key::Key;
use crate::{Appending, DueItem, EventsRead, Nonce, Store, StoreError};

/// An event that says this.
pub(crate) fn event(state: &str) -> Event {
    Event {
        kind: EventType::FileModified,
        subject: Subject::File(FileId::parse("f1").unwrap()),
        state: state.to_owned(),
        at: ms(1_000),
        by: Author::User("ann".to_owned()),
        cause: None,
        details: Details {
            revision: Some(7),
            fields: vec!["name".to_owned()],
            ..Details::default()
        },
    }
}

/// An append at this time.
pub(crate) fn at(millis: i64, nonce: u64) -> Appending {
    Appending {
        table: Some(TableMark(1)),
        fresh: Epoch(0xe0 + nonce),
        nonce: Nonce(nonce << 8),
        now: ms(millis),
    }
}

/// Reads everything after a cursor, by pages.
async fn all(
    store: &Store,
    key: &ConnectionKey,
    after: Option<EventCursor>,
    now: Timestamp,
) -> Option<Vec<Event>> {
    let found = by_pages(store, key, after, 10, now).await;
    assert_eq!(by_pages(store, key, after, 1, now).await, found);
    found
}

async fn by_pages(
    store: &Store,
    key: &ConnectionKey,
    mut after: Option<EventCursor>,
    limit: u32,
    now: Timestamp,
) -> Option<Vec<Event>> {
    let mut found = Vec::new();
    loop {
        match store
            .read_events(key, after.as_ref(), limit, now)
            .await
            .unwrap()
        {
            EventsRead::Page { events, next, .. } if events.is_empty() => {
                assert_eq!(next, after.or(next));
                return Some(found);
            }
            EventsRead::Page { events, next, .. } => {
                found.extend(events.into_iter().map(|(_, event)| event));
                after = next;
            }
            EventsRead::Expired { .. } => return None,
        }
    }
}

fn states(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.state.clone()).collect()
}

pub(crate) async fn events_are_read_back_in_order_from_any_cursor(store: &Store) {
    let (key, other) = (fresh(), fresh());
    let nothing = store.read_events(&key, None, 10, ms(1)).await.unwrap();
    let empty = EventsRead::Page {
        events: Vec::new(),
        next: None,
        head: None,
    };
    assert_eq!(nothing, empty);
    let mut appended: Vec<Event> = (0..60).map(|n| event(&n.to_string())).collect();
    appended[3].subject = Subject::Operation(OperationId::parse("op1").unwrap());
    appended[4].subject = Subject::DeadLetter("f.f1.x".to_owned());
    appended[5].subject = Subject::Connection;
    appended[7].subject = Subject::Webhook(EndpointId::fresh(7));
    appended[6].details.conflict = Some(ConflictId {
        file: FileId::parse("f1").unwrap(),
        field: Field::Property("a#b".to_owned()),
        number: 2,
    });
    let (first, rest) = appended.split_at(2);
    store.append_events(&key, first, &at(1, 1)).await.unwrap();
    store.append_events(&key, rest, &at(2, 2)).await.unwrap();
    store
        .append_events(&other, &[event("x")], &at(2, 3))
        .await
        .unwrap();
    assert_eq!(all(store, &key, None, ms(3)).await.unwrap(), appended);
    let mut cursors = Vec::new();
    let mut after = None;
    while let EventsRead::Page { events, next, .. } = store
        .read_events(&key, after.as_ref(), 10, ms(3))
        .await
        .unwrap()
    {
        if events.is_empty() {
            break;
        }
        cursors.extend(events.into_iter().map(|(cursor, _)| cursor));
        after = next;
    }
    assert_eq!(cursors.len(), appended.len());
    for (index, cursor) in cursors.into_iter().enumerate() {
        let text = EventCursor::parse(&cursor.to_string()).unwrap();
        let found = all(store, &key, Some(text), ms(3)).await.unwrap();
        assert_eq!(found, appended[index + 1..]);
    }
}

pub(crate) async fn concurrent_writers_leave_no_gap(store: &Store) {
    let key = &fresh();
    let writer = async |writer: u64| {
        for n in 0..6 {
            let told = [event(&format!("{writer}.{n}"))];
            let appending = at(1, 100 * (writer + 1) + n);
            store.append_events(key, &told, &appending).await.unwrap();
        }
    };
    tokio::join!(writer(0), writer(1), writer(2));
    let end = store.event_log_end(key).await.unwrap().unwrap();
    assert_eq!((end.first, end.number), (1, 18));
    let found = states(&all(store, key, None, ms(2)).await.unwrap());
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 18);
    for writer in 0..3 {
        let own = found
            .iter()
            .filter(|state| state.starts_with(&format!("{writer}.")));
        assert!(own.is_sorted());
    }
}

pub(crate) async fn a_cursor_that_is_not_of_the_log_has_expired(store: &Store) {
    let key = fresh();
    let cursor = |epoch, number, index| EventCursor {
        epoch,
        number,
        index,
    };
    assert_eq!(
        all(store, &key, Some(cursor(Epoch(1), 1, 0)), ms(1)).await,
        None
    );
    store
        .append_events(&key, &[event("1"), event("2")], &at(1, 1))
        .await
        .unwrap();
    let end = store.event_log_end(&key).await.unwrap().unwrap();
    let read = async |number, index| {
        let found = all(store, &key, Some(cursor(end.epoch, number, index)), ms(2)).await;
        found.map(|events| states(&events))
    };
    assert_eq!(read(1, 0).await, Some(vec!["2".to_owned()]));
    assert_eq!(read(1, 1).await, Some(Vec::new()));
    assert_eq!(read(1, 2).await, None);
    assert_eq!(read(2, 0).await, None);
    assert_eq!(read(0, 0).await, None);
    let other = cursor(Epoch(end.epoch.0 + 1), 1, 0);
    assert_eq!(all(store, &key, Some(other), ms(2)).await, None);
}

pub(crate) async fn a_log_begins_again_after_its_newest_item_expired(store: &Store) {
    let key = fresh();
    store
        .append_events(&key, &[event("1")], &at(0, 1))
        .await
        .unwrap();
    store
        .append_events(&key, &[event("2")], &at(DAY_MILLIS, 2))
        .await
        .unwrap();
    let first = store.event_log_end(&key).await.unwrap().unwrap();
    let read = async |number, now| {
        let cursor = EventCursor {
            number,
            ..first.cursor()
        };
        let found = all(store, &key, Some(cursor), ms(now)).await;
        found.map(|events| states(&events))
    };
    // The first item has expired, whether it is deleted or not.
    let later = 7 * DAY_MILLIS + 1_000;
    assert_eq!(read(1, later).await, None);
    assert_eq!(read(2, later).await, Some(Vec::new()));
    let found = all(store, &key, None, ms(later)).await.unwrap();
    assert_eq!(states(&found), ["2"]);
    // Both have, and something is reported again.
    let later = 9 * DAY_MILLIS;
    assert_eq!(read(2, later).await, None);
    store
        .append_events(&key, &[event("3")], &at(later, 3))
        .await
        .unwrap();
    let end = store.event_log_end(&key).await.unwrap().unwrap();
    assert_ne!(end.epoch, first.epoch);
    assert_eq!(read(2, later).await, None);
    let found = all(store, &key, None, ms(later)).await.unwrap();
    assert_eq!(states(&found), ["3"]);
}

pub(crate) async fn a_reader_without_a_cursor_passes_over_what_has_expired(store: &Store) {
    let key = fresh();
    for (number, day) in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 1)] {
        let told = [event(&number.to_string())];
        let appending = at(day * DAY_MILLIS, number);
        store.append_events(&key, &told, &appending).await.unwrap();
    }
    let later = ms(7 * DAY_MILLIS + 1_000);
    let found = all(store, &key, None, later).await.unwrap();
    assert_eq!(states(&found), ["5", "6"]);
}

pub(crate) async fn a_restored_table_begins_a_new_epoch(store: &Store) {
    let key = fresh();
    store
        .append_events(&key, &[event("1")], &at(1, 1))
        .await
        .unwrap();
    let before = store.event_log_end(&key).await.unwrap().unwrap();
    // A writer that does not know the table goes on as it is.
    let unknown = Appending {
        table: None,
        ..at(2, 2)
    };
    store
        .append_events(&key, &[event("2")], &unknown)
        .await
        .unwrap();
    let same = store.event_log_end(&key).await.unwrap().unwrap();
    assert_eq!((same.epoch, same.table), (before.epoch, before.table));
    let restored = Appending {
        table: Some(TableMark(2)),
        ..at(3, 3)
    };
    store
        .append_events(&key, &[event("3")], &restored)
        .await
        .unwrap();
    let after = store.event_log_end(&key).await.unwrap().unwrap();
    assert_eq!((after.first, after.number), (3, 3));
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(all(store, &key, Some(same.cursor()), ms(4)).await, None);
    let found = all(store, &key, None, ms(4)).await.unwrap();
    assert_eq!(states(&found), ["3"]);
}

pub(crate) async fn a_log_that_begins_has_a_state_that_is_due(store: &Store) {
    let key = fresh();
    let append = async |millis, nonce| {
        let told = [event("1")];
        store
            .append_events(&key, &told, &at(millis, nonce))
            .await
            .unwrap();
    };
    append(0, 1).await;
    let read = store.event_log_state(&key).await.unwrap();
    assert!(!read.unwrap().state.reset_owed);
    let is_due = async |millis| {
        let mut due = Vec::new();
        for shard in 0..crate::DUE_SHARDS {
            due.extend(
                store
                    .due(shard, ms(millis), None, 1_000)
                    .await
                    .unwrap()
                    .items,
            );
        }
        due.contains(&DueItem::EventLog(key.clone()))
    };
    assert!(!is_due(5 * DAY_MILLIS - 1).await);
    assert!(is_due(5 * DAY_MILLIS).await);
    // One that begins again keeps what is owed.
    store.owe_reset(&key, ms(9 * DAY_MILLIS)).await.unwrap();
    append(9 * DAY_MILLIS, 2).await;
    let read = store.event_log_state(&key).await.unwrap();
    assert!(read.unwrap().state.reset_owed);
}

pub(crate) async fn an_unreadable_newest_item_is_followed_by_a_new_epoch(store: &Store) {
    let key = fresh();
    for n in 1..=2 {
        store
            .append_events(&key, &[event(&n.to_string())], &at(1, n))
            .await
            .unwrap();
    }
    let before = store.event_log_end(&key).await.unwrap().unwrap();
    let place = Key::new(log_pk(&key), event_sk(2));
    let spoil = store.client.update_item().table_name(&store.table);
    spoil
        .set_key(Some(place.to_item()))
        .update_expression("SET epoch = :odd")
        .expression_attribute_values(":odd", AttributeValue::S("odd".to_owned()))
        .send()
        .await
        .unwrap();
    let refused = store.append_events(&key, &[event("3")], &at(2, 3)).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
    let told: Vec<Event> = (3..=30).map(|n| event(&n.to_string())).collect();
    let after = store.append_after_unreadable(&key, &told, &at(2, 4)).await;
    let after = after.unwrap().unwrap();
    assert_eq!((after.first, after.number), (3, 4));
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(all(store, &key, Some(before.cursor()), ms(3)).await, None);
    let found = states(&all(store, &key, None, ms(3)).await.unwrap());
    assert_eq!(found[0], "3");
    store
        .append_events(&key, &[event("31")], &at(3, 5))
        .await
        .unwrap();
    let found = states(&all(store, &key, None, ms(3)).await.unwrap());
    assert_eq!(found.last().unwrap(), "31");
}

pub(crate) async fn a_reset_is_owed_until_it_is_reported(store: &Store) {
    let key = fresh();
    assert_eq!(store.event_log_state(&key).await.unwrap(), None);
    store.owe_reset(&key, ms(50)).await.unwrap();
    let read = store.event_log_state(&key).await.unwrap().unwrap();
    assert!(read.state.reset_owed);
    let mut due = Vec::new();
    for shard in 0..crate::DUE_SHARDS {
        due.extend(store.due(shard, ms(50), None, 1_000).await.unwrap().items);
    }
    assert!(due.contains(&DueItem::EventLog(key.clone())));
    // Owed again while it is reported: what was read before does not stand.
    store.owe_reset(&key, ms(51)).await.unwrap();
    let calm = EventLogState::default();
    let saved = store.save_event_log_state(&key, Some(&read), calm, ms(90));
    assert!(!saved.await.unwrap());
    let read = store.event_log_state(&key).await.unwrap().unwrap();
    assert!(read.state.reset_owed);
    let saved = store.save_event_log_state(&key, Some(&read), calm, ms(90));
    assert!(saved.await.unwrap());
}

pub(crate) async fn the_events_of_a_connection_are_among_its_remains(store: &Store) {
    let (key, other) = (fresh(), fresh());
    let operation = OperationId::parse("op1").unwrap();
    for key in [&key, &other] {
        store
            .append_events(key, &[event("1")], &at(1, 1))
            .await
            .unwrap();
        store.owe_reset(key, ms(1)).await.unwrap();
    }
    let mut after = None;
    loop {
        let remains = store.find_remains(&key, &operation, after.as_deref());
        let remains = remains.await.unwrap();
        store.erase_items(&remains.belongings).await.unwrap();
        after = remains.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(store.event_log_end(&key).await.unwrap(), None);
    assert_eq!(store.event_log_state(&key).await.unwrap(), None);
    assert!(store.event_log_end(&other).await.unwrap().is_some());
    assert!(store.event_log_state(&other).await.unwrap().is_some());
}
