//! What an item's content is like, beyond its bytes: only orders change it.

use std::sync::Arc;

use crate::state::State;

/// What can be done with an item's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ContentRule {
    /// The size of an export of a document of Google's own; a default when absent.
    pub(crate) export_bytes: Option<u64>,
    /// Found to be malware or spam: a download must acknowledge it.
    pub(crate) abusive: bool,
    /// Neither downloaded nor exported, by anybody.
    pub(crate) not_downloadable: bool,
}

impl State {
    /// Changes the rule of an item; false when there is no such item. No version moves.
    pub(crate) fn set_rule(&mut self, id: &str, change: impl FnOnce(&mut ContentRule)) -> bool {
        match self.items.get_mut(id) {
            Some(item) => {
                change(&mut Arc::make_mut(item).rule);
                true
            }
            None => false,
        }
    }
}
