//! What we hold of SQS FIFO, as scenarios over the real SDK client. They run here against our server on virtual time; given
//! another client and a real `elapse` they would run against AWS.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageAttributeValue, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};

use crate::aws::in_process::BoxFuture;

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

pub(super) async fn several_messages_of_one_group_come_in_one_receive_in_order(s: &Subject) {
    let queue = s.queue("order.fifo", &[]).await;
    for (group, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
        s.send(&queue, group, id).await;
    }
    assert_eq!(s.bodies(&queue).await, ["1", "3", "4", "2"]);
}

pub(super) async fn a_group_is_blocked_while_one_of_its_messages_is_in_flight(s: &Subject) {
    let queue = s.queue("blocked.fifo", &[]).await;
    s.send(&queue, "a", "1").await;
    let first = s.receive(&queue).await;
    s.send(&queue, "a", "2").await;
    s.send(&queue, "b", "3").await;
    assert_eq!(s.bodies(&queue).await, ["3"]);
    assert!(s.receive(&queue).await.is_empty());
    s.delete(&queue, &first[0]).await;
    assert_eq!(s.bodies(&queue).await, ["2"]);
}

pub(super) async fn a_duplicate_send_returns_the_original_id_and_sequence_number(s: &Subject) {
    let queue = s.queue("duplicate.fifo", &[]).await;
    let first = s.send(&queue, "a", "1").await;
    let again = s.send(&queue, "b", "1").await;
    assert_eq!(first.message_id, again.message_id);
    assert_eq!(first.sequence_number, again.sequence_number);
    let message = &s.receive(&queue).await[0];
    s.delete(&queue, message).await;
    s.seconds(299).await;
    s.send(&queue, "a", "1").await;
    assert!(
        s.receive(&queue).await.is_empty(),
        "deleted is still a duplicate"
    );
    s.seconds(1).await;
    let later = s.send(&queue, "a", "1").await;
    assert_ne!(first.message_id, later.message_id);
    assert!(first.sequence_number < later.sequence_number);
    assert_eq!(s.bodies(&queue).await, ["1"]);
}

pub(super) async fn deduplication_scoped_to_the_group_lets_another_group_use_the_id(s: &Subject) {
    let scope = [
        (Attribute::DeduplicationScope, "messageGroup"),
        (Attribute::FifoThroughputLimit, "perMessageGroupId"),
    ];
    let queue = s.queue("scope.fifo", &scope).await;
    for group in ["a", "b", "a"] {
        s.send(&queue, group, "1").await;
    }
    assert_eq!(s.bodies(&queue).await, ["1", "1"]);
}

pub(super) async fn content_can_stand_for_the_deduplication_id(s: &Subject) {
    let queue = s
        .queue(
            "content.fifo",
            &[(Attribute::ContentBasedDeduplication, "true")],
        )
        .await;
    let plain = s.queue("explicit.fifo", &[]).await;
    let send = |queue: &str| {
        let send = s
            .client
            .send_message()
            .queue_url(queue)
            .message_group_id("a");
        send.message_body("same").send()
    };
    let first = send(&queue).await.unwrap();
    assert_eq!(send(&queue).await.unwrap().message_id, first.message_id);
    assert_eq!(s.bodies(&queue).await, ["same"]);
    assert_eq!(
        send(&plain).await.unwrap_err().code(),
        Some("InvalidParameterValue")
    );
}

pub(super) async fn a_queue_delay_holds_messages_back(s: &Subject) {
    let queue = s
        .queue("delay.fifo", &[(Attribute::DelaySeconds, "2")])
        .await;
    s.send(&queue, "a", "1").await;
    let delayed = Attribute::ApproximateNumberOfMessagesDelayed;
    assert_eq!(s.attribute(&queue, delayed).await, "1");
    s.seconds(1).await;
    assert!(s.receive(&queue).await.is_empty());
    s.seconds(1).await;
    assert_eq!(s.bodies(&queue).await, ["1"]);
    let own = s
        .client
        .send_message()
        .queue_url(&queue)
        .message_body("x")
        .delay_seconds(1);
    let own = own
        .message_group_id("a")
        .message_deduplication_id("x")
        .send()
        .await;
    assert_eq!(own.unwrap_err().code(), Some("InvalidParameterValue"));
}

