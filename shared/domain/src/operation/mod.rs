//! Operations: tracked runs that take longer than one call.
//!
//! An [`Operation`] is a header and a [`Run`], one type per kind of run with a small state of its
//! own. The functions here are pure and total: [`Operation::next_work`] says what an executor must
//! do now, and an `on_*` function gives the operation that must be recorded after it was done. An
//! executor may stop anywhere and a step may be done twice: a transition is recorded only if the
//! operation still stands where it was computed from ([`Operation::stands_like`]). A result that
//! doesn't belong to the present step leaves the operation unchanged.

mod audit;
mod comparison;
mod content_scan;
mod erasures {
    pub(super) mod erase;
    pub(super) mod erase_person;
    pub(super) mod erase_tenant;
}
mod export;
mod form;
mod leave_drive;
mod listing;
mod paging;
mod removal_limit;
mod restore;
mod run_of_form;
mod stall;
mod sync;

#[cfg(test)]
mod search;

pub use audit::{Audit, ComparisonInterval, SelfCheckPhase};
pub use comparison::{Comparison, Decision, DecisionRefused, DriftCounts, LogRead};
pub use content_scan::{ContentScan, ScanState};
pub use erasures::erase::{
    Erase, ErasePart, EraseStage, ErasedCounts, ErasedKind, QUIET_MILLIS, RESTORE_MILLIS,
};
pub use erasures::erase_person::{
    ErasePerson, ErasePersonStage, ErasePersonWork, InDrive, NAMED_FILES_MAX, NamedFiles,
    PersonFound, PersonPart,
};
pub use erasures::erase_tenant::{EraseTenant, EraseTenantStage, EraseTenantWork, TenantPart};
pub use export::{
    EXPORT_FILES_MAX, EXPORT_KEPT_MILLIS, Export, ExportFile, ExportPlace, ExportScope,
    ExportSource, ExportStage, ExportWork, ExportedCounts, ExportedKind, MANIFEST_NAME,
};
pub use form::{
    ErasureForm, ExportForm, OperationForm, OperationKind, OperationState, PersonForm, RestoreForm,
};
pub use leave_drive::LeaveDrive;
pub use listing::{ListedPage, Listing, SecondLook, Stage};
pub use paging::{PageWalk, Stop, StopReason, WalkedPage, entries_hash};
pub use removal_limit::RemovalLimits;
pub use restore::{Restore, RestoreCounts, RestoreStage};
pub use stall::Stall;
pub use sync::{Sync, SyncKind};

use crate::{Cause, ConnectionKey, LogId, OperationId, Timestamp};

/// Delay before an operation of a connection that isn't active is due again, in milliseconds.
const INACTIVE_MILLIS: i64 = 60_000;

/// One tracked run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The connection.
    pub key: ConnectionKey,
    /// Its id; ids sort by the time of creation.
    pub id: OperationId,
    /// The log whose files it is about.
    pub log: LogId,
    /// The subject of the token that requested it, or `drivesync`.
    pub by: String,
    /// The time of its start.
    pub started_at: Timestamp,
    /// The time of its end.
    pub finished_at: Option<Timestamp>,
    /// The time at which an executor continues it; `None` while `fetch-changes` drives it, and once
    /// it has ended.
    pub due_at: Option<Timestamp>,
    /// The cause of all that it does: that of the request or wake that created it. `None` before
    /// it is stored.
    pub cause: Option<Cause>,
    /// Its kind and state.
    pub run: Run,
}

/// The kinds of runs, each with its own state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Run {
    /// Queues every file of a log.
    Sync(Sync),
    /// Compares every file of a log with the stored records.
    Audit(Audit),
    /// Marks the files of a shared drive that was left.
    LeaveDrive(LeaveDrive),
    /// Wakes the content of every file.
    ContentScan(ContentScan),
    /// Erases a connection that was deleted.
    Erase(Erase),
    /// Exports what is stored.
    Export(Export),
    /// Erases a person.
    ErasePerson(ErasePerson),
    /// Erases a tenant.
    EraseTenant(EraseTenant),
    /// Restores files to a point in time.
    Restore(Restore),
}

