//! What becomes of an input whose work did not succeed.

/// The three ends of a failure. Everything unknown is [`Disposition::Retry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It may succeed later: the input stays, and comes back after a while.
    Retry {
        /// How long to stay away at least, if the other side said so, in milliseconds.
        after_millis: Option<u64>,
    },
    /// It can never succeed: the input is set aside with its reason.
    Park {
        /// Why, for a person.
        reason: String,
    },
    /// Nothing can succeed now, e.g. because the grant was revoked: the input is let go (what it
    /// stands for is kept elsewhere), and the connection is suspended until someone mends it.
    Halt {
        /// Why, for a person.
        reason: String,
    },
}

impl Disposition {
    /// How long to stay away at least, in milliseconds, where the input comes back and the other side said so.
    #[must_use]
    pub const fn after_millis(&self) -> Option<u64> {
        match self {
            Self::Retry { after_millis } => *after_millis,
            Self::Park { .. } | Self::Halt { .. } => None,
        }
    }
}
