//! Webhook endpoints, their places, and what was delivered to them.

use std::collections::BTreeSet;

use domain::event::{Epoch, EventCursor, EventFilter, EventType};
use domain::webhook::{
    Claim, Course, Delivery, DeliveryKind, DeliveryOutcome, DisabledReason, Endpoint,
    EndpointScope, EndpointState, EndpointUrl, Lease, LeaseToken, Maker, OwedTest, Place,
    Reachable, SigningSecret, Telling, Trouble,
};
use domain::{
    ConnectionId, ConnectionKey, EndpointId, FileId, OperationId, Role, TenantId, Timestamp,
};

use crate::conformance::support::{fresh, ms, nonce, page};
use crate::{Created, DUE_SHARDS, DueItem, Store, StoredEndpoint, Updated, Written};

fn connection(id: &str) -> ConnectionId {
    ConnectionId::parse(id).unwrap()
}

fn cursor(number: u64) -> EventCursor {
    EventCursor {
        epoch: Epoch(7),
        number,
        index: 2,
    }
}

fn endpoint(id: u64) -> Endpoint {
    Endpoint {
        id: EndpointId::fresh(id),
        name: "Billing".to_owned(),
        url: EndpointUrl::parse("https://hooks.example.com/x", Reachable::Public).unwrap(),
        scope: EndpointScope::All,
        filter: EventFilter::default(),
        maker: Maker {
            subject: "ann".to_owned(),
            role: Role::Operator,
            groups: BTreeSet::new(),
        },
        state: EndpointState::Active,
        secret: SigningSecret::FIRST,
        course: Course::new(ms(1_000)),
        created_at: ms(1_000),
    }
}

/// An endpoint in which every member has a value.
fn full(id: u64) -> Endpoint {
    Endpoint {
        scope: EndpointScope::Connections(BTreeSet::from([connection("c1"), connection("c2")])),
        filter: EventFilter {
            types: BTreeSet::from([EventType::FileMoved, EventType::WebhookDisabled]),
            files: BTreeSet::from([FileId::parse("f1").unwrap()]),
            folder: Some(FileId::parse("d1").unwrap()),
            actor: Some("user:ann".to_owned()),
        },
        maker: Maker {
            groups: BTreeSet::from(["finance".to_owned()]),
            ..endpoint(id).maker
        },
        secret: SigningSecret {
            generation: 3,
            both_until: Some(ms(9_000)),
        },
        course: Course {
            lease: Some(Lease {
                token: LeaseToken(u64::MAX),
                until: ms(5_000),
            }),
            trouble: Some(Trouble {
                connection: connection("c2"),
                head: Some(cursor(4)),
                failures: 2,
                since: ms(2_000),
                next_at: ms(7_000),
            }),
            last: Some(connection("c1")),
            look_at: ms(6_000),
            test: Some(OwedTest {
                id: 5,
                at: ms(3_000),
            }),
        },
        ..endpoint(id)
    }
}

async fn loaded(store: &Store, tenant: &TenantId, id: &EndpointId) -> StoredEndpoint {
    store.load_endpoint(tenant, id).await.unwrap().unwrap()
}

async fn is_due(store: &Store, tenant: &TenantId, id: &EndpointId, at: Timestamp) -> bool {
    let mut due = Vec::new();
    for shard in 0..DUE_SHARDS {
        due.extend(store.due(shard, at, None, 1_000).await.unwrap().items);
    }
    due.contains(&DueItem::Webhook(tenant.clone(), id.clone()))
}

