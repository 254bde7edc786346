use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue::S;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use http::StatusCode;

use sdk_in_process::{Fault, FaultHook, fault_layer, latency_layer, operation};

use super::*;

const EPOCH_MS: i64 = 1_800_000_000_000;

/// Returns a hook that injects the given faults, in order, into the requests of one operation.
fn faults(target: &'static str, faults: Vec<Fault>) -> FaultHook {
    let left = Mutex::new(faults.into_iter());
    Arc::new(move |request: &http::Request<Bytes>| {
        if operation(request) == target {
            left.lock().unwrap().next().unwrap_or_default()
        } else {
            Fault::None
        }
    })
}

fn open(faults: Option<FaultHook>) -> Aws {
    Aws::open(Options {
        layer: faults.map(fault_layer),
        ..Options::memory(tokio_clock(EPOCH_MS))
    })
    .unwrap()
}

async fn put_new(aws: &Aws) -> Result<(), aws_sdk_dynamodb::Error> {
    let put = aws.dynamodb_client().put_item().table_name(NAME);
    let put = put.item("PK", S("a".into())).item("SK", S("HEAD".into()));
    put.condition_expression("attribute_not_exists(PK)")
        .send()
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn opening_creates_queues_table_buckets_and_secrets() {
    let aws = open(None);
    let sqs = aws.sqs_client();
    for (queue, visibility, delay) in [
        (Queue::LogWakes, "360", "1"),
        (Queue::Snapshots, "90", "0"),
        (Queue::SnapshotsBulk, "90", "0"),
        (Queue::PushWakes, "180", "1"),
        (Queue::Operations, "360", "0"),
        (Queue::Live, "90", "0"),
        (Queue::Deliver, "90", "1"),
        (Queue::Content, "960", "0"),
        (Queue::ContentBulk, "960", "0"),
    ] {
        let get = sqs.get_queue_attributes().queue_url(aws.queue_url(queue));
        let all = get
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .unwrap();
        let all = all.attributes.unwrap();
        assert_eq!(all[&QueueAttributeName::VisibilityTimeout], visibility);
        assert_eq!(all[&QueueAttributeName::DelaySeconds], delay);
        assert_eq!(all[&QueueAttributeName::DeduplicationScope], "messageGroup");
        let policy = &all[&QueueAttributeName::RedrivePolicy];
        assert!(
            policy.contains(&sqs_fifo::queue_arn(queue.dead_letter_name()))
                && policy.contains("\"maxReceiveCount\":200"),
            "{policy}"
        );
        let dead = aws.sqs().depth(queue.dead_letter_name()).unwrap();
        assert_eq!(dead.total(), 0);
    }
    let described = aws
        .dynamodb_client()
        .describe_table()
        .table_name(NAME)
        .send()
        .await
        .unwrap();
    assert_eq!(
        described.table().unwrap().global_secondary_indexes().len(),
        INDEXES.len()
    );
    for bucket in [NAME, CONTENT_BUCKET] {
        let put = aws.s3_client().put_object().bucket(bucket).key("k");
        put.body(b"v".to_vec().into()).send().await.unwrap();
    }
    let create = aws
        .secrets_client()
        .create_secret()
        .name("drivesync/t/n")
        .secret_string("s");
    create.send().await.unwrap();
}

#[test]
fn reopening_keeps_the_data_and_needs_no_runtime() {
    let folder = Scratch::new().unwrap();
    for _ in 0..2 {
        let aws = Aws::open(Options::directory(folder.path())).unwrap();
        let message = sqs_fifo::NewMessage::new("a", "1", "body");
        aws.sqs().send(Queue::Snapshots.name(), message).unwrap();
        assert_eq!(aws.sqs().depth(Queue::Snapshots.name()).unwrap().visible, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_sdk_repeats_an_executed_write_whose_response_was_lost() {
    let aws = open(Some(faults("PutItem", vec![Fault::AnswerLost])));
    let repeated = put_new(&aws).await.unwrap_err();
    let conditional = matches!(
        repeated,
        aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)
    );
    assert!(conditional, "{repeated:?}");
    assert_eq!(aws.dynamodb().counters().calls["PutItem"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_timed_out_was_not_executed_and_is_repeated() {
    let aws = open(Some(faults(
        "PutItem",
        vec![Fault::TimedOut, Fault::TimedOut],
    )));
    put_new(&aws).await.unwrap();
    assert_eq!(aws.dynamodb().counters().calls["PutItem"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_injected_refusal_has_its_status_and_code() {
    let refused = |code: &str| Fault::Refused {
        status: StatusCode::BAD_REQUEST,
        code: code.into(),
    };
    let throttled = vec![refused("ProvisionedThroughputExceededException")];
    let aws = open(Some(faults("PutItem", throttled)));
    put_new(&aws)
        .await
        .expect("the SDK retries a throttled request");
    assert_eq!(aws.dynamodb().counters().calls["PutItem"], 1);

    let aws = open(Some(faults("SendMessage", vec![refused("AccessDenied")])));
    let send = aws
        .sqs_client()
        .send_message()
        .queue_url(aws.queue_url(Queue::Snapshots));
    let send = send
        .message_body("b")
        .message_group_id("g")
        .message_deduplication_id("1");
    assert_eq!(send.send().await.unwrap_err().code(), Some("AccessDenied"));
    assert_eq!(aws.sqs().depth(Queue::Snapshots.name()).unwrap().visible, 0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_can_delay_in_virtual_time() {
    const LATENCY: Duration = Duration::from_millis(5);
    let aws = Aws::open(Options {
        layer: Some(latency_layer(LATENCY)),
        ..Options::memory(tokio_clock(EPOCH_MS))
    })
    .unwrap();
    let client = aws.dynamodb_client();
    let start = tokio::time::Instant::now();
    for _ in 0..100 {
        client.list_tables().send().await.unwrap();
    }
    assert_eq!(start.elapsed(), 100 * LATENCY);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_an_unknown_host_fails() {
    let http = InProcess::new(sdk_in_process::router(BTreeMap::new()));
    let client = clients::dynamodb("http://nowhere.local", &Keys::random().unwrap(), http);
    let error = client.list_tables().send().await.unwrap_err();
    assert!(
        matches!(error, aws_sdk_dynamodb::error::SdkError::DispatchFailure(_)),
        "{error:?}"
    );
}
