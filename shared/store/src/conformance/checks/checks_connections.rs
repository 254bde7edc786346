//! Connections, channels, dead letters, and the table itself.

use std::collections::{BTreeMap, BTreeSet};

use domain::channel::Stray;
use domain::operation::ComparisonInterval;
use domain::{
    Access, Account, AccountId, ChannelId, ConnectionId, ConnectionKey, ContentSettings,
    EndpointId, Glob, Jitter, LogId, MimePattern, OperationId, Policies, Policy, Principal,
    RemovalLimits, Request, Resolver, Role, Rule, Rules, StorageClass,
};

use super::super::support::{eventually, file, fresh, ms, page, stored};
use crate::table::key::Key;
use crate::{
    Channel, ChannelState, Connection, ConnectionState, Created, DeadLetter, DeadLetterStatus,
    FailedMessage, Scope, Store, StrayChannel, Updated, Written, create_table,
};

fn asks(endpoint: u64) -> Policy {
    Policy::Webhook(Resolver {
        endpoint: EndpointId::fresh(endpoint),
        seconds_max: 60,
    })
}

pub(crate) fn connection(key: &ConnectionKey) -> Connection {
    Connection {
        key: key.clone(),
        revision: 1,
        name: "Marketing ü".to_owned(),
        scope: Scope::SharedDrive("0ABC".to_owned()),
        secret_id: "drivesync/t/google".to_owned(),
        subject: Some("sync@example.com".to_owned()),
        quota_user: Some("acme".to_owned()),
        limits: domain::rate_limit::Limits {
            quota_per_minute: 7_000,
            ..domain::rate_limit::Limits::of(domain::rate_limit::QuotaModel::Queries)
        },
        policies: Policies {
            default: Policy::Manual,
            fields: BTreeMap::from([
                ("name".to_owned(), Policy::DriveWins),
                ("description".to_owned(), asks(1)),
                (
                    "properties.stage".to_owned(),
                    Policy::LastWriterWins {
                        window_millis: 2_000,
                    },
                ),
            ]),
            folders: BTreeMap::from([(
                file("1folder"),
                domain::FolderPolicies {
                    default: Some(Policy::AppWins),
                    fields: BTreeMap::from([
                        ("content".to_owned(), Policy::KeepBoth),
                        ("name".to_owned(), asks(2)),
                    ]),
                },
            )]),
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
        account: Account {
            id: Some(AccountId::parse("0123").unwrap()),
            secret_version: Some("v-1".to_owned()),
            comparison: Some(OperationId::parse("o1").unwrap()),
            bound: true,
        },
        my_drive: Some(file("0root")),
        access: Some(Access {
            entries: BTreeMap::from([
                (Principal::User("ann".to_owned()), Role::Editor),
                (Principal::Group("finance,hr".to_owned()), Role::Viewer),
            ]),
        }),
        own_domains: Some(BTreeSet::from(["example.com".to_owned()])),
        removals: RemovalLimits {
            share_percent_max: 25,
            unasked_max: 7,
        },
        comparison_interval: ComparisonInterval { days: 30 },
        state: ConnectionState::Active,
        generation: 0,
        deletion: None,
        owed_held: false,
        created_at: ms(1_000),
        created_by: "alice".to_owned(),
        last_request: Some(Request {
            key: "k".to_owned(),
            digest: "d".to_owned(),
        }),
    }
}

pub(crate) async fn a_connection_is_created_once_saved_on_its_revision_and_listed(store: &Store) {
    let key = fresh();
    let created = connection(&key);
    assert_eq!(
        store.create_connection(&created, None).await.unwrap(),
        Created::Created
    );
    assert_eq!(
        store.load_connection(&key).await.unwrap(),
        Some(created.clone())
    );
    let other = Connection {
        name: "other".to_owned(),
        ..created.clone()
    };
    assert_eq!(
        store.create_connection(&other, None).await.unwrap(),
        Created::Exists(created.clone())
    );

    let suspended = ConnectionState::Suspended {
        reason: "revoked".to_owned(),
        at: ms(7),
    };
    let Written::Done(second) = store
        .set_connection_state(&created, suspended.clone())
        .await
        .unwrap()
    else {
        panic!("not done");
    };
    assert_eq!((second.revision, &second.state), (2, &suspended));
    let stale = store
        .set_connection_state(&created, ConnectionState::Paused)
        .await
        .unwrap();
    assert_eq!(stale, Written::Stale(Some(second.clone())));
    let repeated = store
        .set_connection_state(&created, suspended)
        .await
        .unwrap();
    assert_eq!(
        repeated,
        Written::Done(second.clone()),
        "the stored value is the one to be written"
    );

    let next = ConnectionKey {
        connection: ConnectionId::parse("c2").unwrap(),
        ..key.clone()
    };
    let plain = Connection {
        scope: Scope::User,
        subject: None,
        quota_user: None,
        limits: domain::rate_limit::Limits::default(),
        last_request: None,
        policies: Policies::default(),
        rules: Rules::default(),
        content: ContentSettings::default(),
        account: Account::default(),
        my_drive: None,
        access: None,
        own_domains: None,
        state: ConnectionState::Paused,
        ..connection(&next)
    };
    store.create_connection(&plain, None).await.unwrap();
    let mut pages = Vec::new();
    let mut request = page(1);
    loop {
        let listed = store.list_connections(&key.tenant, &request, |_| true);
        let listed = listed.await.unwrap();
        pages.push(listed.items);
        request.cursor = listed.next_cursor;
        if request.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![second], vec![plain.clone()]]);
    let (other, request) = (fresh().tenant, page(9));
    let none = store.list_connections(&other, &request, |_| true);
    assert_eq!(none.await.unwrap().items, []);

    let absent = connection(&fresh());
    assert_eq!(
        store.save_connection(&absent).await.unwrap(),
        Written::Stale(None)
    );
}