pub(super) async fn a_visibility_timeout_gives_the_message_back(s: &Subject) {
    let queue = s
        .queue("visibility.fifo", &[(Attribute::VisibilityTimeout, "10")])
        .await;
    s.send(&queue, "a", "1").await;
    s.send(&queue, "a", "2").await;
    s.receive(&queue).await;
    s.seconds(9).await;
    assert!(s.receive(&queue).await.is_empty());
    s.seconds(1).await;
    assert_eq!(s.bodies(&queue).await, ["1", "2"]);
}

pub(super) async fn visibility_zero_gives_the_message_back_at_once(s: &Subject) {
    let queue = s.queue("release.fifo", &[]).await;
    s.send(&queue, "a", "1").await;
    s.send(&queue, "a", "2").await;
    let messages = s.receive(&queue).await;
    s.visibility(&queue, &messages[0], 0).await;
    assert!(
        s.receive(&queue).await.is_empty(),
        "the second message still blocks the group"
    );
    s.visibility(&queue, &messages[1], 0).await;
    let again = s.receive(&queue).await;
    assert_eq!(system(&again[0], System::ApproximateReceiveCount), "2");
    s.visibility(&queue, &again[0], 60).await;
    s.seconds(31).await;
    assert!(
        s.receive(&queue).await.is_empty(),
        "the extended one blocks the group"
    );
    s.seconds(29).await;
    assert_eq!(s.bodies(&queue).await, ["1", "2"]);
}

pub(super) async fn a_batch_changes_visibility_entry_by_entry(s: &Subject) {
    let queue = s.queue("visibility-batch.fifo", &[]).await;
    s.send(&queue, "a", "1").await;
    let message = &s.receive(&queue).await[0];
    let entry = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
        entry
            .receipt_handle(handle)
            .visibility_timeout(0)
            .build()
            .unwrap()
    };
    let batch = s.client.change_message_visibility_batch().queue_url(&queue);
    let batch = batch
        .entries(entry("ok", handle(message)))
        .entries(entry("bad", "nonsense"));
    let result = batch.send().await.unwrap();
    assert_eq!(result.successful()[0].id(), "ok");
    assert_eq!(result.failed()[0].code(), "ReceiptHandleIsInvalid");
    let again = s
        .client
        .change_message_visibility()
        .queue_url(&queue)
        .visibility_timeout(0);
    let again = again
        .receipt_handle(handle(message))
        .send()
        .await
        .unwrap_err();
    assert!(again.into_service_error().is_message_not_inflight());
}

pub(super) async fn system_attributes_tell_the_message_s_story(s: &Subject) {
    let queue = s.queue("attributes.fifo", &[]).await;
    let sent = s.send(&queue, "group", "id-1").await;
    s.seconds(5).await;
    let first = s.receive(&queue).await;
    s.visibility(&queue, &first[0], 0).await;
    s.seconds(5).await;
    let message = &s.receive(&queue).await[0];
    assert_eq!(system(message, System::MessageGroupId), "group");
    assert_eq!(system(message, System::MessageDeduplicationId), "id-1");
    assert_eq!(system(message, System::ApproximateReceiveCount), "2");
    assert_eq!(
        Some(system(message, System::SequenceNumber)),
        sent.sequence_number
    );
    let sent_at: i64 = system(message, System::SentTimestamp).parse().unwrap();
    let received = system(message, System::ApproximateFirstReceiveTimestamp);
    let received_at: i64 = received.parse().unwrap();
    assert!((5_000..10_000).contains(&(received_at - sent_at)));
    assert_eq!(message.message_id, sent.message_id);
    assert_eq!(message.md5_of_body, sent.md5_of_message_body);
}

pub(super) async fn message_attributes_come_back_with_their_digest(s: &Subject) {
    let queue = s.queue("message-attributes.fifo", &[]).await;
    let text = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("v")
        .build();
    let blob = aws_sdk_sqs::primitives::Blob::new([1, 2, 3]);
    let bytes = MessageAttributeValue::builder()
        .data_type("Binary")
        .binary_value(blob)
        .build();
    let send = s
        .client
        .send_message()
        .queue_url(&queue)
        .message_body("b")
        .message_group_id("a");
    let send = send.message_attributes("text", text.unwrap());
    let send = send
        .message_attributes("bytes", bytes.unwrap())
        .message_deduplication_id("1");
    let sent = send.send().await.unwrap();
    let receive = s
        .client
        .receive_message()
        .queue_url(&queue)
        .message_attribute_names("All");
    let message = receive.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(
        message.md5_of_message_attributes,
        sent.md5_of_message_attributes
    );
    let attributes = message.message_attributes.unwrap();
    assert_eq!(attributes["text"].string_value(), Some("v"));
    assert_eq!(
        attributes["bytes"].binary_value().unwrap().as_ref(),
        [1, 2, 3]
    );
    assert_eq!(
        message.attributes, None,
        "system attributes come only when asked for"
    );
}

