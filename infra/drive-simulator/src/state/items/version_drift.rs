//! Versions and etags that move, or lag, without an edit.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::{ids::FileId, state::State};

/// How versions and etags move beyond the edits of items. The default is not at all.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VersionDrift {
    /// The number of times that a version moves by itself after an upload.
    moves: u32,
    /// The time between these moves, in milliseconds of the simulator's clock.
    every_ms: u32,
    /// Leaves these moves out of the change logs.
    unlogged: bool,
    /// The response to a v2 write carries the etag from before the write.
    pub(crate) stale_answers: bool,
}

/// The moves to come, by time and by the order in which they were scheduled.
#[derive(Debug, Default)]
pub(crate) struct PendingMoves {
    scheduled: u64,
    due: BTreeMap<(i64, u64), FileId>,
}

impl State {
    /// Schedules the moves of a version after an upload.
    pub(crate) fn schedule_moves(&mut self, id: &FileId) {
        let VersionDrift {
            moves, every_ms, ..
        } = self.drift;
        for step in 1..=i64::from(moves) {
            self.pending_moves.scheduled += 1;
            let due = self.now_ms.saturating_add(step * i64::from(every_ms));
            let key = (due, self.pending_moves.scheduled);
            self.pending_moves.due.insert(key, id.clone());
        }
    }

    /// Makes the moves whose time has come.
    pub(crate) fn make_due_moves(&mut self) {
        while let Some(due) = self.pending_moves.due.first_entry()
            && due.key().0 <= self.now_ms
        {
            let id = due.remove();
            if self.drift.unlogged {
                self.bump_version(&id);
            } else {
                self.move_version(&id);
            }
        }
    }

    /// Moves the version of an item without a difference, as a logged change. An unknown item is
    /// ignored.
    pub(crate) fn move_version(&mut self, id: &FileId) {
        let before = self.visibility(id);
        if self.bump_version(id) {
            self.log_change(id, &before);
        }
    }

    fn bump_version(&mut self, id: &FileId) -> bool {
        let step = self.rng().u64(1..=3);
        match self.items.get_mut(id) {
            Some(item) => {
                Arc::make_mut(item).version += step;
                true
            }
            None => false,
        }
    }
}
