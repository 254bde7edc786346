//! What everybody in the soak shares: the two addresses, the files, and the ledger of what was accepted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};

/// Files that half of all edits go to, so that people and programs meet.
const HOT_FILES: usize = 30;
const FOLDER: &str = "application/vnd.google-apps.folder";

/// A text that a program wrote at our API.
#[derive(Debug, Clone)]
pub struct AppEdit {
    pub file: String,
    pub field: String,
    /// What the program saw when it decided to write: its `If-Match` was of this.
    pub from: String,
    pub to: String,
    /// Acknowledged. Otherwise it may have been done, and the answer was lost.
    pub accepted: bool,
}

/// A text that a person wrote in Drive, and Drive took.
#[derive(Debug, Clone)]
pub struct PersonEdit {
    pub file: String,
    pub field: String,
    pub to: String,
}

/// Everything that was accepted.
#[derive(Debug, Default)]
pub struct Ledger {
    pub people: Vec<PersonEdit>,
    pub programs: Vec<AppEdit>,
    /// Texts that somebody chose to settle a conflict with.
    pub chosen: Vec<String>,
    /// Edits accepted of what is no text (stars, bins, folders), in Drive and at the API.
    pub others: (usize, usize),
    pub decisions: usize,
    /// How long our API took to answer, in seconds, by the minute of the soak.
    pub took: BTreeMap<u64, Vec<f64>>,
    /// Answers, by side and status.
    pub answers: BTreeMap<String, usize>,
    /// What must never be seen.
    pub wrong: Vec<String>,
}

/// The shared stage.
pub struct Stage {
    pub api: String,
    pub drive: String,
    pub token: String,
    pub connection: String,
    pub http: reqwest::Client,
    pub files: Vec<String>,
    pub folders: Vec<String>,
    pub ledger: Mutex<Ledger>,
    pub retries: AtomicU64,
    over: AtomicBool,
    began: Instant,
}

/// What was answered: a status and JSON, and the ETag.
pub struct Answer {
    pub status: u16,
    pub etag: String,
    pub body: Value,
}

impl Stage {
    pub fn new(drive: &str, ready: &Value) -> Self {
        let text = |member: &str| ready[member].as_str().unwrap().to_owned();
        Self {
            api: text("api"),
            drive: drive.to_owned(),
            token: text("token"),
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

    /// Remembers which files and folders there are.
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

    /// A file to edit: every second time one of the hot ones.
    pub fn draw(&self, rng: &mut Rng) -> &str {
        let among = if rng.bool() {
            self.files.len()
        } else {
            HOT_FILES.min(self.files.len())
        };
        &self.files[rng.usize(0..among)]
    }

    /// Time begins to count.
    pub fn begin(&mut self) {
        self.began = Instant::now();
        self.ledger.lock().unwrap().took.clear();
    }

    /// Nobody begins another edit.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn wrong(&self, what: String) {
        self.ledger.lock().unwrap().wrong.push(what);
    }

    /// One request; `None` where no answer came.
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

    /// Drive as one person sees it.
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

    /// An order to the simulated Drive.
    pub async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/_control/{path}", self.drive);
        let request = self.http.request(method, url).body(body.to_string());
        let answer = self.send(request, "control").await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Our API, once: `path` is behind the connection.
    pub async fn api(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Option<Answer> {
        let url = format!("{}/v1/connections/{}{path}", self.api, self.connection);
        let mut request = self.http.request(method, url);
        request = request.header("authorization", format!("Bearer {}", self.token));
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

    /// Our API until it answers: as a good client does, with a growing pause and the same `Idempotency-Key`. Also says
    /// whether an attempt before the last had no answer, or one that leaves open whether it was done.
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

    /// What is at our API, which must be there.
    pub async fn get(&self, path: &str) -> Value {
        let (answer, _) = self.insist(Method::GET, path, &[], None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// All items of a list of our API.
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

    /// Every item of the library, as Drive's v3 shows it to its owner.
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

    /// Has Drive misbehave: one answer in twenty is a refusal, some are lost after the deed, and of the notifications
    /// many are dropped, doubled or late. People's own edits are spared, so that what was accepted is beyond doubt.
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
            json!({"match": "* /batch/*", "times": 0, "share": 0.01, "applied": true, "drop": true}),
        ] {
            self.control(Method::POST, "faults", lost).await;
        }
        let unreliable =
            json!({"drop": 0.2, "duplicate": 0.2, "delay_ms": [0, 500], "reorder": true});
        self.control(Method::POST, "notifications", unreliable)
            .await;
    }

    /// Drive behaves again; gives how many calls had met a fault.
    pub async fn behave(&self) -> u64 {
        self.control(Method::DELETE, "faults", json!({})).await;
        self.control(Method::POST, "notifications", json!({})).await;
        let counters = self.control(Method::GET, "counters", json!({})).await;
        counters["faults"].as_u64().unwrap_or(0)
    }
}
