//! Requests and responses of SQS's JSON protocol, as far as it is supported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{MessageAttributes, NewMessage, Sent};
use super::settings::Attributes;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateQueue {
    pub(super) queue_name: String,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueName {
    pub(super) queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueUrl {
    pub(super) queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListQueues {
    #[serde(default)]
    pub(super) queue_name_prefix: String,
    pub(super) max_results: Option<usize>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAttributes {
    pub(super) queue_url: String,
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttributes {
    pub(super) queue_url: String,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// The message of `SendMessage`, or one entry of `SendMessageBatch`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    #[serde(default)]
    message_body: String,
    #[serde(default)]
    message_group_id: String,
    message_deduplication_id: Option<String>,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: MessageAttributes,
    #[serde(default)]
    message_system_attributes: MessageAttributes,
}

impl From<Message> for NewMessage {
    fn from(message: Message) -> Self {
        Self {
            group_id: message.message_group_id,
            deduplication_id: message.message_deduplication_id,
            delay_seconds: message.delay_seconds,
            body: message.message_body,
            attributes: message.message_attributes,
            system_attributes: message.message_system_attributes,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Send {
    pub(super) queue_url: String,
    #[serde(flatten)]
    pub(super) message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<T> {
    pub(super) queue_url: String,
    #[serde(default = "Vec::new")]
    pub(super) entries: Vec<Entry<T>>,
}

#[derive(Deserialize)]
pub(super) struct Entry<T> {
    #[serde(rename = "Id")]
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) entry: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receipt {
    pub(super) receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Visibility {
    pub(super) receipt_handle: String,
    pub(super) visibility_timeout: Option<i64>,
}

/// A single entry as a request of its own, outside a batch.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct One<T> {
    pub(super) queue_url: String,
    #[serde(flatten)]
    pub(super) entry: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receive {
    pub(super) queue_url: String,
    pub(super) max_number_of_messages: Option<i64>,
    pub(super) wait_time_seconds: Option<i64>,
    pub(super) visibility_timeout: Option<i64>,
    pub(super) receive_request_attempt_id: Option<String>,
    /// The older name of `message_system_attribute_names`.
    #[serde(default)]
    pub(super) attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_system_attribute_names: Vec<String>,
    #[serde(default)]
    pub(super) message_attribute_names: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct SentJson {
    #[serde(rename = "Id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "MessageId")]
    message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    md5_of_body: String,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    md5_of_attributes: Option<String>,
    #[serde(
        rename = "MD5OfMessageSystemAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    md5_of_system_attributes: Option<String>,
    #[serde(rename = "SequenceNumber", skip_serializing_if = "Option::is_none")]
    sequence_number: Option<String>,
}

impl SentJson {
    pub(super) fn new(id: Option<String>, sent: Sent) -> Self {
        Self {
            id,
            message_id: sent.message_id,
            md5_of_body: sent.md5_of_body,
            md5_of_attributes: sent.md5_of_attributes,
            md5_of_system_attributes: sent.md5_of_system_attributes,
            sequence_number: sent.sequence_number,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Succeeded {
    pub(super) id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failed {
    pub(super) id: String,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) sender_fault: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchResult<T> {
    pub(super) successful: Vec<T>,
    pub(super) failed: Vec<Failed>,
}

#[derive(Serialize)]
pub(super) struct MessageJson {
    #[serde(rename = "MessageId")]
    pub(super) message_id: String,
    #[serde(rename = "ReceiptHandle")]
    pub(super) receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    pub(super) md5_of_body: String,
    #[serde(rename = "Body")]
    pub(super) body: String,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) system: BTreeMap<&'static str, String>,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) md5_of_attributes: Option<String>,
    #[serde(
        rename = "MessageAttributes",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub(super) attributes: MessageAttributes,
}
