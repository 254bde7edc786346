//! Checks that operations that have not ended make progress.

use domain::{FileId, InconsistencyKind};
use store::{
    Indexed, Log, LogPosition, Operation, OperationKind, OperationState, PageRequest, Subject,
};
use worker::{Origin, SnapshotMessage, queue};

use super::{FORGOTTEN_MILLIS, SelfCheck};
use crate::{WorkError, operations};

/// The number of latest operations that are checked; older ones have ended or were checked before.
const OPERATIONS_MAX: usize = 1_000;
const PAGE: u32 = 200;
/// The time without arrivals after which a listing counts as stuck, in milliseconds.
const STUCK_MILLIS: i64 = 15 * 60_000;

/// The reason an operation makes no progress.
#[derive(Debug, PartialEq, Eq)]
enum Stall {
    /// Its log does not refer to it, so its next page is never listed.
    Abandoned,
    /// No sweep processes it.
    Unwatched(&'static str),
    /// No listed file has arrived for a long time.
    Stuck,
}

/// Returns the reason an operation makes no progress, from its item and its log's.
fn stall(indexed: &Indexed<Operation>, log: Option<&Log>, now: domain::Timestamp) -> Option<Stall> {
    let operation = &indexed.value;
    let lists = operation.state == OperationState::Listing;
    if operation.has_ended() {
        return None;
    }
    if lists && operation.kind != OperationKind::Audit {
        let waiting = LogPosition::Listing(operation.id.clone());
        let awaited = log.is_some_and(|log| log.position == waiting);
        return (!awaited).then_some(Stall::Abandoned);
    }
    let Some(due_at) = operation.due_at else {
        return Some(Stall::Unwatched("never due"));
    };
    if indexed.index_defect.is_some() {
        return Some(Stall::Unwatched("missing from the due index"));
    }
    if now.millis_since(due_at) > FORGOTTEN_MILLIS {
        return Some(Stall::Unwatched("not processed since it was due"));
    }
    let since = operation.progressed_at.unwrap_or(operation.started_at);
    let arriving = operation.state == OperationState::Listed
        && operation.kind != OperationKind::Leave
        && operation.pages_verified < operation.pages;
    (arriving && now.millis_since(since) > STUCK_MILLIS).then_some(Stall::Stuck)
}

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
        match stall(indexed, log.as_ref(), self.now) {
            None => Ok(()),
            Some(Stall::Abandoned) => self.end_abandoned(other).await,
            Some(Stall::Unwatched(detail)) => {
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
        let Some(other) = current.filter(|current| current.state == OperationState::Listing) else {
            return Ok(());
        };
        let subject = Subject::Operation(other.id.clone());
        let detail = "its log does not refer to it";
        let inconsistency =
            self.inconsistency(InconsistencyKind::OperationAbandoned, subject, detail);
        self.record(&inconsistency).await?;
        if !self.operation.dry_run {
            let reason = "another listing took its place".to_owned();
            let end = OperationState::Failed { reason };
            store.finish_operation(&other, end, self.now).await?;
        }
        Ok(())
    }

    /// Makes the operation due now.
    async fn make_due(&self, other: &Operation) -> Result<(), WorkError> {
        if !self.operation.dry_run {
            operations::postpone(other, self.now, self.deps).await?;
        }
        Ok(())
    }

    /// Requests a lookup of those files of the page that have neither a record nor a dead letter:
    /// their messages were lost.
    async fn request_missing(&self, other: &Operation) -> Result<(), WorkError> {
        let (store, key) = (&self.deps.store, self.key());
        let subject = Subject::Operation(other.id.clone());
        let kind = InconsistencyKind::OperationStalled;
        let page = store
            .load_page(key, &other.id, other.pages_verified)
            .await?;
        let Some(ids) = page else {
            let inconsistency = self.inconsistency(kind, subject, "its next page no longer exists");
            return self.record_unrepairable(inconsistency).await;
        };
        let missing = store.check_arrival(key, &ids).await?.missing;
        if missing.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "{} files of page {} never arrived",
            missing.len(),
            other.pages_verified
        );
        self.record(&self.inconsistency(kind, subject, detail))
            .await?;
        if self.operation.dry_run {
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

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, ConnectionKey, LogId, OperationId, TenantId, Timestamp};
    use store::IndexDefect;

    use super::*;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c1").unwrap(),
        }
    }

    /// An operation started at minute 100.
    fn operation(kind: OperationKind) -> Operation {
        let id = OperationId::parse("op1").unwrap();
        Operation::new(key(), id, LogId::user(), kind, "ann", minutes(100))
    }

    fn indexed(value: Operation) -> Indexed<Operation> {
        Indexed {
            value,
            index_defect: None,
        }
    }

    #[test]
    fn a_listing_is_abandoned_unless_its_log_refers_to_it() {
        let listing = indexed(operation(OperationKind::Resync));
        let now = minutes(101);
        let mut log = Log::new(key(), LogId::user(), now);
        assert_eq!(stall(&listing, Some(&log), now), Some(Stall::Abandoned));
        log.position = LogPosition::Listing(listing.value.id.clone());
        assert_eq!(stall(&listing, Some(&log), now), None);
        assert_eq!(stall(&listing, None, now), Some(Stall::Abandoned));
        let ended = Operation {
            state: OperationState::Done,
            ..listing.value
        };
        assert_eq!(stall(&indexed(ended), None, now), None);
    }

    #[test]
    fn an_operation_that_is_never_due_or_long_overdue_is_unwatched() {
        let audit = operation(OperationKind::Audit);
        let unwatched = |operation: Indexed<Operation>, now| {
            matches!(stall(&operation, None, now), Some(Stall::Unwatched(_)))
        };
        assert!(unwatched(indexed(audit.clone()), minutes(101)));
        let due = Operation {
            due_at: Some(minutes(101)),
            ..audit
        };
        assert!(!unwatched(indexed(due.clone()), minutes(111)));
        assert!(unwatched(indexed(due.clone()), minutes(112)));
        let misindexed = Indexed {
            index_defect: Some(IndexDefect::Work),
            ..indexed(due)
        };
        assert!(unwatched(misindexed, minutes(101)));
    }

    #[test]
    fn a_listing_without_arrivals_for_a_long_time_is_stuck() {
        let listed = Operation {
            state: OperationState::Listed,
            pages: 2,
            pages_verified: 1,
            due_at: Some(minutes(140)),
            ..operation(OperationKind::InitialSync)
        };
        let now = minutes(116);
        assert_eq!(
            stall(&indexed(listed.clone()), None, now),
            Some(Stall::Stuck)
        );
        let progressing = Operation {
            progressed_at: Some(minutes(101)),
            ..listed.clone()
        };
        assert_eq!(stall(&indexed(progressing), None, now), None);
        let complete = Operation {
            pages_verified: 2,
            ..listed
        };
        assert_eq!(stall(&indexed(complete), None, now), None);
    }
}
