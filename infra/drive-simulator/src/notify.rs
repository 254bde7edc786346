//! Delivery of notifications: real POSTs, as unreliable as the control interface asks.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
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
    state::change_logs::channels::{Notification, Watched},
};

/// The maximum number of concurrent deliveries.
const CONCURRENT_MAX: usize = 32;
/// The timeout of one delivery.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of attempts per notification.
const ATTEMPTS_MAX: u32 = 8;
/// The delay after the first failed attempt; it doubles with every further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The window in which deliveries are shuffled if no delay is set.
const REORDER_WINDOW_MS: u64 = 200;

/// The unreliability of deliveries. The default is a perfect network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotificationPolicy {
    /// The fraction of notifications that is never sent, 0 to 1. `sync` is never dropped.
    pub drop: f64,
    /// The fraction that is sent twice, 0 to 1.
    pub duplicate: f64,
    /// The minimum and the maximum delay, in milliseconds.
    pub delay_ms: (u64, u64),
    /// Lets later notifications overtake earlier ones, a channel's `sync` too. Without it, the
    /// `sync` of a channel is delivered before anything else of it.
    pub reorder: bool,
    /// Omits a notification while another one of its channel waits to be sent.
    pub coalesce: bool,
    /// Sends nothing at all: a Drive whose notifications have stopped.
    pub silent: bool,
    /// Spells the state of a channel on a log `changed`, as the documentation's sample does,
    /// instead of `change`.
    pub changed_spelling: bool,
}

/// Sends one notification, which has no body, and returns the status of the response; `None`
/// without a response.
pub type SendNotification =
    Arc<dyn Fn(Request<()>) -> BoxFuture<'static, Option<u16>> + Send + Sync>;

