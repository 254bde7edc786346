//! The server's handle and its state. Every call that changes something is one transaction: it is
//! committed first, then the state in memory follows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use md5::{Digest as _, Md5};
use rusqlite::Connection;

use super::error::SqsError;
use super::queue::{Entry, Original, Queue};
use super::settings::{Attributes, Settings};
use super::storage::{self, SEQUENCE_SHIFT};
use crate::Clock;

/// The most entries in one batch, and the most messages in one receive.
pub const BATCH_MAX: usize = 10;
/// AWS bills each part of a payload of this many bytes, or of fewer, as one request.
const BILLED_BYTES: usize = 65_536;

/// A handle to a durable SQS server, cheap to clone. A queue is identified by its name or by
/// any URL that ends in it.
#[derive(Clone)]
pub struct Sqs {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for Sqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sqs")
    }
}

pub(super) struct Inner {
    state: Mutex<State>,
    clock: Clock,
    counters: Mutex<Counters>,
}

pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) queues: HashMap<String, Queue>,
    pub(super) last_sequence: i64,
    /// The time at which expired entries of the deduplication window were last deleted.
    pub(super) pruned_at: i64,
}

/// The requests that AWS would have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by action (`SendMessageBatch`, ...), refused ones included.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests as AWS bills them: one for each 64 KiB of payload begun, at least one.
    pub billed_requests: u64,
    /// Messages deleted while they were in flight, by queue.
    pub deleted: BTreeMap<String, Deleted>,
}

/// The number of messages deleted from one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// All deleted messages.
    pub all: u64,
    /// The messages that were deleted after a single receive.
    pub at_first: u64,
}

/// Returns the last path segment of a queue's URL, or the name itself.
pub(super) fn queue_name(name_or_url: &str) -> &str {
    name_or_url.rsplit('/').next().unwrap_or(name_or_url)
}

impl Sqs {
    /// Opens the database at a path, or an empty one in memory without a path. Messages that were
    /// in flight are visible at once; receive counts and the deduplication window are as they were.
    ///
    /// # Errors
    /// The database cannot be opened, or holds values that this version cannot read.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, SqsError> {
        let connection = storage::open(path)?;
        let now = clock();
        let mut names = HashMap::new();
        let mut queues = HashMap::new();
        for row in storage::queues(&connection)? {
            let attributes: Attributes = serde_json::from_str(&row.attributes)?;
            let settings = Settings::default().with(&attributes)?;
            let mut queue = Queue::new(row.id, &row.name, settings, row.created_at);
            queue.modified_at = row.modified_at;
            names.insert(row.id, row.name.clone());
            queues.insert(row.name, queue);
        }
        for row in storage::entries(&connection)? {
            if let Some(queue) = names.get(&row.queue).and_then(|name| queues.get_mut(name)) {
                let mut entry = Entry::new(row.sequence, row.sent_at);
                entry.receive_count = row.receive_count;
                entry.first_received_at = row.first_received_at;
                entry.available_at = row.available_at;
                queue.push(&row.group_id, entry, now);
            }
        }
        for row in storage::originals(&connection)? {
            if let Some(queue) = names.get(&row.queue).and_then(|name| queues.get_mut(name)) {
                let (message_id, sequence, sent_at) = (row.message_id, row.sequence, row.sent_at);
                queue.remember(
                    row.key,
                    Original {
                        message_id,
                        sequence,
                        sent_at,
                    },
                );
            }
        }
        let last_sequence = storage::last_sequence(&connection)?;
        let state = State {
            connection,
            queues,
            last_sequence,
            pruned_at: now,
        };
        let (state, counters) = (Mutex::new(state), Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner {
                state,
                clock,
                counters,
            }),
        })
    }

    /// Returns the time of this server's clock, in milliseconds of Unix time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    /// Returns the requests so far, including those through the Rust API.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sets all counters to zero.
    pub fn reset_counters(&self) {
        *self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Counters::default();
    }

    pub(super) fn count(&self, action: &'static str, payload_bytes: usize) {
        let mut counters = self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *counters.requests.entry(action).or_default() += 1;
        counters.billed_requests += payload_bytes.div_ceil(BILLED_BYTES).max(1) as u64;
    }

    pub(super) fn count_deleted(&self, queue: &str, deleted: Deleted) {
        let mut counters = self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all = counters.deleted.entry(queue.to_owned()).or_default();
        all.all += deleted.all;
        all.at_first += deleted.at_first;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the sequence number after `last`, not below the time.
pub(super) fn next_sequence(last: i64, now: i64) -> i64 {
    (last + 1).max(now << SEQUENCE_SHIFT)
}

/// Refuses an empty batch and one of more than ten entries.
pub(super) fn check_batch(entries: usize) -> Result<(), SqsError> {
    match entries {
        0 => Err(SqsError::EmptyBatchRequest),
        1..=BATCH_MAX => Ok(()),
        _ => Err(SqsError::TooManyEntriesInBatchRequest(entries)),
    }
}

/// Returns a message's id: a UUID (version 3) of its queue and sequence number, so that a run in
/// virtual time repeats exactly.
pub(super) fn message_id(queue: &str, sequence: i64) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    let digest = Md5::digest(format!("{queue}/{sequence}").as_bytes());
    let id = u128::from_be_bytes(digest.into()) & !(VERSION | VARIANT) | (3 << 76) | (2 << 62);
    let text = format!("{id:032x}");
    let mut groups = Vec::with_capacity(5);
    let mut rest = text.as_str();
    for length in [8, 4, 4, 4, 12] {
        let (group, after) = rest.split_at(length);
        groups.push(group);
        rest = after;
    }
    groups.join("-")
}
