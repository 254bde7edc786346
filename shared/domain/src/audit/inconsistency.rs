//! Inconsistencies: violated invariants of stored items, and their repair from the record of a
//! file, which is authoritative.
//!
//! No inconsistency arises while every write is done as designed. They are left by a restored
//! table, a purged queue or a bug.

use crate::OpenConflict;
use crate::file::transition_builder::{TransitionBuilder, existence_value, unsynced_values};
use crate::{
    ConflictId, ConflictRecord, ConflictStatus, Context, Field, FileRecord, Policy, Transition,
};
use crate::{Timestamp, Value};

/// The time after which something that is due and not throttled counts as overdue, in milliseconds.
const OVERDUE_MILLIS: i64 = 15 * 60_000;

/// The invariant that a stored item violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InconsistencyKind {
    /// A file owes Drive something, or has a write of unknown outcome, but is missing from the
    /// index of due files.
    IntentNotDue,
    /// A file has owed Drive something for a long time, and no worker processes it.
    IntentOverdue,
    /// A file's record is in an index to which it does not belong, or missing from one.
    FileMisplaced,
    /// A file is in conflict, but there is no open conflict record.
    ConflictUnrecorded,
    /// A conflict record is open, but the file is not in that conflict.
    ConflictStray,
    /// A conflict record is open, but there is no record of the file.
    ConflictOfUnknownFile,
    /// A log must be polled, but is missing from the index of due logs.
    LogNotDue,
    /// A log was not read to its end for too long.
    LogNotRead,
    /// Drive shows later versions of files than their records have, although the log's cursor has
    /// passed them.
    CursorAhead,
    /// A log's channel is recorded as active but is not: it has expired, or does not exist.
    ChannelLapsed,
    /// A log has no channel, although Drive could send notifications.
    ChannelMissing,
    /// An operation makes no progress.
    OperationStalled,
    /// An operation lists files for a log that does not wait for it.
    OperationAbandoned,
}

/// The number of inconsistencies of one kind that were found and repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct InconsistencyCount {
    /// The number found.
    pub found: u64,
    /// The number repaired.
    pub repaired: u64,
}

impl InconsistencyKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::IntentNotDue,
        Self::IntentOverdue,
        Self::FileMisplaced,
        Self::ConflictUnrecorded,
        Self::ConflictStray,
        Self::ConflictOfUnknownFile,
        Self::LogNotDue,
        Self::LogNotRead,
        Self::CursorAhead,
        Self::ChannelLapsed,
        Self::ChannelMissing,
        Self::OperationStalled,
        Self::OperationAbandoned,
    ];

    /// Returns the name of the kind, in items and in the API.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IntentNotDue => "intent_not_due",
            Self::IntentOverdue => "intent_overdue",
            Self::FileMisplaced => "file_misplaced",
            Self::ConflictUnrecorded => "conflict_unrecorded",
            Self::ConflictStray => "conflict_stray",
            Self::ConflictOfUnknownFile => "conflict_of_nobody",
            Self::LogNotDue => "log_not_due",
            Self::LogNotRead => "log_not_read",
            Self::CursorAhead => "cursor_ahead",
            Self::ChannelLapsed => "channel_lapsed",
            Self::ChannelMissing => "channel_missing",
            Self::OperationStalled => "operation_stalled",
            Self::OperationAbandoned => "operation_abandoned",
        }
    }

    /// Returns the kind with this label, the inverse of [`InconsistencyKind::label`], or `None` if
    /// there is none.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

impl FileRecord {
    /// Returns whether a push of this file is overdue, assuming that pushes are not throttled.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.due()
            .is_some_and(|at| now.millis_since(at) > OVERDUE_MILLIS)
    }

    /// Returns whether every conflict of the file has a number, and every number a conflict.
    #[must_use]
    pub fn has_consistent_conflicts(&self) -> bool {
        self.unnumbered_conflicts().next().is_none() && self.ended_conflicts().next().is_none()
    }

    /// Returns whether the file is in this conflict.
    #[must_use]
    pub fn is_in_conflict(&self, conflict: &ConflictId) -> bool {
        self.open
            .get(&conflict.field)
            .is_some_and(|open| open.number == conflict.number)
    }

    /// Numbers every conflict of the file that has no number, and rewrites all its conflict records
    /// from the sides. Conflicts that have a number but no longer exist are closed.
    #[must_use]
    pub fn rewrite_conflicts(&self, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        let ended: Vec<(Field, OpenConflict)> = self.ended_conflicts().collect();
        for (field, open) in ended {
            builder.record.open.remove(&field);
            let at = context.now;
            builder.rewrite_conflict(&field, &open, ConflictStatus::Closed { at });
        }
        let unnumbered_conflicts: Vec<Field> = self.unnumbered_conflicts().cloned().collect();
        for field in unnumbered_conflicts {
            // A person decides it: nobody knows under which policy it was opened.
            let open = builder.next_conflict(&Policy::Manual);
            builder.record.open.insert(field, open);
        }
        for (field, open) in builder.record.open.clone() {
            builder.rewrite_conflict(&field, &open, ConflictStatus::Open);
        }
        builder.finish()
    }

    /// Closes the record of a conflict that the file is not in. The record keeps its values.
    #[must_use]
    pub fn close_stray_conflict(&self, stray: &ConflictRecord, context: Context<'_>) -> Transition {
        let mut transition = Transition::unchanged(self.clone());
        if !self.is_in_conflict(&stray.id) {
            let closed = ConflictRecord {
                keeping: None,
                asked: None,
                status: ConflictStatus::Closed { at: context.now },
                ..stray.clone()
            };
            transition.conflicts.insert(closed.id.clone(), closed);
        }
        transition
    }

    /// Returns the fields in conflict that have no conflict number.
    fn unnumbered_conflicts(&self) -> impl Iterator<Item = &Field> {
        let apart = self
            .fields
            .iter()
            .filter(|(_, sides)| sides.conflict.is_some());
        apart
            .map(|(field, _)| field)
            .filter(|field| !self.open.contains_key(*field))
    }

    /// Returns the numbered conflicts that no longer exist.
    fn ended_conflicts(&self) -> impl Iterator<Item = (Field, OpenConflict)> {
        let stands = |field: &Field| {
            let apart = self.sides(field).conflict.is_some();
            // A file that is gone is in conflict for as long as something is owed to it.
            let may_go = *field == Field::Existence && self.is_gone();
            apart || may_go && !unsynced_values(self).is_empty()
        };
        let ended = self.open.iter().filter(move |(field, _)| !stands(field));
        ended.map(|(field, open)| (field.clone(), open.clone()))
    }
}

impl TransitionBuilder<'_> {
    /// Rewrites the record of a conflict from the sides.
    fn rewrite_conflict(&mut self, field: &Field, open: &OpenConflict, status: ConflictStatus) {
        if *field == Field::Existence && self.record.is_gone() {
            let id = self.record.conflict_id(field, open.number);
            let drive: Value = existence_value(self.record.presence);
            let owed = unsynced_values(&self.record);
            self.save_existence_conflict(id, open, owed, drive, status);
        } else {
            let sides = self.record.sides(field);
            self.save_conflict(field, open, &sides, status);
        }
    }
}
