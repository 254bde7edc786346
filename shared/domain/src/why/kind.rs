//! The names of the reasons, in the order in which they are shown.

/// What a reason asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasonGroup {
    /// A person must act.
    NeedsPerson,
    /// It ends by itself, or with the file's next change.
    Waits,
    /// Both sides are in step.
    InStep,
    /// It explains how both sides are kept in step.
    Note,
}

/// Defines the names of the reasons, each with its group, in the order of the groups.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $group:ident;)+) => {
        /// The name of a reason. Reasons are shown in this order: what a person must act on comes
        /// first, and of that, what keeps the others from being acted on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonKind {
            $($(#[$doc])* $kind,)+
        }

        impl ReasonKind {
            /// All names, in their order.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Returns what the reason asks for.
            #[must_use]
            pub const fn group(self) -> ReasonGroup {
                match self {
                    $(Self::$kind => ReasonGroup::$group,)+
                }
            }
        }
    };
}

kinds! {
    /// The connection was deleted.
    Deleted NeedsPerson;
    /// The connection is suspended: no call to Drive can succeed.
    Suspended NeedsPerson;
    /// A field is in conflict, or files are.
    Conflict NeedsPerson;
    /// Drive refused an edit for good.
    EditRefused NeedsPerson;
    /// The connection's user has no access to the shared drive.
    DriveLeft NeedsPerson;
    /// The connection's user has no access to the file.
    AccessLost NeedsPerson;
    /// An operation would remove more than allowed without a person.
    AwaitsConfirmation NeedsPerson;
    /// What is owed is held back since the connection was restored.
    OwedHeld NeedsPerson;
    /// A person paused the connection.
    Paused NeedsPerson;
    /// A change from Drive was set aside as a dead letter.
    Parked NeedsPerson;

    /// The file is gone in Drive.
    Removed Waits;
    /// The file is in a drive that the connection does not cover.
    MovedAway Waits;
    /// The connection's rules leave the file out.
    Excluded Waits;
    /// All files are being listed; changes are read afterwards.
    Listing Waits;
    /// The reading of changes was stopped, and is tried again.
    LogStopped Waits;
    /// Drive failed repeatedly, so it is not called for a while.
    DriveFails Waits;
    /// Drive asked not to be called for a while.
    DriveAsksToWait Waits;
    /// Drive answers no write.
    WritesRefused Waits;
    /// The connection's share of Google's quota is used up for now.
    QuotaUsed Waits;
    /// The connection's rate of writes is reached.
    WritesLimited Waits;
    /// Drive accepts no uploads for a while.
    UploadsPaused Waits;
    /// Drive accepts no changes of permissions for a while.
    SharingPaused Waits;
    /// Drive refused an edit, and it is tried again by itself.
    EditRefusedForNow Waits;
    /// Both contents of a conflict are being kept.
    KeepingBoth Waits;
    /// Something is owed to Drive.
    Owed Waits;
    /// The outcome of a write that was sent is not known.
    OutcomeUnknown Waits;
    /// Drive did not show the file when it was last read.
    InDoubt Waits;
    /// A change from Drive was set aside, and is sent again by itself.
    ParkedForNow Waits;
    /// Content could not be had.
    ContentUnavailable Waits;
    /// Drive did not list who has access.
    PermissionsUnknown Waits;

    /// The file, or a folder above it, is in the trash.
    Trashed InStep;
    /// Both sides are equal, as far as Drive has been read.
    InStep InStep;

    /// The connection's settings leave the file's content in Drive.
    ContentLeftOut Note;
    /// Drive sends no notifications, so it is asked.
    NoChannel Note;
    /// The latest operation.
    Operation Note;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_names_is_that_of_their_groups() {
        let groups = ReasonKind::ALL.iter().map(|kind| kind.group());
        assert!(groups.is_sorted());
        assert!(ReasonKind::ALL.is_sorted());
    }
}
