//! The lines of an export: what is stored as JSON, with the names that the API has for it.

use domain::operation::ExportedKind;
use domain::{
    Choice, ConflictRecord, ConflictStatus, DriveMetadata, Field, FileRecord, Gone,
    ObservedPermission, Operation, Presence, Resolution, Timestamp, Value,
};
use serde_json::{Map, Value as Json, json};
use store::{
    Connection, ConnectionState, DeadLetter, DeadLetterAction, DeadLetterStatus, Exported,
    HistoryEntry, Scope,
};

/// A line of an export and its kind.
pub(crate) type Line = (ExportedKind, Map<String, Json>);

fn line(kind: ExportedKind, members: Json) -> Line {
    match members {
        Json::Object(members) => (kind, members),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            (kind, Map::new())
        }
    }
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Returns the line of a connection. It names no secret.
pub(crate) fn connection(connection: &Connection) -> Line {
    let state = match &connection.state {
        ConnectionState::Active => "active",
        ConnectionState::Paused => "paused",
        ConnectionState::Suspended { .. } => "suspended",
        ConnectionState::Deleting => "deleting",
    };
    let scope = match &connection.scope {
        Scope::User => json!({"type": "user"}),
        Scope::SharedDrive(drive) => json!({"type": "shared_drive", "drive_id": drive}),
    };
    let access = connection.access.as_ref().map(|access| {
        let entries = access.entries.iter().map(
            |(principal, role)| json!({"principal": principal.to_string(), "role": role.as_str()}),
        );
        entries.collect::<Vec<_>>()
    });
    let deletion = connection.deletion.as_ref();
    line(
        ExportedKind::Connection,
        json!({
            "id": connection.key.connection.as_str(),
            "connection": connection.key.connection.as_str(),
            "revision": connection.revision,
            "name": connection.name,
            "scope": scope,
            "subject": connection.subject,
            "quota_user": connection.quota_user,
            "access": access,
            "own_domains": connection.own_domains,
            "state": state,
            "created_at": connection.created_at.to_string(),
            "created_by": connection.created_by,
            "deleted_at": deletion.map(|deletion| deletion.at.to_string()),
            "deleted_by": deletion.map(|deletion| deletion.by.as_str()),
        }),
    )
}

/// Returns the line of an item of a connection.
pub(crate) fn exported(item: &Exported) -> Line {
    match item {
        Exported::File(record) => file(record),
        Exported::History(entry) => history(entry),
        Exported::Conflict(record) => conflict(record),
        Exported::Version(file, version) => line(
            ExportedKind::Version,
            json!({
                "file_id": file.as_str(),
                "version": version.number,
                "sha256": version.hash.to_string(),
                "size_bytes": version.size_bytes,
                "mime_type": version.mime_type,
                "object": version.object.as_str(),
                "stored_at": version.stored_at.to_string(),
                "by": version.by,
                "reason": version.reason,
                "pinned": version.pinned,
            }),
        ),
        Exported::DeadLetter(letter) => dead_letter(letter),
        Exported::Operation(run) => operation(run),
        Exported::Unreadable(pk, sk) => line(ExportedKind::Unreadable, json!({"key": [pk, sk]})),
    }
}

fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Flag(flag) => Json::Bool(*flag),
        Value::Text(text) => Json::String(text.clone()),
    }
}

/// Returns values by field, in the form of a patch.
fn values<'a>(values: impl Iterator<Item = (&'a Field, &'a Value)>) -> Map<String, Json> {
    let (mut members, mut properties, mut permissions) = (Map::new(), Map::new(), Map::new());
    for (field, of_field) in values {
        let json = value(of_field);
        match field {
            Field::Property(key) => properties.insert(key.clone(), json),
            Field::Permission(principal) => permissions.insert(principal.clone(), json),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Content
            | Field::Parent => members.insert(field.label(), json),
        };
    }
    for (name, group) in [("properties", properties), ("permissions", permissions)] {
        if !group.is_empty() {
            members.insert(name.to_owned(), Json::Object(group));
        }
    }
    members
}

