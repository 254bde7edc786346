//! The shared state of the soak: the two addresses, the files, and the ledger of accepted edits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::Role;
use fastrand::Rng;
use http::Method;
use runtime::Clock;
use serde_json::{Value, json};

use crate::gateway::Identity;

/// The files that receive half of all edits, so that people and programs collide.
const HOT_FILES: usize = 30;
const FOLDER: &str = "application/vnd.google-apps.folder";

/// A text that a program sent to our API.
#[derive(Debug, Clone)]
pub struct AppEdit {
    pub file: String,
    pub field: String,
    /// The state that the program's `If-Match` refers to.
    pub from: String,
    pub to: String,
    /// Whether it was acknowledged. If not, it may have been executed, and the response was lost.
    pub accepted: bool,
    /// The time of the answer.
    pub answered: Instant,
}

/// A text of a person that Drive accepted.
#[derive(Debug, Clone)]
pub struct PersonEdit {
    pub file: String,
    pub field: String,
    pub to: String,
}

/// The accepted edits.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub people: Vec<PersonEdit>,
    pub programs: Vec<AppEdit>,
    /// The texts that resolved conflicts.
    pub chosen: Vec<String>,
    /// The accepted edits without a text (stars, trash, folders), in Drive and at the API.
    pub others: (usize, usize),
    pub decisions: usize,
    /// The response times of our API, in seconds, by the minute of the soak.
    pub took: BTreeMap<u64, Vec<f64>>,
    /// The responses, by side and status.
    pub answers: BTreeMap<String, usize>,
    /// Violations.
    pub wrong: Vec<String>,
}

/// The shared state.
pub struct Stage {
    pub api: String,
    pub drive: String,
    drive_control: String,
    identity: Identity,
    pub connection: String,
    pub http: reqwest::Client,
    pub files: Vec<String>,
    pub folders: Vec<String>,
    pub ledger: Mutex<Ledger>,
    pub retries: AtomicU64,
    over: AtomicBool,
    began: Instant,
}

/// A response: status, JSON and ETag.
pub struct Answer {
    pub status: u16,
    pub etag: String,
    pub body: Value,
}