pub(super) async fn only_the_latest_receipt_handle_is_valid_and_only_in_time(s: &Subject) {
    let queue = s
        .queue("receipts.fifo", &[(Attribute::VisibilityTimeout, "10")])
        .await;
    s.send(&queue, "a", "1").await;
    let first = s.receive(&queue).await.remove(0);
    s.seconds(10).await;
    let delete = |message: &Message| {
        let delete = s.client.delete_message().queue_url(&queue);
        delete.receipt_handle(handle(message)).send()
    };
    let late = delete(&first).await.unwrap_err();
    assert_eq!(
        late.code(),
        Some("InvalidParameterValue"),
        "its visibility timeout has passed"
    );
    let second = s.receive(&queue).await.remove(0);
    let stale = delete(&first).await.unwrap_err();
    assert_eq!(
        stale.code(),
        Some("InvalidParameterValue"),
        "it was received again"
    );
    let entry = DeleteMessageBatchRequestEntry::builder()
        .id("x")
        .receipt_handle(handle(&first));
    let batch = s.client.delete_message_batch().queue_url(&queue);
    let batch = batch.entries(entry.build().unwrap()).send().await.unwrap();
    assert_eq!(batch.failed()[0].code(), "ReceiptHandleIsInvalid");
    delete(&second).await.unwrap();
    delete(&second)
        .await
        .expect("deleting again is done already");
    let nonsense = s
        .client
        .delete_message()
        .queue_url(&queue)
        .receipt_handle("nonsense");
    let nonsense = nonsense.send().await.unwrap_err().into_service_error();
    assert!(nonsense.is_receipt_handle_is_invalid());
}

async fn with_dead_letters(s: &Subject, name: &str) -> (String, String) {
    let dead = s.queue(&format!("{name}-dead.fifo"), &[]).await;
    let arn = s.arn(&dead).await;
    let policy = format!("{{\"deadLetterTargetArn\":\"{arn}\",\"maxReceiveCount\":2}}");
    let queue = s
        .queue(
            &format!("{name}.fifo"),
            &[(Attribute::RedrivePolicy, &policy)],
        )
        .await;
    (queue, dead)
}

async fn kill(s: &Subject, queue: &str) {
    for _ in 0..2 {
        let message = s.receive(queue).await.remove(0);
        s.visibility(queue, &message, 0).await;
    }
    s.receive(queue).await;
}

pub(super) async fn a_message_received_too_often_goes_to_the_dead_letter_queue(s: &Subject) {
    let (queue, dead) = with_dead_letters(s, "redrive").await;
    let sent = s.send(&queue, "a", "1").await;
    kill(s, &queue).await;
    s.send(&queue, "a", "2").await;
    assert_eq!(
        s.bodies(&queue).await,
        ["2"],
        "the group goes on without it"
    );
    let message = &s.receive(&dead).await[0];
    assert_eq!(message.message_id, sent.message_id);
    assert_eq!(message.body(), Some("1"));
    assert_eq!(system(message, System::MessageGroupId), "a");
    assert_eq!(
        system(message, System::DeadLetterQueueSourceArn),
        s.arn(&queue).await
    );
}

pub(super) async fn a_move_task_brings_dead_letters_back_as_new_messages(s: &Subject) {
    let (queue, dead) = with_dead_letters(s, "move").await;
    let sent = s.send(&queue, "a", "1").await;
    kill(s, &queue).await;
    let (queue_arn, dead_arn) = (s.arn(&queue).await, s.arn(&dead).await);
    let start = |arn: &str| s.client.start_message_move_task().source_arn(arn).send();
    start(&queue_arn)
        .await
        .expect_err("its source must be a dead-letter queue");
    start(&dead_arn).await.unwrap();
    let tasks = s
        .client
        .list_message_move_tasks()
        .source_arn(&dead_arn)
        .send()
        .await
        .unwrap();
    assert_eq!(tasks.results()[0].status(), Some("COMPLETED"));
    assert_eq!(tasks.results()[0].approximate_number_of_messages_moved(), 1);
    assert!(s.receive(&dead).await.is_empty());
    let back = &s.receive(&queue).await[0];
    assert_eq!(back.body(), Some("1"));
    assert_eq!(system(back, System::ApproximateReceiveCount), "1");
    assert_ne!(back.message_id, sent.message_id);
}

