//! Groups, deduplication, visibility and receipts.

use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageAttributeValue, MessageSystemAttributeName as System, QueueAttributeName as Attribute,
};

use super::subject::{check, handle, system};

#[tokio::test(start_paused = true)]
async fn one_receive_returns_several_messages_of_a_group_in_order() {
    check(async |s| {
        let queue = s.queue("order.fifo", &[]).await;
        for (group, id) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")] {
            s.send(&queue, group, id).await;
        }
        assert_eq!(s.bodies(&queue).await, ["1", "3", "4", "2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_blocked_while_one_of_its_messages_is_in_flight() {
    check(async |s| {
        let queue = s.queue("blocked.fifo", &[]).await;
        s.send(&queue, "a", "1").await;
        let first = s.receive(&queue).await;
        s.send(&queue, "a", "2").await;
        s.send(&queue, "b", "3").await;
        assert_eq!(s.bodies(&queue).await, ["3"]);
        assert!(s.receive(&queue).await.is_empty());
        s.delete(&queue, &first[0]).await;
        assert_eq!(s.bodies(&queue).await, ["2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_send_returns_the_original_id_and_sequence_number() {
    check(async |s| {
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
            "a deleted message still has duplicates"
        );
        s.seconds(1).await;
        let later = s.send(&queue, "a", "1").await;
        assert_ne!(first.message_id, later.message_id);
        assert!(first.sequence_number < later.sequence_number);
        assert_eq!(s.bodies(&queue).await, ["1"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn deduplication_scoped_to_the_group_lets_another_group_use_the_id() {
    check(async |s| {
        let scope = [
            (Attribute::DeduplicationScope, "messageGroup"),
            (Attribute::FifoThroughputLimit, "perMessageGroupId"),
        ];
        let queue = s.queue("scope.fifo", &scope).await;
        for group in ["a", "b", "a"] {
            s.send(&queue, group, "1").await;
        }
        assert_eq!(s.bodies(&queue).await, ["1", "1"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn content_can_replace_the_deduplication_id() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_delay_holds_messages_back() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_visibility_timeout_returns_the_message() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn visibility_zero_returns_the_message_at_once() {
    check(async |s| {
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
            "the message with the extended timeout blocks the group"
        );
        s.seconds(29).await;
        assert_eq!(s.bodies(&queue).await, ["1", "2"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_changes_visibility_entry_by_entry() {
    check(async |s| {
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
            .entries(entry("bad", "invalid"));
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn system_attributes_describe_the_message() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn message_attributes_are_returned_with_their_digest() {
    check(async |s| {
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
            "system attributes are returned only on request"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_receipt_handle_is_valid_until_its_timeout() {
    check(async |s| {
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
            "the message has been received again"
        );
        let entry = DeleteMessageBatchRequestEntry::builder()
            .id("x")
            .receipt_handle(handle(&first));
        let batch = s.client.delete_message_batch().queue_url(&queue);
        let batch = batch.entries(entry.build().unwrap()).send().await.unwrap();
        assert_eq!(batch.failed()[0].code(), "ReceiptHandleIsInvalid");
        delete(&second).await.unwrap();
        delete(&second).await.expect("deleting twice succeeds");
        let invalid = s
            .client
            .delete_message()
            .queue_url(&queue)
            .receipt_handle("invalid");
        let invalid = invalid.send().await.unwrap_err().into_service_error();
        assert!(invalid.is_receipt_handle_is_invalid());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_receive_attempt_returns_the_same_messages() {
    check(async |s| {
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
            "the repetition restarted the timeout"
        );
        s.delete(&queue, &again[0]).await;
        assert_eq!(receive().await.unwrap().messages, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_a_message_arrives_or_becomes_visible() {
    check(async |s| {
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
    })
    .await;
}
