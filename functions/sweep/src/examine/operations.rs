//! Operations that have not ended: does each get on?

use domain::{FileId, FlawKind};
use runtime::{Cause, SnapshotMessage, queue};
use store::{Kept, Log, Operation, OperationKind, OperationState, PageRequest, Position, Subject};

use super::{Examination, FORGOTTEN_MILLIS};
use crate::{Stopped, operations};

/// The latest operations that are looked at; older ones have ended or were looked at often.
const OPERATIONS_MAX: usize = 1_000;
const PAGE: u32 = 200;
/// A listing of which nothing more has arrived for so long waits in vain, in milliseconds.
const STUCK_MILLIS: i64 = 15 * 60_000;

/// Why an operation may not get on.
#[derive(Debug, PartialEq, Eq)]
enum Stall {
    /// Its log does not wait for it, so nobody will list its next page.
    Abandoned,
    /// Nobody looks at it.
    Unwatched(&'static str),
    /// For long nothing more of what it listed was found.
    Stuck,
}

/// Why an operation may not get on, going by its item and by its log's.
fn stall(kept: &Kept<Operation>, log: Option<&Log>, now: domain::Timestamp) -> Option<Stall> {
    let operation = &kept.value;
    let lists = operation.state == OperationState::Listing;
    if operation.has_ended() {
        return None;
    }
    if lists && operation.kind != OperationKind::Audit {
        let waiting = Position::Listing(operation.id.clone());
        let awaited = log.is_some_and(|log| log.position == waiting);
        return (!awaited).then_some(Stall::Abandoned);
    }
    let Some(due_at) = operation.due_at else {
        return Some(Stall::Unwatched("it is never due"));
    };
    if kept.misplaced.is_some() {
        return Some(Stall::Unwatched("no index finds it when it is due"));
    }
    if now.millis_since(due_at) > FORGOTTEN_MILLIS {
        return Some(Stall::Unwatched("nobody has looked at it since it was due"));
    }
    let since = operation.progressed_at.unwrap_or(operation.started_at);
    let arriving = operation.state == OperationState::Listed
        && operation.kind != OperationKind::Leave
        && operation.pages_verified < operation.pages;
    (arriving && now.millis_since(since) > STUCK_MILLIS).then_some(Stall::Stuck)
}

impl Examination<'_> {
    pub(super) async fn look_at_operations(&self) -> Result<(), Stopped> {
        let mut page = PageRequest::first(PAGE);
        let mut seen = 0;
        loop {
            let found = self.deps.store.list_kept_operations(self.key(), &page);
            let found = found.await?;
            seen += found.items.len();
            let others = found.items.iter().filter(|kept| {
                let other = &kept.value;
                other.id != self.operation.id && !other.has_ended() && self.covers(&other.log)
            });
            for kept in others {
                self.look_at_operation(kept).await?;
            }
            match found.next_cursor {
                Some(cursor) if seen < OPERATIONS_MAX => page.cursor = Some(cursor),
                Some(_) | None => return Ok(()),
            }
        }
    }

    async fn look_at_operation(&self, kept: &Kept<Operation>) -> Result<(), Stopped> {
        let (store, other) = (&self.deps.store, &kept.value);
        let log = store.load_log(self.key(), &other.log).await?;
        match stall(kept, log.as_ref(), self.now) {
            None => Ok(()),
            Some(Stall::Abandoned) => self.end(other).await,
            Some(Stall::Unwatched(detail)) => {
                let subject = Subject::Operation(other.id.clone());
                let flaw = self.flaw(FlawKind::OperationStalled, subject, detail);
                self.note(&flaw).await?;
                self.wake(other).await
            }
            Some(Stall::Stuck) => self.unstick(other).await,
        }
    }

    /// Ends a listing that nobody goes on with. A page and the log's position are one write, so what lists still, and
    /// is not waited for by a log that was read after it, never ends by itself.
    async fn end(&self, other: &Operation) -> Result<(), Stopped> {
        let store = &self.deps.store;
        let again = store.load_operation(self.key(), &other.id).await?;
        let Some(other) = again.filter(|again| again.state == OperationState::Listing) else {
            return Ok(());
        };
        let subject = Subject::Operation(other.id.clone());
        let detail = "its log does not wait for it";
        let flaw = self.flaw(FlawKind::OperationAbandoned, subject, detail);
        self.note(&flaw).await?;
        if !self.operation.dry_run {
            let reason = "another listing took its place".to_owned();
            let end = OperationState::Failed { reason };
            store.finish_operation(&other, end, self.now).await?;
        }
        Ok(())
    }

