//! A Drive and a system that is connected to it.

mod differences;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::rate_limit::TenantLimits;
use domain::webhook::Reachable;
use domain::{ConnectionKey, LogId, Timestamp};
use drive_simulator::{Fault, Simulator};
use http::Method;
use local::gateway::websocket::SocketTimes;
use local::system::{Options, System};
use serde_json::{Value, json};
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::wait::{BOUND, within_bound};
use super::{Person, eventually};

/// The files of the synthetic library of a world, by default.
const FILES: usize = 24;
/// The files of the shared world: one or more for each test that takes some.
const FILES_SHARED: usize = 120;

/// The initial state of a world.
pub struct Setup {
    pub files: usize,
    pub folders: usize,
    /// The data directory of the system; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// Whether Drive can send notifications.
    pub notified: bool,
    pub limits: TenantLimits,
    pub socket_times: SocketTimes,
    pub canary: Option<local::canary::Setup>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            files: FILES,
            folders: 4,
            data_dir: None,
            notified: true,
            limits: TenantLimits::none(),
            socket_times: SocketTimes::default(),
            canary: None,
        }
    }
}

/// A Drive and a connection to it, seen from outside: through Drive, and through the HTTP API.
pub struct Outside {
    pub simulator: Simulator,
    pub drive_url: String,
    pub api_url: String,
    pub token: String,
    pub connection: String,
    pub http: reqwest::Client,
    taken: AtomicUsize,
}

/// A Drive, a system in this process, and the connection between them.
pub struct World {
    outside: Outside,
    pub system: System,
    pub key: ConnectionKey,
}

impl std::ops::Deref for World {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}

/// A response of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }
}

/// Runs a test. All tests share one runtime, so that the shared world outlives each of them.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap()
    });
    runtime.block_on(test)
}

/// Runs a test in the shared world: it takes files of its own and affects no other test.
pub fn shared(test: impl AsyncFnOnce(&'static World)) {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    run(async {
        let setup = || {
            World::start(Setup {
                files: FILES_SHARED,
                ..Setup::default()
            })
        };
        test(WORLD.get_or_init(setup).await).await;
    });
}

/// Runs a test in a world of its own.
pub fn own(test: impl AsyncFnOnce(&World)) {
    own_with(Setup::default(), test);
}

/// Runs a test in a world of its own with this initial state.
pub fn own_with(setup: Setup, test: impl AsyncFnOnce(&World)) {
    run(async {
        let world = World::start(setup).await;
        test(&world).await;
        world.system.stop().await;
    });
}

/// Serves a Drive for as long as the tests run, and returns its address.
pub async fn serve(simulator: &Simulator) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    url
}

/// Returns the secret of a connection that acts as a user of the simulator.
pub fn credentials(drive_url: &str, user: &str) -> String {
    json!({
        "type": "authorized_user", "client_id": "x", "client_secret": "y",
        "refresh_token": format!("user:{user}"), "token_uri": format!("{drive_url}/token"),
    })
    .to_string()
}

impl World {
    /// Starts a Drive with a library and a system, connects them, and waits until the first sync is
    /// done and, if Drive can notify, until there is a channel.
    pub async fn start(setup: Setup) -> Self {
        let simulator = Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(setup.files, setup.folders);
        let drive_url = serve(&simulator).await;
        let world = Self::connected(simulator, &drive_url, &setup).await;
        world.converge().await;
        world.operations_ended().await;
        if setup.notified {
            eventually("Drive notifies", async || world.log().await.channel).await;
        }
        world
    }

    /// Starts a system beside a running Drive, and waits for nothing.
    pub async fn beside(
        simulator: Simulator,
        drive_url: &str,
        data_dir: Option<PathBuf>,
        notified: bool,
    ) -> Self {
        let setup = Setup {
            data_dir,
            notified,
            ..Setup::default()
        };
        Self::connected(simulator, drive_url, &setup).await
    }

