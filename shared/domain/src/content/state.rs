//! What the mirror knows of one file's content: what it has dealt with, and what is under way.

use std::fmt;

use super::{ContentHash, ObjectKey};
use crate::{AttemptId, FileId, Timestamp};

/// S3's name of a multipart upload. Opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// Takes the id as S3 gave it.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as S3 gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The mirror's state of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentState {
    /// Ours: the condition of every write. 0 where there is none yet.
    pub revision: u64,
    /// The number of the latest version that was dealt with, and how that ended.
    pub dealt: Option<(u32, Dealt)>,
    /// Of a Docs editor file, the moment of its last change that the latest export shows, or failed to show.
    pub exported: Option<Timestamp>,
    /// What is under way.
    pub progress: Option<Progress>,
    /// Attempts in a row that led to nothing.
    pub failures: u32,
    /// When to look again without being asked: the file has gone, and the retention of its versions ends.
    pub due_at: Option<Timestamp>,
}

impl ContentState {
    /// The state after this version was dealt with: nothing is under way any more.
    #[must_use]
    pub fn settled(&self, number: u32, dealt: Dealt) -> Self {
        Self {
            revision: self.revision,
            dealt: Some((number, dealt)),
            exported: self.exported,
            ..Self::default()
        }
    }

    /// The state with this under way.
    #[must_use]
    pub fn with_progress(&self, progress: Progress) -> Self {
        Self {
            progress: Some(progress),
            ..self.clone()
        }
    }
}

/// How a version was dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dealt {
    /// It is stored: there is a version of this number.
    Stored,
    /// Its content can't be had.
    Unavailable {
        /// Why, for a person.
        reason: String,
    },
    /// The settings leave it out.
    Skipped {
        /// By which rule, for a person.
        rule: String,
    },
    /// The file has gone, and its versions went after the retention.
    Released,
}

/// What is under way for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Its content comes from Drive into the bucket.
    Download(Download),
    /// Its content goes from the bucket to Drive.
    Upload(Upload),
    /// Both contents of a conflict are kept.
    Copy {
        /// The number of the conflict on the file's content.
        number: u32,
        /// The id that Drive gave out for the copy.
        file: FileId,
    },
}

/// A download that is under way: where it goes on. The parts themselves are S3's to list.
#[derive(Clone, PartialEq, Eq)]
pub struct Download {
    /// The version that it will be.
    pub number: u32,
    /// The hash that Drive tells: the bytes of another content are not mixed in.
    pub hash: ContentHash,
    /// Where the bytes go.
    pub object: ObjectKey,
    /// Of which multipart upload they are parts.
    pub upload: UploadId,
    /// The size of each part but the last, in bytes.
    pub part_bytes: u64,
    /// How many parts are stored. Later ones may be in S3: they are written again.
    pub parts: u32,
    /// How many bytes of the content these hold.
    pub done_bytes: u64,
    /// The state of the hash after them, serialised.
    pub hash_state: Vec<u8>,
    /// When it began.
    pub began_at: Timestamp,
}

/// The state of the hash tells of the content; it has no place in a log.
impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("number", &self.number)
            .field("hash", &self.hash)
            .field("object", &self.object)
            .field("parts", &self.parts)
            .field("done_bytes", &self.done_bytes)
            .finish_non_exhaustive()
    }
}

/// An upload to Drive that is under way.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// The version that goes to Drive.
    pub number: u32,
    /// Its hash.
    pub hash: ContentHash,
    /// The claim in the file's record that it stands for.
    pub attempt: AttemptId,
    /// Drive's upload session. Whoever has it can write to it: it is a secret.
    pub session_uri: String,
    /// How many bytes Drive has said to have.
    pub done_bytes: u64,
    /// When it began. Drive forgets a session after a week.
    pub began_at: Timestamp,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("number", &self.number)
            .field("hash", &self.hash)
            .field("attempt", &self.attempt)
            .field("done_bytes", &self.done_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_ends_what_was_under_way() {
        let busy = ContentState {
            revision: 4,
            failures: 3,
            due_at: Some(Timestamp::from_millis(9)),
            ..ContentState::default()
        };
        let settled = busy.settled(7, Dealt::Stored);
        assert_eq!(settled.dealt, Some((7, Dealt::Stored)));
        assert_eq!((settled.failures, settled.due_at), (0, None));
        assert_eq!(settled.revision, 4, "what the next write is conditional on");
    }

    #[test]
    fn an_upload_session_is_never_printed() {
        let upload = Upload {
            number: 1,
            hash: ContentHash::from_bytes([0; 32]),
            attempt: AttemptId(1),
            session_uri: "https://example.com/secret".to_owned(),
            done_bytes: 0,
            began_at: Timestamp::from_millis(0),
        };
        let state = ContentState::default().with_progress(Progress::Upload(upload));
        assert!(!format!("{state:?}").contains("secret"));
    }
}
