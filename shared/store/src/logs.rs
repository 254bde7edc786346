//! Change logs: the cursor, which never moves but on condition of where it was.

use domain::{ChannelId, ConnectionKey, LogId, OperationId, PageToken, Timestamp};

use crate::{Created, Operation, Store, StoreError, Updated, Written};

/// Where we are in one Drive change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The connection.
    pub key: ConnectionKey,
    /// The log within it.
    pub log: LogId,
    /// The token of the next `changes.list`; `None` before the first listing began.
    pub cursor: Option<PageToken>,
    /// Whether the log is followed, or waits for a listing of all files.
    pub position: Position,
    /// When the last complete listing of changes began: wakes from before it say nothing new.
    pub listed_from: Option<Timestamp>,
    /// When it must be polled at the latest.
    pub next_poll_at: Timestamp,
    /// Its notification channel.
    pub channel: Option<ChannelId>,
    /// When the last change that we saw happened, as Drive says.
    pub last_change_at: Option<Timestamp>,
    /// How far behind Drive that change was when it was queued, in milliseconds.
    pub lag_millis: Option<i64>,
}

/// How a log is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Nothing was read yet.
    New,
    /// An operation lists all files; `changes.list` waits until that is queued.
    Listing(OperationId),
    /// Changes are followed from the cursor.
    Following,
}

/// What is written along with a moved cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When the listing of changes began, if it has reached the end of the log; `None` leaves what is stored.
    pub complete_listing_began: Option<Timestamp>,
    /// When to poll at the latest.
    pub next_poll_at: Timestamp,
    /// As in [`Log`]; `None` leaves what is stored.
    pub last_change_at: Option<Timestamp>,
    /// As in [`Log`]; `None` leaves what is stored.
    pub lag_millis: Option<i64>,
}

impl Log {
    /// A log of which nothing was read yet, due for its first poll at `next_poll_at`.
    #[must_use]
    pub fn new(key: ConnectionKey, log: LogId, next_poll_at: Timestamp) -> Self {
        Self {
            key,
            log,
            cursor: None,
            position: Position::New,
            listed_from: None,
            next_poll_at,
            channel: None,
            last_change_at: None,
            lag_millis: None,
        }
    }
}

impl Store {
    /// Begins to keep a log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_log(&self, log: &Log) -> Result<Created<Log>, StoreError> {
        let _ = log;
        Ok(Created::Created)
    }

    /// One log, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_log(
        &self,
        key: &ConnectionKey,
        log: &LogId,
    ) -> Result<Option<Log>, StoreError> {
        let _ = (key, log);
        Ok(None)
    }

    /// All logs of a connection: one, or a few.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_logs(&self, key: &ConnectionKey) -> Result<Vec<Log>, StoreError> {
        let _ = key;
        Ok(Vec::new())
    }

    /// Begins a listing of all files: the log waits for `operation`, the cursor is `start` (taken before
    /// the listing), and the operation exists, all or nothing, if the log is still as in `log`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_listing(
        &self,
        log: &Log,
        start: &PageToken,
        operation: &Operation,
    ) -> Result<Written<Log>, StoreError> {
        let _ = (start, operation);
        Ok(Written::Done(log.clone()))
    }

    /// Moves the cursor to `to`, if the cursor and the position are still those of `log`. Call it only
    /// when everything before `to` is durably queued.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn advance(
        &self,
        log: &Log,
        to: &PageToken,
        progress: Progress,
    ) -> Result<Written<Log>, StoreError> {
        let _ = (to, progress);
        Ok(Written::Done(log.clone()))
    }

    /// Sets the log's channel, if it is still `old`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_channel(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        old: Option<&ChannelId>,
        new: Option<&ChannelId>,
    ) -> Result<Written<Log>, StoreError> {
        let _ = (key, log, old, new);
        Ok(Written::Stale(None))
    }

    /// Sets when the log must be polled at the latest.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_poll(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        next_poll_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let _ = (key, log, next_poll_at);
        Ok(Updated::Absent)
    }

    /// Forgets a log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_log(&self, key: &ConnectionKey, log: &LogId) -> Result<(), StoreError> {
        let _ = (key, log);
        Ok(())
    }
}
