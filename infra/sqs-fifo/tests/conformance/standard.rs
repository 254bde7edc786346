//! Standard queues: no groups that block, no deduplication, a delay of each message.

use std::collections::BTreeSet;

use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::{
    MessageSystemAttributeName as System, QueueAttributeName as Attribute,
    SendMessageBatchRequestEntry,
};

use super::subject::{Subject, check, handle, system};

fn send(s: &Subject, queue: &str, body: &str) -> SendMessageFluentBuilder {
    s.client.send_message().queue_url(queue).message_body(body)
}

async fn bodies(s: &Subject, queue: &str) -> BTreeSet<String> {
    s.bodies(queue).await.into_iter().collect()
}

fn set(bodies: &[&str]) -> BTreeSet<String> {
    bodies.iter().map(|body| (*body).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_standard_queue_do_not_wait_for_one_another() {
    check(async |s| {
        let queue = s.create("standard", &[]).await;
        for body in ["1", "2", "2"] {
            let sent = send(s, &queue, body).send().await.unwrap();
            assert_eq!(sent.sequence_number, None);
        }
        let grouped = send(s, &queue, "3").message_group_id("tenant-1");
        grouped.send().await.unwrap();
        send(s, &queue, "4")
            .message_group_id("tenant-1")
            .send()
            .await
            .unwrap();
        let one = s.client.receive_message().queue_url(&queue);
        let first = one.send().await.unwrap().messages.unwrap();
        assert_eq!(first.len(), 1);
        let rest = s.receive(&queue).await;
        let all: Vec<_> = first.iter().chain(&rest).collect();
        assert_eq!(all.len(), 5, "the same body twice is two messages");
        let ids: BTreeSet<_> = all.iter().map(|message| &message.message_id).collect();
        assert_eq!(ids.len(), 5);
        let in_group = rest
            .iter()
            .find(|message| message.body() == Some("3"))
            .unwrap();
        assert_eq!(system(in_group, System::MessageGroupId), "tenant-1");
        let names = in_group.attributes.as_ref().unwrap();
        assert!(!names.contains_key(&System::SequenceNumber));
        assert!(!names.contains_key(&System::MessageDeduplicationId));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_standard_queue_has_a_delay_of_its_own() {
    check(async |s| {
        let delay = [(Attribute::DelaySeconds, "5")];
        let queue = s.create("delays", &delay).await;
        send(s, &queue, "queue").send().await.unwrap();
        send(s, &queue, "none")
            .delay_seconds(0)
            .send()
            .await
            .unwrap();
        send(s, &queue, "own")
            .delay_seconds(10)
            .send()
            .await
            .unwrap();
        assert_eq!(bodies(s, &queue).await, set(&["none"]));
        let delayed = Attribute::ApproximateNumberOfMessagesDelayed;
        assert_eq!(s.attribute(&queue, delayed).await, "2");
        s.seconds(6).await;
        assert_eq!(bodies(s, &queue).await, set(&["queue"]));
        let change = s.client.set_queue_attributes().queue_url(&queue);
        let change = change.attributes(Attribute::DelaySeconds, "900");
        change.send().await.unwrap();
        s.seconds(5).await;
        assert_eq!(
            bodies(s, &queue).await,
            set(&["own"]),
            "no new delay applies to it"
        );
        let too_long = send(s, &queue, "x")
            .delay_seconds(901)
            .send()
            .await
            .unwrap_err();
        assert_eq!(too_long.code(), Some("InvalidParameterValue"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_standard_queue_redelivers_and_redrives_to_a_standard_queue() {
    check(async |s| {
        let dead = s.create("dead", &[]).await;
        let arn = s.arn(&dead).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":2}}"#);
        let settings = [
            (Attribute::RedrivePolicy, policy.as_str()),
            (Attribute::VisibilityTimeout, "10"),
        ];
        let queue = s.create("source", &settings).await;
        send(s, &queue, "poison").send().await.unwrap();
        for count in ["1", "2"] {
            let received = s.receive(&queue).await;
            assert_eq!(system(&received[0], System::ApproximateReceiveCount), count);
            s.seconds(11).await;
        }
        assert!(s.receive(&queue).await.is_empty());
        assert_eq!(bodies(s, &dead).await, set(&["poison"]));
        let fifo = s.queue("dead.fifo", &[]).await;
        let arn = s.arn(&fifo).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":2}}"#);
        let change = s.client.set_queue_attributes().queue_url(&queue);
        let change = change.attributes(Attribute::RedrivePolicy, policy).send();
        assert!(change.await.is_err(), "of a FIFO queue");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_handle_of_a_standard_queue_still_deletes() {
    check(async |s| {
        let settings = [(Attribute::VisibilityTimeout, "10")];
        let queue = s.create("late", &settings).await;
        send(s, &queue, "x").send().await.unwrap();
        let first = s.receive(&queue).await.remove(0);
        s.seconds(11).await;
        let second = s.receive(&queue).await.remove(0);
        s.delete(&queue, &first).await;
        s.seconds(11).await;
        let count = Attribute::ApproximateNumberOfMessages;
        assert_eq!(
            s.attribute(&queue, count.clone()).await,
            "1",
            "an earlier handle"
        );
        assert_ne!(handle(&first), handle(&second));
        s.delete(&queue, &second).await;
        assert_eq!(s.attribute(&queue, count).await, "0", "the latest handle");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_standard_queue_refuses_what_only_a_fifo_queue_has() {
    check(async |s| {
        let queue = s.create("plain", &[]).await;
        let attributes = s.client.get_queue_attributes().queue_url(&queue);
        let attributes = attributes.attribute_names(Attribute::All);
        let attributes = attributes.send().await.unwrap().attributes.unwrap();
        assert!(
            !attributes.contains_key(&Attribute::FifoQueue),
            "{attributes:?}"
        );
        let deduplicated = send(s, &queue, "x").message_deduplication_id("1");
        let refused = deduplicated.send().await.unwrap_err();
        assert_eq!(refused.code(), Some("InvalidParameterValue"));
        for name in ["x.fifo", "", "a b"] {
            let create = s.client.create_queue().queue_name(name).send().await;
            assert!(create.is_err(), "{name}");
        }
        let based = s.client.create_queue().queue_name("based");
        let based = based.attributes(Attribute::ContentBasedDeduplication, "true");
        assert!(based.send().await.is_err());
        let batch = s.client.send_message_batch().queue_url(&queue);
        let entry = |id: &str| {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(id)
                .message_body(id);
            entry.build().unwrap()
        };
        let batch = batch.entries(entry("1")).entries(entry("2"));
        let sent = batch.send().await.unwrap();
        assert_eq!(sent.successful().len(), 2);
        assert_eq!(bodies(s, &queue).await, set(&["1", "2"]));
    })
    .await;
}
