//! OAuth grants, budgets per quota user, delayed log entries, and limits on channels.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Reply, World};

const ACCOUNT: &str = "sync@project.iam.gserviceaccount.com";

impl World {
    async fn token(&self, form: &str) -> Reply {
        let request = Request::post("/token").body(Body::from(form.to_owned()));
        self.send(request.expect("a request")).await
    }

    async fn refreshed(&self, user: &str) -> Reply {
        self.token(&format!(
            "grant_type=refresh_token&refresh_token=user:{user}"
        ))
        .await
    }

    async fn as_service_account(&self, subject: Option<&str>) -> Reply {
        let now = self.simulator.now_ms() / 1_000;
        let mut claims = json!({
            "iss": ACCOUNT, "scope": "drive", "aud": "https://oauth2.googleapis.com/token",
            "iat": now, "exp": now + 3_600,
        });
        if let Some(subject) = subject {
            claims["sub"] = json!(subject);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let jwt = format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(&claims));
        self.token(&format!(
            "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={jwt}"
        ))
        .await
    }

    async fn about(&self, granted: &Reply) -> Reply {
        let token = granted.ok()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let request = Request::get("/drive/v3/about?fields=user/emailAddress")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).expect("a request"))
            .await
    }
}

fn oauth_error(reply: &Reply) -> (u16, String) {
    let body: Value = serde_json::from_slice(&reply.bytes).expect("JSON");
    assert!(body["error_description"].is_string(), "{body}");
    (
        reply.status.as_u16(),
        body["error"].as_str().expect("an error").to_owned(),
    )
}

