//! One Drive, and one system that is connected to it, as `local` wires them: on disk, over
//! loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::rate_limit::TenantLimits;
use domain::webhook::Reachable;
use domain::{ChannelId, ConnectionKey, Field, FileId, FileRecord, LogId, Value};
use drive_simulator::{NotificationPolicy, Simulator};
use http::StatusCode;
use lambda_http::Body;
use local::gateway::websocket::SocketTimes;
use local::system::{Options, System};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, Store};
use tokio::net::TcpListener;

/// The days for which history is kept, as `local` does.
const HISTORY_DAYS: u32 = 90;
/// The most time that a measurement waits for a result.
const BOUND: Duration = Duration::from_secs(1_800);
/// The records of one read: DynamoDB returns a hundred items at a time.
const LOOK: usize = 100;
const CHANNEL: &str = "bench-channel";
const TOKEN: &str = "bench-token";

/// A Drive and a system.
pub struct Rig {
    pub simulator: Simulator,
    pub system: System,
    pub key: ConnectionKey,
    _folder: Folder,
}

/// A folder that is removed with its owner.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!(
            "drivesync-bench-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps the folder for inspection.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Serves a simulated Drive for as long as the program runs, and returns its address.
pub async fn serve(simulator: &Simulator) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    url
}

/// Returns the secret of a connection that acts as the library's owner.
pub fn credentials(drive_url: &str) -> String {
    serde_json::json!({
        "type": "authorized_user", "client_id": "x", "client_secret": "y",
        "refresh_token": format!("user:{}", Simulator::library_owner()),
        "token_uri": format!("{drive_url}/token"),
    })
    .to_string()
}

impl Rig {
    /// Starts a system beside a running Drive, not yet connected to it. Returns its folder too.
    pub async fn start(drive_url: String) -> (System, Folder) {
        let folder = Folder::new();
        let options = Options {
            data_dir: Some(folder.path().to_owned()),
            api: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            transport: drive::reqwest_transport(drive::Timeouts::default()).unwrap(),
            content: Some(
                drive::reqwest_content_transport(drive::ContentTimeouts::default()).unwrap(),
            ),
            drive_url,
            simulator: None,
            push_notifications: true,
            socket_times: SocketTimes::default(),
            default_ports: false,
            serve_aws: None,
            hosts: drive_simulator::Hosts::default(),
            webhook_hosts: Reachable::PublicAndLoopback,
            canary: None,
            history_days: Some(HISTORY_DAYS),
            tenant_limits: TenantLimits::none(),
        };
        (System::start(options).await.unwrap(), folder)
    }

    pub fn new(simulator: Simulator, system: System, key: ConnectionKey, folder: Folder) -> Self {
        Self {
            simulator,
            system,
            key,
            _folder: folder,
        }
    }

    pub fn store(&self) -> &Store {
        &self.system.functions.sweep.store
    }

    /// Returns the messages in the queues, in any state.
    pub fn queued(&self) -> usize {
        self.system.aws.queued().unwrap()
    }

    /// Waits until all queues are empty.
    pub async fn drained(&self) {
        until("the queues are empty", async || {
            (self.queued() == 0).then_some(())
        })
        .await;
    }

    /// Waits until Drive notifies.
    pub async fn watched(&self) {
        until("Drive notifies", async || {
            let log = self
                .store()
                .load_log(&self.key, &LogId::user())
                .await
                .unwrap();
            log.and_then(|log| log.channel)
        })
        .await;
    }

    /// Makes Drive send one notification for every change, or none.
    pub fn notifications(&self, sent: bool) {
        self.simulator.set_notifications(NotificationPolicy {
            silent: !sent,
            ..NotificationPolicy::default()
        });
    }

    /// Returns the first `count` files of the library, without folders.
    pub fn files(&self, count: usize) -> Vec<String> {
        let ids = self.simulator.file_ids().into_iter();
        let is_file = |id: &String| {
            let file = self.simulator.file(id);
            file.is_some_and(|file| file.mime_type != "application/vnd.google-apps.folder")
        };
        ids.filter(is_file).take(count).collect()
    }

    /// Waits until every one of these files is as wanted in our records. Returns the time at which
    /// each tenth was; the last is that of all.
    pub async fn shown(
        &self,
        ids: &[String],
        wanted: impl Fn(&FileRecord) -> bool,
    ) -> Vec<Instant> {
        let mut left: Vec<FileId> = ids
            .iter()
            .rev()
            .map(|id| FileId::parse(id).unwrap())
            .collect();
        let mut tenths = Vec::new();
        let end = Instant::now() + BOUND;
        while !left.is_empty() {
            assert!(
                Instant::now() < end,
                "{} files are not as wanted within {BOUND:?}",
                left.len()
            );
            // Files arrive in the order of their changes: until the last of the next hundred has
            // arrived, the others need not be read, and reads load the measured system.
            let next = left.len().saturating_sub(LOOK);
            if left.len() > LOOK && !self.all_shown(&left[next..=next], &wanted).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let head = left.split_off(next);
            let records = self.store().load_files(&self.key, &head).await.unwrap();
            let before = head.len();
            let still = head
                .into_iter()
                .filter(|id| !records.get(id).is_some_and(&wanted));
            left.extend(still);
            let shown = ids.len() - left.len();
            while tenths.len() < 10 && shown * 10 >= ids.len() * (tenths.len() + 1) {
                tenths.push(Instant::now());
            }
            if left.len() >= LOOK.min(before) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tenths
    }

    async fn all_shown(&self, files: &[FileId], wanted: &impl Fn(&FileRecord) -> bool) -> bool {
        let records = self.store().load_files(&self.key, files).await.unwrap();
        records.len() == files.len() && records.values().all(wanted)
    }

    pub async fn stop(self) {
        self.system.stop().await;
    }
}

/// Returns whether a record has this description.
pub fn described(record: &FileRecord, text: &str) -> bool {
    record.app(&Field::Description) == Value::text(text)
}

/// A channel on the user's log that `receive-notification` accepts, independent of Drive's
/// notifications.
pub struct OwnChannel {
    deps: Arc<receive_notification::Deps>,
}

impl OwnChannel {
    pub async fn open(deps: Arc<receive_notification::Deps>, key: &ConnectionKey) -> Self {
        let later = deps.clock.now().plus_millis(86_400_000);
        let channel = Channel {
            id: ChannelId::parse(CHANNEL).unwrap(),
            key: key.clone(),
            log: LogId::user(),
            token_hash: Sha256::digest(TOKEN).into(),
            resource_id: Some("bench-resource".to_owned()),
            state: ChannelState::Active,
            expires_at: later,
            due_at: later,
        };
        deps.store.create_channel(&channel).await.unwrap();
        Self { deps }
    }

    /// Delivers one notification to the function.
    pub async fn notify(&self) {
        let request = http::Request::post("/webhooks/drive")
            .header("x-goog-channel-id", CHANNEL)
            .header("x-goog-channel-token", TOKEN)
            .header("x-goog-resource-id", "bench-resource")
            .header("x-goog-resource-state", "change")
            .header("x-goog-message-number", "7")
            .body(Body::Empty)
            .unwrap();
        let answer = receive_notification::handle(&request, &self.deps).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
}

/// Polls every few milliseconds until there is a result.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the number of calls of Drive's methods since `before`.
pub fn calls_since(simulator: &Simulator, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let now = simulator.counters().calls.into_iter();
    let less = now.map(|(name, calls)| {
        let less = calls - before.get(&name).copied().unwrap_or(0);
        (name, less)
    });
    less.filter(|(_, calls)| *calls > 0).collect()
}
