//! A connection acts as one Google account, which is known by its id.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, World, credentials, eventually, own};

async fn store_secret(world: &World, name: &str, user: &str) {
    store_text(world, name, &credentials(&world.drive_url, user)).await;
}

/// Creates a secret of the tenant, or replaces it.
pub(super) async fn store_text(world: &World, name: &str, text: &str) {
    let secrets = world.system.aws.secrets_client();
    let id = format!("drivesync/local/{name}");
    let create = secrets.create_secret().name(&id).secret_string(text);
    if create.send().await.is_err() {
        let put = secrets.put_secret_value().secret_id(id).secret_string(text);
        put.send().await.unwrap();
    }
}

async fn revoke(world: &World, user: &str, revoked: bool) {
    let order = json!({"user": user, "revoked": revoked});
    world.control(Method::POST, "grants", order).await;
}

pub(super) async fn patch(world: &World, body: Value) -> Answer {
    let any = [("if-match", "*")];
    world.api(Method::PATCH, "", &any, Some(body)).await
}

fn refused(answer: &Answer) {
    assert_eq!(answer.status, 409, "{}", answer.body);
    let kind = "urn:drivesync:problem:another-account";
    assert_eq!(answer.body["type"], kind, "{}", answer.body);
}

/// The quota units that a user's calls have cost.
fn units(world: &World, user: &str) -> u64 {
    let counters = json!(world.simulator.counters());
    counters["by_quota_user"][user].as_u64().unwrap_or(0)
}

#[test]
fn regression_other_credentials_of_another_account_are_refused() {
    own(async |world| {
        store_secret(world, "bob", "bob").await;
        store_secret(world, "same", "owner@example.com").await;
        let other = patch(world, json!({"secret": "bob"})).await;
        refused(&other);
        assert_eq!(other.body["pointer"], "/secret");
        assert_eq!(world.get("").await["secret"], "drive");
        // Other credentials of the same account are a normal change.
        let same = patch(world, json!({"secret": "same"})).await;
        assert_eq!(same.status, 200, "{}", same.body);
        let file = world.take();
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        eventually("it is pushed", async || {
            (world.owner().name_of(&file).await == "ours.txt").then_some(())
        })
        .await;
    });
}

#[test]
fn regression_a_rotated_secret_of_another_account_is_noticed_before_it_is_used() {
    own(async |world| {
        let (ours, theirs) = (world.take(), world.take());
        store_secret(world, "drive", "bob").await;
        world.simulator.zero_counters();
        revoke(world, "owner", true).await;
        world.edit_ok(&ours, json!({"name": "ours.txt"})).await;
        world.owner().rename(&theirs, "theirs.txt").await;
        let status = world.state_until("suspended").await;
        assert_eq!(
            status["suspension"]["reason"], "another_account",
            "{status}"
        );
        assert_ne!(world.owner().name_of(&ours).await, "ours.txt");
        let asked = units(world, "bob");
        assert!(asked <= 20, "only whose the credentials are: {asked}");
        refused(&world.api(Method::POST, "/resume", &[], None).await);

        // The account is back: nothing was lost.
        revoke(world, "owner", false).await;
        store_secret(world, "drive", "owner").await;
        let resumed = world.api(Method::POST, "/resume", &[], None).await;
        assert_eq!(resumed.status, 200, "{}", resumed.body);
        world.converge().await;
        assert_eq!(world.owner().name_of(&ours).await, "ours.txt");
        assert_eq!(world.file(&theirs).await["fields"]["name"], "theirs.txt");
    });
}