    async fn connected(simulator: Simulator, drive_url: &str, setup: &Setup) -> Self {
        let content = drive::reqwest_content_transport(drive::ContentTimeouts::default()).unwrap();
        let options = Options {
            data_dir: setup.data_dir.clone(),
            api: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            transport: drive::reqwest_transport(drive::Timeouts::default()).unwrap(),
            content: Some(content),
            drive_url: drive_url.to_owned(),
            simulator: Some(simulator.clone()),
            push_notifications: setup.notified,
            history_days: Some(1),
            tenant_limits: setup.limits,
            socket_times: setup.socket_times,
            default_ports: false,
            serve_aws: None,
            hosts: drive_simulator::Hosts::default(),
            webhook_hosts: Reachable::PublicAndLoopback,
            canary: setup.canary.clone(),
        };
        let system = System::start(options).await.unwrap();
        let key = system
            .connect(&credentials(drive_url, "owner"), None)
            .await
            .unwrap();
        let outside = Outside::new(
            simulator,
            drive_url,
            &system.api_url.clone().unwrap(),
            &system.token().unwrap(),
            key.connection.as_str(),
        );
        Self {
            outside,
            system,
            key,
        }
    }

    /// Returns the store, for access beyond the API.
    pub fn store(&self) -> &Store {
        &self.system.functions.sweep.store
    }

    pub fn now(&self) -> Timestamp {
        self.system.now()
    }

    /// Returns the user's log, as stored in the table.
    pub async fn log(&self) -> store::Log {
        self.store()
            .load_log(&self.key, &LogId::user())
            .await
            .unwrap()
            .unwrap()
    }

    /// Returns the messages in the queues, in any state.
    pub fn queued(&self) -> usize {
        self.system.aws.queued().unwrap()
    }

