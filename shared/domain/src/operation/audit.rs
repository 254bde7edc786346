//! An audit: the stored items are checked first, then every file that Drive lists is compared with
//! its record. The log and its cursor are not changed.

use std::collections::BTreeMap;

use super::{ConnectionFacts, Listing, Operation, Run, Stage, Work};
use crate::{InconsistencyCount, InconsistencyKind, Timestamp};

/// An audit of one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audit {
    /// It only reports and changes nothing.
    pub dry_run: bool,
    /// The part of the stored items that is checked next; `None` once the listing has begun.
    pub self_check: Option<SelfCheckPhase>,
    /// The inconsistencies among the stored items, by kind.
    pub inconsistencies: BTreeMap<InconsistencyKind, InconsistencyCount>,
    /// The listing, each page of which is compared at once, and the comparison.
    pub listing: Listing,
}

/// The phases of the check of the stored items, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SelfCheckPhase {
    /// Logs, channels and operations.
    LogsAndOperations,
    /// File records, from this cursor on.
    Files(Option<String>),
    /// Open conflicts, from this cursor on.
    Conflicts(Option<String>),
}

impl SelfCheckPhase {
    /// Returns the phase that follows once this page is checked; `next` is the cursor of the same
    /// phase's next page.
    #[must_use]
    pub fn following(&self, next: Option<String>) -> Option<Self> {
        match (self, next) {
            (Self::LogsAndOperations, _) => Some(Self::Files(None)),
            (Self::Files(_), Some(next)) => Some(Self::Files(Some(next))),
            (Self::Files(_), None) => Some(Self::Conflicts(None)),
            (Self::Conflicts(_), Some(next)) => Some(Self::Conflicts(Some(next))),
            (Self::Conflicts(_), None) => None,
        }
    }

    pub(super) fn parse(position: Option<&str>) -> Self {
        let cursor = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match position.and_then(|position| position.split_once('#')) {
            Some(("files", rest)) => Self::Files(cursor(rest)),
            Some(("conflicts", rest)) => Self::Conflicts(cursor(rest)),
            Some(_) | None => Self::LogsAndOperations,
        }
    }

    pub(super) fn position(&self) -> Option<String> {
        match self {
            Self::LogsAndOperations => None,
            Self::Files(cursor) => Some(format!("files#{}", cursor.as_deref().unwrap_or_default())),
            Self::Conflicts(cursor) => Some(format!(
                "conflicts#{}",
                cursor.as_deref().unwrap_or_default()
            )),
        }
    }
}

impl Run {
    /// Creates an audit.
    #[must_use]
    pub fn audit(dry_run: bool) -> Self {
        Self::Audit(Audit {
            dry_run,
            self_check: Some(SelfCheckPhase::LogsAndOperations),
            inconsistencies: BTreeMap::new(),
            listing: Listing::new(),
        })
    }
}

impl Operation {
    /// Returns the audit, if it is one.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        match &self.run {
            Run::Audit(audit) => Some(audit),
            Run::Sync(_) | Run::LeaveDrive(_) | Run::ContentScan(_) => None,
        }
    }

    /// Returns whether it only reports, and changes nothing.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.audit().is_some_and(|audit| audit.dry_run)
    }

    pub(super) fn audit_work(
        &self,
        audit: &Audit,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Work {
        match (&audit.listing.stage, &audit.self_check) {
            (Stage::Listing { .. }, _) if !facts.active => self.inactive(now),
            (Stage::Listing { .. }, Some(part)) => Work::SelfCheck(part.clone()),
            (Stage::Listing { token }, None) => Work::ListPage(token.clone()),
            (Stage::Listed, _) => {
                let stage = Stage::Comparing { position: None };
                let listing = Listing {
                    stage,
                    ..audit.listing.clone()
                };
                Work::Advance(Box::new(self.with_listing(listing, 0, now)))
            }
            (
                Stage::Comparing { .. }
                | Stage::Verifying { .. }
                | Stage::AwaitingConfirmation { .. }
                | Stage::Repairing { .. }
                | Stage::Ended(_),
                _,
            ) => self.comparison_work(&audit.listing, facts, now),
        }
    }

    /// Records that a page of the stored items was checked. Without a following one, Drive is
    /// listed next.
    #[must_use]
    pub fn on_self_check(&self, following: Option<SelfCheckPhase>, now: Timestamp) -> Self {
        let checking = self.audit().filter(|audit| audit.self_check.is_some());
        let Some(audit) = checking.filter(|_| !self.has_ended()) else {
            return self.clone();
        };
        let audit = Audit {
            self_check: following,
            ..audit.clone()
        };
        self.moved(Run::Audit(audit), 0, now)
    }

    /// Replaces the counts of inconsistencies.
    #[must_use]
    pub fn with_inconsistencies(
        mut self,
        counted: BTreeMap<InconsistencyKind, InconsistencyCount>,
    ) -> Self {
        if let Run::Audit(audit) = &mut self.run {
            audit.inconsistencies = counted;
        }
        self
    }

    /// Returns the number of files that are newer in Drive than in the stored records although the
    /// log was read to its end: its cursor has passed changes that never arrived.
    #[must_use]
    pub fn files_behind_cursor(&self) -> u64 {
        self.audit().map_or(0, |audit| {
            let counts = audit.listing.comparison.counts;
            counts.stale + counts.missing_here
        })
    }
}
