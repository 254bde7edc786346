//! The comparison of the stored records with a listing, which audits and resyncs share: candidates
//! are recorded, Drive is asked about each, a person confirms if too much would be removed, and
//! only then anything is repaired.

use super::{ConnectionFacts, End, Listing, Operation, RestoreStage, Run, Stage, Work};
use crate::Timestamp;

/// Interval of the reminders that a person must confirm, in milliseconds: an alarm watches the log
/// line.
pub(super) const REMIND_MILLIS: i64 = 5 * 60_000;
/// The time that a person has to confirm, in milliseconds. Findings are retained for longer.
pub(super) const CONFIRM_MILLIS: i64 = 60 * 24 * 3_600_000;
/// The time that snapshots may need to arrive after the log was read to its end, in
/// milliseconds.
const ARRIVING_MILLIS: i64 = 2_000;
/// Delay before an audit checks again whether its log was read, in milliseconds.
const LOG_AGAIN_MILLIS: i64 = 1_000;

/// The result of a comparison so far, and a person's decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Comparison {
    /// The counts: exact, each file once.
    pub counts: DriftCounts,
    /// The time at which all stored records had been compared.
    pub compared_at: Option<Timestamp>,
    /// A person's decision, if it waited for one.
    pub decision: Option<Decision>,
}

/// The drift between a log's files and the stored records: exact, each file counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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

/// A person's decision about an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision {
    /// It continues; otherwise it was cancelled.
    pub confirmed: bool,
    /// The subject of the person's token.
    pub by: String,
    /// The time of the decision.
    pub at: Timestamp,
}

/// The reason why a decision is not possible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DecisionRefused {
    /// The opposite was decided before.
    Decided(Decision),
    /// It does not wait for a confirmation.
    NotAwaited,
    /// It can't be cancelled, or not any more.
    NotCancellable,
}

/// The state of an audit's log after the comparison. Once it was read, remaining differences are
/// not merely late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogRead {
    /// It must be read first.
    No,
    /// Its snapshots may still be in flight.
    Arriving,
    /// It was read, and everything has had time to arrive.
    Yes,
}

impl DriftCounts {
    /// Returns the number of files that differ.
    #[must_use]
    pub fn drifted(&self) -> u64 {
        self.missing_here + self.missing_there + self.stale + self.differing
    }

    fn add(&mut self, more: &Self) {
        self.present += more.present;
        self.missing_here += more.missing_here;
        self.missing_there += more.missing_there;
        self.stale += more.stale;
        self.differing += more.differing;
    }
}

impl Operation {
    /// Returns the result of its comparison; `None` for a run without one.
    #[must_use]
    pub fn comparison(&self) -> Option<&Comparison> {
        let compares = self.lists_all() || self.audit().is_some();
        self.listing()
            .filter(|_| compares)
            .map(|listing| &listing.comparison)
    }

