//! The bodies of queue messages. This is the only place that writes and reads them.
//!
//! A body carries the number of its format. An unknown number comes from a newer build: such a
//! message is parked, never guessed at.

mod body_cause;
mod delivery_wake;
mod live_wake;
mod operation_wake;
mod permissions_body;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Capabilities, ConnectionId, ConnectionKey, DriveMetadata, DriveVersion, Field, FieldSetVersion,
    FileId, LogId, Snapshot, TenantId, Timestamp, Value,
};
use serde::{Deserialize, Serialize};

use crate::origin::CORRECTION;
pub use crate::origin::Origin;
pub(crate) use body_cause::with_cause;
pub use body_cause::{cause_of, without_cause};
pub use delivery_wake::DeliveryWake;
pub use live_wake::LiveWake;
pub use operation_wake::OperationWake;
use permissions_body::PermissionsBody;

/// The format that this build writes.
pub(crate) const FORMAT: u32 = 1;

/// The reason why a message can't be read. It never can be, so it is parked.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The body is not the expected JSON.
    #[error("not a valid message (line {}, column {})", .0.line(), .0.column())]
    Malformed(#[from] serde_json::Error),
    /// A newer build wrote it.
    #[error("format {0} is newer than this build reads")]
    Newer(u32),
    /// A member is invalid.
    #[error("the member {0} is not valid")]
    Member(&'static str),
}

/// Requests reading a change log from its cursor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogWake {
    /// The connection of the log.
    pub key: ConnectionKey,
    /// The log.
    pub log: LogId,
}

/// Requests pushing a connection's due intents to Drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushWake {
    /// The connection.
    pub key: ConnectionKey,
}

/// An observation of a file in Drive, to be merged into the file's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMessage {
    /// The connection of the file.
    pub key: ConnectionKey,
    /// The reason why it was sent.
    pub origin: Origin,
    /// The file.
    pub file: FileId,
    /// The time of the change according to Drive; for a listing, the time of the listing.
    pub at: Timestamp,
    /// The snapshot; `None` if Drive reports the file as removed.
    pub snapshot: Option<Snapshot>,
}

#[derive(Serialize, Deserialize)]
struct WakeBody {
    v: u32,
    tenant: String,
    connection: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotEnvelope {
    v: u32,
    tenant: String,
    connection: String,
    cause: String,
    file: String,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotBody>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotBody {
    mask: u32,
    version: String,
    fields: FieldsBody,
    mirror: MetadataBody,
}

#[derive(Serialize, Deserialize)]
struct FieldsBody {
    name: String,
    #[serde(default)]
    description: String,
    starred: bool,
    trashed: bool,
    parent: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    permissions: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct MetadataBody {
    mime_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_revision_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    parents: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drive_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shortcut_target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shortcut_mime_type: Option<String>,
    #[serde(default)]
    capabilities: u16,
    #[serde(default, skip_serializing_if = "PermissionsBody::is_empty")]
    permissions: PermissionsBody,
}

impl LogWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        wake_body(&self.key, Some(&self.log))
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let wake: WakeBody = serde_json::from_str(body)?;
        let key = key(wake.v, &wake.tenant, &wake.connection)?;
        let log = wake.log.as_deref().and_then(|log| LogId::parse(log).ok());
        Ok(Self {
            key,
            log: log.ok_or(Unreadable::Member("log"))?,
        })
    }
}

impl PushWake {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        wake_body(&self.key, None)
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let wake: WakeBody = serde_json::from_str(body)?;
        Ok(Self {
            key: key(wake.v, &wake.tenant, &wake.connection)?,
        })
    }
}

impl SnapshotMessage {
    /// Returns the message body.
    #[must_use]
    pub fn to_body(&self) -> String {
        let envelope = SnapshotEnvelope {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            cause: self.origin.text().into_owned(),
            file: self.file.to_string(),
            at: self.at.to_string(),
            left: match &self.origin {
                Origin::DriveLeft { drive, .. } => Some(drive.to_string()),
                Origin::Live | Origin::Operation(_) | Origin::Correction(_) => None,
            },
            removed: self.snapshot.is_none(),
            snapshot: self.snapshot.as_ref().map(snapshot_body),
        };
        to_json(&envelope)
    }

