//! Requests with an `Idempotency-Key`: a repeat is answered for a day, whatever came in between.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, ByHand, Outside, by_hand, own};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Sends a request with a key, to a path of any connection.
async fn send(world: &Outside, method: Method, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key), ("if-match", "*")];
    let body = match body {
        Value::Null => None,
        body => Some(body.to_string()),
    };
    let token = Some(world.token.as_str());
    world
        .call(token, method, path, &headers, body.as_deref())
        .await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

fn is_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let wanted = format!("urn:drivesync:problem:{kind}");
    assert_eq!(answer.body["type"], wanted, "{}", answer.body);
}

#[test]
fn regression_a_key_is_remembered_whatever_came_in_between() {
    by_hand(4, async |hand: &ByHand| {
        let file = hand.take();
        let path = format!("/v1/connections/{}/files/{file}", hand.connection);
        let named = async |key: &str, name: &str| {
            send(hand, Method::PATCH, &path, key, &json!({ "name": name })).await
        };
        let name = async || hand.file(&file).await["fields"]["name"].clone();
        for (key, new) in [("k1", "one.txt"), ("k2", "two.txt"), ("k3", "three.txt")] {
            let first = named(key, new).await;
            assert_eq!((first.status, replayed(&first)), (200, false), "{key}");
        }
        for (key, new) in [("k1", "one.txt"), ("k2", "two.txt"), ("k1", "one.txt")] {
            let again = named(key, new).await;
            assert_eq!((again.status, replayed(&again)), (200, true), "{key}");
            assert_eq!(again.body["fields"]["name"], "three.txt", "the file now");
            assert!(again.headers.contains_key("etag"));
        }
        assert_eq!(name().await, "three.txt");
        is_problem(
            &named("k1", "other.txt").await,
            422,
            "idempotency-key-reused",
        );

        // The same key of another method or path is another key.
        let other = hand.take();
        let elsewhere = path.replace(&file, &other);
        let body = json!({"name": "one.txt"});
        let first = send(hand, Method::PATCH, &elsewhere, "k1", &body).await;
        assert_eq!((first.status, replayed(&first)), (200, false));

        hand.advance_clock(DAY - Duration::from_secs(60));
        assert!(replayed(&named("k1", "one.txt").await));
        hand.advance_clock(Duration::from_secs(61));
        let anew = named("k1", "again.txt").await;
        assert_eq!(
            (anew.status, replayed(&anew)),
            (200, false),
            "a day has passed"
        );
        assert_eq!(name().await, "again.txt");
    });
}

#[test]
fn regression_a_connection_made_again_with_its_key_has_nothing_of_the_old_one() {
    by_hand(4, async |hand: &ByHand| {
        let connections = "/v1/connections";
        let body = json!({"name": "Once", "scope": {"type": "user"}, "secret": "drive"});
        let post = async |body: &Value| send(hand, Method::POST, connections, "once", body).await;
        let first = post(&body).await;
        assert_eq!(
            (first.status, replayed(&first)),
            (201, false),
            "{}",
            first.body
        );
        hand.pump().await;
        let id = |answer: &Answer| answer.body["id"].as_str().unwrap().to_owned();
        let old = id(&first);
        let again = post(&body).await;
        assert_eq!((again.status, id(&again)), (200, old.clone()));
        assert!(replayed(&again));
        assert_eq!(again.headers["location"], format!("{connections}/{old}"));

        // An edit is owed to Drive when the connection is deleted.
        let file = hand.take();
        let of = |connection: &str| format!("{connections}/{connection}/files/{file}");
        send(
            hand,
            Method::POST,
            &format!("{connections}/{old}/pause"),
            "p",
            &Value::Null,
        )
        .await;
        let edited = send(
            hand,
            Method::PATCH,
            &of(&old),
            "e",
            &json!({"name": "old.txt"}),
        )
        .await;
        assert_eq!(edited.status, 200, "{}", edited.body);
        let path = format!("{connections}/{old}");
        let gone = send(hand, Method::DELETE, &path, "d", &Value::Null).await;
        assert_eq!(gone.status, 204, "{}", gone.body);
        let gone = send(hand, Method::DELETE, &path, "d", &Value::Null).await;
        assert_eq!((gone.status, replayed(&gone)), (204, true), "{}", gone.body);

        is_problem(&post(&body).await, 410, "was-deleted");
        let mut other = body.clone();
        other["name"] = json!("Another");
        is_problem(&post(&other).await, 422, "idempotency-key-reused");
        is_problem(
            &send(
                hand,
                Method::PATCH,
                &of(&old),
                "e",
                &json!({"name": "old.txt"}),
            )
            .await,
            410,
            "was-deleted",
        );

        hand.advance_clock(DAY);
        let anew = post(&body).await;
        assert_eq!(anew.status, 201, "{}", anew.body);
        assert_ne!(id(&anew), old);
        hand.sweep_and_pump().await;
        let shown = hand
            .call(Some(&hand.token), Method::GET, &of(&id(&anew)), &[], None)
            .await;
        assert_eq!(shown.status, 200, "{}", shown.body);
        assert!(shown.body["intent"].is_null(), "{}", shown.body);
        assert_ne!(hand.owner().name_of(&file).await, "old.txt");
    });
}

