//! Two stories of two clients who edit one file: apart from each other, and at the same moment. The clients know nothing
//! but our HTTP API: each keeps a copy of the file with the version that it is of, and names that version when it uploads.

use std::time::Duration;

use drive_simulator::Simulator;
use local::system::{Options, System};
use objects::ContentHasher;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cli::{Arguments, Failure, one_line};
use crate::demo::ANY_PORT;
use crate::drive_end::{DriveEnd, listen};
use crate::run::log_to_stderr;
use crate::story::wait_for;

/// What both stories begin with.
const FIRST: &str = "Hello World - Version 1";

/// Tells both stories on data of their own, which are gone afterwards.
pub(crate) async fn stories(arguments: &Arguments) -> Result<(), Failure> {
    log_to_stderr();
    let folder = std::env::temp_dir().join(format!("drivesync-stories-{}", std::process::id()));
    let library = folder.join("library");
    std::fs::create_dir_all(&library).map_err(|error| one_line(&error))?;
    let (stop, stopped) = watch::channel(false);
    let ends = Arguments {
        drive_addr: ANY_PORT,
        drive_url: None,
        google_key: None,
        library,
        ..arguments.clone()
    };
    let drive = DriveEnd::open(&ends, stopped).await?;
    let options = Options {
        data_dir: Some(folder.join("data")),
        api: Some(listen(ANY_PORT, "--api-addr").await?),
        transport: drive.transport.clone(),
        content: Some(drive.content.clone()),
        drive_url: drive.url.clone(),
        notified: true,
        history_days: Some(90),
        usual_ports: false,
    };
    let system = System::start(options)
        .await
        .map_err(|error| one_line(&error))?;
    let told = tell(&system, &drive).await;
    stop.send_replace(true);
    system.stop().await;
    let removed = std::fs::remove_dir_all(&folder);
    told.and_then(|()| removed.map_err(|error| one_line(&error)))
}

async fn tell(system: &System, drive: &DriveEnd) -> Result<(), Failure> {
    let connected = system.connect_with(&drive.credentials, None, true).await;
    let connection = connected.map_err(|error| one_line(&error))?.connection;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10));
    let http = http.build().map_err(|error| one_line(&error))?;
    let api = system.api_url.as_deref().unwrap_or_default();
    let server = Server {
        system,
        http,
        url: format!("{api}/v1/connections/{connection}"),
        drive_url: &drive.url,
    };
    offline(&server).await?;
    say("");
    online(&server).await
}

/// Our API, and Drive, as someone sees them who has only addresses.
struct Server<'a> {
    system: &'a System,
    http: reqwest::Client,
    url: String,
    drive_url: &'a str,
}

/// A file as a client has it.
#[derive(Debug, Clone)]
struct Copy {
    file: String,
    name: String,
    version: u64,
    text: String,
}

/// What became of an upload.
enum Uploaded {
    /// It is this version now.
    Done(u64),
    /// The server has another version than the client named.
    Refused { current: u64 },
}