pub(crate) async fn an_endpoint_is_created_once_read_back_equal_and_due_while_active(
    store: &Store,
) {
    let tenant = fresh().tenant;
    for wanted in [endpoint(1), full(2)] {
        let id = &wanted.id;
        let created = store.create_endpoint(&tenant, &wanted).await.unwrap();
        assert_eq!(created, Created::Created);
        let stored = loaded(store, &tenant, id).await;
        assert_eq!((&stored.endpoint, stored.revision), (&wanted, 1));
        let due_at = wanted.due_at().unwrap();
        assert!(is_due(store, &tenant, id, due_at).await);
        assert!(!is_due(store, &tenant, id, due_at.plus_millis(-1)).await);
        let other = Endpoint {
            name: "other".to_owned(),
            ..wanted.clone()
        };
        let again = store.create_endpoint(&tenant, &other).await.unwrap();
        assert_eq!(again, Created::Exists(stored.clone()));
        let disabled = Endpoint {
            state: EndpointState::Disabled {
                reason: DisabledReason::Gone,
                since: ms(8_000),
                telling: Telling::Done,
            },
            course: Course::new(ms(8_000)),
            ..wanted.clone()
        };
        let Written::Done(saved) = store.save_endpoint(&stored, &disabled).await.unwrap() else {
            panic!("nobody else writes");
        };
        assert!(!is_due(store, &tenant, id, ms(i64::MAX / 2)).await);
        let stale = store.save_endpoint(&stored, &wanted).await.unwrap();
        assert_eq!(stale, Written::Stale(Some(saved.clone())));
        let telling = Endpoint {
            state: EndpointState::Disabled {
                reason: DisabledReason::Failing,
                since: ms(8_000),
                telling: Telling::Owed(Some(connection("c1"))),
            },
            ..disabled
        };
        store.save_endpoint(&saved, &telling).await.unwrap();
        assert_eq!(loaded(store, &tenant, id).await.endpoint, telling);
        assert!(is_due(store, &tenant, id, ms(8_000)).await);
    }
    let (all, unreadable) = store.list_endpoints(&tenant).await.unwrap();
    let ids: Vec<_> = all.into_iter().map(|stored| stored.endpoint.id).collect();
    assert_eq!(ids, [EndpointId::fresh(1), EndpointId::fresh(2)]);
    assert_eq!(unreadable, 0);
    assert_eq!(
        store.list_endpoints(&fresh().tenant).await.unwrap(),
        (vec![], 0)
    );
}

pub(crate) async fn of_two_workers_one_claims_an_endpoint(store: &Store) {
    let tenant = fresh().tenant;
    let wanted = endpoint(1);
    store.create_endpoint(&tenant, &wanted).await.unwrap();
    let stored = loaded(store, &tenant, &wanted.id).await;
    let claim = |token| {
        let claim = move |endpoint: &Endpoint| match endpoint.claim(LeaseToken(token), ms(2_000)) {
            Claim::Granted(claimed) => Some(*claimed),
            Claim::Busy(_) | Claim::Wait(_) | Claim::Nothing => None,
        };
        store.change_endpoint(stored.clone(), claim)
    };
    let (first, second) = tokio::join!(claim(1), claim(2));
    let granted = [first.unwrap(), second.unwrap()];
    assert_eq!(granted.iter().flatten().count(), 1);
    store.delete_endpoint(&tenant, &wanted.id).await.unwrap();
    assert_eq!(claim(3).await.unwrap(), None);
}

pub(crate) async fn a_place_moves_on_only_from_where_it_is(store: &Store) {
    let tenant = fresh().tenant;
    let id = EndpointId::fresh(1);
    let (of, c1) = ((&tenant, &id), connection("c1"));
    let place = async || {
        let all = store.endpoint_places(&tenant, &id).await.unwrap();
        all.get(&c1).copied()
    };
    let step = async |before: &Place, after: u64| {
        let after = cursor(after);
        store
            .move_place(of, &c1, before, Some(&after))
            .await
            .unwrap()
    };
    assert_eq!(place().await, None);
    let begin = Place::default();
    assert_eq!(step(&begin, 3).await, Updated::Done);
    let third = Place {
        after: Some(cursor(3)),
        replays: 0,
    };
    assert_eq!(place().await, Some(third));
    // The same worker again, whose answer was lost; and another one, which was slower.
    assert_eq!(step(&begin, 3).await, Updated::Done);
    assert_eq!(step(&begin, 2).await, Updated::Absent);
    assert_eq!(step(&third, 5).await, Updated::Done);
    // Set back while something is delivered, to the very place from which it was.
    store.set_place(of, &c1, Some(&cursor(3))).await.unwrap();
    assert_eq!(step(&third, 6).await, Updated::Absent);
    let back = Place {
        replays: 1,
        ..third
    };
    assert_eq!(place().await, Some(back));
    assert_eq!(step(&back, 6).await, Updated::Done);
    store.set_place(of, &c1, None).await.unwrap();
    let begun_again = Place {
        after: None,
        replays: 2,
    };
    assert_eq!(place().await, Some(begun_again));
    assert_eq!(step(&begun_again, 1).await, Updated::Done);
    store
        .delete_places(of, &BTreeSet::from([c1.clone()]))
        .await
        .unwrap();
    assert_eq!(place().await, None);
}