/// The outcome of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// It succeeded.
    Done,
    /// A person cancelled it before it changed anything.
    Cancelled,
    /// It failed.
    Failed {
        /// The reason.
        reason: String,
    },
}

/// The facts about its connection that an operation depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionFacts {
    /// It is active: neither paused, suspended nor being deleted.
    pub active: bool,
    /// Its content is mirrored.
    pub mirrors_content: bool,
    /// It has path rules, so that a folder may bring its files into scope.
    pub has_rules: bool,
    /// The limits of removals without confirmation.
    pub removals: RemovalLimits,
}

/// The next piece of work of an operation that is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Work {
    /// Nothing: it has ended, `fetch-changes` drives it, or it depends on no single connection
    /// ([`Operation::next_export_work`], [`Operation::next_person_work`],
    /// [`Operation::next_tenant_work`]).
    Nothing,
    /// Record this next state; there is nothing else to do.
    Advance(Box<Operation>),
    /// Raise the alarm that a person must confirm it, and record this next state.
    Remind(Box<Operation>),
    /// Check this part of the stored items.
    SelfCheck(SelfCheckPhase),
    /// List the page at this token; the first page without one.
    ListPage(Option<String>),
    /// List the page at this token of the second listing; the first page without one.
    SecondLook(Option<String>),
    /// Check that the files of this page have arrived, and of the pages after it.
    CheckArrival {
        /// The page, counted from 0.
        page: u32,
    },
    /// Record that everything has arrived.
    Arrived {
        /// A content scan must be scheduled first.
        scan: bool,
    },
    /// Record stored files that were not listed as candidates, from this position on.
    Compare(Option<String>),
    /// Ask Drive about the candidates from this position on.
    Verify {
        /// The position.
        position: Option<String>,
        /// The log must be read to its end first.
        awaits_log: bool,
    },
    /// Queue the repairs of what was found, from this position on.
    Repair(Option<String>),
    /// Queue a mark for each of the drive's files from this position on.
    MarkFiles(Option<String>),
    /// Wake the content of each file from this position on.
    ScanContent(Option<String>),
    /// Erase this part of the connection from this position on, or count it.
    Erase(ErasePart, Option<String>),
    /// Store the certificate, which ends it.
    Certify,
    /// Compare the files with their history, from this position on.
    CompareWithHistory(Option<String>),
    /// Edit the listed files from this position on.
    RestoreFiles(Option<String>),
}

impl Operation {
    /// Creates an operation. It is due at once, unless a log waits for it.
    #[must_use]
    pub fn new(
        key: ConnectionKey,
        id: OperationId,
        log: LogId,
        by: impl Into<String>,
        started_at: Timestamp,
        run: Run,
    ) -> Self {
        Self {
            key,
            id,
            log,
            by: by.into(),
            started_at,
            finished_at: None,
            due_at: (!run.blocks_log()).then_some(started_at),
            cause: None,
            run,
        }
    }

    /// Sets the time at which it is due.
    #[must_use]
    pub fn due(self, at: Timestamp) -> Self {
        Self {
            due_at: Some(at),
            ..self
        }
    }

