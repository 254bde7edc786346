//! Permissions as callers see them.

use std::collections::BTreeMap;

use domain::derive::{Grant, RoleOrigin};
use domain::{DriveMetadata, Field, FileId, FileRecord, ObservedPermission, Value, ValueRefused};
use serde::Serialize;
use store::Connection;
use utoipa::ToSchema;

use crate::files::derived::DerivedView;
use crate::files::file_patch::pointer_of;
use crate::http::Problem;
use crate::{Deps, lookups};

/// A permission as Drive shows it on the file. An inherited one can only be changed at its origin.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent flags of Drive's"
)]
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Permission)]
pub(crate) struct PermissionView {
    /// Drive's id of the permission.
    id: String,
    /// `user:a@b.c`, `group:a@b.c`, `domain:b.c`, `anyone`, or `id:` and the id if Drive names no
    /// account: the key in `fields.permissions` if the permission is direct.
    principal: String,
    /// The effective role, as Drive names it.
    role: String,
    /// Whether it is on the file itself, with the role in `fields.permissions`: it can be changed
    /// and removed here.
    direct: bool,
    /// Whether it comes from a folder above or from membership of the shared drive: it can't be
    /// removed here.
    inherited: bool,
    /// The folder or shared drive that it is inherited from; Drive states it in shared drives only.
    inherited_from: Option<String>,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Whether the account has been deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// Whether the account has been asked to become the owner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pending_owner: bool,
    /// The view of the file that it grants, if it does not grant a role on the file itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<String>,
}

impl PermissionView {
    /// Returns a file's permissions; `None` if Drive does not show them to the connection's user or
    /// there are more than are stored.
    pub(crate) fn list(metadata: &DriveMetadata) -> Option<Vec<Self>> {
        let known = metadata.permissions_known;
        known.then(|| metadata.permissions.iter().map(Self::new).collect())
    }

    fn new(permission: &ObservedPermission) -> Self {
        Self {
            id: permission.shown_id().to_owned(),
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

/// Returns the effective roles on a file if an edit removes any role; none otherwise.
pub(crate) async fn effective_if_removing(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
    values: &BTreeMap<Field, Value>,
) -> Result<BTreeMap<String, Grant>, Problem> {
    if !removes_any(values) {
        return Ok(BTreeMap::new());
    }
    let record = lookups::file(deps, &connection.key, file).await?;
    let mut derived = DerivedView::new(deps, connection);
    derived.load_ancestors([&record]).await?;
    Ok(derived.permissions(&record))
}

fn removes_any(values: &BTreeMap<Field, Value>) -> bool {
    let removes = |(field, value): (&Field, &Value)| {
        matches!(field, Field::Permission(_)) && *value == Value::Null
    };
    values.iter().any(removes)
}

/// Refuses an edit that would remove a role that the file only inherits. The detail names its
/// origin.
pub(crate) fn refuse_removing_inherited(
    record: &FileRecord,
    values: &BTreeMap<Field, Value>,
    effective: &BTreeMap<String, Grant>,
) -> Result<(), Problem> {
    for (field, value) in values {
        let Field::Permission(principal) = field else {
            continue;
        };
        let sides = record.sides(field);
        let nothing_direct = sides.app == Value::Null && *sides.drive() == Value::Null;
        let from = match effective.get(principal).map(|grant| &grant.origin) {
            Some(RoleOrigin::Folder(id)) => Some(id.to_string()),
            Some(RoleOrigin::Beyond(from)) => from.clone(),
            Some(RoleOrigin::Own) | None => continue,
        };
        if *value == Value::Null && nothing_direct {
            let why = ValueRefused::Inherited { from };
            return Err(Problem::value(field, &why, pointer_of(field)));
        }
    }
    Ok(())
}
