//! What can go wrong between us and the bucket. An absent object is an outcome, not an error.

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata, SdkError};

use crate::InvalidContent;

pub(crate) type Source = Box<dyn Error + Send + Sync>;

/// Why a verb gave no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// Slowed down, unreachable, too slow, or unknown: the same call may succeed later.
    #[error("the bucket is busy or out of reach")]
    Busy(#[source] Source),
    /// S3 says that we may not, or that there is no such bucket: our own configuration.
    #[error("the bucket is closed to us")]
    Denied(#[source] Source),
    /// S3 says that the request itself is wrong: it will never succeed.
    #[error("the bucket refused the request")]
    Refused(#[source] Source),
    /// What arrived is not what was sent: S3's checksum says so. Read it again and send it again.
    #[error("the bytes that arrived in the bucket are not those that were sent")]
    Corrupted(#[source] Source),
    /// The multipart upload is not there: aborted, expired, or completed with nothing under its key. Begin anew.
    #[error("the multipart upload is gone")]
    UploadGone(#[source] Source),
    /// The object is there, with another size than it must have.
    #[error("{key} has {found_bytes} bytes where {wanted_bytes} were stored")]
    WrongSize {
        /// Its key.
        key: String,
        /// What was stored.
        wanted_bytes: u64,
        /// What is there.
        found_bytes: u64,
    },
    /// The object is there, and is not the content that was stored: nothing of it is given out.
    #[error("{key} does not hold the content that was stored there")]
    Spoilt {
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        why: InvalidContent,
    },
}

const DENIALS: [&str; 8] = [
    "AccessDenied",
    "AllAccessDisabled",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "KMS.DisabledException",
    "NoSuchBucket",
    "SignatureDoesNotMatch",
];

const CORRUPTIONS: [&str; 3] = ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"];

/// The codes that no later moment makes right. Whatever is in none of these lists may be a moment: unknown is `Busy`.
const REFUSALS: [&str; 13] = [
    "EntityTooLarge",
    "EntityTooSmall",
    "InvalidArgument",
    "InvalidObjectState",
    "InvalidPart",
    "InvalidPartOrder",
    "InvalidRange",
    "InvalidRequest",
    "InvalidStorageClass",
    "KeyTooLongError",
    "MalformedXML",
    "MethodNotAllowed",
    "NotImplemented",
];

impl ObjectsError {
    fn by_code(code: Option<&str>, source: Source) -> Self {
        match code {
            Some("NoSuchUpload") => Self::UploadGone(source),
            Some(code) if DENIALS.contains(&code) => Self::Denied(source),
            Some(code) if CORRUPTIONS.contains(&code) => Self::Corrupted(source),
            Some(code) if REFUSALS.contains(&code) => Self::Refused(source),
            Some(_) | None => Self::Busy(source),
        }
    }

    pub(crate) fn refused(why: impl Into<Source>) -> Self {
        Self::Refused(why.into())
    }
}

impl<E, R> From<SdkError<E, R>> for ObjectsError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let code = error.code().map(str::to_owned);
        Self::by_code(code.as_deref(), Box::new(error))
    }
}

impl From<BuildError> for ObjectsError {
    fn from(error: BuildError) -> Self {
        Self::Refused(Box::new(error))
    }
}
