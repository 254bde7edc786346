//! What Drive was seen to hold: immutable, complete, identified by (file, Drive version).

use std::collections::BTreeMap;

use crate::{DriveVersion, Field, FileId, LogId, MirroredPermission, Timestamp, Value};

/// The number of the set of fields that a snapshot was made with.
///
/// Raise [`FieldMask::CURRENT`] whenever a field is added to the normaliser: a record made with an
/// older mask then takes the new fields from a snapshot of the very version that it already holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FieldMask(pub u32);

impl FieldMask {
    /// The mask that this build fills.
    pub const CURRENT: Self = Self(2);
}

/// A change normalised into our fields. Always complete: a read of some fields that moved the
/// record's version would swallow the change of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file.
    pub file: FileId,
    /// Drive's version of it.
    pub version: DriveVersion,
    /// Which fields the maker of the snapshot knew.
    pub mask: FieldMask,
    /// Every writable field that is set, but for [`Field::Content`], which the mirror tells. A property that is not here is not set in Drive, nor
    /// is a permission, provided that the mirror says that they are known.
    pub fields: BTreeMap<Field, Value>,
    /// What Drive alone decides.
    pub mirror: Mirror,
}

/// What only Drive decides: mirrored, shown, never in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mirror {
    /// The MIME type; Drive's folders and shortcuts have their own.
    pub mime_type: String,
    /// Bytes of content; `None` where Drive has none (folders, Docs editor files).
    pub size_bytes: Option<u64>,
    /// MD5 of the content, lower-case hex.
    pub md5: Option<String>,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: Option<String>,
    /// The content's revision.
    pub head_revision_id: Option<String>,
    /// When the file was made.
    pub created_at: Option<Timestamp>,
    /// When its content (or name) was last changed, as Drive says.
    pub modified_at: Option<Timestamp>,
    /// E-mail address of the last person who changed it.
    pub modified_by: Option<String>,
    /// E-mail address of the owner; none in a shared drive.
    pub owner: Option<String>,
    /// The shared drive that holds it.
    pub drive_id: Option<String>,
    /// The target, where it is a shortcut.
    pub shortcut_target: Option<String>,
    /// The MIME type of the target, as the shortcut has it: it may have gone stale.
    pub shortcut_mime_type: Option<String>,
    /// What the connection's user may do with it.
    pub capabilities: Capabilities,
    /// Who has access, sorted: on the file itself or by way of what is above it. Meaningful while
    /// [`Mirror::permissions_known`]. What comes from above can be out of date: Drive reports a change
    /// of a folder's permissions on the folder alone.
    pub permissions: Vec<MirroredPermission>,
    /// Whether we know the permissions. Drive leaves them out of a file that we may not share, and of the
    /// items of a shared drive: absent is not none.
    pub permissions_known: bool,
    /// How many permissions there are, where they are more than [`crate::PERMISSIONS_MAX`]: none of them
    /// is kept then, and they are not known.
    pub permissions_left_out: u32,
    /// Stands for the set of their ids, where Drive gives those and not the permissions themselves.
    pub permission_ids: Option<u64>,
    /// Nothing is inherited from above: a folder with limited access.
    pub inherited_permissions_disabled: bool,
    /// Of an item of a shared drive: whether it has permissions of its own, beyond the drive's members'.
    pub has_augmented_permissions: Option<bool>,
}

impl Snapshot {
    /// What Drive held of a field.
    #[must_use]
    pub fn value(&self, field: &Field) -> Value {
        match field {
            Field::Content => self.mirror.content(),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Property(_)
            | Field::Permission(_) => {
                let value = self.fields.get(field).cloned();
                value.unwrap_or_else(|| field.unset())
            }
        }
    }
}

impl Mirror {
    /// The value of [`Field::Content`]: the checksum of what the file holds.
    #[must_use]
    pub fn content(&self) -> Value {
        self.sha256.clone().map_or(Value::Null, Value::Text)
    }

    /// The change log that tells of the file: its shared drive's, or the user's for all others, and for
    /// a drive whose id is the shape of no log's.
    #[must_use]
    pub fn log(&self) -> LogId {
        let drive = self.drive_id.as_deref();
        drive
            .and_then(|id| LogId::parse(id).ok())
            .unwrap_or_else(LogId::user)
    }
}

/// What the connection's user may do with a file, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u16);

impl Capabilities {
    /// Drive's names of the capabilities that we keep; the position is the bit.
    pub const NAMES: [&'static str; 8] = [
        "canEdit",
        "canRename",
        "canTrash",
        "canUntrash",
        "canDelete",
        "canDownload",
        "canShare",
        "canAddChildren",
    ];

    /// The set that holds the named capabilities; names that we don't keep are left out.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| Self::NAMES.iter().position(|known| *known == name);
        Self(
            names
                .into_iter()
                .filter_map(bit)
                .fold(0, |bits, at| bits | 1 << at),
        )
    }

    /// The names of the capabilities in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & (1 << at) != 0)
            .map(|(_, name)| name)
    }
}

/// Why a file is not there for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Deleted for good, or so far away that Drive does not say which: it answers 404 to both.
    Removed,
    /// Still there, but not for the connection's user.
    AccessLost,
    /// Still there, in a shared drive (or out of one) that the connection does not cover.
    MovedAway,
}

/// What one look at Drive showed of a file.
#[expect(
    clippy::large_enum_variant,
    reason = "an observation is nearly always a snapshot"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It is there, in this state.
    Present(Snapshot),
    /// It is not there for us. Carries no version: the answer of a direct question decides.
    Gone(Gone),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_log_of_its_shared_drive_and_else_to_the_users() {
        let held_by = |id: Option<&str>| {
            let drive_id = id.map(str::to_owned);
            let mirror = Mirror {
                drive_id,
                ..Mirror::default()
            };
            mirror.log()
        };
        assert_eq!(held_by(Some("0ABC")), LogId::parse("0ABC").unwrap());
        assert_eq!(held_by(None), LogId::user());
        assert_eq!(held_by(Some("no/id")), LogId::user());
    }

    #[test]
    fn capabilities_survive_being_packed_into_bits() {
        let set = Capabilities::from_names(["canDelete", "canEdit", "canSummonDemons"]);
        assert_eq!(set.names().collect::<Vec<_>>(), ["canEdit", "canDelete"]);
    }
}
