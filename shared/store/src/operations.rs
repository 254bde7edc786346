//! Operations: tracked runs, and the pages of file ids that a listing queued.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionKey, FileId, FlawCount, FlawKind, LogId, OperationId, Timestamp};

use crate::key::connection_pk;
use crate::logs::{Position, log_key};
use crate::operation_item::{
    decode_operation, decode_page, encode_operation, encode_page, flaws_attribute, operation_key,
    page_key, pages_prefix,
};
use crate::range::Range;
use crate::store::{Applied, Transacted};
use crate::update::{Replaces, Update};
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
    /// Whether it only reports, and changes nothing.
    pub dry_run: bool,
    /// Drive's token of the next page of the listing; `None` for the first page, and after the last.
    pub page_token: Option<String>,
    /// Up to where the step that it is in has come: its own while it examines, a cursor of [`Store::list_files`] while it compares,
    /// of [`Store::list_drift`] while it verifies or repairs; `None` at the beginning of each.
    pub position: Option<String>,
    /// What the comparison has found so far.
    pub drift: DriftCounts,
    /// What of our own items an audit found wrong.
    pub flaws: BTreeMap<FlawKind, FlawCount>,
    /// When the comparison had seen everything.
    pub compared_at: Option<Timestamp>,
    /// What a person said where it waited for one.
    pub decision: Option<Decision>,
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
    /// When a page was last queued, or found whole; `None` before the first.
    pub progressed_at: Option<Timestamp>,
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
    /// A walk through our own records that marks the files of a shared drive which was left.
    Leave,
    /// A walk through our own records that has the content of each file looked at.
    Mirror,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// Our own items are looked through: with this an audit begins.
    Examining,
    /// Pages are being listed and queued.
    Listing,
    /// All pages are listed; what was queued of them is on its way.
    Listed,
    /// Our own records are compared with what was listed.
    Comparing,
    /// Drive is asked about each file that seems to differ. Nothing is changed yet.
    Verifying,
    /// It would remove more than it may: a person must confirm it, or cancel.
    AwaitingConfirmation {
        /// Since when.
        since: Timestamp,
    },
    /// What was found is put right: queued, file by file.
    Repairing,
    /// It ended well.
    Done,
    /// A person cancelled it: nothing of what it found was changed.
    Cancelled,
    /// It ended otherwise.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What a comparison of a log's files with our records has found: exact, each file once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DriftCounts {
    /// Our present files of the log.
    pub held: u64,
    /// In Drive, and not here.
    pub missing_here: u64,
    /// Here, and not in Drive, as Drive itself said when it was asked about each.
    pub missing_there: u64,
    /// Here at an older version.
    pub stale: u64,
    /// Here at the same version, with other values.
    pub differing: u64,
}

/// A person's word on an operation that waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it goes on; otherwise it was cancelled.
    pub confirmed: bool,
    /// The subject of their token.
    pub by: String,
    /// When.
    pub at: Timestamp,
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
    /// When a page was last found whole.
    pub progressed_at: Option<Timestamp>,
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
            dry_run: false,
            page_token: None,
            position: None,
            drift: DriftCounts::default(),
            flaws: BTreeMap::new(),
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

    /// A walk that has the content of every file of a connection looked at, from `due_at` on: our own records are its
    /// list.
    #[must_use]
    pub fn walk(
        (key, log): (ConnectionKey, LogId),
        id: OperationId,
        by: impl Into<String>,
        started_at: Timestamp,
        due_at: Timestamp,
    ) -> Self {
        Self {
            state: OperationState::Listed,
            due_at: Some(due_at),
            ..Self::new(key, id, log, OperationKind::Mirror, by, started_at)
        }
    }

    /// Whether it is a walk that has not set out: it will come by every file, as each is then. Of one that is on its way
    /// nobody knows which files it has passed.
    #[must_use]
    pub fn is_walk_to_come(&self) -> bool {
        self.kind == OperationKind::Mirror && !self.has_ended() && self.progressed_at.is_none()
    }
}

/// Operations among which a walk that is to come is looked for, the newest.
const RECENT: u32 = 50;

