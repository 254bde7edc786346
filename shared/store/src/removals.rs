//! The brake: how much a comparison may remove without asking a person.

use serde::{Deserialize, Serialize};

use crate::{Connection, Operation};

/// How much of a log's files one comparison may remove unasked: the larger of the two counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemovalLimits {
    /// The share of the log's present files, in percent.
    pub share_percent_max: u8,
    /// So many files in any case.
    pub unasked_max: u32,
}

impl Default for RemovalLimits {
    fn default() -> Self {
        Self {
            share_percent_max: 10,
            unasked_max: 100,
        }
    }
}

impl RemovalLimits {
    /// Up to how many of `held` files may be removed unasked.
    #[must_use]
    pub fn of(self, held: u64) -> u64 {
        let share = u128::from(held) * u128::from(self.share_percent_max) / 100;
        u64::try_from(share)
            .unwrap_or(u64::MAX)
            .max(u64::from(self.unasked_max))
    }
}

impl Operation {
    /// Whether what it found gone is more than it may remove without a person's word.
    #[must_use]
    pub fn must_be_confirmed(&self, connection: &Connection) -> bool {
        self.drift.missing_there > connection.removals.of(self.drift.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_the_share_and_the_count_may_go_unasked() {
        let limits = RemovalLimits::default();
        assert_eq!(limits.of(0), 100);
        assert_eq!(limits.of(1_009), 100);
        assert_eq!(limits.of(1_010), 101);
        assert_eq!(limits.of(50_000), 5_000);
        assert_eq!(limits.of(u64::MAX), u64::MAX / 10);
        let none = RemovalLimits {
            share_percent_max: 0,
            unasked_max: 0,
        };
        assert_eq!(none.of(1_000_000), 0);
        let all = RemovalLimits {
            share_percent_max: 100,
            unasked_max: 0,
        };
        assert_eq!(all.of(7), 7);
    }
}
