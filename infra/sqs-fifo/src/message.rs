//! Sent and received messages, their digests, and receipt handles.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// One attribute of a message, in the form of the JSON protocol, which is also the stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, optionally followed by a dot and a custom label.
    pub data_type: String,
    /// The value of a `String` or a `Number`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a `Binary`, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl MessageAttribute {
    fn bytes(&self) -> Vec<u8> {
        match (&self.string_value, &self.binary_value) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(binary)) => STANDARD.decode(binary).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// Returns whether the type is known and its value is present and well-formed.
    pub(super) fn is_valid(&self) -> bool {
        let base = self.data_type.split('.').next().unwrap_or_default();
        match base {
            "String" | "Number" => self.string_value.as_ref().is_some_and(|v| !v.is_empty()),
            "Binary" => self
                .binary_value
                .as_ref()
                .is_some_and(|v| STANDARD.decode(v).is_ok()),
            _ => false,
        }
    }
}

/// Attributes of a message by name.
pub type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Messages of one group are received in the order in which they were sent. Empty for none,
    /// which only a standard queue accepts.
    pub group_id: String,
    /// A second message with this id within five minutes is not delivered. `None` is allowed only
    /// where the queue deduplicates by content, and required on a standard queue.
    pub deduplication_id: Option<String>,
    /// The delay of this message, 0 to 900 seconds; only on a standard queue. `None`: the queue's
    /// setting.
    pub delay_seconds: Option<i64>,
    /// The body, up to 1 MiB including the attributes.
    pub body: String,
    /// Custom attributes.
    pub attributes: MessageAttributes,
    /// System attributes; SQS defines only `AWSTraceHeader`.
    pub system_attributes: MessageAttributes,
}

impl NewMessage {
    /// Returns a message without attributes.
    #[must_use]
    pub fn new(
        group_id: impl Into<String>,
        deduplication_id: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        Self {
            group_id: group_id.into(),
            deduplication_id: Some(deduplication_id.into()),
            body: body.into(),
            ..Self::default()
        }
    }

    /// Returns the size that counts against the limit, in bytes: body, and names, types and values
    /// of attributes.
    pub(super) fn size_bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        attributes.fold(self.body.len(), |sum, (name, attribute)| {
            sum + name.len() + attribute.data_type.len() + attribute.bytes().len()
        })
    }
}

/// The response to a sent message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id; for a duplicate, the id of the original.
    pub message_id: String,
    /// The sequence number, 20 digits, ascending within the queue; for a duplicate, the original's.
    /// `None` on a standard queue.
    pub sequence_number: Option<String>,
    /// The MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// The MD5 of the attributes, if there are any, in hexadecimal.
    pub md5_of_attributes: Option<String>,
    /// The MD5 of the system attributes, if there are any, in hexadecimal.
    pub md5_of_system_attributes: Option<String>,
}

/// A received message, in flight from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's id, unchanged by a move to a dead-letter queue.
    pub message_id: String,
    /// Identifies this receive of the message; needed to delete it or to change its visibility.
    pub receipt_handle: String,
    /// The body as it was sent.
    pub body: String,
    /// Custom attributes.
    pub attributes: MessageAttributes,
    /// System attributes set by the sender.
    pub system_attributes: MessageAttributes,
    /// The message group; empty for none.
    pub group_id: String,
    /// The deduplication id as it was sent, or the SHA-256 of the body where the queue deduplicates
    /// by content; empty on a standard queue.
    pub deduplication_id: String,
    /// The sequence number, 20 digits, ascending within the queue. `None` on a standard queue.
    pub sequence_number: Option<String>,
    /// The time at which it was sent, or moved to this queue, in milliseconds of Unix time.
    pub sent_at_ms: i64,
    /// The time of its first receive, in milliseconds of Unix time.
    pub first_received_at_ms: i64,
    /// The number of receives, including this one.
    pub receive_count: u32,
    /// In a dead-letter queue, the ARN of the queue that it was moved from.
    pub dead_letter_source_arn: Option<String>,
}

/// Returns the MD5 of a text in hexadecimal, as SDKs check it.
pub(super) fn md5_of_text(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// Returns the MD5 of attributes in hexadecimal, or `None` when there are none.
///
/// The digest is over SQS's canonical form: for each attribute in the order of names, the name, the
/// type, one byte for text (1) or binary (2), and the value, where name, type and value are each
/// preceded by their length as four bytes (developer guide, "Calculating the MD5 message digest for
/// message attributes").
pub(super) fn md5_of_attributes(attributes: &MessageAttributes) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    let mut part = |bytes: &[u8], kind: Option<u8>| {
        if let Some(kind) = kind {
            digest.update([kind]);
        }
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, attribute) in attributes {
        part(name.as_bytes(), None);
        part(attribute.data_type.as_bytes(), None);
        part(
            &attribute.bytes(),
            Some(if attribute.string_value.is_some() {
                1
            } else {
                2
            }),
        );
    }
    Some(hex::encode(digest.finalize()))
}

/// Returns a sequence number in SQS's form.
pub(super) fn sequence_text(sequence: i64) -> String {
    format!("{sequence:020}")
}

/// The content of a receipt handle: a queue, a message in it, and the number of its receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) queue: i64,
    pub(super) sequence: i64,
    pub(super) receive_count: u32,
}

impl Receipt {
    pub(super) fn handle(self) -> String {
        let Self {
            queue,
            sequence,
            receive_count,
        } = self;
        URL_SAFE_NO_PAD.encode(format!("receipt/{queue}/{sequence}/{receive_count}"))
    }

    pub(super) fn parse(handle: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(handle).ok()?).ok()?;
        let mut parts = text.strip_prefix("receipt/")?.split('/');
        let mut next = || parts.next();
        let receipt = Self {
            queue: next()?.parse().ok()?,
            sequence: next()?.parse().ok()?,
            receive_count: next()?.parse().ok()?,
        };
        next().is_none().then_some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_handle_survives_a_round_trip() {
        let receipt = Receipt {
            queue: 3,
            sequence: 77,
            receive_count: 2,
        };
        assert_eq!(Receipt::parse(&receipt.handle()), Some(receipt));
        assert_eq!(Receipt::parse("invalid"), None);
    }

    #[test]
    fn digests_match_those_of_the_sdks() {
        assert_eq!(md5_of_text("test"), "098f6bcd4621d373cade4e832627b4f6");
        let attribute = MessageAttribute {
            data_type: "String".into(),
            string_value: Some("test_value".into()),
            binary_value: None,
        };
        // The canonical form, spelled out.
        let canonical = b"\0\0\0\x04name\0\0\0\x06String\x01\0\0\0\x0atest_value";
        let expected = hex::encode(Md5::digest(canonical));
        let attributes = MessageAttributes::from([("name".to_owned(), attribute)]);
        assert_eq!(md5_of_attributes(&attributes), Some(expected));
        assert_eq!(md5_of_attributes(&MessageAttributes::new()), None);
    }
}
