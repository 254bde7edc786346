//! The arguments and results of calls: domain values, never Drive's JSON.

use std::fmt;
use std::sync::Arc;

use domain::operation::entries_hash;
use domain::trail::ErasedPersons;
use domain::{
    AccountId, ChannelId, DriveVersion, FileId, LogId, PageToken, Snapshot, Timestamp, Value,
};

use crate::protocol::body::OriginalProperty;

/// A source of the current time, which tests replace.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// One page of a change log, oldest change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes of files, in the log's order. May be empty although more pages follow.
    pub changes: Vec<Change>,
    /// Entries without a valid file id: they can only be parked.
    pub unidentified: Vec<Unreadable>,
    /// The changes of shared drives themselves, in the log's order.
    pub drives: Vec<DriveChange>,
    /// The token to continue with.
    pub next: NextToken,
    /// The number of entries of an unknown type.
    pub skipped: u32,
}

impl ChangePage {
    /// Returns the hash of its entries, by which a page that repeats is recognised; `None` if there
    /// are none.
    #[must_use]
    pub fn entries_hash(&self) -> Option<u64> {
        let changes = self.changes.iter().map(|change| {
            let version = match &change.state {
                ChangeState::Present(snapshot) => snapshot.version.0,
                ChangeState::Removed | ChangeState::Unreadable(_) => 0,
            };
            (change.file.as_str(), change.at.as_millis(), version)
        });
        let unidentified = self.unidentified.iter();
        let unidentified = unidentified.map(|entry| (entry.body.as_str(), 0, 0));
        let drives = self.drives.iter();
        let drives = drives.map(|entry| (entry.drive.as_str(), i64::from(entry.removed), 0));
        entries_hash(changes.chain(unidentified).chain(drives))
    }
}

/// An entry about a shared drive itself (`changeType` `drive`): it was joined, left or renamed.
/// Joining creates such an entry and none for the drive's items (Drive guide "Track changes for
/// users and shared drives").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveChange {
    /// The drive, whose id is also the id of its change log.
    pub drive: LogId,
    /// The name, which is "only present when the user is still a member".
    pub name: Option<String>,
    /// The drive is not accessible any more.
    pub removed: bool,
}

/// The token that a change log continues with after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextToken {
    /// More changes are available now.
    More(PageToken),
    /// The end of the log: use this token after the next wake.
    End(PageToken),
}

/// One entry of a change log: the state of a file, not what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: FileId,
    /// The time of the change according to Drive, or else the time at which the entry was read.
    pub at: Timestamp,
    /// The state of the file.
    pub state: ChangeState,
}

/// The state of a file in an entry of a change log.
#[expect(
    clippy::large_enum_variant,
    reason = "an entry is nearly always a snapshot"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeState {
    /// The file exists and has this state.
    Present(Snapshot),
    /// The file was removed or is not visible any more. The log does not tell which;
    /// [`crate::DriveClient::get_or_gone`] does.
    Removed,
    /// The entry has a file id, but is not a complete snapshot.
    Unreadable(Unreadable),
}

impl ChangePage {
    /// Returns the page with what stands in place of erased persons.
    pub(crate) fn without(mut self, erased: &ErasedPersons) -> Self {
        if erased.is_empty() {
            return self;
        }
        for change in &mut self.changes {
            if let ChangeState::Present(shown) = &mut change.state {
                *shown = shown.clone().without(erased);
            }
        }
        self
    }
}

impl FilePage {
    /// Returns the page with what stands in place of erased persons.
    pub(crate) fn without(mut self, erased: &ErasedPersons) -> Self {
        if erased.is_empty() {
            return self;
        }
        for listed in &mut self.files {
            if let Listed::Present(shown) = listed {
                *shown = shown.clone().without(erased);
            }
        }
        self
    }
}

