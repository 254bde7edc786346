//! From our item forms to DynamoDB's attributes and back.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::StoreError;
use crate::key::{Item, Key};

/// The format of everything that this build writes. Raise it when an older build could misread an item.
pub(crate) const FORMAT: u64 = 1;

/// An item: key, format, body. Places in indexes are added by whoever knows them.
pub(crate) fn encode(key: &Key, body: &impl Serialize) -> Result<Item, StoreError> {
    let mut item: Item = to_item(body).map_err(|why| StoreError::Refused(Box::new(why)))?;
    item.extend(key.to_item());
    item.insert("format".to_owned(), AttributeValue::N(FORMAT.to_string()));
    Ok(item)
}

/// The body of an item that this build can read.
pub(crate) fn decode<T: DeserializeOwned>(item: Item) -> Result<(Key, T), StoreError> {
    let key = Key::of(&item)?;
    let format = item.get("format").and_then(|value| value.as_n().ok());
    let format: Option<u64> = format.and_then(|digits| digits.parse().ok());
    match format {
        Some(format) if format > FORMAT => {
            return Err(StoreError::NewerItem {
                pk: key.pk,
                sk: key.sk,
                format,
            });
        }
        Some(_) => {}
        None => return Err(key.corrupt("it has no format")),
    }
    match from_item(item) {
        Ok(body) => Ok((key, body)),
        Err(why) => Err(StoreError::Corrupt {
            pk: key.pk,
            sk: key.sk,
            what: "the decoder refuses it",
            source: Some(Box::new(why)),
        }),
    }
}

/// A checksum: bytes where its text is lower-case hex (half the size), the text itself where it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    Bytes(Vec<u8>),
    Text(String),
}

impl Checksum {
    pub(crate) fn of(text: &str) -> Self {
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
        match pairs.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) if rest.is_empty() => Self::Bytes(bytes),
            Some(_) | None => Self::Text(text.to_owned()),
        }
    }

    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Text(text) => text,
        }
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Checksum;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes or a text")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Checksum, E> {
                Ok(Checksum::Bytes(bytes.to_vec()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Checksum, E> {
                Ok(Checksum::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_comes_back_as_it_was_whatever_it_was() {
        for text in ["", "00ff", "d41d8cd98f00b204e9800998ecf8427e"] {
            assert!(matches!(Checksum::of(text), Checksum::Bytes(_)), "{text}");
            assert_eq!(Checksum::of(text).into_text(), text);
        }
        for text in ["0", "00FF", "xyz!", "é"] {
            assert_eq!(Checksum::of(text), Checksum::Text(text.to_owned()));
        }
    }
}
