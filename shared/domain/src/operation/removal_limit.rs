//! The removal limit: how many files one comparison may remove without a person's confirmation.

/// The share and the number of a log's files that may be removed without confirmation: the larger
/// of the two counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemovalLimits {
    /// A share of the log's present files, in percent.
    pub share_percent_max: u8,
    /// A number of files, whatever their share.
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
    /// No removal without confirmation.
    pub const NONE: Self = Self {
        share_percent_max: 0,
        unasked_max: 0,
    };

    /// Returns how many of `present` files may be removed without confirmation.
    #[must_use]
    pub fn limit_for(self, present: u64) -> u64 {
        let share = u128::from(present) * u128::from(self.share_percent_max) / 100;
        let share = u64::try_from(share).unwrap_or(u64::MAX);
        share.max(u64::from(self.unasked_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_the_share_and_the_count_needs_no_confirmation() {
        let limits = RemovalLimits::default();
        assert_eq!(limits.limit_for(0), 100);
        assert_eq!(limits.limit_for(1_009), 100);
        assert_eq!(limits.limit_for(1_010), 101);
        assert_eq!(limits.limit_for(50_000), 5_000);
        assert_eq!(limits.limit_for(u64::MAX), u64::MAX / 10);
        assert_eq!(RemovalLimits::NONE.limit_for(1_000_000), 0);
        let all = RemovalLimits {
            share_percent_max: 100,
            unasked_max: 0,
        };
        assert_eq!(all.limit_for(7), 7);
    }
}
