//! Observed states of a file in Drive: immutable, complete, identified by (file, Drive version).

use std::collections::{BTreeMap, BTreeSet};

use crate::{DriveVersion, Field, FileId, LogId, ObservedPermission, Timestamp, Value};

/// The version of the set of fields that a snapshot was built from.
///
/// Raise [`FieldSetVersion::CURRENT`] whenever a field is added to the normaliser. A record with an
/// older field set then takes the new fields from a snapshot of the very version that it already
/// has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FieldSetVersion(pub u32);

impl FieldSetVersion {
    /// The field set that this build reads.
    pub const CURRENT: Self = Self(2);
}

/// A change from Drive, normalised. Always complete: a partial read that moved the record's version
/// would lose the changes of the fields that it did not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The file's id.
    pub file: FileId,
    /// Drive's version of the file.
    pub version: DriveVersion,
    /// The set of fields that the snapshot was built from.
    pub field_set: FieldSetVersion,
    /// Every writable field that is set, except [`Field::Content`], which is in the metadata. A
    /// property that is absent here is not set in Drive. The same is true of a permission, provided
    /// that the metadata says that permissions are known.
    pub fields: BTreeMap<Field, Value>,
    /// The metadata that only Drive decides.
    pub metadata: DriveMetadata,
}

/// Metadata that only Drive decides: stored, shown, and never in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriveMetadata {
    /// The MIME type. Drive's folders and shortcuts have MIME types of their own.
    pub mime_type: String,
    /// The size of the content in bytes; `None` if there is none (folders, Docs editor files).
    pub size_bytes: Option<u64>,
    /// MD5 of the content, lower-case hex.
    pub md5: Option<String>,
    /// SHA-256 of the content, lower-case hex. If Drive states none, the one that was computed when
    /// the content's bytes were here.
    pub sha256: Option<String>,
    /// The id of the content's current revision.
    pub head_revision_id: Option<String>,
    /// The time at which the file was created.
    pub created_at: Option<Timestamp>,
    /// The time at which its content (or name) was last changed, according to Drive.
    pub modified_at: Option<Timestamp>,
    /// The e-mail address of the last person who changed the file.
    pub modified_by: Option<String>,
    /// The e-mail address of the owner; `None` in a shared drive.
    pub owner: Option<String>,
    /// All parents, if there are several: one of them is [`Field::Parent`]. Drive allows one since
    /// 2020; older files may still have more, and Drive does not promise an order.
    pub parents: BTreeSet<String>,
    /// The id of the shared drive that contains the file.
    pub drive_id: Option<String>,
    /// The id of the target, if the file is a shortcut.
    pub shortcut_target: Option<String>,
    /// The MIME type of the target as stored in the shortcut. It may be out of date.
    pub shortcut_mime_type: Option<String>,
    /// The actions that the connection's user may perform.
    pub capabilities: Capabilities,
    /// The permissions, sorted: those on the file itself and those inherited from above. Meaningful
    /// while [`DriveMetadata::permissions_known`]. Inherited ones can be out of date: Drive reports
    /// a change of a folder's permissions on the folder alone.
    pub permissions: Vec<ObservedPermission>,
    /// True if the permissions are known. Drive omits them for a file that the user may not share,
    /// and for the items of a shared drive: absent does not mean none.
    pub permissions_known: bool,
    /// The number of permissions, if it exceeds [`crate::PERMISSIONS_MAX`]. None of them is stored
    /// then, and they are not known.
    pub permissions_left_out: u32,
    /// A digest of the set of permission ids, if Drive lists the ids without the permissions.
    pub permission_ids: Option<u64>,
    /// True if nothing is inherited from above: a folder with limited access.
    pub inherited_permissions_disabled: bool,
    /// True if an item of a shared drive has permissions of its own, beyond those of the drive's
    /// members.
    pub has_augmented_permissions: Option<bool>,
}

impl Snapshot {
    /// Returns Drive's value of a field.
    #[must_use]
    pub fn value(&self, field: &Field) -> Value {
        match field {
            Field::Content => self.metadata.content(),
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

impl DriveMetadata {
    /// Returns the change log that reports the file: that of its shared drive, or else the user's.
    /// The user's log also covers a drive whose id is not a valid log id.
    #[must_use]
    pub fn log(&self) -> LogId {
        let drive = self.drive_id.as_deref();
        drive
            .and_then(|id| LogId::parse(id).ok())
            .unwrap_or_else(LogId::user)
    }
}

/// The actions that the connection's user may perform on a file, as a bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u16);

impl Capabilities {
    /// Drive's names of the tracked capabilities. The position is the bit.
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

    /// Returns the set of the named capabilities. Untracked names are ignored.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| Self::NAMES.iter().position(|known| *known == name);
        Self(
            names
                .into_iter()
                .filter_map(bit)
                .fold(0, |bits, at| bits | 1 << at),
        )
    }

    /// Returns the names of the capabilities in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & (1 << at) != 0)
            .map(|(_, name)| name)
    }
}

/// The reason why a file is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The file was deleted for good, or is inaccessible in a way that Drive does not distinguish:
    /// it answers 404 to both.
    Removed,
    /// The file exists, but the connection's user has no access.
    AccessLost,
    /// The file exists, in a shared drive (or in My Drive) that the connection does not cover.
    MovedAway,
}

/// The result of one observation of a file in Drive.
#[expect(
    clippy::large_enum_variant,
    reason = "an observation is nearly always a snapshot"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The file exists, in this state.
    Present(Snapshot),
    /// The file is gone. Carries no version, so only the result of a lookup counts.
    Gone(Gone),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_log_of_its_shared_drive_or_the_users() {
        let held_by = |id: Option<&str>| {
            let drive_id = id.map(str::to_owned);
            let metadata = DriveMetadata {
                drive_id,
                ..DriveMetadata::default()
            };
            metadata.log()
        };
        assert_eq!(held_by(Some("0ABC")), LogId::parse("0ABC").unwrap());
        assert_eq!(held_by(None), LogId::user());
        assert_eq!(held_by(Some("no/id")), LogId::user());
    }

    #[test]
    fn capabilities_round_trip_through_bits() {
        let set = Capabilities::from_names(["canDelete", "canEdit", "canSummonDemons"]);
        assert_eq!(set.names().collect::<Vec<_>>(), ["canEdit", "canDelete"]);
    }
}
