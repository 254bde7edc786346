//! A secret says whose Drive a connection may reach.

use http::Method;
use serde_json::{Value, json};

use super::accounts::{patch, store_text};
use super::delegation::{delegate, key_file, store_key};
use crate::support::{Answer, Outside, World, own};

const REFUSED: &str = "urn:drivesync:problem:credentials-refused";
const ANN: &str = "ann@example.com";
const OWNER: &str = "owner@example.com";

async fn connect(world: &World, scope: &Value, subject: Option<&str>) -> Answer {
    let body = json!({"name": "Robot", "scope": scope, "secret": "robot", "subject": subject});
    world.ask(Method::POST, "/v1/connections", Some(body)).await
}

/// Expects a refusal of a member, and returns what it says.
fn refused<'a>(answer: &'a Answer, pointer: &str) -> &'a str {
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert_eq!(answer.body["type"], REFUSED, "{}", answer.body);
    assert_eq!(answer.body["pointer"], pointer, "{}", answer.body);
    answer.body["detail"].as_str().unwrap()
}

fn made(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["binding"], "bound");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// The number of times that Drive was asked for a token.
fn exchanges(world: &World) -> u64 {
    let counters = json!(world.simulator.counters());
    counters["calls"]["oauth2.token"].as_u64().unwrap_or(0)
}

#[test]
fn regression_a_caller_does_not_choose_whom_a_service_account_acts_as() {
    own(async |world| {
        let whole = json!({"type": "user"});
        store_key(world, json!({})).await;
        let before = exchanges(world);
        for subject in ["ceo@example.com", OWNER, "ceo@globex.com"] {
            let answer = connect(world, &whole, Some(subject)).await;
            let detail = refused(&answer, "/subject");
            assert!(detail.contains("allowed_subjects"), "{detail}");
        }
        assert_eq!(exchanges(world), before, "which users exist is not told");
        // Its own account it is, always.
        made(&connect(world, &whole, None).await);

        let allowed = json!({"allowed_subjects": [OWNER], "allowed_domains": ["acme.com"]});
        store_key(world, allowed).await;
        let id = made(&connect(world, &whole, Some("Owner@Example.com")).await);
        made(&connect(world, &whole, Some("bob@acme.com")).await);
        for subject in [
            ANN,
            "owner@example.com@acme.com",
            "bob@mail.acme.com",
            "bob@acme.com.evil.example",
        ] {
            refused(&connect(world, &whole, Some(subject)).await, "/subject");
        }
        // An edit opens no other way.
        let path = format!("/v1/connections/{id}");
        let (token, any) = (Some(world.token.as_str()), [("if-match", "*")]);
        let body = json!({"subject": ANN, "replace_account": true}).to_string();
        let edited = world.call(token, Method::PATCH, &path, &any, Some(&body));
        refused(&edited.await, "/subject");
        let shown = world.ask(Method::GET, &path, None).await;
        assert_eq!(shown.body["subject"], "Owner@Example.com");
    });
}

#[test]
fn regression_a_secret_with_a_list_of_drives_reaches_no_other_drive() {
    own(async |world| {
        let mut drives = Vec::new();
        for name in ["Ours", "Theirs"] {
            let members = ["sync@project.iam.gserviceaccount.com", "owner"];
            let order = json!({"name": name, "members": members});
            let answer = world.control(Method::POST, "drives", order).await;
            drives.push(answer["id"].as_str().unwrap().to_owned());
        }
        let scope = |id: &String| json!({"type": "shared_drive", "drive_id": id});
        let allowed = json!({"allowed_drives": [drives[0]], "allowed_subjects": [OWNER]});
        store_key(world, allowed).await;
        made(&connect(world, &scope(&drives[0]), None).await);
        for subject in [None, Some(OWNER)] {
            let other = connect(world, &scope(&drives[1]), subject).await;
            refused(&other, "/scope/drive_id");
        }
        // The whole Drive of the account would include the other drive.
        let whole = connect(world, &json!({"type": "user"}), None).await;
        let detail = refused(&whole, "/scope");
        assert!(detail.contains("allowed_drives"), "{detail}");
        // Without a list, every drive that the account is a member of.
        store_key(world, json!({})).await;
        made(&connect(world, &scope(&drives[1]), None).await);
    });
}

