//! The flat form of an operation: how it is stored and shown. What other builds wrote is read here,
//! so the names of kinds and states never change.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Comparison, End, ErasePersonStage, EraseStage, EraseTenantStage, ErasedCounts, ExportFile,
    ExportScope, ExportStage, ExportedCounts, InDrive, Listing, Operation, PageWalk, RestoreCounts,
    RestoreStage, Run, ScanState, SecondLook, Stage, Stop, SyncKind,
};
use crate::labels::labels;
use crate::{ConnectionId, FileId, InconsistencyCount, InconsistencyKind, Timestamp};

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// The first listing of all files.
    InitialSync,
    /// One reading of the change log, requested by a person.
    Delta,
    /// A listing of all files because the cursor was lost, or a person requested it.
    Resync,
    /// A comparison of all files with the stored records.
    Audit,
    /// The marking of the files of a shared drive that was left.
    LeaveDrive,
    /// A scan that wakes the content of every file.
    ContentScan,
    /// The erasure of a connection.
    Erase,
    /// An export.
    Export,
    /// The erasure of a person.
    ErasePerson,
    /// The erasure of a tenant.
    EraseTenant,
    /// A restore of files to a point in time.
    Restore,
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// The stored items are checked.
    SelfChecking,
    /// Pages are listed.
    Listing,
    /// All pages are listed, or the stored records are the list.
    Listed,
    /// The stored records are compared with the listing.
    Comparing,
    /// Drive is asked about each candidate.
    Verifying,
    /// A person must confirm or cancel it.
    AwaitingConfirmation,
    /// The repairs are queued.
    Repairing,
    /// Files are set back to a point in time.
    Restoring,
    /// An erasure that waits for its time.
    Waiting,
    /// Items and objects are deleted, or counted.
    Erasing,
    /// Work that began before the deletion may still run.
    Draining,
    /// What is stored is written to files.
    Exporting,
    /// An export is complete, and its files are there.
    Ready,
    /// An export was cancelled, and its files are to be deleted.
    Cancelling,
    /// It succeeded.
    Done,
    /// A person cancelled it.
    Cancelled,
    /// It failed.
    Failed,
}

labels!(OperationKind {
    InitialSync = "initial_sync",
    Delta = "delta",
    Resync = "resync",
    Audit = "audit",
    LeaveDrive = "leave",
    ContentScan = "mirror",
    Erase = "erase",
    Export = "export",
    ErasePerson = "erase_person",
    EraseTenant = "erase_tenant",
    Restore = "restore",
});

labels!(OperationState {
    SelfChecking = "examining",
    Listing = "listing",
    Listed = "listed",
    Comparing = "comparing",
    Verifying = "verifying",
    AwaitingConfirmation = "awaiting_confirmation",
    Repairing = "repairing",
    Restoring = "restoring",
    Waiting = "waiting",
    Erasing = "erasing",
    Draining = "draining",
    Exporting = "exporting",
    Ready = "ready",
    Cancelling = "cancelling",
    Done = "done",
    Cancelled = "cancelled",
    Failed = "failed",
});

