//! A file as callers see it.

use std::collections::BTreeMap;

use axum::response::Response;
use domain::content::ContentIdentity;
use domain::{DriveMetadata, Field, FileRecord, Gone, Presence, Trouble, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use store::{Connection, HistoryEntry};
use utoipa::ToSchema;

use crate::Deps;
use crate::conflicts::conflict_id;
use crate::files::derived::{DerivedView, EffectiveView, ShortcutView};
use crate::files::field_value;
use crate::files::permission_view::PermissionView;
use crate::http::{Problem, ShowsGone, tagged};

/// One Drive item, folders and shortcuts included.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileView {
    /// Drive's id.
    id: String,
    /// The ETag. It moves with every visible change of the file itself except attempts to push it.
    /// What is derived (`path`, `in_scope`, `effective`, `shortcut`) does not move it.
    revision: u64,
    /// Whether the file exists and can be accessed.
    presence: PresenceView,
    /// When the file was found to be gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_at: Option<String>,
    /// The path by names from the drive's root: `/Folder/name`. It begins with `…/` if not every
    /// folder above is known. Slashes, backslashes and invisible characters in names are escaped
    /// (`\\u{2f}`). Null if not requested.
    path: Option<String>,
    /// Whether the connection's rules include it. Null if not requested.
    in_scope: Option<bool>,
    /// What follows from the folders above it. Null if not requested.
    effective: Option<EffectiveView>,
    /// The target of a shortcut. Null for other files and if not requested.
    shortcut: Option<ShortcutView>,
    /// The fields with the application's values, and those that only Drive can change.
    fields: FieldsView,
    /// The content as the application sees it; null if the file never had any.
    content: Option<ContentView>,
    /// Drive's values of the fields where they differ: those that are owed or in conflict.
    #[schema(value_type = Object)]
    drive: Json,
    /// The permissions that Drive shows on the file itself; null if it shows none to the
    /// connection's user. Inherited ones may lag behind: Drive reports a change of a folder only
    /// for the folder.
    permissions: Option<Vec<PermissionView>>,
    /// The number of permissions if the file has more than are stored. None is stored in this case,
    /// and they can't be changed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_left_out: Option<u32>,
    /// Whether no permission is inherited: a folder with limited access.
    inherited_permissions_disabled: bool,
    /// The ids of the open conflicts.
    conflicts: Vec<String>,
    /// What is owed to Drive; null if nothing is.
    intent: Option<IntentView>,
    /// The cause of the last write of the record: of the request, notification or operation that
    /// led to it. It may move without the `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// A file's content by its checksum. The list of its versions says whether the bytes are stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Content)]
struct ContentView {
    /// The number of changes of the content: the `expected_version` of an upload.
    version: u32,
    /// Null if Drive states none and the content is not stored yet, or the file has no content any
    /// more.
    sha256: Option<String>,
}

impl ContentView {
    fn of(record: &FileRecord) -> Option<Self> {
        (record.content_version > 0).then(|| Self {
            version: record.content_version,
            sha256: ContentIdentity::parse(&record.app(&Field::Content))
                .and_then(|content| content.hash())
                .map(|hash| hash.to_string()),
        })
    }
}

/// Whether a file exists and can be accessed. `removed`: deleted, or not visible any more.
/// `access_lost`: it exists, but the connection's user has no access. `moved_away`: it is in a
/// drive that the connection does not cover.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Presence)]
enum PresenceView {
    Present,
    /// Created by the application, and not in Drive yet.
    Creating,
    Removed,
    AccessLost,
    MovedAway,
}

/// The fields of a file. The first seven can be written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fields)]
pub(crate) struct FieldsView {
    name: String,
    description: String,
    starred: bool,
    /// Whether the file itself is in the trash. `effective` includes the folders above it.
    trashed: bool,
    /// The id of its folder; null if Drive shows none to the connection's user.
    parent: Option<String>,
    properties: BTreeMap<String, String>,
    /// Roles on the file itself, by principal; `owner` can't be changed.
    permissions: BTreeMap<String, String>,
    mime_type: String,
    /// The content's length in bytes; null if Drive states none.
    size: Option<u64>,
    md5: Option<String>,
    sha256: Option<String>,
    created_at: Option<String>,
    modified_at: Option<String>,
    modified_by: Option<String>,
    owner: Option<String>,
    /// The shared drive that contains it.
    drive_id: Option<String>,
    /// The id of a shortcut's target.
    shortcut_target: Option<String>,
    /// What the connection's user may do with it, as Drive names it.
    capabilities: Vec<&'static str>,
}

/// What is owed to Drive for a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Intent)]
pub(crate) struct IntentView {
    /// The fields whose values are owed.
    fields: Vec<String>,
    status: IntentStatusView,
    /// Attempts since the last success.
    attempts: u32,
    /// Null if everything has been given up for good. What failed for a reason that can pass is
    /// tried again by itself, at intervals that grow to a day.
    next_attempt_at: Option<String>,
    /// The reason why something has been given up.
    reason: Option<String>,
    /// What the latest attempts met, while something is owed.
    trouble: Option<TroubleView>,
    /// The time of the oldest of these edits. Null if it is not known.
    since: Option<String>,
}

/// What keeps a file's edits from reaching Drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trouble)]
pub(crate) struct TroubleView {
    /// Drive's reason, or what it answered. `conditionNotMet`, several times: Drive refuses a
    /// condition that names the file's current version.
    reason: String,
    /// The time of the first attempt that met it.
    since: String,
    /// The number of attempts that met it, one after the other.
    times: u32,
}

/// `failed`: given up until it is tried again, by itself or on request, or the file is edited.
/// `held`: the file is out of scope, and what is owed waits until it is in scope again.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = IntentState)]
enum IntentStatusView {
    Owed,
    Failed,
    #[serde(rename = "held")]
    OutOfScope,
}

/// One version of a file in Drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
pub(crate) struct HistoryView {
    /// Drive's version number, as digits.
    version: String,
    /// The time of the change in Drive; for a listed file, the time of the listing.
    at: String,
    /// Drive's values.
    fields: FieldsView,
    /// The cause of the entry: of the request whose edit this version is, or else of the
    /// notification or operation that reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

impl FileView {
    /// The view of a record with everything that is derived.
    pub(crate) fn complete(record: &FileRecord, derived: &DerivedView<'_>) -> Self {
        Self {
            path: derived.path(record),
            effective: Some(derived.effective(record)),
            shortcut: derived.shortcut(record),
            ..Self::with_scope(record, derived)
        }
    }

    /// The view of a record that includes whether it is in scope.
    pub(crate) fn with_scope(record: &FileRecord, derived: &DerivedView<'_>) -> Self {
        let in_scope = derived.in_scope(record);
        let view = Self::new(record);
        Self {
            in_scope: Some(in_scope),
            intent: view.intent.map(|intent| intent.with_scope(in_scope)),
            ..view
        }
    }

    /// The view of a record alone.
    pub(crate) fn new(record: &FileRecord) -> Self {
        let (presence, gone_at) = match record.presence {
            Presence::Present => (PresenceView::Present, None),
            Presence::Creating => (PresenceView::Creating, None),
            Presence::Gone(Gone::Removed, at) => (PresenceView::Removed, Some(at.to_string())),
            Presence::Gone(Gone::AccessLost, at) => {
                (PresenceView::AccessLost, Some(at.to_string()))
            }
            Presence::Gone(Gone::MovedAway, at) => (PresenceView::MovedAway, Some(at.to_string())),
        };
        let open = record
            .open
            .keys()
            .filter_map(|field| record.open_conflict(field));
        Self {
            id: record.file.to_string(),
            revision: record.visible.0,
            presence,
            gone_at,
            path: None,
            in_scope: None,
            effective: None,
            shortcut: None,
            fields: FieldsView::new(
                record
                    .fields
                    .iter()
                    .map(|(field, sides)| (field, &sides.app)),
                &record.metadata,
            ),
            content: ContentView::of(record),
            drive: drive_side(record),
            permissions: PermissionView::list(&record.metadata),
            permissions_left_out: (record.metadata.permissions_left_out > 0)
                .then_some(record.metadata.permissions_left_out),
            inherited_permissions_disabled: record.metadata.inherited_permissions_disabled,
            conflicts: open.map(|id| conflict_id::encode(&id)).collect(),
            intent: IntentView::of(record),
            cause: record.cause.map(|cause| cause.to_string()),
        }
    }
}

/// Returns Drive's values where they differ from the application's, in the form of a patch.
fn drive_side(record: &FileRecord) -> Json {
    let mut members = Map::new();
    let mut properties = Map::new();
    let mut permissions = Map::new();
    for (field, sides) in record
        .fields
        .iter()
        .filter(|(_, sides)| sides.app != *sides.drive())
    {
        let json = field_value::to_json(sides.drive());
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
    for (member, values) in [("properties", properties), ("permissions", permissions)] {
        if !values.is_empty() {
            members.insert(member.to_owned(), Json::Object(values));
        }
    }
    Json::Object(members)
}

impl FieldsView {
    fn new<'a>(
        values: impl Iterator<Item = (&'a Field, &'a Value)>,
        metadata: &DriveMetadata,
    ) -> Self {
        let mut fields = Self {
            name: String::new(),
            description: String::new(),
            starred: false,
            trashed: false,
            parent: None,
            properties: BTreeMap::new(),
            permissions: BTreeMap::new(),
            mime_type: metadata.mime_type.clone(),
            size: metadata.size_bytes,
            md5: metadata.md5.clone(),
            sha256: metadata.sha256.clone(),
            created_at: metadata.created_at.map(|at| at.to_string()),
            modified_at: metadata.modified_at.map(|at| at.to_string()),
            modified_by: metadata.modified_by.clone(),
            owner: metadata.owner.clone(),
            drive_id: metadata.drive_id.clone(),
            shortcut_target: metadata.shortcut_target.clone(),
            capabilities: metadata.capabilities.names().collect(),
        };
        for (field, value) in values {
            fields.set(field, value);
        }
        fields
    }

    fn set(&mut self, field: &Field, value: &Value) {
        let text = match value {
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::Flag(_) => None,
        };
        let flag = *value == Value::Flag(true);
        match field {
            Field::Existence | Field::Content => {}
            Field::Name => self.name = text.unwrap_or_default(),
            Field::Description => self.description = text.unwrap_or_default(),
            Field::Starred => self.starred = flag,
            Field::Trashed => self.trashed = flag,
            Field::Parent => self.parent = text,
            Field::Property(key) => {
                if let Some(text) = text {
                    self.properties.insert(key.clone(), text);
                }
            }
            Field::Permission(principal) => {
                if let Some(text) = text {
                    self.permissions.insert(principal.clone(), text);
                }
            }
        }
    }
}

impl IntentView {
    /// Shows the intent of an out-of-scope file as waiting.
    pub(crate) fn with_scope(self, in_scope: bool) -> Self {
        if in_scope {
            return self;
        }
        Self {
            status: IntentStatusView::OutOfScope,
            ..self
        }
    }

    /// Returns the intent of a file, if anything is owed or has been given up.
    pub(crate) fn of(record: &FileRecord) -> Option<Self> {
        let intent = record.intent()?;
        let edits = intent
            .fields
            .iter()
            .filter_map(|field| record.edits.get(*field));
        Some(Self {
            fields: intent.fields.iter().map(|field| field.label()).collect(),
            status: if intent.failed {
                IntentStatusView::Failed
            } else {
                IntentStatusView::Owed
            },
            attempts: record.push.attempts,
            next_attempt_at: record.due().map(|at| at.to_string()),
            reason: intent.reason.map(str::to_owned),
            trouble: record.push.trouble.as_ref().map(TroubleView::of),
            since: edits.map(|edit| edit.at).min().map(|at| at.to_string()),
        })
    }
}

impl TroubleView {
    fn of(trouble: &Trouble) -> Self {
        Self {
            reason: trouble.reason.clone(),
            since: trouble.since.to_string(),
            times: trouble.times,
        }
    }
}

impl HistoryView {
    pub(crate) fn new(entry: &HistoryEntry) -> Self {
        let snapshot = &entry.snapshot;
        Self {
            version: snapshot.version.to_string(),
            at: entry.at.to_string(),
            fields: FieldsView::new(snapshot.fields.iter(), &snapshot.metadata),
            cause: entry.cause.map(|cause| cause.to_string()),
        }
    }
}

/// Responds with a file, everything that is derived, and its entity tag.
pub(crate) async fn respond(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
) -> Result<Response, Problem> {
    let derived = DerivedView::load(deps, connection, &[record]).await?;
    let view = FileView::complete(record, &derived);
    let mut response = tagged(record.visible.0, view);
    if record.is_gone() {
        response.extensions_mut().insert(ShowsGone);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        Capabilities, Context, DriveVersion, FieldSetVersion, FileId, Observation, Policies,
        Snapshot, Timestamp,
    };
    use serde_json::json;

    fn snapshot(version: u64, name: &str) -> Snapshot {
        Snapshot {
            file: FileId::parse("1abc").unwrap(),
            version: DriveVersion(version),
            field_set: FieldSetVersion::CURRENT,
            fields: BTreeMap::from([
                (Field::Name, Value::text(name)),
                (Field::Description, Value::text("")),
                (Field::Starred, Value::Flag(false)),
                (Field::Trashed, Value::Flag(false)),
                (Field::Parent, Value::text("1folder")),
                (Field::Property("stage".to_owned()), Value::text("draft")),
            ]),
            metadata: DriveMetadata {
                mime_type: "text/plain".to_owned(),
                size_bytes: Some(3),
                created_at: Some(Timestamp::from_millis(0)),
                capabilities: Capabilities::from_names(["canEdit"]),
                ..DriveMetadata::default()
            },
        }
    }

    fn moment(policies: &Policies) -> Context<'_> {
        Context {
            now: Timestamp::from_millis(1_000),
            drive_at: Some(Timestamp::from_millis(1_000)),
            above: None,
            policies,
        }
    }

    #[test]
    fn a_file_shows_the_applications_values_and_drives_where_they_differ() {
        let policies = Policies::default();
        let record = FileRecord::from_snapshot(&snapshot(1, "a"));
        let edit = BTreeMap::from([
            (Field::Name, Value::text("b")),
            (Field::Property("stage".to_owned()), Value::Null),
        ]);
        let record = record.edit(&edit, "ada", moment(&policies)).unwrap().record;
        let view = serde_json::to_value(FileView::new(&record)).unwrap();
        assert_eq!(view["fields"]["name"], "b");
        assert_eq!(view["fields"]["properties"], json!({}));
        assert_eq!(view["fields"]["capabilities"], json!(["canEdit"]));
        assert_eq!(
            view["drive"],
            json!({"name": "a", "properties": {"stage": "draft"}})
        );
        assert_eq!(view["revision"], 2);
        assert_eq!(
            view["intent"],
            json!({
                "fields": ["name", "properties.stage"],
                "since": "1970-01-01T00:00:01.000Z",
                "status": "owed",
                "attempts": 0,
                "next_attempt_at": "1970-01-01T00:00:01.000Z",
                "reason": null,
                "trouble": null,
            })
        );
    }

    #[test]
    fn a_file_in_conflict_has_the_conflicts_id_and_no_intent() {
        let policies = Policies::default();
        let record = FileRecord::from_snapshot(&snapshot(1, "a"));
        let edit = BTreeMap::from([(Field::Name, Value::text("b"))]);
        let record = record.edit(&edit, "ada", moment(&policies)).unwrap().record;
        let seen = Observation::Present(snapshot(2, "c"));
        let record = record.observe(&seen, moment(&policies)).record;
        let view = serde_json::to_value(FileView::new(&record)).unwrap();
        assert_eq!(view["drive"], json!({"name": "c"}));
        assert_eq!(view["intent"], Json::Null);
        let id = record.open_conflict(&Field::Name).unwrap();
        assert_eq!(view["conflicts"], json!([conflict_id::encode(&id)]));
    }

    #[test]
    fn a_file_that_is_gone_shows_the_reason_and_the_time() {
        let file = FileId::parse("1abc").unwrap();
        let gone = FileRecord::tombstone(file, Gone::AccessLost, Timestamp::from_millis(0));
        let view = serde_json::to_value(FileView::new(&gone)).unwrap();
        assert_eq!(view["presence"], "access_lost");
        assert_eq!(view["gone_at"], "1970-01-01T00:00:00.000Z");
    }
}
