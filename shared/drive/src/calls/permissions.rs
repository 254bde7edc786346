//! Converts Drive's permissions into domain values, lists them, and writes them one at a time.

use std::collections::{BTreeMap, BTreeSet};

use domain::operation::{PageWalk, StopReason, WalkedPage, entries_hash};
use domain::trail::is_erased_name;
use domain::{
    DriveMetadata, Field, FileId, OWNER, ObservedPermission, PERMISSIONS_MAX, ROLES, Snapshot,
    Timestamp, Value, principal_of,
};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::calls::request::{Call, ambiguous, parse_json};
use crate::{DriveClient, DriveError, Kind, Read};

/// The requested members of a permission in v3. `permissionDetails` tells which parts are
/// inherited.
pub(crate) const V3: &str = "permissions(id,type,role,emailAddress,domain,expirationTime,deleted,\
pendingOwner,view,permissionDetails(role,inherited,inheritedFrom))";
/// The same of a single permission.
const V3_ONE: &str = "id,type,role,emailAddress,domain,expirationTime,deleted,pendingOwner,view,\
permissionDetails(role,inherited,inheritedFrom)";
/// The same in v2, where a commenter is a reader with an additional role.
pub(crate) const V2: &str = "permissions(id,type,role,additionalRoles,emailAddress,domain,\
expirationDate,deleted,pendingOwner,view,\
permissionDetails(role,additionalRoles,inherited,inheritedFrom))";

/// Drive's largest page of permissions; the default in a shared drive.
const PAGE_SIZE: &str = "100";

/// Drive keeps returning a token for a next page.
#[derive(Debug, thiserror::Error)]
#[error("the list of permissions does not end: {}", .0.label())]
struct Endless(StopReason);

/// A permission of v3 or v2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wire {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    #[serde(default)]
    additional_roles: Vec<String>,
    email_address: Option<String>,
    domain: Option<String>,
    #[serde(alias = "expirationDate")]
    expiration_time: Option<String>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    pending_owner: bool,
    view: Option<String>,
    permission_details: Option<Vec<Detail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    role: Option<String>,
    #[serde(default)]
    additional_roles: Vec<String>,
    #[serde(default)]
    inherited: bool,
    inherited_from: Option<String>,
}

/// v3 `drive#permissionList`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    next_page_token: Option<String>,
    #[serde(default)]
    permissions: Vec<Wire>,
}

/// Converts a role to v3: a v2 reader with the additional role `commenter` is a commenter.
fn role(role: Option<String>, additional: &[String]) -> String {
    let role = role.unwrap_or_default();
    if role == "reader" && additional.iter().any(|role| role == "commenter") {
        return "commenter".to_owned();
    }
    role
}

/// Returns the rank of a role among the direct parts of one permission. An unknown role ranks
/// lowest, so it is used only if there is no other.
fn weight(role: &str) -> usize {
    if role == OWNER {
        return ROLES.len() + 1;
    }
    let known = ROLES.iter().position(|known| *known == role);
    known.map_or(0, |at| at + 1)
}

/// Inserts permissions into a snapshot: the direct ones as fields, all of them into the metadata.
/// If there are more than [`PERMISSIONS_MAX`], they are only counted and not known.
pub(crate) fn insert(
    all: Vec<Wire>,
    fields: &mut BTreeMap<Field, Value>,
    metadata: &mut DriveMetadata,
) -> Result<(), NoId> {
    if all.len() > PERMISSIONS_MAX {
        metadata.permissions_left_out = u32::try_from(all.len()).unwrap_or(u32::MAX);
        return Ok(());
    }
    let mut read = Vec::with_capacity(all.len());
    for wire in all {
        read.push(permission(wire)?);
    }
    // A principal can have a second permission (`anyone` with and without the link), which is
    // identified by its id. The one on the file itself is the principal's: an inherited one can
    // not be edited here.
    read.sort_by(|(one, _), (other, _)| (!one.direct, &one.id).cmp(&(!other.direct, &other.id)));
    let mut named = BTreeSet::new();
    for (mut permission, direct) in read {
        if permission.view.is_some() || !named.insert(permission.principal.clone()) {
            permission.principal = format!("id:{}", permission.id);
        }
        if let Some(role) = direct {
            let field = Field::Permission(permission.principal.clone());
            fields.insert(field, Value::Text(role));
        }
        metadata.permissions.push(permission);
    }
    metadata.permissions.sort();
    metadata.permissions_known = true;
    Ok(())
}

