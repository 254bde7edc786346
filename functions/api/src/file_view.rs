//! A file as callers see it.

use std::collections::BTreeMap;

use domain::{Field, FileRecord, Gone, Mirror, Presence, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use store::HistoryEntry;
use utoipa::ToSchema;

use crate::meaning::{EffectiveView, Meaning, ShortcutView};
use crate::permission_view::PermissionView;
use crate::{conflict_id, value};

/// One Drive item, folders and shortcuts included.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileView {
    /// Drive's id.
    id: String,
    /// Moves whenever something of the file itself moves that is shown here, other than the attempts to
    /// push it: the ETag. What is derived (`path`, `in_scope`, `effective`, `shortcut`) does not move it.
    revision: u64,
    /// Whether the file is there for us.
    presence: PresenceView,
    /// Since when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_at: Option<String>,
    /// Its place, by names, from its drive's root: `/Folder/name`. It begins with `…/` where not every
    /// folder above is known. Slashes, backslashes and what can't be seen are escaped in names
    /// (`\\u{2f}`). Null where it was not asked for.
    path: Option<String>,
    /// Whether the connection's rules take it in. Null where that was not asked for.
    in_scope: Option<bool>,
    /// What follows from the folders above it. Null where it was not asked for.
    effective: Option<EffectiveView>,
    /// Where it points, if it is a shortcut. Null too where it was not asked for.
    shortcut: Option<ShortcutView>,
    /// The fields as the application has them, and what Drive alone decides.
    fields: FieldsView,
    /// What the file holds, as the application sees it; null where it never held anything.
    content: Option<ContentView>,
    /// The fields where Drive's value differs: what is owed to Drive, and what is in conflict.
    #[schema(value_type = Object)]
    drive: Json,
    /// Who has access, as Drive shows it on the file itself; null where it does not show us that. What is
    /// inherited may lag behind: Drive reports a change above only there.
    permissions: Option<Vec<PermissionView>>,
    /// How many permissions the file has, where they are more than are kept: none of them is then, and they
    /// can't be changed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_left_out: Option<u32>,
    /// Nothing is inherited from above: a folder with limited access.
    inherited_permissions_disabled: bool,
    /// The ids of the open conflicts.
    conflicts: Vec<String>,
    /// What is owed to Drive; null where nothing is.
    intent: Option<IntentView>,
}

/// What a file holds, by its checksum. Whether we have the bytes is said by the list of its versions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Content)]
struct ContentView {
    /// How often the content has changed: what an upload must name as `expected_version`.
    version: u32,
    /// Null where Drive has no checksum of it, or it holds nothing any more.
    sha256: Option<String>,
}

impl ContentView {
    fn of(record: &FileRecord) -> Option<Self> {
        (record.content_version > 0).then(|| Self {
            version: record.content_version,
            sha256: match record.app(&Field::Content) {
                Value::Text(sha256) => Some(sha256),
                Value::Null | Value::Flag(_) => None,
            },
        })
    }
}

/// Whether a file is there for us. `removed`: deleted, or out of our sight. `access_lost`: Drive says that it
/// is there, but not for us. `moved_away`: it is in a drive that the connection does not cover.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Presence)]
enum PresenceView {
    Present,
    /// Made by the application; Drive has yet to make it.
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
    /// Whether the file itself is in the trash, as opposed to a folder that holds it: see `effective`.
    trashed: bool,
    /// The id of the folder that holds it; null where Drive shows us none.
    parent: Option<String>,
    properties: BTreeMap<String, String>,
    /// Roles on the file itself, by principal; `owner` can't be changed.
    permissions: BTreeMap<String, String>,
    mime_type: String,
    /// Bytes of content; null where Drive has none.
    size: Option<u64>,
    md5: Option<String>,
    sha256: Option<String>,
    created_at: Option<String>,
    modified_at: Option<String>,
    modified_by: Option<String>,
    owner: Option<String>,
    /// The shared drive that holds it.
    drive_id: Option<String>,
    /// What a shortcut points to.
    shortcut_target: Option<String>,
    /// What the connection's user may do with it, in Drive's words.
    capabilities: Vec<&'static str>,
}

/// What is owed to Drive for a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Intent)]
pub(crate) struct IntentView {
    /// The fields whose value Drive must still get.
    fields: Vec<String>,
    status: IntentStatusView,
    /// Attempts since the last success.
    attempts: u32,
    /// Null where everything was given up.
    next_attempt_at: Option<String>,
    /// Why something was given up.
    reason: Option<String>,
}

/// `failed`: given up until someone retries it or edits the file. `held`: the file is out of scope, and
/// what is owed waits until it is back.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = IntentState)]
enum IntentStatusView {
    Owed,
    Failed,
    Held,
}

/// What Drive held at one version of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
pub(crate) struct HistoryView {
    /// Drive's version, in digits.
    version: String,
    /// When it came about, as Drive says; for what was listed, when it was listed.
    at: String,
    /// What Drive held.
    fields: FieldsView,
}

impl FileView {
    /// A record with everything that is derived.
    pub(crate) fn whole(record: &FileRecord, meaning: &Meaning<'_>) -> Self {
        Self {
            path: meaning.path(record),
            effective: Some(meaning.effective(record)),
            shortcut: meaning.shortcut(record),
            ..Self::scoped(record, meaning)
        }
    }

