//! Delivery of notifications: real POSTs, as unreliable as the control interface asks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Request;
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::{
    clock::{Clock, http_date},
    state::channel::{Notice, Watched},
};

/// Deliveries under way at one time.
const CONCURRENT_MAX: usize = 32;
/// The time that one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of one notification.
const ATTEMPTS_MAX: u32 = 8;
/// The first pause after a failed attempt; it doubles every time.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The window in which deliveries are shuffled when no delay is given.
const REORDER_WINDOW_MS: u64 = 200;

/// How deliveries misbehave. The default is a perfect network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotificationPolicy {
    /// The share of notifications that is never sent, 0 to 1. `sync` is never dropped.
    pub drop: f64,
    /// The share that is sent twice, 0 to 1.
    pub duplicate: f64,
    /// The least and the greatest delay, in milliseconds.
    pub delay_ms: (u64, u64),
    /// Whether later notifications may overtake earlier ones. Without it, all are delayed alike, by the least delay.
    pub reorder: bool,
    /// Whether a notification is left out while another of its channel still waits to be sent.
    pub coalesce: bool,
    /// Whether nothing is sent at all: the Drive whose notifications have stopped.
    pub silent: bool,
    /// Whether the state of a channel on a log reads `changed`, as the documentation's sample prints it, not `change`.
    pub changed_spelling: bool,
}

/// Sends one notification, which has no body, and gives the answer's status; `None` where none came.
pub type Deliver = Arc<dyn Fn(Request<()>) -> BoxFuture<'static, Option<u16>> + Send + Sync>;

/// Hands notifications over to a dispatcher task, which it starts when there is a runtime to start it on.
#[derive(Debug)]
pub(crate) struct Notifier {
    sender: mpsc::UnboundedSender<Notice>,
    idle: Mutex<Option<mpsc::UnboundedReceiver<Notice>>>,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<Clock>,
    /// How notifications leave, where it is not over HTTP.
    deliver: Option<Deliver>,
    policy: Mutex<NotificationPolicy>,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn count(&self, outcome: &'static str) {
        *lock(&self.outcomes).entry(outcome).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifier {
    /// A notifier that has sent nothing yet.
    pub(crate) fn new(clock: Arc<Clock>, deliver: Option<Deliver>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let shared = Shared {
            clock,
            deliver,
            policy: Mutex::default(),
            outcomes: Mutex::default(),
        };
        Self {
            sender,
            idle: Mutex::new(Some(receiver)),
            shared: Arc::new(shared),
        }
    }

    /// Queues notifications. Without a runtime they wait for the next call that has one.
    pub(crate) fn send(&self, notices: Vec<Notice>, seed: u64) {
        for notice in notices {
            // The dispatcher lives as long as this sender; a closed channel means that its runtime has ended.
            if self.sender.send(notice).is_err() {
                self.shared.count("failed");
            }
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(receiver) = lock(&self.idle).take()
        {
            runtime.spawn(dispatch(
                receiver,
                Arc::clone(&self.shared),
                fastrand::Rng::with_seed(seed),
            ));
        }
    }

    /// How deliveries misbehave from now on.
    pub(crate) fn set_policy(&self, policy: NotificationPolicy) {
        *lock(&self.shared.policy) = policy;
    }

    /// Deliveries by outcome.
    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.outcomes)
            .iter()
            .map(|(outcome, count)| ((*outcome).to_owned(), *count))
            .collect()
    }

    /// Counts deliveries from zero again.
    pub(crate) fn zero(&self) {
        lock(&self.shared.outcomes).clear();
    }
}

/// A notification with the time at which it is to be sent; ordered by that time, then by arrival.
struct Pending {
    due: Instant,
    order: u64,
    attempt: u32,
    notice: Notice,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

/// The notifications that wait for their time.
#[derive(Default)]
struct Waiting {
    heap: BinaryHeap<Reverse<Pending>>,
    order: u64,
    /// The channels that have an unsent change waiting, for coalescing.
    channels: HashSet<String>,
}

impl Waiting {
    fn push(&mut self, due: Instant, attempt: u32, notice: Notice) {
        self.order += 1;
        self.channels.insert(notice.channel.id.clone());
        self.heap.push(Reverse(Pending {
            due,
            order: self.order,
            attempt,
            notice,
        }));
    }

    fn pop(&mut self) -> Option<Pending> {
        let Reverse(pending) = self.heap.pop()?;
        self.channels.remove(&pending.notice.channel.id);
        Some(pending)
    }

    fn due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(pending)| pending.due)
    }
}

