//! v3 `permissions`: of files, of folders, and (by the id of a shared drive) of its members.

use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Simulator,
    clock::{parse_time, rfc3339},
    errors::DriveError,
    fields::{Object, Selection},
    http::{Answer, Call, body, drives::page_size, endpoint, methods, shapes_v3},
    ids::{FileId, UserId},
    state::{
        access::{Effective, Permission, Principal},
        item::{Home, Role},
        permissions::PermissionPatch,
    },
};

/// The routes of permissions.
pub(crate) fn routes() -> Router<Simulator> {
    Router::new()
        .route(
            "/drive/v3/files/{id}/permissions",
            get(endpoint(&methods::PERMISSIONS_LIST, list))
                .post(endpoint(&methods::PERMISSIONS_CREATE, create)),
        )
        .route(
            "/drive/v3/files/{id}/permissions/{permission}",
            get(endpoint(&methods::PERMISSIONS_GET, get_one))
                .patch(endpoint(&methods::PERMISSIONS_UPDATE, update))
                .delete(endpoint(&methods::PERMISSIONS_DELETE, delete)),
        )
}

/// A permission as a client writes it. What cannot be written is seen to before.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PermissionBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    email_address: Option<String>,
    domain: Option<String>,
    allow_file_discovery: Option<bool>,
    expiration_time: Option<String>,
}

const WRITABLE_IN_CREATE: &str =
    "kind type role emailAddress domain allowFileDiscovery expirationTime pendingOwner view";
const WRITABLE_IN_UPDATE: &str = "kind role expirationTime pendingOwner";

fn permission_body(call: &Call, writable: &str) -> Result<PermissionBody, DriveError> {
    let value = body::resource(&call.body, &shapes_v3::PERMISSION)?;
    let fits = |name: &String| writable.split_ascii_whitespace().any(|known| known == name);
    let mut names = value
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    if names.all(fits) {
        body::typed(value)
    } else {
        Err(DriveError::not_writable(
            "The resource body includes fields which are not directly writable.",
        ))
    }
}

impl PermissionBody {
    fn role(&self, call: &Call) -> Result<Option<Role>, DriveError> {
        let Some(text) = self.role.as_deref() else {
            return Ok(None);
        };
        let role = Role::parse(text).ok_or_else(|| {
            DriveError::invalid_because(
                "permission.role",
                "The specified role is invalid or not supported.",
            )
        })?;
        if role != Role::Owner {
            return Ok(Some(role));
        }
        if call.params.flag("transferOwnership", false)? {
            return Err(DriveError::not_implemented("the transfer of ownership"));
        }
        Err(DriveError::new(
            403,
            "forbidden",
            "The transferOwnership parameter must be enabled when the permission role is 'owner'.",
        )
        .at("transferOwnership"))
    }

    fn expires_ms(&self) -> Result<Option<i64>, DriveError> {
        self.expiration_time
            .as_deref()
            .map(|text| {
                parse_time(text).ok_or_else(|| DriveError::invalid("permission.expirationTime"))
            })
            .transpose()
    }

    fn principal(&self) -> Result<Principal, DriveError> {
        let address = || {
            self.email_address
                .clone()
                .filter(|address| address.contains('@'))
                .ok_or_else(|| {
                    DriveError::invalid_because(
                        "permission.emailAddress",
                        "The specified emailAddress is invalid or not applicable for the given permission type.",
                    )
                })
        };
        match self.kind.as_deref() {
            Some("user") => Ok(Principal::User(UserId::from_email(&address()?))),
            Some("group") => Ok(Principal::Group(address()?)),
            Some("domain") => {
                let domain = self.domain.clone().filter(|name| !name.is_empty());
                domain.map(Principal::Domain).ok_or_else(|| {
                    DriveError::invalid_because(
                        "permission.domain",
                        "The specified domain is invalid or not applicable for the given permission type.",
                    )
                })
            }
            Some("anyone") => Ok(Principal::Anyone),
            Some(_) => Err(DriveError::invalid_because(
                "permission.type",
                "The specified type is invalid or not supported.",
            )),
            None => Err(DriveError::required("permission.type")),
        }
    }
}