    pub(super) fn comparison_work(
        &self,
        listing: &Listing,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Work {
        match &listing.stage {
            Stage::Listing { .. } | Stage::Listed | Stage::SecondLook { .. } | Stage::Ended(_) => {
                Work::Nothing
            }
            Stage::Comparing { position } => Work::Compare(position.clone()),
            Stage::Verifying { .. } | Stage::Repairing { .. } if !facts.active => {
                self.inactive(now)
            }
            Stage::Verifying { position } => Work::Verify {
                position: position.clone(),
                awaits_log: self.audit().is_some(),
            },
            // Nothing was changed.
            Stage::AwaitingConfirmation { since } if now.millis_since(*since) > CONFIRM_MILLIS => {
                Work::Advance(Box::new(self.failed("nobody confirmed it", now)))
            }
            Stage::AwaitingConfirmation { .. } => {
                Work::Remind(Box::new(self.postponed(now.plus_millis(REMIND_MILLIS))))
            }
            Stage::Repairing { position } => Work::Repair(position.clone()),
        }
    }

    /// Records that this many more stored files were compared; without a `next` position they were
    /// the last.
    #[must_use]
    pub fn on_compared(&self, present: u64, next: Option<String>, now: Timestamp) -> Self {
        let mut listing = match self.listing() {
            Some(listing) if matches!(listing.stage, Stage::Comparing { .. }) => listing.clone(),
            Some(_) | None => return self.clone(),
        };
        listing.comparison.counts.present += present;
        listing.stage = if next.is_some() {
            Stage::Comparing { position: next }
        } else {
            listing.comparison.compared_at = Some(now);
            Stage::Verifying { position: None }
        };
        self.with_listing(listing, 0, now)
    }

    /// Returns whether the log, last read to its end at `read_at`, was read since everything was
    /// compared.
    #[must_use]
    pub fn log_was_read(&self, read_at: Option<Timestamp>, now: Timestamp) -> LogRead {
        let compared_at = self.comparison().and_then(|found| found.compared_at);
        let read_at = read_at.filter(|read| compared_at.is_none_or(|compared| *read > compared));
        match read_at {
            None => LogRead::No,
            Some(at) if at.plus_millis(ARRIVING_MILLIS) > now => LogRead::Arriving,
            Some(_) => LogRead::Yes,
        }
    }

    /// Postpones it until the log was read and its snapshots have arrived.
    #[must_use]
    pub fn on_log_awaited(&self, now: Timestamp) -> Self {
        self.postponed(now.plus_millis(LOG_AGAIN_MILLIS))
    }

    /// Records Drive's answers about a page of candidates; `found` counts those of the page that
    /// drifted. After the last page it is decided how it continues.
    #[must_use]
    pub fn on_verified(
        &self,
        found: &DriftCounts,
        next: Option<String>,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Self {
        let mut listing = match self.listing() {
            Some(listing) if matches!(listing.stage, Stage::Verifying { .. }) => listing.clone(),
            Some(_) | None => return self.clone(),
        };
        let counts = &mut listing.comparison.counts;
        counts.add(found);
        let limit = facts.removals.limit_for(counts.present);
        let (stage, wait_millis) = if next.is_some() {
            (Stage::Verifying { position: next }, 0)
        } else if self.is_dry_run() || counts.drifted() == 0 {
            (Stage::Ended(End::Done), 0)
        } else if counts.missing_there > limit {
            (Stage::AwaitingConfirmation { since: now }, REMIND_MILLIS)
        } else {
            (Stage::Repairing { position: None }, 0)
        };
        listing.stage = stage;
        self.with_listing(listing, wait_millis, now)
    }

    /// Returns the start of its wait for a person's confirmation, if it waits.
    #[must_use]
    pub fn awaits_confirmation(&self) -> Option<Timestamp> {
        if let Some(restore) = self.restore() {
            return match restore.stage {
                RestoreStage::AwaitingConfirmation { since } => Some(since),
                RestoreStage::Comparing(_)
                | RestoreStage::Restoring(_)
                | RestoreStage::Ended(_) => None,
            };
        }
        match self.listing()?.stage {
            Stage::AwaitingConfirmation { since } => Some(since),
            Stage::Listing { .. }
            | Stage::Listed
            | Stage::SecondLook { .. }
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::Repairing { .. }
            | Stage::Ended(_) => None,
        }
    }

    /// Records that a page of repairs is queued; without a `next` position it was the last.
    #[must_use]
    pub fn on_repaired(&self, next: Option<String>, now: Timestamp) -> Self {
        let mut listing = match self.listing() {
            Some(listing) if matches!(listing.stage, Stage::Repairing { .. }) => listing.clone(),
            Some(_) | None => return self.clone(),
        };
        listing.stage = if next.is_some() {
            Stage::Repairing { position: next }
        } else {
            Stage::Ended(End::Done)
        };
        self.with_listing(listing, 0, now)
    }

    /// Confirms or cancels it on behalf of a person. Deciding the same twice leaves it unchanged.
    ///
    /// # Errors
    /// The reason why that is not possible.
    pub fn decide(
        &self,
        confirmed: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        if let Run::Restore(restore) = &self.run {
            return self.decide_restore(restore, confirmed, by, now);
        }
        let cancelled = match &self.run {
            Run::Export(export) => Some(self.cancel_export(export, now)),
            Run::Erase(_) => Some(self.cancel_erasure(now)),
            Run::ErasePerson(_) => Some(self.cancel_person_erasure(now)),
            Run::EraseTenant(_) => Some(self.cancel_tenant_erasure(now)),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Restore(_) => None,
        };
        if let Some(cancelled) = cancelled {
            return if confirmed {
                Err(DecisionRefused::NotAwaited)
            } else {
                cancelled
            };
        }
        let decided = self.comparison().and_then(|found| found.decision.clone());
        if let Some(decision) = decided {
            return if decision.confirmed == confirmed {
                Ok(self.clone())
            } else {
                Err(DecisionRefused::Decided(decision))
            };
        }
        let possible = if confirmed {
            self.awaits_confirmation().is_some()
        } else {
            self.has_changed_nothing()
        };
        let Some(listing) = self.listing().filter(|_| possible) else {
            return Err(if confirmed {
                DecisionRefused::NotAwaited
            } else {
                DecisionRefused::NotCancellable
            });
        };
        let mut listing = listing.clone();
        listing.stage = if confirmed {
            Stage::Repairing { position: None }
        } else {
            Stage::Ended(End::Cancelled)
        };
        listing.comparison.decision = Some(Decision {
            confirmed,
            by: by.to_owned(),
            at: now,
        });
        Ok(self.with_listing(listing, 0, now))
    }

    /// Returns whether it can end here with nothing changed and no log waiting for it.
    fn has_changed_nothing(&self) -> bool {
        self.listing().is_some_and(|listing| match &listing.stage {
            Stage::SecondLook { .. }
            | Stage::Comparing { .. }
            | Stage::Verifying { .. }
            | Stage::AwaitingConfirmation { .. } => true,
            Stage::Listing { .. } | Stage::Listed => self.audit().is_some(),
            Stage::Repairing { .. } | Stage::Ended(_) => false,
        })
    }
}
