//! Who may do what with a file: Drive's permissions into domain values, listed and written one at a time.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Field, FileId, Mirror, MirroredPermission, OWNER, PERMISSIONS_MAX, ROLES, Snapshot, Timestamp,
    Value, principal_of,
};
use http::Method;
use serde::{Deserialize, Serialize};

use crate::request::{Call, parsed, unclear};
use crate::{DriveClient, DriveError, Kind, Read};

/// What is asked of one permission in v3. `permissionDetails` says what of it is inherited.
pub(crate) const V3: &str = "permissions(id,type,role,emailAddress,domain,expirationTime,deleted,pendingOwner,view,\
permissionDetails(role,inherited,inheritedFrom))";
/// The same in v2, where a commenter is a reader with an additional role.
pub(crate) const V2: &str = "permissions(id,type,role,additionalRoles,emailAddress,domain,expirationDate,deleted,pendingOwner,view,\
permissionDetails(role,additionalRoles,inherited,inheritedFrom))";

/// Drive's largest page of permissions, in a shared drive also its default.
const PAGE_SIZE: &str = "100";
/// Pages of one file's permissions: many times those that [`PERMISSIONS_MAX`] fill, since Drive may give fewer to a
/// page, and none.
const PAGES_MAX: usize = 20;

/// Drive names a next page again and again.
#[derive(Debug, thiserror::Error)]
#[error("the list of permissions does not end")]
struct Endless;

/// A permission as v3 or v2 shows it.
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

/// A role in v3's words: v2's reader that may comment is a commenter.
fn role(role: Option<String>, additional: &[String]) -> String {
    let role = role.unwrap_or_default();
    if role == "reader" && additional.iter().any(|role| role == "commenter") {
        return "commenter".to_owned();
    }
    role
}

/// A role's weight among the direct parts of one permission; one that we don't know counts least, so that
/// it is shown only where nothing else is.
fn weight(role: &str) -> usize {
    if role == OWNER {
        return ROLES.len() + 1;
    }
    let known = ROLES.iter().position(|known| *known == role);
    known.map_or(0, |at| at + 1)
}

/// Puts permissions into a snapshot that was made without: the direct ones as fields, all of them into
/// the mirror. More than [`PERMISSIONS_MAX`] are counted and left out, and are not known then.
pub(crate) fn put(
    all: Vec<Wire>,
    fields: &mut BTreeMap<Field, Value>,
    mirror: &mut Mirror,
) -> Result<(), NoId> {
    if all.len() > PERMISSIONS_MAX {
        mirror.permissions_left_out = u32::try_from(all.len()).unwrap_or(u32::MAX);
        return Ok(());
    }
    let mut read = Vec::with_capacity(all.len());
    for wire in all {
        read.push(permission(wire)?);
    }
    // One principal can have a second permission (`anyone` with and without the link): it goes by its id.
    read.sort_by(|one, other| one.0.id.cmp(&other.0.id));
    let mut named = BTreeSet::new();
    for (mut permission, direct) in read {
        if permission.view.is_some() || !named.insert(permission.principal.clone()) {
            permission.principal = format!("id:{}", permission.id);
        }
        if let Some(role) = direct {
            let field = Field::Permission(permission.principal.clone());
            fields.insert(field, Value::Text(role));
        }
        mirror.permissions.push(permission);
    }
    mirror.permissions.sort();
    mirror.permissions_known = true;
    Ok(())
}

/// A permission that can't be told from others.
#[derive(Debug)]
pub(crate) struct NoId;

