//! What can go wrong between us and the table. Stale, absent and existing items are outcomes, not errors.

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a verb gave no outcome.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, unreachable, too slow, or unknown: the same call may succeed later.
    #[error("the table is busy or out of reach")]
    Busy(#[source] Source),
    /// AWS says that the request itself is wrong (or not allowed): a bug or a configuration, not a moment.
    #[error("the table refused the request")]
    Refused(#[source] Source),
    /// An item was written by newer code. It is refused, not guessed at.
    #[error("item {pk} / {sk} has format {format}, newer than this build reads")]
    NewerItem {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
        /// Its format.
        format: u64,
    },
    /// An item is not what this build writes.
    #[error("item {pk} / {sk} can't be read: {what}")]
    Corrupt {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
        /// What is wrong with it.
        what: &'static str,
        /// The decoder's words, where it had some.
        #[source]
        source: Option<Source>,
    },
    /// A page cursor that this list did not make: the caller's mistake (HTTP 400), never ours.
    #[error("not a cursor of this list")]
    InvalidCursor,
}
