//! Converts Drive's JSON into domain values. This is the only place that creates snapshots.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    DriveMetadata, DriveVersion, Field, FileId, LogId, PageToken, Snapshot, Timestamp, Value,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::calls::permissions;
use crate::failure::drive_error::BadJson;
use crate::protocol::table;
use crate::protocol::wire;
use crate::{
    Change, ChangePage, ChangeState, DriveChange, DrivePage, FileIdPage, FilePage, Listed,
    ListedId, NextToken, PrivateProperty, Read, SharedDrive, Unreadable,
};

/// The reason why an entry is not a complete snapshot. Once applied, a snapshot without a member
/// that every file has would look like a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Defect {
    #[error("{0}")]
    Json(#[from] BadJson),
    #[error("no valid id")]
    Id,
    #[error("no version")]
    Version,
    #[error("no name")]
    Name,
    #[error("no etag")]
    Etag,
    #[error("a permission without an id")]
    Permission,
    #[error("neither a next page nor the end of the log")]
    NoNext,
}

impl From<serde_json::Error> for Defect {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.into())
    }
}

/// Converts a file of either version of the API into a snapshot.
pub(crate) fn snapshot(file: wire::File) -> Result<Snapshot, Defect> {
    Ok(split(file)?.0)
}

/// Converts the response of v2 `files.get`, with the members that a write needs.
pub(crate) fn read(mut file: wire::File) -> Result<Read, Defect> {
    let etag = file.etag.take().filter(|etag| !etag.is_empty());
    let (snapshot, private_properties) = split(file)?;
    let parent = match snapshot.fields.get(&Field::Parent) {
        Some(Value::Text(id)) => Some(FileId::parse(id).map_err(|_| Defect::Id)?),
        Some(Value::Null | Value::Flag(_)) | None => None,
    };
    Ok(Read {
        snapshot,
        etag: etag.ok_or(Defect::Etag)?,
        parent,
        private_properties,
        original_properties: None,
    })
}

fn split(file: wire::File) -> Result<(Snapshot, Vec<PrivateProperty>), Defect> {
    let id = file
        .id
        .and_then(|id| FileId::parse(&id).ok())
        .ok_or(Defect::Id)?;
    let version = file.version.ok_or(Defect::Version)?;
    let starred = file
        .starred
        .or(file.labels.and_then(|labels| labels.starred));
    let mut fields = BTreeMap::from([
        (Field::Name, Value::Text(file.name.ok_or(Defect::Name)?)),
        (
            Field::Description,
            Value::Text(file.description.unwrap_or_default()),
        ),
        (Field::Starred, Value::Flag(starred.unwrap_or(false))),
        (
            Field::Trashed,
            Value::Flag(file.explicitly_trashed.unwrap_or(false)),
        ),
    ]);
    // Drive allows one parent since 2020. Older files may still have several, in any order.
    let parents = file.parents.into_iter().flatten();
    let parents: BTreeSet<String> = parents.filter_map(wire::Parent::into_id).collect();
    if let Some(parent) = parents.first() {
        fields.insert(Field::Parent, Value::Text(parent.clone()));
    }
    let mut private_properties = Vec::new();
    for property in file.properties.into_iter().flat_map(|all| all.0) {
        let public = property.visibility.as_deref() == Some(wire::PUBLIC);
        match property.value {
            Some(value) if public => {
                fields.insert(Field::Property(property.key), Value::Text(value));
            }
            Some(value) => private_properties.push(PrivateProperty {
                key: property.key,
                value,
            }),
            None => {}
        }
    }
    let (shortcut_target, shortcut_mime_type) =
        file.shortcut_details.map_or((None, None), |shortcut| {
            (shortcut.target_id, shortcut.target_mime_type)
        });
    let mut metadata = DriveMetadata {
        mime_type: file.mime_type.unwrap_or_default(),
        size_bytes: file.size.map(|size| size.0),
        md5: file.md5_checksum,
        sha256: file.sha256_checksum,
        head_revision_id: file.head_revision_id,
        created_at: timestamp(file.created_time),
        modified_at: timestamp(file.modified_time),
        modified_by: file.last_modifying_user.and_then(|user| user.email_address),
        owner: file
            .owners
            .and_then(|owners| owners.into_iter().next())
            .and_then(|user| user.email_address),
        parents: if parents.len() > 1 {
            parents
        } else {
            BTreeSet::new()
        },
        drive_id: file.drive_id,
        shortcut_target,
        shortcut_mime_type,
        capabilities: file.capabilities,
        inherited_permissions_disabled: file.inherited_permissions_disabled.unwrap_or(false),
        has_augmented_permissions: file.has_augmented_permissions,
        ..DriveMetadata::default()
    };
    let in_shared_drive = metadata.drive_id.is_some();
    match (file.permissions, file.has_augmented_permissions) {
        // Absent does not mean none: only users who may share the file see them, and in a shared
        // drive no user does.
        (Some(all), _) if !in_shared_drive => {
            permissions::insert(all, &mut fields, &mut metadata).map_err(|_| Defect::Permission)?;
        }
        // The item has none of its own. This does not apply to the root, which has the members'.
        (_, Some(false)) if metadata.drive_id.as_deref() != Some(id.as_str()) => {
            metadata.permissions_known = true;
        }
        (_, _) => {
            let ids = file.permission_ids.unwrap_or_default();
            metadata.permission_ids =
                (!ids.is_empty()).then(|| domain::ids_digest(ids.iter().map(String::as_str)));
        }
    }
    let snapshot = Snapshot {
        file: id,
        version: DriveVersion(version.0),
        field_set: table::FIELD_SET,
        fields,
        metadata,
    };
    Ok((snapshot, private_properties))
}

