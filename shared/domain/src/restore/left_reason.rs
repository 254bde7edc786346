//! Why something is not set back to an earlier time.

use crate::labels::labels;

/// The reason why a file, or a field of it, is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeftReason {
    /// The file was made after that time.
    MadeSince,
    /// The history does not have the state of that time.
    StateNotKnown,
    /// The file was deleted for good: Drive gives its id to no other file.
    Purged,
    /// The file can't be accessed any more.
    AccessLost,
    /// The file was moved to a drive that the connection does not cover.
    MovedAway,
    /// The connection's rules leave the file out.
    OutOfScope,
    /// The application is deleting the file.
    Deleting,
    /// An open conflict holds it.
    Conflict,
    /// It was changed after the list was made.
    ChangedMeanwhile,
    /// It would give somebody more access than they have now.
    WidensSharing,
    /// The permissions of the file are not known now.
    PermissionsNotKnown,
    /// No stored content is that of the time.
    ContentNotHeld,
    /// The connection does not mirror content, so none can be written to Drive.
    ContentNotMirrored,
    /// The content of a document of Google's editors can't be written.
    Document,
    /// The folder that the file was in is gone.
    FolderGone,
    /// Drive would refuse the value.
    NotWritable,
}

impl LeftReason {
    /// All reasons.
    pub const ALL: [Self; 16] = [
        Self::MadeSince,
        Self::StateNotKnown,
        Self::Purged,
        Self::AccessLost,
        Self::MovedAway,
        Self::OutOfScope,
        Self::Deleting,
        Self::Conflict,
        Self::ChangedMeanwhile,
        Self::WidensSharing,
        Self::PermissionsNotKnown,
        Self::ContentNotHeld,
        Self::ContentNotMirrored,
        Self::Document,
        Self::FolderGone,
        Self::NotWritable,
    ];

    /// Returns a sentence for people, which says what they can do.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::MadeSince => {
                "It was made since. It is not deleted: trash it, if it is not wanted."
            }
            Self::StateNotKnown => {
                "Its state at that time is not known: it was not followed yet, or its history \
                 has expired. Choose a later time."
            }
            Self::Purged => {
                "It was deleted for good, and Drive does not bring an id back. Create a file with \
                 its stored content (GET .../files/{id}/versions)."
            }
            Self::AccessLost => {
                "It can't be accessed any more. Share it with the connection's account, and \
                 restore again."
            }
            Self::MovedAway => {
                "It was moved to a drive that the connection does not cover. Move it back in Drive."
            }
            Self::OutOfScope => "The connection's rules leave it out.",
            Self::Deleting => "The application is deleting it. Cancel that, and restore again.",
            Self::Conflict => "A conflict is open. Resolve it, and restore again.",
            Self::ChangedMeanwhile => {
                "It was changed after the list was made. Look at it, and restore again."
            }
            Self::WidensSharing => {
                "It would give somebody more access than they have now. Grant it by an edit."
            }
            Self::PermissionsNotKnown => "Drive does not show the permissions of the file.",
            Self::ContentNotHeld => {
                "The content of that time is not stored. Drive may have a revision of it."
            }
            Self::ContentNotMirrored => {
                "The connection does not mirror content. Enable that, and restore again."
            }
            Self::Document => {
                "The content of a document of Google's editors can't be written. Its exports are \
                 stored (GET .../files/{id}/versions), and Drive has a version history."
            }
            Self::FolderGone => "The folder that it was in is gone. Move it to another one.",
            Self::NotWritable => "Drive would refuse the value.",
        }
    }
}

labels!(LeftReason {
    MadeSince = "made_since",
    StateNotKnown = "state_not_known",
    Purged = "purged",
    AccessLost = "access_lost",
    MovedAway = "moved_away",
    OutOfScope = "out_of_scope",
    Deleting = "deleting",
    Conflict = "conflict",
    ChangedMeanwhile = "changed_meanwhile",
    WidensSharing = "widens_sharing",
    PermissionsNotKnown = "permissions_not_known",
    ContentNotHeld = "content_not_held",
    ContentNotMirrored = "content_not_mirrored",
    Document = "document",
    FolderGone = "folder_gone",
    NotWritable = "not_writable",
});
