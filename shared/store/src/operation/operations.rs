//! Operations: tracked runs, and the pages of file ids that a listing queued.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    ConnectionKey, FileId, InconsistencyCount, InconsistencyKind, LogId, OperationId, Timestamp,
};

use crate::log::logs::{LogPosition, log_key};
use crate::operation::operation_item::{
    decode_operation, decode_page, encode_operation, encode_page, inconsistencies_attribute,
    operation_key, page_key, pages_prefix,
};
use crate::table::key::connection_pk;
use crate::table::range::Range;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{Created, Page, PageRequest, Store, StoreError, Written};

/// One tracked run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The connection that it belongs to.
    pub key: ConnectionKey,
    /// Its id; ids sort by time of creation (milliseconds, then a random part).
    pub id: OperationId,
    /// The log that it is about.
    pub log: LogId,
    /// The kind of the run.
    pub kind: OperationKind,
    /// The state of the run.
    pub state: OperationState,
    /// Whether the log waits for it: set by [`Store::begin_listing`], cleared with the last page.
    pub blocks_log: bool,
    /// Whether it only reports and changes nothing.
    pub dry_run: bool,
    /// Drive's token of the next page of the listing; `None` for the first page, and after the
    /// last.
    pub page_token: Option<String>,
    /// The position within the present state: one of its own while it examines, a cursor of
    /// [`Store::list_files`] while it compares, of [`Store::list_drift`] while it verifies or
    /// repairs; `None` at the start of each.
    pub position: Option<String>,
    /// The drift that the comparison has found so far.
    pub drift: DriftCounts,
    /// The inconsistencies that an audit found in the stored items.
    pub inconsistencies: BTreeMap<InconsistencyKind, InconsistencyCount>,
    /// The time at which the comparison was complete.
    pub compared_at: Option<Timestamp>,
    /// A person's decision, if it waited for one.
    pub decision: Option<Decision>,
    /// The number of pages that were queued.
    pub pages: u32,
    /// The number of files on them.
    pub listed: u64,
    /// The number of pages whose files were all found stored or parked.
    pub pages_verified: u32,
    /// The number of files that were found so.
    pub verified: u64,
    /// The number of files of this run that were parked.
    pub errors: u64,
    /// The time at which a page was last queued, or found complete; `None` before the first.
    pub progressed_at: Option<Timestamp>,
    /// The start of the run.
    pub started_at: Timestamp,
    /// The end of the run.
    pub finished_at: Option<Timestamp>,
    /// The time at which the sweep continues it; `None` while another function drives it, and after
    /// its end.
    pub due_at: Option<Timestamp>,
    /// The requester: the subject of a token, or the name of a component.
    pub by: String,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// The first listing of all files.
    InitialSync,
    /// One reading of the change log, requested by a person.
    Delta,
    /// A listing of all files because the cursor was lost.
    Resync,
    /// A listing of all files that looks for differences.
    Audit,
    /// A scan over the stored records that marks the files of a shared drive that was left.
    Leave,
    /// A scan over the stored records that queues the content of each file.
    ContentScan,
}

/// The state of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// The stored items are checked: the first state of an audit.
    Examining,
    /// Pages are being listed and queued.
    Listing,
    /// All pages are listed; their files are in flight.
    Listed,
    /// The stored records are compared with the listing.
    Comparing,
    /// Drive is asked about each file that seems to differ. Nothing is changed yet.
    Verifying,
    /// It would remove more than its limit: a person must confirm or cancel it.
    AwaitingConfirmation {
        /// The start of the wait.
        since: Timestamp,
    },
    /// The drift is being repaired: queued, file by file.
    Repairing,
    /// It succeeded.
    Done,
    /// A person cancelled it: nothing that it found was changed.
    Cancelled,
    /// It failed.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// The drift between a log's files and their records: exact, each file counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DriftCounts {
    /// Present records of the log.
    pub present: u64,
    /// Files in Drive without a present record.
    pub missing_here: u64,
    /// Present records whose files are not in Drive, as Drive confirmed for each.
    pub missing_there: u64,
    /// Records at an older version than Drive's.
    pub stale: u64,
    /// Records at the same version, with other values.
    pub differing: u64,
}

