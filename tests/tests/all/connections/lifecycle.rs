//! A connection's lifecycle: the checks before it is created, its suspension and recovery, its
//! deletion.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::accounts::store_text;
use crate::support::{Answer, Team, World, credentials, eventually, own};

async fn connect(world: &World, body: Value) -> Answer {
    let path = "/v1/connections";
    world.ask(Method::POST, path, Some(body)).await
}

async fn connections(world: &World) -> usize {
    let answer = world.ask(Method::GET, "/v1/connections", None).await;
    answer.body["items"].as_array().unwrap().len()
}

/// Revokes the grant of the connection's user, or restores it.
async fn revoke(world: &World, revoked: bool) {
    let order = json!({"user": "owner", "revoked": revoked});
    world.control(Method::POST, "grants", order).await;
}

#[test]
fn invalid_credentials_and_scopes_are_rejected_before_anything_is_created() {
    own(async |world| {
        store_text(world, "empty", "{}").await;
        store_text(world, "revoked", &credentials(&world.drive_url, "bob")).await;
        world
            .control(
                Method::POST,
                "grants",
                json!({"user": "bob", "revoked": true}),
            )
            .await;
        let user = json!({"type": "user"});
        let team = json!({"type": "shared_drive", "drive_id": "0ANoSuchDrive"});
        // A drive that exists, of which the connection's user is no member.
        let closed = Team::make(world, "Closed").await;
        let closed = json!({"type": "shared_drive", "drive_id": closed.id});
        for (secret, scope, subject, pointer) in [
            ("nowhere", &user, Value::Null, "/secret"),
            ("empty", &user, Value::Null, "/secret"),
            ("revoked", &user, Value::Null, "/secret"),
            ("drive", &user, json!("ann@example.com"), "/subject"),
            ("drive", &team, Value::Null, "/scope/drive_id"),
            ("drive", &closed, Value::Null, "/scope/drive_id"),
        ] {
            let body = json!({"name": "x", "scope": scope, "secret": secret, "subject": subject});
            let answer = connect(world, body).await;
            assert_eq!(answer.status, 422, "{secret}: {}", answer.body);
            assert_eq!(answer.body["pointer"], pointer, "{secret}: {}", answer.body);
        }
        for body in [json!({"drop": true}), json!({"respond": {"status": 503}})] {
            let mut fault = body;
            fault["match"] = json!("GET /drive/v3/about*");
            world.fault(fault);
            let body = json!({"name": "x", "scope": user, "secret": "drive"});
            let answer = connect(world, body).await;
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert!(answer.headers.contains_key("retry-after"));
        }
        assert_eq!(connections(world).await, 1, "nothing was half made");
    });
}