fn timestamp(text: Option<String>) -> Option<Timestamp> {
    text.as_deref().and_then(Timestamp::parse_rfc3339)
}

/// Converts a page of a change log. `now` replaces a missing time of a change.
pub(crate) fn change_page(
    list: wire::ChangeList<'_>,
    now: Timestamp,
) -> Result<ChangePage, Defect> {
    let next = match (list.next_page_token, list.new_start_page_token) {
        (Some(token), _) => NextToken::More(PageToken::new(token)),
        (None, Some(token)) => NextToken::End(PageToken::new(token)),
        (None, None) => return Err(Defect::NoNext),
    };
    let mut page = ChangePage {
        changes: Vec::with_capacity(list.changes.len()),
        unidentified: Vec::new(),
        drives: Vec::new(),
        next,
        skipped: 0,
    };
    for entry in list.changes {
        match change(entry, now) {
            Entry::Change(change) => page.changes.push(change),
            Entry::Unidentified(entry) => page.unidentified.push(entry),
            Entry::Drive(change) => page.drives.push(change),
            Entry::Skipped => page.skipped += 1,
        }
    }
    Ok(page)
}

#[expect(
    clippy::large_enum_variant,
    reason = "an entry is nearly always a change"
)]
enum Entry {
    Change(Change),
    Unidentified(Unreadable),
    Drive(DriveChange),
    Skipped,
}

fn change(raw: &RawValue, now: Timestamp) -> Entry {
    let change: wire::Change<'_> = match serde_json::from_str(raw.get()) {
        Ok(change) => change,
        Err(error) => return unreadable_entry(raw, &error.into(), now),
    };
    // Drive sends every requested member; an entry without a type could only be about a file.
    match change.change_type.as_deref() {
        Some("file") | None => {}
        Some("drive") => return drive_change(change, raw),
        Some(_) => return Entry::Skipped,
    }
    let Some(file) = change.file_id.and_then(|id| FileId::parse(&id).ok()) else {
        return Entry::Unidentified(unreadable(None, &Defect::Id, raw));
    };
    // An entry without a file is treated as a removal: both lead to a read of the current state.
    let state = match (change.removed, change.file) {
        (Some(true), _) | (_, None) => ChangeState::Removed,
        (_, Some(shown)) => match parse_file(shown) {
            Ok(snapshot) => ChangeState::Present(snapshot),
            Err(defect) => ChangeState::Unreadable(unreadable(Some(file.clone()), &defect, raw)),
        },
    };
    let at = timestamp(change.time).unwrap_or(now);
    Entry::Change(Change { file, at, state })
}

