//! The bodies of our queues' messages. This is the one place that writes and reads them.
//!
//! A body carries its format's number. A number that we don't know comes from newer code: such a
//! message is set aside, never guessed at.

use std::collections::BTreeMap;

use domain::{
    Capabilities, ConnectionId, ConnectionKey, DriveVersion, Field, FieldMask, FileId, LogId,
    Mirror, Snapshot, TenantId, Timestamp, Value,
};
use serde::{Deserialize, Serialize};

use crate::cause::CORRECTION;
pub use crate::cause::Cause;
use crate::permissions_body::PermissionsBody;

pub(crate) const FORMAT: u32 = 1;
/// Why a message can't be read. It never can be: such a message is parked.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the JSON that we write.
    #[error("not a message of ours (line {}, column {})", .0.line(), .0.column())]
    Malformed(#[from] serde_json::Error),
    /// Written by newer code.
    #[error("format {0} is newer than this function reads")]
    Newer(u32),
    /// A member does not hold what it must.
    #[error("the member {0} is not valid")]
    Member(&'static str),
}

/// "Look at this log now."
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogWake {
    /// Whose log.
    pub key: ConnectionKey,
    /// Which log.
    pub log: LogId,
}

/// "Look at what this connection owes Drive now."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushWake {
    /// Whose intents.
    pub key: ConnectionKey,
}

/// What a look at Drive showed, on its way to the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMessage {
    /// Whose file.
    pub key: ConnectionKey,
    /// Why it travels.
    pub cause: Cause,
    /// The file.
    pub file: FileId,
    /// When Drive says that it changed; for a listing, when it was listed.
    pub at: Timestamp,
    /// The snapshot; `None` where Drive reports the file as removed.
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
    mirror: MirrorBody,
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
struct MirrorBody {
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
    /// The message's body.
    #[must_use]
    pub fn to_body(&self) -> String {
        wake_body(&self.key, Some(&self.log))
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// [`Unreadable`] where it is not one of ours.
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
    /// The message's body.
    #[must_use]
    pub fn to_body(&self) -> String {
        wake_body(&self.key, None)
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// [`Unreadable`] where it is not one of ours.
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        let wake: WakeBody = serde_json::from_str(body)?;
        Ok(Self {
            key: key(wake.v, &wake.tenant, &wake.connection)?,
        })
    }
}

impl SnapshotMessage {
    /// The message's body.
    #[must_use]
    pub fn to_body(&self) -> String {
        let envelope = SnapshotEnvelope {
            v: FORMAT,
            tenant: self.key.tenant.to_string(),
            connection: self.key.connection.to_string(),
            cause: self.cause.text().into_owned(),
            file: self.file.to_string(),
            at: self.at.to_string(),
            left: match &self.cause {
                Cause::Left { drive, .. } => Some(drive.to_string()),
                Cause::Live | Cause::Run(_) | Cause::Correction(_) => None,
            },
            removed: self.snapshot.is_none(),
            snapshot: self.snapshot.as_ref().map(snapshot_body),
        };
        to_json(&envelope)
    }

