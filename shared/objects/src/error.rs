//! The errors of S3 requests. An absent object is an outcome, not an error.

use std::error::Error;
use std::fmt::Debug;

use aws_sdk_s3::error::{BuildError, ProvideErrorMetadata, SdkError};

use crate::InvalidContent;

pub(crate) type Source = Box<dyn Error + Send + Sync>;

/// The error of an S3 operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// S3 throttled the request, is unreachable or too slow, or failed in an unknown way: a retry
    /// may succeed.
    #[error("S3 request failed")]
    Busy(#[source] Source),
    /// S3 denied access, or the bucket does not exist: the configuration is wrong.
    #[error("S3 denied access to the bucket")]
    Denied(#[source] Source),
    /// S3 rejected the request as invalid: it will never succeed.
    #[error("S3 rejected the request")]
    Refused(#[source] Source),
    /// The received bytes don't match their checksum: they must be read and sent again.
    #[error("the checksum of the bytes that S3 received is wrong")]
    Corrupted(#[source] Source),
    /// The multipart upload does not exist: it was aborted, has expired, or was completed without
    /// an object under its key. A new upload must be started.
    #[error("the multipart upload does not exist")]
    UploadGone(#[source] Source),
    /// The object has another size than was stored.
    #[error("{key} has {actual_bytes} bytes instead of {expected_bytes}")]
    WrongSize {
        /// The key of the object.
        key: String,
        /// The size that was stored.
        expected_bytes: u64,
        /// The size of the object.
        actual_bytes: u64,
    },
    /// The object is not the content that was stored: none of it is returned.
    #[error("{key} does not contain the content that was stored")]
    CorruptObject {
        /// The key of the object.
        key: String,
        /// The defect of its content.
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

/// The codes of permanent errors. Codes in none of these lists may be temporary: unknown is `Busy`.
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
