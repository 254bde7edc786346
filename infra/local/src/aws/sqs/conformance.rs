//! What we hold of SQS FIFO, as scenarios over the real SDK client. They run here against our server on virtual time; given
//! another client and a real `elapse` they would run against AWS.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};

use crate::aws::in_process::BoxFuture;

mod messages;
mod queues;

pub(super) use self::messages::*;
pub(super) use self::queues::*;

/// A service under test.
pub(super) struct Subject {
    pub(super) client: Client,
    /// Lets time pass: virtual here, real elsewhere.
    pub(super) elapse: Arc<dyn Fn(Duration) -> BoxFuture<()> + Send + Sync>,
}

impl Subject {
    async fn seconds(&self, seconds: u64) {
        (self.elapse)(Duration::from_secs(seconds)).await;
    }

    async fn queue(&self, name: &str, attributes: &[(Attribute, &str)]) -> String {
        let mut create = self.client.create_queue().queue_name(name);
        create = create.attributes(Attribute::FifoQueue, "true");
        for (name, value) in attributes {
            create = create.attributes(name.clone(), *value);
        }
        create.send().await.unwrap().queue_url.unwrap()
    }

    async fn arn(&self, queue: &str) -> String {
        self.attribute(queue, Attribute::QueueArn).await
    }

    async fn attribute(&self, queue: &str, name: Attribute) -> String {
        let get = self.client.get_queue_attributes().queue_url(queue);
        let all = get
            .attribute_names(Attribute::All)
            .send()
            .await
            .unwrap()
            .attributes
            .unwrap();
        all[&name].clone()
    }

    async fn send(&self, queue: &str, group: &str, id: &str) -> SendMessageOutput {
        let send = self.client.send_message().queue_url(queue).message_body(id);
        send.message_group_id(group)
            .message_deduplication_id(id)
            .send()
            .await
            .unwrap()
    }

    async fn receive(&self, queue: &str) -> Vec<Message> {
        let receive = self
            .client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10);
        let receive = receive.message_system_attribute_names(System::All);
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    async fn bodies(&self, queue: &str) -> Vec<String> {
        self.receive(queue)
            .await
            .into_iter()
            .map(|m| m.body.unwrap())
            .collect()
    }

    async fn delete(&self, queue: &str, message: &Message) {
        let delete = self.client.delete_message().queue_url(queue);
        delete.receipt_handle(handle(message)).send().await.unwrap();
    }

    async fn visibility(&self, queue: &str, message: &Message, seconds: i32) {
        let change = self.client.change_message_visibility().queue_url(queue);
        let change = change
            .receipt_handle(handle(message))
            .visibility_timeout(seconds);
        change.send().await.unwrap();
    }
}

fn handle(message: &Message) -> &str {
    message.receipt_handle().unwrap()
}

fn system(message: &Message, name: System) -> String {
    message.attributes.as_ref().unwrap()[&name].clone()
}

fn entry(id: &str, group: &str, body: &str) -> SendMessageBatchRequestEntry {
    let entry = SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body);
    entry
        .message_group_id(group)
        .message_deduplication_id(id)
        .build()
        .unwrap()
}