/// Passes notifications to a dispatcher task, which it spawns on the first runtime available.
#[derive(Debug)]
pub(crate) struct Notifier {
    sender: mpsc::UnboundedSender<Notification>,
    idle: Mutex<Option<mpsc::UnboundedReceiver<Notification>>>,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<Clock>,
    /// Replaces the delivery over HTTP.
    deliver: Option<SendNotification>,
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
    /// Creates a notifier.
    pub(crate) fn new(clock: Arc<Clock>, deliver: Option<SendNotification>) -> Self {
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
    pub(crate) fn send(&self, notifications: Vec<Notification>, seed: u64) {
        for notification in notifications {
            // The dispatcher lives as long as this sender; a closed channel means that its runtime
            // has ended.
            if self.sender.send(notification).is_err() {
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

    /// Sets the unreliability of deliveries from now on.
    pub(crate) fn set_policy(&self, policy: NotificationPolicy) {
        *lock(&self.shared.policy) = policy;
    }

    /// Returns the number of deliveries by outcome.
    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.outcomes)
            .iter()
            .map(|(outcome, count)| ((*outcome).to_owned(), *count))
            .collect()
    }

    /// Zeroes the counters of outcomes.
    pub(crate) fn reset_outcomes(&self) {
        lock(&self.shared.outcomes).clear();
    }
}

/// A notification and the time at which it is to be sent; ordered by that time, then by arrival.
struct QueuedDelivery {
    due: Instant,
    order: u64,
    attempt: u32,
    notification: Notification,
}

impl PartialEq for QueuedDelivery {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}

impl Eq for QueuedDelivery {}

impl PartialOrd for QueuedDelivery {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueuedDelivery {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

/// The notifications that wait for their time.
#[derive(Default)]
struct DeliveryQueue {
    heap: BinaryHeap<Reverse<QueuedDelivery>>,
    order: u64,
    /// The channels with an unsent change in the queue, for coalescing.
    channels: HashSet<String>,
    /// The deliveries of `sync` under way or to come, by channel, and what waits for them.
    syncs: HashMap<String, (usize, Vec<QueuedDelivery>)>,
}

impl DeliveryQueue {
    fn push(&mut self, due: Instant, attempt: u32, notification: Notification) {
        self.order += 1;
        self.channels.insert(notification.channel.id.clone());
        self.heap.push(Reverse(QueuedDelivery {
            due,
            order: self.order,
            attempt,
            notification,
        }));
    }

    fn pop(&mut self) -> Option<QueuedDelivery> {
        let Reverse(pending) = self.heap.pop()?;
        self.channels.remove(&pending.notification.channel.id);
        Some(pending)
    }

    /// Counts a `sync` that is to be delivered.
    fn begin_sync(&mut self, channel: &str) {
        self.syncs.entry(channel.to_owned()).or_default().0 += 1;
    }

    /// Counts a `sync` whose delivery has ended, and releases what waited for the last one.
    fn end_sync(&mut self, channel: &str) {
        let Some((left, waiting)) = self.syncs.get_mut(channel) else {
            return;
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            let waiting = std::mem::take(waiting);
            self.syncs.remove(channel);
            self.heap.extend(waiting.into_iter().map(Reverse));
        }
    }

    /// Holds a delivery back while a `sync` of its channel is under way; returns any other.
    fn hold_back(&mut self, pending: QueuedDelivery) -> Option<QueuedDelivery> {
        let channel = &pending.notification.channel.id;
        match self.syncs.get_mut(channel) {
            Some((_, waiting)) if pending.notification.state != "sync" => {
                waiting.push(pending);
                None
            }
            Some(_) | None => Some(pending),
        }
    }

    fn due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(pending)| pending.due)
    }
}

/// Sends queued notifications until the simulator is dropped.
async fn dispatch(
    mut incoming: mpsc::UnboundedReceiver<Notification>,
    shared: Arc<Shared>,
    mut rng: fastrand::Rng,
) {
    let deliver = match shared.deliver.clone().map_or_else(http_delivery, Ok) {
        Ok(deliver) => deliver,
        Err(error) => {
            tracing::error!(%error, "cannot create the HTTP client for notifications");
            return;
        }
    };
    let (retry_sender, mut retries) = mpsc::unbounded_channel::<(Notification, u32)>();
    let (synced_sender, mut synced) = mpsc::unbounded_channel::<String>();
    let slots = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut queue = DeliveryQueue::default();
    loop {
        let due = queue.due();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            notification = incoming.recv() => match notification {
                Some(notification) => schedule(&mut queue, notification, &shared, &mut rng),
                None => return,
            },
            Some((notification, attempt)) = retries.recv() => {
                let pause = BACKOFF_FIRST * 2_u32.saturating_pow(attempt.saturating_sub(1));
                let jitter = Duration::from_millis(rng.u64(0..100));
                queue.push(Instant::now() + pause + jitter, attempt, notification);
            },
            Some(channel) = synced.recv() => queue.end_sync(&channel),
            () = wait => {
                let Some(pending) = queue.pop() else { continue };
                let reorders = lock(&shared.policy).reorder;
                let held = if reorders { Some(pending) } else { queue.hold_back(pending) };
                let Some(pending) = held else { continue };
                // The semaphore is never closed. Waiting for a slot bounds the tasks and keeps the
                // order of sending.
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let (send, retry) = (Arc::clone(&deliver), retry_sender.clone());
                let (shared, synced) = (Arc::clone(&shared), synced_sender.clone());
                tokio::spawn(async move {
                    let sync = pending.notification.state == "sync";
                    let channel = pending.notification.channel.id.clone();
                    let ended = attempt(&send, &shared, pending, &retry).await;
                    drop(slot);
                    // The dispatcher that would be told may have ended with its runtime.
                    if ended && sync && synced.send(channel).is_err() {
                        tracing::debug!("the dispatcher of notifications has ended");
                    }
                });
            },
        }
    }
}

/// Decides the fate of a new notification: dropped, sent once or twice, now or later.
fn schedule(
    queue: &mut DeliveryQueue,
    notification: Notification,
    shared: &Shared,
    rng: &mut fastrand::Rng,
) {
    let policy = *lock(&shared.policy);
    let sync = notification.state == "sync";
    if policy.silent || (!sync && rng.f64() < policy.drop) {
        shared.count("dropped");
        return;
    }
    if policy.coalesce && !sync && queue.channels.contains(&notification.channel.id) {
        shared.count("coalesced");
        return;
    }
    let (min, max) = (policy.delay_ms.0, policy.delay_ms.1.max(policy.delay_ms.0));
    let max = if policy.reorder {
        max.max(min + REORDER_WINDOW_MS)
    } else {
        max
    };
    let mut due = || {
        let delay = if policy.reorder || min != max {
            rng.u64(min..=max)
        } else {
            min
        };
        Instant::now() + Duration::from_millis(delay)
    };
    let (first, second) = (due(), due());
    if sync {
        queue.begin_sync(&notification.channel.id);
    }
    if rng.f64() < policy.duplicate {
        shared.count("duplicated");
        if sync {
            queue.begin_sync(&notification.channel.id);
        }
        queue.push(second, 0, notification.clone());
    }
    queue.push(first, 0, notification);
}

/// Makes one attempt, and returns whether it was the last one. Only 500, 502, 503, 504 and missing
/// responses are retried, as Drive does.
async fn attempt(
    send: &SendNotification,
    shared: &Shared,
    pending: QueuedDelivery,
    retry: &mpsc::UnboundedSender<(Notification, u32)>,
) -> bool {
    let QueuedDelivery {
        notification,
        attempt,
        ..
    } = pending;
    if !notification.channel.is_live(shared.clock.now_ms()) {
        shared.count("expired");
        return true;
    }
    let changed_spelling = lock(&shared.policy).changed_spelling;
    let request = match request(&notification, changed_spelling) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "cannot build the notification request");
            shared.count("failed");
            return true;
        }
    };
    let status = send(request).await;
    let retryable = match status {
        Some(102 | 200..=299) => {
            shared.count("delivered");
            return true;
        }
        Some(500 | 502 | 503 | 504) | None => attempt + 1 < ATTEMPTS_MAX,
        Some(_) => false,
    };
    if retryable && retry.send((notification, attempt + 1)).is_ok() {
        shared.count("retried");
        false
    } else {
        shared.count("failed");
        true
    }
}

/// Delivers over HTTP.
fn http_delivery() -> Result<SendNotification, reqwest::Error> {
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
            let response = client.execute(request).await.ok()?;
            Some(response.status().as_u16())
        })
    }))
}

fn request(
    notification: &Notification,
    changed_spelling: bool,
) -> Result<Request<()>, http::Error> {
    let channel = &notification.channel;
    let on_log = match channel.watched {
        Watched::UserLog(_) | Watched::DriveLog(_) => true,
        Watched::File(_) => false,
    };
    let state = if changed_spelling && on_log && notification.state == "change" {
        "changed"
    } else {
        notification.state
    };
    let mut request = Request::post(channel.address.to_string())
        .header("Content-Length", "0")
        .header("X-Goog-Channel-ID", &channel.id)
        .header("X-Goog-Message-Number", notification.number)
        .header("X-Goog-Resource-ID", &channel.resource_id)
        .header("X-Goog-Resource-State", state)
        .header("X-Goog-Resource-URI", &channel.resource_uri)
        .header("X-Goog-Channel-Expiration", http_date(channel.expires_ms));
    if let Some(token) = &channel.token {
        request = request.header("X-Goog-Channel-Token", token);
    }
    if let Some(changed) = &notification.changed {
        request = request.header("X-Goog-Changed", changed);
    }
    request.body(())
}
