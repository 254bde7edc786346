//! What a mirror knows of a file's permissions, as a message holds it.

use domain::{Mirror, MirroredPermission, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Unreadable;

/// What is empty is left out, and the whole of it where nothing is known.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PermissionsBody {
    /// There and empty: nobody has access that we would see. Not there: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list: Option<Vec<PermissionBody>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<u32>,
    /// In digits: JSON's numbers are too small for it elsewhere.
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

    /// The mirror with what the body knows of its permissions.
    pub(crate) fn into_mirror(self, mirror: Mirror) -> Result<Mirror, Unreadable> {
        let known = self.list.is_some();
        let list = self.list.into_iter().flatten().map(PermissionBody::read);
        let ids = self.ids.map(|digits| digits.parse()).transpose();
        Ok(Mirror {
            permissions: list.collect::<Result<_, _>>()?,
            permissions_known: known,
            permissions_left_out: self.left_out.unwrap_or_default(),
            permission_ids: ids.map_err(|_| Unreadable::Member("mirror"))?,
            inherited_permissions_disabled: self.inherited_disabled,
            has_augmented_permissions: self.augmented,
            ..mirror
        })
    }
}

impl From<&Mirror> for PermissionsBody {
    fn from(mirror: &Mirror) -> Self {
        let list = || mirror.permissions.iter().map(Into::into).collect();
        Self {
            list: mirror.permissions_known.then(list),
            left_out: (mirror.permissions_left_out > 0).then_some(mirror.permissions_left_out),
            ids: mirror.permission_ids.map(|digest| digest.to_string()),
            inherited_disabled: mirror.inherited_permissions_disabled,
            augmented: mirror.has_augmented_permissions,
        }
    }
}

impl From<&MirroredPermission> for PermissionBody {
    fn from(permission: &MirroredPermission) -> Self {
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
    fn read(self) -> Result<MirroredPermission, Unreadable> {
        let expires_at = match self.expires_at {
            None => None,
            Some(text) => match Timestamp::parse_rfc3339(&text) {
                None => return Err(Unreadable::Member("mirror")),
                at => at,
            },
        };
        Ok(MirroredPermission {
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
    fn what_is_known_of_permissions_survives_the_queue_and_what_is_not_stays_unknown() {
        let shared = MirroredPermission {
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
        let of = |permissions: Vec<MirroredPermission>, known: bool| Mirror {
            permissions,
            permissions_known: known,
            permissions_left_out: 0,
            permission_ids: Some(u64::MAX),
            inherited_permissions_disabled: true,
            has_augmented_permissions: Some(true),
            ..Mirror::default()
        };
        for mirror in [of(vec![shared], true), of(vec![], true), of(vec![], false)] {
            let json = serde_json::to_string(&PermissionsBody::from(&mirror)).unwrap();
            let body: PermissionsBody = serde_json::from_str(&json).unwrap();
            assert_eq!(body.into_mirror(Mirror::default()).unwrap(), mirror);
        }
        assert!(PermissionsBody::from(&Mirror::default()).is_empty());
    }
}
