//! The disposition of an input that could not be processed.

/// The three ways to handle a failure. Every unknown failure is [`Disposition::Retry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// The input may succeed later. It is kept and delivered again.
    Retry {
        /// The minimum wait in milliseconds, if the other side gave one.
        after_millis: Option<u64>,
    },
    /// The input can never succeed. It becomes a dead letter.
    Park {
        /// The reason, for a person.
        reason: String,
    },
    /// Nothing can succeed now, e.g. because the grant was revoked. The input is acknowledged (what
    /// it refers to is stored elsewhere), and the connection is suspended until someone fixes the
    /// cause.
    Halt {
        /// The reason, for a person.
        reason: String,
    },
}

impl Disposition {
    /// Returns the minimum wait in milliseconds, if the input is retried and the other side gave
    /// one.
    #[must_use]
    pub const fn after_millis(&self) -> Option<u64> {
        match self {
            Self::Retry { after_millis } => *after_millis,
            Self::Park { .. } | Self::Halt { .. } => None,
        }
    }
}