#[test]
fn every_request_that_writes_takes_a_key() {
    own(async |world| {
        let connection = format!("/v1/connections/{}", world.connection);
        let file = world.take();
        let post = Method::POST;
        for (method, path, body) in [
            (Method::PATCH, String::new(), json!({"name": "Renamed"})),
            (post.clone(), "/pause".to_owned(), Value::Null),
            (post.clone(), "/resume".to_owned(), Value::Null),
            (post.clone(), "/sync".to_owned(), json!({"mode": "delta"})),
            (
                post.clone(),
                "/sync".to_owned(),
                json!({"mode": "audit", "dry_run": true}),
            ),
            (post.clone(), format!("/intents/{file}/retry"), Value::Null),
            (post.clone(), format!("/intents/{file}/cancel"), Value::Null),
            (
                post.clone(),
                "/files".to_owned(),
                json!({"name": "new.txt", "mime_type": "text/plain"}),
            ),
            (Method::DELETE, format!("/files/{file}"), Value::Null),
        ] {
            let path = format!("{connection}{path}");
            let key = format!("key of {}", body.to_string().len());
            let first = send(world, method.clone(), &path, &key, &body).await;
            assert!(first.status < 300, "{method} {path}: {}", first.body);
            assert!(!replayed(&first), "{method} {path}");
            let again = send(world, method.clone(), &path, &key, &body).await;
            assert!(again.status < 300, "{method} {path}: {}", again.body);
            assert!(replayed(&again), "{method} {path}");
            let names = |answer: &Answer| {
                let operation = answer.body["operation"]["id"].clone();
                (answer.body["id"].clone(), operation)
            };
            assert_eq!(names(&first), names(&again), "{method} {path}");
        }
        let path = "/v1/dead-letters/redrive";
        let body = json!({"all": true, "connection": world.connection});
        let first = send(world, post.clone(), path, "all", &body).await;
        let again = send(world, post, path, "all", &body).await;
        assert_eq!((again.status, &again.body), (200, &first.body));
        assert!(replayed(&again));
        // Reading needs no key, and a key changes nothing about it.
        let files = format!("{connection}/files");
        let read = send(world, Method::GET, &files, "key", &Value::Null).await;
        assert_eq!((read.status, replayed(&read)), (200, false));
    });
}

#[test]
fn of_requests_with_one_key_at_the_same_time_one_is_carried_out() {
    own(async |world| {
        let path = format!("/v1/connections/{}/files", world.connection);
        let body = json!({"name": "one of eight.txt", "mime_type": "text/plain"});
        let all = (0..8).map(|_| send(world, Method::POST, &path, "at once", &body));
        let all = futures_util::future::join_all(all).await;
        let ids: std::collections::BTreeSet<_> = all
            .iter()
            .map(|answer| {
                assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
                answer.body["id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        let made = all.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1);
    });
}