/// Sends what is queued until the simulator is dropped.
async fn dispatch(
    mut incoming: mpsc::UnboundedReceiver<Notice>,
    shared: Arc<Shared>,
    mut rng: fastrand::Rng,
) {
    let deliver = match shared.deliver.clone().map_or_else(over_http, Ok) {
        Ok(deliver) => deliver,
        Err(error) => {
            tracing::error!(%error, "notifications cannot be sent");
            return;
        }
    };
    let (retry_sender, mut retries) = mpsc::unbounded_channel::<(Notice, u32)>();
    let slots = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut waiting = Waiting::default();
    loop {
        let due = waiting.due();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            notice = incoming.recv() => match notice {
                Some(notice) => schedule(&mut waiting, notice, &shared, &mut rng),
                None => return,
            },
            Some((notice, attempt)) = retries.recv() => {
                let pause = BACKOFF_FIRST * 2_u32.saturating_pow(attempt.saturating_sub(1));
                let jitter = Duration::from_millis(rng.u64(0..100));
                waiting.push(Instant::now() + pause + jitter, attempt, notice);
            },
            () = wait => {
                let Some(pending) = waiting.pop() else { continue };
                // The slots are closed by nobody: waiting for one bounds the tasks, and keeps the order of sending.
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let (send, shared, retry) = (Arc::clone(&deliver), Arc::clone(&shared), retry_sender.clone());
                tokio::spawn(async move {
                    attempt(&send, &shared, pending, &retry).await;
                    drop(slot);
                });
            },
        }
    }
}

/// Decides what becomes of a new notification: dropped, sent once or twice, now or later.
fn schedule(waiting: &mut Waiting, notice: Notice, shared: &Shared, rng: &mut fastrand::Rng) {
    let policy = *lock(&shared.policy);
    let sync = notice.state == "sync";
    if policy.silent || (!sync && rng.f64() < policy.drop) {
        shared.count("dropped");
        return;
    }
    if policy.coalesce && !sync && waiting.channels.contains(&notice.channel.id) {
        shared.count("coalesced");
        return;
    }
    let (least, most) = (policy.delay_ms.0, policy.delay_ms.1.max(policy.delay_ms.0));
    let most = if policy.reorder {
        most.max(least + REORDER_WINDOW_MS)
    } else {
        most
    };
    let mut due = || {
        let delay = if policy.reorder || least != most {
            rng.u64(least..=most)
        } else {
            least
        };
        Instant::now() + Duration::from_millis(delay)
    };
    let (first, second) = (due(), due());
    if rng.f64() < policy.duplicate {
        shared.count("duplicated");
        waiting.push(second, 0, notice.clone());
    }
    waiting.push(first, 0, notice);
}

/// One attempt. Only 500, 502, 503 and 504 (and no answer at all) are tried again, as Drive does.
async fn attempt(
    send: &Deliver,
    shared: &Shared,
    pending: Pending,
    retry: &mpsc::UnboundedSender<(Notice, u32)>,
) {
    let Pending {
        notice, attempt, ..
    } = pending;
    if !notice.channel.is_live(shared.clock.now_ms()) {
        shared.count("expired");
        return;
    }
    let changed_spelling = lock(&shared.policy).changed_spelling;
    let request = match request(&notice, changed_spelling) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "a notification cannot be written");
            shared.count("failed");
            return;
        }
    };
    let status = send(request).await;
    let again = match status {
        Some(102 | 200..=299) => {
            shared.count("delivered");
            return;
        }
        Some(500 | 502 | 503 | 504) | None => attempt + 1 < ATTEMPTS_MAX,
        Some(_) => false,
    };
    if again && retry.send((notice, attempt + 1)).is_ok() {
        shared.count("retried");
    } else {
        shared.count("failed");
    }
}

/// Real POSTs.
fn over_http() -> Result<Deliver, reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent("APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)")
        .build()?;
    Ok(Arc::new(move |request| {
        let client = client.clone();
        Box::pin(async move {
            let request = request.map(|()| reqwest::Body::default());
            let request = reqwest::Request::try_from(request).ok()?;
            let answer = client.execute(request).await.ok()?;
            Some(answer.status().as_u16())
        })
    }))
}

fn request(notice: &Notice, changed_spelling: bool) -> Result<Request<()>, http::Error> {
    let channel = &notice.channel;
    let on_log = match channel.watched {
        Watched::UserLog(_) | Watched::DriveLog(_) => true,
        Watched::File(_) => false,
    };
    let state = if changed_spelling && on_log && notice.state == "change" {
        "changed"
    } else {
        notice.state
    };
    let mut request = Request::post(channel.address.to_string())
        .header("Content-Length", "0")
        .header("X-Goog-Channel-ID", &channel.id)
        .header("X-Goog-Message-Number", notice.number)
        .header("X-Goog-Resource-ID", &channel.resource_id)
        .header("X-Goog-Resource-State", state)
        .header("X-Goog-Resource-URI", &channel.resource_uri)
        .header("X-Goog-Channel-Expiration", http_date(channel.expires_ms));
    if let Some(token) = &channel.token {
        request = request.header("X-Goog-Channel-Token", token);
    }
    if let Some(changed) = &notice.changed {
        request = request.header("X-Goog-Changed", changed);
    }
    request.body(())
}