    /// The operation is due now.
    async fn wake(&self, other: &Operation) -> Result<(), Stopped> {
        if !self.operation.dry_run {
            operations::postpone(other, self.now, self.deps).await?;
        }
        Ok(())
    }

    /// Asks about those files of the page that have neither a record nor a parked snapshot: what would have brought
    /// them is lost.
    async fn unstick(&self, other: &Operation) -> Result<(), Stopped> {
        let (store, key) = (&self.deps.store, self.key());
        let subject = Subject::Operation(other.id.clone());
        let kind = FlawKind::OperationStalled;
        let page = store
            .load_page(key, &other.id, other.pages_verified)
            .await?;
        let Some(ids) = page else {
            let flaw = self.flaw(kind, subject, "its next page is not there any more");
            return self.report(flaw).await;
        };
        let missing = store.arrival(key, &ids).await?.missing;
        if missing.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "{} files of page {} never came",
            missing.len(),
            other.pages_verified
        );
        self.note(&self.flaw(kind, subject, detail)).await?;
        if self.operation.dry_run {
            return Ok(());
        }
        let question = |file: FileId| SnapshotMessage {
            key: key.clone(),
            cause: Cause::Run(self.operation.id.to_string()),
            file,
            at: self.operation.started_at,
            snapshot: None,
        };
        let questions: Vec<SnapshotMessage> = missing.into_iter().map(question).collect();
        queue::send_snapshots(&self.deps.snapshots_bulk, &questions).await?;
        self.wake(other).await
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, ConnectionKey, LogId, OperationId, TenantId, Timestamp};
    use store::Misplaced;

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

    /// Begun at minute 100.
    fn operation(kind: OperationKind) -> Operation {
        let id = OperationId::parse("op1").unwrap();
        Operation::new(key(), id, LogId::user(), kind, "ann", minutes(100))
    }

    fn kept(value: Operation) -> Kept<Operation> {
        Kept {
            value,
            misplaced: None,
        }
    }

    #[test]
    fn a_listing_is_abandoned_unless_its_log_waits_for_it() {
        let listing = kept(operation(OperationKind::Resync));
        let now = minutes(101);
        let mut log = Log::new(key(), LogId::user(), now);
        assert_eq!(stall(&listing, Some(&log), now), Some(Stall::Abandoned));
        log.position = Position::Listing(listing.value.id.clone());
        assert_eq!(stall(&listing, Some(&log), now), None);
        assert_eq!(stall(&listing, None, now), Some(Stall::Abandoned));
        let ended = Operation {
            state: OperationState::Done,
            ..listing.value
        };
        assert_eq!(stall(&kept(ended), None, now), None);
    }

    #[test]
    fn what_the_sweep_does_not_find_or_has_forgotten_is_unwatched() {
        let audit = operation(OperationKind::Audit);
        let unwatched = |operation: Kept<Operation>, now| {
            matches!(stall(&operation, None, now), Some(Stall::Unwatched(_)))
        };
        assert!(unwatched(kept(audit.clone()), minutes(101)));
        let due = Operation {
            due_at: Some(minutes(101)),
            ..audit
        };
        assert!(!unwatched(kept(due.clone()), minutes(111)));
        assert!(unwatched(kept(due.clone()), minutes(112)));
        let misplaced = Kept {
            misplaced: Some(Misplaced::Waiting),
            ..kept(due)
        };
        assert!(unwatched(misplaced, minutes(101)));
    }

    #[test]
    fn a_listing_of_which_nothing_more_arrives_is_stuck() {
        let listed = Operation {
            state: OperationState::Listed,
            pages: 2,
            pages_verified: 1,
            due_at: Some(minutes(140)),
            ..operation(OperationKind::InitialSync)
        };
        let now = minutes(116);
        assert_eq!(stall(&kept(listed.clone()), None, now), Some(Stall::Stuck));
        let getting_on = Operation {
            progressed_at: Some(minutes(101)),
            ..listed.clone()
        };
        assert_eq!(stall(&kept(getting_on), None, now), None);
        let whole = Operation {
            pages_verified: 2,
            ..listed
        };
        assert_eq!(stall(&kept(whole), None, now), None);
    }
}
