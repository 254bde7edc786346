//! The permissions of a file's metadata in a message body.

use domain::{DriveMetadata, ObservedPermission, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Unreadable;

/// The permissions of a file. Empty members are omitted, and the whole object if nothing is known.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PermissionsBody {
    /// Empty: no visible permissions. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Vec<PermissionBody>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
    /// Decimal digits: other JSON implementations lose precision above 2^53.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ids: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inherited_disabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    augmented: Option<bool>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PermissionBody {
    principal: String,
    id: String,
    role: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    direct: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inherited: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inherited_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pending_owner: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    view: Option<String>,
}

impl PermissionsBody {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the permissions to the metadata.
    pub(crate) fn add_to(self, metadata: DriveMetadata) -> Result<DriveMetadata, Unreadable> {
        let known = self.list.is_some();
        let list = self.list.into_iter().flatten().map(PermissionBody::read);
        let ids = self.ids.map(|digits| digits.parse()).transpose();
        Ok(DriveMetadata {
            permissions: list.collect::<Result<_, _>>()?,
            permissions_known: known,
            permissions_left_out: self.left_out.unwrap_or_default(),
            permission_ids: ids.map_err(|_| Unreadable::Member("mirror"))?,
            inherited_permissions_disabled: self.inherited_disabled,
            has_augmented_permissions: self.augmented,
            ..metadata
        })
    }
}

impl From<&DriveMetadata> for PermissionsBody {
    fn from(metadata: &DriveMetadata) -> Self {
        let list = || metadata.permissions.iter().map(Into::into).collect();
        Self {
            list: metadata.permissions_known.then(list),
            left_out: (metadata.permissions_left_out > 0).then_some(metadata.permissions_left_out),
            ids: metadata.permission_ids.map(|digest| digest.to_string()),
            inherited_disabled: metadata.inherited_permissions_disabled,
            augmented: metadata.has_augmented_permissions,
        }
    }
}

impl From<&ObservedPermission> for PermissionBody {
    fn from(permission: &ObservedPermission) -> Self {
        Self {
            principal: permission.principal.clone(),
            id: permission.id.clone(),
            role: permission.role.clone(),
            direct: permission.direct,
            inherited: permission.inherited,
            inherited_from: permission.inherited_from.clone(),
            expires_at: permission.expires_at.map(|at| at.to_string()),
            deleted: permission.deleted,
            pending_owner: permission.pending_owner,
            view: permission.view.clone(),
        }
    }
}

impl PermissionBody {
    fn read(self) -> Result<ObservedPermission, Unreadable> {
        let expires_at = match self.expires_at {
            None => None,
            Some(text) => match Timestamp::parse_rfc3339(&text) {
                None => return Err(Unreadable::Member("mirror")),
                at => at,
            },
        };
        Ok(ObservedPermission {
            principal: self.principal,
            id: self.id,
            role: self.role,
            direct: self.direct,
            inherited: self.inherited,
            inherited_from: self.inherited_from,
            expires_at,
            deleted: self.deleted,
            pending_owner: self.pending_owner,
            view: self.view,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_survive_the_queue_and_unknown_ones_stay_unknown() {
        let shared = ObservedPermission {
            principal: "user:bo@example.com".to_owned(),
            id: "0717".to_owned(),
            role: "unheardOf".to_owned(),
            direct: true,
            inherited: true,
            inherited_from: Some("0Drive".to_owned()),
            expires_at: Some(Timestamp::from_millis(1_795_251_600_123)),
            deleted: true,
            pending_owner: true,
            view: Some("metadata".to_owned()),
        };
        let metadata = |permissions: Vec<ObservedPermission>, known: bool| DriveMetadata {
            permissions,
            permissions_known: known,
            permissions_left_out: 0,
            permission_ids: Some(u64::MAX),
            inherited_permissions_disabled: true,
            has_augmented_permissions: Some(true),
            ..DriveMetadata::default()
        };
        for metadata in [
            metadata(vec![shared], true),
            metadata(vec![], true),
            metadata(vec![], false),
        ] {
            let json = serde_json::to_string(&PermissionsBody::from(&metadata)).unwrap();
            let body: PermissionsBody = serde_json::from_str(&json).unwrap();
            assert_eq!(body.add_to(DriveMetadata::default()).unwrap(), metadata);
        }
        assert!(PermissionsBody::from(&DriveMetadata::default()).is_empty());
    }
}