/// Converts an entry about a shared drive itself. One without a drive's id can only be parked.
fn drive_change(change: wire::Change<'_>, raw: &RawValue) -> Entry {
    let (shown, name) = match change.drive {
        Some(drive) => (drive.id, drive.name),
        None => (None, None),
    };
    let named = change.drive_id.or(shown);
    match named.as_deref().and_then(drive_log) {
        Some(drive) => Entry::Drive(DriveChange {
            drive,
            name: name.map(shown_name),
            removed: change.removed.unwrap_or(false),
        }),
        None => Entry::Unidentified(unreadable(None, &Defect::Id, raw)),
    }
}

/// The longest name of a shared drive that is shown, in bytes.
const DRIVE_NAME_BYTES_MAX: usize = 1_000;

/// Shortens the name of a shared drive, which is shown and never written.
fn shown_name(mut name: String) -> String {
    let end = name.floor_char_boundary(DRIVE_NAME_BYTES_MAX);
    if end < name.len() {
        name.truncate(end);
        name.push('…');
    }
    name
}

/// Returns the log of a shared drive: the drive's id, which is never the name of the user's log.
fn drive_log(id: &str) -> Option<LogId> {
    LogId::parse(id).ok().filter(|log| *log != LogId::user())
}

/// Converts a page of shared drives.
pub(crate) fn drive_page(list: wire::DriveList) -> DrivePage {
    let mut page = DrivePage {
        drives: Vec::with_capacity(list.drives.len()),
        skipped: 0,
        next: list.next_page_token,
    };
    for drive in list.drives {
        match drive.id.as_deref().and_then(drive_log) {
            Some(id) => page.drives.push(SharedDrive {
                id,
                name: shown_name(drive.name.unwrap_or_default()),
            }),
            None => page.skipped += 1,
        }
    }
    page
}

fn parse_file(raw: &RawValue) -> Result<Snapshot, Defect> {
    snapshot(serde_json::from_str::<wire::File>(raw.get())?)
}

/// Converts an unreadable entry, of which at most the file is known.
fn unreadable_entry(raw: &RawValue, defect: &Defect, now: Timestamp) -> Entry {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        file_id: String,
    }
    let named = serde_json::from_str::<Named>(raw.get()).ok();
    match named.and_then(|named| FileId::parse(&named.file_id).ok()) {
        Some(file) => Entry::Change(Change {
            state: ChangeState::Unreadable(unreadable(Some(file.clone()), defect, raw)),
            file,
            at: now,
        }),
        None => Entry::Unidentified(unreadable(None, defect, raw)),
    }
}

fn unreadable(file: Option<FileId>, defect: &Defect, raw: &RawValue) -> Unreadable {
    Unreadable {
        file,
        reason: defect.to_string(),
        body: raw.get().to_owned(),
    }
}

/// Converts a page of a listing.
pub(crate) fn file_page(list: wire::FileList<'_>) -> FilePage {
    let files = list.files.into_iter().map(|raw| match parse_file(raw) {
        Ok(snapshot) => Listed::Present(snapshot),
        Err(defect) => Listed::Unreadable(unreadable(listed_id(raw), &defect, raw)),
    });
    FilePage {
        files: files.collect(),
        next: list.next_page_token,
        incomplete: list.incomplete_search.unwrap_or(false),
    }
}

/// Converts a page of a listing of ids. An entry without a valid id is left out.
pub(crate) fn file_id_page(list: wire::FileIdList) -> FileIdPage {
    let files = list.files.into_iter().filter_map(|listed| {
        let drive = listed.drive_id.as_deref().and_then(drive_log);
        Some(ListedId {
            file: FileId::parse(&listed.id?).ok()?,
            name: listed.name.unwrap_or_default(),
            version: DriveVersion(listed.version.map_or(0, |version| version.0)),
            log: drive.unwrap_or_else(LogId::user),
        })
    });
    FileIdPage {
        files: files.collect(),
        next: list.next_page_token,
        incomplete: list.incomplete_search.unwrap_or(false),
    }
}

fn listed_id(raw: &RawValue) -> Option<FileId> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let named: Named = serde_json::from_str(raw.get()).ok()?;
    FileId::parse(&named.id).ok()
}
