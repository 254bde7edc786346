//! Which secrets sign a delivery. Secrets are derived from their generation, and not stored.

use crate::Timestamp;

/// How long the secret before the current one signs as well, in milliseconds.
pub const BOTH_SIGN_MILLIS: i64 = 24 * 3_600_000;

/// The secrets of an endpoint, by their generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SigningSecret {
    /// The current generation, counted from 1.
    pub generation: u32,
    /// The time until which the one before signs as well.
    pub both_until: Option<Timestamp>,
}

impl SigningSecret {
    /// The first secret of an endpoint.
    pub const FIRST: Self = Self {
        generation: 1,
        both_until: None,
    };

    /// Returns the secrets after a rotation: the current one signs for another day.
    #[must_use]
    pub fn rotated(self, now: Timestamp) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            both_until: Some(now.plus_millis(BOTH_SIGN_MILLIS)),
        }
    }

    /// Returns the generations that sign at this time, the current one first.
    #[must_use]
    pub fn signs(self, now: Timestamp) -> Vec<u32> {
        let both = self.both_until.is_some_and(|until| now < until);
        let before = self.generation.checked_sub(1).filter(|_| both);
        let before = before.filter(|generation| *generation > 0);
        [Some(self.generation), before]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::NOW;

    #[test]
    fn a_rotated_secret_signs_for_another_day() {
        let first = SigningSecret::FIRST;
        assert_eq!(first.signs(NOW), [1]);
        let second = first.rotated(NOW);
        assert_eq!(second.signs(NOW.plus_millis(BOTH_SIGN_MILLIS - 1)), [2, 1]);
        assert_eq!(second.signs(NOW.plus_millis(BOTH_SIGN_MILLIS)), [2]);
        let third = second.rotated(NOW.plus_millis(1));
        assert_eq!(third.signs(NOW.plus_millis(2)), [3, 2]);
    }
}