/// A permission has no id.
#[derive(Debug)]
pub(crate) struct NoId;

/// Converts a permission, and returns it with its role on the file itself, if any.
fn permission(wire: Wire) -> Result<(ObservedPermission, Option<String>), NoId> {
    let id = wire.id.filter(|id| !id.is_empty()).ok_or(NoId)?;
    let effective = role(wire.role, &wire.additional_roles);
    let named = match wire.kind.as_deref() {
        Some("anyone") => Some("anyone".to_owned()),
        Some("domain") => wire.domain.map(|domain| format!("domain:{domain}")),
        // An unknown type is kept with its name.
        Some(kind) => wire
            .email_address
            .map(|address| format!("{kind}:{address}")),
        None => None,
    };
    let named = named.filter(|_| !wire.deleted);
    let principal = named.map_or_else(|| format!("id:{id}"), |name| principal_of(&name));
    let (mut direct, mut inherited, mut inherited_from) = (None::<String>, false, None);
    match wire.permission_details {
        // Older items of My Drive have no details; without them a permission is on the file itself.
        None => direct = Some(effective.clone()),
        Some(details) => {
            for detail in details {
                let own = role(detail.role, &detail.additional_roles);
                if detail.inherited {
                    inherited = true;
                    inherited_from = inherited_from.or(detail.inherited_from);
                } else if direct.as_deref().is_none_or(|d| weight(d) < weight(&own)) {
                    direct = Some(own);
                }
            }
        }
    }
    // A permission for a view only is not a role on the file.
    let direct = direct.filter(|_| wire.view.is_none());
    let expires_at = wire.expiration_time;
    let permission = ObservedPermission {
        principal,
        id,
        role: effective,
        direct: direct.is_some(),
        inherited,
        inherited_from,
        expires_at: expires_at.as_deref().and_then(Timestamp::parse_rfc3339),
        deleted: wire.deleted,
        pending_owner: wire.pending_owner,
        view: wire.view,
    };
    Ok((permission, direct))
}

/// The request body of `permissions.create`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody<'a> {
    r#type: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
}

/// The request body of `permissions.update`.
#[derive(Serialize)]
struct UpdateBody<'a> {
    role: &'a str,
}

impl DriveClient {
    /// Adds the permissions to a snapshot if they can only be listed. Returns the snapshot
    /// unchanged if they are known already, unavailable, or Drive refuses to list them. Costs one
    /// `permissions.list` per hundred permissions.
    ///
    /// # Errors
    /// [`DriveError`] for errors that a retry may not meet.
    pub async fn with_permissions(&self, snapshot: Snapshot) -> Result<Snapshot, DriveError> {
        if !snapshot.permissions_need_listing() {
            return Ok(snapshot);
        }
        let all = match self.list_permissions(&snapshot.file).await {
            Ok(all) => all,
            Err(error) => {
                return match error.kind() {
                    Kind::AccessDenied { .. } | Kind::NotFound | Kind::Permanent { .. } => {
                        Ok(snapshot)
                    }
                    // Refused for a reason that is not known: `forbidden`, for instance.
                    Kind::Transient if !error.is_outage() && error.reason().is_some() => {
                        Ok(snapshot)
                    }
                    Kind::CursorLost
                    | Kind::AuthLost { .. }
                    | Kind::RateLimited { .. }
                    | Kind::DailyLimit
                    | Kind::Stale
                    | Kind::BadContent(_)
                    | Kind::Transient
                    | Kind::Unanswered
                    | Kind::NotSent => Err(error),
                };
            }
        };
        let mut with = snapshot.clone();
        // A permission without an id can't be identified or written: then the whole list is
        // unknown.
        Ok(match insert(all, &mut with.fields, &mut with.metadata) {
            Ok(()) => with.without(&self.erased),
            Err(NoId) => snapshot,
        })
    }