/// Returns the values of all fields with those that Drive alone decides.
fn fields<'a>(
    of: impl Iterator<Item = (&'a Field, &'a Value)>,
    metadata: &DriveMetadata,
) -> Map<String, Json> {
    let mut members = values(of);
    let decided = json!({
        "mime_type": metadata.mime_type,
        "size": metadata.size_bytes,
        "md5": metadata.md5,
        "sha256": metadata.sha256,
        "created_at": time(metadata.created_at),
        "modified_at": time(metadata.modified_at),
        "modified_by": metadata.modified_by,
        "owner": metadata.owner,
        "drive_id": metadata.drive_id,
        "shortcut_target": metadata.shortcut_target,
    });
    if let Json::Object(decided) = decided {
        members.extend(decided);
    }
    members
}

fn permission(permission: &ObservedPermission) -> Json {
    let mut shown = json!({
        "id": permission.shown_id(),
        "principal": permission.principal,
        "role": permission.role,
        "direct": permission.direct,
        "inherited": permission.inherited,
        "inherited_from": permission.inherited_from,
    });
    // As at the API, only where there is anything to say.
    let rare = [
        ("expires_at", time(permission.expires_at).map(Json::from)),
        ("deleted", permission.deleted.then_some(Json::Bool(true))),
        (
            "pending_owner",
            permission.pending_owner.then_some(Json::Bool(true)),
        ),
        ("view", permission.view.clone().map(Json::from)),
    ];
    if let Json::Object(members) = &mut shown {
        let rare = rare.into_iter();
        members.extend(rare.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    shown
}

fn permissions(metadata: &DriveMetadata) -> Option<Vec<Json>> {
    let known = metadata.permissions_known;
    known.then(|| metadata.permissions.iter().map(permission).collect())
}

fn file(record: &FileRecord) -> Line {
    let (presence, gone_at) = match record.presence {
        Presence::Present => ("present", None),
        Presence::Creating => ("creating", None),
        Presence::Gone(Gone::Removed, at) => ("removed", Some(at)),
        Presence::Gone(Gone::AccessLost, at) => ("access_lost", Some(at)),
        Presence::Gone(Gone::MovedAway, at) => ("moved_away", Some(at)),
    };
    let sides = record.fields.iter();
    let app = sides.clone().map(|(field, sides)| (field, &sides.app));
    let differing = sides.filter(|(_, sides)| sides.app != *sides.drive());
    let drive = values(differing.map(|(field, sides)| (field, sides.drive())));
    let edits = record.edits.iter().map(|(field, edit)| {
        let edit = json!({"by": edit.by, "at": edit.at.to_string()});
        (field.label(), edit)
    });
    let intent = record.intent().map(|intent| {
        let fields = intent.fields.iter().map(|field| field.label());
        json!({
            "fields": fields.collect::<Vec<_>>(),
            "status": if intent.failed { "failed" } else { "owed" },
            "attempts": record.push.attempts,
            "next_attempt_at": time(record.due()),
            "reason": intent.reason,
        })
    });
    line(
        ExportedKind::File,
        json!({
            "id": record.file.as_str(),
            "revision": record.visible.0,
            "presence": presence,
            "gone_at": time(gone_at),
            "fields": fields(app, &record.metadata),
            "content_version": record.content_version,
            "drive": drive,
            "permissions": permissions(&record.metadata),
            "edits": edits.collect::<Map<_, _>>(),
            "intent": intent,
            "cause": record.cause.map(|cause| cause.to_string()),
        }),
    )
}

fn history(entry: &HistoryEntry) -> Line {
    let snapshot = &entry.snapshot;
    line(
        ExportedKind::History,
        json!({
            "file_id": snapshot.file.as_str(),
            "version": snapshot.version.to_string(),
            "at": entry.at.to_string(),
            "fields": fields(snapshot.fields.iter(), &snapshot.metadata),
            "permissions": permissions(&snapshot.metadata),
            "cause": entry.cause.map(|cause| cause.to_string()),
        }),
    )
}

fn conflict(record: &ConflictRecord) -> Line {
    let (status, closed_at, resolution) = match &record.status {
        ConflictStatus::Open => match &record.keeping {
            None => ("open", None, None),
            Some(keeping) => {
                let kept = json!({
                    "choose": "both", "copy": keeping.copy.as_str(),
                    "by": keeping.by.to_string(), "at": keeping.at.to_string(),
                });
                ("resolving", None, Some(kept))
            }
        },
        ConflictStatus::Resolved(made) => ("resolved", None, Some(decision(made))),
        ConflictStatus::Closed { at } => ("closed", Some(*at), None),
    };
    line(
        ExportedKind::Conflict,
        json!({
            "file_id": record.id.file.as_str(),
            "field": record.id.field.label(),
            "number": record.id.number,
            "status": status,
            "base": value(&record.base),
            "app": value(&record.app),
            "drive": value(&record.drive),
            "moves": record.moves,
            "unsure": record.unsure,
            "owed": values(record.owed.iter()),
            "opened_at": record.opened_at.to_string(),
            "closed_at": time(closed_at),
            "resolution": resolution,
            "cause": record.cause.map(|cause| cause.to_string()),
        }),
    )
}

fn decision(made: &Resolution) -> Json {
    let (choose, copy) = match &made.choice {
        Choice::App => ("app", None),
        Choice::Drive => ("drive", None),
        Choice::Base => ("base", None),
        Choice::Value(_) => ("value", None),
        Choice::Both(copy) => ("both", Some(copy.as_str())),
    };
    json!({
        "choose": choose,
        "value": value(&made.value),
        "copy": copy,
        "by": made.by.to_string(),
        "at": made.at.to_string(),
    })
}

fn dead_letter(letter: &DeadLetter) -> Line {
    let status = match letter.status {
        DeadLetterStatus::Parked => "parked",
        DeadLetterStatus::Redriven => "redriven",
        DeadLetterStatus::Dropped => "dropped",
    };
    let events = letter.history.iter().map(|event| match &event.action {
        DeadLetterAction::Parked { reason, .. } => {
            json!({"at": event.at.to_string(), "event": "parked", "reason": reason})
        }
        DeadLetterAction::Redriven { by } => {
            json!({"at": event.at.to_string(), "event": "redriven", "by": by})
        }
        DeadLetterAction::Dropped { by, reason } => {
            json!({"at": event.at.to_string(), "event": "dropped", "by": by, "reason": reason})
        }
    });
    line(
        ExportedKind::DeadLetter,
        json!({
            "id": letter.id,
            "status": status,
            "queue": letter.queue,
            "reason": letter.reason,
            "body": letter.body,
            "file_id": letter.file.as_ref().map(domain::FileId::as_str),
            "first_seen_at": letter.first_seen_at.to_string(),
            "parked_at": letter.parked_at.to_string(),
            "receives": letter.receives,
            "redrives": letter.redrives,
            "history": events.collect::<Vec<_>>(),
            "cause": letter.cause.map(|cause| cause.to_string()),
        }),
    )
}

fn operation(run: &Operation) -> Line {
    let form = run.form();
    line(
        ExportedKind::Operation,
        json!({
            "id": run.id.as_str(),
            "log": run.log.as_str(),
            "operation": form.kind.label(),
            "state": form.state.label(),
            "reason": form.reason,
            "pages": form.pages,
            "listed": form.listed,
            "verified": form.verified,
            "errors": form.errors,
            "dry_run": form.dry_run,
            "decided_by": form.comparison.decision.map(|decision| decision.by),
            "started_at": run.started_at.to_string(),
            "finished_at": time(run.finished_at),
            "by": run.by,
            "cause": run.cause.map(|cause| cause.to_string()),
        }),
    )
}
