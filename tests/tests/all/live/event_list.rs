//! The event log through the HTTP API. The events are appended here: heartbeats, which nothing else
//! appends within a week.

use std::cell::Cell;
use std::collections::BTreeSet;

use domain::event::{Author, Details, Epoch, Event, EventType, Subject};
use futures_util::future::join_all;
use http::Method;
use serde_json::Value;
use store::{Appending, Nonce};

use crate::support::{Answer, World, eventually, own};

fn heartbeat(state: &str, world: &World) -> Event {
    Event {
        kind: EventType::SyncHeartbeat,
        subject: Subject::Connection,
        state: state.to_owned(),
        at: world.now(),
        by: Author::App,
        cause: None,
        details: Details::default(),
    }
}

async fn append(world: &World, numbers: std::ops::Range<u64>) {
    let appending = Appending {
        table: None,
        fresh: Epoch(numbers.start + 1),
        nonce: Nonce(numbers.start << 8),
        now: world.now(),
    };
    let events: Vec<Event> = numbers.map(|n| heartbeat(&n.to_string(), world)).collect();
    let appended = world.store().append_events(&world.key, &events, &appending);
    appended.await.unwrap();
}

async fn list(world: &World, query: &str) -> Answer {
    let path = format!("/events?types=sync:heartbeat&{query}");
    world.api(Method::GET, &path, &[], None).await
}

/// Returns the end of the log.
async fn head(world: &World) -> String {
    let body = list(world, "after=latest").await.body;
    body["head"].as_str().unwrap().to_owned()
}

fn ids(answer: &Answer) -> Vec<String> {
    let items = answer.body["items"].as_array().unwrap();
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[test]
fn events_are_read_page_by_page_from_any_of_them() {
    own(async |world| {
        append(world, 0..60).await;
        let mut found = Vec::new();
        let mut sequences = Vec::new();
        let mut after = String::new();
        loop {
            let page = list(world, &format!("limit=20{after}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            let items = ids(&page);
            if items.is_empty() && page.body["next_cursor"] == page.body["head"] {
                break;
            }
            found.extend(items);
            for item in page.body["items"].as_array().unwrap() {
                assert_eq!(item["specversion"], "1.0");
                let source = format!("/v1/connections/{}", world.key.connection);
                assert_eq!(item["source"], source);
                sequences.push(item["sequence"].as_str().unwrap().to_owned());
            }
            after = format!("&after={}", page.body["next_cursor"].as_str().unwrap());
        }
        let expected: Vec<String> = (0..60).map(|n| format!("{n}.sync:heartbeat")).collect();
        assert_eq!(found, expected);
        let from_there = list(world, &format!("after={}&limit=500", sequences[41])).await;
        assert_eq!(ids(&from_there), expected[42..]);
        let latest = list(world, "after=latest").await;
        assert!(ids(&latest).is_empty());
        assert_eq!(latest.body["next_cursor"], latest.body["head"]);
    });
}

#[test]
fn a_request_waits_for_an_event_and_few_wait_at_once() {
    own(async |world| {
        append(world, 0..1).await;
        let latest = list(world, "after=latest").await;
        let after = latest.body["next_cursor"].as_str().unwrap().to_owned();
        let refusals = Cell::new(0);
        let wait = || async {
            let answer = list(world, &format!("after={after}&wait=20")).await;
            let refused = answer.headers.contains_key("retry-after");
            refusals.set(refusals.get() + u32::from(refused));
            (ids(&answer), refused)
        };
        // Of ten, five wait until something happens; the others are answered at once.
        let told = async {
            eventually("five requests are answered at once", async || {
                (refusals.get() == 5).then_some(())
            })
            .await;
            append(world, 1..2).await;
        };
        let (answers, ()) = tokio::join!(join_all((0..10).map(|_| wait())), told);
        let waited = answers.iter().filter(|(_, refused)| !refused);
        let waited: Vec<&Vec<String>> = waited.map(|(ids, _)| ids).collect();
        assert_eq!(waited.len(), 5, "{answers:?}");
        assert!(waited.iter().all(|ids| *ids == &["1.sync:heartbeat"]));
        // They have ended, and there is room again.
        append(world, 2..3).await;
        let (ids, refused) = wait().await;
        assert_eq!((ids.len(), refused), (2, false));
    });
}

#[test]
fn a_cursor_that_is_not_of_the_log_is_refused_with_what_to_do() {
    own(async |world| {
        append(world, 0..1).await;
        let expired: [fn(&str, &str) -> String; 3] = [
            |_, _| "00000000000000ff.1.0".to_owned(),
            |epoch, _| format!("{epoch}.999999.0"),
            |_, last| format!("{last}.24"),
        ];
        for expired in expired {
            // The first sync's events may still be appended beside it.
            let (head, expired, answer) = eventually("the log stands still", async || {
                let head = head(world).await;
                let (last, _) = head.rsplit_once('.').unwrap();
                let (epoch, _) = last.split_once('.').unwrap();
                let expired = expired(epoch, last);
                let answer = list(world, &format!("after={expired}")).await;
                (self::head(world).await == head).then_some((head, expired, answer))
            })
            .await;
            assert_eq!(answer.status, 410, "{expired}: {}", answer.body);
            assert_eq!(answer.body["type"], "urn:drivesync:problem:cursor-expired");
            assert_eq!(answer.body["current"]["head"], head);
            let from_head = list(world, &format!("after={head}")).await;
            assert_eq!(from_head.status, 200, "{}", from_head.body);
        }
        let mut parameters = BTreeSet::new();
        for malformed in [
            "after=12",
            "after=1.2.3",
            "after=latest.",
            "wait=21",
            "limit=0",
            "file=a%2Fb",
            "folder=",
        ] {
            let answer = list(world, malformed).await;
            assert_eq!(answer.status, 400, "{malformed}: {}", answer.body);
            parameters.insert(answer.body["parameter"].as_str().unwrap().to_owned());
        }
        assert_eq!(parameters.len(), 5);
        let unknown = world
            .api(Method::GET, "/events?types=file:gone", &[], None)
            .await;
        assert_eq!(unknown.body["parameter"], "types", "{}", unknown.body);
    });
}
