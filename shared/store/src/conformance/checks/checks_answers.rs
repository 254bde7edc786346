//! What is written with the change that a request makes: its answer, if it has an idempotency key,
//! and its act.

use std::collections::BTreeSet;

use domain::trail::ChainCheck;
use domain::{
    ConnectionKey, Field, LogId, Observation, Policies, Policy, Revision, Transition, Value,
};

use super::super::deletion::deleted;
use super::super::support::{committed, context, edited, fresh, ms, nonce, page, snapshot, stored};
use super::checks_connections::connection;
use crate::{
    ANSWER_MILLIS, Act, ActFilter, Actor, Answer, Committed, Created, Log, PageRequest, PendingAct,
    PendingAnswer, Store, StoreError, Written, act_line,
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
    let current = store.load_connection(&key).await.unwrap().unwrap();
    let (deleted, erasure) = deleted(&current);
    let done = ended.delete_connection(&deleted, &erasure).await.unwrap();
    assert!(matches!(done, Written::Done(_)));
    assert!(ending.is_stored());
    assert_eq!(store.load_connection(&key).await.unwrap(), None);
}

/// The act of a person.
fn act(key: &ConnectionKey, subject: &str, what: &str, at: i64) -> PendingAct {
    let actor = Actor {
        subject: subject.to_owned(),
        role: Some("editor".to_owned()),
        address: Some("192.0.2.1".to_owned()),
    };
    PendingAct::new(key.tenant.clone(), actor, what, ms(at), [7; 32])
}

/// A time from which the acts of these checks are.
const BASE: i64 = 1_795_000_000_000;

/// Reads all acts in pages of this size, and checks their chains.
async fn acts(store: &Store, key: &ConnectionKey, filter: &ActFilter, limit: u32) -> Vec<Act> {
    let now = ms(BASE + 200 * 24 * 3_600_000);
    let mut request = page(limit);
    let mut all = Vec::new();
    loop {
        let listed = store.list_acts(&key.tenant, filter, now, &request).await;
        let listed = listed.unwrap();
        assert!(listed.items.len() <= limit as usize);
        all.extend(listed.items);
        request.cursor = match listed.next_cursor {
            Some(cursor) => Some(cursor),
            None => return all,
        };
    }
}

fn everything() -> ActFilter {
    ActFilter::between(ms(0), ms(i64::MAX))
}

fn breaks(acts: &[Act]) -> usize {
    let mut check = ChainCheck::default();
    let links = acts.iter().map(|act| act_line::link(&act.members).unwrap());
    links.map(|link| check.take(&link).len()).sum()
}

pub(crate) async fn an_act_is_written_with_its_change_or_not_at_all(store: &Store) {
    let key = fresh();
    let record = domain::FileRecord::from_snapshot(&snapshot("f1", 1, "a", "root"));
    let step = Transition::unchanged(record);
    let all = everything();

    let edit = act(&key, "ann", "update_file", BASE);
    edit.tell("file", "f1");
    edit.tell("fields", vec!["permissions.user:ben@example.com"]);
    let acting = store.acting(&edit);
    let stale = acting.commit(&key, Revision(3), &step, nonce()).await;
    assert_eq!(stale.unwrap(), Committed::Stale(None));
    assert!(!edit.is_stored());
    assert_eq!(
        acts(store, &key, &all, 10).await,
        [],
        "the edit was refused"
    );

    let done = acting.commit(&key, Revision(0), &step, nonce()).await;
    assert_eq!(done.unwrap(), Committed::Done);
    assert!(edit.is_stored());
    // A later write of the same request is no second act.
    let again = acting.commit(&key, Revision(1), &step, nonce()).await;
    assert_eq!(again.unwrap(), Committed::Done);
    store.save_act(&edit).await.unwrap();
    let found = acts(store, &key, &all, 10).await;
    assert_eq!(found.len(), 1);
    let members = serde_json::to_string(&found[0].members).unwrap();
    for person in ["ann", "ben", "192.0.2.1"] {
        assert!(!members.contains(person), "{person} is in {members}");
    }
    assert_eq!(found[0].text("at"), Some(ms(BASE).to_string().as_str()));
    assert_eq!(found[0].text("role"), Some("editor"));
    assert_eq!(found[0].text("tenant"), Some(key.tenant.as_str()));

    // With an answer in the same transaction, or alone.
    let keyed = act(&key, "ann", "pause_connection", BASE + 1);
    let pending = PendingAnswer::new(key.tenant.clone(), "k".to_owned(), ms(5));
    let both = store.answering(&pending, answer("d")).acting(&keyed);
    let done = both.commit(&key, Revision(2), &step, nonce()).await;
    assert_eq!(done.unwrap(), Committed::Done);
    assert!(pending.is_stored() && keyed.is_stored());
    let link = act(&key, "cem", "get_content", BASE + 2);
    store.save_act(&link).await.unwrap();
    let found = acts(store, &key, &all, 2).await;
    let what: Vec<_> = found.iter().filter_map(|act| act.text("what")).collect();
    assert_eq!(what, ["update_file", "pause_connection", "get_content"]);
    assert_eq!(breaks(&found), 0);

    // An act of an answer that another request gave is refused with it.
    let late = act(&key, "ann", "pause_connection", BASE + 3);
    let pending = PendingAnswer::new(key.tenant.clone(), "k".to_owned(), ms(6));
    let refused = store.answering(&pending, answer("d")).acting(&late);
    let refused = refused.commit(&key, Revision(3), &step, nonce()).await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
    assert_eq!(acts(store, &key, &all, 10).await.len(), 3);
}

