//! The items in the table's stream that others learn of: decoding alone, no call.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::ContentState;
use domain::{
    ConflictRecord, ConnectionId, ConnectionKey, FileId, FileRecord, Operation, TenantId,
};

use crate::connection::connection_item::decode_connection;
use crate::content::content_item::decode_content;
use crate::dead_letter::dead_letter_item::decode_dead_letter;
use crate::file::conflict_item::decode_conflict;
use crate::file::file_item::decode_file;
use crate::operation::operation_item::decode_operation;
use crate::table::key::{CONTENT, HEAD, Item, Key};
use crate::{Connection, DeadLetter, StoreError};

/// An item as a stream record carries it; empty if the record has none.
pub type Image = serde_dynamo::Item;

/// The names of the writes that invoke `publish-events`: a removal (by the time to live, or an
/// erasure) tells nobody anything. The template's filter has the same.
pub const EVENT_NAMES: [&str; 2] = ["INSERT", "MODIFY"];
/// The sort keys of the items whose writes invoke `publish-events`.
pub const SORT_KEYS: [&str; 2] = [HEAD, CONTENT];
/// The beginnings of further ones.
pub const SORT_KEY_PREFIXES: [&str; 4] = ["CONFLICT#", "OP#", "PARKED#", "CONN#"];

/// Returns whether a write invokes `publish-events`, by its name in the stream and the item's sort
/// key: what the filter of the template's event source mapping says.
#[must_use]
pub fn invokes(event_name: &str, sort_key: &str) -> bool {
    let mut prefixes = SORT_KEY_PREFIXES.iter();
    let is_reported =
        SORT_KEYS.contains(&sort_key) || prefixes.any(|begin| sort_key.starts_with(begin));
    EVENT_NAMES.contains(&event_name) && is_reported
}

/// What an item is, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// The record of a file.
    File(FileId),
    /// A conflict of a file.
    Conflict(FileId),
    /// The content state of a file.
    Content(FileId),
    /// An operation.
    Operation,
    /// A dead letter.
    DeadLetter,
    /// The connection itself.
    Connection,
}

impl ItemKind {
    /// Returns the file that the item belongs to.
    #[must_use]
    pub fn file(&self) -> Option<&FileId> {
        match self {
            Self::File(file) | Self::Conflict(file) | Self::Content(file) => Some(file),
            Self::Operation | Self::DeadLetter | Self::Connection => None,
        }
    }
}

/// A file's record before and after one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The connection.
    pub key: ConnectionKey,
    /// The file's id.
    pub file: FileId,
    /// The record that was replaced; `None` if there was none.
    pub before: Option<FileRecord>,
    /// The record that was written; `None` if the item was removed.
    pub after: Option<FileRecord>,
}

/// An item before and after one write; `before` is `None` if there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record of a file.
    File(Box<FileChange>),
    /// A conflict.
    Conflict {
        /// What was replaced.
        before: Option<Box<ConflictRecord>>,
        /// What was written.
        after: Box<ConflictRecord>,
    },
    /// The content state of a file.
    Content {
        /// The file.
        file: FileId,
        /// What was replaced.
        before: Option<Box<ContentState>>,
        /// What was written.
        after: Box<ContentState>,
    },
    /// An operation.
    Operation {
        /// What was replaced.
        before: Option<Box<Operation>>,
        /// What was written.
        after: Box<Operation>,
    },
    /// A dead letter.
    DeadLetter {
        /// What was replaced.
        before: Option<Box<DeadLetter>>,
        /// What was written.
        after: Box<DeadLetter>,
    },
    /// A connection.
    Connection {
        /// What was replaced.
        before: Option<Box<Connection>>,
        /// What was written.
        after: Box<Connection>,
    },
    /// An item other than a file's record was removed.
    Removed,
}

