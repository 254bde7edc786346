//! An audit: the stored items are checked first, then every file that Drive lists is compared with
//! its record, then the files are listed a second time. A *comparison* is that second listing
//! alone, and runs by itself at intervals. The log and its cursor are not changed.

use std::collections::BTreeMap;

use super::{ConnectionFacts, Listing, Operation, Run, Stage, Work, entries_hash};
use crate::{ConnectionKey, DAY_MILLIS, InconsistencyCount, InconsistencyKind, LogId, Timestamp};

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

/// The interval between the comparisons of a log's files with the stored records that run by
/// themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparisonInterval {
    /// Days; 0 for no comparisons.
    pub days: u16,
}

impl Default for ComparisonInterval {
    fn default() -> Self {
        Self { days: 7 }
    }
}

impl ComparisonInterval {
    /// The longest interval, in days.
    pub const DAYS_MAX: u16 = 90;
    /// The time that stands for a comparison that is owed whatever the interval is, and is then an
    /// audit: the table was restored to an earlier state.
    pub const OWED: Timestamp = Timestamp::from_millis(0);

    /// Returns whether a comparison is due that last began at `compared_at`.
    ///
    /// It begins once in each interval, at a time in it that depends only on the connection and the
    /// log: the comparisons of many connections are spread over all of the interval.
    #[must_use]
    pub fn is_due(
        self,
        key: &ConnectionKey,
        log: &LogId,
        compared_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        if compared_at == Self::OWED {
            return true;
        }
        let millis = i64::from(self.days) * DAY_MILLIS;
        if millis == 0 {
            return false;
        }
        let names = [key.tenant.as_str(), key.connection.as_str(), log.as_str()];
        let spread = entries_hash(names).unwrap_or_default();
        let spread = i64::try_from(spread >> 1).unwrap_or_default() % millis;
        let interval = |at: Timestamp| at.plus_millis(-spread).as_millis().div_euclid(millis);
        interval(now) > interval(compared_at)
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

    /// Creates a comparison: an audit that only lists the ids of the files and compares them with
    /// the stored records.
    #[must_use]
    pub fn comparison() -> Self {
        Self::Audit(Audit {
            dry_run: false,
            self_check: None,
            inconsistencies: BTreeMap::new(),
            listing: Listing::new().looked_at_again(),
        })
    }
}

impl Operation {
    /// Returns the audit, if it is one.
    #[must_use]
    pub fn audit(&self) -> Option<&Audit> {
        match &self.run {
            Run::Audit(audit) => Some(audit),
            Run::Sync(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
        }
    }

    /// Returns whether it only reports, and changes nothing.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.audit().is_some_and(|audit| audit.dry_run)
            || self.erasure().is_some_and(|erase| erase.dry_run)
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
                let listing = audit.listing.looked_at_again();
                Work::Advance(Box::new(self.with_listing(listing, 0, now)))
            }
            (Stage::SecondLook { token }, _) => self.second_look_work(token.as_ref(), facts, now),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectionId, TenantId};

    const HOUR: i64 = 3_600_000;

    fn key(connection: usize) -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse(&format!("c{connection}")).unwrap(),
        }
    }

    /// The hours of the first weeks at whose check a comparison begins.
    fn hours(days: u16, connection: usize) -> Vec<i64> {
        let interval = ComparisonInterval { days };
        let (key, log) = (key(connection), LogId::user());
        let mut compared_at = Timestamp::from_millis(1);
        let due = |hour: &i64| {
            let now = Timestamp::from_millis(hour * HOUR);
            let due = interval.is_due(&key, &log, compared_at, now);
            if due {
                compared_at = now;
            }
            due
        };
        (0..=4 * 7 * 24).filter(due).collect()
    }

    #[test]
    fn a_comparison_begins_once_in_each_interval_at_a_time_of_its_own() {
        let mut by_day = [0; 7];
        for connection in 0..700 {
            let hours = hours(7, connection);
            assert_eq!(hours.len(), 4, "{hours:?}");
            assert!(hours.windows(2).all(|two| two[1] - two[0] == 7 * 24));
            by_day[usize::try_from(hours[0] / 24 % 7).unwrap()] += 1;
        }
        assert!(
            by_day.iter().all(|day| (60..140).contains(day)),
            "{by_day:?}"
        );
    }

    #[test]
    fn the_interval_can_be_another_one_or_none() {
        assert_eq!(hours(1, 1).len(), 28);
        assert_eq!(hours(0, 1), Vec::<i64>::new());
        let never = ComparisonInterval { days: 0 };
        let now = Timestamp::from_millis(HOUR);
        assert!(never.is_due(&key(1), &LogId::user(), ComparisonInterval::OWED, now));
    }
}
