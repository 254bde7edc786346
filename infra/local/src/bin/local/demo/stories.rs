//! `stories`: two clients edit one file, offline and at the same moment. The clients use only the
//! HTTP API: each keeps a copy of the file with its version, and states that version when it
//! uploads.

use std::time::Duration;

use drive_simulator::Simulator;
use local::system::System;
use objects::ContentHasher;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Setup, Stage, run, wait_for};
use crate::cli::{Arguments, Failure, one_line, say};

/// The first text of every file.
const FIRST: &str = "Hello World - Version 1";

/// Runs both stories.
pub(crate) async fn stories(arguments: &Arguments) -> Result<(), Failure> {
    let setup = Setup {
        name: "stories",
        empty_library: true,
        content: true,
    };
    run(arguments, &setup, both_stories).await
}

async fn both_stories(stage: &Stage) -> Result<(), Failure> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10));
    let http = http.build().map_err(|error| one_line(&error))?;
    let api = stage.system.api_url.as_deref().unwrap_or_default();
    let server = Server {
        system: &stage.system,
        http,
        url: format!("{api}/v1/connections/{}", stage.connection.connection),
        drive_url: &stage.drive.url,
    };
    offline(&server).await?;
    say("");
    online(&server).await
}

/// The API and Drive as seen by a client that has only their URLs.
struct Server<'a> {
    system: &'a System,
    http: reqwest::Client,
    url: String,
    drive_url: &'a str,
}

/// A client's copy of a file.
#[derive(Debug, Clone)]
struct Copy {
    file: String,
    name: String,
    version: u64,
    text: String,
}

/// The outcome of an upload.
enum Uploaded {
    /// The upload is this version.
    Done(u64),
    /// The server has another version than the client stated.
    Refused { current: u64 },
}

impl Server<'_> {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
        let token = self.system.token().map_err(|error| one_line(&error))?;
        let answer = request
            .bearer_auth(token)
            .send()
            .await
            .map_err(|error| one_line(&error))?;
        let status = answer.status();
        let body = answer.json().await.map_err(|error| one_line(&error))?;
        Ok((status, body))
    }

    /// Creates a file with this text as its version 1.
    async fn create(&self, name: &str, text: &str) -> Result<Copy, Failure> {
        let wanted = json!({
            "name": name, "mime_type": "text/plain", "expected_version": 0,
            "content": {"text": text}, "content_hash": hash(text),
        });
        let request = self.http.post(format!("{}/files", self.url)).json(&wanted);
        let (status, body) = self.send(request).await?;
        if !status.is_success() {
            return Err(format!("creating {name} failed with {status}: {body}"));
        }
        Ok(Copy {
            file: member(&body, &["id"])
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            name: name.to_owned(),
            version: version_of(&body),
            text: text.to_owned(),
        })
    }

    /// Downloads the current version, once its bytes are stored.
    async fn download(&self, file: &str, name: &str) -> Result<Copy, Failure> {
        let at = format!("{}/files/{file}/content", self.url);
        let found = wait_for(self.system, "the download", async || {
            let (status, body) = self.send(self.http.request(Method::GET, &at)).await?;
            Ok((status == StatusCode::OK).then_some(body))
        });
        let (content, _) = found.await?;
        let url = member(&content, &["url"])
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let answer = self.http.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| one_line(&error))?;
        let text = answer.text().await.map_err(|error| one_line(&error))?;
        if *member(&content, &["sha256"]) != hash(&text) {
            return Err(format!("the bytes of {name} do not match their hash"));
        }
        Ok(Copy {
            file: file.to_owned(),
            name: name.to_owned(),
            version: member(&content, &["version"]).as_u64().unwrap_or(0),
            text,
        })
    }

    /// Uploads a copy as the successor of its version.
    async fn upload(&self, copy: &Copy) -> Result<Uploaded, Failure> {
        let url = format!(
            "{}/files/{}/content?expected_version={}",
            self.url, copy.file, copy.version
        );
        let request = self.http.post(url).body(copy.text.clone());
        let request = request
            .header("content-type", "text/plain")
            .header("content-sha256", hash(&copy.text));
        let (status, body) = self.send(request).await?;
        let problem = member(&body, &["type"]);
        match status {
            StatusCode::OK => Ok(Uploaded::Done(version_of(&body))),
            StatusCode::CONFLICT if problem == "urn:drivesync:problem:version-mismatch" => {
                let current = member(&body, &["current_version"]).as_u64().unwrap_or(0);
                Ok(Uploaded::Refused { current })
            }
            status => Err(format!("an upload failed with {status}: {body}")),
        }
    }

    /// Waits until Drive shows a file with this text.
    async fn in_drive(&self, copy: &Copy) -> Result<(), Failure> {
        let url = format!("{}/drive/v3/files/{}?alt=media", self.drive_url, copy.file);
        let what = format!("{} in Drive", copy.name);
        let arrived = wait_for(self.system, &what, async || {
            let owner = format!("user:{}", Simulator::library_owner());
            let answer = self.http.get(&url).bearer_auth(owner).send().await;
            let answer = answer.map_err(|error| one_line(&error))?;
            let text = answer.text().await.map_err(|error| one_line(&error))?;
            Ok((text == copy.text).then_some(()))
        });
        arrived.await?;
        say(&format!("  {}: \"{}\"", copy.name, copy.text));
        Ok(())
    }
}