#[test]
fn a_connection_can_be_limited_to_one_shared_drive() {
    own(async |world| {
        let order = json!({"name": "Team", "members": ["owner"]});
        let made = world.control(Method::POST, "drives", order).await;
        let drive = made["id"].as_str().unwrap();
        let body = json!({"name": "plan.txt", "mimeType": "text/plain", "parents": [drive]});
        let path = "/drive/v3/files?supportsAllDrives=true";
        let (status, file) = world.owner().call(Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{file}");
        let scope = json!({"type": "shared_drive", "drive_id": drive});
        let body = json!({"name": "Only this", "scope": scope, "secret": "drive",
            "quota_user": "acme"});
        // The same scope and secret may be connected twice.
        for _ in 0..2 {
            let answer = connect(world, body.clone()).await;
            assert_eq!(answer.status, 201, "{}", answer.body);
            assert_eq!(answer.body["quota_user"], "acme");
            let at = format!("/v1/connections/{}", answer.body["id"].as_str().unwrap());
            let get = async |path: &str| {
                let token = Some(world.token.as_str());
                let path = format!("{at}{path}");
                world.call(token, Method::GET, &path, &[], None).await.body
            };
            let files = eventually("its file has arrived", async || {
                let files = get("/files?limit=1000").await["items"].clone();
                let ids = files.as_array().unwrap().iter();
                let ids: BTreeSet<_> = ids.map(|f| f["id"].as_str().unwrap().to_owned()).collect();
                ids.contains(file["id"].as_str().unwrap()).then_some(ids)
            })
            .await;
            // Its root may be listed too: it has the drive's members.
            let own = [drive, file["id"].as_str().unwrap()];
            assert!(
                files.iter().all(|id| own.contains(&id.as_str())),
                "{files:?}"
            );
            let logs = get("/status").await["logs"].clone();
            assert_eq!(logs.as_array().unwrap().len(), 1, "{logs}");
            assert_eq!(logs[0]["drive"], json!({"id": drive, "name": "Team"}));
        }
    });
}

#[test]
fn a_revoked_grant_suspends_the_connection_and_nothing_is_lost() {
    own(async |world| {
        let (theirs, ours, both) = (world.take(), world.take(), world.take());
        revoke(world, true).await;
        world.owner().rename(&theirs, "theirs 1.txt").await;
        let status = world.state_until("suspended").await;
        assert!(status["suspension"]["reason"].is_string(), "{status}");
        assert_eq!(world.get("").await["state"], "suspended");
        // Both sides are edited while nothing can be synced.
        world.owner().rename(&theirs, "theirs 2.txt").await;
        world
            .owner()
            .update(&both, json!({"description": "theirs"}))
            .await;
        world.edit_ok(&ours, json!({"name": "ours.txt"})).await;
        world.edit_ok(&both, json!({"starred": true})).await;
        let delta = world
            .api(Method::POST, "/sync", &[], Some(json!({"mode": "delta"})))
            .await;
        assert_eq!(delta.status, 409, "{}", delta.body);

        revoke(world, false).await;
        // The sweep retries it after a quarter of an hour; the test makes it due now.
        let user = domain::LogId::user();
        let due = world.store().postpone_poll(&world.key, &user, world.now());
        due.await.unwrap();
        world.state_until("active").await;
        world.converge().await;
        assert_eq!(world.file(&theirs).await["fields"]["name"], "theirs 2.txt");
        assert_eq!(world.owner().name_of(&ours).await, "ours.txt");
        let merged = world.owner().get(&both).await;
        assert_eq!(merged["starred"], true);
        assert_eq!(merged["description"], "theirs");
    });
}

#[test]
fn a_resumed_connection_is_suspended_again_if_the_grant_is_still_revoked() {
    own(async |world| {
        let file = world.take();
        revoke(world, true).await;
        world.owner().rename(&file, "renamed.txt").await;
        world.state_until("suspended").await;
        world.post("/resume", json!({})).await;
        world.state_until("suspended").await;
        revoke(world, false).await;
        world.post("/resume", json!({})).await;
        world.state_until("active").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "renamed.txt";
        world.file_until("the rename", &file, renamed).await;
    });
}

#[test]
fn rotated_credentials_are_read_again_without_a_suspension() {
    own(async |world| {
        let file = world.take();
        // Another refresh token of the same user.
        store_text(
            world,
            "drive",
            &credentials(&world.drive_url, "owner@example.com"),
        )
        .await;
        let order = json!({"refresh_token": "user:owner", "revoked": true});
        world.control(Method::POST, "grants", order).await;
        world.owner().rename(&file, "after the rotation.txt").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "after the rotation.txt";
        world.file_until("the rename", &file, renamed).await;
        assert_eq!(world.get("/status").await["state"], "active");
    });
}

#[test]
fn deleting_a_connection_stops_its_channels() {
    own(async |world| {
        world.simulator.zero_counters();
        let answer = world.api(Method::DELETE, "", &[], None).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
        let counters = json!(world.simulator.counters());
        assert_eq!(counters["calls"]["channels.stop"], 1, "{counters}");
        assert_eq!(connections(world).await, 0);
        let logs = world.store().list_logs(&world.key).await.unwrap();
        assert!(logs.is_empty(), "{logs:?}");
    });
}