pub(super) async fn the_sources_of_a_dead_letter_queue_are_listed(s: &Subject) {
    let (queue, dead) = with_dead_letters(s, "sources").await;
    let list = |queue: &str| {
        s.client
            .list_dead_letter_source_queues()
            .queue_url(queue)
            .send()
    };
    assert_eq!(list(&dead).await.unwrap().queue_urls(), [queue.clone()]);
    assert!(list(&queue).await.unwrap().queue_urls().is_empty());
}

pub(super) async fn a_repeated_receive_attempt_gives_the_same_messages(s: &Subject) {
    let queue = s.queue("attempt.fifo", &[]).await;
    s.send(&queue, "a", "1").await;
    let receive = || {
        let receive = s.client.receive_message().queue_url(&queue);
        receive.receive_request_attempt_id("attempt-1").send()
    };
    let first = receive().await.unwrap().messages.unwrap();
    s.seconds(20).await;
    let again = receive().await.unwrap().messages.unwrap();
    assert_eq!(handle(&first[0]), handle(&again[0]));
    s.seconds(20).await;
    assert!(
        s.receive(&queue).await.is_empty(),
        "the repetition began the timeout anew"
    );
    s.delete(&queue, &again[0]).await;
    assert_eq!(receive().await.unwrap().messages, None);
}