impl Read {
    /// Returns the file with what stands in place of erased persons.
    pub(crate) fn without(self, erased: &ErasedPersons) -> Self {
        Self {
            snapshot: self.snapshot.without(erased),
            ..self
        }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePage {
    /// The files, including trashed ones, in no particular order. May be empty although more pages
    /// follow.
    pub files: Vec<Listed>,
    /// The token of the next page; `None` at the end. It is valid for some hours only.
    pub next: Option<String>,
    /// Drive reports that it did not search everywhere (`incompleteSearch`).
    pub incomplete: bool,
}

impl FilePage {
    /// Returns the hash of its entries, by which a page that repeats is recognised; `None` if there
    /// are none.
    #[must_use]
    pub fn entries_hash(&self) -> Option<u64> {
        entries_hash(self.files.iter().map(|entry| match entry {
            Listed::Present(snapshot) => snapshot.file.as_str(),
            Listed::Unreadable(unreadable) => unreadable.body.as_str(),
        }))
    }
}

/// One page of a listing of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdPage {
    /// The files, including trashed ones, oldest first. May be empty although more pages follow.
    pub files: Vec<ListedId>,
    /// As in [`FilePage`].
    pub next: Option<String>,
    /// As in [`FilePage`].
    pub incomplete: bool,
}

impl FileIdPage {
    /// Returns the hash of its entries, by which a page that repeats is recognised; `None` if there
    /// are none.
    #[must_use]
    pub fn entries_hash(&self) -> Option<u64> {
        entries_hash(self.files.iter().map(|entry| entry.file.as_str()))
    }
}

/// One file of a listing of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedId {
    /// The file.
    pub file: FileId,
    /// Its name; empty if Drive returns none.
    pub name: String,
    /// Its version; 0 if Drive returns none.
    pub version: DriveVersion,
    /// The log that reports its changes: its shared drive's, or the user's.
    pub log: LogId,
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
    /// The entry is not a complete snapshot.
    Unreadable(Unreadable),
}

/// An entry that can't be converted into a snapshot. It is parked and never fails its page.
#[derive(Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file, if the entry has a valid id.
    pub file: Option<FileId>,
    /// The defect, without any of the entry's content.
    pub reason: String,
    /// The entry as received. It may contain names: it is stored, but never logged.
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

/// The scope of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// My Drive and the items that are shared with the user.
    User,
    /// One shared drive; its id is the id of its change log.
    SharedDrive(LogId),
}

/// Converts a log into the scope of the files whose changes it reports.
impl From<&LogId> for Scope {
    fn from(log: &LogId) -> Self {
        if *log == LogId::user() {
            Self::User
        } else {
            Self::SharedDrive(log.clone())
        }
    }
}

/// A file as just read, with the members that a conditional write needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Read {
    /// The complete state.
    pub snapshot: Snapshot,
    /// Drive's etag of this state, including quotes: the condition of a write.
    pub etag: String,
    /// The parent folder, which a move removes it from: of several, the one that the caller knows
    /// ([`Read::known_in`]).
    pub parent: Option<FileId>,
    /// The private properties of our application. They are not synchronised and sent back
    /// unchanged.
    pub private_properties: Vec<PrivateProperty>,
    /// All properties as they were received, if their text can't be read as it is. They are sent
    /// back in this form.
    pub(crate) original_properties: Option<Vec<OriginalProperty>>,
}

impl Read {
    /// Sets the folder that the file is known to be in, which a move removes it from. Other parents
    /// stay.
    #[must_use]
    pub fn known_in(self, parent: &Value) -> Self {
        match parent {
            Value::Text(id) => Self {
                parent: FileId::parse(id).ok(),
                ..self
            },
            Value::Null | Value::Flag(_) => self,
        }
    }
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

/// A property that is visible to one application only (v2 visibility `PRIVATE`, v3
/// `appProperties`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateProperty {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A push-notification channel to open.
#[derive(Debug, Clone)]
pub struct ChannelRequest<'a> {
    /// The id, never used before in the Google project: Drive rejects a repetition even after a
    /// stop.
    pub id: &'a ChannelId,
    /// A token of at most 256 characters, which every notification repeats.
    pub token: &'a str,
    /// The address: an HTTPS URL with a valid certificate.
    pub address: &'a str,
    /// The requested expiry: at most 604,800 s ahead for a change log.
    pub expires_at: Timestamp,
}

/// An open channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Drive's id of the watched resource, which is needed to stop the channel.
    pub resource_id: String,
    /// The expiry, which may be earlier than requested.
    pub expires_at: Timestamp,
}

/// The user that the credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The e-mail address.
    pub email: String,
    /// The account: the id of the user in permissions. `None` if Drive does not show it.
    pub account: Option<AccountId>,
}

/// One page of shared drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrivePage {
    /// The drives, in no particular order.
    pub drives: Vec<SharedDrive>,
    /// The number of entries with an invalid id, which can't be followed.
    pub skipped: u32,
    /// The token of the next page; `None` at the end.
    pub next: Option<String>,
}

/// A shared drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDrive {
    /// The id, which is also the id of its change log.
    pub id: LogId,
    /// The name.
    pub name: String,
}
