//! What can go wrong between us and the table. Stale, absent and existing items are outcomes, not errors.

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};

type Source = Box<dyn Error + Send + Sync>;

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

/// The codes that no later moment makes right. Whatever is not here may be a moment: unknown is `Busy`.
const REFUSALS: [&str; 9] = [
    "AccessDeniedException",
    "DuplicateItem",
    "IdempotentParameterMismatchException",
    "ItemCollectionSizeLimitExceededException",
    "ResourceNotFoundException",
    "SerializationException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationException",
];

impl StoreError {
    pub(crate) fn busy(why: &'static str) -> Self {
        Self::Busy(why.into())
    }

    /// By AWS's error code: of a call, or of one of the reasons why a transaction was cancelled.
    pub(crate) fn by_code(code: Option<&str>, source: Source) -> Self {
        // A transaction says `ValidationError` where a single call says `ValidationException`.
        let refused =
            code.is_some_and(|code| REFUSALS.contains(&code) || code == "ValidationError");
        if refused {
            Self::Refused(source)
        } else {
            Self::Busy(source)
        }
    }
}

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let code = error.code().map(str::to_owned);
        Self::by_code(code.as_deref(), Box::new(error))
    }
}

impl From<BuildError> for StoreError {
    fn from(error: BuildError) -> Self {
        Self::Refused(Box::new(error))
    }
}
