//! A service account that acts as a user, by the administrator's permission.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{ConnectionId, ConnectionKey, LogId};
use http::Method;
use serde_json::{Value, json};

use super::accounts::store_text;
use crate::support::{Answer, Outside, World, eventually, own};

const ACCOUNT: &str = "sync@project.iam.gserviceaccount.com";
/// Google's name for it (RFC 6749, section 5.2).
const REFUSED: &str = "unauthorized_client";

/// Returns a secret that holds the key file of a service account, with a key that is generated for
/// this run, and the given lists of what it allows.
pub(super) fn key_file(drive_url: &str, allowed: &Value) -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let name = "PRIVATE KEY";
    let text = STANDARD.encode(der.as_ref());
    let mut secret = json!({
        "type": "service_account", "client_email": ACCOUNT, "private_key_id": "k1",
        "private_key": format!("-----BEGIN {name}-----\n{text}\n-----END {name}-----\n"),
        "token_uri": format!("{drive_url}/token"), "project_id": "project",
    });
    for (list, entries) in allowed.as_object().unwrap() {
        secret[list] = entries.clone();
    }
    secret.to_string()
}

/// Grants the account the right to act as other users, or revokes it.
pub(super) async fn delegate(world: &World, delegated: bool) {
    let order = json!({"service_account": ACCOUNT, "delegated": delegated});
    world.control(Method::POST, "grants", order).await;
}

/// Connects the account as the owner of the library.
async fn connect(world: &World) -> Answer {
    let body = json!({"name": "By delegation", "scope": {"type": "user"}, "secret": "robot",
        "subject": "owner@example.com"});
    let (token, body) = (Some(world.token.as_str()), body.to_string());
    let path = "/v1/connections";
    world
        .call(token, Method::POST, path, &[], Some(&body))
        .await
}

/// Stores the account's key, with the lists of what it allows, in the secret that the API reads.
pub(super) async fn store_key(world: &World, allowed: Value) {
    store_text(world, "robot", &key_file(&world.drive_url, &allowed)).await;
}

/// The list that allows the owner of the library alone.
fn owner_alone() -> Value {
    json!({"allowed_subjects": ["owner@example.com"]})
}

#[test]
fn an_account_without_delegation_creates_no_connection_for_a_subject() {
    own(async |world| {
        store_key(world, owner_alone()).await;
        delegate(world, false).await;
        let answer = connect(world).await;
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(answer.body["pointer"], "/subject", "{}", answer.body);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(REFUSED), "{detail}");
        let token = Some(world.token.as_str());
        let all = world
            .call(token, Method::GET, "/v1/connections", &[], None)
            .await;
        assert_eq!(all.body["items"].as_array().unwrap().len(), 1);

        // With the delegation the same request is accepted.
        delegate(world, true).await;
        let answer = connect(world).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    });
}

#[test]
fn a_revoked_delegation_suspends_only_its_connection_and_loses_nothing() {
    own(async |world| {
        store_key(world, owner_alone()).await;
        let made = connect(world).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.body["id"].as_str().unwrap();
        let (simulator, drive_url) = (world.simulator.clone(), &world.drive_url);
        let second = Outside::new(simulator, drive_url, &world.api_url, &world.token, id);
        let state = async |wanted: &str| {
            eventually(&format!("it is {wanted}"), async || {
                let status = second.get("/status").await;
                (status["state"] == wanted).then_some(status)
            })
            .await
        };
        let (theirs, ours) = (world.take(), world.take());
        for file in [&theirs, &ours] {
            second.file_until("the first sync", file, |_| true).await;
        }

        delegate(world, false).await;
        world.owner().rename(&theirs, "theirs.txt").await;
        second.sync().await;
        let status = state("suspended").await;
        assert_eq!(status["suspension"]["reason"], REFUSED, "{status}");
        second.edit_ok(&ours, json!({"name": "ours.txt"})).await;
        // Another connection to the same Drive, with other credentials, continues.
        let renamed = |shown: &Value| shown["fields"]["name"] == "theirs.txt";
        world.file_until("the rename", &theirs, renamed).await;
        assert_eq!(world.get("/status").await["state"], "active");
        assert_ne!(
            second.file(&theirs).await["fields"]["name"],
            "theirs.txt",
            "nothing comes in"
        );
        assert_ne!(world.owner().name_of(&ours).await, "ours.txt");

        delegate(world, true).await;
        // The sweep retries it after a quarter of an hour; the test makes it due now.
        let key = ConnectionKey {
            tenant: world.key.tenant.clone(),
            connection: ConnectionId::parse(id).unwrap(),
        };
        let user = LogId::user();
        let due = world.store().postpone_poll(&key, &user, world.now());
        due.await.unwrap();
        state("active").await;
        second.file_until("the rename", &theirs, renamed).await;
        second
            .file_until("our edit is pushed", &ours, |f| f["intent"].is_null())
            .await;
        assert_eq!(world.owner().name_of(&ours).await, "ours.txt");
        world.converge().await;
    });
}