/// A permission, and its role on the file itself where it has one there.
fn permission(wire: Wire) -> Result<(MirroredPermission, Option<String>), NoId> {
    let id = wire.id.filter(|id| !id.is_empty()).ok_or(NoId)?;
    let effective = role(wire.role, &wire.additional_roles);
    let named = match wire.kind.as_deref() {
        Some("anyone") => Some("anyone".to_owned()),
        Some("domain") => wire.domain.map(|domain| format!("domain:{domain}")),
        // A type that we don't know survives, with the name that it has.
        Some(kind) => wire
            .email_address
            .map(|address| format!("{kind}:{address}")),
        None => None,
    };
    let named = named.filter(|_| !wire.deleted);
    let principal = named.map_or_else(|| format!("id:{id}"), |name| principal_of(&name));
    let (mut direct, mut inherited, mut inherited_from) = (None::<String>, false, None);
    match wire.permission_details {
        // Items of My Drive had none for long; without them a permission is on the file itself.
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
    // What opens only a view is no role on the file, and must never be taken for one.
    let direct = direct.filter(|_| wire.view.is_none());
    let expires_at = wire.expiration_time;
    let permission = MirroredPermission {
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

/// What `permissions.create` takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    r#type: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
}

/// What `permissions.update` takes.
#[derive(Serialize)]
struct Updated<'a> {
    role: &'a str,
}

impl DriveClient {
    /// A snapshot with its permissions, where those can only be listed; as it is where they are known
    /// already, can't be had, or Drive refuses to show them. Costs a `permissions.list` for every hundred.
    ///
    /// # Errors
    /// [`DriveError`] for whatever may be different the next time.
    pub async fn with_permissions(&self, snapshot: Snapshot) -> Result<Snapshot, DriveError> {
        if !snapshot.has_listed_permissions() {
            return Ok(snapshot);
        }
        let all = match self.list_permissions(&snapshot.file).await {
            Ok(all) => all,
            Err(error) => {
                return match error.kind() {
                    Kind::AccessDenied { .. } | Kind::NotFound | Kind::Permanent { .. } => {
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
        // One that has no id can't be written to or told apart: then the whole list is not known.
        Ok(match put(all, &mut with.fields, &mut with.mirror) {
            Ok(()) => with,
            Err(NoId) => snapshot,
        })
    }

    /// The complete state of a file, as [`DriveClient::read_file`] gives it, with its permissions wherever
    /// they can be had.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn read_with_permissions(&self, file: &FileId) -> Result<Read, DriveError> {
        let read = self.read_file(file).await?;
        let snapshot = self.with_permissions(read.snapshot).await?;
        Ok(Read { snapshot, ..read })
    }

    /// Every permission of a file, or of a shared drive by the id of its root. Stops listing once there are
    /// more than we keep.
    async fn list_permissions(&self, file: &FileId) -> Result<Vec<Wire>, DriveError> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let call = Call::new("permissions.list", Method::GET, path(file, None))
                .query("supportsAllDrives", "true")
                .query("pageSize", PAGE_SIZE)
                .query("fields", &format!("nextPageToken,{V3}"));
            // Not a position in a log: a token that is refused here fails this call and nothing else.
            let call = match &token {
                Some(token) => call.query("pageToken", token),
                None => call,
            };
            let body = self.call(&call).await?;
            let page: List = parsed(call.asked(), &body)?;
            all.extend(page.permissions);
            match page.next_page_token {
                Some(next) if all.len() <= PERMISSIONS_MAX => token = Some(next),
                Some(_) | None => return Ok(all),
            }
        }
        let asked = Call::new("permissions.list", Method::GET, path(file, None)).asked();
        Err(unclear(asked, Endless))
    }

    /// Gives a principal a role on the file itself, or with `Null` takes it away, without an e-mail to
    /// anyone. `read` is the file as it was just read, with its permissions.
    ///
    /// Drive has no condition for this, and "concurrent permissions operations on the same file aren't
    /// supported" (v3 reference): never two at a time for one file.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] where the permission went meanwhile, [`Kind::Permanent`] with the
    /// reason `notWritable` for a principal that nothing can be given to.
    pub async fn write_permission(
        &self,
        read: &Snapshot,
        principal: &str,
        role: &Value,
    ) -> Result<(), DriveError> {
        let held = read.mirror.permission(principal).filter(|held| held.direct);
        let call = match (role, held) {
            (Value::Null, None) => return Ok(()),
            (Value::Null, Some(held)) => {
                let path = path(&read.file, Some(&held.id));
                Call::new("permissions.delete", Method::DELETE, path)
            }
            (Value::Text(role), Some(held)) => {
                let path = path(&read.file, Some(&held.id));
                Call::new("permissions.update", Method::PATCH, path)
                    .query("fields", "id")
                    .json(&Updated { role })?
            }
            (Value::Text(role), None) => created(&read.file, principal, role)?,
            (Value::Flag(_), _) => return Err(not_writable("permissions.update")),
        };
        let call = call.query("supportsAllDrives", "true");
        match self.call(&call).await {
            Ok(_) => Ok(()),
            // It was there when we looked. Whether the file is, the next look at it says.
            Err(error) if *error.kind() == Kind::NotFound && held.is_some() => {
                Err(DriveError::new(call.asked().method, Kind::Stale).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

fn created(file: &FileId, principal: &str, role: &str) -> Result<Call, DriveError> {
    let (kind, name) = principal.split_once(':').unwrap_or((principal, ""));
    let body = Created {
        r#type: kind,
        role,
        email_address: matches!(kind, "user" | "group").then_some(name),
        domain: (kind == "domain").then_some(name),
    };
    if !matches!(kind, "user" | "group" | "domain" | "anyone") {
        return Err(not_writable("permissions.create"));
    }
    let call =
        Call::new("permissions.create", Method::POST, path(file, None)).query("fields", "id");
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

/// Ids of permissions come from Drive, and hold no character that a path could not; should one, it is
/// escaped rather than trusted.
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