/// A run as flat fields. Each kind uses those that belong to its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationForm {
    /// Its kind.
    pub kind: OperationKind,
    /// Its state.
    pub state: OperationState,
    /// The reason of a failure.
    pub reason: Option<String>,
    /// The start of the wait for a confirmation.
    pub since: Option<Timestamp>,
    /// It only reports.
    pub dry_run: bool,
    /// Drive's token of the next page, or the position of a marking in the stored records.
    pub page_token: Option<String>,
    /// The position of its present step.
    pub position: Option<String>,
    /// Pages listed or scanned; the rounds of a marking.
    pub pages: u32,
    /// The number of files on them.
    pub listed: u64,
    /// Pages that have arrived.
    pub pages_verified: u32,
    /// Files on those; the marks queued before the present round.
    pub verified: u64,
    /// Those of them that were set aside as dead letters.
    pub errors: u64,
    /// The second listing, once it has begun.
    pub second_look: Option<SecondLook>,
    /// The way along the pages that are being listed.
    pub walk: PageWalk,
    /// Drive said of a page of this walk that the listing is incomplete.
    pub incomplete: bool,
    /// The last stop of the listing, until it has reached its end.
    pub stop: Option<Stop>,
    /// The result of a comparison.
    pub comparison: Comparison,
    /// The inconsistencies that an audit found among the stored items.
    pub inconsistencies: BTreeMap<InconsistencyKind, InconsistencyCount>,
    /// The time of the last page.
    pub progressed_at: Option<Timestamp>,
    /// What only an erasure has.
    pub erasure: Option<ErasureForm>,
    /// What only an export has.
    pub export: Option<ExportForm>,
    /// What only the erasure of a person has.
    pub person: Option<PersonForm>,
    /// What only the erasure of a tenant has: the number of items and objects by kind.
    pub tenant: Option<ErasedCounts>,
    /// What only a restore has.
    pub restore: Option<RestoreForm>,
}

/// The fields of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreForm {
    /// The folder; `None` for the whole connection.
    pub folder: Option<FileId>,
    /// The time whose state is restored.
    pub at: Timestamp,
    /// What was found, and done.
    pub counts: RestoreCounts,
}

/// The fields of the erasure of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonForm {
    /// The HMAC of the name.
    pub person: String,
    /// The number that stands in its place.
    pub number: u32,
    /// The time at which no earlier work can still run.
    pub quiet_at: Timestamp,
    /// The items that named the person.
    pub counts: ErasedCounts,
    /// Where Drive still has the person.
    pub in_drive: InDrive,
    /// Connections whose settings name the person.
    pub in_settings: BTreeSet<ConnectionId>,
}

/// The fields of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportForm {
    /// What is exported.
    pub scope: ExportScope,
    /// The files so far.
    pub files: Vec<ExportFile>,
    /// The number of lines by kind.
    pub counts: ExportedCounts,
}

/// The fields of an erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureForm {
    /// The generation of the connection.
    pub generation: u32,
    /// The time at which it begins by itself.
    pub begins_at: Timestamp,
    /// The time at which no earlier work can still run.
    pub quiet_at: Timestamp,
    /// What was erased.
    pub counts: ErasedCounts,
}

impl OperationForm {
    fn new(kind: OperationKind) -> Self {
        Self {
            kind,
            state: OperationState::Listed,
            reason: None,
            since: None,
            dry_run: false,
            page_token: None,
            position: None,
            pages: 0,
            listed: 0,
            pages_verified: 0,
            verified: 0,
            errors: 0,
            second_look: None,
            walk: PageWalk::default(),
            incomplete: false,
            stop: None,
            comparison: Comparison::default(),
            inconsistencies: BTreeMap::new(),
            progressed_at: None,
            erasure: None,
            export: None,
            person: None,
            tenant: None,
            restore: None,
        }
    }

    /// Returns whether what must be unchanged in the table for a transition to be recorded is the
    /// same.
    pub(super) fn stands_like(&self, other: &Self) -> bool {
        let second_pages = |form: &Self| form.second_look.map(|second| second.pages);
        self.state == other.state
            && self.page_token == other.page_token
            && self.position == other.position
            && self.pages == other.pages
            && self.pages_verified == other.pages_verified
            && second_pages(self) == second_pages(other)
    }

    fn ending(mut self, end: Option<&End>) -> Self {
        self.state = match end {
            None => return self,
            Some(End::Done) => OperationState::Done,
            Some(End::Cancelled) => OperationState::Cancelled,
            Some(End::Failed { reason }) => {
                self.reason = Some(reason.clone());
                OperationState::Failed
            }
        };
        self
    }