pub(crate) async fn a_list_of_some_connections_has_full_pages(store: &Store) {
    let tenant = fresh().tenant;
    for number in 0..25 {
        let key = ConnectionKey {
            tenant: tenant.clone(),
            connection: ConnectionId::parse(&format!("c{number:02}")).unwrap(),
        };
        let name = if number % 6 == 4 { "ours" } else { "theirs" };
        let connection = Connection {
            name: name.to_owned(),
            ..connection(&key)
        };
        store.create_connection(&connection, None).await.unwrap();
    }
    let ours = ["c04", "c10", "c16", "c22"];
    for limit in 1..=5 {
        let mut request = page(limit);
        let mut pages = Vec::new();
        loop {
            let is_ours = |connection: &Connection| connection.name == "ours";
            let listed = store.list_connections(&tenant, &request, is_ours);
            let listed = listed.await.unwrap();
            let id = |connection: &Connection| connection.key.connection.to_string();
            pages.push(listed.items.iter().map(id).collect::<Vec<_>>());
            request.cursor = listed.next_cursor;
            if request.cursor.is_none() {
                break;
            }
        }
        let wanted: Vec<_> = ours.chunks(limit as usize).map(<[_]>::to_vec).collect();
        assert_eq!(pages, wanted, "{limit}");
    }
}

pub(crate) fn channel(key: &ConnectionKey) -> Channel {
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

pub(crate) async fn a_channel_is_known_before_its_resource_id(store: &Store) {
    let created = channel(&fresh());
    assert_eq!(
        store.create_channel(&created).await.unwrap(),
        Created::Created
    );
    assert_eq!(
        store.load_channel(&created.id).await.unwrap(),
        Some(created.clone())
    );
    let other = Channel {
        token_hash: [8; 32],
        ..created.clone()
    };
    assert_eq!(
        store.create_channel(&other).await.unwrap(),
        Created::Exists(created.clone())
    );

    let activated = store
        .activate_channel(&created.id, "r1", ms(3_000_000), ms(2_500_000))
        .await;
    assert_eq!(activated.unwrap(), Updated::Done);
    let active = Channel {
        resource_id: Some("r1".to_owned()),
        state: ChannelState::Active,
        expires_at: ms(3_000_000),
        due_at: ms(2_500_000),
        ..created.clone()
    };
    assert_eq!(store.load_channel(&created.id).await.unwrap(), Some(active));
    let item = store
        .get(&Key::channel(&created.id))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        item["expires"].as_n().unwrap(),
        "89400",
        "a day after the channel expires"
    );
    assert!(!format!("{created:?}").contains("token_hash"));

    store.delete_channel(&created.id).await.unwrap();
    assert_eq!(store.load_channel(&created.id).await.unwrap(), None);
    assert_eq!(
        store.replace_channel(&created.id, ms(1)).await.unwrap(),
        Updated::Absent
    );
}

