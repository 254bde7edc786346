//! Delayed visibility: a change that is notified before the logs show it.

use crate::state::{
    State,
    log::{ChangeLog, Entry},
};

impl State {
    /// Whether readers see an entry yet. Entries appear in the order in which they were written.
    pub(crate) fn is_visible(&self, entry: &Entry) -> bool {
        entry.time_ms.saturating_add(self.visible_after_ms) <= self.now_ms
    }

    /// The position after everything in a log that readers see.
    pub(crate) fn visible_end(&self, log: &ChangeLog) -> u64 {
        if self.visible_after_ms == 0 {
            return log.end();
        }
        log.after(0)
            .rev()
            .take_while(|(_, entry)| !self.is_visible(entry))
            .last()
            .map_or(log.end(), |(id, _)| id.saturating_sub(1))
    }
}
