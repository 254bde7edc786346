//! The codec between the store's item forms and DynamoDB's attributes.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{Cause, Timestamp};
use serde::de::value::Error as Undecoded;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::StoreError;
use crate::table::item_size::{ITEM_BYTES_MAX, bytes_of, too_long_key};
use crate::table::key::{Index, Item, Key};

/// The format of the items that this build creates. A format is raised when an older build could
/// misread an item.
pub(crate) const FORMAT: u64 = 1;
/// The latest format that this build reads and preserves: that of the next release, with which it
/// shares the table during a deployment, and after a rollback.
pub(crate) const FORMAT_MAX: u64 = FORMAT + 1;

/// An item in the form that this build writes.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// The whole item, as it is created.
    pub(crate) item: Item,
    pub(crate) key: Key,
    /// The attributes that the item's decoder knows. All others are left alone by a write.
    pub(crate) known: &'static [&'static str],
}

impl Encoded {
    /// Puts the item in an index.
    pub(crate) fn place(&mut self, index: Index, (pk, sk): (String, String)) {
        self.set(index.pk(), AttributeValue::S(pk));
        self.set(index.sk(), AttributeValue::S(sk));
    }

    /// Sets the item's time to live.
    pub(crate) fn expire(&mut self, at: Timestamp) {
        self.set(EXPIRES, AttributeValue::N(at.as_seconds().to_string()));
    }

    /// Returns whether the item has a time to live.
    pub(crate) fn expires(&self) -> bool {
        self.item.contains_key(EXPIRES)
    }

    /// Returns the size of the whole item in bytes.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.item)
    }

    /// Checks that the item fits into the table: what can never be written differs from what can't
    /// be written now.
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        let too_large = |what: String, bytes, bytes_max| {
            Err(StoreError::TooLarge {
                what,
                bytes,
                bytes_max,
            })
        };
        let kind = self.key.sk.split('#').next().unwrap_or_default();
        let bytes = self.bytes();
        if bytes > ITEM_BYTES_MAX {
            return too_large(format!("the item {kind}"), bytes, ITEM_BYTES_MAX);
        }
        match too_long_key(&self.item) {
            None => Ok(()),
            Some((bytes, bytes_max)) => {
                too_large(format!("a key of the item {kind}"), bytes, bytes_max)
            }
        }
    }

    fn set(&mut self, name: &str, value: AttributeValue) {
        self.item.insert(name.to_owned(), value);
    }
}

/// The attribute of an item's format.
pub(crate) const FORMAT_NAME: &str = "format";
/// The attribute of an item's time to live.
pub(crate) const EXPIRES: &str = "expires";

/// Returns whether an item's time to live has ended. DynamoDB deletes such an item days later.
pub(crate) fn has_expired(item: &Item, now: Timestamp) -> bool {
    let expires = item.get(EXPIRES).and_then(|value| value.as_n().ok());
    let expires = expires.and_then(|digits| digits.parse::<i64>().ok());
    expires.is_some_and(|at| at <= now.as_millis().div_euclid(1_000))
}

/// Encodes a body, with its key and format. Callers add places in indexes and a time to live.
pub(crate) fn encode<T>(key: &Key, body: &T) -> Result<Encoded, StoreError>
where
    T: Serialize + DeserializeOwned,
{
    let mut item: Item = to_item(body).map_err(|why| StoreError::Refused(Box::new(why)))?;
    item.extend(key.to_item());
    let format = AttributeValue::N(FORMAT.to_string());
    item.insert(FORMAT_NAME.to_owned(), format);
    Ok(Encoded {
        item,
        key: key.clone(),
        known: member_names::<T>(),
    })
}

/// Decodes the body of an item, if its format is one that this build reads.
pub(crate) fn decode<T: DeserializeOwned>(item: Item) -> Result<(Key, T), StoreError> {
    let key = Key::of(&item)?;
    match format_of(&item) {
        Some(format) if format > FORMAT_MAX => {
            return Err(StoreError::NewerItem {
                pk: key.pk,
                sk: key.sk,
                format,
            });
        }
        Some(_) => {}
        None => return Err(key.corrupt("its format is missing")),
    }
    match from_item(item) {
        Ok(body) => Ok((key, body)),
        Err(why) => Err(StoreError::Corrupt {
            pk: key.pk,
            sk: key.sk,
            what: "its attributes can't be decoded",
            source: Some(Box::new(why)),
        }),
    }
}

/// Returns the format of an item.
pub(crate) fn format_of(item: &Item) -> Option<u64> {
    let format = item.get(FORMAT_NAME)?;
    format.as_n().ok()?.parse().ok()
}

/// Returns the names of a struct's members, as its derived decoder declares them.
fn member_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names = MemberNames(&[]);
    // The decoder asks for its members and is refused a value: only the question matters.
    let _refused = T::deserialize(&mut names);
    names.0
}

struct MemberNames(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut MemberNames {
    type Error = Undecoded;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Undecoded> {
        self.0 = fields;
        Err(Undecoded::custom("there is no value"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Undecoded> {
        Err(Undecoded::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A cause: 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CauseItem(pub(crate) Cause);

impl Serialize for CauseItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_bytes())
    }
}

impl<'de> Deserialize<'de> for CauseItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sixteen;
        impl Visitor<'_> for Sixteen {
            type Value = CauseItem;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("16 bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<CauseItem, E> {
                let bytes = bytes.try_into();
                let bytes = bytes.map_err(|_| E::custom("a cause has 16 bytes"))?;
                Ok(CauseItem(Cause::from_bytes(bytes)))
            }
        }
        deserializer.deserialize_any(Sixteen)
    }
}

/// A checksum: bytes if its text is lower-case hex (half the size), else the text itself.
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
    fn the_known_attributes_are_the_members_that_the_decoder_declares() {
        #[derive(Serialize, Deserialize)]
        struct Body {
            plain: u64,
            #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
            renamed: Option<u64>,
        }
        let body = Body {
            plain: 1,
            renamed: None,
        };
        let encoded = encode(&Key::new("p", "s"), &body).unwrap();
        assert_eq!(encoded.known, ["plain", "r"]);
        assert!(!encoded.item.contains_key("r"));
    }

    #[test]
    fn any_checksum_round_trips() {
        for text in ["", "00ff", "d41d8cd98f00b204e9800998ecf8427e"] {
            assert!(matches!(Checksum::of(text), Checksum::Bytes(_)), "{text}");
            assert_eq!(Checksum::of(text).into_text(), text);
        }
        for text in ["0", "00FF", "xyz!", "é"] {
            assert_eq!(Checksum::of(text), Checksum::Text(text.to_owned()));
        }
    }
    #[test]
    fn a_cause_is_stored_as_sixteen_bytes() {
        #[derive(Serialize, Deserialize)]
        struct Body {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            cause: Option<CauseItem>,
        }
        let body = Body {
            cause: Some(CauseItem(Cause::fresh(1, 2))),
        };
        let mut item = encode(&Key::new("p", "s"), &body).unwrap().item;
        assert_eq!(item["cause"].as_b().unwrap().as_ref().len(), 16);
        let read = |item: &Item| decode::<Body>(item.clone()).map(|(_, body)| body.cause);
        assert_eq!(read(&item).unwrap().unwrap().0, Cause::fresh(1, 2));
        let short = AttributeValue::B(vec![1, 2].into());
        item.insert("cause".to_owned(), short);
        assert!(read(&item).is_err());
        item.remove("cause");
        assert!(read(&item).unwrap().is_none());
    }
}