pub(crate) async fn a_replaced_channel_is_not_activated(store: &Store) {
    let created = channel(&fresh());
    store.create_channel(&created).await.unwrap();
    assert_eq!(
        store.replace_channel(&created.id, ms(5)).await.unwrap(),
        Updated::Done
    );
    let late = store
        .activate_channel(&created.id, "r1", ms(3), ms(2))
        .await
        .unwrap();
    assert_eq!(late, Updated::Absent);
    assert_eq!(
        store.postpone_channel(&created.id, ms(9)).await.unwrap(),
        Updated::Done
    );
    let stored = store.load_channel(&created.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.due_at, stored.resource_id),
        (ChannelState::Replaced, ms(9), None)
    );
}

pub(crate) async fn a_stray_channel_is_remembered_once_listed_and_forgotten(store: &Store) {
    let key = fresh();
    let id = channel(&key).id;
    let first = StrayChannel {
        id: id.clone(),
        key: key.clone(),
        resource_id: "r1".to_owned(),
        stray: Stray::seen(ms(1_000)),
    };
    assert!(store.remember_stray(&first).await.unwrap());
    let later = StrayChannel {
        stray: Stray::seen(ms(2_000)),
        ..first.clone()
    };
    assert!(!store.remember_stray(&later).await.unwrap());
    assert_eq!(store.load_stray(&id).await.unwrap(), Some(first.clone()));
    assert_eq!(store.load_channel(&id).await.unwrap(), None);
    eventually(vec![first.clone()], async || {
        let listed = store.list_strays(&key, &page(9)).await.unwrap();
        listed.items
    })
    .await;
    let others = store.list_strays(&fresh(), &page(9)).await.unwrap();
    assert!(others.items.is_empty());

    let postponed = first.stray.not_stopped(ms(700_000), Jitter(0.5));
    let updated = store.postpone_stray(&id, &postponed).await.unwrap();
    assert_eq!(updated, Updated::Done);
    let stored = store.load_stray(&id).await.unwrap().unwrap();
    assert_eq!((stored.stray.failures, stored.stray), (1, postponed));
    let mut remains = Vec::new();
    let mut after = None;
    loop {
        let operation = OperationId::parse("op").unwrap();
        let found = store.find_remains(&key, &operation, after.as_deref());
        let found = found.await.unwrap();
        remains.push(found.belongings.counts);
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert!(
        remains.iter().any(|counts| !counts.is_empty()),
        "an erasure finds it"
    );
    store.forget_stray(&id).await.unwrap();
    assert_eq!(store.load_stray(&id).await.unwrap(), None);
    let gone = store.postpone_stray(&id, &postponed).await.unwrap();
    assert_eq!(gone, Updated::Absent);
}

pub(crate) async fn the_key_of_channel_tokens_is_made_once(store: &Store) {
    let made = store.ensure_channel_tokens([1; 32]).await.unwrap();
    let again = store.ensure_channel_tokens([2; 32]).await.unwrap();
    let read = store.load_channel_tokens().await.unwrap().unwrap();
    let (key, id) = (fresh(), ChannelId::fresh(1, 2));
    let token = made.token(&id, &key);
    assert_eq!(again.token(&id, &key), token);
    assert_eq!(read.owner(&id, &token), Some(key));
}

pub(crate) fn dead_letter(
    key: &ConnectionKey,
    id: &str,
    about: Option<&str>,
    sent_at: i64,
) -> DeadLetter {
    let letter = FailedMessage {
        queue: "snapshots.fifo",
        id,
        body: "{\"\u{0}",
        sent_at: ms(sent_at),
        receives: 3,
    };
    let now = ms(sent_at + 1);
    DeadLetter::from_message(letter, key.clone(), about.map(file), "not a snapshot", now)
}

pub(crate) async fn an_input_that_fails_again_keeps_its_history(store: &Store) {
    let key = fresh();
    let first = dead_letter(&key, "1", None, 1);
    store.record_dead_letter(&first).await.unwrap();
    let stored = store.load_dead_letter(&key, "m.1").await.unwrap().unwrap();
    let expected = DeadLetter {
        revision: 1,
        ..first.clone()
    };
    assert_eq!(stored, expected);
    // The same delivery again, after a crash: nothing is added.
    store.record_dead_letter(&first).await.unwrap();
    store
        .record_dead_letter(&dead_letter(&key, "2", None, 1))
        .await
        .unwrap();
    let found = store.list_dead_letters(&key, &page(1)).await.unwrap();
    assert_eq!(found.items, [expected]);
    assert!(found.next_cursor.is_some());
    // Another delivery of the same input.
    store
        .record_dead_letter(&dead_letter(&key, "1", None, 50))
        .await
        .unwrap();
    let again = store.load_dead_letter(&key, "m.1").await.unwrap().unwrap();
    assert_eq!((again.revision, again.history.len()), (2, 2));
    assert_eq!((again.first_seen_at, again.parked_at), (ms(1), ms(51)));
    let too_long = store.load_dead_letter(&key, &"x".repeat(5_000)).await;
    assert_eq!(too_long.unwrap(), None);
    assert_eq!(store.load_dead_letter(&key, "").await.unwrap(), None);
}

pub(crate) async fn of_two_decisions_on_a_dead_letter_one_is_saved(store: &Store) {
    let key = fresh();
    store
        .record_dead_letter(&dead_letter(&key, "1", Some("a"), 1))
        .await
        .unwrap();
    let id = DeadLetter::snapshot_id(&file("a"), "1");
    let letter = store.load_dead_letter(&key, &id).await.unwrap().unwrap();
    let redriven = store
        .save_dead_letter(&letter.redriven("ada", ms(10)))
        .await;
    let Written::Done(redriven) = redriven.unwrap() else {
        panic!("there is no other writer");
    };
    assert_eq!(
        (redriven.status, redriven.redrives, redriven.revision),
        (DeadLetterStatus::Redriven, 1, 2)
    );
    let place = Key::of_connection(&key, "PARKED", &id);
    let item = store.get(&place).await.unwrap().unwrap();
    assert!(item.contains_key("expires"), "it is closed");
    let late = letter.dropped("eve", "not wanted", ms(11));
    assert_eq!(
        store.save_dead_letter(&late).await.unwrap(),
        Written::Stale(Some(redriven.clone())),
        "the later writer receives the stored record"
    );
    let stored = store.load_dead_letter(&key, &id).await.unwrap();
    assert_eq!(stored, Some(redriven));
    // It is in flight, so it has not arrived; when it fails again, it is parked again.
    let missing = store
        .check_arrival(&key, &[file("a")])
        .await
        .unwrap()
        .missing;
    assert_eq!(missing, [file("a")]);
    store
        .record_dead_letter(&dead_letter(&key, "1", Some("a"), 20))
        .await
        .unwrap();
    let back = store.load_dead_letter(&key, &id).await.unwrap().unwrap();
    assert_eq!(
        (back.status, back.redrives, back.history.len()),
        (DeadLetterStatus::Parked, 1, 3)
    );
    let dropped = back.dropped("eve", "not wanted", ms(30));
    let Written::Done(dropped) = store.save_dead_letter(&dropped).await.unwrap() else {
        panic!("there is no other writer");
    };
    let stored = store.load_dead_letter(&key, &id).await.unwrap();
    assert_eq!(stored, Some(dropped));
    let missing = store
        .check_arrival(&key, &[file("a")])
        .await
        .unwrap()
        .missing;
    assert_eq!(missing, [], "it was dropped");
    let absent = dead_letter(&key, "2", None, 1).redriven("ada", ms(2));
    let written = store.save_dead_letter(&absent).await.unwrap();
    assert_eq!(written, Written::Stale(None));
}

pub(crate) async fn a_snapshot_with_a_dead_letter_is_not_missing(store: &Store) {
    let key = fresh();
    stored(store, &key, "here", "root").await;
    for n in 0..12 {
        let letter = dead_letter(&key, &format!("{n:02}"), Some("a.b"), 1);
        store.record_dead_letter(&letter).await.unwrap();
    }
    let asked = ["here", "a.b", "a", "nowhere", "a"].map(file);
    let missing = store.check_arrival(&key, &asked).await.unwrap().missing;
    assert_eq!(missing, [file("a"), file("nowhere")], "`a` is not `a.b`");
    let arrival = store.check_arrival(&key, &asked).await.unwrap();
    assert_eq!(arrival.dead, [file("a.b")]);
    let found = store.files_with_dead_letters(&key, &asked).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [file("a.b")]);
}

pub(crate) async fn a_table_is_created_only_once(store: &Store) {
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