    /// Waits until both sides are equal in every field, or in an open conflict, and all queues are
    /// empty.
    pub async fn converge(&self) {
        let mut wrong = Vec::new();
        let end = tokio::time::Instant::now() + 2 * BOUND;
        while tokio::time::Instant::now() < end {
            if self.queued() == 0 {
                wrong = self.differences().await;
                if wrong.is_empty() && self.queued() == 0 {
                    return;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!(
            "has not converged, {} queued, {} differences:\n{}",
            self.queued(),
            wrong.len(),
            wrong.join("\n")
        );
    }
}

impl Outside {
    /// Connects the tests to a Drive and to a system's API.
    pub fn new(
        simulator: Simulator,
        drive_url: &str,
        api_url: &str,
        token: &str,
        connection: &str,
    ) -> Self {
        Self {
            simulator,
            drive_url: drive_url.to_owned(),
            api_url: api_url.to_owned(),
            token: token.to_owned(),
            connection: connection.to_owned(),
            http: client(),
            taken: AtomicUsize::new(0),
        }
    }

    /// Returns a person in Drive.
    pub fn person(&self, name: &'static str) -> Person {
        Person {
            name,
            drive_url: self.drive_url.clone(),
            http: self.http.clone(),
        }
    }

    /// Returns the owner of the library, who is also the connection's user.
    pub fn owner(&self) -> Person {
        self.person("owner")
    }

    /// Returns a file of the library that no other test takes.
    pub fn take(&self) -> String {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let mut files = self.simulator.file_ids().into_iter();
        let mine = |id: &String| {
            let file = self.simulator.file(id);
            file.is_some_and(|file| file.name == format!("file-{number:06}.{}", kind(number)))
        };
        files
            .find(mine)
            .expect("the library has too few files for the tests that take some")
    }

    /// Calls the API, with a token or without.
    pub async fn call(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let url = format!("{}{path}", self.api_url);
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Calls the API about this connection; `path` follows `/v1/connections/{c}`.
    pub async fn api(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let path = format!("/v1/connections/{}{path}", self.connection);
        let body = body.map(|body| body.to_string());
        self.call(Some(&self.token), method, &path, headers, body.as_deref())
            .await
    }

    /// Reads a resource of this connection, and expects success.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.api(Method::GET, path, &[], None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Posts to a resource of this connection, and expects success.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.api(Method::POST, path, &[], Some(body)).await;
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        answer.body
    }

    /// Changes settings of this connection, and expects success.
    pub async fn configure(&self, settings: Value) -> Value {
        let any = [("if-match", "*")];
        let answer = self.api(Method::PATCH, "", &any, Some(settings)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Calls the API outside this connection.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        let token = Some(self.token.as_str());
        self.call(token, method, path, &[], body.as_deref()).await
    }

    /// Waits until the connection is in a state, and returns its status.
    pub async fn state_until(&self, state: &str) -> Value {
        eventually(&format!("the connection is {state}"), async || {
            let status = self.get("/status").await;
            (status["state"] == state).then_some(status)
        })
        .await
    }

    /// Returns a file of the API, if it has one.
    pub async fn find(&self, id: &str) -> Option<Value> {
        let answer = self
            .api(Method::GET, &format!("/files/{id}"), &[], None)
            .await;
        (answer.status == 200).then_some(answer.body)
    }

    /// Returns a file of the API.
    pub async fn file(&self, id: &str) -> Value {
        self.get(&format!("/files/{id}")).await
    }

    /// Changes a file at the API, unconditionally.
    pub async fn edit(&self, id: &str, fields: Value) -> Answer {
        let path = format!("/files/{id}");
        self.api(Method::PATCH, &path, &[("if-match", "*")], Some(fields))
            .await
    }

    /// Changes a file at the API, and expects success.
    pub async fn edit_ok(&self, id: &str, fields: Value) -> Value {
        let answer = self.edit(id, fields).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Waits until a file is as wanted at the API.
    pub async fn file_until(&self, what: &str, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = String::new();
        let found = within_bound(async || {
            let file = self.find(id).await;
            seen = format!("{file:?}");
            file.filter(|file| wanted(file))
        });
        let found = found.await;
        found.unwrap_or_else(|| panic!("not in time: {what}; last seen: {seen}"))
    }

    /// Returns the conflicts of a file in any state, the oldest first.
    pub async fn conflicts_of(&self, id: &str) -> Vec<Value> {
        let all = self.get("/conflicts?status=all&limit=1000").await;
        let items = all["items"].as_array().unwrap().iter();
        items
            .filter(|conflict| conflict["file_id"] == id)
            .cloned()
            .collect()
    }

    /// Waits for the one open conflict of a file.
    pub async fn conflict_on(&self, id: &str, field: &str) -> Value {
        eventually(&format!("a conflict on {field}"), async || {
            let conflicts = self.conflicts_of(id).await;
            conflicts
                .into_iter()
                .find(|conflict| conflict["status"] == "open" && conflict["field"] == field)
        })
        .await
    }

    /// Adds a fault to the simulator.
    pub fn fault(&self, fault: Value) {
        let fault: Fault = serde_json::from_value(fault).unwrap();
        self.simulator.add_fault(fault).unwrap();
    }

    /// Sends a command to the simulator, expects success, and returns its response.
    pub async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/_control/{path}", self.drive_url);
        let answer = self
            .http
            .request(method, url)
            .header("x-drive-control", self.simulator.control_key().unwrap())
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Returns the number of calls of a method of Drive.
    pub fn calls(&self, method: &str) -> u64 {
        self.simulator
            .counters()
            .calls
            .get(method)
            .copied()
            .unwrap_or(0)
    }

    /// Stops Drive's notifications.
    pub fn disable_notifications(&self) {
        let policy = json!({"silent": true});
        self.simulator
            .set_notifications(serde_json::from_value(policy).unwrap());
    }

    /// Requests that the log is read now.
    pub async fn sync(&self) {
        self.post("/sync", json!({"mode": "delta"})).await;
    }

    /// Returns all present files of the connection, by id.
    pub async fn files(&self) -> BTreeMap<String, Value> {
        let mut files = BTreeMap::new();
        let mut path = "/files?limit=1000".to_owned();
        loop {
            let page = self.get(&path).await;
            for file in page["items"].as_array().unwrap() {
                let before = files.insert(file["id"].as_str().unwrap().to_owned(), file.clone());
                assert!(before.is_none(), "listed twice: {file}");
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/files?limit=1000&cursor={cursor}"),
                None => return files,
            }
        }
    }
}

/// Returns the file extension of the synthetic file of this number.
fn kind(number: usize) -> &'static str {
    ["txt", "pdf", "csv", "png", "json"][number % 5]
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(BOUND).build().unwrap()
}
