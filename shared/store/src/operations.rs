//! Operations: tracked runs, and the pages of file ids that a listing queued.

use domain::{ConnectionKey, FileId, LogId, OperationId, Timestamp};

use crate::{Created, Page, PageRequest, Store, StoreError, Written};

/// One tracked run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The connection.
    pub key: ConnectionKey,
    /// Its id; ids sort by time of creation (UUID version 7).
    pub id: OperationId,
    /// The log that it is about.
    pub log: LogId,
    /// What it does.
    pub kind: OperationKind,
    /// How far it is.
    pub state: OperationState,
    /// Whether the log waits for it: set by [`Store::begin_listing`], and the last page sets the log free.
    pub holds_log: bool,
    /// Drive's token of the next page of the listing; `None` for the first page, and after the last.
    pub page_token: Option<String>,
    /// Pages that were queued.
    pub pages: u32,
    /// Files on them.
    pub listed: u64,
    /// Pages whose files were all found stored or parked.
    pub pages_verified: u32,
    /// Files that were found so.
    pub verified: u64,
    /// Files of this run that were parked.
    pub errors: u64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When the sweep must look at it; `None` while someone else drives it, and when it has ended.
    pub due_at: Option<Timestamp>,
    /// Who asked for it: the subject of a token, or what of ours did.
    pub by: String,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// The first listing of all files.
    InitialSync,
    /// One reading of the change log, asked for by hand.
    Delta,
    /// A listing of all files because the cursor was lost.
    Resync,
    /// A listing of all files that looks for differences.
    Audit,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// Pages are being listed and queued.
    Listing,
    /// All pages are queued; their files are being verified.
    Listed,
    /// It ended well.
    Done,
    /// It ended otherwise.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How far the verification of an operation's pages has come: totals, not increments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Pages whose files were all found.
    pub pages_verified: u32,
    /// Files that were found.
    pub verified: u64,
    /// Files that were parked.
    pub errors: u64,
    /// When to look again.
    pub due_at: Timestamp,
}

impl Operation {
    /// An operation that begins.
    #[must_use]
    pub fn new(
        key: ConnectionKey,
        id: OperationId,
        log: LogId,
        kind: OperationKind,
        by: impl Into<String>,
        started_at: Timestamp,
    ) -> Self {
        Self {
            key,
            id,
            log,
            kind,
            state: OperationState::Listing,
            holds_log: false,
            page_token: None,
            pages: 0,
            listed: 0,
            pages_verified: 0,
            verified: 0,
            errors: 0,
            started_at,
            finished_at: None,
            due_at: None,
            by: by.into(),
        }
    }
}

impl Store {
    /// Makes an operation that no log waits for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_operation(
        &self,
        operation: &Operation,
    ) -> Result<Created<Operation>, StoreError> {
        let _ = operation;
        Ok(Created::Created)
    }

    /// One operation, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_operation(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let _ = (key, id);
        Ok(None)
    }

    /// A connection's operations, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_operations(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError> {
        let _ = (key, page);
        Ok(Page {
            items: Vec::new(),
            next_cursor: None,
        })
    }

    /// Records that the next page of the listing is durably queued: its ids, and the token of the page
    /// after it. Without a `next`, the listing is complete: the operation is `Listed` and due at `now`,
    /// and the log that waits for it is followed from now on. A page that was recorded already is `Stale`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_page(
        &self,
        operation: &Operation,
        ids: &[FileId],
        next: Option<&str>,
        now: Timestamp,
    ) -> Result<Written<Operation>, StoreError> {
        let _ = (ids, next, now);
        Ok(Written::Done(operation.clone()))
    }

    /// The ids of the `number`-th page, counted from 0; `None` where it was never recorded or has expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_page(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        number: u32,
    ) -> Result<Option<Vec<FileId>>, StoreError> {
        let _ = (key, id, number);
        Ok(None)
    }

    /// Records progress of the verification, if it still stands where `operation` has it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_verified(
        &self,
        operation: &Operation,
        progress: Verified,
    ) -> Result<Written<Operation>, StoreError> {
        let _ = progress;
        Ok(Written::Done(operation.clone()))
    }

    /// Ends an operation that has not ended, with `Done` or `Failed`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish_operation(
        &self,
        operation: &Operation,
        end: OperationState,
        at: Timestamp,
    ) -> Result<Written<Operation>, StoreError> {
        let _ = (end, at);
        Ok(Written::Done(operation.clone()))
    }
}
