//! The file records in the table's stream: decoding alone, no call.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionId, ConnectionKey, FileId, FileRecord, TenantId};

use crate::StoreError;
use crate::file::file_item::decode_file;
use crate::table::key::{HEAD, Item, Key};

/// An item as a stream record carries it; empty if the record has none.
pub type Image = serde_dynamo::Item;

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

/// Returns the file whose record an item is, by the item's key; `None` for all other items.
#[must_use]
pub fn file_of_key(partition_key: &str, sort_key: &str) -> Option<(ConnectionKey, FileId)> {
    let parts: Vec<&str> = partition_key.split('#').collect();
    let (["T", tenant, "F", connection, file], HEAD) = (parts.as_slice(), sort_key) else {
        return None;
    };
    let key = ConnectionKey {
        tenant: TenantId::parse(tenant).ok()?,
        connection: ConnectionId::parse(connection).ok()?,
    };
    Some((key, FileId::parse(file).ok()?))
}

/// Applies [`file_of_key`] to the keys that a stream record carries.
#[must_use]
pub fn file_of_keys(keys: &Image) -> Option<(ConnectionKey, FileId)> {
    let text = |name: &str| match keys.inner().get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    file_of_key(text("PK")?, text("SK")?)
}

impl FileChange {
    /// Decodes the change of a file's record; `file` is what the keys say.
    ///
    /// # Errors
    /// [`StoreError::NewerItem`] if newer code wrote one of the images, [`StoreError::Corrupt`] if
    /// one is not in a form that this build writes, or is of another file.
    pub fn read(
        file: (ConnectionKey, FileId),
        before: Image,
        after: Image,
    ) -> Result<Self, StoreError> {
        let (key, file) = file;
        let record = |image: Image| {
            let item: Item = HashMap::<String, AttributeValue>::from(image);
            if item.is_empty() {
                return Ok(None);
            }
            let (record, _) = decode_file(&key, item)?;
            if record.file == file {
                Ok(Some(record))
            } else {
                Err(Key::head(&key, &file).corrupt("its keys and its image are of different files"))
            }
        };
        let (before, after) = (record(before)?, record(after)?);
        Ok(Self {
            key,
            file,
            before,
            after,
        })
    }
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
        let file = file_of_keys(&image(&record("1abc"))).unwrap();
        FileChange::read(file, before, after)
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
    fn only_the_keys_of_file_records_are_recognised() {
        let of = |pk: &str, sk: &str| file_of_key(pk, sk).map(|(_, file)| file.to_string());
        assert_eq!(of("T#acme#F#c_01#1abc", "HEAD").as_deref(), Some("1abc"));
        for (pk, sk) in [
            ("T#acme#F#c_01#1abc", "SNAP#0000000000000000001"),
            ("T#acme#F#c_01#1abc", "CONTENT"),
            ("T#acme#C#c_01", "LOG#user"),
            ("T#acme", "CONN#c_01"),
            ("T#acme#F#c_01", "HEAD"),
            ("", ""),
        ] {
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
