//! What the deployment makes on AWS, made here: the table, the queues with their dead-letter queues, the bucket.

use serde_json::{Value, json};

use super::sqs::{Attributes, Sqs, SqsError, queue_arn};

/// The table's name, and the name of a bucket for anything.
pub const NAME: &str = "drivesync";

/// The bucket of content.
pub const CONTENT_BUCKET: &str = "content";

/// How often a message is received before it goes to the dead-letter queue.
const RECEIVE_COUNT_MAX: u32 = 200;

/// The keys-only indexes of the table. `<index>_pk` and `<index>_sk` are their keys.
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
    /// Wakes for content that somebody waits for, consumed by `mirror-content`.
    Content,
    /// Wakes for content that was never mirrored, consumed by `mirror-content`.
    ContentBulk,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LogWakes,
        Self::Snapshots,
        Self::SnapshotsBulk,
        Self::PushWakes,
        Self::Content,
        Self::ContentBulk,
    ];

    /// The queue's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogWakes => "log-wakes.fifo",
            Self::Snapshots => "snapshots.fifo",
            Self::SnapshotsBulk => "snapshots-bulk.fifo",
            Self::PushWakes => "push-wakes.fifo",
            Self::Content => "content.fifo",
            Self::ContentBulk => "content-bulk.fifo",
        }
    }

    /// The name of the queue's dead-letter queue.
    #[must_use]
    pub fn dead_letter_name(self) -> &'static str {
        match self {
            Self::LogWakes => "log-wakes-dead.fifo",
            Self::Snapshots => "snapshots-dead.fifo",
            Self::SnapshotsBulk => "snapshots-bulk-dead.fifo",
            Self::PushWakes => "push-wakes-dead.fifo",
            Self::Content => "content-dead.fifo",
            Self::ContentBulk => "content-bulk-dead.fifo",
        }
    }

    /// How long its function may run, in seconds.
    #[must_use]
    pub fn function_timeout_seconds(self) -> u32 {
        match self {
            Self::LogWakes => 60,
            Self::Snapshots | Self::SnapshotsBulk => 15,
            Self::PushWakes => 30,
            Self::Content | Self::ContentBulk => 900,
        }
    }

    /// How long a message is in flight, in seconds. AWS wants at least as long as the function may run, and advises six
    /// times as long, so that a batch that Lambda has to hand over again is not delivered twice. For content that would
    /// silence a file for an hour and a half after each crash, while a wake that comes twice costs a look at a record: a
    /// minute longer than the function is enough.
    #[must_use]
    pub fn visibility_seconds(self) -> u32 {
        let function = self.function_timeout_seconds();
        match self {
            Self::LogWakes | Self::Snapshots | Self::SnapshotsBulk | Self::PushWakes => {
                6 * function
            }
            Self::Content | Self::ContentBulk => function + 60,
        }
    }

    fn delay_seconds(self) -> u32 {
        match self {
            Self::LogWakes | Self::PushWakes => 1,
            Self::Snapshots | Self::SnapshotsBulk | Self::Content | Self::ContentBulk => 0,
        }
    }
}

fn attributes<const N: usize>(pairs: [(&str, String); N]) -> Attributes {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Makes the queues that are not there, and gives those that are the attributes of this version.
pub(super) fn make_queues(sqs: &Sqs) -> Result<(), SqsError> {
    let make = |name: &str, mut attributes: Attributes| {
        if sqs.find_queue(name).is_ok() {
            return sqs.set_queue_attributes(name, &attributes);
        }
        attributes.insert("FifoQueue".to_owned(), "true".to_owned());
        sqs.create_queue(name, &attributes)
    };
    for queue in Queue::ALL {
        let fourteen_days = attributes([("MessageRetentionPeriod", "1209600".to_owned())]);
        make(queue.dead_letter_name(), fourteen_days)?;
        let redrive = json!({
            "deadLetterTargetArn": queue_arn(queue.dead_letter_name()),
            "maxReceiveCount": RECEIVE_COUNT_MAX,
        });
        make(
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

/// The request that makes the table.
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

/// The request that sets the table's time to live.
pub(super) fn time_to_live() -> Value {
    json!({
        "TableName": NAME,
        "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "expires"},
    })
}
