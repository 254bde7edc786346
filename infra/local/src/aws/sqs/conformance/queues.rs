//! Queues, batches and dead letters.

use std::collections::HashMap;

use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::{
    MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};

use super::{Subject, entry, system};

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

pub(in crate::aws::sqs) async fn a_message_received_too_often_goes_to_the_dead_letter_queue(
    s: &Subject,
) {
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

pub(in crate::aws::sqs) async fn a_move_task_brings_dead_letters_back_as_new_messages(s: &Subject) {
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

pub(in crate::aws::sqs) async fn the_sources_of_a_dead_letter_queue_are_listed(s: &Subject) {
    let (queue, dead) = with_dead_letters(s, "sources").await;
    let list = |queue: &str| {
        s.client
            .list_dead_letter_source_queues()
            .queue_url(queue)
            .send()
    };
    assert_eq!(
        list(&dead).await.unwrap().queue_urls(),
        std::slice::from_ref(&queue)
    );
    assert!(list(&queue).await.unwrap().queue_urls().is_empty());
}

pub(in crate::aws::sqs) async fn a_batch_is_answered_entry_by_entry(s: &Subject) {
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

pub(in crate::aws::sqs) async fn oversize_messages_and_batches_are_refused(s: &Subject) {
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

pub(in crate::aws::sqs) async fn malformed_batches_are_refused_whole(s: &Subject) {
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

pub(in crate::aws::sqs) async fn queue_attributes_are_counted_and_changed(s: &Subject) {
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

pub(in crate::aws::sqs) async fn queues_are_made_once_found_listed_and_deleted(s: &Subject) {
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
}

pub(in crate::aws::sqs) async fn a_purge_empties_the_queue(s: &Subject) {
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