    /// Reads a file as [`DriveClient::read_file`] does, with its permissions if they are available.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn read_with_permissions(&self, file: &FileId) -> Result<Read, DriveError> {
        let read = self.read_file(file).await?;
        let snapshot = self.with_permissions(read.snapshot).await?;
        Ok(Read { snapshot, ..read })
    }

    /// Lists all permissions of a file, or of a shared drive by the id of its root. Stops once
    /// there are more than are kept.
    async fn list_permissions(&self, file: &FileId) -> Result<Vec<Wire>, DriveError> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        let mut walk = PageWalk::default();
        loop {
            let call = Call::new("permissions.list", Method::GET, path(file, None))
                .query("supportsAllDrives", "true")
                .query("pageSize", PAGE_SIZE)
                .query("fields", &format!("nextPageToken,{V3}"));
            // Not a position in a log: a rejected token fails this call only.
            let call = match &token {
                Some(token) => call.query("pageToken", token),
                None => call,
            };
            let body = self.call(&call).await?;
            let page: List = parse_json(call.context(), &body)?;
            let entries = entries_hash(page.permissions.iter().map(|listed| listed.id.as_deref()));
            all.extend(page.permissions);
            let next = page.next_page_token;
            let Some(next) = next.filter(|_| all.len() <= PERMISSIONS_MAX) else {
                return Ok(all);
            };
            let step = WalkedPage {
                token: token.as_deref(),
                next: &next,
                entries,
            };
            walk = walk
                .follow(step)
                .map_err(|reason| ambiguous(call.context(), Endless(reason)))?;
            token = Some(next);
        }
    }

    /// Grants a principal a role on the file itself, or revokes it for `Null`, without a
    /// notification e-mail. `existing` is the permission that it has on the file itself: it is
    /// changed or deleted by its id, whatever its address is now. Returns the permission that Drive
    /// answered with; `None` after a revocation, or if the answer is not readable.
    ///
    /// Drive has no condition for this, and "concurrent permissions operations on the same file
    /// aren't supported" (v3 reference): the caller makes only one such call at a time per file.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] if the permission was removed meanwhile, [`Kind::Permanent`]
    /// with the reason `notWritable` for a principal that can't be granted a role.
    pub async fn write_permission(
        &self,
        file: &FileId,
        existing: Option<&ObservedPermission>,
        principal: &str,
        role: &Value,
    ) -> Result<Option<ObservedPermission>, DriveError> {
        let call = match (role, existing) {
            (Value::Null, None) => return Ok(None),
            (Value::Null, Some(existing)) => {
                let path = path(file, Some(&existing.id));
                Call::new("permissions.delete", Method::DELETE, path)
            }
            (Value::Text(role), Some(existing)) => {
                let path = path(file, Some(&existing.id));
                Call::new("permissions.update", Method::PATCH, path)
                    .query("fields", V3_ONE)
                    .json(&UpdateBody { role })?
            }
            (Value::Text(role), None) => create_call(file, principal, role)?,
            (Value::Flag(_), _) => return Err(not_writable("permissions.update")),
        };
        let call = call.query("supportsAllDrives", "true");
        match self.call(&call).await {
            Ok(_) if *role == Value::Null => Ok(None),
            Ok(body) => Ok(answered(body.text()).map(|shown| shown.without(&self.erased))),
            // The permission existed at the read. The next read tells whether the file still does.
            Err(error) if *error.kind() == Kind::NotFound && existing.is_some() => {
                Err(DriveError::new(call.context().method, Kind::Stale).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Reads the permission that Drive answered with: its role is the one on the file itself.
fn answered(body: &[u8]) -> Option<ObservedPermission> {
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let (answer, direct) = permission(wire).ok()?;
    let role = direct?;
    Some(ObservedPermission { role, ..answer })
}

fn create_call(file: &FileId, principal: &str, role: &str) -> Result<Call, DriveError> {
    let (kind, name) = principal.split_once(':').unwrap_or((principal, ""));
    let body = CreateBody {
        r#type: kind,
        role,
        email_address: matches!(kind, "user" | "group").then_some(name),
        domain: (kind == "domain").then_some(name),
    };
    // Whom the number of an erased person stands for is not known here.
    if !matches!(kind, "user" | "group" | "domain" | "anyone") || is_erased_name(name) {
        return Err(not_writable("permissions.create"));
    }
    let call =
        Call::new("permissions.create", Method::POST, path(file, None)).query("fields", V3_ONE);
    let call = match kind {
        "user" | "group" => call.query("sendNotificationEmail", "false"),
        _ => call,
    };
    call.json(&body)
}

fn not_writable(method: &'static str) -> DriveError {
    let reason = "notWritable".to_owned();
    DriveError::new(method, Kind::Permanent { reason })
}

/// Returns the path of a file's permissions, or of one of them. Permission ids come from Drive and
/// are escaped, although no known id needs it.
fn path(file: &FileId, permission: Option<&str>) -> String {
    let all = format!("/drive/v3/files/{file}/permissions");
    match permission {
        None => all,
        Some(id) => {
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            format!("{all}/{id}")
        }
    }
}