/// Returns the connection that an item belongs to and what it is, by its key; `None` for items that
/// nobody learns of.
#[must_use]
pub fn item_of_key(partition_key: &str, sort_key: &str) -> Option<(ConnectionKey, ItemKind)> {
    let parts: Vec<&str> = partition_key.split('#').collect();
    let of = |tenant: &str, connection: &str| {
        Some(ConnectionKey {
            tenant: TenantId::parse(tenant).ok()?,
            connection: ConnectionId::parse(connection).ok()?,
        })
    };
    match *parts.as_slice() {
        ["T", tenant, "F", connection, file] => {
            let file = FileId::parse(file).ok()?;
            let kind = match sort_key {
                HEAD => ItemKind::File(file),
                CONTENT => ItemKind::Content(file),
                _ if sort_key.starts_with("CONFLICT#") => ItemKind::Conflict(file),
                _ => return None,
            };
            Some((of(tenant, connection)?, kind))
        }
        ["T", tenant, "C", connection] => {
            let kind = match sort_key.split_once('#')? {
                ("OP", _) => ItemKind::Operation,
                ("PARKED", _) => ItemKind::DeadLetter,
                _ => return None,
            };
            Some((of(tenant, connection)?, kind))
        }
        ["T", tenant] => {
            let connection = sort_key.strip_prefix("CONN#")?;
            Some((of(tenant, connection)?, ItemKind::Connection))
        }
        _ => None,
    }
}

/// Applies [`item_of_key`] to the keys that a stream record carries.
#[must_use]
pub fn item_of_keys(keys: &Image) -> Option<(ConnectionKey, ItemKind)> {
    let text = |name: &str| match keys.inner().get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    item_of_key(text("PK")?, text("SK")?)
}

/// Decodes the change of an item; `key` and `kind` are what its keys say.
///
/// # Errors
/// [`StoreError::NewerItem`] if newer code wrote one of the images, [`StoreError::Corrupt`] if one
/// is not in a form that this build writes, or is of another item.
pub fn read(
    key: &ConnectionKey,
    kind: &ItemKind,
    before: Image,
    after: Image,
) -> Result<Change, StoreError> {
    let item = |image: Image| -> Item { HashMap::<String, AttributeValue>::from(image) };
    let (before, after) = (item(before), item(after));
    if let ItemKind::File(file) = kind {
        let record = |item: Item| {
            let record = decoded(item, |item| Ok(decode_file(key, item)?.0))?;
            let own = record.as_ref().is_none_or(|record| record.file == *file);
            own.then_some(record).ok_or_else(|| {
                Key::head(key, file).corrupt("its keys and its image are of different files")
            })
        };
        let (before, after) = (record(before)?, record(after)?);
        return Ok(Change::File(Box::new(FileChange {
            key: key.clone(),
            file: file.clone(),
            before,
            after,
        })));
    }
    if after.is_empty() {
        return Ok(Change::Removed);
    }
    Ok(match kind {
        ItemKind::File(_) => Change::Removed,
        ItemKind::Conflict(_) => {
            let decode = |item| decode_conflict(key, item);
            let (before, after) = (boxed(before, decode)?, Box::new(decode(after)?));
            Change::Conflict { before, after }
        }
        ItemKind::Content(file) => {
            let decode = |item| Ok(decode_content(key, item)?.0);
            let (before, after) = (boxed(before, decode)?, Box::new(decode(after)?));
            let file = file.clone();
            Change::Content {
                file,
                before,
                after,
            }
        }
        ItemKind::Operation => {
            let decode = |item| decode_operation(key, item);
            let (before, after) = (boxed(before, decode)?, Box::new(decode(after)?));
            Change::Operation { before, after }
        }
        ItemKind::DeadLetter => {
            let decode = |item| decode_dead_letter(key, item);
            let (before, after) = (boxed(before, decode)?, Box::new(decode(after)?));
            Change::DeadLetter { before, after }
        }
        ItemKind::Connection => {
            let decode = |item| decode_connection(&key.tenant, item);
            let (before, after) = (boxed(before, decode)?, Box::new(decode(after)?));
            Change::Connection { before, after }
        }
    })
}

/// Decodes an item; `None` if there is none.
fn decoded<T>(
    item: Item,
    decode: impl FnOnce(Item) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    if item.is_empty() {
        return Ok(None);
    }
    decode(item).map(Some)
}

