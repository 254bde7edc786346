//! Leaving a shared drive: each of its files is marked as inaccessible, in rounds over the stored
//! records, until a round finds nothing that the previous one had not queued.

use super::{End, Operation, Run};
use crate::Timestamp;

/// Delay before the next round, in milliseconds: longer than `apply-snapshots` may run, so that
/// what it was writing when the drive was left is seen.
const ROUND_MILLIS: i64 = 16_000;

/// The marking of the files of a shared drive that was left.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LeaveDrive {
    /// Its outcome; `None` while it marks files.
    pub end: Option<End>,
    /// The position of this round in the stored records.
    pub position: Option<String>,
    /// The number of complete rounds.
    pub rounds: u32,
    /// The number of marks that were queued, in all rounds.
    pub queued: u64,
    /// The number of marks that had been queued when this round began.
    pub queued_before: u64,
}

impl Run {
    /// Creates a marking.
    #[must_use]
    pub fn leave_drive() -> Self {
        Self::LeaveDrive(LeaveDrive::default())
    }
}

impl Operation {
    /// Returns the marking, if it is one.
    #[must_use]
    pub fn leave_drive(&self) -> Option<&LeaveDrive> {
        match &self.run {
            Run::LeaveDrive(leave) => Some(leave),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
        }
    }

    /// Records that this many more marks are queued; without a `next` position the round is
    /// complete. The first round is always followed by another one, and the last one finds nothing.
    #[must_use]
    pub fn on_marked(&self, marks: u64, next: Option<String>, now: Timestamp) -> Self {
        let Some(leave) = self.leave_drive().filter(|leave| leave.end.is_none()) else {
            return self.clone();
        };
        let queued = leave.queued + marks;
        let complete = next.is_none();
        let found_nothing = queued == leave.queued_before;
        let leave = LeaveDrive {
            end: (complete && found_nothing && leave.rounds > 0).then_some(End::Done),
            position: next,
            rounds: leave.rounds + u32::from(complete),
            queued,
            queued_before: if complete {
                queued
            } else {
                leave.queued_before
            },
        };
        self.moved(
            Run::LeaveDrive(leave),
            if complete { ROUND_MILLIS } else { 0 },
            now,
        )
    }
}