#[test]
fn an_account_is_replaced_on_request_and_nothing_is_removed_unasked() {
    own(async |world| {
        let (owner, ours) = (world.owner(), world.take());
        // A file that Carl can't see: the comparison finds it missing.
        let folder = owner.create("private", true).await;
        let limited = json!({"inheritedPermissionsDisabled": true});
        owner.update(&folder, limited).await;
        let private = owner.create_in(&folder, "private.txt", false).await;
        world.file_until("it has come", &private, |_| true).await;
        store_secret(world, "carl", "carl").await;
        refused(&patch(world, json!({"secret": "carl"})).await);

        let replaced = patch(world, json!({"secret": "carl", "replace_account": true})).await;
        assert_eq!(replaced.status, 200, "{}", replaced.body);
        assert_eq!(replaced.body["secret"], "carl");
        let operation = eventually("the comparison asks", async || {
            let newest = world.get("/operations").await["items"][0].clone();
            (newest["state"] == "awaiting_confirmation").then_some(newest)
        })
        .await;
        assert_eq!(operation["kind"], "resync", "{operation}");
        assert_eq!(world.file(&private).await["presence"], "present");
        // Carl's log is followed, and edits go out as Carl.
        owner.rename(&ours, "seen by carl.txt").await;
        let seen = |file: &Value| file["fields"]["name"] == "seen by carl.txt";
        world.file_until("the rename", &ours, seen).await;
        let mine = json!({"description": "by carl"});
        world.edit_ok(&ours, mine).await;
        eventually("it is pushed", async || {
            (owner.get(&ours).await["description"] == "by carl").then_some(())
        })
        .await;
        refused(&patch(world, json!({"secret": "drive"})).await);
    });
}

#[test]
fn a_shared_drive_that_another_account_reads_is_the_same_drive() {
    own(async |world| {
        let order = json!({"name": "Both", "members": ["owner", "bob"]});
        let made = world.control(Method::POST, "drives", order).await;
        store_secret(world, "bob", "bob").await;
        let scope = json!({"type": "shared_drive", "drive_id": made["id"]});
        let body = json!({"name": "Both", "scope": scope, "secret": "drive"});
        let answer = world.ask(Method::POST, "/v1/connections", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let path = format!("/v1/connections/{}", answer.body["id"].as_str().unwrap());
        let (token, any) = (Some(world.token.as_str()), [("if-match", "*")]);
        let body = r#"{"secret":"bob"}"#;
        let rotated = world.call(token, Method::PATCH, &path, &any, Some(body));
        let rotated = rotated.await;
        assert_eq!(rotated.status, 200, "{}", rotated.body);
    });
}

#[test]
fn regression_the_account_of_an_older_connection_is_compared_before_it_is_known() {
    own(async |world| {
        let connection = world.store().load_connection(&world.key).await;
        let connection = connection.unwrap().unwrap();
        let old = store::Connection {
            account: domain::Account::default(),
            state: store::ConnectionState::Paused,
            ..connection
        };
        world.store().save_connection(&old).await.unwrap();
        store_secret(world, "bob", "bob").await;
        store_secret(world, "same", "owner@example.com").await;
        refused(&patch(world, json!({"secret": "bob"})).await);
        // With credentials that tell nothing any more, a person must say that the account is meant.
        revoke(world, "owner", true).await;
        refused(&patch(world, json!({"secret": "bob"})).await);
        revoke(world, "owner", false).await;
        let same = patch(world, json!({"secret": "same"})).await;
        assert_eq!(same.status, 200, "{}", same.body);
    });
}

#[test]
fn the_account_of_an_older_connection_is_taken_at_the_next_look() {
    own(async |world| {
        let load = async || {
            world
                .store()
                .load_connection(&world.key)
                .await
                .unwrap()
                .unwrap()
        };
        let known = load().await;
        assert!(known.account.id.is_some());
        let old = store::Connection {
            account: domain::Account {
                bound: true,
                ..domain::Account::default()
            },
            ..known.clone()
        };
        world.store().save_connection(&old).await.unwrap();
        let user = domain::LogId::user();
        let taken = eventually("it is taken", async || {
            // Reading the log schedules the next poll anew.
            let due = world.store().postpone_poll(&world.key, &user, world.now());
            due.await.unwrap();
            load().await.account.id
        })
        .await;
        assert_eq!(Some(taken), known.account.id);
        assert!(load().await.account.bound, "that stays as it was");
    });
}
