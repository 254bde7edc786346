//! Stored content: bytes, keys, references and retention.
//!
//! A file's content is one more field of the merge, with a hash as its value. The file's record
//! says which content is *wanted*. What is *stored* is recorded by [`StoredVersion`]s, each written
//! only once its bytes are in the bucket and verified, so metadata never refers to missing bytes.
//! The bytes themselves are [`StoredObject`]s: one for each hash within a tenant, however many
//! versions of however many files refer to it, and never shared with another tenant.

mod change;
mod conflicted_copy;
mod encoding;
mod hash;
mod identity;
mod key;
mod next;
mod object;
mod retry;
mod settings;
mod state;

pub use change::affects_content;
pub use conflicted_copy::conflicted_name;
pub use encoding::{Encoding, ObjectLocation, compressed_bytes_max, is_text};
pub use hash::{ContentHash, InvalidHash};
pub use identity::ContentIdentity;
pub use key::{InvalidObjectKey, ObjectKey};
pub use next::{ContentAction, ContentContext};
pub use object::{ContentOrigin, ObjectState, RETAIN_MILLIS, StoredObject, StoredVersion};
pub use retry::{
    CONTENT_RULES, ContentRetries, Failure, Trouble, Verdict, retry_wait_millis, slot_millis,
};
pub use settings::{
    ContentSettings, DesiredContent, FOLDER, PATTERNS_MAX as CONTENT_PATTERNS_MAX, RETENTION_DAYS,
    RETENTION_DAYS_MAX, SIZE_BYTES_LIMIT as CONTENT_SIZE_BYTES_LIMIT,
    SIZE_BYTES_MAX as CONTENT_SIZE_BYTES_MAX, Skipped, StorageClass,
};
pub use state::{ContentOutcome, ContentState, DRIVE_SIDE, Download, Progress, Upload, UploadId};
