//! Drive's JSON into domain values: the one place where a snapshot is made.

use std::collections::BTreeMap;

use domain::{DriveVersion, Field, FileId, LogId, Mirror, PageToken, Snapshot, Timestamp, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::BadJson;
use crate::{
    Change, ChangePage, DriveChange, DrivePage, FilePage, Listed, Next, PrivateProperty, Read,
    Seen, SharedDrive, Unreadable, permissions, table, wire,
};

/// Why an entry is no complete snapshot. A snapshot that lacks what every file has would, once applied,
/// look like a change of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Defect {
    #[error("{0}")]
    Json(#[from] BadJson),
    #[error("no id, or not the shape of one")]
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

/// A file of either version of the API, as a snapshot.
pub(crate) fn snapshot(file: wire::File) -> Result<Snapshot, Defect> {
    Ok(parted(file)?.0)
}

/// The answer of v2 `files.get`, with what a write needs.
pub(crate) fn read(mut file: wire::File) -> Result<Read, Defect> {
    let etag = file.etag.take().filter(|etag| !etag.is_empty());
    let (snapshot, private_properties) = parted(file)?;
    let parent = match snapshot.fields.get(&Field::Parent) {
        Some(Value::Text(id)) => Some(FileId::parse(id).map_err(|_| Defect::Id)?),
        Some(Value::Null | Value::Flag(_)) | None => None,
    };
    Ok(Read {
        snapshot,
        etag: etag.ok_or(Defect::Etag)?,
        parent,
        private_properties,
    })
}

fn parted(file: wire::File) -> Result<(Snapshot, Vec<PrivateProperty>), Defect> {
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
    // Drive allows one parent since 2020; what is older may still show several, in one order.
    if let Some(parent) = file
        .parents
        .into_iter()
        .flatten()
        .next()
        .and_then(wire::Parent::into_id)
    {
        fields.insert(Field::Parent, Value::Text(parent));
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
    let mut mirror = Mirror {
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
        drive_id: file.drive_id,
        shortcut_target,
        shortcut_mime_type,
        capabilities: file.capabilities,
        inherited_permissions_disabled: file.inherited_permissions_disabled.unwrap_or(false),
        has_augmented_permissions: file.has_augmented_permissions,
        ..Mirror::default()
    };
    let in_shared_drive = mirror.drive_id.is_some();
    match (file.permissions, file.has_augmented_permissions) {
        // Absent is not none: Drive shows them to those who may share the file, and nowhere in a shared drive.
        (Some(all), _) if !in_shared_drive => {
            permissions::put(all, &mut fields, &mut mirror).map_err(|_| Defect::Permission)?;
        }
        // It has none of its own, and Drive says so. The root has the members', which it does not say.
        (_, Some(false)) if mirror.drive_id.as_deref() != Some(id.as_str()) => {
            mirror.permissions_known = true;
        }
        (_, _) => {
            let ids = file.permission_ids.unwrap_or_default();
            mirror.permission_ids =
                (!ids.is_empty()).then(|| domain::ids_digest(ids.iter().map(String::as_str)));
        }
    }
    let snapshot = Snapshot {
        file: id,
        version: DriveVersion(version.0),
        mask: table::MASK,
        fields,
        mirror,
    };
    Ok((snapshot, private_properties))
}

fn timestamp(text: Option<String>) -> Option<Timestamp> {
    text.as_deref().and_then(Timestamp::parse_rfc3339)
}

/// A page of a change log. `now` stands in for a change's time where Drive gives none.
pub(crate) fn change_page(
    list: wire::ChangeList<'_>,
    now: Timestamp,
) -> Result<ChangePage, Defect> {
    let next = match (list.next_page_token, list.new_start_page_token) {
        (Some(token), _) => Next::More(PageToken::new(token)),
        (None, Some(token)) => Next::End(PageToken::new(token)),
        (None, None) => return Err(Defect::NoNext),
    };
    let mut page = ChangePage {
        changes: Vec::with_capacity(list.changes.len()),
        nameless: Vec::new(),
        drives: Vec::new(),
        next,
        skipped: 0,
    };
    for entry in list.changes {
        match change(entry, now) {
            Entry::Change(change) => page.changes.push(change),
            Entry::Nameless(entry) => page.nameless.push(entry),
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
    Nameless(Unreadable),
    Drive(DriveChange),
    Skipped,
}

fn change(raw: &RawValue, now: Timestamp) -> Entry {
    let change: wire::Change<'_> = match serde_json::from_str(raw.get()) {
        Ok(change) => change,
        Err(error) => return broken(raw, &error.into(), now),
    };
    // Drive leaves out nothing that was asked for, but an entry without a type can only be about a file.
    match change.change_type.as_deref() {
        Some("file") | None => {}
        Some("drive") => return of_drive(change, raw),
        Some(_) => return Entry::Skipped,
    }
    let Some(file) = change.file_id.and_then(|id| FileId::parse(&id).ok()) else {
        return Entry::Nameless(unreadable(None, &Defect::Id, raw));
    };
    // An entry that shows no file is as good as a removal: both only lead to asking Drive what is there.
    let seen = match (change.removed, change.file) {
        (Some(true), _) | (_, None) => Seen::Removed,
        (_, Some(state)) => match parsed(state) {
            Ok(snapshot) => Seen::Present(snapshot),
            Err(defect) => Seen::Unreadable(unreadable(Some(file.clone()), &defect, raw)),
        },
    };
    let at = timestamp(change.time).unwrap_or(now);
    Entry::Change(Change { file, at, seen })
}

/// An entry about a shared drive itself. One that names no drive can only be parked.
fn of_drive(change: wire::Change<'_>, raw: &RawValue) -> Entry {
    let (shown, name) = match change.drive {
        Some(drive) => (drive.id, drive.name),
        None => (None, None),
    };
    let named = change.drive_id.or(shown);
    match named.as_deref().and_then(drive_log) {
        Some(drive) => Entry::Drive(DriveChange {
            drive,
            name,
            removed: change.removed.unwrap_or(false),
        }),
        None => Entry::Nameless(unreadable(None, &Defect::Id, raw)),
    }
}

/// The log of a shared drive: its id, which is never the name that we gave the user's log.
fn drive_log(id: &str) -> Option<LogId> {
    LogId::parse(id).ok().filter(|log| *log != LogId::user())
}

/// A page of shared drives.
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
                name: drive.name.unwrap_or_default(),
            }),
            None => page.skipped += 1,
        }
    }
    page
}