/// A person's decision on an operation that waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it continues; otherwise it was cancelled.
    pub confirmed: bool,
    /// The subject of the person's token.
    pub by: String,
    /// The time of the decision.
    pub at: Timestamp,
}

/// The progress of verifying an operation's pages: totals, not increments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The number of pages whose files were all found.
    pub pages_verified: u32,
    /// The number of files that were found.
    pub verified: u64,
    /// The number of files that were parked.
    pub errors: u64,
    /// The time of the next verification.
    pub due_at: Timestamp,
    /// The time at which a page was last found complete.
    pub progressed_at: Option<Timestamp>,
}

impl Operation {
    /// Returns an operation that starts with its listing.
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
            blocks_log: false,
            dry_run: false,
            page_token: None,
            position: None,
            drift: DriftCounts::default(),
            inconsistencies: BTreeMap::new(),
            compared_at: None,
            decision: None,
            pages: 0,
            listed: 0,
            pages_verified: 0,
            verified: 0,
            errors: 0,
            progressed_at: None,
            started_at,
            finished_at: None,
            due_at: None,
            by: by.into(),
        }
    }

    /// Returns a content scan of a whole connection, which starts at `due_at` and reads the stored
    /// records.
    #[must_use]
    pub fn content_scan(
        (key, log): (ConnectionKey, LogId),
        id: OperationId,
        by: impl Into<String>,
        started_at: Timestamp,
        due_at: Timestamp,
    ) -> Self {
        Self {
            state: OperationState::Listed,
            due_at: Some(due_at),
            ..Self::new(key, id, log, OperationKind::ContentScan, by, started_at)
        }
    }

    /// Returns whether it is a content scan that has not started: it will process every file in its
    /// state at that time. A scan in progress may already have passed a file.
    #[must_use]
    pub fn is_pending_scan(&self) -> bool {
        self.kind == OperationKind::ContentScan && !self.has_ended() && self.progressed_at.is_none()
    }
}

/// The number of operations, the newest, among which a pending scan is looked for.
const RECENT: u32 = 50;