fn boxed<T>(
    item: Item,
    decode: impl FnOnce(Item) -> Result<T, StoreError>,
) -> Result<Option<Box<T>>, StoreError> {
    Ok(decoded(item, decode)?.map(Box::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonce;
    use crate::file::file_item::encode_file;
    use domain::{DriveMetadata, DriveVersion, Field, FieldSetVersion, Snapshot, Value};
    use std::collections::BTreeMap;

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    fn record(id: &str) -> FileRecord {
        FileRecord::from_snapshot(&Snapshot {
            file: FileId::parse(id).unwrap(),
            version: DriveVersion(7),
            field_set: FieldSetVersion::CURRENT,
            fields: BTreeMap::from([(Field::Name, Value::text("a"))]),
            metadata: DriveMetadata {
                sha256: Some("ab".repeat(32)),
                ..DriveMetadata::default()
            },
        })
    }

    fn image(record: &FileRecord) -> Image {
        let item = encode_file(&key(), record, Nonce(1)).unwrap();
        let each = item
            .item
            .into_iter()
            .map(|(name, value)| (name, value.into()));
        Image::from(each.collect::<HashMap<String, serde_dynamo::AttributeValue>>())
    }

    fn read(before: Image, after: Image) -> Result<FileChange, StoreError> {
        let (key, kind) = item_of_keys(&image(&record("1abc"))).unwrap();
        let change = super::read(&key, &kind, before, after)?;
        let Change::File(change) = change else {
            panic!("{change:?}");
        };
        Ok(*change)
    }

    #[test]
    fn a_stream_record_shows_the_record_before_and_after() {
        let (empty, full) = (Image::default(), image(&record("1abc")));
        let created = read(empty.clone(), full.clone()).unwrap();
        assert_eq!(
            (created.before, created.after),
            (None, Some(record("1abc")))
        );
        let removed = read(full, empty).unwrap();
        assert_eq!(
            (removed.before, removed.after),
            (Some(record("1abc")), None)
        );
        assert_eq!(removed.key, key());
    }

    #[test]
    fn items_are_recognised_by_their_keys() {
        let of = |pk: &str, sk: &str| item_of_key(pk, sk);
        let file = || FileId::parse("1abc").unwrap();
        let (files, connection) = ("T#acme#F#c_01#1abc", "T#acme#C#c_01");
        for (pk, sk, kind) in [
            (files, "HEAD", ItemKind::File(file())),
            (files, "CONTENT", ItemKind::Content(file())),
            (files, "CONFLICT#name#1", ItemKind::Conflict(file())),
            (connection, "OP#1-a", ItemKind::Operation),
            (connection, "PARKED#m.1", ItemKind::DeadLetter),
            ("T#acme", "CONN#c_01", ItemKind::Connection),
        ] {
            assert_eq!(of(pk, sk), Some((key(), kind)), "{pk} / {sk}");
            assert!(invokes("INSERT", sk) && invokes("MODIFY", sk), "{sk}");
            assert!(!invokes("REMOVE", sk), "{sk}");
        }
        for (pk, sk) in [
            (files, "SNAP#0000000000000000001"),
            (files, "VERSION#0000000000000000001"),
            (connection, "LOG#user"),
            (connection, "PACE"),
            (connection, "PAGE#1-a#00000001"),
            (connection, "EVENTLOG"),
            ("T#acme#C#c_01#EV", "EV#0000000000000000001"),
            ("T#acme#K#x", "ANSWER"),
            ("T#acme", "RATES"),
            ("CHANNEL#x", "META"),
        ] {
            assert_eq!(of(pk, sk), None, "{pk} / {sk}");
            assert!(!invokes("MODIFY", sk), "{sk}");
        }
        for (pk, sk) in [("T#acme#F#c_01", "HEAD"), ("", ""), ("T#acme", "OP#1-a")] {
            assert_eq!(of(pk, sk), None, "{pk} / {sk}");
        }
    }

    #[test]
    fn a_newer_item_is_refused_and_a_malformed_one_is_corrupt() {
        let with = |name: &str, value: serde_dynamo::AttributeValue| {
            let mut item = HashMap::from(image(&record("1abc")));
            item.insert(name.to_owned(), value);
            Image::from(item)
        };
        let number = |text: &str| serde_dynamo::AttributeValue::N(text.to_owned());
        let newer = read(Image::default(), with("format", number("99")));
        assert!(
            matches!(newer, Err(StoreError::NewerItem { format: 99, .. })),
            "{newer:?}"
        );
        let odd = read(with("revision", number("x")), Image::default());
        assert!(matches!(odd, Err(StoreError::Corrupt { .. })), "{odd:?}");
        let other = read(Image::default(), image(&record("2abc")));
        assert!(
            matches!(other, Err(StoreError::Corrupt { .. })),
            "{other:?}"
        );
    }
}