#[test]
fn a_connection_is_held_to_what_its_secret_allows_now() {
    own(async |world| {
        store_key(world, json!({"allowed_subjects": [OWNER]})).await;
        let id = made(&connect(world, &json!({"type": "user"}), Some(OWNER)).await);
        let (simulator, drive_url) = (world.simulator.clone(), &world.drive_url);
        let robot = Outside::new(simulator, drive_url, &world.api_url, &world.token, &id);
        let file = world.take();
        robot.file_until("the first sync", &file, |_| true).await;
        // The operator takes the subject away, and Google the tokens: the secret is read again.
        store_key(world, json!({"allowed_subjects": [ANN]})).await;
        delegate(world, false).await;
        robot.edit_ok(&file, json!({"name": "ours.txt"})).await;
        let status = robot.state_until("suspended").await;
        let reason = &status["suspension"]["reason"];
        assert_eq!(reason, "subject_not_allowed", "{status}");
        delegate(world, true).await;
        assert_ne!(world.owner().name_of(&file).await, "ours.txt");
        // Nothing is lost when it is allowed again.
        store_key(world, json!({"allowed_domains": ["example.com"]})).await;
        robot.post("/resume", json!({})).await;
        robot
            .file_until("it is pushed", &file, |shown| shown["intent"].is_null())
            .await;
        assert_eq!(world.owner().name_of(&file).await, "ours.txt");
    });
}

#[test]
fn an_older_connection_keeps_what_it_has_until_its_credentials_are_edited() {
    own(async |world| {
        // As an earlier release made it: for a subject that the secret does not list.
        let robot = key_file(&world.drive_url, &json!({}));
        store_text(world, "robot", &robot).await;
        let connection = world.store().load_connection(&world.key).await;
        let connection = connection.unwrap().unwrap();
        let old = store::Connection {
            secret_id: "drivesync/local/robot".to_owned(),
            subject: Some(OWNER.to_owned()),
            account: domain::Account {
                bound: false,
                ..connection.account.clone()
            },
            ..connection
        };
        world.store().save_connection(&old).await.unwrap();
        assert_eq!(world.get("").await["binding"], "unbound");
        let file = world.take();
        world.owner().rename(&file, "theirs.txt").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "theirs.txt";
        world.file_until("the rename", &file, renamed).await;
        // Other settings are none of the secret's business.
        let named = patch(world, json!({"name": "Renamed"})).await;
        assert_eq!(named.status, 200, "{}", named.body);
        assert_eq!(named.body["binding"], "unbound");
        // Even the same subject is checked when it is set.
        for subject in [OWNER, ANN] {
            refused(&patch(world, json!({"subject": subject})).await, "/subject");
        }
        let allowed = json!({"allowed_subjects": [OWNER]});
        store_text(world, "robot", &key_file(&world.drive_url, &allowed)).await;
        let bound = patch(world, json!({"subject": OWNER})).await;
        assert_eq!(bound.status, 200, "{}", bound.body);
        assert_eq!(bound.body["binding"], "bound");
        world.converge().await;
    });
}

#[test]
fn regression_a_secret_can_not_send_its_own_key_elsewhere() {
    own(async |world| {
        let elsewhere = |url: &str| {
            json!({"type": "authorized_user", "client_id": "x", "client_secret": "y",
                "refresh_token": "user:owner", "token_uri": url})
        };
        for (secret, word) in [
            (elsewhere("http://10.0.0.5/token"), "token_uri"),
            (elsewhere("http://127.0.0.1:9/token"), "token_uri"),
            (
                json!({"type": "authorized_user", "allowed_subjects": ANN}),
                "allowed_subjects",
            ),
            (
                json!({"type": "authorized_user", "allowed_domain": []}),
                "allowed_domains",
            ),
        ] {
            store_text(world, "robot", &secret.to_string()).await;
            let answer = connect(world, &json!({"type": "user"}), None).await;
            let detail = refused(&answer, "/secret");
            assert!(detail.contains(word), "{detail}");
        }
    });
}
