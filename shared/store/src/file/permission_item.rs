//! A file's permissions in the form that items store.

use domain::{DriveMetadata, ObservedPermission, Timestamp};
use serde::{Deserialize, Serialize};

/// Empty members are left out, and the whole of it if nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PermissionsItem {
    /// Present and empty: no visible permission. Absent: unknown.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<PermissionItem>>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    ids: Option<u64>,
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    inherited_disabled: bool,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    augmented: Option<bool>,
}

/// `p` principal, `i` id, `r` role, `f` flags, and rare members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PermissionItem {
    #[serde(rename = "p")]
    principal: String,
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "r")]
    role: String,
    #[serde(rename = "f", default)]
    flags: u8,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    inherited_from: Option<String>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    view: Option<String>,
}

const DIRECT: u8 = 1;
const INHERITED: u8 = 2;
const DELETED: u8 = 4;
const PENDING_OWNER: u8 = 8;

impl From<&DriveMetadata> for PermissionsItem {
    fn from(metadata: &DriveMetadata) -> Self {
        let items = || metadata.permissions.iter().map(Into::into).collect();
        Self {
            permissions: metadata.permissions_known.then(items),
            left_out: (metadata.permissions_left_out > 0).then_some(metadata.permissions_left_out),
            ids: metadata.permission_ids,
            inherited_disabled: metadata.inherited_permissions_disabled,
            augmented: metadata.has_augmented_permissions,
        }
    }
}

impl PermissionsItem {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the metadata with the permissions of the item.
    pub(crate) fn into_metadata(self, metadata: DriveMetadata) -> DriveMetadata {
        DriveMetadata {
            permissions_known: self.permissions.is_some(),
            permissions: self
                .permissions
                .unwrap_or_default()
                .into_iter()
                .map(Into::into)
                .collect(),
            permissions_left_out: self.left_out.unwrap_or_default(),
            permission_ids: self.ids,
            inherited_permissions_disabled: self.inherited_disabled,
            has_augmented_permissions: self.augmented,
            ..metadata
        }
    }
}

impl From<&ObservedPermission> for PermissionItem {
    fn from(permission: &ObservedPermission) -> Self {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            principal: permission.principal.clone(),
            id: permission.id.clone(),
            role: permission.role.clone(),
            flags: flag(permission.direct, DIRECT)
                | flag(permission.inherited, INHERITED)
                | flag(permission.deleted, DELETED)
                | flag(permission.pending_owner, PENDING_OWNER),
            inherited_from: permission.inherited_from.clone(),
            expires_at: permission.expires_at.map(Timestamp::as_millis),
            view: permission.view.clone(),
        }
    }
}

impl From<PermissionItem> for ObservedPermission {
    fn from(item: PermissionItem) -> Self {
        let is = |bit: u8| item.flags & bit != 0;
        Self {
            direct: is(DIRECT),
            inherited: is(INHERITED),
            deleted: is(DELETED),
            pending_owner: is(PENDING_OWNER),
            principal: item.principal,
            id: item.id,
            role: item.role,
            inherited_from: item.inherited_from,
            expires_at: item.expires_at.map(Timestamp::from_millis),
            view: item.view,
        }
    }
}