    /// Returns the message that says only that the file has a state of this version, which its
    /// consumer reads from Drive.
    #[must_use]
    pub fn by_reference(&self, version: DriveVersion) -> Self {
        Self {
            origin: Origin::reference(version),
            snapshot: None,
            ..self.clone()
        }
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        // The format is checked first: a newer body may have any other shape.
        check_body_format(body)?;
        let envelope: SnapshotEnvelope = serde_json::from_str(body)?;
        let key = key(envelope.v, &envelope.tenant, &envelope.connection)?;
        let file = FileId::parse(&envelope.file).map_err(|_| Unreadable::Member("file"))?;
        let at = Timestamp::parse_rfc3339(&envelope.at).ok_or(Unreadable::Member("at"))?;
        let snapshot = match (envelope.removed, envelope.snapshot) {
            (true, None) => None,
            (false, Some(body)) => Some(snapshot_from(&file, body)?),
            (true, Some(_)) | (false, None) => return Err(Unreadable::Member("snapshot")),
        };
        let origin = match (envelope.cause.as_str(), envelope.left) {
            ("" | CORRECTION, _) | ("live", Some(_)) => return Err(Unreadable::Member("cause")),
            ("live", None) => Origin::Live,
            (operation, None) => match operation.strip_prefix(CORRECTION) {
                Some(operation) => Origin::Correction(operation.to_owned()),
                None => Origin::Operation(operation.to_owned()),
            },
            (_, Some(_)) if snapshot.is_some() => return Err(Unreadable::Member("left")),
            (operation, Some(drive)) => Origin::DriveLeft {
                drive: LogId::parse(&drive).map_err(|_| Unreadable::Member("left"))?,
                operation: operation.to_owned(),
            },
        };
        Ok(Self {
            key,
            origin,
            file,
            at,
            snapshot,
        })
    }
}

fn wake_body(key: &ConnectionKey, log: Option<&LogId>) -> String {
    to_json(&WakeBody {
        v: FORMAT,
        tenant: key.tenant.to_string(),
        connection: key.connection.to_string(),
        log: log.map(ToString::to_string),
    })
}