pub(crate) async fn acts_at_the_same_time_are_all_there_once_in_whole_chains(store: &Store) {
    let key = fresh();
    let writers = (0..6_u64).map(|writer| {
        let store = store.caused_by(domain::Cause::fresh(writer, 1));
        let key = key.clone();
        async move {
            for number in 0..20 {
                let what = format!("{writer}/{number}");
                let month = 31 * 24 * 3_600_000 * (number / 10);
                let act = act(&key, "ann", &what, BASE + month + number);
                store.save_act(&act).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let found = acts(store, &key, &everything(), 7).await;
    let distinct: BTreeSet<_> = found.iter().filter_map(|act| act.text("what")).collect();
    assert_eq!((found.len(), distinct.len()), (120, 120));
    assert_eq!(breaks(&found), 0);
    let times: Vec<_> = found.iter().filter_map(|act| act.text("at")).collect();
    assert!(times.is_sorted(), "{times:?}");

    let one = ActFilter {
        what: Some("3/7".to_owned()),
        ..everything()
    };
    assert_eq!(acts(store, &key, &one, 10).await.len(), 1);
    let nobody = ActFilter {
        by: Some("policy".to_owned()),
        ..everything()
    };
    assert_eq!(acts(store, &key, &nobody, 10).await, []);
    let middle = ms(BASE + 20 * 24 * 3_600_000);
    let early = acts(store, &key, &ActFilter::between(ms(0), middle), 50).await;
    let late = acts(store, &key, &ActFilter::between(middle, ms(i64::MAX)), 50).await;
    assert_eq!((early.len(), late.len()), (60, 60));
    let hostile = PageRequest {
        limit: 1,
        cursor: Some("e30".to_owned()),
    };
    let listed = store.list_acts(&key.tenant, &one, ms(BASE), &hostile).await;
    assert!(matches!(listed, Err(StoreError::InvalidCursor)));
}

pub(crate) async fn an_altered_act_is_found_and_an_erased_person_breaks_nothing(store: &Store) {
    let key = fresh();
    for (number, subject) in [(0, "ann"), (1, "ben"), (2, "ann")] {
        let act = act(&key, subject, "update_file", BASE + number);
        store.save_act(&act).await.unwrap();
    }
    let tenant = &key.tenant;
    let ann = store.pseudonym(tenant, "ann").await.unwrap().unwrap();
    let of_ann = ActFilter {
        by: Some(ann.as_str().to_owned()),
        ..everything()
    };
    assert_eq!(acts(store, &key, &of_ann, 10).await.len(), 2);
    let subject = async || store.subject_of(tenant, &ann).await.unwrap();
    assert_eq!(subject().await.as_deref(), Some("ann"));
    assert!(store.forget_person(tenant, "ann").await.unwrap());
    assert!(!store.forget_person(tenant, "ann").await.unwrap());
    assert_eq!(subject().await, None);
    store.forget_trail_key(tenant).await.unwrap();
    assert_eq!(store.pseudonym(tenant, "ann").await.unwrap(), None);
    let mut found = acts(store, &key, &everything(), 10).await;
    assert_eq!((found.len(), breaks(&found)), (3, 0));
    assert!(!found.iter().any(|act| act.text("by") == Some("ann")));

    found[1].members.insert("what".to_owned(), "nothing".into());
    assert_eq!(breaks(&found), 1);
}

pub(crate) async fn what_a_policy_decides_is_an_act(store: &Store) {
    let key = fresh();
    let first = stored(store, &key, "f1", "root").await;
    let ours = edited(store, &key, &first, Field::Name, Value::text("ours"), 5).await;
    let theirs = Observation::Present(snapshot("f1", 2, "theirs", "root"));
    let policies = Policies {
        default: Policy::DriveWins,
        ..Policies::default()
    };
    let decided = domain::Context {
        policies: &policies,
        ..context(BASE)
    };
    let step = ours.observe(&theirs, decided);
    let after = committed(store, &key, ours.revision, &step).await;
    assert!(after.open.is_empty());
    let found = acts(store, &key, &everything(), 10).await;
    assert_eq!(
        found.len(),
        1,
        "an edit and a snapshot by themselves are none"
    );
    for (name, value) in [
        ("by", "policy"),
        ("what", "decide_by_policy"),
        ("file", "f1"),
    ] {
        assert_eq!(found[0].text(name), Some(value));
    }
    assert_eq!(found[0].members["ids"], serde_json::json!(["name#1"]));
    assert_eq!(found[0].members["count"], 1);
    assert_eq!(breaks(&found), 0);
}
