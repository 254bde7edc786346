//! What the table's stream tells of file records: decoding alone, no call.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionId, ConnectionKey, FileId, FileRecord, TenantId};

use crate::StoreError;
use crate::file_item::decode_file;
use crate::key::{HEAD, Item, Key};

/// An item as a stream's record carries it; empty where the record has none.
pub type Image = serde_dynamo::Item;

/// A file's record before and after one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Whose file.
    pub key: ConnectionKey,
    /// Which file.
    pub file: FileId,
    /// The record that was replaced; `None` where there was none.
    pub before: Option<FileRecord>,
    /// The record that was written; `None` where the item was removed.
    pub after: Option<FileRecord>,
}

/// Whose record an item is, by its key; `None` for everything that is no file's record.
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

/// [`file_of_key`] of the keys that a stream's record carries.
#[must_use]
pub fn file_of_keys(keys: &Image) -> Option<(ConnectionKey, FileId)> {
    let text = |name: &str| match keys.inner().get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    file_of_key(text("PK")?, text("SK")?)
}

impl FileChange {
    /// Reads what became of a file's record; `file` is what its keys say.
    ///
    /// # Errors
    /// [`StoreError::NewerItem`] where newer code wrote one of the images, [`StoreError::Corrupt`] where one is not what
    /// this build writes, or is of another file.
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
                Err(Key::head(&key, &file).corrupt("its keys and its image are of two files"))
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
    use crate::file_item::encode_file;
    use domain::{DriveVersion, Field, FieldMask, Mirror, Snapshot, Value};
    use std::collections::BTreeMap;

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    fn record(id: &str) -> FileRecord {
        FileRecord::first_sight(&Snapshot {
            file: FileId::parse(id).unwrap(),
            version: DriveVersion(7),
            mask: FieldMask::CURRENT,
            fields: BTreeMap::from([(Field::Name, Value::text("a"))]),
            mirror: Mirror {
                sha256: Some("ab".repeat(32)),
                ..Mirror::default()
            },
        })
    }

    fn image(record: &FileRecord) -> Image {
        let item = encode_file(&key(), record, Nonce(1)).unwrap();
        let each = item.into_iter().map(|(name, value)| (name, value.into()));
        Image::from(each.collect::<HashMap<String, serde_dynamo::AttributeValue>>())
    }

    fn read(before: Image, after: Image) -> Result<FileChange, StoreError> {
        let file = file_of_keys(&image(&record("1abc"))).unwrap();
        FileChange::read(file, before, after)
    }

    #[test]
    fn a_stream_record_shows_the_record_before_and_after() {
        let (empty, full) = (Image::default(), image(&record("1abc")));
        let made = read(empty.clone(), full.clone()).unwrap();
        assert_eq!((made.before, made.after), (None, Some(record("1abc"))));
        let removed = read(full, empty).unwrap();
        assert_eq!(
            (removed.before, removed.after),
            (Some(record("1abc")), None)
        );
        assert_eq!(removed.key, key());
    }

    #[test]
    fn only_file_records_are_told_by_their_keys() {
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
    fn what_newer_code_wrote_is_refused_and_what_nobody_wrote_is_corrupt() {
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
