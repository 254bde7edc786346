//! The one table of what we read of a file, with its names in Drive v3 and in Drive v2.

use std::sync::LazyLock;

use domain::FieldMask;

use crate::permissions;

/// One thing that we read of a file. The names are those of a `fields` mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Ours: a label of [`domain::Field`] (`properties` and `permissions` for all of them), or a member of [`domain::Mirror`].
    pub ours: &'static str,
    /// In v3: `changes.list`, `files.list`.
    pub v3: &'static str,
    /// In v2: `files.get` and the answer of `files.patch`.
    pub v2: &'static str,
    /// Where a v2 `files.patch` takes it, if we write it at all; `permissions.*` are methods of their own.
    pub written_to: Option<&'static str>,
}

/// The mask whose columns these are: whoever adds one raises [`FieldMask::CURRENT`].
pub(crate) const MASK: FieldMask = FieldMask(2);
const _: () = assert!(MASK.0 == FieldMask::CURRENT.0);

const CAPABILITIES: &str = "capabilities(canEdit,canRename,canTrash,canUntrash,canDelete,canDownload,canShare,canAddChildren)";

/// Everything that we read of a file. v3 and v2 give equal snapshots of the same state.
///
/// - `trashed` is read from `explicitlyTrashed` in both: v3's `trashed` and v2's `labels.trashed` are also
///   true for what lies in a trashed folder, and such files get no change of their own when it comes back.
/// - Of v2's `properties` only those with the visibility `PUBLIC` are v3's `properties`; `PRIVATE` (the
///   default when writing) are v3's `appProperties`, and not ours.
/// - A v2 reader with the additional role `commenter` is v3's commenter. Items of shared drives carry no
///   permissions in either; see [`crate::DriveClient::with_permissions`].
/// - v2 does not move a file by a body member but by the parameters `addParents` and `removeParents`.
pub const TABLE: [Column; 24] = [
    read("file", "id", "id"),
    read("version", "version", "version"),
    written("name", "name", "title", "title"),
    written("description", "description", "description", "description"),
    written("starred", "starred", "labels(starred)", "labels.starred"),
    written(
        "trashed",
        "explicitlyTrashed",
        "explicitlyTrashed",
        "labels.trashed",
    ),
    written("parent", "parents", "parents(id)", "?addParents"),
    written(
        "properties",
        "properties",
        "properties(key,value,visibility)",
        "properties",
    ),
    read("mime_type", "mimeType", "mimeType"),
    read("size_bytes", "size", "fileSize"),
    read("md5", "md5Checksum", "md5Checksum"),
    read("sha256", "sha256Checksum", "sha256Checksum"),
    read("head_revision_id", "headRevisionId", "headRevisionId"),
    read("created_at", "createdTime", "createdDate"),
    read("modified_at", "modifiedTime", "modifiedDate"),
    read(
        "modified_by",
        "lastModifyingUser(emailAddress)",
        "lastModifyingUser(emailAddress)",
    ),
    read("owner", "owners(emailAddress)", "owners(emailAddress)"),
    read("drive_id", "driveId", "driveId"),
    // With it `shortcut_mime_type`.
    read(
        "shortcut_target",
        "shortcutDetails(targetId,targetMimeType)",
        "shortcutDetails(targetId,targetMimeType)",
    ),
    read("capabilities", CAPABILITIES, CAPABILITIES),
    written(
        "permissions",
        permissions::V3,
        permissions::V2,
        "permissions.*",
    ),
    read("permission_ids", "permissionIds", "permissionIds"),
    read(
        "has_augmented_permissions",
        "hasAugmentedPermissions",
        "hasAugmentedPermissions",
    ),
    read(
        "inherited_permissions_disabled",
        "inheritedPermissionsDisabled",
        "inheritedPermissionsDisabled",
    ),
];

const fn read(ours: &'static str, v3: &'static str, v2: &'static str) -> Column {
    Column {
        ours,
        v3,
        v2,
        written_to: None,
    }
}

const fn written(
    ours: &'static str,
    v3: &'static str,
    v2: &'static str,
    written_to: &'static str,
) -> Column {
    Column {
        ours,
        v3,
        v2,
        written_to: Some(written_to),
    }
}

fn joined(name: impl Fn(&Column) -> &'static str) -> String {
    TABLE.iter().map(name).collect::<Vec<_>>().join(",")
}

/// The `fields` of `changes.list`.
pub(crate) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    let file = joined(|column| column.v3);
    format!(
        "nextPageToken,newStartPageToken,changes(changeType,time,removed,driveId,drive(id,name),fileId,file({file}))"
    )
});

/// The `fields` of `files.list`.
pub(crate) static LISTING: LazyLock<String> = LazyLock::new(|| {
    let file = joined(|column| column.v3);
    format!("nextPageToken,incompleteSearch,files({file})")
});

/// The `fields` of v3 `files.create`.
pub(crate) static V3_FILE: LazyLock<String> = LazyLock::new(|| joined(|column| column.v3));

/// The `fields` of v2 `files.get` and `files.patch`.
pub(crate) static V2_FILE: LazyLock<String> =
    LazyLock::new(|| format!("etag,{}", joined(|column| column.v2)));

#[cfg(test)]
mod tests {
    use domain::{Capabilities, Field};

    use super::*;

    #[test]
    fn every_writable_field_and_only_those_have_a_place_to_be_written_to() {
        let written = TABLE.iter().filter(|column| column.written_to.is_some());
        let labels: Vec<_> = written.map(|column| column.ours).collect();
        assert_eq!(
            labels,
            [
                "name",
                "description",
                "starred",
                "trashed",
                "parent",
                "properties",
                "permissions"
            ]
        );
        for label in labels
            .iter()
            .filter(|l| !matches!(**l, "properties" | "permissions"))
        {
            assert!(Field::from_label(label).is_some(), "{label}");
        }
    }

    #[test]
    fn every_capability_that_we_keep_is_asked_for() {
        let all = format!("capabilities({})", Capabilities::NAMES.join(","));
        assert_eq!(CAPABILITIES, all);
    }
}