    /// A record, and whether it is in scope.
    pub(crate) fn scoped(record: &FileRecord, meaning: &Meaning<'_>) -> Self {
        let in_scope = meaning.in_scope(record);
        let view = Self::new(record);
        Self {
            in_scope: Some(in_scope),
            intent: view.intent.map(|intent| intent.unless_held(in_scope)),
            ..view
        }
    }

    /// A record by itself.
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
                &record.mirror,
            ),
            content: ContentView::of(record),
            drive: drive_side(record),
            permissions: PermissionView::all_of(&record.mirror),
            permissions_left_out: (record.mirror.permissions_left_out > 0)
                .then_some(record.mirror.permissions_left_out),
            inherited_permissions_disabled: record.mirror.inherited_permissions_disabled,
            conflicts: open.map(|id| conflict_id::encode(&id)).collect(),
            intent: IntentView::of(record),
        }
    }
}

/// Drive's values where they differ from the application's, in the shape of a patch.
fn drive_side(record: &FileRecord) -> Json {
    let mut members = Map::new();
    let mut properties = Map::new();
    let mut permissions = Map::new();
    for (field, sides) in record
        .fields
        .iter()
        .filter(|(_, sides)| sides.app != *sides.drive())
    {
        let json = value::to_json(sides.drive());
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
    for (member, of) in [("properties", properties), ("permissions", permissions)] {
        if !of.is_empty() {
            members.insert(member.to_owned(), Json::Object(of));
        }
    }
    Json::Object(members)
}

impl FieldsView {
    fn new<'a>(values: impl Iterator<Item = (&'a Field, &'a Value)>, mirror: &Mirror) -> Self {
        let mut fields = Self {
            name: String::new(),
            description: String::new(),
            starred: false,
            trashed: false,
            parent: None,
            properties: BTreeMap::new(),
            permissions: BTreeMap::new(),
            mime_type: mirror.mime_type.clone(),
            size: mirror.size_bytes,
            md5: mirror.md5.clone(),
            sha256: mirror.sha256.clone(),
            created_at: mirror.created_at.map(|at| at.to_string()),
            modified_at: mirror.modified_at.map(|at| at.to_string()),
            modified_by: mirror.modified_by.clone(),
            owner: mirror.owner.clone(),
            drive_id: mirror.drive_id.clone(),
            shortcut_target: mirror.shortcut_target.clone(),
            capabilities: mirror.capabilities.names().collect(),
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
    pub(crate) fn unless_held(self, in_scope: bool) -> Self {
        if in_scope {
            return self;
        }
        Self {
            status: IntentStatusView::Held,
            ..self
        }
    }

    pub(crate) fn of(record: &FileRecord) -> Option<Self> {
        let intent = record.intent()?;
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
        })
    }
}

impl HistoryView {
    pub(crate) fn new(entry: &HistoryEntry) -> Self {
        let snapshot = &entry.snapshot;
        Self {
            version: snapshot.version.to_string(),
            at: entry.at.to_string(),
            fields: FieldsView::new(snapshot.fields.iter(), &snapshot.mirror),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        Capabilities, DriveVersion, FieldMask, FileId, Moment, Observation, Policies, Snapshot,
        Timestamp,
    };
    use serde_json::json;

    fn snapshot(version: u64, name: &str) -> Snapshot {
        Snapshot {
            file: FileId::parse("1abc").unwrap(),
            version: DriveVersion(version),
            mask: FieldMask::CURRENT,
            fields: BTreeMap::from([
                (Field::Name, Value::text(name)),
                (Field::Description, Value::text("")),
                (Field::Starred, Value::Flag(false)),
                (Field::Trashed, Value::Flag(false)),
                (Field::Parent, Value::text("1folder")),
                (Field::Property("stage".to_owned()), Value::text("draft")),
            ]),
            mirror: Mirror {
                mime_type: "text/plain".to_owned(),
                size_bytes: Some(3),
                created_at: Some(Timestamp::from_millis(0)),
                capabilities: Capabilities::from_names(["canEdit"]),
                ..Mirror::default()
            },
        }
    }

    fn moment(policies: &Policies) -> Moment<'_> {
        Moment {
            now: Timestamp::from_millis(1_000),
            drive_at: Some(Timestamp::from_millis(1_000)),
            policies,
        }
    }

    #[test]
    fn a_file_shows_the_applications_side_and_where_drive_differs() {
        let policies = Policies::default();
        let record = FileRecord::first_sight(&snapshot(1, "a"));
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
                "status": "owed",
                "attempts": 0,
                "next_attempt_at": "1970-01-01T00:00:01.000Z",
                "reason": null,
            })
        );
    }

    #[test]
    fn an_open_conflict_is_named_and_holds_no_intent() {
        let policies = Policies::default();
        let record = FileRecord::first_sight(&snapshot(1, "a"));
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
    fn a_file_that_is_gone_says_why_and_since_when() {
        let file = FileId::parse("1abc").unwrap();
        let gone = FileRecord::never_seen(file, Gone::AccessLost, Timestamp::from_millis(0));
        let view = serde_json::to_value(FileView::new(&gone)).unwrap();
        assert_eq!(view["presence"], "access_lost");
        assert_eq!(view["gone_at"], "1970-01-01T00:00:00.000Z");
    }
}
