//! What a client of a socket gets.

use domain::Role;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use super::{append, applied, connect, open, subjects, ticket};
use crate::support::{LATER, own, own_with_key, shared};

#[test]
fn a_ticket_opens_one_socket() {
    shared(async |world| {
        let given = ticket(world, &world.token).await;
        assert_eq!(given.status, 201, "{}", given.body);
        let url = given.body["url"].as_str().unwrap();
        assert!(url.starts_with("ws://"), "{url}");
        assert!(url.ends_with(given.body["ticket"].as_str().unwrap()));
        let mut first = open(url).await.unwrap();
        assert_eq!(open(url).await.err(), Some(401), "the second time");
        first.send(json!({"action": "ping"})).await;
        assert_eq!(first.frame().await, json!({"type": "pong"}));
        let (address, _) = url.split_once('?').unwrap();
        for forged in [
            "",
            "?ticket=",
            "?ticket=x",
            &format!("?ticket={}", "A".repeat(43)),
        ] {
            let forged = format!("{address}{forged}");
            assert_eq!(open(&forged).await.err(), Some(401), "{forged}");
        }
        let none = world.call(None, Method::POST, "/v1/live/tickets", &[], None);
        assert_eq!(none.await.status, 401);
        let keyed = [("idempotency-key", "once")];
        let path = "/v1/live/tickets";
        let token = Some(world.token.as_str());
        for wanted in [201, 410] {
            let answer = world.call(token, Method::POST, path, &keyed, None).await;
            assert_eq!(answer.status, wanted, "{}", answer.body);
        }
    });
}

#[test]
fn a_ticket_that_was_given_is_an_act() {
    own(async |world| {
        ticket(world, &world.token).await;
        let acts = world.call(Some(&world.token), Method::GET, "/v1/audit", &[], None);
        let acts = acts.await.body;
        let mut acts = acts["items"].as_array().unwrap().iter();
        assert!(acts.any(|act| act["what"] == "create_live_ticket"));
    });
}

#[test]
fn a_socket_gets_events_in_order_and_resumes_where_it_stands() {
    own(async |world| {
        let mut client = connect(world, &world.token).await;
        let hello = client.subscribe(world, json!({})).await;
        assert_eq!(
            (&hello["type"], &hello["protocol"]),
            (&json!("hello"), &json!(1))
        );
        let mut place = hello["head"].clone();
        let mut seen = Vec::new();
        for number in 0..20 {
            append(world, &[&format!("file{number}")]).await;
        }
        while seen.len() < 20 {
            let frame = client.frame().await;
            seen.extend(applied(world, &frame, &mut place).await);
        }
        let wanted: Vec<String> = (0..20).map(|n| format!("files/file{n}")).collect();
        assert_eq!(seen, wanted);
        drop(client);

        append(world, &["away"]).await;
        let mut again = connect(world, &world.token).await;
        again.subscribe(world, json!({ "after": place })).await;
        let missed = again.frame().await;
        assert_eq!(
            (&missed["after"], subjects(&missed)),
            (&place, vec!["files/away"])
        );
    });
}

#[test]
fn a_message_that_is_none_is_answered_and_the_socket_stays_open() {
    shared(async |world| {
        let mut client = connect(world, &world.token).await;
        for (message, reason) in [
            ("hello", "not-json"),
            ("{}", "unknown-action"),
            (r#"{"action":"$connect"}"#, "unknown-action"),
            (r#"{"action":"subscribe"}"#, "invalid-request"),
            (
                r#"{"action":"subscribe","connection":"c_none"}"#,
                "unknown-connection",
            ),
        ] {
            client.send_text(message).await;
            let frame = client.frame().await;
            assert_eq!(frame["reason"], reason, "{message}: {frame}");
        }
        let hello = client.subscribe(world, json!({})).await;
        assert_eq!(hello["type"], "hello");
    });
}

#[test]
fn a_connection_exists_on_a_socket_only_for_those_who_have_access() {
    own_with_key(async |world, folder| {
        let identity = Identity::open(folder).unwrap();
        let token = |tenant: &str, subject: &str| {
            identity
                .token_with_role(tenant, subject, Role::Viewer, LATER)
                .unwrap()
        };
        let mut ann = connect(world, &token("local", "ann")).await;
        let mut eve = connect(world, &token("other", "eve")).await;
        assert_eq!(ann.subscribe(world, json!({})).await["type"], "hello");
        let refused = eve.subscribe(world, json!({})).await;
        assert_eq!(refused["reason"], "unknown-connection");
        append(world, &["first"]).await;
        assert_eq!(subjects(&ann.frame().await), ["files/first"]);

        let any = [("if-match", "*")];
        let narrowed = json!({"access": [{"principal": "user:bob", "role": "viewer"}]});
        let path = format!("/v1/connections/{}", world.connection);
        let body = narrowed.to_string();
        let token = Some(world.token.as_str());
        let patched = world.call(token, Method::PATCH, &path, &any, Some(&body));
        let patched = patched.await;
        assert_eq!(patched.status, 200, "{}", patched.body);
        append(world, &["second"]).await;
        let ended = ann.frame().await;
        assert_eq!(ended["reason"], "unknown-connection", "{ended}");
        let again: Value = ann.subscribe(world, json!({})).await;
        assert_eq!(
            (&again["reason"], &again["detail"]),
            (&refused["reason"], &refused["detail"])
        );
    });
}
