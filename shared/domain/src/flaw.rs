//! Flaws: promises about our own items that do not hold, and what the record of a file, which is the truth, says
//! instead.
//!
//! No flaw comes about while every write is done as it is meant to be. They are what a table that was restored, a
//! queue that was emptied by hand or a mistake of ours leaves behind.

use crate::change::{Change, existence, never_sent};
use crate::record::OpenConflict;
use crate::{ConflictId, ConflictRecord, ConflictStatus, Field, FileRecord, Moment, Step};
use crate::{Timestamp, Value};

/// What is due for longer than this, although nothing holds it, is due in vain, in milliseconds.
const OVERDUE_MILLIS: i64 = 15 * 60_000;

/// Which promise does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlawKind {
    /// A file owes Drive something, or awaits the fate of a write, and what finds such files does not find it.
    IntentNotDue,
    /// A file owes Drive something for long, and nobody works on it.
    IntentOverdue,
    /// A file's record is in a list in which it does not belong, or is missing in one.
    FileMisplaced,
    /// A file is in conflict, and no record of the conflict says so.
    ConflictUnrecorded,
    /// A record says that a conflict is open, and the file is not in that conflict.
    ConflictStray,
    /// A record says that a conflict is open, and we have no record of the file.
    ConflictOfNobody,
    /// A log is to be polled, and what finds such logs does not find it.
    LogNotDue,
    /// A log was not read to its end for longer than it may be.
    LogNotRead,
    /// Drive shows files later than we have them, although the log's cursor has passed.
    CursorAhead,
    /// A log's channel is recorded as in use, and is not: it has lapsed, or there is no such channel.
    ChannelLapsed,
    /// A log has no channel, although Drive could notify us.
    ChannelMissing,
    /// An operation does not get on.
    OperationStalled,
    /// An operation lists files for a log that does not wait for it.
    OperationAbandoned,
}

/// How many flaws of one kind were found, and how many of them were repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlawCount {
    /// All of them.
    pub found: u64,
    /// Those for which something was done.
    pub repaired: u64,
}

impl FlawKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::IntentNotDue,
        Self::IntentOverdue,
        Self::FileMisplaced,
        Self::ConflictUnrecorded,
        Self::ConflictStray,
        Self::ConflictOfNobody,
        Self::LogNotDue,
        Self::LogNotRead,
        Self::CursorAhead,
        Self::ChannelLapsed,
        Self::ChannelMissing,
        Self::OperationStalled,
        Self::OperationAbandoned,
    ];

    /// Its name, in items and at the API.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IntentNotDue => "intent_not_due",
            Self::IntentOverdue => "intent_overdue",
            Self::FileMisplaced => "file_misplaced",
            Self::ConflictUnrecorded => "conflict_unrecorded",
            Self::ConflictStray => "conflict_stray",
            Self::ConflictOfNobody => "conflict_of_nobody",
            Self::LogNotDue => "log_not_due",
            Self::LogNotRead => "log_not_read",
            Self::CursorAhead => "cursor_ahead",
            Self::ChannelLapsed => "channel_lapsed",
            Self::ChannelMissing => "channel_missing",
            Self::OperationStalled => "operation_stalled",
            Self::OperationAbandoned => "operation_abandoned",
        }
    }

    /// The inverse of [`FlawKind::label`]; `None` where no kind has that name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

impl FileRecord {
    /// Whether Drive should have been looked at for this file long ago, where nothing holds the pushing up.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due()
            .is_some_and(|at| now.millis_since(at) > OVERDUE_MILLIS)
    }

    /// Whether every conflict that the file is in has a number, and every number a conflict.
    #[must_use]
    pub fn is_booked(&self) -> bool {
        self.unnumbered().next().is_none() && self.ended().next().is_none()
    }

    /// Whether the file is in this very conflict.
    #[must_use]
    pub fn is_in(&self, conflict: &ConflictId) -> bool {
        self.open
            .get(&conflict.field)
            .is_some_and(|open| open.number == conflict.number)
    }

    /// Gives each conflict that the file is in a number, and writes the record of each anew, as the sides stand. What
    /// has a number and is no conflict any more is closed.
    #[must_use]
    pub fn rebooked(&self, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        let ended: Vec<(Field, OpenConflict)> = self.ended().collect();
        for (field, open) in ended {
            change.record.open.remove(&field);
            let at = moment.now;
            change.write_again(&field, &open, ConflictStatus::Closed { at });
        }
        let unnumbered: Vec<Field> = self.unnumbered().cloned().collect();
        for field in unnumbered {
            let open = change.next_conflict();
            change.record.open.insert(field, open);
        }
        for (field, open) in change.record.open.clone() {
            change.write_again(&field, &open, ConflictStatus::Open);
        }
        change.finish()
    }

    /// Closes the record of a conflict that the file is not in: the values that it holds stay in it.
    #[must_use]
    pub fn without_stray(&self, stray: &ConflictRecord, moment: Moment<'_>) -> Step {
        let mut step = Step::stay(self.clone());
        if !self.is_in(&stray.id) {
            let closed = ConflictRecord {
                status: ConflictStatus::Closed { at: moment.now },
                ..stray.clone()
            };
            step.conflicts.insert(closed.id.clone(), closed);
        }
        step
    }

    /// Fields whose sides stand apart, without a number.
    fn unnumbered(&self) -> impl Iterator<Item = &Field> {
        let apart = self
            .fields
            .iter()
            .filter(|(_, sides)| sides.clash.is_some());
        apart
            .map(|(field, _)| field)
            .filter(|field| !self.open.contains_key(*field))
    }

    /// Numbers of conflicts that are none.
    fn ended(&self) -> impl Iterator<Item = (Field, OpenConflict)> {
        let stands = |field: &Field| {
            let apart = self.sides(field).clash.is_some();
            // Whether a file that is gone may go is a conflict for as long as something is owed to it.
            let may_go = *field == Field::Existence && self.is_gone();
            apart || may_go && !never_sent(self).is_empty()
        };
        let ended = self.open.iter().filter(move |(field, _)| !stands(field));
        ended.map(|(field, open)| (field.clone(), open.clone()))
    }
}

impl Change<'_> {
    /// Writes the record of a conflict as the sides stand.
    fn write_again(&mut self, field: &Field, open: &OpenConflict, status: ConflictStatus) {
        if *field == Field::Existence && self.record.is_gone() {
            let id = self.record.conflict_id(field, open.number);
            let drive: Value = existence(self.record.presence);
            let owed = never_sent(&self.record);
            self.write_existence(id, open, owed, drive, status);
        } else {
            let sides = self.record.sides(field);
            self.write(field, open, &sides, status);
        }
    }
}