impl Server<'_> {
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), Failure> {
        let request = request.bearer_auth(&self.system.token);
        let answer = request.send().await.map_err(|error| one_line(&error))?;
        let status = answer.status();
        let body = answer.json().await.map_err(|error| one_line(&error))?;
        Ok((status, body))
    }

    /// Makes a file with this text; it is its version 1.
    async fn create(&self, name: &str, text: &str) -> Result<Copy, Failure> {
        let wanted = json!({
            "name": name, "mime_type": "text/plain", "expected_version": 0,
            "content": {"text": text}, "content_hash": hash(text),
        });
        let request = self.http.post(format!("{}/files", self.url)).json(&wanted);
        let (status, body) = self.ask(request).await?;
        if !status.is_success() {
            return Err(format!("making {name} was answered {status}: {body}"));
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

    /// The file as it is now, once its bytes are stored.
    async fn download(&self, file: &str, name: &str) -> Result<Copy, Failure> {
        let at = format!("{}/files/{file}/content", self.url);
        let found = wait_for(self.system, "the download", async || {
            let (status, body) = self.ask(self.http.request(Method::GET, &at)).await?;
            Ok((status == StatusCode::OK).then_some(body))
        });
        let (told, _) = found.await?;
        let url = member(&told, &["url"])
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let answer = self.http.get(url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| one_line(&error))?;
        let text = answer.text().await.map_err(|error| one_line(&error))?;
        if *member(&told, &["sha256"]) != hash(&text) {
            return Err(format!("{name} came with other bytes than its hash says"));
        }
        Ok(Copy {
            file: file.to_owned(),
            name: name.to_owned(),
            version: member(&told, &["version"]).as_u64().unwrap_or(0),
            text,
        })
    }

    /// Uploads a copy as the version that follows the one that it is of.
    async fn upload(&self, copy: &Copy) -> Result<Uploaded, Failure> {
        let url = format!(
            "{}/files/{}/content?expected_version={}",
            self.url, copy.file, copy.version
        );
        let request = self.http.post(url).body(copy.text.clone());
        let request = request
            .header("content-type", "text/plain")
            .header("content-sha256", hash(&copy.text));
        let (status, body) = self.ask(request).await?;
        let problem = member(&body, &["type"]);
        match status {
            StatusCode::OK => Ok(Uploaded::Done(version_of(&body))),
            StatusCode::CONFLICT if problem == "urn:drivesync:problem:version-mismatch" => {
                let current = member(&body, &["current_version"]).as_u64().unwrap_or(0);
                Ok(Uploaded::Refused { current })
            }
            status => Err(format!("an upload was answered {status}: {body}")),
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

/// Someone who edits the copy that they have.
fn edited(who: &str, copy: &mut Copy, text: &str) {
    say(&format!("[{who}] Edited {}:", copy.name));
    say(&format!("  Old: \"{}\"", copy.text));
    say(&format!("  New: \"{text}\""));
    text.clone_into(&mut copy.text);
}

/// Both copies of a conflict are kept: the server's under the name, the client's own beside it.
async fn keep_both(server: &Server<'_>, who: &str, own: &Copy) -> Result<(Copy, Copy), Failure> {
    let theirs = server.download(&own.file, &own.name).await?;
    let name = match own.name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem} (conflicted copy {who}).{extension}"),
        None => format!("{} (conflicted copy {who})", own.name),
    };
    let ours = server.create(&name, &own.text).await?;
    say(&format!("[{who}] Conflict resolved:"));
    say(&format!(
        "  - {}: accepted server version v{}",
        theirs.name, theirs.version
    ));
    say(&format!("  - {}: saved local changes", ours.name));
    Ok((theirs, ours))
}

async fn both_have(server: &Server<'_>, name: &str) -> Result<(Copy, Copy), Failure> {
    step("STEP 1: Client A creates the first version");
    let made = server.create(name, FIRST).await?;
    say(&format!("[ClientA] Created {name} v{}", made.version));
    step("STEP 2: Both clients download the file");
    let mut copies = Vec::new();
    for who in ["ClientA", "ClientB"] {
        let copy = server.download(&made.file, name).await?;
        say(&format!(
            "[{who}] Downloaded {name} v{}: \"{}\"",
            copy.version, copy.text
        ));
        copies.push(copy);
    }
    match <[Copy; 2]>::try_from(copies) {
        Ok([a, b]) => Ok((a, b)),
        Err(_) => Err("two clients have two copies".to_owned()),
    }
}

async fn offline(server: &Server<'_>) -> Result<(), Failure> {
    title("OFFLINE CONFLICT: both edit while nobody is connected");
    let (mut a, mut b) = both_have(server, "document.txt").await?;
    step("STEP 3: Both clients go offline");
    say("Nothing is sent from here on; each works on its own copy.");
    step("STEP 4: Client A edits the file");
    edited(
        "ClientA",
        &mut a,
        "Hello World - EDITED BY CLIENT A (offline)",
    );
    step("STEP 5: Client B edits the file");
    edited(
        "ClientB",
        &mut b,
        "Hello World - EDITED BY CLIENT B (offline)",
    );
    step("STEP 6: Both clients are online again");
    say("Whoever syncs first is first.");
    step("STEP 7: Client A syncs first");
    match server.upload(&a).await? {
        Uploaded::Done(version) => {
            say(&format!(
                "[ClientA] Upload successful: {} v{} -> v{version}",
                a.name, a.version
            ));
        }
        Uploaded::Refused { current } => {
            return Err(format!("client A was refused, by version {current}"));
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
    let (theirs, ours) = keep_both(server, "ClientB", &b).await?;
    if (&theirs.text, &ours.text) != (&a.text, &b.text) {
        return Err("an edit was lost".to_owned());
    }
    step("In Drive");
    server.in_drive(&theirs).await?;
    server.in_drive(&ours).await
}

async fn online(server: &Server<'_>) -> Result<(), Failure> {
    title("ONLINE CONFLICT: both upload at the same moment");
    let (mut a, mut b) = both_have(server, "language.txt").await?;
    step("STEP 3: Both clients edit the file");
    edited("ClientA", &mut a, "PYTHON is the best language!");
    edited("ClientB", &mut b, "RUST is the best language!");
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
            return Err("both uploads were taken: one overwrote the other".to_owned());
        }
        (Uploaded::Refused { .. }, Uploaded::Refused { .. }) => {
            return Err("neither upload was taken".to_owned());
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
    let (theirs, ours) = keep_both(server, loser, &lost).await?;
    if (&theirs.text, &ours.text) != (&won.text, &lost.text) {
        return Err("an edit was lost".to_owned());
    }
    step("In Drive");
    server.in_drive(&theirs).await?;
    server.in_drive(&ours).await
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

#[expect(
    clippy::print_stdout,
    reason = "the stories are what the program is asked for"
)]
fn say(line: &str) {
    println!("{line}");
}