/// Edits a client's copy.
fn edit(who: &str, copy: &mut Copy, text: &str) {
    say(&format!("[{who}] Edited {}:", copy.name));
    say(&format!("  Old: \"{}\"", copy.text));
    say(&format!("  New: \"{text}\""));
    text.clone_into(&mut copy.text);
}

/// Keeps both copies of a conflict: the server's under its name, the client's as a conflicted copy.
async fn keep_both(server: &Server<'_>, who: &str, own: &Copy) -> Result<(Copy, Copy), Failure> {
    let accepted = server.download(&own.file, &own.name).await?;
    let name = match own.name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem} (conflicted copy {who}).{extension}"),
        None => format!("{} (conflicted copy {who})", own.name),
    };
    let saved = server.create(&name, &own.text).await?;
    say(&format!("[{who}] Conflict resolved:"));
    say(&format!(
        "  - {}: accepted server version v{}",
        accepted.name, accepted.version
    ));
    say(&format!("  - {}: saved local changes", saved.name));
    Ok((accepted, saved))
}

async fn distribute(server: &Server<'_>, name: &str) -> Result<(Copy, Copy), Failure> {
    step("STEP 1: Client A creates the first version");
    let created = server.create(name, FIRST).await?;
    say(&format!("[ClientA] Created {name} v{}", created.version));
    step("STEP 2: Both clients download the file");
    let mut copies = Vec::new();
    for who in ["ClientA", "ClientB"] {
        let copy = server.download(&created.file, name).await?;
        say(&format!(
            "[{who}] Downloaded {name} v{}: \"{}\"",
            copy.version, copy.text
        ));
        copies.push(copy);
    }
    match <[Copy; 2]>::try_from(copies) {
        Ok([a, b]) => Ok((a, b)),
        Err(_) => Err("two clients must have two copies".to_owned()),
    }
}

