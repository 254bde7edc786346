//! Queues, batches and dead letters.

use std::collections::HashMap;

use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::{
    MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};

use super::subject::{Subject, check, entry, system};

/// Creates a queue and its dead-letter queue.
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

/// Moves the first message to the dead-letter queue by receiving it too often.
async fn exhaust(s: &Subject, queue: &str) {
    for _ in 0..2 {
        let message = s.receive(queue).await.remove(0);
        s.visibility(queue, &message, 0).await;
    }
    s.receive(queue).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue() {
    check(async |s| {
        let (queue, dead) = with_dead_letters(s, "redrive").await;
        let sent = s.send(&queue, "a", "1").await;
        exhaust(s, &queue).await;
        s.send(&queue, "a", "2").await;
        assert_eq!(
            s.bodies(&queue).await,
            ["2"],
            "the group continues without it"
        );
        let message = &s.receive(&dead).await[0];
        assert_eq!(message.message_id, sent.message_id);
        assert_eq!(message.body(), Some("1"));
        assert_eq!(system(message, System::MessageGroupId), "a");
        assert_eq!(
            system(message, System::DeadLetterQueueSourceArn),
            s.arn(&queue).await
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_reports_a_result_for_each_entry() {
    check(async |s| {
        let queue = s
            .queue("partial.fifo", &[(Attribute::MaximumMessageSize, "1024")])
            .await;
        let batch = s.client.send_message_batch().queue_url(&queue);
        let batch =
            batch
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn oversize_messages_and_batches_are_refused() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn malformed_batches_are_refused_as_a_whole() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn queue_attributes_count_messages_and_can_be_changed() {
    check(async |s| {
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
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn queues_are_created_once_found_listed_and_deleted() {
    check(async |s| {
        let queue = s
            .queue("created.fifo", &[(Attribute::DelaySeconds, "1")])
            .await;
        assert_eq!(
            s.queue("created.fifo", &[(Attribute::DelaySeconds, "1")])
                .await,
            queue
        );
        let other = s.client.create_queue().queue_name(s.name("created.fifo"));
        let other = other.attributes(Attribute::FifoQueue, "true");
        let other = other
            .attributes(Attribute::DelaySeconds, "2")
            .send()
            .await
            .unwrap_err();
        assert!(other.into_service_error().is_queue_name_exists());
        let url = || {
            s.client
                .get_queue_url()
                .queue_name(s.name("created.fifo"))
                .send()
        };
        assert_eq!(url().await.unwrap().queue_url, Some(queue.clone()));
        let list = s
            .client
            .list_queues()
            .queue_name_prefix(s.name("creat"))
            .send()
            .await
            .unwrap();
        assert_eq!(list.queue_urls(), std::slice::from_ref(&queue));
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
    })
    .await;
}