/// `permissions.list`: at most a hundred to a page for items of shared drives, all of them otherwise, unless asked.
async fn list(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let asked = page_size(&call)?;
    let (permissions, next) = simulator.with(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        let id: FileId = view.item.id.clone();
        let size = match view.home {
            Home::Shared(_) => asked.unwrap_or(100),
            Home::MyDrive(_) => asked.unwrap_or(usize::MAX),
        };
        let after = state.permission_position(&call.user, &id, call.params.text("pageToken"))?;
        let all = state.permissions(&call.user, id.as_str(), true)?;
        let mut page: Vec<Effective> = all
            .into_iter()
            .filter(|known| after.as_ref().is_none_or(|after| known.id > *after))
            .collect();
        let more = page.len() > size;
        page.truncate(size);
        let next = page
            .last()
            .filter(|_| more)
            .map(|last| state.permission_token(&call.user, &id, &last.id));
        Ok((page, next))
    })?;
    let mut out = Object::new(&call.selection);
    out.put("kind", || "drive#permissionList");
    out.put_some("nextPageToken", || next);
    out.put_built("permissions", |inner| {
        Some(
            permissions
                .iter()
                .map(|permission| render(permission, inner))
                .collect(),
        )
    });
    Ok(Answer::Json(out.finish()))
}

/// `permissions.get`.
async fn get_one(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, wanted) = (call.path("id")?, call.path("permission")?);
    let all_drives = call.all_drives()?;
    let found = simulator.with(|state| state.permission(&call.user, id, wanted, all_drives))?;
    Ok(Answer::Json(render(&found, &call.selection)))
}

/// `permissions.create`.
async fn create(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let body = permission_body(&call, WRITABLE_IN_CREATE)?;
    let principal = body.principal()?;
    let role = body
        .role(&call)?
        .ok_or_else(|| DriveError::required("permission.role"))?;
    let linked = matches!(principal, Principal::Anyone | Principal::Domain(_));
    let granted = Permission {
        discoverable: !linked || body.allow_file_discovery.unwrap_or(false),
        principal,
        role,
        expires_ms: body.expires_ms()?,
    };
    let made = simulator.with(|state| state.share(&call.user, id, granted, all_drives))?;
    Ok(Answer::Json(render(&made, &call.selection)))
}

/// `permissions.update`.
async fn update(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, permission) = (call.path("id")?, call.path("permission")?);
    let all_drives = call.all_drives()?;
    let body = permission_body(&call, WRITABLE_IN_UPDATE)?;
    let endless = call.params.flag("removeExpiration", false)?;
    let patch = PermissionPatch {
        role: body.role(&call)?,
        expires_ms: match body.expires_ms()? {
            None if endless => Some(None),
            None => None,
            Some(end) => Some(Some(end)),
        },
    };
    let changed =
        simulator.with(|state| state.reshare(&call.user, id, permission, patch, all_drives))?;
    Ok(Answer::Json(render(&changed, &call.selection)))
}

/// `permissions.delete`.
async fn delete(simulator: Simulator, call: Call) -> Result<Answer, DriveError> {
    let (id, permission) = (call.path("id")?, call.path("permission")?);
    let all_drives = call.all_drives()?;
    simulator.with(|state| state.unshare(&call.user, id, permission, all_drives))?;
    Ok(Answer::Empty)
}

/// A permission as v3 shows it.
pub(crate) fn render(permission: &Effective, selection: &Selection) -> Value {
    let granted = &permission.granted;
    let mut out = Object::new(selection);
    out.put("kind", || "drive#permission");
    out.put("id", || permission.id.as_str());
    out.put("type", || granted.principal.kind());
    out.put("role", || granted.role.as_str());
    match &granted.principal {
        Principal::User(user) => {
            out.put("emailAddress", || user.email());
            out.put("displayName", || user.as_str());
            out.put("deleted", || false);
            out.put("pendingOwner", || false);
        }
        Principal::Group(address) => {
            out.put("emailAddress", || address.as_str());
            out.put("displayName", || address.as_str());
            out.put("deleted", || false);
        }
        Principal::Domain(name) => {
            out.put("domain", || name.as_str());
            out.put("displayName", || name.as_str());
            out.put("allowFileDiscovery", || granted.discoverable);
        }
        Principal::Anyone => out.put("allowFileDiscovery", || granted.discoverable),
    }
    out.put_some("expirationTime", || granted.expires_ms.map(rfc3339));
    out.put("permissionDetails", || details(permission));
    out.finish()
}

/// The parts of a permission: what stands on the item, and what comes from above.
pub(crate) fn details(permission: &Effective) -> Value {
    permission
        .details
        .iter()
        .map(|detail| {
            let mut part = serde_json::json!({
                "permissionType": if detail.member { "member" } else { "file" },
                "role": detail.role.as_str(),
                "inherited": detail.inherited_from.is_some(),
            });
            if let (Some(from), Some(members)) = (&detail.inherited_from, part.as_object_mut()) {
                members.insert("inheritedFrom".to_owned(), Value::from(from.as_str()));
            }
            part
        })
        .collect()
}
