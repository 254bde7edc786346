//! Notifications that Google did not send.

use std::cell::Cell;
use std::time::Duration;

use domain::{ChannelId, LogId};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_http::Body;
use local::aws::Queue;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState};

use super::{mutation, runner};
use crate::support::{ByHand, run};

const CHANNEL: &str = "fuzzed-channel";
const TOKEN: &str = "fuzzed-token";
const RESOURCE: &str = "fuzzed-resource";

const NAMES: [&str; 8] = [
    "x-goog-channel-id",
    "x-goog-channel-token",
    "x-goog-resource-id",
    "x-goog-resource-state",
    "x-goog-message-number",
    "x-goog-channel-expiration",
    "x-goog-resource-uri",
    "content-type",
];

/// Draws headers with Google's names, some of them right, some repeated, some of any bytes.
fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let word = |right: &'static str| {
        prop_oneof![
            6 => Just(right.as_bytes().to_vec()),
            1 => mutation::damage().prop_map(move |damage| mutation::damaged(right.as_bytes(),
                &damage)),
            1 => vec(any::<u8>(), 0..40),
            1 => Just(vec![b'x'; 9_000]),
            1 => Just(Vec::new()),
        ]
    };
    let known = (
        word(CHANNEL),
        word(TOKEN),
        word(RESOURCE),
        word("change"),
        vec((prop::sample::select(NAMES.to_vec()), word("7")), 0..4),
        any::<prop::sample::Index>(),
    );
    known.prop_map(|(channel, token, resource, state, more, rotate)| {
        let mut all = vec![
            (NAMES[0], channel),
            (NAMES[1], token),
            (NAMES[2], resource),
            (NAMES[3], state),
        ];
        all.extend(more);
        // The sender decides the order of two headers of one name.
        let by = rotate.index(all.len());
        all.rotate_left(by);
        all
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(Vec::new()), 1 => mutation::bytes()]
}

/// Returns the headers that are valid HTTP.
fn map(headers: &[(&'static str, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            map.append(HeaderName::from_static(name), value);
        }
    }
    map
}

async fn channel(hand: &ByHand) {
    let later = hand.now().plus_millis(30 * 86_400_000);
    let channel = Channel {
        id: ChannelId::parse(CHANNEL).unwrap(),
        key: hand.key.clone(),
        log: LogId::user(),
        token_hash: Sha256::digest(TOKEN).into(),
        resource_id: Some(RESOURCE.to_owned()),
        state: ChannelState::Active,
        expires_at: later,
        due_at: later,
    };
    hand.store().create_channel(&channel).await.unwrap();
}

#[test]
fn any_notification_is_answered_and_only_a_matching_one_sends_a_wake() {
    let hand = run(async {
        let hand = ByHand::start(1).await;
        channel(&hand).await;
        hand
    });
    let (woken, ignored) = (Cell::new(0), Cell::new(0));
    let outcome = runner(800).run(&(headers(), body()), |(headers, body)| {
        let headers = map(&headers);
        let right = |name: &str, right: &str| {
            let mut values = headers.get_all(name).iter();
            values.any(|value| value == right)
        };
        let may = body.is_empty()
            && right(NAMES[0], CHANNEL)
            && right(NAMES[1], TOKEN)
            && right(NAMES[2], RESOURCE);
        // Half a second later, so that the wake is not deduplicated.
        hand.advance_clock(Duration::from_secs(1));
        let before = hand.waiting(Queue::LogWakes);
        let mut request = http::Request::post("/webhooks/drive");
        *request.headers_mut().unwrap() = headers;
        let body = if body.is_empty() {
            Body::Empty
        } else {
            Body::Binary(body)
        };
        let request = request.body(body).unwrap();
        let deps = &hand.functions.receive_notification;
        let answer = run(receive_notification::handle(&request, deps));
        prop_assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        prop_assert!(answer.body().is_empty());
        let wakes = hand.waiting(Queue::LogWakes) - before;
        prop_assert!(wakes <= usize::from(may), "{wakes} wakes");
        woken.set(woken.get() + wakes);
        ignored.set(ignored.get() + 1 - wakes);
        Ok(())
    });
    outcome.unwrap();
    let (woken, ignored) = (woken.get(), ignored.get());
    assert!(
        woken > 50 && ignored > 50,
        "{woken} woken, {ignored} ignored"
    );
}
