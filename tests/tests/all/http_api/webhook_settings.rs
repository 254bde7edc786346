//! The settings of webhook endpoints: who sees and changes them, what is refused, what is shown.

use std::path::Path;

use domain::Role;
use domain::rate_limit::TenantLimits;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use crate::support::{Answer, LATER, Setup, World, eventually, own, own_with, own_with_key};

const WEBHOOKS: &str = "/v1/webhooks";

fn body(name: &str) -> Value {
    json!({"name": name, "url": "https://hooks.example.com/drivesync"})
}

async fn made(world: &World, body: Value) -> Value {
    let answer = world.ask(Method::POST, WEBHOOKS, Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

fn at(webhook: &Value) -> String {
    format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap())
}

/// Sends a request with any version of what it changes.
async fn send(
    world: &World,
    token: &str,
    (method, path): (Method, &str),
    key: Option<&str>,
    body: Option<Value>,
) -> Answer {
    let mut headers = vec![("if-match", "*")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let body = body.map(|body| body.to_string());
    let token = Some(token);
    world
        .call(token, method, path, &headers, body.as_deref())
        .await
}

fn operator(folder: &Path, subject: &str, groups: &[&str]) -> String {
    let token = Identity::open(folder).unwrap().sign(json!({
        "sub": subject, "custom:tenant": "local", "custom:role": Role::Operator.as_str(),
        "cognito:groups": groups, "exp": LATER,
    }));
    token.unwrap()
}

#[test]
fn a_webhook_exists_for_those_only_who_operate_all_of_its_connections() {
    own_with_key(async |world, folder| {
        let of_one = body("one");
        let of_one = {
            let mut body = of_one;
            body["connections"] = json!([world.connection]);
            body
        };
        let (one, all) = (
            made(world, of_one.clone()).await,
            made(world, body("all")).await,
        );
        let (bob, ann) = (
            operator(folder, "bob", &[]),
            operator(folder, "ann", &["finance"]),
        );
        let list = async |token: &str| -> usize {
            let answer = send(world, token, (Method::GET, WEBHOOKS), None, None).await;
            answer.body["items"].as_array().unwrap().len()
        };
        assert_eq!(list(&bob).await, 2);
        let access = json!([{"principal": "group:finance", "role": "operator"}]);
        world.configure(json!({"access": access})).await;
        assert_eq!((list(&bob).await, list(&ann).await), (0, 2));
        for webhook in [&one, &all] {
            let path = at(webhook);
            let to = |rest: &str| format!("{path}{rest}");
            let replay = json!({"connection": world.connection, "after": "00000000000000ab.1.0"});
            for (method, path, body) in [
                (Method::GET, to(""), None),
                (Method::PATCH, to(""), Some(json!({"name": "mine"}))),
                (Method::DELETE, to(""), None),
                (Method::POST, to("/test"), None),
                (Method::POST, to("/rotate"), None),
                (Method::GET, to("/deliveries"), None),
                (Method::POST, to("/replay"), Some(replay)),
            ] {
                let answer = send(world, &bob, (method.clone(), &path), None, body).await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
            }
        }
        let refused = send(world, &bob, (Method::POST, WEBHOOKS), None, Some(of_one)).await;
        let pointer = &refused.body["pointer"];
        assert_eq!((refused.status, pointer), (404, &json!("/connections/0")));
        // What bob makes of all connections gets the events of those that he reads.
        let of_bob = send(
            world,
            &bob,
            (Method::POST, WEBHOOKS),
            None,
            Some(body("bob's")),
        )
        .await;
        assert_eq!(of_bob.body["made_by"], "bob");
        assert_eq!(list(&bob).await, 1);
        // Ann answers for what she directs elsewhere.
        let patch = json!({"url": "https://other.example.com/"});
        let changed = send(world, &ann, (Method::PATCH, &at(&one)), None, Some(patch)).await;
        assert_eq!(
            (changed.status, &changed.body["made_by"]),
            (200, &json!("ann"))
        );
    });
}

#[test]
fn a_secret_is_shown_once_and_another_one_after_a_rotation() {
    own(async |world| {
        let token = world.token.as_str();
        let post = (Method::POST, WEBHOOKS);
        let first = send(world, token, post.clone(), Some("k1"), Some(body("x"))).await;
        assert_eq!(first.status, 201, "{}", first.body);
        let secret = first.body["secret"].as_str().unwrap().to_owned();
        assert!(secret.starts_with("whsec_"), "{secret}");
        let again = send(world, token, post, Some("k1"), Some(body("x"))).await;
        assert!(again.headers.contains_key("idempotent-replayed"));
        assert_eq!(again.body["id"], first.body["id"]);
        assert_eq!(again.body.get("secret"), None);
        let path = at(&first.body);
        let shown = world.ask(Method::GET, &path, None).await;
        assert_eq!(shown.body.get("secret"), None);
        assert_eq!(shown.headers["etag"], first.headers["etag"]);
        let rotate = format!("{path}/rotate");
        let rotated = send(world, token, (Method::POST, &rotate), Some("k2"), None).await;
        assert_eq!(rotated.status, 200, "{}", rotated.body);
        assert_ne!(rotated.body["secret"], json!(secret));
        assert_eq!(rotated.body["secret_generation"], 2);
        assert!(rotated.body["previous_secret_until"].is_string());
        let again = send(world, token, (Method::POST, &rotate), Some("k2"), None).await;
        assert_eq!(
            (again.status, &again.body["secret_generation"]),
            (200, &json!(2))
        );
        assert_eq!(again.body.get("secret"), None);
        assert_ne!(rotated.headers["etag"], first.headers["etag"]);
        // No secret is in the audit trail.
        let acts = world.ask(Method::GET, "/v1/audit?limit=100", None).await;
        let acts = acts.body.to_string();
        assert!(acts.contains("rotate_webhook_secret") && acts.contains("create_webhook"));
        assert!(!acts.contains("whsec_"), "{acts}");
    });
}

#[test]
fn what_is_no_setting_of_a_webhook_is_refused_and_changes_nothing() {
    own(async |world| {
        let webhook = made(world, body("x")).await;
        let path = at(&webhook);
        let token = world.token.as_str();
        for (patch, pointer) in [
            (json!({"secret": "whsec_x"}), "/secret"),
            (json!({"url": "http://hooks.example.com/"}), "/url"),
            (json!({"url": "https://me@hooks.example.com/"}), "/url"),
            (json!({"url": "https://hooks.example.com:22/"}), "/url"),
            (json!({"url": "https://[::ffff:10.0.0.1]/"}), "/url"),
            (json!({"url": null}), "/url"),
            (json!({"types": ["file:eaten"]}), "/types/0"),
            (json!({"state": "paused"}), "/state"),
            (json!({"state": null}), "/state"),
            (json!({"connections": []}), "/connections"),
            (json!({"made_by": "eve"}), "/made_by"),
        ] {
            let request = (Method::PATCH, path.as_str());
            let answer = send(world, token, request, None, Some(patch.clone())).await;
            let found = (answer.status, &answer.body["pointer"]);
            assert_eq!(found, (422, &json!(pointer)), "{patch}: {}", answer.body);
        }
        let missing = world
            .ask(Method::PATCH, &path, Some(json!({"name": "y"})))
            .await;
        assert_eq!(missing.status, 428);
        let tag = [("if-match", "\"7\"")];
        let stale = world
            .call(
                Some(token),
                Method::PATCH,
                &path,
                &tag,
                Some(r#"{"name": "y"}"#),
            )
            .await;
        assert_eq!(
            (stale.status, &stale.body["current"]["name"]),
            (412, &json!("x"))
        );
        let shown = world.ask(Method::GET, &path, None).await.body;
        assert_eq!(
            (&shown["name"], &shown["url"]),
            (&webhook["name"], &webhook["url"])
        );

        let disabled = json!({"state": "disabled", "types": ["file:moved"], "name": "y"});
        let answer = send(world, token, (Method::PATCH, &path), None, Some(disabled)).await;
        assert_eq!(
            answer.body["disabled"]["reason"], "person",
            "{}",
            answer.body
        );
        let active = json!({"state": "active", "types": null});
        let answer = send(world, token, (Method::PATCH, &path), None, Some(active)).await;
        let found = (
            &answer.body["disabled"],
            &answer.body["types"],
            &answer.body["name"],
        );
        assert_eq!(found, (&Value::Null, &json!([]), &json!("y")));
    });
}

#[test]
fn regression_a_webhook_is_on_no_host_of_the_system() {
    own(async |world| {
        let webhook = made(world, body("x")).await;
        let (path, token) = (at(&webhook), world.token.as_str());
        let (_, api) = world.api_url.rsplit_once(':').unwrap();
        let (_, drive) = world.drive_url.rsplit_once(':').unwrap();
        for url in [
            format!("http://127.0.0.1:{api}/v1/connections"),
            format!("http://localhost:{api}/"),
            format!("https://LOCALHOST:{api}"),
            format!("http://127.8.9.10:{api}/?x=y"),
            format!("http://[::1]:{api}/"),
            format!("http://127.0.0.1:{drive}/"),
        ] {
            let change = Some(json!({"url": url}));
            let mut new = body("y");
            new["url"] = json!(url);
            for (method, path, body) in [
                (Method::POST, WEBHOOKS, Some(new)),
                (Method::PATCH, path.as_str(), change),
            ] {
                let answer = send(world, token, (method, path), None, body).await;
                let found = (answer.status, &answer.body["pointer"]);
                assert_eq!(found, (422, &json!("/url")), "{url}: {}", answer.body);
                let detail = answer.body["detail"].as_str().unwrap();
                assert!(detail.contains("part of the system"), "{detail}");
            }
        }
        let shown = world.ask(Method::GET, &path, None).await;
        assert_eq!(shown.body["url"], webhook["url"]);
        let list = world.ask(Method::GET, WEBHOOKS, None).await.body;
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn events_are_replayed_from_a_place_in_the_log_of_a_connection_and_no_other() {
    own(async |world| {
        let webhook = made(world, body("x")).await;
        let file = world.take();
        world.edit_ok(&file, json!({"name": "renamed.txt"})).await;
        let cursor = eventually("there is an event", async || {
            let list = world.get("/events").await;
            let first = list["items"].as_array().unwrap().first().cloned();
            first.map(|event| event["sequence"].as_str().unwrap().to_owned())
        })
        .await;
        let path = format!("{}/replay", at(&webhook));
        let replay = async |connection: &str, after: &str| {
            let body = json!({"connection": connection, "after": after});
            world.ask(Method::POST, &path, Some(body)).await
        };
        let own = world.connection.as_str();
        assert_eq!(replay(own, &cursor).await.status, 202);
        assert_eq!(replay("c_none", &cursor).await.status, 404);
        assert_eq!(replay(own, "12").await.status, 422);
        let foreign = replay(own, "00000000000000ab.1.0").await;
        assert_eq!(foreign.status, 410, "{}", foreign.body);
        assert_eq!(foreign.body["type"], "urn:drivesync:problem:cursor-expired");
        assert!(foreign.body["current"]["head"].is_string());
    });
}

#[test]
fn a_tenant_has_as_many_webhooks_as_its_limit_says() {
    let setup = Setup {
        limits: TenantLimits::none().with("webhooks=3").unwrap(),
        ..Setup::default()
    };
    own_with(setup, async |world| {
        for number in 0..3 {
            made(world, body(&number.to_string())).await;
        }
        let over = world.ask(Method::POST, WEBHOOKS, Some(body("over"))).await;
        assert_eq!(
            (over.status, &over.body["limit"]),
            (429, &json!("webhooks"))
        );
        let limits = world.ask(Method::GET, "/v1/limits", None).await.body;
        let limits = limits["items"].as_array().unwrap().iter();
        let mut limits = limits.filter(|limit| limit["name"] == "webhooks");
        let wanted = json!({"name": "webhooks", "max": 3, "used": 3});
        assert_eq!(limits.next(), Some(&wanted));
        let list = world.ask(Method::GET, WEBHOOKS, None).await.body;
        let first = &list["items"][0];
        let deleted = world.ask(Method::DELETE, &at(first), None).await;
        assert_eq!(deleted.status, 204);
        assert_eq!(world.ask(Method::GET, &at(first), None).await.status, 404);
        made(world, body("over")).await;
    });
}
