//! Permissions as callers see them.

use domain::{Mirror, MirroredPermission};
use serde::Serialize;
use utoipa::ToSchema;

/// One permission as Drive shows it on the file. What is inherited can only be changed where it comes from.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are Drive's own flags, each by itself"
)]
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Permission)]
pub(crate) struct PermissionView {
    /// Drive's id of it.
    id: String,
    /// `user:a@b.c`, `group:a@b.c`, `domain:b.c`, `anyone`, or `id:` and the id where Drive names nobody:
    /// the key in `fields.permissions`, where it is direct.
    principal: String,
    /// The role that counts, in Drive's word.
    role: String,
    /// On the file itself, with the role in `fields.permissions`: it can be changed and removed here.
    direct: bool,
    /// From a folder above, or from membership of the shared drive: it can't be removed here.
    inherited: bool,
    /// Where from; Drive says so in shared drives only.
    inherited_from: Option<String>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The account is deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// Asked to take the file over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pending_owner: bool,
    /// It opens only a view of the file, and is no role on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<String>,
}

impl PermissionView {
    /// What Drive shows of a file's permissions; `None` where it does not show them to us, or where there
    /// are more than are kept.
    pub(crate) fn all_of(mirror: &Mirror) -> Option<Vec<Self>> {
        let known = mirror.permissions_known;
        known.then(|| mirror.permissions.iter().map(Self::new).collect())
    }

    fn new(permission: &MirroredPermission) -> Self {
        Self {
            id: permission.id.clone(),
            principal: permission.principal.clone(),
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
