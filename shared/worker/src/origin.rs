//! The origin of a snapshot message.

use std::borrow::Cow;

use domain::{DriveVersion, LogId};

/// The prefix of a correction's text. Ids contain no colon.
pub(crate) const CORRECTION: &str = "correction:";
/// The prefix of an operation's text for a message that a dead letter led to.
const DEAD_LETTER: &str = "letter:";
/// The prefix of an operation's text for a message that refers to a state of a file in Drive.
const REFERENCE: &str = "look:v";

/// The reason why a snapshot message was sent. It is part of the deduplication id, so that the
/// message of a resync is not discarded as a duplicate of the live change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Drive's change log.
    Live,
    /// An operation that lists files or asks about them, or a redrive.
    Operation(String),
    /// The file's shared drive was left, so the file is inaccessible if it is still in that drive.
    /// Only with a file that is reported as removed.
    DriveLeft {
        /// The shared drive, which is also the id of its change log.
        drive: LogId,
        /// The operation that left it.
        operation: String,
    },
    /// A comparison found that our record differs from Drive, possibly at the version that the
    /// record already has: the snapshot is merged in any case.
    Correction(String),
}

impl Origin {
    /// The origin of a redriven dead letter about something that is read from Drive again.
    #[must_use]
    pub fn dead_letter(name: &str) -> Self {
        Self::Operation(format!("{DEAD_LETTER}{name}"))
    }

    /// Returns the name of the dead letter that the message was redriven from, if any.
    #[must_use]
    pub fn dead_letter_name(&self) -> Option<&str> {
        match self {
            Self::Operation(operation) => operation.strip_prefix(DEAD_LETTER),
            Self::Live | Self::DriveLeft { .. } | Self::Correction(_) => None,
        }
    }

    /// The origin of a message that says only that the file has a state of this version or a later
    /// one, since the state itself is too large for a message.
    #[must_use]
    pub fn reference(version: DriveVersion) -> Self {
        Self::Operation(format!("{REFERENCE}{version}"))
    }

    /// Returns the version that the message refers to without having its snapshot, if any.
    #[must_use]
    pub fn referred_version(&self) -> Option<DriveVersion> {
        match self {
            Self::Operation(operation) => {
                let version = operation.strip_prefix(REFERENCE)?;
                version.parse().ok().map(DriveVersion)
            }
            Self::Live | Self::DriveLeft { .. } | Self::Correction(_) => None,
        }
    }

    /// Returns the text that represents it in messages and in deduplication ids.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Live => Cow::Borrowed("live"),
            Self::Operation(operation) | Self::DriveLeft { operation, .. } => {
                Cow::Borrowed(operation)
            }
            Self::Correction(operation) => Cow::Owned(format!("{CORRECTION}{operation}")),
        }
    }
}
