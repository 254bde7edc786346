//! Log lines contain ids, counts, kinds and reasons, and never a file's name, a text, a token or a
//! secret.

use domain::FileId;
use http::Method;
use local::aws::Queue;
use runtime::telemetry::FILTER_DEFAULT;
use serde_json::{Value, json};
use sqs_fifo::NewMessage;
use worker::queue::file_group;

use crate::support::{World, eventually, logged};

/// Our code logs everything, the libraries as on AWS. The simulated Drive stands for Google and is
/// off.
const OURS: &str = "api=trace,apply_snapshots=trace,domain=trace,drive=trace,fetch_changes=trace,\
    live=trace,local=trace,push_intents=trace,receive_notification=trace,run_operations=trace,\
    runtime=trace,store=trace,sweep=trace,throttle=trace,worker=trace,drive_simulator=off";

/// The mark of all texts that no log line may contain. Each has a suffix that names its source.
const PLANTED: &str = "canary";

/// Two refresh tokens of the library's user. The system starts with the first.
const FIRST: &str = "user:owner";
const SECOND: &str = "user:owner@example.com";

/// Replaces the refresh token in the connection's secret, and makes Drive reject the previous one,
/// so that the secret is read again.
async fn rotate(world: &World, before: &str, after: &str) {
    let secret = json!({
        "type": "authorized_user", "client_id": "canary-client",
            "client_secret": "canary-client-secret",
        "refresh_token": after, "token_uri": format!("{}/token", world.drive_url),
    });
    let secrets = world.system.aws.secrets_client();
    let put = secrets
        .put_secret_value()
        .secret_id("drivesync/local/drive")
        .secret_string(secret.to_string());
    put.send().await.unwrap();
    for (token, revoked) in [(before, true), (after, after.contains(PLANTED))] {
        let order = json!({"refresh_token": token, "revoked": revoked});
        world.control(Method::POST, "grants", order).await;
    }
}

/// Makes edits on both sides, and searches for them.
async fn edit(world: &World) -> String {
    let owner = world.owner();
    let file = owner.create("canary-drive-name", false).await;
    let texts = json!({"description": "canary-drive-text",
        "properties": {"canary-key": "canary-drive-value"}});
    owner.update(&file, texts).await;
    world
        .file_until("the texts", &file, |f| {
            f["fields"]["description"] == "canary-drive-text"
        })
        .await;
    let ours = json!({
        "name": "canary-app-name", "description": "canary-app-text",
            "properties": {"canary-key": "canary-app-value"},
    });
    world.edit_ok(&file, ours).await;
    world
        .file_until("the push", &file, |f| f["intent"].is_null())
        .await;
    let found = world.get("/files?q=canary-app&path=true").await;
    assert_eq!(found["items"][0]["id"], file.as_str(), "{found}");
    file
}

/// Opens conflicts and resolves them.
async fn resolve_conflicts(world: &World, file: &str) {
    let busy = json!({"status": 503, "message": "canary-message-of-503"});
    world.fault(json!({"match": "* /drive/v2/files/*", "times": 1, "respond": busy}));
    world
        .edit_ok(
            file,
            json!({"name": "canary-ours", "description": "canary-ours-text"}),
        )
        .await;
    let theirs = json!({"name": "canary-theirs", "description": "canary-theirs-text"});
    world.owner().update(file, theirs).await;
    let id = world.conflict_on(file, "name").await["id"].clone();
    let path = format!("/conflicts/{}/resolution", id.as_str().unwrap());
    world.post(&path, json!({"value": "canary-decided"})).await;
    let text = world.conflict_on(file, "description").await["id"].clone();
    let path = format!("/conflicts/{}/resolution", text.as_str().unwrap());
    world.post(&path, json!({"choose": "drive"})).await;
    // The resolutions have been pushed: later edits meet nothing owed.
    let resolved = |f: &Value| f["intent"].is_null() && f["conflicts"] == json!([]);
    world.file_until("both are resolved", file, resolved).await;
}

/// Makes Drive reject a push permanently, with the value in its message, as Google does.
async fn reject_push(world: &World) {
    let file = world.take();
    let refusal = json!({
        "status": 400, "reason": "invalid", "message": "Invalid value: canary-message-of-400",
    });
    let pattern = format!("PATCH /drive/v2/files/{file}");
    world.fault(json!({"match": pattern, "times": 0, "respond": refusal}));
    world
        .edit_ok(&file, json!({"name": "canary-refused"}))
        .await;
    world
        .file_until("it fails", &file, |f| f["intent"]["status"] == "failed")
        .await;
}