#[tokio::test]
async fn the_grants_of_a_revoked_user_are_refused_until_restored() {
    let world = World::new();
    let (owner, alice) = (
        world.refreshed("owner").await,
        world.refreshed("alice").await,
    );
    let command = json!({"user": "owner@example.com", "revoked": true});
    world.control("POST", "grants", command).await;
    assert_eq!(
        oauth_error(&world.refreshed("owner").await),
        (400, "invalid_grant".to_owned())
    );
    assert_eq!(
        oauth_error(&world.as_service_account(Some("owner@example.com")).await),
        (400, "invalid_grant".to_owned())
    );
    assert_eq!(
        world.about(&owner).await.refused(),
        (401, "authError".to_owned())
    );
    assert_eq!(world.about(&alice).await.status, StatusCode::OK);
    let mended = json!({"user": "owner", "revoked": false});
    world.control("POST", "grants", mended).await;
    assert_eq!(
        world.about(&owner).await.refused(),
        (401, "authError".to_owned()),
        "permanently invalid"
    );
    let fresh = world.refreshed("owner").await;
    assert_eq!(world.about(&fresh).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_refresh_token_or_one_service_account_can_be_revoked_alone() {
    let world = World::new();
    let (refreshed, account) = (
        world.refreshed("owner").await,
        world.as_service_account(Some("owner@example.com")).await,
    );
    world
        .control(
            "POST",
            "grants",
            json!({"refresh_token": "user:owner", "revoked": true}),
        )
        .await;
    assert_eq!(world.about(&refreshed).await.refused().0, 401);
    assert_eq!(world.about(&account).await.status, StatusCode::OK);
    world
        .control(
            "POST",
            "grants",
            json!({"service_account": ACCOUNT, "revoked": true}),
        )
        .await;
    assert_eq!(world.about(&account).await.refused().0, 401);
    assert_eq!(
        oauth_error(&world.as_service_account(None).await),
        (400, "invalid_grant".to_owned())
    );
}

#[tokio::test]
async fn without_delegation_a_service_account_acts_only_as_itself() {
    let world = World::new();
    let delegated = world.as_service_account(Some("alice@example.com")).await;
    assert_eq!(
        world.about(&delegated).await.ok(),
        json!({"user": {"emailAddress": "alice@example.com"}})
    );
    let command = |delegated: bool| json!({"service_account": ACCOUNT, "delegated": delegated});
    world.control("POST", "grants", command(false)).await;
    assert_eq!(
        oauth_error(&world.as_service_account(Some("alice@example.com")).await),
        (401, "unauthorized_client".to_owned())
    );
    assert_eq!(world.about(&delegated).await.refused().0, 401);
    assert_eq!(world.as_service_account(None).await.status, StatusCode::OK);
    world.control("POST", "grants", command(true)).await;
    assert_eq!(
        world
            .as_service_account(Some("alice@example.com"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_lifetime_of_access_tokens_can_be_set() {
    let world = World::new();
    world
        .control("POST", "grants", json!({"access_token_seconds": 60}))
        .await;
    let granted = world.refreshed("owner").await;
    assert_eq!(granted.ok()["expires_in"], 60);
    world.simulator.advance_clock(59);
    assert_eq!(world.about(&granted).await.status, StatusCode::OK);
    world.simulator.advance_clock(2);
    assert_eq!(world.about(&granted).await.refused().0, 401);
}

#[tokio::test]
async fn a_grant_command_needs_exactly_one_subject_and_an_action() {
    let world = World::new();
    for bad in [
        json!({}),
        json!({"user": "owner"}),
        json!({"revoked": true}),
        json!({"user": "owner", "refresh_token": "user:owner", "revoked": true}),
        json!({"user": "owner", "delegated": false}),
        json!({"access_token_seconds": 0}),
    ] {
        let reply = world.call("POST", "/_control/grants", bad.clone()).await;
        assert_eq!(reply.status.as_u16(), 400, "{bad}");
    }
}

#[tokio::test]
async fn each_quota_user_has_a_budget_and_each_log_a_count() {
    let world = World::new();
    world
        .control("POST", "quota", json!({"units_per_minute_per_user": 100}))
        .await;
    let token = world.start_token("alice", "quotaUser=start").await;
    let list = |quota_user: &str| format!("/drive/v3/changes?pageToken={token}&{quota_user}");
    let world = &world;
    let call =
        |query: String| async move { world.call_as("alice", "GET", &query, Value::Null).await };
    call(list("quotaUser=a")).await.ok();
    assert_eq!(
        call(list("quotaUser=a")).await.refused(),
        (403, "userRateLimitExceeded".to_owned())
    );
    call(list("quotaUser=b")).await.ok();
    call(list("")).await.ok();
    let counters = world.control("GET", "counters", Value::Null).await;
    assert_eq!(
        counters["by_quota_user"],
        json!({"start": 5, "a": 100, "b": 100, "alice": 100})
    );
    assert_eq!(counters["by_log"], json!({"user:alice": 3}));
}

#[tokio::test]
async fn a_delayed_entry_appears_on_time_and_is_never_skipped() {
    let world = World::new();
    let start = world.start_token("owner", "").await;
    world
        .control("POST", "visibility", json!({"delay_seconds": 90}))
        .await;
    let late = world.file("late");
    let (found, next) = world.changes("owner", start, "").await;
    assert_eq!(found, []);
    assert_eq!(
        next,
        world.start_token("owner", "").await,
        "a start token does not skip hidden entries"
    );
    world.simulator.advance_clock(91);
    let hidden = world.file("hidden");
    let (found, next) = world.changes("owner", next, "").await;
    assert_eq!(found, [(late, false)]);
    world
        .control("POST", "visibility", json!({"delay_seconds": 0}))
        .await;
    assert_eq!(world.changes("owner", next, "").await.0, [(hidden, false)]);
}

#[tokio::test]
async fn watch_calls_are_limited_by_count_by_minute_and_by_file() {
    let world = World::new();
    let (token, file) = (world.start_token("owner", "").await, world.file("a"));
    let other = world.file("b");
    let world = &world;
    let watch = |number: u32, path: String| async move {
        let body = json!({
            "id": format!("channel-{number}"), "type": "web_hook",
            "address": "http://127.0.0.1:9/hook",
        });
        world.call("POST", &path, body).await
    };
    let log = format!("/drive/v3/changes/watch?pageToken={token}");
    let of_file = |id: &str| format!("/drive/v3/files/{id}/watch");
    let throttled = (403, "subscriptionRateLimitExceeded".to_owned());
    world
        .control(
            "POST",
            "watches",
            json!({
                "refuse": 1, "log_channels_per_minute": 1, "file_channels_per_minute": 2,
                "channels_per_file_per_minute": 1,
            }),
        )
        .await;
    assert_eq!(watch(1, log.clone()).await.refused(), throttled);
    watch(1, log.clone()).await.ok();
    assert_eq!(watch(2, log.clone()).await.refused(), throttled);
    watch(3, of_file(&file)).await.ok();
    assert_eq!(watch(4, of_file(&file)).await.refused(), throttled);
    watch(5, of_file(&other)).await.ok();
    let third = world.file("c");
    assert_eq!(watch(6, of_file(&third)).await.refused(), throttled);
    world.simulator.advance_clock(60);
    watch(2, log).await.ok();
}
