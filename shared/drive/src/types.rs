//! What the calls take and give: domain values, never Drive's JSON.

use std::fmt;
use std::sync::Arc;

use domain::{ChannelId, FileId, LogId, PageToken, Snapshot, Timestamp};

/// The time now. An argument, so that a test can hold it still.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One page of a change log, oldest change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// What was reported, in the log's order. May be empty although more pages follow.
    pub changes: Vec<Change>,
    /// Entries that name no file that we could ask Drive about: they can only be parked.
    pub nameless: Vec<Unreadable>,
    /// What was reported about shared drives themselves, in the log's order.
    pub drives: Vec<DriveChange>,
    /// Where to go on.
    pub next: Next,
    /// Entries of a type that we don't know.
    pub skipped: u32,
}

/// An entry about a shared drive itself (`changeType` `drive`): we joined it, left it, or it was renamed.
/// Joining one gives such an entry and none of its items (Drive guide "Track changes for users and
/// shared drives").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveChange {
    /// The drive, which is its change log too.
    pub drive: LogId,
    /// Its name, where the entry shows it: "only present when the user is still a member".
    pub name: Option<String>,
    /// The entry says that the drive is not there for us any more.
    pub removed: bool,
}

/// Where a change log goes on after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// More changes are there already: ask again with this token.
    More(PageToken),
    /// The end: ask with this token when something wakes us.
    End(PageToken),
}

/// One entry of a change log: the state of a file, not what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: FileId,
    /// When Drive says that it happened; where it doesn't say, when we read it.
    pub at: Timestamp,
    /// What was seen.
    pub seen: Seen,
}

/// What an entry of a change log shows of its file.
#[expect(
    clippy::large_enum_variant,
    reason = "an entry is nearly always a snapshot"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The file is there, in this state.
    Present(Snapshot),
    /// Removed, or no longer visible to us: the log does not say which ([`crate::DriveClient::look`] does).
    Removed,
    /// The entry names its file, but is no complete snapshot of it.
    Unreadable(Unreadable),
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePage {
    /// The files, trashed ones included, in no promised order. May be empty although more pages follow.
    pub files: Vec<Listed>,
    /// The token of the next page; `None` at the end. Drive keeps it for some hours only.
    pub next: Option<String>,
    /// Drive says that it did not search everywhere (`incompleteSearch`).
    pub incomplete: bool,
}

/// One file of a listing.
#[expect(
    clippy::large_enum_variant,
    reason = "an entry is nearly always a snapshot"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// The file's state.
    Present(Snapshot),
    /// An entry that is no complete snapshot.
    Unreadable(Unreadable),
}

/// An entry that can't become a snapshot: something to park, never a reason to fail its page.
#[derive(Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file, where the entry names one.
    pub file: Option<FileId>,
    /// What is wrong with it, without any of its content.
    pub reason: String,
    /// The entry as Drive sent it. It may hold names: it is stored, never logged.
    pub body: String,
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreadable")
            .field("file", &self.file)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// What a listing covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// My Drive and what is shared with the user.
    User,
    /// One shared drive; its id is the id of its change log.
    SharedDrive(LogId),
}

/// The files whose changes a log reports.
impl From<&LogId> for Scope {
    fn from(log: &LogId) -> Self {
        if *log == LogId::user() {
            Self::User
        } else {
            Self::SharedDrive(log.clone())
        }
    }
}

/// A file as it was just read, with what a conditional write needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Read {
    /// Its complete state.
    pub snapshot: Snapshot,
    /// Drive's tag of exactly this state, quotes included: the condition of a write.
    pub etag: String,
    /// The folder that holds it, which a move takes it out of.
    pub parent: Option<FileId>,
    /// Properties of our application alone. They are not ours to sync, and go back as they came.
    pub private_properties: Vec<PrivateProperty>,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("file", &self.snapshot.file)
            .field("version", &self.snapshot.version)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

/// A property that only one application sees (v2 visibility `PRIVATE`, v3 `appProperties`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateProperty {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A push-notification channel to open.
#[derive(Debug, Clone)]
pub struct ChannelRequest<'a> {
    /// Never used before in the Google project: Drive refuses a repeat even after a stop.
    pub id: &'a ChannelId,
    /// At most 256 characters, echoed with every notification.
    pub token: &'a str,
    /// An HTTPS URL with a valid certificate.
    pub address: &'a str,
    /// When it should end: at most 604,800 s ahead for a change log.
    pub expires_at: Timestamp,
}

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// What the channel watches, as Drive calls it: needed to stop it.
    pub resource_id: String,
    /// When Drive will end it, which may be sooner than was asked.
    pub expires_at: Timestamp,
}

/// Who we are to Drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The user's e-mail address.
    pub email: String,
    /// The user's id in permissions.
    pub permission_id: Option<String>,
}

/// One page of shared drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrivePage {
    /// The drives, in no promised order.
    pub drives: Vec<SharedDrive>,
    /// Entries whose id is the shape of none: they can't be followed.
    pub skipped: u32,
    /// The token of the next page; `None` at the end.
    pub next: Option<String>,
}

/// A shared drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDrive {
    /// Its id, which names its change log too.
    pub id: LogId,
    /// Its name.
    pub name: String,
}