impl Store {
    /// Creates an operation that no log waits for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_operation(
        &self,
        operation: &Operation,
    ) -> Result<Created<Operation>, StoreError> {
        match self
            .put(encode_operation(operation)?, Replaces::Nothing)
            .await?
        {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let current = decode_operation(&operation.key, item)?;
                Ok(if current == *operation {
                    Created::Created
                } else {
                    Created::Exists(current)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("the existing item was not returned")),
        }
    }

    /// Creates a content scan, unless one is pending already. Returns whether it was created. The
    /// records that the scan is for must be stored before the call: a scan that is pending during
    /// the call processes all of them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn schedule_scan(&self, scan: &Operation) -> Result<bool, StoreError> {
        let recent = self.recent_operations(&scan.key).await?;
        if recent.iter().any(Operation::is_pending_scan) {
            return Ok(false);
        }
        match self.create_operation(scan).await? {
            Created::Created => Ok(true),
            Created::Exists(_) => Err(StoreError::busy("the operation id is already in use")),
        }
    }

    /// Lists a connection's newest operations, up to fifty, consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn recent_operations(
        &self,
        key: &ConnectionKey,
    ) -> Result<Vec<Operation>, StoreError> {
        let newest = PageRequest {
            limit: RECENT,
            cursor: None,
        };
        Ok(self.list_operations(key, &newest).await?.items)
    }

    /// Reads one operation consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_operation(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let item = self.get(&operation_key(key, id)).await?;
        item.map(|item| decode_operation(key, item)).transpose()
    }

    /// Lists a connection's operations, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_operations(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "OP#").descending();
        let decode = |item| decode_operation(key, item);
        self.list_range("operations", all, page, decode).await
    }

    /// Records that the next page of the listing is durably queued: its ids, and the token of the
    /// page after it. Without a `next`, the listing is complete: the operation is `Listed` and due
    /// at `now`, and the log that waits for it is followed from now on. A page that was recorded
    /// already is `Stale`.
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
        let listed = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let mut after = Operation {
            page_token: next.map(str::to_owned),
            pages: operation.pages + 1,
            listed: operation.listed + listed,
            progressed_at: Some(now),
            ..operation.clone()
        };
        let place = page_key(&operation.key, &operation.id, operation.pages);
        let page = encode_page(operation, place, ids)?;
        let mut writes = vec![Write::Put(page, Replaces::Whatever)];
        if next.is_none() {
            after.state = OperationState::Listed;
            after.due_at = Some(now);
            after.blocks_log = false;
            if operation.blocks_log {
                let waiting = LogPosition::Listing(operation.id.clone());
                let log = Update::of(log_key(&operation.key, &operation.log))
                    .when_text("position", &waiting.text())
                    .set_text("position", LogPosition::Following.text());
                writes.push(Write::Update(log));
            }
        }
        let replaced = if_listing_unmoved(operation);
        writes.push(Write::Update(with_changes(replaced, operation, &after)));
        match self.transact(writes).await? {
            Transacted::Done => Ok(Written::Done(after)),
            Transacted::Refused(_) => {
                let current = self.load_operation(&operation.key, &operation.id).await?;
                Ok(Written::Stale(current))
            }
        }
    }

    /// Reads the ids of the `number`-th page, counted from 0; `None` if it was never recorded or
    /// has expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_page(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        number: u32,
    ) -> Result<Option<Vec<FileId>>, StoreError> {
        let Some(item) = self.get(&page_key(key, id, number)).await? else {
            return Ok(None);
        };
        decode_page(item).map(Some)
    }

    /// Lists the ids of a listing's pages, in order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_pages(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        page: &PageRequest,
    ) -> Result<Page<Vec<FileId>>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), &pages_prefix(id));
        self.list_range("pages", all, page, decode_page).await
    }

    /// Restarts a listing from its first page, because Drive no longer accepts the token of the
    /// next one (it is valid for some hours only). The recorded pages stay: their files were
    /// queued.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn restart_listing(
        &self,
        operation: &Operation,
    ) -> Result<Written<Operation>, StoreError> {
        let after = Operation {
            page_token: None,
            ..operation.clone()
        };
        let update = Update::of(operation_key(&operation.key, &operation.id))
            .when_text("state", OperationState::Listing.text())
            .when_number("pages", operation.pages);
        self.replace_operation(with_changes(update, operation, &after), after)
            .await
    }

    /// Moves a listed operation from `before` to `after`, if it still has the state and the
    /// position of `before`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn move_operation(
        &self,
        before: &Operation,
        after: &Operation,
    ) -> Result<Written<Operation>, StoreError> {
        let position = before.position.clone().map(AttributeValue::S);
        let update = Update::of(operation_key(&before.key, &before.id))
            .when_text("state", before.state.text())
            .when("position", position);
        self.replace_operation(with_changes(update, before, after), after.clone())
            .await
    }

    /// Records the progress of the verification, if the operation is still in the state that
    /// `operation` has.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_verified(
        &self,
        operation: &Operation,
        progress: Verified,
    ) -> Result<Written<Operation>, StoreError> {
        let after = Operation {
            pages_verified: progress.pages_verified,
            verified: progress.verified,
            errors: progress.errors,
            due_at: Some(progress.due_at),
            progressed_at: progress.progressed_at,
            ..operation.clone()
        };
        let update = Update::of(operation_key(&operation.key, &operation.id))
            .when_text("state", OperationState::Listed.text())
            .when_number("pages_verified", operation.pages_verified);
        self.replace_operation(with_changes(update, operation, &after), after)
            .await
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
        if operation.has_ended() || !end.has_ended() {
            return Ok(Written::Stale(Some(operation.clone())));
        }
        let after = Operation {
            state: end,
            finished_at: Some(at),
            due_at: None,
            ..operation.clone()
        };
        let update = Update::of(operation_key(&operation.key, &operation.id))
            .when_text("state", operation.state.text());
        self.replace_operation(with_changes(update, operation, &after), after)
            .await
    }

    pub(crate) async fn replace_operation(
        &self,
        update: Update,
        after: Operation,
    ) -> Result<Written<Operation>, StoreError> {
        let current = match self.update(update).await? {
            Applied::Done(item) => return Ok(Written::Done(decode_operation(&after.key, item)?)),
            Applied::Refused(current) => current,
        };
        let current = current
            .map(|item| decode_operation(&after.key, item))
            .transpose()?;
        // The stored value is the one to be written: our own write, whose response was lost.
        Ok(if current.as_ref() == Some(&after) {
            Written::Done(after)
        } else {
            Written::Stale(current)
        })
    }
}

