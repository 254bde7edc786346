//! Log lines contain ids, counts, kinds and reasons, and never a file's name, a text, a token or a
//! secret.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use domain::FileId;
use http::Method;
use local::aws::Queue;
use runtime::queue::file_group;
use runtime::telemetry::FILTER_DEFAULT;
use serde_json::{Value, json};
use sqs_fifo::NewMessage;
use tracing_subscriber::EnvFilter;

use crate::support::{Setup, World, eventually, listening};

/// Our own code logs all that it can, the libraries what they log on AWS. The simulated Drive is Google's side.
const OURS: &str = "api=trace,apply_snapshots=trace,domain=trace,drive=trace,fetch_changes=trace,gate=trace,\
    local=trace,push_intents=trace,receive_notification=trace,runtime=trace,store=trace,sweep=trace,\
    drive_simulator=off";

/// What no log line may hold. Each is planted under its own word, so that a line tells where it leaks from.
const PLANTED: &str = "kanarie";

/// Two refresh tokens of the library's user. The world starts with the first.
const FIRST: &str = "user:owner";
const SECOND: &str = "user:owner@example.com";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a whole system on this thread alone, and gives what was logged on it.
fn logged(test: impl AsyncFnOnce(&World)) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(format!("{FILTER_DEFAULT},{OURS}")))
        .with_writer(move || writer.clone())
        .finish();
    let _listens = listening(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::start(Setup::default()).await;
        test(&world).await;
        world.system.stop().await;
    });
    lines.text()
}

