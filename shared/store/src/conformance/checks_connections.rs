//! Connections, channels, parked inputs, and the table itself.

use std::collections::BTreeMap;

use domain::{
    ChannelId, ConnectionId, ConnectionKey, ContentSettings, Glob, LogId, MimePattern, Policies,
    Policy, Request, Rule, Rules, StorageClass,
};

use super::support::{file, fresh, ms, page, stored};
use crate::key::Key;
use crate::{
    Channel, ChannelState, Connection, ConnectionState, Created, Letter, Parked, ParkedStatus,
    RemovalLimits, Scope, Store, Updated, Written, create_table,
};

pub(super) fn connection(key: &ConnectionKey) -> Connection {
    Connection {
        key: key.clone(),
        revision: 1,
        name: "Marketing ü".to_owned(),
        scope: Scope::SharedDrive("0ABC".to_owned()),
        secret_id: "drivesync/t/google".to_owned(),
        subject: Some("sync@example.com".to_owned()),
        quota_user: Some("acme".to_owned()),
        limits: domain::pace::Limits {
            quota_per_minute: 7_000,
            ..domain::pace::Limits::of(domain::pace::QuotaModel::Queries)
        },
        policies: Policies {
            default: Policy::Manual,
            fields: BTreeMap::from([
                ("name".to_owned(), Policy::DriveWins),
                (
                    "properties.stage".to_owned(),
                    Policy::LastWriterWins {
                        window_millis: 2_000,
                    },
                ),
            ]),
        },
        rules: Rules {
            include: vec![Rule::Folder(file("1folder"))],
            exclude: vec![
                Rule::MimeType(MimePattern::parse("image/*").unwrap()),
                Rule::Name(Glob::parse("a:*.tmp").unwrap()),
            ],
        },
        content: ContentSettings {
            enabled: true,
            exclude: vec![MimePattern::parse("video/*").unwrap()],
            storage_class: StorageClass::GlacierIr,
            compress: true,
            ..ContentSettings::default()
        },
        my_drive: Some(file("0root")),
        removals: RemovalLimits {
            share_percent_max: 25,
            unasked_max: 7,
        },
        state: ConnectionState::Active,
        created_at: ms(1_000),
        created_by: "alice".to_owned(),
        last_request: Some(Request {
            key: "k".to_owned(),
            digest: "d".to_owned(),
        }),
    }
}

pub(super) async fn a_connection_is_made_once_saved_on_its_revision_and_listed(store: &Store) {
    let key = fresh();
    let made = connection(&key);
    assert_eq!(
        store.create_connection(&made).await.unwrap(),
        Created::Created
    );
    assert_eq!(
        store.load_connection(&key).await.unwrap(),
        Some(made.clone())
    );
    let other = Connection {
        name: "other".to_owned(),
        ..made.clone()
    };
    assert_eq!(
        store.create_connection(&other).await.unwrap(),
        Created::Exists(made.clone())
    );

    let suspended = ConnectionState::Suspended {
        reason: "revoked".to_owned(),
        at: ms(7),
    };
    let Written::Done(second) = store
        .set_connection_state(&made, suspended.clone())
        .await
        .unwrap()
    else {
        panic!("not done");
    };
    assert_eq!((second.revision, &second.state), (2, &suspended));
    let stale = store
        .set_connection_state(&made, ConnectionState::Paused)
        .await
        .unwrap();
    assert_eq!(stale, Written::Stale(Some(second.clone())));
    let repeated = store.set_connection_state(&made, suspended).await.unwrap();
    assert_eq!(
        repeated,
        Written::Done(second.clone()),
        "what was to be written stands"
    );

    let next = ConnectionKey {
        connection: ConnectionId::parse("c2").unwrap(),
        ..key.clone()
    };
    let plain = Connection {
        scope: Scope::User,
        subject: None,
        quota_user: None,
        limits: domain::pace::Limits::default(),
        last_request: None,
        policies: Policies::default(),
        rules: Rules::default(),
        content: ContentSettings::default(),
        my_drive: None,
        state: ConnectionState::Deleting,
        ..connection(&next)
    };
    store.create_connection(&plain).await.unwrap();
    let found = store.list_connections(&key.tenant, &page(1)).await.unwrap();
    assert_eq!(found.items, [second]);
    let request = crate::PageRequest {
        limit: 1,
        cursor: found.next_cursor,
    };
    let found = store.list_connections(&key.tenant, &request).await.unwrap();
    assert_eq!(found.items, std::slice::from_ref(&plain));
    assert!(
        store
            .list_connections(&fresh().tenant, &page(9))
            .await
            .unwrap()
            .items
            .is_empty()
    );

    store.delete_connection(&next).await.unwrap();
    store.delete_connection(&next).await.unwrap();
    assert_eq!(
        store.save_connection(&plain).await.unwrap(),
        Written::Stale(None)
    );
}