/// Returns an update on condition that the listing is still where `operation` has it, so that a
/// page is recorded once.
fn if_listing_unmoved(operation: &Operation) -> Update {
    let token = operation.page_token.clone().map(AttributeValue::S);
    Update::of(operation_key(&operation.key, &operation.id))
        .when_text("state", OperationState::Listing.text())
        .when_number("pages", operation.pages)
        .when("page_token", token)
}

/// Adds the differences between `before` and `after` to an update.
pub(crate) fn with_changes(update: Update, before: &Operation, after: &Operation) -> Update {
    let mut update = update;
    let numbers = [
        ("pages", u64::from(before.pages), u64::from(after.pages)),
        ("listed", before.listed, after.listed),
        (
            "pages_verified",
            u64::from(before.pages_verified),
            u64::from(after.pages_verified),
        ),
        ("verified", before.verified, after.verified),
        ("errors", before.errors, after.errors),
        ("held", before.drift.present, after.drift.present),
        (
            "missing_here",
            before.drift.missing_here,
            after.drift.missing_here,
        ),
        (
            "missing_there",
            before.drift.missing_there,
            after.drift.missing_there,
        ),
        ("stale", before.drift.stale, after.drift.stale),
        ("differing", before.drift.differing, after.drift.differing),
    ];
    for (name, old, new) in numbers {
        if old != new {
            update = update.set_number(name, new);
        }
    }
    let texts = [
        ("state", Some(before.state.text()), Some(after.state.text())),
        ("reason", before.state.reason(), after.state.reason()),
        (
            "page_token",
            before.page_token.as_deref(),
            after.page_token.as_deref(),
        ),
        (
            "position",
            before.position.as_deref(),
            after.position.as_deref(),
        ),
    ];
    for (name, old, new) in texts {
        update = match new {
            Some(new) if old != Some(new) => update.set_text(name, new),
            None if old.is_some() => update.remove(name),
            Some(_) | None => update,
        };
    }
    if let Some(at) = after.finished_at {
        update = update.set_number("finished_at", at.as_millis());
    }
    if let Some(at) = after
        .progressed_at
        .filter(|_| after.progressed_at != before.progressed_at)
    {
        update = update.set_number("progressed_at", at.as_millis());
    }
    if before.inconsistencies != after.inconsistencies {
        update = update.set("flaws", inconsistencies_attribute(&after.inconsistencies));
    }
    if let (None, Some(at)) = (before.compared_at, after.compared_at) {
        update = update.set_number("compared_at", at.as_millis());
    }
    if let Some(since) = after.state.since() {
        update = update.set_number("since", since.as_millis());
    }
    if let (None, Some(decision)) = (&before.decision, &after.decision) {
        update = update
            .set("confirmed", AttributeValue::Bool(decision.confirmed))
            .set_text("decided_by", &decision.by)
            .set_number("decided_at", decision.at.as_millis());
    }
    if before.blocks_log != after.blocks_log {
        update = update.set("holds_log", AttributeValue::Bool(after.blocks_log));
    }
    update = match after.due_at {
        Some(at) => update.set_number("due_at", at.as_millis()),
        None => update.remove("due_at"),
    };
    update.due(after.due_at)
}