impl Stage {
    pub fn new(drive_url: &str, control_key: &str, ready: &Value, data_dir: &Path) -> Self {
        let text = |member: &str| ready[member].as_str().unwrap().to_owned();
        Self {
            api: text("api"),
            drive: drive_url.to_owned(),
            drive_control: control_key.to_owned(),
            identity: Identity::open(data_dir).unwrap(),
            connection: text("connection"),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(60))
                .build()
                .unwrap(),
            files: Vec::new(),
            folders: Vec::new(),
            ledger: Mutex::default(),
            retries: AtomicU64::new(0),
            over: AtomicBool::new(false),
            began: Instant::now(),
        }
    }

    /// Returns a token: a soak takes longer than one is valid.
    pub fn token(&self) -> String {
        let now = Clock::system().now();
        self.identity.own_token(Role::Admin, now).unwrap()
    }

    /// Stores the lists of files and folders.
    pub fn know(&mut self, items: &[Value]) {
        for item in items {
            let id = item["id"].as_str().unwrap().to_owned();
            let folder = item["fields"]["mime_type"] == FOLDER;
            if folder {
                self.folders.push(id);
            } else {
                self.files.push(id);
            }
        }
    }

    /// Draws a file to edit, half of the time one of the hot ones.
    pub fn draw(&self, rng: &mut Rng) -> &str {
        let among = if rng.bool() {
            self.files.len()
        } else {
            HOT_FILES.min(self.files.len())
        };
        &self.files[rng.usize(0..among)]
    }

    /// Starts the time measurement.
    pub fn begin(&mut self) {
        self.began = Instant::now();
        self.ledger.lock().unwrap().took.clear();
    }

    /// Ends the edits: no actor starts another one.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn wrong(&self, what: String) {
        self.ledger.lock().unwrap().wrong.push(what);
    }

    /// Sends one request; `None` if no response arrived.
    async fn send(&self, request: reqwest::RequestBuilder, side: &str) -> Option<Answer> {
        let answer = async {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            let etag = answer.headers().get("etag");
            let etag = etag.and_then(|tag| tag.to_str().ok()).unwrap_or_default();
            let etag = etag.to_owned();
            let bytes = answer.bytes().await.ok()?;
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Some(Answer { status, etag, body })
        };
        let answer = answer.await;
        let word = answer
            .as_ref()
            .map_or("none".to_owned(), |answer| answer.status.to_string());
        let mut ledger = self.ledger.lock().unwrap();
        *ledger.answers.entry(format!("{side} {word}")).or_default() += 1;
        answer
    }

    /// Sends a request to Drive as one person.
    pub async fn person(
        &self,
        name: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<Answer> {
        let url = format!("{}/drive/v3/files{path}", self.drive);
        let mut request = self.http.request(method, url);
        request = request.header("authorization", format!("Bearer user:{name}"));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        self.send(request, "Drive").await
    }

    /// Sends a command to the simulated Drive.
    pub async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/_control/{path}", self.drive);
        let request = self.http.request(method, url).json(&body);
        let request = request.header("x-drive-control", &self.drive_control);
        let answer = self.send(request, "control").await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Sends one request to our API; `path` follows that of the connection.
    pub async fn api(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<Answer> {
        let url = format!("{}/v1/connections/{}{path}", self.api, self.connection);
        let mut request = self.http.request(method, url);
        request = request.header("authorization", format!("Bearer {}", self.token()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let asked = Instant::now();
        let answer = self.send(request, "API").await?;
        let minute = self.began.elapsed().as_secs() / 60;
        let mut ledger = self.ledger.lock().unwrap();
        ledger
            .took
            .entry(minute)
            .or_default()
            .push(asked.elapsed().as_secs_f64());
        drop(ledger);
        Some(answer)
    }

    /// Repeats a request to our API until it is answered, with a growing pause and the same
    /// `Idempotency-Key`. Also returns whether an earlier attempt may have been executed.
    pub async fn insist(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (Answer, bool) {
        let (mut pause, mut open) = (Duration::from_millis(50), false);
        loop {
            let answer = self.api(method.clone(), path, headers, body.clone()).await;
            match answer {
                Some(answer) if !matches!(answer.status, 429 | 500..) => return (answer, open),
                Some(answer) => {
                    if !matches!(answer.status, 429 | 503) {
                        self.wrong(format!(
                            "the API answered {}: {}",
                            answer.status, answer.body
                        ));
                    }
                    open = true;
                }
                None => open = true,
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }

    /// Reads an existing resource of our API.
    pub async fn get(&self, path: &str) -> Value {
        let (answer, _) = self.insist(Method::GET, path, &[], None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Returns all items of a list of our API.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{next}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// Returns every item of the library, as Drive's v3 shows it to its owner.
    pub async fn in_drive(&self) -> Vec<Value> {
        const WANTED: &str =
            "nextPageToken,files(id,name,description,starred,explicitlyTrashed,parents,properties)";
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let path = format!("?pageSize=1000&fields={WANTED}{next}");
            let page = self.person("owner", Method::GET, &path, None).await;
            let page = page.expect("an answer of Drive").body;
            items.extend(page["files"].as_array().unwrap().iter().cloned());
            match page["nextPageToken"].as_str() {
                Some(token) => next = format!("&pageToken={token}"),
                None => return items,
            }
        }
    }

    /// Makes Drive misbehave: one response in twenty is a rejection, some are lost after execution,
    /// and many notifications are dropped, repeated or late. The edits of people are exempt, so
    /// that it is certain which were accepted.
    pub async fn misbehave(&self) {
        let kinds = [
            (403, "userRateLimitExceeded"),
            (429, "rateLimitExceeded"),
            (503, "backendError"),
        ];
        for pattern in [
            "* /drive/v2/*",
            "GET /drive/v3/*",
            "POST /drive/v3/*",
            "* /batch/*",
        ] {
            for (status, reason) in kinds {
                let fault = json!({
                    "match": pattern, "times": 0, "share": 0.05 / 3.0,
                    "respond": {"status": status, "reason": reason},
                });
                self.control(Method::POST, "faults", fault).await;
            }
        }
        for lost in [
            json!({"match": "PATCH /drive/v2/*", "times": 0, "share": 0.01, "applied": true,
                "respond": {"status": 503, "reason": "backendError"}}),
            json!({"match": "* /batch/*", "times": 0, "share": 0.01, "applied": true,
                "drop": true}),
        ] {
            self.control(Method::POST, "faults", lost).await;
        }
        let unreliable =
            json!({"drop": 0.2, "duplicate": 0.2, "delay_ms": [0, 500], "reorder": true});
        self.control(Method::POST, "notifications", unreliable)
            .await;
    }

    /// Returns the calls of the product to Drive so far, for each edit that was accepted.
    pub async fn calls_an_edit(&self) -> f64 {
        let counters = self.control(Method::GET, "counters", json!({})).await;
        let calls = counters["calls"].as_object().into_iter().flatten();
        // A batch is no call of its own.
        let calls = calls.filter(|(method, _)| *method != "batch");
        let all: u64 = calls.filter_map(|(_, count)| count.as_u64()).sum();
        let ledger = self.ledger.lock().unwrap();
        let people = ledger.answers.iter();
        let people = people.filter(|(kind, _)| kind.starts_with("Drive "));
        let people: usize = people.map(|(_, count)| count).sum();
        let accepted = ledger.programs.iter().filter(|edit| edit.accepted).count();
        let edits = ledger.people.len() + accepted + ledger.others.0 + ledger.others.1;
        let count = |number: usize| f64::from(u32::try_from(number).unwrap());
        count(usize::try_from(all).unwrap().saturating_sub(people)) / count(edits.max(1))
    }

    /// Ends the faults and returns the number of calls that met one.
    pub async fn behave(&self) -> u64 {
        self.control(Method::DELETE, "faults", json!({})).await;
        self.control(Method::POST, "notifications", json!({})).await;
        self.control(Method::POST, "pages", json!({})).await;
        let counters = self.control(Method::GET, "counters", json!({})).await;
        counters["faults"].as_u64().unwrap_or(0)
    }
}
