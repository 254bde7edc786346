//! The table of the file members that are read, with their names in Drive v3 and v2.

use std::sync::LazyLock;

use domain::FieldSetVersion;

use crate::calls::permissions;

/// A file member that is read. The names are those of a `fields` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The domain's name: a label of [`domain::Field`] (`properties` and `permissions` stand for
    /// all of them), or a member of [`domain::DriveMetadata`].
    pub ours: &'static str,
    /// The name in v3: `changes.list`, `files.list`.
    pub v3: &'static str,
    /// The name in v2: `files.get` and the response of `files.patch`.
    pub v2: &'static str,
    /// The place in a v2 `files.patch` if it is written; `permissions.*` are separate methods.
    pub patched_as: Option<&'static str>,
}

/// The version of this set of columns. Adding a column requires raising
/// [`FieldSetVersion::CURRENT`].
pub(crate) const FIELD_SET: FieldSetVersion = FieldSetVersion(2);
const _: () = assert!(FIELD_SET.0 == FieldSetVersion::CURRENT.0);

const CAPABILITIES: &str = "capabilities(canEdit,canRename,canTrash,canUntrash,canDelete,\
    canDownload,canShare,canAddChildren)";

/// All file members that are read. v3 and v2 yield equal snapshots of the same state.
///
/// - `trashed` is read from `explicitlyTrashed` in both: v3's `trashed` and v2's `labels.trashed`
///   are also true for files in a trashed folder, which get no change of their own when it is
///   restored.
/// - Of v2's `properties`, those with the visibility `PUBLIC` are v3's `properties`; `PRIVATE` ones
///   (the default when writing) are v3's `appProperties` and not synchronised.
/// - A v2 reader with the additional role `commenter` is v3's commenter. Items of shared drives
///   have no permissions in either version; see [`crate::DriveClient::with_permissions`].
/// - v2 moves a file by the parameters `addParents` and `removeParents` instead of a body member.
pub const TABLE: [Column; 24] = [
    read_only("file", "id", "id"),
    read_only("version", "version", "version"),
    read_write("name", "name", "title", "title"),
    read_write("description", "description", "description", "description"),
    read_write("starred", "starred", "labels(starred)", "labels.starred"),
    read_write(
        "trashed",
        "explicitlyTrashed",
        "explicitlyTrashed",
        "labels.trashed",
    ),
    read_write("parent", "parents", "parents(id)", "?addParents"),
    read_write(
        "properties",
        "properties",
        "properties(key,value,visibility)",
        "properties",
    ),
    read_only("mime_type", "mimeType", "mimeType"),
    read_only("size_bytes", "size", "fileSize"),
    read_only("md5", "md5Checksum", "md5Checksum"),
    read_only("sha256", "sha256Checksum", "sha256Checksum"),
    read_only("head_revision_id", "headRevisionId", "headRevisionId"),
    read_only("created_at", "createdTime", "createdDate"),
    read_only("modified_at", "modifiedTime", "modifiedDate"),
    read_only(
        "modified_by",
        "lastModifyingUser(emailAddress)",
        "lastModifyingUser(emailAddress)",
    ),
    read_only("owner", "owners(emailAddress)", "owners(emailAddress)"),
    read_only("drive_id", "driveId", "driveId"),
    // Includes `shortcut_mime_type`.
    read_only(
        "shortcut_target",
        "shortcutDetails(targetId,targetMimeType)",
        "shortcutDetails(targetId,targetMimeType)",
    ),
    read_only("capabilities", CAPABILITIES, CAPABILITIES),
    read_write(
        "permissions",
        permissions::V3,
        permissions::V2,
        "permissions.*",
    ),
    read_only("permission_ids", "permissionIds", "permissionIds"),
    read_only(
        "has_augmented_permissions",
        "hasAugmentedPermissions",
        "hasAugmentedPermissions",
    ),
    read_only(
        "inherited_permissions_disabled",
        "inheritedPermissionsDisabled",
        "inheritedPermissionsDisabled",
    ),
];

const fn read_only(ours: &'static str, v3: &'static str, v2: &'static str) -> Column {
    Column {
        ours,
        v3,
        v2,
        patched_as: None,
    }
}

const fn read_write(
    ours: &'static str,
    v3: &'static str,
    v2: &'static str,
    patched_as: &'static str,
) -> Column {
    Column {
        ours,
        v3,
        v2,
        patched_as: Some(patched_as),
    }
}

fn joined(name: impl Fn(&Column) -> &'static str) -> String {
    TABLE.iter().map(name).collect::<Vec<_>>().join(",")
}

/// The `fields` of `changes.list`.
pub(crate) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    let file = joined(|column| column.v3);
    format!(
        "nextPageToken,newStartPageToken,\
         changes(changeType,time,removed,driveId,drive(id,name),fileId,file({file}))"
    )
});

/// The `fields` of `files.list`.
pub(crate) static LISTING: LazyLock<String> = LazyLock::new(|| {
    let file = joined(|column| column.v3);
    format!("nextPageToken,incompleteSearch,files({file})")
});

/// The `fields` of a `files.list` that lists ids.
pub(crate) const LISTED_IDS: &str = "nextPageToken,incompleteSearch,files(id,name,driveId,version)";

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
    fn exactly_the_writable_fields_have_a_place_in_a_patch() {
        let written = TABLE.iter().filter(|column| column.patched_as.is_some());
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
    fn every_known_capability_is_requested() {
        let all = format!("capabilities({})", Capabilities::NAMES.join(","));
        assert_eq!(CAPABILITIES, all);
    }
}
