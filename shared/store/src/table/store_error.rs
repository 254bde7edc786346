//! Errors of the table. Stale, absent and existing items are outcomes, not errors.

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};

type Source = Box<dyn Error + Send + Sync>;

/// The reason why a call had no outcome.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, unreachable, too slow, or unknown: the same call may succeed later.
    #[error("DynamoDB request failed; it may be retried")]
    Busy(#[source] Source),
    /// AWS rejects the request itself: a bug, a missing permission or a wrong configuration, which
    /// no retry cures.
    #[error("DynamoDB rejected the request")]
    Refused(#[source] Source),
    /// The item does not fit into the table, whatever is tried again. Nothing was written.
    #[error("{what} would have {bytes} bytes; the table stores at most {bytes_max}")]
    TooLarge {
        /// The item, and what of it takes the most.
        what: String,
        /// Its size, or that of a key of it.
        bytes: usize,
        /// The largest size.
        bytes_max: usize,
    },
    /// Newer code wrote the item in a format that this build cannot read. It is refused, not
    /// guessed at.
    #[error("item {pk} / {sk} has format {format}, newer than this build reads")]
    NewerItem {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
        /// Its format.
        format: u64,
    },
    /// The item is not in a form that this build writes.
    #[error("item {pk} / {sk} is corrupt: {what}")]
    Corrupt {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
        /// The defect.
        what: &'static str,
        /// The decoder's error, if there was one.
        #[source]
        source: Option<Source>,
    },
    /// The page cursor was not made by this list: the caller's mistake (HTTP 400).
    #[error("the cursor is not one of this list")]
    InvalidCursor,
}

/// The error codes that no retry cures. Every other code, known or unknown, is `Busy`.
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
    /// Returns whether the cause is an item that can't be read or written, whatever is tried again:
    /// other items are not affected.
    #[must_use]
    pub fn concerns_one_item(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::Refused(_)
            | Self::NewerItem { .. }
            | Self::Corrupt { .. } => true,
            Self::Busy(_) | Self::InvalidCursor => false,
        }
    }

    pub(crate) fn busy(why: &'static str) -> Self {
        Self::Busy(why.into())
    }

    /// Classifies an error by the AWS error code of a call, or of one of the reasons why a
    /// transaction was cancelled.
    pub(crate) fn by_code(code: Option<&str>, source: Source) -> Self {
        // A transaction reports `ValidationError` where a single call reports
        // `ValidationException`.
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
