//! What is to be stored in a step.

use domain::content::ContentIdentity;
use domain::{DriveVersion, Timestamp};

/// The version that is to be stored.
pub(crate) struct Wanted {
    pub(crate) number: u32,
    pub(crate) content: ContentIdentity,
    /// True if Drive has the content, so that it can be downloaded.
    pub(crate) in_drive: bool,
    /// What is asked for, in the terms of [`domain::content::ContentState::trouble`].
    pub(crate) of: String,
}

/// The export that is to be stored.
pub(crate) struct Export {
    pub(crate) number: u32,
    pub(crate) format: String,
    /// The time of the document's last change.
    pub(crate) modified_at: Timestamp,
    /// The version at which its content may last have changed.
    pub(crate) moved_at: DriveVersion,
    /// What is asked for, in the terms of [`domain::content::ContentState::trouble`].
    pub(crate) of: String,
}