fn channel(key: &ConnectionKey) -> Channel {
    Channel {
        id: ChannelId::parse(&format!("{}x", key.tenant)).unwrap(),
        key: key.clone(),
        log: LogId::user(),
        token_hash: [7; 32],
        resource_id: None,
        state: ChannelState::Pending,
        expires_at: ms(2_000_000),
        due_at: ms(1_500_000),
    }
}

pub(super) async fn a_channel_counts_before_its_resource_is_known(store: &Store) {
    let made = channel(&fresh());
    assert_eq!(store.create_channel(&made).await.unwrap(), Created::Created);
    assert_eq!(
        store.load_channel(&made.id).await.unwrap(),
        Some(made.clone())
    );
    let other = Channel {
        token_hash: [8; 32],
        ..made.clone()
    };
    assert_eq!(
        store.create_channel(&other).await.unwrap(),
        Created::Exists(made.clone())
    );

    let activated = store
        .activate_channel(&made.id, "r1", ms(3_000_000), ms(2_500_000))
        .await;
    assert_eq!(activated.unwrap(), Updated::Done);
    let active = Channel {
        resource_id: Some("r1".to_owned()),
        state: ChannelState::Active,
        expires_at: ms(3_000_000),
        due_at: ms(2_500_000),
        ..made.clone()
    };
    assert_eq!(store.load_channel(&made.id).await.unwrap(), Some(active));
    let item = store.get(&Key::channel(&made.id)).await.unwrap().unwrap();
    assert_eq!(
        item["expires"].as_n().unwrap(),
        "89400",
        "a day after it lapses"
    );
    assert!(!format!("{made:?}").contains("token_hash"));

    store.delete_channel(&made.id).await.unwrap();
    assert_eq!(store.load_channel(&made.id).await.unwrap(), None);
    assert_eq!(
        store.replace_channel(&made.id, ms(1)).await.unwrap(),
        Updated::Absent
    );
}

pub(super) async fn a_replaced_channel_is_not_activated(store: &Store) {
    let made = channel(&fresh());
    store.create_channel(&made).await.unwrap();
    assert_eq!(
        store.replace_channel(&made.id, ms(5)).await.unwrap(),
        Updated::Done
    );
    let late = store
        .activate_channel(&made.id, "r1", ms(3), ms(2))
        .await
        .unwrap();
    assert_eq!(late, Updated::Absent);
    assert_eq!(
        store.postpone_channel(&made.id, ms(9)).await.unwrap(),
        Updated::Done
    );
    let stored = store.load_channel(&made.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.due_at, stored.resource_id),
        (ChannelState::Replaced, ms(9), None)
    );
}

fn parked(key: &ConnectionKey, id: &str, about: Option<&str>, sent_at: i64) -> Parked {
    let letter = Letter {
        queue: "snapshots.fifo",
        id,
        body: "{\"\u{0}",
        sent_at: ms(sent_at),
        receives: 3,
    };
    let now = ms(sent_at + 1);
    Parked::letter(letter, key.clone(), about.map(file), "not a snapshot", now)
}

