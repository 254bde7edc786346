//! Messages as they are sent and received, their digests, and receipt handles.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// One attribute of a message, as the JSON protocol carries it and as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageAttribute {
    /// `String`, `Number` or `Binary`, perhaps with a label of the sender's after a dot.
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

    /// True when the type is known and exactly the member that it asks for is there.
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

/// A message's attributes by name.
pub type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Messages of one group are received in the order in which they were sent.
    pub group_id: String,
    /// A second message with this id within five minutes is not delivered. None only where the queue deduplicates by content.
    pub deduplication_id: Option<String>,
    /// The text, up to 1 MiB with the attributes.
    pub body: String,
    /// Attributes of the sender's.
    pub attributes: MessageAttributes,
    /// The system attributes of the sender's: only `AWSTraceHeader` exists.
    pub system_attributes: MessageAttributes,
}

impl NewMessage {
    /// A message without attributes.
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

    /// What counts against the size limit: body, names, types and values, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        attributes.fold(self.body.len(), |sum, (name, attribute)| {
            sum + name.len() + attribute.data_type.len() + attribute.bytes().len()
        })
    }
}

/// What the sender of a message is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message's id; of a duplicate, the id of the message that it repeats.
    pub message_id: String,
    /// Twenty digits, ascending within the queue; of a duplicate, the original's.
    pub sequence_number: String,
    /// Hexadecimal MD5 of the body.
    pub md5_of_body: String,
    /// Hexadecimal MD5 of the attributes, when there are any.
    pub md5_of_attributes: Option<String>,
    /// Hexadecimal MD5 of the system attributes, when there are any.
    pub md5_of_system_attributes: Option<String>,
}

/// A message that was received and is now in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's id, kept on its way to a dead-letter queue.
    pub message_id: String,
    /// Names this receive of the message: needed to delete it or to change its visibility.
    pub receipt_handle: String,
    /// The text that was sent.
    pub body: String,
    /// Attributes of the sender's.
    pub attributes: MessageAttributes,
    /// System attributes of the sender's.
    pub system_attributes: MessageAttributes,
    /// The group, in whose order messages are received.
    pub group_id: String,
    /// As it was sent, or the SHA-256 of the body where the queue deduplicates by content.
    pub deduplication_id: String,
    /// Twenty digits, ascending within the queue.
    pub sequence_number: String,
    /// When it was sent (or moved here), in milliseconds of Unix time.
    pub sent_at_ms: i64,
    /// When it was first received, in milliseconds of Unix time.
    pub first_received_at_ms: i64,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// The ARN of the queue that it was moved from, when it is in a dead-letter queue.
    pub dead_letter_source_arn: Option<String>,
}

/// Hexadecimal MD5 of a text, as SDKs check it.
#[must_use]
pub fn md5_of_text(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// Hexadecimal MD5 of attributes in SQS's canonical form, or None when there are none. The form: per attribute in the order
/// of names, the name, the type, one byte for text (1) or binary (2) and the value, each with its length as four bytes
/// before it (developer guide, "Calculating the MD5 message digest for message attributes").
#[must_use]
pub fn md5_of_attributes(attributes: &MessageAttributes) -> Option<String> {
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

/// A sequence number as SQS writes it.
pub(super) fn sequence_text(sequence: i64) -> String {
    format!("{sequence:020}")
}

/// What a receipt handle says: a queue, a message in it, and which receive of it.
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
    fn a_receipt_handle_reads_back_as_itself() {
        let receipt = Receipt {
            queue: 3,
            sequence: 77,
            receive_count: 2,
        };
        assert_eq!(Receipt::parse(&receipt.handle()), Some(receipt));
        assert_eq!(Receipt::parse("nonsense"), None);
    }

    #[test]
    fn digests_are_those_that_sdks_compute() {
        assert_eq!(md5_of_text("test"), "098f6bcd4621d373cade4e832627b4f6");
        let attribute = MessageAttribute {
            data_type: "String".into(),
            string_value: Some("test_value".into()),
            binary_value: None,
        };
        // The canonical bytes, written out by hand.
        let canonical = b"\0\0\0\x04name\0\0\0\x06String\x01\0\0\0\x0atest_value";
        let expected = hex::encode(Md5::digest(canonical));
        let attributes = MessageAttributes::from([("name".to_owned(), attribute)]);
        assert_eq!(md5_of_attributes(&attributes), Some(expected));
        assert_eq!(md5_of_attributes(&MessageAttributes::new()), None);
    }
}