fn delivery(at: i64, about: Option<&str>) -> Delivery {
    Delivery {
        at: ms(at),
        message: format!("msg_{at}"),
        kind: match about {
            Some(_) => DeliveryKind::Events,
            None => DeliveryKind::Test,
        },
        connection: about.map(connection),
        head: about.map(|_| cursor(9)),
        events: 2,
        attempt: 3,
        outcome: DeliveryOutcome::Refused,
        status: Some(500),
        millis: 12,
    }
}

pub(crate) async fn deliveries_are_listed_newest_first_and_go_with_their_endpoint(store: &Store) {
    let tenant = fresh().tenant;
    let wanted = endpoint(1);
    let (id, other) = (&wanted.id, EndpointId::fresh(2));
    store.create_endpoint(&tenant, &wanted).await.unwrap();
    for at in [5, 7, 6] {
        let delivery = delivery(at, Some("c1").filter(|_| at != 6));
        let recorded = store.record_delivery(&tenant, id, &delivery, nonce());
        recorded.await.unwrap();
    }
    store
        .record_delivery(&tenant, &other, &delivery(1, None), nonce())
        .await
        .unwrap();
    let list = async |id: &EndpointId, now: Timestamp| {
        let page = page(9);
        let found = store.list_deliveries(&tenant, id, &page, now);
        found.await.unwrap().items
    };
    let wanted = [
        delivery(7, Some("c1")),
        delivery(6, None),
        delivery(5, Some("c1")),
    ];
    assert_eq!(list(id, ms(10)).await, wanted);
    assert_eq!(list(id, ms(8 * 24 * 3_600_000)).await, []);
    store
        .set_place((&tenant, id), &connection("c1"), None)
        .await
        .unwrap();
    store.delete_endpoint(&tenant, id).await.unwrap();
    assert_eq!(list(id, ms(10)).await, []);
    assert!(store.endpoint_places(&tenant, id).await.unwrap().is_empty());
    assert_eq!(list(&other, ms(10)).await.len(), 1);
}

pub(crate) async fn an_erased_connection_leaves_nothing_in_endpoints(store: &Store) {
    let key = ConnectionKey {
        connection: connection("c1"),
        ..fresh()
    };
    let tenant = &key.tenant;
    let both = Endpoint {
        course: Course {
            test: None,
            lease: None,
            ..full(1).course
        },
        ..full(1)
    };
    let alone = Endpoint {
        id: EndpointId::fresh(2),
        scope: EndpointScope::Connections(BTreeSet::from([connection("c1")])),
        ..both.clone()
    };
    for endpoint in [&both, &alone] {
        store.create_endpoint(tenant, endpoint).await.unwrap();
        for about in ["c1", "c2"] {
            let (of, head) = ((tenant, &endpoint.id), cursor(1));
            let about_id = connection(about);
            let place = store.set_place(of, &about_id, Some(&head));
            place.await.unwrap();
            let delivery = delivery(1, Some(about));
            let recorded = store.record_delivery(tenant, &endpoint.id, &delivery, nonce());
            recorded.await.unwrap();
        }
    }
    let operation = OperationId::parse("op1").unwrap();
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
    store.take_from_endpoints(&key, ms(99)).await.unwrap();
    let c2 = BTreeSet::from([connection("c2")]);
    for id in [&both.id, &alone.id] {
        let places = store.endpoint_places(tenant, id).await.unwrap();
        assert_eq!(places.into_keys().collect::<BTreeSet<_>>(), c2);
        let page = store.list_deliveries(tenant, id, &page(9), ms(2)).await;
        let about = page.unwrap().items.into_iter();
        let about: Vec<_> = about.filter_map(|delivery| delivery.connection).collect();
        assert_eq!(about, [connection("c2")]);
    }
    let narrowed = loaded(store, tenant, &both.id).await.endpoint;
    assert_eq!(narrowed.scope, EndpointScope::Connections(c2));
    assert_eq!(narrowed.course.last, None);
    assert!(narrowed.is_active());
    let disabled = loaded(store, tenant, &alone.id).await.endpoint;
    assert_eq!(
        disabled.state,
        EndpointState::Disabled {
            reason: DisabledReason::NoConnections,
            since: ms(99),
            telling: Telling::Done,
        }
    );
}