/// Makes requests that the API rejects.
async fn send_bad_requests(world: &World, file: &str) {
    let path = format!("/v1/connections/{}/files/{file}", world.connection);
    let token = world.token.clone();
    let key = [
        ("if-match", "*"),
        ("idempotency-key", "canary-key-of-a-request"),
    ];
    for (token, path, body) in [
        (
            token.as_str(),
            path.as_str(),
            r#"{"name":"canary-malformed"#,
        ),
        (&token, &path, r#"{"canary-member":"x"}"#),
        (&token, &path, r#"{"starred":"canary-no-flag"}"#),
        (&token, "/v1/connections/canary-connection/files/x", "{}"),
        (&token, "/v1/connections/c_x/files/canary-file", "{}"),
        ("canary-bearer", &path, "{}"),
    ] {
        let refused = world
            .call(Some(token), Method::PATCH, path, &key, Some(body))
            .await;
        assert!((400..500).contains(&refused.status), "{}", refused.body);
    }
    for member in ["secret", "subject"] {
        let mut wanted = json!({"name": "canary-connection", "scope": {"type": "user"},
            "secret": "canary-secret"});
        wanted[member] = json!(format!("canary-other-{member}"));
        let body = wanted.to_string();
        let made = world
            .call(
                Some(&token),
                Method::POST,
                "/v1/connections",
                &[],
                Some(&body),
            )
            .await;
        assert_eq!(made.status, 422, "{}", made.body);
    }
    let headers = [
        ("x-goog-channel-id", "canary-channel"),
        ("x-goog-channel-token", "canary-channel-token"),
        ("x-goog-resource-id", "canary-resource"),
        ("x-goog-resource-state", "canary-state"),
    ];
    let found = world
        .call(None, Method::POST, "/webhooks/drive", &headers, None)
        .await;
    assert_eq!(found.status, 204);
}

/// Sends messages that can't be parsed.
async fn poison(world: &World, file: &str) {
    let group = file_group(&world.key, &FileId::parse(file).unwrap());
    let newer = json!({"v": 99, "name": "canary-newer"}).to_string();
    let body = r#"{"v":1,"tenant":"local","canary":"canary-odd-member"}"#;
    for (number, body) in ["canary-no-json", &newer, body].iter().enumerate() {
        let message = NewMessage::new(&group, format!("poison-{number}"), *body);
        let queue = Queue::Snapshots.name();
        world.system.aws.sqs().send(queue, message).unwrap();
    }
    world.owner().rename(file, "canary-behind-the-poison").await;
    world
        .file_until("the rename behind the poison", file, |f| {
            f["fields"]["name"] == "canary-behind-the-poison"
        })
        .await;
}

/// Revokes the grant, and replaces it.
async fn suspend_and_resume(world: &World, file: &str) {
    rotate(world, SECOND, "user:canary-user").await;
    world.owner().rename(file, "canary-unseen").await;
    world.state_until("suspended").await;
    rotate(world, "user:canary-user", FIRST).await;
    world.post("/resume", json!({})).await;
    world.state_until("active").await;
    world
        .file_until("the rename", file, |f| {
            f["fields"]["name"] == "canary-unseen"
        })
        .await;
}

#[test]
fn no_name_no_text_and_no_secret_is_ever_logged() {
    let mut secrets = vec![PLANTED.to_owned(), "ya29.".to_owned(), "Bearer ".to_owned()];
    let filter = format!("{FILTER_DEFAULT},{OURS}");
    let text = logged(&filter, async |world| {
        let signature = world.token.rsplit('.').next().unwrap();
        secrets.push(signature.to_owned());
        rotate(world, FIRST, SECOND).await;
        let file = edit(world).await;
        resolve_conflicts(world, &file).await;
        reject_push(world).await;
        send_bad_requests(world, &file).await;
        poison(world, &file).await;
        suspend_and_resume(world, &file).await;
        world.owner().delete(&file).await;
        eventually("the deletion", async || {
            let gone = world.find(&file).await?;
            (gone["presence"] == "removed").then_some(())
        })
        .await;
    });
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The log covers each of the events above.
    for metric in [
        "api_requests",
        "applied",
        "pushed",
        "push_refused",
        "given_up",
        "parked",
        "notification_ignored",
        "connection_suspended",
    ] {
        let found = |line: &&Value| line["fields"]["metric"] == metric;
        assert!(
            lines.iter().any(|line| found(&line)),
            "no line has {metric}"
        );
    }
    for secret in secrets {
        let leaks: Vec<&str> = text.lines().filter(|line| line.contains(&secret)).collect();
        assert!(
            leaks.is_empty(),
            "{} lines:\n{}",
            leaks.len(),
            leaks.join("\n")
        );
    }
}
