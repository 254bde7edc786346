//! The service under test: this server, or the endpoint of the environment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};
use aws_sdk_sqs::{Client, Config};
use sdk_in_process::{Body, InProcess};
use sqs_fifo::Sqs;

/// A service under test.
pub(super) struct Subject {
    pub(super) client: Client,
    /// True if the service runs in this process, in virtual time.
    is_virtual: bool,
    /// The beginning of all names of queues, unique to this scenario and run.
    prefix: String,
    queues: Mutex<Vec<String>>,
}

/// Runs a scenario against this server in virtual time, or against the endpoint that
/// `AWS_ENDPOINT_URL_SQS` names in real time, and deletes its queues. The test starts with paused
/// time.
pub(super) async fn check(scenario: impl AsyncFnOnce(&Subject)) {
    let subject = match variable("AWS_ENDPOINT_URL_SQS") {
        Some(endpoint) => Subject::at(endpoint),
        None => Subject::in_process(),
    };
    scenario(&subject).await;
    subject.delete_queues().await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the endpoint is the one setting of these tests"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn config() -> aws_sdk_sqs::config::Builder {
    let or = |name, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    let credentials = Credentials::new(
        or("AWS_ACCESS_KEY_ID", "test"),
        or("AWS_SECRET_ACCESS_KEY", "test"),
        variable("AWS_SESSION_TOKEN"),
        None,
        "environment",
    );
    Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(or("AWS_REGION", sqs_fifo::REGION)))
        .credentials_provider(credentials)
}

impl Subject {
    fn in_process() -> Self {
        let start = tokio::time::Instant::now();
        let clock = move || 1_800_000_000_000 + i64::try_from(start.elapsed().as_millis()).unwrap();
        let sqs = Sqs::open(None, Arc::new(clock)).unwrap();
        let http = InProcess::new(Arc::new(move |request| {
            let sqs = sqs.clone();
            Box::pin(async move { Ok(sqs_fifo::respond(&sqs, &request).await.map(Body::from)) })
        }));
        let config = config().endpoint_url("http://sqs.local").http_client(http);
        Self {
            client: Client::from_conf(config.build()),
            is_virtual: true,
            prefix: String::new(),
            queues: Mutex::default(),
        }
    }

    fn at(endpoint: String) -> Self {
        tokio::time::resume();
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self {
            client: Client::from_conf(config().endpoint_url(endpoint).build()),
            is_virtual: false,
            prefix: format!("{random:x}-"),
            queues: Mutex::default(),
        }
    }

    async fn delete_queues(&self) {
        let queues =
            std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        for queue in queues {
            let deleted = self.client.delete_queue().queue_url(queue).send().await;
            if let Err(error) = deleted.map_err(aws_sdk_sqs::error::SdkError::into_service_error) {
                assert!(error.is_queue_does_not_exist(), "{error}");
            }
        }
    }

    /// Returns the name of a queue in this run.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Lets time pass.
    pub(super) async fn seconds(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        if self.is_virtual {
            tokio::time::advance(time).await;
        } else {
            tokio::time::sleep(time).await;
        }
    }

    /// Creates a FIFO queue and returns its URL.
    pub(super) async fn queue(&self, name: &str, attributes: &[(Attribute, &str)]) -> String {
        let fifo = (Attribute::FifoQueue, "true");
        self.create(name, &[&[fifo], attributes].concat()).await
    }

    /// Creates a queue with these attributes alone and returns its URL.
    pub(super) async fn create(&self, name: &str, attributes: &[(Attribute, &str)]) -> String {
        let mut create = self.client.create_queue().queue_name(self.name(name));
        for (name, value) in attributes {
            create = create.attributes(name.clone(), *value);
        }
        let url = create.send().await.unwrap().queue_url.unwrap();
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(url.clone());
        url
    }

    pub(super) async fn arn(&self, queue: &str) -> String {
        self.attribute(queue, Attribute::QueueArn).await
    }

    pub(super) async fn attribute(&self, queue: &str, name: Attribute) -> String {
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

    pub(super) async fn send(&self, queue: &str, group: &str, id: &str) -> SendMessageOutput {
        let send = self.client.send_message().queue_url(queue).message_body(id);
        send.message_group_id(group)
            .message_deduplication_id(id)
            .send()
            .await
            .unwrap()
    }

    pub(super) async fn receive(&self, queue: &str) -> Vec<Message> {
        let receive = self
            .client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(10);
        let receive = receive.message_system_attribute_names(System::All);
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    pub(super) async fn bodies(&self, queue: &str) -> Vec<String> {
        self.receive(queue)
            .await
            .into_iter()
            .map(|m| m.body.unwrap())
            .collect()
    }

    pub(super) async fn delete(&self, queue: &str, message: &Message) {
        let delete = self.client.delete_message().queue_url(queue);
        delete.receipt_handle(handle(message)).send().await.unwrap();
    }

    pub(super) async fn visibility(&self, queue: &str, message: &Message, seconds: i32) {
        let change = self.client.change_message_visibility().queue_url(queue);
        let change = change
            .receipt_handle(handle(message))
            .visibility_timeout(seconds);
        change.send().await.unwrap();
    }
}

pub(super) fn handle(message: &Message) -> &str {
    message.receipt_handle().unwrap()
}

pub(super) fn system(message: &Message, name: System) -> String {
    message.attributes.as_ref().unwrap()[&name].clone()
}

pub(super) fn entry(id: &str, group: &str, body: &str) -> SendMessageBatchRequestEntry {
    let entry = SendMessageBatchRequestEntry::builder()
        .id(id)
        .message_body(body);
    entry
        .message_group_id(group)
        .message_deduplication_id(id)
        .build()
        .unwrap()
}