/// Serialises a body. This can't fail: bodies are structs of strings and numbers.
pub(crate) fn to_json(body: &impl Serialize) -> String {
    let json = serde_json::to_string(body).unwrap_or_default();
    // SQS rejects U+FFFE and U+FFFF, which are not XML characters; JSON may escape them.
    json.replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

fn check_format(format: u32) -> Result<(), Unreadable> {
    if format == FORMAT {
        Ok(())
    } else {
        Err(Unreadable::Newer(format))
    }
}

/// Checks that a body has the format that this build reads.
pub(crate) fn check_body_format(body: &str) -> Result<(), Unreadable> {
    #[derive(Deserialize)]
    struct Numbered {
        v: u32,
    }
    check_format(serde_json::from_str::<Numbered>(body)?.v)
}

pub(crate) fn key(
    format: u32,
    tenant: &str,
    connection: &str,
) -> Result<ConnectionKey, Unreadable> {
    check_format(format)?;
    Ok(ConnectionKey {
        tenant: TenantId::parse(tenant).map_err(|_| Unreadable::Member("tenant"))?,
        connection: ConnectionId::parse(connection)
            .map_err(|_| Unreadable::Member("connection"))?,
    })
}

fn snapshot_body(snapshot: &Snapshot) -> SnapshotBody {
    let mut fields = FieldsBody {
        name: String::new(),
        description: String::new(),
        starred: false,
        trashed: false,
        parent: None,
        properties: BTreeMap::new(),
        permissions: BTreeMap::new(),
    };
    for (field, value) in &snapshot.fields {
        match (field, value) {
            (Field::Name, Value::Text(text)) => fields.name.clone_from(text),
            (Field::Description, Value::Text(text)) => fields.description.clone_from(text),
            (Field::Starred, Value::Flag(flag)) => fields.starred = *flag,
            (Field::Trashed, Value::Flag(flag)) => fields.trashed = *flag,
            (Field::Parent, Value::Text(id)) => fields.parent = Some(id.clone()),
            (Field::Property(key), Value::Text(text)) => {
                fields.properties.insert(key.clone(), text.clone());
            }
            (Field::Permission(principal), Value::Text(role)) => {
                fields.permissions.insert(principal.clone(), role.clone());
            }
            // The normaliser creates no other pairs; an unset value is omitted.
            (
                Field::Existence
                | Field::Name
                | Field::Description
                | Field::Starred
                | Field::Trashed
                | Field::Parent
                | Field::Content
                | Field::Property(_)
                | Field::Permission(_),
                Value::Null | Value::Flag(_) | Value::Text(_),
            ) => {}
        }
    }
    let metadata = &snapshot.metadata;
    SnapshotBody {
        mask: snapshot.field_set.0,
        version: snapshot.version.to_string(),
        fields,
        mirror: MetadataBody {
            mime_type: metadata.mime_type.clone(),
            size: metadata.size_bytes.map(|bytes| bytes.to_string()),
            md5: metadata.md5.clone(),
            sha256: metadata.sha256.clone(),
            head_revision_id: metadata.head_revision_id.clone(),
            created_at: metadata.created_at.map(|at| at.to_string()),
            modified_at: metadata.modified_at.map(|at| at.to_string()),
            modified_by: metadata.modified_by.clone(),
            owner: metadata.owner.clone(),
            parents: metadata.parents.clone(),
            drive_id: metadata.drive_id.clone(),
            shortcut_target: metadata.shortcut_target.clone(),
            shortcut_mime_type: metadata.shortcut_mime_type.clone(),
            capabilities: metadata.capabilities.0,
            permissions: metadata.into(),
        },
    }
}

fn snapshot_from(file: &FileId, body: SnapshotBody) -> Result<Snapshot, Unreadable> {
    let number = |text: &str, member| text.parse::<u64>().map_err(|_| Unreadable::Member(member));
    let time = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match Timestamp::parse_rfc3339(&text) {
            None => Err(Unreadable::Member("mirror")),
            at => Ok(at),
        },
    };
    let FieldsBody {
        name,
        description,
        starred,
        trashed,
        parent,
        properties,
        permissions,
    } = body.fields;
    let mut fields = BTreeMap::from([
        (Field::Name, Value::Text(name)),
        (Field::Description, Value::Text(description)),
        (Field::Starred, Value::Flag(starred)),
        (Field::Trashed, Value::Flag(trashed)),
        (Field::Parent, parent.map_or(Value::Null, Value::Text)),
    ]);
    let property = |(key, text)| (Field::Property(key), Value::Text(text));
    fields.extend(properties.into_iter().map(property));
    let permission = |(principal, role)| (Field::Permission(principal), Value::Text(role));
    fields.extend(permissions.into_iter().map(permission));
    let metadata = body.mirror;
    let permissions = metadata.permissions;
    Ok(Snapshot {
        file: file.clone(),
        version: DriveVersion(number(&body.version, "version")?),
        // A newer build may know more fields than are read here: the record must not claim them.
        field_set: FieldSetVersion(body.mask).min(FieldSetVersion::CURRENT),
        fields,
        metadata: permissions.add_to(DriveMetadata {
            mime_type: metadata.mime_type,
            size_bytes: metadata
                .size
                .map(|size| number(&size, "size"))
                .transpose()?,
            md5: metadata.md5,
            sha256: metadata.sha256,
            head_revision_id: metadata.head_revision_id,
            created_at: time(metadata.created_at)?,
            modified_at: time(metadata.modified_at)?,
            modified_by: metadata.modified_by,
            owner: metadata.owner,
            parents: metadata.parents,
            drive_id: metadata.drive_id,
            shortcut_target: metadata.shortcut_target,
            shortcut_mime_type: metadata.shortcut_mime_type,
            capabilities: Capabilities(metadata.capabilities),
            ..DriveMetadata::default()
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..Default::default()
        })]
        #[test]
        fn a_snapshot_survives_the_queue(
            name in ".*", description in ".*", starred: bool, trashed: bool, version: u64,
            properties in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
            size in proptest::option::of(any::<u64>()), bits in 0_u16..256,
            target in proptest::option::of((".{0,8}", proptest::option::of(".{0,8}"))),
        ) {
            let mut fields = BTreeMap::from([
                (Field::Name, Value::Text(name)),
                (Field::Description, Value::Text(description)),
                (Field::Starred, Value::Flag(starred)),
                (Field::Trashed, Value::Flag(trashed)),
                (Field::Parent, Value::Null),
            ]);
            let property = |(key, text)| (Field::Property(key), Value::Text(text));
            fields.extend(properties.into_iter().map(property));
            let file = FileId::parse("1abc").unwrap();
            let message = SnapshotMessage {
                key: key(),
                origin: Origin::Live,
                file: file.clone(),
                at: Timestamp::from_millis(1_763_715_600_000),
                snapshot: Some(Snapshot {
                    file,
                    version: DriveVersion(version),
                    field_set: FieldSetVersion::CURRENT,
                    fields,
                    metadata: DriveMetadata {
                        size_bytes: size,
                        capabilities: Capabilities(bits),
                        shortcut_target: target.as_ref().map(|(id, _)| id.clone()),
                        shortcut_mime_type: target.and_then(|(_, kind)| kind),
                        ..DriveMetadata::default()
                    },
                }),
            };
            prop_assert_eq!(SnapshotMessage::from_body(&message.to_body()).unwrap(), message);
        }

        #[test]
        fn any_text_is_rejected_with_an_error(body in ".*") {
            prop_assert!(SnapshotMessage::from_body(&body).is_err());
            prop_assert!(LogWake::from_body(&body).is_err());
            prop_assert!(PushWake::from_body(&body).is_err());
        }
    }

    #[test]
    fn a_message_about_a_left_drive_names_the_drive_and_has_no_snapshot() {
        let file = FileId::parse("1abc").unwrap();
        let message = SnapshotMessage {
            key: key(),
            origin: Origin::DriveLeft {
                drive: LogId::parse("0ABC").unwrap(),
                operation: "op.1".to_owned(),
            },
            file: file.clone(),
            at: Timestamp::from_millis(1_763_715_600_000),
            snapshot: None,
        };
        let body = message.to_body();
        assert_eq!(SnapshotMessage::from_body(&body).unwrap(), message);
        let with_snapshot = SnapshotMessage {
            snapshot: Some(Snapshot {
                file,
                version: DriveVersion(1),
                field_set: FieldSetVersion::CURRENT,
                fields: BTreeMap::from([(Field::Name, Value::text("n"))]),
                metadata: DriveMetadata::default(),
            }),
            ..message
        };
        for invalid in [
            body.replace("op.1", "live"),
            body.replace("0ABC", "a/b"),
            with_snapshot.to_body(),
        ] {
            assert!(SnapshotMessage::from_body(&invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn regression_a_name_with_a_character_that_sqs_rejects_survives_the_queue() {
        let name = "a\u{fffe}b\u{ffff}c";
        let file = FileId::parse("1abc").unwrap();
        let message = SnapshotMessage {
            key: key(),
            origin: Origin::Live,
            file: file.clone(),
            at: Timestamp::from_millis(0),
            snapshot: Some(Snapshot {
                file,
                version: DriveVersion(1),
                field_set: FieldSetVersion::CURRENT,
                fields: BTreeMap::from([
                    (Field::Name, Value::text(name)),
                    (Field::Description, Value::text("")),
                    (Field::Starred, Value::Flag(false)),
                    (Field::Trashed, Value::Flag(false)),
                    (Field::Parent, Value::Null),
                ]),
                metadata: DriveMetadata::default(),
            }),
        };
        let body = message.to_body();
        assert!(!body.contains(['\u{fffe}', '\u{ffff}']), "{body}");
        assert_eq!(SnapshotMessage::from_body(&body).unwrap(), message);
    }

    #[test]
    fn a_message_of_a_newer_build_is_rejected() {
        let body = r#"{"v":2,"shape":"unknown"}"#;
        assert!(matches!(
            SnapshotMessage::from_body(body),
            Err(Unreadable::Newer(2))
        ));
        let body = r#"{"v":9,"tenant":"acme","connection":"c_01","log":"user"}"#;
        assert!(matches!(
            LogWake::from_body(body),
            Err(Unreadable::Newer(9))
        ));
    }

    #[test]
    fn a_wake_names_its_log_or_connection_and_nothing_else() {
        let wake = LogWake {
            key: key(),
            log: LogId::user(),
        };
        assert_eq!(
            wake.to_body(),
            r#"{"v":1,"tenant":"acme","connection":"c_01","log":"user"}"#
        );
        assert_eq!(LogWake::from_body(&wake.to_body()).unwrap(), wake);
        let wake = PushWake { key: key() };
        assert_eq!(
            wake.to_body(),
            r#"{"v":1,"tenant":"acme","connection":"c_01"}"#
        );
        assert_eq!(PushWake::from_body(&wake.to_body()).unwrap(), wake);
    }
}