    /// Reads a message's body.
    ///
    /// # Errors
    /// [`Unreadable`] where it is not one of ours.
    pub fn from_body(body: &str) -> Result<Self, Unreadable> {
        // The number first: a newer body need not look like ours otherwise.
        known_body(body)?;
        let envelope: SnapshotEnvelope = serde_json::from_str(body)?;
        let key = key(envelope.v, &envelope.tenant, &envelope.connection)?;
        let file = FileId::parse(&envelope.file).map_err(|_| Unreadable::Member("file"))?;
        let at = Timestamp::parse_rfc3339(&envelope.at).ok_or(Unreadable::Member("at"))?;
        let snapshot = match (envelope.removed, envelope.snapshot) {
            (true, None) => None,
            (false, Some(body)) => Some(snapshot_from(&file, body)?),
            (true, Some(_)) | (false, None) => return Err(Unreadable::Member("snapshot")),
        };
        let cause = match (envelope.cause.as_str(), envelope.left) {
            ("" | CORRECTION, _) | ("live", Some(_)) => return Err(Unreadable::Member("cause")),
            ("live", None) => Cause::Live,
            (run, None) => match run.strip_prefix(CORRECTION) {
                Some(run) => Cause::Correction(run.to_owned()),
                None => Cause::Run(run.to_owned()),
            },
            (_, Some(_)) if snapshot.is_some() => return Err(Unreadable::Member("left")),
            (run, Some(drive)) => Cause::Left {
                drive: LogId::parse(&drive).map_err(|_| Unreadable::Member("left"))?,
                run: run.to_owned(),
            },
        };
        Ok(Self {
            key,
            cause,
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

/// Our bodies are structs of texts and numbers: writing them as JSON can't fail.
pub(crate) fn to_json(body: &impl Serialize) -> String {
    let json = serde_json::to_string(body).unwrap_or_default();
    // SQS refuses the two characters of the basic plane that XML does not know; JSON may escape them.
    json.replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff")
}

fn known(format: u32) -> Result<(), Unreadable> {
    if format == FORMAT {
        Ok(())
    } else {
        Err(Unreadable::Newer(format))
    }
}

/// Whether a body has the format that this build writes.
pub(crate) fn known_body(body: &str) -> Result<(), Unreadable> {
    #[derive(Deserialize)]
    struct Numbered {
        v: u32,
    }
    known(serde_json::from_str::<Numbered>(body)?.v)
}

pub(crate) fn key(
    format: u32,
    tenant: &str,
    connection: &str,
) -> Result<ConnectionKey, Unreadable> {
    known(format)?;
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
            // The normaliser makes no other pairs; an unset value is written as absent.
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
    let mirror = &snapshot.mirror;
    SnapshotBody {
        mask: snapshot.mask.0,
        version: snapshot.version.to_string(),
        fields,
        mirror: MirrorBody {
            mime_type: mirror.mime_type.clone(),
            size: mirror.size_bytes.map(|bytes| bytes.to_string()),
            md5: mirror.md5.clone(),
            sha256: mirror.sha256.clone(),
            head_revision_id: mirror.head_revision_id.clone(),
            created_at: mirror.created_at.map(|at| at.to_string()),
            modified_at: mirror.modified_at.map(|at| at.to_string()),
            modified_by: mirror.modified_by.clone(),
            owner: mirror.owner.clone(),
            drive_id: mirror.drive_id.clone(),
            shortcut_target: mirror.shortcut_target.clone(),
            shortcut_mime_type: mirror.shortcut_mime_type.clone(),
            capabilities: mirror.capabilities.0,
            permissions: mirror.into(),
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
    let mirror = body.mirror;
    let permissions = mirror.permissions;
    Ok(Snapshot {
        file: file.clone(),
        version: DriveVersion(number(&body.version, "version")?),
        // Newer code may know more fields than are read here: the record must not claim to hold them.
        mask: FieldMask(body.mask).min(FieldMask::CURRENT),
        fields,
        mirror: permissions.into_mirror(Mirror {
            mime_type: mirror.mime_type,
            size_bytes: mirror.size.map(|size| number(&size, "size")).transpose()?,
            md5: mirror.md5,
            sha256: mirror.sha256,
            head_revision_id: mirror.head_revision_id,
            created_at: time(mirror.created_at)?,
            modified_at: time(mirror.modified_at)?,
            modified_by: mirror.modified_by,
            owner: mirror.owner,
            drive_id: mirror.drive_id,
            shortcut_target: mirror.shortcut_target,
            shortcut_mime_type: mirror.shortcut_mime_type,
            capabilities: Capabilities(mirror.capabilities),
            ..Mirror::default()
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
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
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
            fields.extend(properties.into_iter().map(|(k, v)| (Field::Property(k), Value::Text(v))));
            let file = FileId::parse("1abc").unwrap();
            let message = SnapshotMessage {
                key: key(),
                cause: Cause::Live,
                file: file.clone(),
                at: Timestamp::from_millis(1_763_715_600_000),
                snapshot: Some(Snapshot {
                    file, version: DriveVersion(version), mask: FieldMask::CURRENT, fields,
                    mirror: Mirror {
                        size_bytes: size,
                        capabilities: Capabilities(bits),
                        shortcut_target: target.as_ref().map(|(id, _)| id.clone()),
                        shortcut_mime_type: target.and_then(|(_, kind)| kind),
                        ..Mirror::default()
                    },
                }),
            };
            prop_assert_eq!(SnapshotMessage::from_body(&message.to_body()).unwrap(), message);
        }

        #[test]
        fn no_body_makes_the_readers_fail_otherwise_than_by_saying_so(body in ".*") {
            prop_assert!(SnapshotMessage::from_body(&body).is_err());
            prop_assert!(LogWake::from_body(&body).is_err());
            prop_assert!(PushWake::from_body(&body).is_err());
        }
    }

    #[test]
    fn a_file_of_a_drive_that_was_left_names_the_drive_and_shows_no_state() {
        let file = FileId::parse("1abc").unwrap();
        let message = SnapshotMessage {
            key: key(),
            cause: Cause::Left {
                drive: LogId::parse("0ABC").unwrap(),
                run: "op.1".to_owned(),
            },
            file: file.clone(),
            at: Timestamp::from_millis(1_763_715_600_000),
            snapshot: None,
        };
        let body = message.to_body();
        assert_eq!(SnapshotMessage::from_body(&body).unwrap(), message);
        let shown = SnapshotMessage {
            snapshot: Some(Snapshot {
                file,
                version: DriveVersion(1),
                mask: FieldMask::CURRENT,
                fields: BTreeMap::from([(Field::Name, Value::text("n"))]),
                mirror: Mirror::default(),
            }),
            ..message
        };
        for odd in [
            body.replace("op.1", "live"),
            body.replace("0ABC", "a/b"),
            shown.to_body(),
        ] {
            assert!(SnapshotMessage::from_body(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn regression_a_name_with_a_character_that_sqs_refuses_can_travel() {
        let name = "a\u{fffe}b\u{ffff}c";
        let file = FileId::parse("1abc").unwrap();
        let message = SnapshotMessage {
            key: key(),
            cause: Cause::Live,
            file: file.clone(),
            at: Timestamp::from_millis(0),
            snapshot: Some(Snapshot {
                file,
                version: DriveVersion(1),
                mask: FieldMask::CURRENT,
                fields: BTreeMap::from([
                    (Field::Name, Value::text(name)),
                    (Field::Description, Value::text("")),
                    (Field::Starred, Value::Flag(false)),
                    (Field::Trashed, Value::Flag(false)),
                    (Field::Parent, Value::Null),
                ]),
                mirror: Mirror::default(),
            }),
        };
        let body = message.to_body();
        assert!(!body.contains(['\u{fffe}', '\u{ffff}']), "{body}");
        assert_eq!(SnapshotMessage::from_body(&body).unwrap(), message);
    }

    #[test]
    fn a_message_from_newer_code_is_not_guessed_at() {
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