impl Store {
    /// Makes an operation that no log waits for.
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
            Applied::Refused(None) => Err(StoreError::busy("what exists was not returned")),
        }
    }

    /// Makes a walk, unless one is to come anyway; whether it was made. The records that it is for must be written: a walk
    /// that has not set out when this asks comes by all of them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ensure_walk(&self, walk: &Operation) -> Result<bool, StoreError> {
        let recent = self.recent_operations(&walk.key).await?;
        if recent.iter().any(Operation::is_walk_to_come) {
            return Ok(false);
        }
        match self.create_operation(walk).await? {
            Created::Created => Ok(true),
            Created::Exists(_) => Err(StoreError::busy("an operation's id was taken")),
        }
    }

    /// A connection's newest operations, up to fifty, read consistently.
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

    /// One operation, read consistently.
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

    /// A connection's operations, newest first.
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
        let listed = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let mut after = Operation {
            page_token: next.map(str::to_owned),
            pages: operation.pages + 1,
            listed: operation.listed + listed,
            progressed_at: Some(now),
            ..operation.clone()
        };
        let place = page_key(&operation.key, &operation.id, operation.pages);
        let mut writes = vec![
            Replaces::Whatever.in_transaction(encode_page(operation, place, ids)?, &self.table)?,
        ];
        if next.is_none() {
            after.state = OperationState::Listed;
            after.due_at = Some(now);
            after.holds_log = false;
            if operation.holds_log {
                let waiting = Position::Listing(operation.id.clone());
                let log = Update::of(log_key(&operation.key, &operation.log))
                    .when_text("position", &waiting.text())
                    .set_text("position", Position::Following.text());
                writes.push(log.in_transaction(&self.table)?);
            }
        }
        let replaced = same_listing(operation);
        writes.push(changed(replaced, operation, &after).in_transaction(&self.table)?);
        match self.transact(writes).await? {
            Transacted::Done => Ok(Written::Done(after)),
            Transacted::Refused(_) => {
                let current = self.load_operation(&operation.key, &operation.id).await?;
                Ok(Written::Stale(current))
            }
        }
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
        let Some(item) = self.get(&page_key(key, id, number)).await? else {
            return Ok(None);
        };
        decode_page(item).map(Some)
    }

    /// The ids of a listing's pages, in order.
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

    /// Begins a listing anew from its first page, because Drive no longer knows the token of the next
    /// one (it lives for some hours only). The pages that were recorded stay: what was listed was queued.
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
        self.replace_operation(changed(update, operation, &after), after)
            .await
    }

    /// Takes a listed operation from `before` to `after`, if it still stands where `before` has it: in its
    /// state, and at its position there.
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
        self.replace_operation(changed(update, before, after), after.clone())
            .await
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
        self.replace_operation(changed(update, operation, &after), after)
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
        self.replace_operation(changed(update, operation, &after), after)
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
        // What stands is what was to be written: our own write, whose answer was lost.
        Ok(if current.as_ref() == Some(&after) {
            Written::Done(after)
        } else {
            Written::Stale(current)
        })
    }
}

/// An update on condition that the listing stands where `operation` has it: a page is recorded once.
fn same_listing(operation: &Operation) -> Update {
    let token = operation.page_token.clone().map(AttributeValue::S);
    Update::of(operation_key(&operation.key, &operation.id))
        .when_text("state", OperationState::Listing.text())
        .when_number("pages", operation.pages)
        .when("page_token", token)
}

/// Adds to an update what makes `after` out of `before`.
pub(crate) fn changed(update: Update, before: &Operation, after: &Operation) -> Update {
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
        ("held", before.drift.held, after.drift.held),
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
    if before.flaws != after.flaws {
        update = update.set("flaws", flaws_attribute(&after.flaws));
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
    if before.holds_log != after.holds_log {
        update = update.set("holds_log", AttributeValue::Bool(after.holds_log));
    }
    update = match after.due_at {
        Some(at) => update.set_number("due_at", at.as_millis()),
        None => update.remove("due_at"),
    };
    update.due(after.due_at)
}
