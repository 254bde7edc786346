//! v3 `permissions`: of files, of folders, and of the members of a shared drive, by the drive's id.

use axum::{Router, routing::get};
use serde::Deserialize;

use crate::{
    clock::parse_time,
    errors::DriveError,
    fields::Object,
    http::{
        call::Call,
        endpoint::endpoint,
        methods, request_body,
        response::ApiResponse,
        v3::{resources_v3, shapes_v3},
    },
    ids::{FileId, UserId},
    simulator::Simulator,
    state::{
        items::item::Home,
        sharing::{
            access::EffectivePermission,
            item_permissions::PermissionPatch,
            permission::{Permission, Principal, Role},
        },
    },
};

/// Returns the routes of permissions.
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

/// A permission as a client sends it. [`permission_body`] refuses members that are not writable.
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
    let value = request_body::parse_resource(&call.body, &shapes_v3::PERMISSION)?;
    let fits = |name: &String| writable.split_ascii_whitespace().any(|known| known == name);
    let mut names = value
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    if names.all(fits) {
        request_body::deserialize(value)
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
                        "The specified emailAddress is invalid or not applicable for the given \
                         permission type.",
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
                        "The specified domain is invalid or not applicable for the given \
                         permission type.",
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

/// `permissions.list`: without `pageSize`, 100 per page for items of shared drives, and all on one
/// page otherwise.
async fn list(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, all_drives) = (call.path("id")?, call.all_drives()?);
    let requested = call.params.page_size_max_100()?;
    let (permissions, next) = simulator.with_state(|state| {
        let view = state.find(&call.user, id, all_drives)?;
        let id: FileId = view.item.id.clone();
        let size = match view.home {
            Home::Shared(_) => requested.unwrap_or(100),
            Home::MyDrive(_) => requested.unwrap_or(usize::MAX),
        };
        let after = state.permission_position(&call.user, &id, call.params.text("pageToken"))?;
        let all = state.permissions(&call.user, id.as_str(), true)?;
        let mut page: Vec<EffectivePermission> = all
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
                .map(|permission| resources_v3::permission(permission, inner))
                .collect(),
        )
    });
    Ok(ApiResponse::Json(out.finish()))
}

/// `permissions.get`.
async fn get_one(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, wanted) = (call.path("id")?, call.path("permission")?);
    let all_drives = call.all_drives()?;
    let found =
        simulator.with_state(|state| state.permission(&call.user, id, wanted, all_drives))?;
    Ok(ApiResponse::Json(resources_v3::permission(
        &found,
        &call.selection,
    )))
}

/// `permissions.create`.
async fn create(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
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
    let made = simulator.with_state(|state| state.share(&call.user, id, granted, all_drives))?;
    Ok(ApiResponse::Json(resources_v3::permission(
        &made,
        &call.selection,
    )))
}

/// `permissions.update`.
async fn update(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
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
    let changed = simulator.with_state(|state| {
        state.update_permission(&call.user, id, permission, patch, all_drives)
    })?;
    Ok(ApiResponse::Json(resources_v3::permission(
        &changed,
        &call.selection,
    )))
}

/// `permissions.delete`.
async fn delete(simulator: Simulator, call: Call) -> Result<ApiResponse, DriveError> {
    let (id, permission) = (call.path("id")?, call.path("permission")?);
    let all_drives = call.all_drives()?;
    simulator.with_state(|state| state.unshare(&call.user, id, permission, all_drives))?;
    Ok(ApiResponse::Empty)
}
