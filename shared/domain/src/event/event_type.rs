//! The types of events, in the spelling that readers see.

use std::fmt;

use crate::labels::labels;

/// The type of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventType {
    /// A file is there that was not.
    FileCreated,
    /// The application's view of a file has changed, other than by the types below.
    FileModified,
    /// A file is in another folder.
    FileMoved,
    /// A file is in the trash or removed.
    FileDeleted,
    /// A file is back from the trash, or it or the access to it is back.
    FileRestored,
    /// The connection's user can't see a file any more.
    FileAccessLost,
    /// A role on a file was granted, changed or withdrawn.
    FileShared,
    /// A version of a file's content is stored.
    ContentStored,
    /// A version of a file's content could not be had so far.
    ContentFailed,
    /// A conflict opened.
    ConflictDetected,
    /// A side of an open conflict has moved.
    ConflictChanged,
    /// A conflict ended: decided, or closed by itself.
    ConflictResolved,
    /// An edit was given up.
    IntentFailed,
    /// An edit has reached Drive.
    IntentConfirmed,
    /// A listing of all files has begun.
    SyncStarted,
    /// A listing of all files goes on. Its files have no events of their own.
    SyncProgress,
    /// A listing of all files has ended, and what it found is stored.
    SyncCompleted,
    /// A listing of all files has failed or was cancelled.
    SyncFailed,
    /// The log was quiet. Keeps its newest item from expiring.
    SyncHeartbeat,
    /// Events may be missing: a reader reloads what it shows.
    SyncReset,
    /// An operation waits for a person.
    OperationAwaitingConfirmation,
    /// A connection is not synced until a person resumes it.
    ConnectionSuspended,
    /// A connection is synced again.
    ConnectionResumed,
    /// An input was set aside.
    DeadLetterParked,
    /// A webhook endpoint was disabled, and no person did it.
    WebhookDisabled,
}

labels!(EventType {
    FileCreated = "file:created",
    FileModified = "file:modified",
    FileMoved = "file:moved",
    FileDeleted = "file:deleted",
    FileRestored = "file:restored",
    FileAccessLost = "file:access_lost",
    FileShared = "file:shared",
    ContentStored = "content:stored",
    ContentFailed = "content:failed",
    ConflictDetected = "conflict:detected",
    ConflictChanged = "conflict:changed",
    ConflictResolved = "conflict:resolved",
    IntentFailed = "intent:failed",
    IntentConfirmed = "intent:confirmed",
    SyncStarted = "sync:started",
    SyncProgress = "sync:progress",
    SyncCompleted = "sync:completed",
    SyncFailed = "sync:failed",
    SyncHeartbeat = "sync:heartbeat",
    SyncReset = "sync:reset",
    OperationAwaitingConfirmation = "operation:awaiting_confirmation",
    ConnectionSuspended = "connection:suspended",
    ConnectionResumed = "connection:resumed",
    DeadLetterParked = "dead_letter:parked",
    WebhookDisabled = "webhook:disabled",
});

impl EventType {
    /// Returns whether it tells what a file is like. Those of a listing are not told one by one.
    #[must_use]
    pub fn tells_of_a_file(self) -> bool {
        match self {
            Self::FileCreated
            | Self::FileModified
            | Self::FileMoved
            | Self::FileDeleted
            | Self::FileRestored
            | Self::FileAccessLost
            | Self::FileShared => true,
            Self::ContentStored
            | Self::ContentFailed
            | Self::ConflictDetected
            | Self::ConflictChanged
            | Self::ConflictResolved
            | Self::IntentFailed
            | Self::IntentConfirmed
            | Self::SyncStarted
            | Self::SyncProgress
            | Self::SyncCompleted
            | Self::SyncFailed
            | Self::SyncHeartbeat
            | Self::SyncReset
            | Self::OperationAwaitingConfirmation
            | Self::ConnectionSuspended
            | Self::ConnectionResumed
            | Self::DeadLetterParked
            | Self::WebhookDisabled => false,
        }
    }

    /// Returns whether no filter hides it: a reader that misses it shows what is not so.
    #[must_use]
    pub fn concerns_every_reader(self) -> bool {
        self == Self::SyncReset
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
