//! Webhooks, as their receivers see them: real HTTP servers on this machine.

mod crashes;
mod deliveries;
pub(crate) mod receiver;
mod refusals;
pub(crate) mod resolver;
mod resolver_crashes;
mod resolver_refusals;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::event::{Epoch, EventCursor, EventFilter, EventType};
use domain::webhook::{
    Course, Endpoint, EndpointScope, EndpointState, EndpointUrl, Maker, Reachable, SigningSecret,
};
use domain::{EndpointId, Role, TenantId};
use local::aws::Queue;
use store::{Appending, Nonce, StoredEndpoint};
use worker::queue::wake_endpoint;

use crate::support::{ByHand, edits};
use receiver::Receiver;

/// Returns an endpoint of all connections, whose deliveries a receiver gets.
fn endpoint(hand: &ByHand, url: &str) -> Endpoint {
    let now = hand.now();
    Endpoint {
        id: EndpointId::fresh(fastrand::u64(..)),
        name: "a receiver".to_owned(),
        url: EndpointUrl::parse(url, Reachable::PublicAndLoopback).unwrap(),
        scope: EndpointScope::All,
        filter: EventFilter {
            types: [EventType::FileModified].into(),
            ..EventFilter::default()
        },
        maker: Maker {
            subject: "ann".to_owned(),
            role: Role::Operator,
            groups: BTreeSet::new(),
        },
        state: EndpointState::Active,
        secret: SigningSecret::FIRST,
        course: Course::new(now),
        created_at: now,
    }
}

/// Makes an endpoint of the world's tenant that begins at the end of the connection's log.
async fn make(hand: &ByHand, endpoint: &Endpoint) -> EndpointId {
    let store = hand.store();
    store
        .create_endpoint(&hand.key.tenant, endpoint)
        .await
        .unwrap();
    let end = store.event_log_end(&hand.key).await.unwrap();
    let end = end.map(|end| end.cursor());
    let of = (&hand.key.tenant, &endpoint.id);
    store
        .set_place(of, &hand.key.connection, end.as_ref())
        .await
        .unwrap();
    endpoint.id.clone()
}

pub(crate) async fn receiver_and_endpoint(hand: &ByHand) -> (Receiver, EndpointId) {
    let receiver = Receiver::start().await;
    let id = make(hand, &endpoint(hand, &receiver.url)).await;
    (receiver, id)
}

pub(crate) async fn stored(hand: &ByHand, id: &EndpointId) -> StoredEndpoint {
    let stored = hand.store().load_endpoint(&hand.key.tenant, id).await;
    stored.unwrap().expect("the endpoint")
}

/// Changes an endpoint as a person does.
async fn change(hand: &ByHand, id: &EndpointId, change: impl Fn(&Endpoint) -> Endpoint) {
    let stored = stored(hand, id).await;
    let changed = |endpoint: &Endpoint| Some(change(endpoint));
    hand.store().change_endpoint(stored, changed).await.unwrap();
}

/// Returns the endpoint's place in the log of the world's connection.
async fn place(hand: &ByHand, id: &EndpointId) -> Option<EventCursor> {
    let places = hand.store().endpoint_places(&hand.key.tenant, id).await;
    places.unwrap().get(&hand.key.connection)?.after
}

async fn head(hand: &ByHand) -> Option<EventCursor> {
    let end = hand.store().event_log_end(&hand.key).await.unwrap();
    end.map(|end| end.cursor())
}

/// Appends an event about each of these files to the log of the world's connection.
async fn append(hand: &ByHand, files: &[String]) {
    let number = fastrand::u64(..u64::MAX / 2);
    let events = edits(files, hand.now());
    let appending = Appending {
        table: None,
        fresh: Epoch(number),
        nonce: Nonce(number),
        now: hand.now(),
    };
    let appended = hand.store().append_events(&hand.key, &events, &appending);
    appended.await.unwrap();
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("file{number}")).collect()
}

/// Wakes an endpoint, and delivers what is queued for endpoints.
async fn wake(hand: &ByHand, tenant: &TenantId, id: &EndpointId) {
    let deps = &hand.functions.live;
    let now = hand.now();
    wake_endpoint(&deps.deliver, tenant, id, now).await.unwrap();
    hand.pump_only(Queue::Deliver).await;
    // The next wake is in another window of deduplication.
    hand.advance_clock(Duration::from_secs(1));
}

async fn append_and_wake(hand: &ByHand, id: &EndpointId, files: &[String]) {
    append(hand, files).await;
    wake(hand, &hand.key.tenant, id).await;
}