pub(super) async fn an_input_that_is_parked_again_keeps_its_history(store: &Store) {
    let key = fresh();
    let first = parked(&key, "1", None, 1);
    store.park(&first).await.unwrap();
    let stored = store.load_parked(&key, "m.1").await.unwrap().unwrap();
    let expected = Parked {
        revision: 1,
        ..first.clone()
    };
    assert_eq!(stored, expected);
    // The same delivery again, after a crash: nothing is added.
    store.park(&first).await.unwrap();
    store.park(&parked(&key, "2", None, 1)).await.unwrap();
    let found = store.list_parked(&key, &page(1)).await.unwrap();
    assert_eq!(found.items, [expected]);
    assert!(found.next_cursor.is_some());
    // Another one of the same input.
    store.park(&parked(&key, "1", None, 50)).await.unwrap();
    let again = store.load_parked(&key, "m.1").await.unwrap().unwrap();
    assert_eq!((again.revision, again.history.len()), (2, 2));
    assert_eq!((again.first_seen_at, again.parked_at), (ms(1), ms(51)));
    let too_long = store.load_parked(&key, &"x".repeat(5_000)).await;
    assert_eq!(too_long.unwrap(), None);
    assert_eq!(store.load_parked(&key, "").await.unwrap(), None);
}

pub(super) async fn of_two_who_decide_on_a_parked_input_one_does(store: &Store) {
    let key = fresh();
    store.park(&parked(&key, "1", Some("a"), 1)).await.unwrap();
    let id = Parked::snapshot_id(&file("a"), "1");
    let held = store.load_parked(&key, &id).await.unwrap().unwrap();
    let redriven = store.save_parked(&held.redriven("ada", ms(10))).await;
    let Written::Done(redriven) = redriven.unwrap() else {
        panic!("nobody else wrote it");
    };
    assert_eq!(
        (redriven.status, redriven.redrives, redriven.revision),
        (ParkedStatus::Redriven, 1, 2)
    );
    let late = held.dropped("eve", "not wanted", ms(11));
    assert_eq!(
        store.save_parked(&late).await.unwrap(),
        Written::Stale(Some(redriven.clone())),
        "the one who was later is shown what stands"
    );
    let stored = store.load_parked(&key, &id).await.unwrap();
    assert_eq!(stored, Some(redriven));
    // It is on its way, so it has not arrived; when it fails again, it is parked again.
    let missing = store.arrival(&key, &[file("a")]).await.unwrap().missing;
    assert_eq!(missing, [file("a")]);
    store.park(&parked(&key, "1", Some("a"), 20)).await.unwrap();
    let back = store.load_parked(&key, &id).await.unwrap().unwrap();
    assert_eq!(
        (back.status, back.redrives, back.history.len()),
        (ParkedStatus::Parked, 1, 3)
    );
    let dropped = back.dropped("eve", "not wanted", ms(30));
    let Written::Done(dropped) = store.save_parked(&dropped).await.unwrap() else {
        panic!("nobody else wrote it");
    };
    let stored = store.load_parked(&key, &id).await.unwrap();
    assert_eq!(stored, Some(dropped));
    let missing = store.arrival(&key, &[file("a")]).await.unwrap().missing;
    assert_eq!(missing, [], "somebody decided that it is not wanted");
    let absent = parked(&key, "2", None, 1).redriven("ada", ms(2));
    let written = store.save_parked(&absent).await.unwrap();
    assert_eq!(written, Written::Stale(None));
}

pub(super) async fn a_parked_snapshot_is_not_missing(store: &Store) {
    let key = fresh();
    stored(store, &key, "here", "root").await;
    for n in 0..12 {
        let letter = parked(&key, &format!("{n:02}"), Some("a.b"), 1);
        store.park(&letter).await.unwrap();
    }
    let asked = ["here", "a.b", "a", "nowhere", "a"].map(file);
    let missing = store.arrival(&key, &asked).await.unwrap().missing;
    assert_eq!(missing, [file("a"), file("nowhere")], "`a` is not `a.b`");
    let found = store.parked_files(&key, &asked).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [file("a.b")]);
}

pub(super) async fn a_table_is_made_only_once(store: &Store) {
    create_table(&store.client, &store.table).await.unwrap();
    let ttl = store
        .client
        .describe_time_to_live()
        .table_name(&store.table)
        .send()
        .await
        .unwrap();
    let ttl = ttl
        .time_to_live_description
        .and_then(|ttl| ttl.attribute_name);
    assert_eq!(ttl.as_deref(), Some("expires"));
}