fn parsed(raw: &RawValue) -> Result<Snapshot, Defect> {
    snapshot(serde_json::from_str::<wire::File>(raw.get())?)
}

/// An entry of which at most the file can be told.
fn broken(raw: &RawValue, defect: &Defect, now: Timestamp) -> Entry {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        file_id: String,
    }
    let named = serde_json::from_str::<Named>(raw.get()).ok();
    match named.and_then(|named| FileId::parse(&named.file_id).ok()) {
        Some(file) => Entry::Change(Change {
            seen: Seen::Unreadable(unreadable(Some(file.clone()), defect, raw)),
            file,
            at: now,
        }),
        None => Entry::Nameless(unreadable(None, defect, raw)),
    }
}

fn unreadable(file: Option<FileId>, defect: &Defect, raw: &RawValue) -> Unreadable {
    Unreadable {
        file,
        reason: defect.to_string(),
        body: raw.get().to_owned(),
    }
}

/// A page of a listing.
pub(crate) fn file_page(list: wire::FileList<'_>) -> FilePage {
    let files = list.files.into_iter().map(|raw| match parsed(raw) {
        Ok(snapshot) => Listed::Present(snapshot),
        Err(defect) => Listed::Unreadable(unreadable(listed_id(raw), &defect, raw)),
    });
    FilePage {
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
