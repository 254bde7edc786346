//! Permissions as callers see them.

use std::collections::BTreeMap;

use domain::derive::{Grant, Origin};
use domain::{Field, FileId, FileRecord, Mirror, MirroredPermission, Value, ValueRefused};
use serde::Serialize;
use store::Connection;
use utoipa::ToSchema;

use crate::file_patch::pointer_of;
use crate::meaning::Meaning;
use crate::problem::Problem;
use crate::{Deps, record};

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

/// The roles that reach a file, where an edit takes one away: it must be one of the file's own.
///
/// # Errors
/// 404 where there is no record, 503 where the table did not answer.
pub(crate) async fn reaching(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
    values: &BTreeMap<Field, Value>,
) -> Result<BTreeMap<String, Grant>, Problem> {
    if !removes_any(values) {
        return Ok(BTreeMap::new());
    }
    let record = record::file(deps, &connection.key, file).await?;
    let mut meaning = Meaning::of(deps, connection);
    meaning.climb([&record]).await?;
    Ok(meaning.permissions(&record))
}

fn removes_any(values: &BTreeMap<Field, Value>) -> bool {
    let removes = |(field, value): (&Field, &Value)| {
        matches!(field, Field::Permission(_)) && *value == Value::Null
    };
    values.iter().any(removes)
}

/// Refuses an edit that would remove a role which the file has only from above: where it has to be removed
/// is in the detail.
pub(crate) fn nothing_inherited_is_removed(
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
            Some(Origin::Folder(id)) => Some(id.to_string()),
            Some(Origin::Beyond(from)) => from.clone(),
            Some(Origin::Own) | None => continue,
        };
        if *value == Value::Null && nothing_direct {
            let why = ValueRefused::Inherited { from };
            return Err(Problem::value(field, &why, pointer_of(field)));
        }
    }
    Ok(())
}
