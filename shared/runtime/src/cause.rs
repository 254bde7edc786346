//! Why a snapshot travels.

use std::borrow::Cow;

use domain::LogId;

/// What the cause of a correction begins with; no id has the colon.
pub(crate) const CORRECTION: &str = "correction:";
/// What the cause of a question begins with that a dead letter led to.
const LETTER: &str = "letter:";

/// Why a snapshot travels: part of its deduplication id, so that a resync is not swallowed as a
/// repetition of the live change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Drive's log told of it.
    Live,
    /// An operation listed it, or asks about it, or someone sent it again.
    Run(String),
    /// The shared drive that held it was left: it is out of reach if that still holds. Only with a
    /// file that is reported as removed.
    Left {
        /// The shared drive, which is its change log too.
        drive: LogId,
        /// Which operation says so.
        run: String,
    },
    /// A comparison found our record to differ from it, perhaps at the very version that we hold: it is
    /// merged all the same.
    Correction(String),
}

impl Cause {
    /// Somebody asks once more about what was set aside under this name.
    #[must_use]
    pub fn letter(name: &str) -> Self {
        Self::Run(format!("{LETTER}{name}"))
    }

    /// The name under which it was set aside, where that is why the message travels.
    #[must_use]
    pub fn letter_name(&self) -> Option<&str> {
        match self {
            Self::Run(run) => run.strip_prefix(LETTER),
            Self::Live | Self::Left { .. } | Self::Correction(_) => None,
        }
    }

    /// As it stands in a message and in a deduplication id.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Live => Cow::Borrowed("live"),
            Self::Run(run) | Self::Left { run, .. } => Cow::Borrowed(run),
            Self::Correction(run) => Cow::Owned(format!("{CORRECTION}{run}")),
        }
    }
}
