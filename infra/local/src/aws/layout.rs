//! The resources that the deployment creates on AWS: the table, the queues with their dead-letter
//! queues, the buckets.

use serde_json::{Value, json};
use sqs_fifo::{Attributes, Sqs, SqsError, queue_arn};

/// The name of the table, and of a bucket for any use.
pub const NAME: &str = "drivesync";

/// The name of the content bucket.
pub const CONTENT_BUCKET: &str = "content";
/// The bucket that acts are exported to.
pub const AUDIT_BUCKET: &str = "audit";
/// The secret that signing secrets of webhooks are derived from. No connection can name it, since
/// its name does not begin as those of credentials do.
pub const WEBHOOK_KEY: &str = "drivesync-webhooks";

/// The most receives of a message before it moves to the dead-letter queue.
const RECEIVE_COUNT_MAX: u32 = 200;

/// The keys-only indexes of the table, with the keys `<index>_pk` and `<index>_sk`.
pub const INDEXES: [&str; 4] = ["files", "children", "attention", "due"];

/// A queue that a function consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Wakes for change logs, consumed by `fetch-changes`.
    LogWakes,
    /// Snapshots of live changes, consumed by `apply-snapshots`.
    Snapshots,
    /// Snapshots of listings, consumed by `apply-snapshots`.
    SnapshotsBulk,
    /// Wakes for owed writes, consumed by `push-intents`.
    PushWakes,
    /// Wakes for operations, consumed by `run-operations`.
    Operations,
    /// Wakes for live readers, consumed by `live`.
    Live,
    /// Wakes for webhook endpoints, consumed by `live`.
    Deliver,
    /// Wakes for content that a caller waits for, consumed by `mirror-content`.
    Content,
    /// Wakes for content that was never mirrored, consumed by `mirror-content`.
    ContentBulk,
}

impl Queue {
    /// All queues.
    pub const ALL: [Self; 9] = [
        Self::LogWakes,
        Self::Snapshots,
        Self::SnapshotsBulk,
        Self::PushWakes,
        Self::Operations,
        Self::Live,
        Self::Deliver,
        Self::Content,
        Self::ContentBulk,
    ];

    /// Returns the name of the queue.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogWakes => "log-wakes.fifo",
            Self::Snapshots => "snapshots.fifo",
            Self::SnapshotsBulk => "snapshots-bulk.fifo",
            Self::PushWakes => "push-wakes.fifo",
            Self::Operations => "operations.fifo",
            Self::Live => "live.fifo",
            Self::Deliver => "deliver.fifo",
            Self::Content => "content.fifo",
            Self::ContentBulk => "content-bulk.fifo",
        }
    }

    /// Returns the name of the queue's dead-letter queue.
    #[must_use]
    pub fn dead_letter_name(self) -> &'static str {
        match self {
            Self::LogWakes => "log-wakes-dead.fifo",
            Self::Snapshots => "snapshots-dead.fifo",
            Self::SnapshotsBulk => "snapshots-bulk-dead.fifo",
            Self::PushWakes => "push-wakes-dead.fifo",
            Self::Operations => "operations-dead.fifo",
            Self::Live => "live-dead.fifo",
            Self::Deliver => "deliver-dead.fifo",
            Self::Content => "content-dead.fifo",
            Self::ContentBulk => "content-bulk-dead.fifo",
        }
    }

    /// Returns the timeout of the queue's function, in seconds.
    #[must_use]
    pub fn function_timeout_seconds(self) -> u32 {
        match self {
            Self::LogWakes | Self::Operations => 60,
            Self::Snapshots | Self::SnapshotsBulk => 15,
            Self::PushWakes | Self::Live | Self::Deliver => 30,
            Self::Content | Self::ContentBulk => 900,
        }
    }

    /// Returns the visibility timeout, in seconds. AWS requires at least the timeout of the
    /// function and recommends six times as much, so that a batch that Lambda has to hand over
    /// again is not delivered twice. For content that would block a file for an hour and a half
    /// after each crash, while a duplicate wake costs one read of a record, so a minute more than
    /// the function's timeout is enough.
    #[must_use]
    pub fn visibility_seconds(self) -> u32 {
        let function = self.function_timeout_seconds();
        match self {
            Self::LogWakes
            | Self::Snapshots
            | Self::SnapshotsBulk
            | Self::PushWakes
            | Self::Operations => 6 * function,
            // A crash is not to silence readers for minutes.
            Self::Live | Self::Deliver => 3 * function,
            Self::Content | Self::ContentBulk => function + 60,
        }
    }

    fn delay_seconds(self) -> u32 {
        match self {
            Self::LogWakes | Self::PushWakes | Self::Deliver => 1,
            Self::Snapshots
            | Self::SnapshotsBulk
            | Self::Operations
            | Self::Live
            | Self::Content
            | Self::ContentBulk => 0,
        }
    }
}

fn attributes<const N: usize>(pairs: [(&str, String); N]) -> Attributes {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Creates missing queues, and sets the attributes of existing ones to those of this version.
pub(super) fn create_queues(sqs: &Sqs) -> Result<(), SqsError> {
    let create = |name: &str, mut attributes: Attributes| {
        if sqs.find_queue(name).is_ok() {
            return sqs.set_queue_attributes(name, &attributes);
        }
        attributes.insert("FifoQueue".to_owned(), "true".to_owned());
        sqs.create_queue(name, &attributes)
    };
    for queue in Queue::ALL {
        let fourteen_days = attributes([("MessageRetentionPeriod", "1209600".to_owned())]);
        create(queue.dead_letter_name(), fourteen_days)?;
        let redrive = json!({
            "deadLetterTargetArn": queue_arn(queue.dead_letter_name()),
            "maxReceiveCount": RECEIVE_COUNT_MAX,
        });
        create(
            queue.name(),
            attributes([
                ("DelaySeconds", queue.delay_seconds().to_string()),
                ("VisibilityTimeout", queue.visibility_seconds().to_string()),
                ("DeduplicationScope", "messageGroup".to_owned()),
                ("FifoThroughputLimit", "perMessageGroupId".to_owned()),
                ("RedrivePolicy", redrive.to_string()),
            ]),
        )?;
    }
    Ok(())
}

/// Returns the request that creates the table.
pub(super) fn create_table() -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let mut definitions = vec![text("PK"), text("SK")];
    let mut indexes = Vec::new();
    for index in INDEXES {
        let (pk, sk) = (format!("{index}_pk"), format!("{index}_sk"));
        definitions.extend([text(&pk), text(&sk)]);
        indexes.push(json!({
            "IndexName": index,
            "KeySchema": [key(&pk, "HASH"), key(&sk, "RANGE")],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }));
    }
    json!({
        "TableName": NAME,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": definitions,
        "KeySchema": [key("PK", "HASH"), key("SK", "RANGE")],
        "GlobalSecondaryIndexes": indexes,
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    })
}

/// Returns the request that sets the table's time to live.
pub(super) fn time_to_live() -> Value {
    json!({
        "TableName": NAME,
        "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "expires"},
    })
}