/// Puts another refresh token into the secret of the world's connection, and has Drive refuse the one before, so that
/// the secret is read again.
async fn rotate(world: &World, before: &str, after: &str) {
    let secret = json!({
        "type": "authorized_user", "client_id": "kanarie-client", "client_secret": "kanarie-client-secret",
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

async fn in_state(world: &World, state: &str) {
    eventually(&format!("it is {state}"), async || {
        (world.get("/status").await["state"] == state).then_some(())
    })
    .await;
}

/// Edits from both sides, and a search for them.
async fn edit(world: &World) -> String {
    let owner = world.owner();
    let file = owner.create("kanarie-drive-name", false).await;
    let texts = json!({"description": "kanarie-drive-text", "properties": {"kanarie-key": "kanarie-drive-value"}});
    owner.update(&file, texts).await;
    world
        .file_until("the texts", &file, |f| {
            f["fields"]["description"] == "kanarie-drive-text"
        })
        .await;
    let ours = json!({
        "name": "kanarie-app-name", "description": "kanarie-app-text", "properties": {"kanarie-key": "kanarie-app-value"},
    });
    world.edit_ok(&file, ours).await;
    world
        .file_until("the push", &file, |f| f["intent"].is_null())
        .await;
    let found = world.get("/files?q=kanarie-app&path=true").await;
    assert_eq!(found["items"][0]["id"], file.as_str(), "{found}");
    file
}

/// A conflict, and a decision.
async fn disagree(world: &World, file: &str) {
    let busy = json!({"status": 503, "message": "kanarie-message-of-503"});
    world.fault(json!({"match": "* /drive/v2/files/*", "times": 1, "respond": busy}));
    world
        .edit_ok(
            file,
            json!({"name": "kanarie-ours", "description": "kanarie-ours-text"}),
        )
        .await;
    let theirs = json!({"name": "kanarie-theirs", "description": "kanarie-theirs-text"});
    world.owner().update(file, theirs).await;
    let id = world.conflict_on(file, "name").await["id"].clone();
    let path = format!("/conflicts/{}/resolution", id.as_str().unwrap());
    world.post(&path, json!({"value": "kanarie-decided"})).await;
    let text = world.conflict_on(file, "description").await["id"].clone();
    let path = format!("/conflicts/{}/resolution", text.as_str().unwrap());
    world.post(&path, json!({"choose": "drive"})).await;
    // What was decided has arrived: whoever edits from here on meets nothing that is owed.
    let settled = |f: &Value| f["intent"].is_null() && f["conflicts"] == json!([]);
    world.file_until("both are settled", file, settled).await;
}

/// A push that Drive refuses for good, with the value in its message, as Google does.
async fn be_refused(world: &World) {
    let file = world.take();
    let refusal = json!({
        "status": 400, "reason": "invalid", "message": "Invalid value: kanarie-message-of-400",
    });
    let pattern = format!("PATCH /drive/v2/files/{file}");
    world.fault(json!({"match": pattern, "times": 0, "respond": refusal}));
    world
        .edit_ok(&file, json!({"name": "kanarie-refused"}))
        .await;
    world
        .file_until("it is given up", &file, |f| {
            f["intent"]["status"] == "failed"
        })
        .await;
}

/// Requests that are refused by us.
async fn ask_badly(world: &World, file: &str) {
    let path = format!("/v1/connections/{}/files/{file}", world.connection);
    let token = world.token.clone();
    let key = [
        ("if-match", "*"),
        ("idempotency-key", "kanarie-key-of-a-request"),
    ];
    for (token, path, body) in [
        (
            token.as_str(),
            path.as_str(),
            r#"{"name":"kanarie-malformed"#,
        ),
        (&token, &path, r#"{"kanarie-member":"x"}"#),
        (&token, &path, r#"{"starred":"kanarie-no-flag"}"#),
        (&token, "/v1/connections/kanarie-connection/files/x", "{}"),
        (&token, "/v1/connections/c_x/files/kanarie-file", "{}"),
        ("kanarie-bearer", &path, "{}"),
    ] {
        let refused = world
            .call(Some(token), Method::PATCH, path, &key, Some(body))
            .await;
        assert!((400..500).contains(&refused.status), "{}", refused.body);
    }
    for member in ["secret", "subject"] {
        let mut wanted = json!({"name": "kanarie-connection", "scope": {"type": "user"}, "secret": "kanarie-secret"});
        wanted[member] = json!(format!("kanarie-other-{member}"));
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
        ("x-goog-channel-id", "kanarie-channel"),
        ("x-goog-channel-token", "kanarie-channel-token"),
        ("x-goog-resource-id", "kanarie-resource"),
        ("x-goog-resource-state", "kanarie-state"),
    ];
    let told = world
        .call(None, Method::POST, "/webhooks/drive", &headers, None)
        .await;
    assert_eq!(told.status, 204);
}

/// Messages that can't be read, and one that is about nothing.
async fn poison(world: &World, file: &str) {
    let group = file_group(&world.key, &FileId::parse(file).unwrap());
    let newer = json!({"v": 99, "name": "kanarie-newer"}).to_string();
    let body = r#"{"v":1,"tenant":"local","kanarie":"kanarie-odd-member"}"#;
    for (number, body) in ["kanarie-no-json", &newer, body].iter().enumerate() {
        let message = NewMessage::new(&group, format!("poison-{number}"), *body);
        let queue = Queue::Snapshots.name();
        world.system.aws.sqs().send(queue, message).unwrap();
    }
    world
        .owner()
        .rename(file, "kanarie-behind-the-poison")
        .await;
    world
        .file_until("the rename behind the poison", file, |f| {
            f["fields"]["name"] == "kanarie-behind-the-poison"
        })
        .await;
}

/// A grant that is gone, and a new one.
async fn be_suspended(world: &World, file: &str) {
    rotate(world, SECOND, "user:kanarie-user").await;
    world.owner().rename(file, "kanarie-unseen").await;
    in_state(world, "suspended").await;
    rotate(world, "user:kanarie-user", FIRST).await;
    world.post("/resume", json!({})).await;
    in_state(world, "active").await;
    world
        .file_until("the rename", file, |f| {
            f["fields"]["name"] == "kanarie-unseen"
        })
        .await;
}

#[test]
fn no_name_no_text_and_no_secret_is_ever_logged() {
    let mut secrets = vec![PLANTED.to_owned(), "ya29.".to_owned(), "Bearer ".to_owned()];
    let text = logged(async |world| {
        let signature = world.token.rsplit('.').next().unwrap();
        secrets.push(signature.to_owned());
        rotate(world, FIRST, SECOND).await;
        let file = edit(world).await;
        disagree(world, &file).await;
        be_refused(world).await;
        ask_badly(world, &file).await;
        poison(world, &file).await;
        be_suspended(world, &file).await;
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
    // It is the right log: each of the things above is in it.
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
        let told = |line: &&Value| line["fields"]["metric"] == metric;
        assert!(
            lines.iter().any(|line| told(&line)),
            "nothing tells of {metric}"
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