pub(super) async fn a_batch_is_answered_entry_by_entry(s: &Subject) {
    let queue = s
        .queue("partial.fifo", &[(Attribute::MaximumMessageSize, "1024")])
        .await;
    let batch = s.client.send_message_batch().queue_url(&queue);
    let batch = batch
        .entries(entry("1", "a", "fine"))
        .entries(entry("2", "a", &"x".repeat(1025)));
    let result = batch
        .entries(entry("3", "a", "\u{1}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        result
            .successful()
            .iter()
            .map(|e| e.id())
            .collect::<Vec<_>>(),
        ["1"]
    );
    let codes: HashMap<_, _> = result.failed().iter().map(|e| (e.id(), e.code())).collect();
    assert_eq!(codes["2"], "InvalidParameterValue");
    assert_eq!(codes["3"], "InvalidMessageContents");
    assert!(result.failed().iter().all(|e| e.sender_fault()));
    assert_eq!(s.bodies(&queue).await, ["fine"]);
}

pub(super) async fn oversize_messages_and_batches_are_refused(s: &Subject) {
    let queue = s.queue("oversize.fifo", &[]).await;
    let big = "x".repeat(1_048_577);
    let send = s.client.send_message().queue_url(&queue).message_body(&big);
    let send = send
        .message_group_id("a")
        .message_deduplication_id("1")
        .send()
        .await;
    assert_eq!(send.unwrap_err().code(), Some("InvalidParameterValue"));
    let half = "x".repeat(600_000);
    let batch = s.client.send_message_batch().queue_url(&queue);
    let batch = batch
        .entries(entry("1", "a", &half))
        .entries(entry("2", "a", &half))
        .send()
        .await;
    assert!(
        batch
            .unwrap_err()
            .into_service_error()
            .is_batch_request_too_long()
    );
    s.send(&queue, "a", &"y".repeat(100)).await;
}

pub(super) async fn malformed_batches_are_refused_whole(s: &Subject) {
    let queue = s.queue("batches.fifo", &[]).await;
    let send = |entries: Vec<SendMessageBatchRequestEntry>| {
        s.client
            .send_message_batch()
            .queue_url(&queue)
            .set_entries(Some(entries))
            .send()
    };
    let eleven = (0..11).map(|n| entry(&n.to_string(), "a", "b")).collect();
    let error = send(eleven).await.unwrap_err().into_service_error();
    assert!(error.is_too_many_entries_in_batch_request());
    let error = send(vec![]).await.unwrap_err().into_service_error();
    assert!(error.is_empty_batch_request());
    let twice = vec![entry("1", "a", "b"), entry("1", "a", "c")];
    assert!(
        send(twice)
            .await
            .unwrap_err()
            .into_service_error()
            .is_batch_entry_ids_not_distinct()
    );
    let spaced = vec![entry("1 2", "a", "b")];
    assert!(
        send(spaced)
            .await
            .unwrap_err()
            .into_service_error()
            .is_invalid_batch_entry_id()
    );
    assert!(s.receive(&queue).await.is_empty());
}

pub(super) async fn queue_attributes_are_counted_and_changed(s: &Subject) {
    let queue = s.queue("counted.fifo", &[]).await;
    for id in ["1", "2", "3"] {
        s.send(&queue, id, id).await;
    }
    let receive = s
        .client
        .receive_message()
        .queue_url(&queue)
        .send()
        .await
        .unwrap();
    assert_eq!(receive.messages().len(), 1);
    assert_eq!(
        s.attribute(&queue, Attribute::ApproximateNumberOfMessages)
            .await,
        "2"
    );
    assert_eq!(
        s.attribute(&queue, Attribute::ApproximateNumberOfMessagesNotVisible)
            .await,
        "1"
    );
    let set = |value: &str| {
        let set = s.client.set_queue_attributes().queue_url(&queue);
        set.attributes(Attribute::VisibilityTimeout, value).send()
    };
    set("7").await.unwrap();
    assert_eq!(s.attribute(&queue, Attribute::VisibilityTimeout).await, "7");
    let refused = set("43201").await.unwrap_err().into_service_error();
    assert!(refused.is_invalid_attribute_value());
}

pub(super) async fn queues_are_made_once_found_listed_and_deleted(s: &Subject) {
    let queue = s
        .queue("made.fifo", &[(Attribute::DelaySeconds, "1")])
        .await;
    assert_eq!(
        s.queue("made.fifo", &[(Attribute::DelaySeconds, "1")])
            .await,
        queue
    );
    let other = s.client.create_queue().queue_name("made.fifo");
    let other = other.attributes(Attribute::FifoQueue, "true");
    let other = other
        .attributes(Attribute::DelaySeconds, "2")
        .send()
        .await
        .unwrap_err();
    assert!(other.into_service_error().is_queue_name_exists());
    let url = || s.client.get_queue_url().queue_name("made.fifo").send();
    assert_eq!(url().await.unwrap().queue_url, Some(queue.clone()));
    let list = s
        .client
        .list_queues()
        .queue_name_prefix("mad")
        .send()
        .await
        .unwrap();
    assert_eq!(list.queue_urls(), [queue.clone()]);
    s.client
        .delete_queue()
        .queue_url(&queue)
        .send()
        .await
        .unwrap();
    assert!(
        url()
            .await
            .unwrap_err()
            .into_service_error()
            .is_queue_does_not_exist()
    );
    let send = s
        .client
        .send_message()
        .queue_url(&queue)
        .message_body("b")
        .message_group_id("a");
    let send = send.message_deduplication_id("1").send().await.unwrap_err();
    assert!(send.into_service_error().is_queue_does_not_exist());
}

pub(super) async fn a_purge_empties_the_queue(s: &Subject) {
    let queue = s.queue("purge.fifo", &[]).await;
    s.send(&queue, "a", "1").await;
    s.send(&queue, "b", "2").await;
    s.client
        .purge_queue()
        .queue_url(&queue)
        .send()
        .await
        .unwrap();
    assert!(s.receive(&queue).await.is_empty());
    s.send(&queue, "a", "3").await;
    assert_eq!(s.bodies(&queue).await, ["3"]);
}

pub(super) async fn a_long_poll_ends_when_a_message_arrives_or_becomes_visible(s: &Subject) {
    let queue = s
        .queue("poll.fifo", &[(Attribute::VisibilityTimeout, "5")])
        .await;
    let poll = || {
        s.client
            .receive_message()
            .queue_url(&queue)
            .wait_time_seconds(20)
            .send()
    };
    let (received, _) = tokio::join!(poll(), async {
        s.seconds(3).await;
        s.send(&queue, "a", "1").await
    });
    assert_eq!(received.unwrap().messages().len(), 1);
    assert_eq!(
        poll().await.unwrap().messages().len(),
        1,
        "its visibility timeout passed"
    );
    let message = s
        .client
        .receive_message()
        .queue_url(&queue)
        .wait_time_seconds(20);
    let message = message.send().await.unwrap().messages.unwrap().remove(0);
    s.delete(&queue, &message).await;
    assert_eq!(poll().await.unwrap().messages, None);
}
