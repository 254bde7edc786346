//! The server's handle and its state. Every call that changes something is one transaction: first it is committed, then the
//! state in memory follows.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use md5::{Digest as _, Md5};
use rusqlite::Connection;

use super::admin::MoveTask;
use super::error::SqsError;
use super::queue::{Entry, Original, Queue};
use super::settings::{Attributes, Settings};
use super::storage::{self, SEQUENCE_SHIFT};
use crate::aws::Clock;

/// Messages, or entries of any other batch, in one request.
pub const BATCH_MAX: usize = 10;
/// AWS bills each part of a payload of this many bytes as one request.
const BILLED_BYTES: usize = 65_536;

/// A durable SQS FIFO server: a handle, cheap to clone. Queues are named by their name or by any URL that ends in it.
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
    pub(super) tasks: Vec<MoveTask>,
    pub(super) last_sequence: i64,
    /// When the deduplication window was last cleared of what has left it.
    pub(super) pruned_at: i64,
}

/// How many requests AWS would have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by action (`SendMessageBatch`, ...), refused ones included.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests as AWS bills them: one for each 64 KiB of payload begun, at least one.
    pub billed_requests: u64,
    /// Messages that were deleted while they were in flight, by queue.
    pub deleted: BTreeMap<String, Deleted>,
}

/// How many messages of one queue were dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// All of them.
    pub all: u64,
    /// Those that had been received once: done at their first delivery.
    pub at_first: u64,
}

/// The last path segment of a queue's URL, or the name itself.
pub(super) fn queue_name(name_or_url: &str) -> &str {
    name_or_url.rsplit('/').next().unwrap_or(name_or_url)
}

impl Sqs {
    /// Opens the queues at a path, or fresh ones in memory without a path. Messages that were in flight are visible at once,
    /// receive counts and the deduplication window are as they were.
    ///
    /// # Errors
    /// The database cannot be opened, or holds what this version cannot read.
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
        let tasks = Vec::new();
        let state = State {
            connection,
            queues,
            tasks,
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

    /// The time by this server's clock, in milliseconds of Unix time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.inner.clock)()
    }

    /// The requests so far, those through the Rust API included.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts from zero again.
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

impl State {
    /// A sequence number above all others.
    pub(super) fn next_sequence(&mut self, now: i64) -> i64 {
        self.last_sequence = next_sequence(self.last_sequence, now);
        self.last_sequence
    }
}

/// The sequence number after `last`, not below the time.
pub(super) fn next_sequence(last: i64, now: i64) -> i64 {
    (last + 1).max(now << SEQUENCE_SHIFT)
}

/// Refuses a batch of no entries or of more than ten.
pub(super) fn check_batch(entries: usize) -> Result<(), SqsError> {
    match entries {
        0 => Err(SqsError::EmptyBatchRequest),
        1..=BATCH_MAX => Ok(()),
        _ => Err(SqsError::TooManyEntriesInBatchRequest(entries)),
    }
}

/// A message's id: a function of its queue and sequence number, so that a run with virtual time repeats exactly.
pub(super) fn message_id(queue: &str, sequence: i64) -> String {
    let digest = Md5::digest(format!("{queue}/{sequence}").as_bytes());
    uuid::Builder::from_md5_bytes(digest.into())
        .into_uuid()
        .to_string()
}