    /// Returns whether an executor must continue it.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Returns whether nothing more happens to it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.run.end().is_some()
    }

    /// Returns whether it counts as one that its tenant runs. An export that is complete only waits
    /// for the deletion of its files.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let is_ready = self
            .export()
            .is_some_and(|export| export.ready_until().is_some());
        !self.has_ended() && !is_ready
    }

    /// Returns whether its log waits for it: no changes are read until its last page is recorded.
    #[must_use]
    pub fn blocks_log(&self) -> bool {
        self.run.blocks_log()
    }

    /// Returns what an executor must do now.
    #[must_use]
    pub fn next_work(&self, facts: &ConnectionFacts, now: Timestamp) -> Work {
        if self.has_ended() {
            return Work::Nothing;
        }
        match &self.run {
            Run::Sync(sync) => self.sync_work(sync, facts, now),
            Run::Audit(audit) => self.audit_work(audit, facts, now),
            Run::LeaveDrive(leave) => Work::MarkFiles(leave.position.clone()),
            Run::ContentScan(scan) => self.scan_work(scan, facts, now),
            Run::Erase(erase) => self.erase_work(erase, now),
            Run::Restore(restore) => self.restore_work(restore, facts, now),
            Run::Export(_) | Run::ErasePerson(_) | Run::EraseTenant(_) => Work::Nothing,
        }
    }

    /// Ends it with a reason.
    #[must_use]
    pub fn failed(&self, reason: impl Into<String>, now: Timestamp) -> Self {
        let reason = reason.into();
        self.ended(End::Failed { reason }, now)
    }

    /// Returns it with another due time; one that has ended stays as it is.
    #[must_use]
    pub fn postponed(&self, to: Timestamp) -> Self {
        if self.has_ended() {
            return self.clone();
        }
        self.clone().due(to)
    }

    /// Returns whether `current` stands where this operation does: what was computed from this one
    /// may replace it.
    #[must_use]
    pub fn stands_like(&self, current: &Self) -> bool {
        self.form().stands_like(&current.form())
    }

    fn ended(&self, end: End, now: Timestamp) -> Self {
        if self.has_ended() {
            return self.clone();
        }
        let mut run = self.run.clone();
        match (&mut run, self.listing()) {
            (_, Some(listing)) => {
                let stage = Stage::Ended(end);
                let listing = Listing {
                    stage,
                    ..listing.clone()
                };
                return self.with_listing(listing, 0, now);
            }
            (Run::LeaveDrive(leave), None) => leave.end = Some(end),
            (Run::ContentScan(scan), None) => scan.state = ScanState::Ended(end),
            (Run::Erase(erase), None) => erase.stage = EraseStage::Ended(end),
            (Run::Export(export), None) => export.stage = ExportStage::Ended(end),
            (Run::ErasePerson(erase), None) => erase.stage = ErasePersonStage::Ended(end),
            (Run::EraseTenant(erase), None) => erase.stage = EraseTenantStage::Ended(end),
            (Run::Restore(restore), None) => restore.stage = RestoreStage::Ended(end),
            (Run::Sync(_) | Run::Audit(_), None) => {}
        }
        self.moved(run, 0, now)
    }

    /// Returns the operation with another run: due after `wait_millis`, or finished.
    fn moved(&self, run: Run, wait_millis: i64, now: Timestamp) -> Self {
        let ended = run.end().is_some();
        Self {
            due_at: (!ended && !run.blocks_log()).then(|| now.plus_millis(wait_millis)),
            finished_at: ended.then_some(now),
            run,
            ..self.clone()
        }
    }

    /// Returns the work for a connection that isn't active: to wait.
    fn inactive(&self, now: Timestamp) -> Work {
        Work::Advance(Box::new(self.postponed(now.plus_millis(INACTIVE_MILLIS))))
    }
}

impl Run {
    /// Returns its outcome; `None` while it runs.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        match self {
            Self::Sync(sync) => sync.listing.end(),
            Self::Audit(audit) => audit.listing.end(),
            Self::LeaveDrive(leave) => leave.end.as_ref(),
            Self::ContentScan(scan) => scan.end(),
            Self::Erase(erase) => erase.end(),
            Self::Export(export) => export.end(),
            Self::ErasePerson(erase) => erase.end(),
            Self::EraseTenant(erase) => erase.end(),
            Self::Restore(restore) => restore.end(),
        }
    }

    fn blocks_log(&self) -> bool {
        matches!(self, Self::Sync(sync) if sync.listing.is_first())
    }
}