async fn offline(server: &Server<'_>) -> Result<(), Failure> {
    title("OFFLINE CONFLICT: both edit while disconnected");
    let (mut a, mut b) = distribute(server, "document.txt").await?;
    step("STEP 3: Both clients go offline");
    say("Nothing is sent from here on; each works on its own copy.");
    step("STEP 4: Client A edits the file");
    edit(
        "ClientA",
        &mut a,
        "Hello World - EDITED BY CLIENT A (offline)",
    );
    step("STEP 5: Client B edits the file");
    edit(
        "ClientB",
        &mut b,
        "Hello World - EDITED BY CLIENT B (offline)",
    );
    step("STEP 6: Both clients are online again");
    say("The first to sync wins.");
    step("STEP 7: Client A syncs first");
    match server.upload(&a).await? {
        Uploaded::Done(version) => {
            say(&format!(
                "[ClientA] Upload successful: {} v{} -> v{version}",
                a.name, a.version
            ));
        }
        Uploaded::Refused { current } => {
            return Err(format!(
                "client A was refused: the server has version {current}"
            ));
        }
    }
    step("STEP 8: Client B tries to sync");
    let Uploaded::Refused { current } = server.upload(&b).await? else {
        return Err("client B overwrote what client A had uploaded".to_owned());
    };
    say(&format!("[ClientB] CONFLICT detected for {}!", b.name));
    say(&format!("  Expected version: {}", b.version));
    say(&format!("  Server version: {current}"));
    step("STEP 9: Client B keeps both");
    let (accepted, saved) = keep_both(server, "ClientB", &b).await?;
    if (&accepted.text, &saved.text) != (&a.text, &b.text) {
        return Err("an edit was lost".to_owned());
    }
    step("In Drive");
    server.in_drive(&accepted).await?;
    server.in_drive(&saved).await
}

async fn online(server: &Server<'_>) -> Result<(), Failure> {
    title("ONLINE CONFLICT: both upload at the same moment");
    let (mut a, mut b) = distribute(server, "language.txt").await?;
    step("STEP 3: Both clients edit the file");
    edit("ClientA", &mut a, "PYTHON is the best language!");
    edit("ClientB", &mut b, "RUST is the best language!");
    step("STEP 4: RACE - both sync at nearly the same time");
    say("Both clients upload their changes...");
    let (of_a, of_b) = tokio::join!(server.upload(&a), server.upload(&b));
    let ((winner, won, version), (loser, lost, current)) = match (of_a?, of_b?) {
        (Uploaded::Done(version), Uploaded::Refused { current }) => {
            (("ClientA", a, version), ("ClientB", b, current))
        }
        (Uploaded::Refused { current }, Uploaded::Done(version)) => {
            (("ClientB", b, version), ("ClientA", a, current))
        }
        (Uploaded::Done(_), Uploaded::Done(_)) => {
            return Err("both uploads were accepted: one overwrote the other".to_owned());
        }
        (Uploaded::Refused { .. }, Uploaded::Refused { .. }) => {
            return Err("neither upload was accepted".to_owned());
        }
    };
    step("RACE RESULTS");
    say(&format!("Winner: {winner}"));
    say(&format!(
        "  Upload succeeded (v{} -> v{version})",
        won.version
    ));
    say(&format!("  Content: \"{}\"", won.text));
    say(&format!("Loser: {loser}"));
    say("  Upload rejected (version conflict)");
    say(&format!("  Reason: the server is at v{current} already"));
    step("STEP 5: The loser keeps both");
    let (accepted, saved) = keep_both(server, loser, &lost).await?;
    if (&accepted.text, &saved.text) != (&won.text, &lost.text) {
        return Err("an edit was lost".to_owned());
    }
    step("In Drive");
    server.in_drive(&accepted).await?;
    server.in_drive(&saved).await
}

fn hash(text: &str) -> String {
    ContentHasher::sha256(text.as_bytes()).to_string()
}

fn version_of(file: &Value) -> u64 {
    member(file, &["content", "version"]).as_u64().unwrap_or(0)
}

fn member<'a>(body: &'a Value, path: &[&str]) -> &'a Value {
    let mut found = body;
    for name in path {
        found = found.get(name).unwrap_or(&Value::Null);
    }
    found
}

fn title(text: &str) {
    say(text);
    say(&"=".repeat(70));
}

fn step(text: &str) {
    say("");
    say(text);
    say(&"-".repeat(70));
}
