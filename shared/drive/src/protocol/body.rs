//! The JSON of a response, with text that can be read.
//!
//! A name may contain half of a character: JavaScript's strings are UTF-16, and a program that cuts
//! one in the middle of an emoji leaves a lone surrogate, which JSON can carry (`\ud83d`) and UTF-8
//! can't. Such a half, and bytes that are not UTF-8, are read as U+FFFD. What must be written back
//! unchanged is taken from the original.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The escape of U+FFFD, as long as that of a surrogate, so that all positions stay.
const REPLACEMENT: &[u8; 6] = b"\\ufffd";

/// The body of a response that is JSON.
#[derive(Debug, Clone)]
pub(crate) struct JsonBody {
    /// The body with readable text.
    text: Bytes,
    /// The body as it was received, if that is something else.
    original: Option<Bytes>,
}

impl JsonBody {
    /// Reads the body of a response.
    pub(crate) fn new(body: Bytes) -> Self {
        let lone = lone_surrogates(&body);
        if lone.is_empty() && std::str::from_utf8(&body).is_ok() {
            return Self {
                text: body,
                original: None,
            };
        }
        let mut text = body.to_vec();
        for at in lone {
            if let Some(escape) = text.get_mut(at..at + REPLACEMENT.len()) {
                escape.copy_from_slice(REPLACEMENT);
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Self {
            text: text.into(),
            original: Some(body),
        }
    }

    /// Returns the body with readable text.
    pub(crate) fn text(&self) -> &Bytes {
        &self.text
    }

    /// Returns the properties of a file of v2 as they were received, if some text in the response
    /// had to be replaced.
    pub(crate) fn original_properties(&self) -> Option<Vec<OriginalProperty>> {
        #[derive(Deserialize)]
        struct File<'a> {
            #[serde(borrow, default)]
            properties: Vec<Property<'a>>,
        }
        #[derive(Deserialize)]
        struct Property<'a> {
            #[serde(borrow)]
            key: &'a RawValue,
            #[serde(borrow)]
            value: Option<&'a RawValue>,
            visibility: Option<String>,
        }
        let original = self.original.as_ref()?;
        let file: File<'_> = serde_json::from_slice(original).ok()?;
        let properties = file.properties.into_iter().filter_map(|property| {
            let key = Self::new(Bytes::copy_from_slice(property.key.get().as_bytes()));
            Some(OriginalProperty {
                shown_key: serde_json::from_slice(key.text()).ok()?,
                key: property.key.get().to_owned(),
                value: property.value?.get().to_owned(),
                public: property.visibility.as_deref() == Some(crate::protocol::wire::PUBLIC),
            })
        });
        Some(properties.collect())
    }
}

/// A property of a file as it was received.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OriginalProperty {
    /// The key as it is read.
    pub(crate) shown_key: String,
    /// The key, a string of JSON.
    pub(crate) key: String,
    /// The value, a string of JSON.
    pub(crate) value: String,
    /// Whether every application sees it.
    pub(crate) public: bool,
}

/// Returns the positions of the escapes of surrogates that have no other half. Outside of strings
/// JSON has no backslashes.
fn lone_surrogates(json: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| find(rest, b'\\')) {
        at += found;
        match code_unit(json, at) {
            Some(0xd800..=0xdbff) => {
                if matches!(code_unit(json, at + 6), Some(0xdc00..=0xdfff)) {
                    at += 12;
                } else {
                    lone.push(at);
                    at += 6;
                }
            }
            Some(0xdc00..=0xdfff) => {
                lone.push(at);
                at += 6;
            }
            Some(_) => at += 6,
            // Another escape, of which the second character may be a backslash.
            None => at += 2,
        }
    }
    lone
}

fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// Returns the UTF-16 code unit that is escaped at a position, if one is.
fn code_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_character_is_read_as_a_replacement_and_all_else_as_it_is() {
        for (json, text) in [
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\uDE00b""#, "\u{fffd}b"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83dude00""#, "\u{fffd}ude00"),
            (r#""\\ud83d""#, r"\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
            (r#""\ud83d\n\\""#, "\u{fffd}\n\\"),
            (r#""\u00e9 é 😀""#, "é é 😀"),
        ] {
            let body = JsonBody::new(Bytes::from_static(json.as_bytes()));
            let read: String = serde_json::from_slice(body.text()).unwrap();
            assert_eq!(read, text, "{json}");
            assert_eq!(body.original.is_some(), text.contains('\u{fffd}'), "{json}");
        }
        // Surrogates in the form of UTF-8, which it does not allow, and a cut character.
        for bytes in [b"\"a\xed\xa0\xbd\"".as_slice(), b"\"a\xf0\x9f\x98\""] {
            let body = JsonBody::new(Bytes::from_static(bytes));
            let read: String = serde_json::from_slice(body.text()).unwrap();
            assert!(read.starts_with("a\u{fffd}"), "{read}");
        }
    }

    #[test]
    fn what_is_not_json_is_left_to_the_parser() {
        for bytes in [
            b"\\".as_slice(),
            b"\\u",
            b"\\ud83",
            b"\\u+123",
            b"<html>",
            b"",
        ] {
            let body = JsonBody::new(Bytes::from_static(bytes));
            assert_eq!(body.text(), bytes);
        }
    }
}