    fn listing(mut self, listing: &Listing) -> Self {
        self.pages = listing.pages;
        self.listed = listing.listed;
        self.progressed_at = listing.progressed_at;
        self.comparison = listing.comparison.clone();
        self.second_look = listing.second_look;
        self.walk = listing.walk;
        self.incomplete = listing.incomplete;
        self.stop = listing.stop;
        let (state, position) = match &listing.stage {
            Stage::Listing { token } => {
                self.page_token.clone_from(token);
                (OperationState::Listing, &None)
            }
            Stage::Listed => (OperationState::Listed, &None),
            Stage::SecondLook { token } => {
                self.page_token.clone_from(token);
                (OperationState::Listed, &None)
            }
            Stage::Comparing { position } => (OperationState::Comparing, position),
            Stage::Verifying { position } => (OperationState::Verifying, position),
            Stage::AwaitingConfirmation { since } => {
                self.since = Some(*since);
                (OperationState::AwaitingConfirmation, &None)
            }
            Stage::Repairing { position } => (OperationState::Repairing, position),
            Stage::Ended(end) => return self.ending(Some(end)),
        };
        self.state = state;
        self.position.clone_from(position);
        self
    }
}

impl Operation {
    /// Returns its run as flat fields.
    #[must_use]
    pub fn form(&self) -> OperationForm {
        match &self.run {
            Run::Sync(sync) => OperationForm {
                pages_verified: sync.pages_verified,
                verified: sync.verified,
                errors: sync.errors,
                ..OperationForm::new(self.kind()).listing(&sync.listing)
            },
            Run::Audit(audit) => {
                let form = OperationForm {
                    dry_run: audit.dry_run,
                    inconsistencies: audit.inconsistencies.clone(),
                    ..OperationForm::new(self.kind()).listing(&audit.listing)
                };
                match &audit.self_check {
                    Some(part) if !self.has_ended() => OperationForm {
                        state: OperationState::SelfChecking,
                        position: part.position(),
                        ..form
                    },
                    Some(_) | None => form,
                }
            }
            Run::LeaveDrive(leave) => OperationForm {
                page_token: leave.position.clone(),
                pages: leave.rounds,
                listed: leave.queued,
                verified: leave.queued_before,
                ..OperationForm::new(self.kind()).ending(leave.end.as_ref())
            },
            Run::ContentScan(scan) => {
                let position = match &scan.state {
                    ScanState::Scanning { position } => position.clone(),
                    ScanState::Pending | ScanState::Ended(_) => None,
                };
                OperationForm {
                    position,
                    progressed_at: scan.progressed_at,
                    pages: scan.pages,
                    listed: scan.woken,
                    pages_verified: scan.pages,
                    verified: scan.woken,
                    ..OperationForm::new(self.kind()).ending(scan.end())
                }
            }
            Run::Erase(erase) => {
                let state = match &erase.stage {
                    EraseStage::Waiting => OperationState::Waiting,
                    EraseStage::Draining => OperationState::Draining,
                    EraseStage::Erasing(..) | EraseStage::Certifying => OperationState::Erasing,
                    EraseStage::Ended(_) => OperationState::Done,
                };
                let form = OperationForm {
                    state,
                    dry_run: erase.dry_run,
                    position: erase.position(),
                    pages: erase.steps,
                    listed: erase.counts.values().sum(),
                    progressed_at: erase.progressed_at,
                    erasure: Some(ErasureForm {
                        generation: erase.generation,
                        begins_at: erase.begins_at,
                        quiet_at: erase.quiet_at,
                        counts: erase.counts.clone(),
                    }),
                    ..OperationForm::new(self.kind())
                };
                form.ending(erase.end())
            }
            Run::Export(export) => {
                let state = match &export.stage {
                    ExportStage::Reading(_) | ExportStage::Closing => OperationState::Exporting,
                    ExportStage::Ready(_) => OperationState::Ready,
                    ExportStage::Cancelling => OperationState::Cancelling,
                    ExportStage::Ended(_) => OperationState::Done,
                };
                let form = OperationForm {
                    state,
                    position: export.position(),
                    pages: export.steps,
                    listed: export.counts.values().sum(),
                    progressed_at: export.progressed_at,
                    export: Some(ExportForm {
                        scope: export.scope.clone(),
                        files: export.files.clone(),
                        counts: export.counts.clone(),
                    }),
                    ..OperationForm::new(self.kind())
                };
                form.ending(export.end())
            }
            Run::ErasePerson(erase) => {
                let state = match &erase.stage {
                    ErasePersonStage::Looking(..) => OperationState::Erasing,
                    ErasePersonStage::Draining => OperationState::Draining,
                    ErasePersonStage::Ended(_) => OperationState::Done,
                };
                let form = OperationForm {
                    state,
                    dry_run: erase.dry_run,
                    position: erase.position(),
                    pages: erase.steps,
                    listed: erase.counts.values().sum(),
                    progressed_at: erase.progressed_at,
                    person: Some(PersonForm {
                        person: erase.person.clone(),
                        number: erase.number,
                        quiet_at: erase.quiet_at,
                        counts: erase.counts.clone(),
                        in_drive: erase.in_drive.clone(),
                        in_settings: erase.in_settings.clone(),
                    }),
                    ..OperationForm::new(self.kind())
                };
                form.ending(erase.end())
            }
            Run::EraseTenant(erase) => {
                let state = match &erase.stage {
                    EraseTenantStage::Draining(_) => OperationState::Draining,
                    EraseTenantStage::Counting(_)
                    | EraseTenantStage::Connections
                    | EraseTenantStage::Erasing(..) => OperationState::Erasing,
                    EraseTenantStage::Ended(_) => OperationState::Done,
                };
                let form = OperationForm {
                    state,
                    dry_run: erase.dry_run,
                    position: erase.position(),
                    pages: erase.steps,
                    listed: erase.counts.values().sum(),
                    progressed_at: erase.progressed_at,
                    tenant: Some(erase.counts.clone()),
                    ..OperationForm::new(self.kind())
                };
                form.ending(erase.end())
            }
            Run::Restore(restore) => {
                let (state, position, since) = match &restore.stage {
                    RestoreStage::Comparing(position) => {
                        (OperationState::Comparing, position.clone(), None)
                    }
                    RestoreStage::AwaitingConfirmation { since } => {
                        (OperationState::AwaitingConfirmation, None, Some(*since))
                    }
                    RestoreStage::Restoring(position) => {
                        (OperationState::Restoring, position.clone(), None)
                    }
                    RestoreStage::Ended(_) => (OperationState::Done, None, None),
                };
                let form = OperationForm {
                    state,
                    since,
                    dry_run: restore.dry_run,
                    position,
                    pages: restore.steps,
                    listed: restore.counts.files,
                    progressed_at: restore.progressed_at,
                    comparison: Comparison {
                        decision: restore.decision.clone(),
                        ..Comparison::default()
                    },
                    restore: Some(RestoreForm {
                        folder: restore.folder.clone(),
                        at: restore.at,
                        counts: restore.counts.clone(),
                    }),
                    ..OperationForm::new(self.kind())
                };
                form.ending(restore.end())
            }
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        match &self.run {
            Run::Sync(sync) => match sync.kind {
                SyncKind::Initial => OperationKind::InitialSync,
                SyncKind::Delta => OperationKind::Delta,
                SyncKind::Resync => OperationKind::Resync,
            },
            Run::Audit(_) => OperationKind::Audit,
            Run::LeaveDrive(_) => OperationKind::LeaveDrive,
            Run::ContentScan(_) => OperationKind::ContentScan,
            Run::Erase(_) => OperationKind::Erase,
            Run::Export(_) => OperationKind::Export,
            Run::ErasePerson(_) => OperationKind::ErasePerson,
            Run::EraseTenant(_) => OperationKind::EraseTenant,
            Run::Restore(_) => OperationKind::Restore,
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> OperationState {
        self.form().state
    }
}
