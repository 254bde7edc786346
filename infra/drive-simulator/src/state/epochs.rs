//! Page tokens that turn invalid: all of them, or those of one log.

use crate::ids::UserId;
use crate::state::{State, feed::Log};

impl State {
    /// Refuses the page tokens of one log that were handed out so far; `user` is whose log it is, if it is a user's.
    pub(crate) fn invalidate_log_tokens(&mut self, user: &UserId, log: &Log) {
        let generation = self.log_generations.entry(log.scope(user)).or_default();
        *generation = generation.wrapping_add(1);
    }

    /// The epoch that a valid token of a log has now.
    pub(crate) fn epoch_of(&self, scope: &str) -> u32 {
        let generation = self.log_generations.get(scope).copied().unwrap_or(0);
        self.epoch.wrapping_add(generation)
    }
}
