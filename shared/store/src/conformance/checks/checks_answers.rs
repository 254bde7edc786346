//! The answers to requests with an idempotency key.

use domain::{LogId, Revision, Transition};

use super::super::support::{fresh, ms, nonce, snapshot};
use super::checks_connections::connection;
use crate::{
    ANSWER_MILLIS, Answer, Committed, Created, Log, PendingAnswer, Store, StoreError, Written,
};

fn answer(digest: &str) -> Answer {
    Answer {
        digest: digest.to_owned(),
        status: 200,
        location: Some("/v1/connections/c1/files/f1".to_owned()),
        ends: true,
        revision: None,
        parts: vec!["one".to_owned()],
        next_cursor: Some("next".to_owned()),
    }
}

pub(crate) async fn an_answer_is_stored_with_the_write_of_its_request_or_not_at_all(store: &Store) {
    let key = fresh();
    let tenant = &key.tenant;
    let pending = |name: &str, now| PendingAnswer::new(tenant.clone(), name.to_owned(), ms(now));
    let load = async |name: &str| store.load_answer(tenant, name, ms(5)).await.unwrap();
    let record = domain::FileRecord::from_snapshot(&snapshot("f1", 1, "a", "root"));
    let step = Transition::unchanged(record);

    let first = pending("k1", 5);
    let keyed = store.answering(&first, answer("d"));
    let stale = keyed.commit(&key, Revision(3), &step, nonce()).await;
    assert_eq!(stale.unwrap(), Committed::Stale(None));
    assert!(!first.is_stored());
    assert_eq!(load("k1").await, None, "the edit was refused");

    let done = keyed.commit(&key, Revision(0), &step, nonce()).await;
    assert_eq!(done.unwrap(), Committed::Done);
    assert!(first.is_stored());
    let stored = Answer {
        revision: Some(1),
        ..answer("d")
    };
    assert_eq!(load("k1").await, Some(stored.clone()));
    // A later write of the same request stores nothing more, and is no second answer.
    let again = keyed.commit(&key, Revision(1), &step, nonce()).await;
    assert_eq!(again.unwrap(), Committed::Done);

    // Another call with the same key: its write is refused whole, whatever it is.
    let second = pending("k1", 6);
    let other = store.answering(&second, answer("d"));
    let refused = other.commit(&key, Revision(2), &step, nonce()).await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
    let deleted = other.delete_connection(&key).await;
    assert!(matches!(deleted, Err(StoreError::Busy(_))), "{deleted:?}");
    let alone = store.save_answer(&second, answer("d")).await;
    assert!(matches!(alone, Err(StoreError::Busy(_))), "{alone:?}");
    assert_eq!(load("k1").await, Some(stored));
    let record = store.load_file(&key, &step.record.file).await.unwrap();
    assert_eq!(record.unwrap().revision, Revision(2));

    // Of a request that writes nothing else; another tenant has its own keys.
    store
        .save_answer(&pending("k2", 5), answer("e"))
        .await
        .unwrap();
    assert_eq!(load("k2").await, Some(answer("e")));
    let elsewhere = store.load_answer(&fresh().tenant, "k2", ms(5)).await;
    assert_eq!(elsewhere.unwrap(), None);
}

pub(crate) async fn an_answer_ends_after_a_day_by_the_time_of_its_reader(store: &Store) {
    let key = fresh();
    let tenant = &key.tenant;
    let at = |now| PendingAnswer::new(tenant.clone(), "k".to_owned(), ms(now));
    let load = async |now| store.load_answer(tenant, "k", ms(now)).await.unwrap();
    store.save_answer(&at(0), answer("first")).await.unwrap();
    assert_eq!(load(ANSWER_MILLIS - 1).await, Some(answer("first")));
    assert_eq!(
        load(ANSWER_MILLIS).await,
        None,
        "although the item is there"
    );
    let (early, late) = (at(ANSWER_MILLIS - 1), at(ANSWER_MILLIS));
    assert!(store.save_answer(&early, answer("second")).await.is_err());
    store.save_answer(&late, answer("second")).await.unwrap();
    assert_eq!(load(ANSWER_MILLIS).await, Some(answer("second")));
}

pub(crate) async fn a_connection_is_created_with_its_log_or_not_at_all(store: &Store) {
    let key = fresh();
    let made = connection(&key);
    let log = Log::new(key.clone(), LogId::user(), ms(1));
    store.create_log(&log).await.unwrap();
    assert!(store.create_connection(&made, Some(&log)).await.is_err());
    assert_eq!(store.load_connection(&key).await.unwrap(), None);

    store.delete_log(&key, &log.log).await.unwrap();
    let keyed = PendingAnswer::new(key.tenant.clone(), "k".to_owned(), ms(1));
    let created = store
        .answering(&keyed, answer("d"))
        .create_connection(&made, Some(&log))
        .await;
    assert_eq!(created.unwrap(), Created::Created);
    assert!(keyed.is_stored());
    assert_eq!(store.load_log(&key, &log.log).await.unwrap(), Some(log));
    let exists = store.create_connection(&made, None).await.unwrap();
    assert_eq!(exists, Created::Exists(made.clone()));

    // A keyed update of the connection, and its deletion.
    let renaming = PendingAnswer::new(key.tenant.clone(), "k2".to_owned(), ms(1));
    let renamed = store.answering(&renaming, answer("r"));
    let renamed = renamed.save_connection(&made).await.unwrap();
    assert!(matches!(renamed, Written::Done(_)));
    let found = store.load_answer(&key.tenant, "k2", ms(2)).await.unwrap();
    assert_eq!(found.unwrap().revision, Some(2));
    let ending = PendingAnswer::new(key.tenant.clone(), "k3".to_owned(), ms(1));
    let ended = store.answering(&ending, answer("e"));
    ended.delete_connection(&key).await.unwrap();
    assert!(ending.is_stored());
    assert_eq!(store.load_connection(&key).await.unwrap(), None);
}
