//! How long what has ended is kept.

use domain::event::EVENT_DAYS;
use domain::{FileRecord, Operation, Presence, Timestamp};

use crate::Store;

/// The days that what has ended is kept unless the deployment says otherwise.
const ENDED_DAYS: u32 = 365;
/// The days that acts are kept unless the deployment says otherwise.
const ACT_DAYS: u32 = 400;

/// The retention of ended operations and conflicts, of the records of files that are gone, of the
/// acts of the audit trail, and of events.
///
/// Nothing that is still needed ends: an open conflict, what is owed, and what was given up keep
/// their records. The record of a file that is gone also protects against an old message that would
/// bring the file back: no queue keeps one for more than 14 days, and dead letters that are older
/// are redriven as a question to Drive. So the shortest retention is 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    ended_days: u32,
    act_days: u32,
    event_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            ended_days: ENDED_DAYS,
            act_days: ACT_DAYS,
            event_days: EVENT_DAYS,
        }
    }
}

impl Retention {
    /// Returns when what ended at this time expires.
    pub(crate) fn after(self, ended_at: Timestamp) -> Timestamp {
        ended_at.plus_millis(i64::from(self.ended_days) * 24 * 3_600 * 1_000)
    }

    /// Returns when the record of a file expires: never while the file is there or anything of it
    /// is undecided.
    pub(crate) fn of_file(self, record: &FileRecord) -> Option<Timestamp> {
        let settled = record.open.is_empty() && record.due().is_none() && record.intent().is_none();
        match record.presence {
            Presence::Gone(_, since) if settled => Some(self.after(since)),
            Presence::Gone(..) | Presence::Present | Presence::Creating => None,
        }
    }

    /// Returns the same retention with this one for acts.
    pub(crate) fn keeping_acts_for(self, act_days: u32) -> Self {
        Self { act_days, ..self }
    }

    /// Returns the same retention with this one for events.
    pub(crate) fn keeping_events_for(self, event_days: u32) -> Self {
        Self { event_days, ..self }
    }

    /// Returns when an event of this time expires.
    pub(crate) fn of_event(self, at: Timestamp) -> Timestamp {
        at.plus_millis(i64::from(self.event_days) * 24 * 3_600 * 1_000)
    }

    /// Returns when an act of this time expires.
    pub(crate) fn of_act(self, at: Timestamp) -> Timestamp {
        at.plus_millis(i64::from(self.act_days) * 24 * 3_600 * 1_000)
    }

    /// Returns the time before which all acts have expired.
    pub(crate) fn acts_since(self, now: Timestamp) -> Timestamp {
        now.plus_millis(-i64::from(self.act_days) * 24 * 3_600 * 1_000)
    }

    /// Returns when a conflict that ended at this time expires.
    pub(crate) fn of_conflict(self, ended_at: Option<Timestamp>) -> Option<Timestamp> {
        ended_at.map(|at| self.after(at))
    }

    /// Returns when an operation expires, if it has ended. The certificate of an erasure stays.
    pub(crate) fn of_operation(self, operation: &Operation) -> Option<Timestamp> {
        let of_person = operation.person_erasure().map(|erase| erase.dry_run);
        let of_tenant = operation.tenant_erasure().map(|erase| erase.dry_run);
        let is_certificate = of_person.or(of_tenant) == Some(false);
        let has_ended = operation.has_ended() && !is_certificate;
        let ended_at = operation.finished_at.filter(|_| has_ended);
        ended_at.map(|at| self.after(at))
    }
}

impl Store {
    /// Keeps events for this number of days; 0 appends none. The default is 7.
    #[must_use]
    pub fn keeping_events_for(self, days: u32) -> Self {
        Self {
            retention: self.retention.keeping_events_for(days),
            ..self
        }
    }

    /// Returns the days that events are kept; 0 if none are appended.
    #[must_use]
    pub fn event_days(&self) -> u32 {
        self.retention.event_days
    }

    /// Keeps what has ended for this number of days: operations, conflicts, and the records of
    /// files that are gone. The default is 365.
    #[must_use]
    pub fn keeping_ended_for(self, ended_days: u32) -> Self {
        Self {
            retention: Retention {
                ended_days,
                ..self.retention
            },
            ..self
        }
    }
}
