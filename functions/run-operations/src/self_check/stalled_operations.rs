//! Checks that operations that have not ended make progress.

use domain::operation::Stall;
use domain::{FileId, InconsistencyKind, Operation};
use store::{Indexed, LogPosition, PageRequest, Subject};
use worker::{Origin, SnapshotMessage, WorkError, queue};

use super::SelfCheck;

/// The number of latest operations that are checked; older ones have ended or were checked before.
const OPERATIONS_MAX: usize = 1_000;
const PAGE: u32 = 200;

impl SelfCheck<'_> {
    pub(super) async fn check_operations(&self) -> Result<(), WorkError> {
        let mut page = PageRequest::first(PAGE);
        let mut seen = 0;
        loop {
            let found = self
                .deps
                .store
                .list_operations_with_index_state(self.key(), &page);
            let found = found.await?;
            seen += found.items.len();
            let others = found.items.iter().filter(|indexed| {
                let other = &indexed.value;
                other.id != self.operation.id && !other.has_ended() && self.covers(&other.log)
            });
            for indexed in others {
                self.check_operation(indexed).await?;
            }
            match found.next_cursor {
                Some(cursor) if seen < OPERATIONS_MAX => page.cursor = Some(cursor),
                Some(_) | None => return Ok(()),
            }
        }
    }

    async fn check_operation(&self, indexed: &Indexed<Operation>) -> Result<(), WorkError> {
        let (store, other) = (&self.deps.store, &indexed.value);
        let log = store.load_log(self.key(), &other.log).await?;
        let waiting = LogPosition::Listing(other.id.clone());
        let awaited = log.is_some_and(|log| log.position == waiting);
        match other.stall(awaited, indexed.index_defect.is_none(), self.now) {
            None => Ok(()),
            Some(Stall::Abandoned) => self.end_abandoned(other).await,
            Some(Stall::Unattended(detail)) => {
                let subject = Subject::Operation(other.id.clone());
                let inconsistency =
                    self.inconsistency(InconsistencyKind::OperationStalled, subject, detail);
                self.record(&inconsistency).await?;
                self.make_due(other).await
            }
            Some(Stall::Stuck) => self.request_missing(other).await,
        }
    }

    /// Ends an abandoned listing. A page and the log's position are one write, so an operation that
    /// is still listing while a log read after it does not refer to it never ends by itself.
    async fn end_abandoned(&self, other: &Operation) -> Result<(), WorkError> {
        let store = &self.deps.store;
        let current = store.load_operation(self.key(), &other.id).await?;
        let Some(other) = current.filter(Operation::blocks_log) else {
            return Ok(());
        };
        let subject = Subject::Operation(other.id.clone());
        let detail = "its log does not refer to it";
        let inconsistency =
            self.inconsistency(InconsistencyKind::OperationAbandoned, subject, detail);
        self.record(&inconsistency).await?;
        if !self.operation.is_dry_run() {
            let failed = other.failed("another listing took its place", self.now);
            store.advance_operation(&other, &failed).await?;
        }
        Ok(())
    }

    /// Makes the operation due now.
    async fn make_due(&self, other: &Operation) -> Result<(), WorkError> {
        if !self.operation.is_dry_run() {
            let due = other.postponed(self.now);
            self.deps.store.advance_operation(other, &due).await?;
        }
        Ok(())
    }

    /// Requests a lookup of those files of the page that have neither a record nor a dead letter:
    /// their messages were lost.
    async fn request_missing(&self, other: &Operation) -> Result<(), WorkError> {
        let (store, key) = (&self.deps.store, self.key());
        let subject = Subject::Operation(other.id.clone());
        let kind = InconsistencyKind::OperationStalled;
        let Some((number, _)) = other.page_awaited() else {
            return Ok(());
        };
        let page = store.load_page(key, &other.id, number).await?;
        let Some(ids) = page else {
            let inconsistency = self.inconsistency(kind, subject, "its next page no longer exists");
            return self.record_unrepairable(inconsistency).await;
        };
        let missing = store.check_arrival(key, &ids).await?.missing;
        if missing.is_empty() {
            return Ok(());
        }
        let detail = format!("{} files of page {number} never arrived", missing.len());
        self.record(&self.inconsistency(kind, subject, detail))
            .await?;
        if self.operation.is_dry_run() {
            return Ok(());
        }
        let lookup = |file: FileId| SnapshotMessage {
            key: key.clone(),
            origin: Origin::Operation(self.operation.id.to_string()),
            file,
            at: self.operation.started_at,
            snapshot: None,
        };
        let lookups: Vec<SnapshotMessage> = missing.into_iter().map(lookup).collect();
        queue::send_snapshots(&self.deps.snapshots_bulk, &lookups).await?;
        self.make_due(other).await
    }
}
