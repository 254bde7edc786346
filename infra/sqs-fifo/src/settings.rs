//! The attributes of a queue: parsed, validated, and returned by SQS's names.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::error::SqsError;

/// Queue attributes by SQS's names. All values are text.
pub type Attributes = BTreeMap<String, String>;

/// The account in every ARN and queue URL.
pub const ACCOUNT: &str = "000000000000";
/// The region in every ARN.
pub const REGION: &str = "us-east-1";

/// Returns the ARN of the queue with this name.
#[must_use]
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// Returns the name in a queue's ARN, whatever its account and region.
fn queue_name_of_arn(arn: &str) -> Option<&str> {
    let name = arn.strip_prefix("arn:aws:sqs:")?.rsplit(':').next()?;
    (!name.is_empty()).then_some(name)
}

/// The set of messages within which a deduplication id is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeduplicationScope {
    Queue,
    MessageGroup,
}

/// The redrive of messages that were received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedrivePolicy {
    /// The name of the dead-letter queue.
    pub(super) dead_letter_queue: String,
    /// The most receives of a message; it is moved instead of being received once more.
    pub(super) receive_count_max: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicyJson {
    dead_letter_target_arn: String,
    max_receive_count: CountJson,
}

/// CloudFormation and the console write a number, some tools write text.
#[derive(Deserialize)]
#[serde(untagged)]
enum CountJson {
    Number(u32),
    Text(String),
}

/// The settings of a queue. Attributes without an effect here (policies, encryption) are kept
/// verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// True of a FIFO queue, false of a standard one.
    pub(super) fifo: bool,
    pub(super) visibility_seconds: i64,
    pub(super) delay_seconds: i64,
    pub(super) message_bytes_max: usize,
    pub(super) retention_seconds: i64,
    pub(super) receive_wait_seconds: i64,
    pub(super) content_based_deduplication: bool,
    pub(super) deduplication_scope: DeduplicationScope,
    pub(super) throughput_per_group: bool,
    pub(super) redrive: Option<RedrivePolicy>,
    pub(super) inert: Attributes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fifo: false,
            visibility_seconds: 30,
            delay_seconds: 0,
            message_bytes_max: 1_048_576,
            retention_seconds: 345_600,
            receive_wait_seconds: 0,
            content_based_deduplication: false,
            deduplication_scope: DeduplicationScope::Queue,
            throughput_per_group: false,
            redrive: None,
            inert: Attributes::new(),
        }
    }
}

/// Attributes that are stored and returned, without an effect.
const INERT: [&str; 5] = [
    "Policy",
    "RedriveAllowPolicy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];

/// Attributes that only a FIFO queue has.
const FIFO_ONLY: [&str; 3] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];

impl Settings {
    /// Returns these settings with the given attributes changed.
    ///
    /// # Errors
    /// A name is unknown, a value is out of SQS's range, or SQS refuses the combination.
    pub(super) fn with(&self, attributes: &Attributes) -> Result<Self, SqsError> {
        let mut new = self.clone();
        for (name, value) in attributes {
            new.set(name, value)?;
        }
        if !new.fifo
            && let Some(name) = FIFO_ONLY
                .iter()
                .find(|name| attributes.contains_key(**name))
        {
            return Err(SqsError::InvalidAttributeName((*name).to_owned()));
        }
        // The dead-letter queue of a FIFO queue is a FIFO queue, that of another one is not.
        if let Some(redrive) = &new.redrive
            && redrive.dead_letter_queue.ends_with(".fifo") != new.fifo
        {
            return Err(SqsError::InvalidAttributeValue("RedrivePolicy".into()));
        }
        if new.throughput_per_group && new.deduplication_scope == DeduplicationScope::Queue {
            return Err(SqsError::InvalidAttributeValue(
                "FifoThroughputLimit".into(),
            ));
        }
        Ok(new)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqsError> {
        let refuse = || SqsError::InvalidAttributeValue(name.to_owned());
        let number = |from: i64, to: i64| match value.parse::<i64>() {
            Ok(n) if (from..=to).contains(&n) => Ok(n),
            Ok(_) | Err(_) => Err(refuse()),
        };
        let boolean = || value.parse::<bool>().map_err(|_| refuse());
        match name {
            "VisibilityTimeout" => self.visibility_seconds = number(0, 43_200)?,
            "DelaySeconds" => self.delay_seconds = number(0, 900)?,
            "MaximumMessageSize" => {
                self.message_bytes_max =
                    usize::try_from(number(1024, 1_048_576)?).map_err(|_| refuse())?;
            }
            "MessageRetentionPeriod" => self.retention_seconds = number(60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.receive_wait_seconds = number(0, 20)?,
            "ContentBasedDeduplication" => self.content_based_deduplication = boolean()?,
            "FifoQueue" => {
                // A queue without the attribute is a standard one.
                if !boolean()? {
                    return Err(refuse());
                }
                self.fifo = true;
            }
            "DeduplicationScope" => {
                self.deduplication_scope = match value {
                    "queue" => DeduplicationScope::Queue,
                    "messageGroup" => DeduplicationScope::MessageGroup,
                    _ => return Err(refuse()),
                }
            }
            "FifoThroughputLimit" => {
                self.throughput_per_group = match value {
                    "perQueue" => false,
                    "perMessageGroupId" => true,
                    _ => return Err(refuse()),
                }
            }
            "RedrivePolicy" if value.is_empty() => self.redrive = None,
            "RedrivePolicy" => self.redrive = Some(redrive_policy(value).ok_or_else(refuse)?),
            inert if INERT.contains(&inert) => {
                self.inert.insert(inert.to_owned(), value.to_owned());
            }
            unknown => return Err(SqsError::InvalidAttributeName(unknown.to_owned())),
        }
        Ok(())
    }

    /// Returns all settings by SQS's names, as `GetQueueAttributes` returns them and as they are
    /// stored.
    pub(super) fn attributes(&self) -> Attributes {
        let mut all = self.inert.clone();
        let mut put = |name: &str, value: String| all.insert(name.to_owned(), value);
        put("VisibilityTimeout", self.visibility_seconds.to_string());
        put("DelaySeconds", self.delay_seconds.to_string());
        put("MaximumMessageSize", self.message_bytes_max.to_string());
        put("MessageRetentionPeriod", self.retention_seconds.to_string());
        put(
            "ReceiveMessageWaitTimeSeconds",
            self.receive_wait_seconds.to_string(),
        );
        if self.fifo {
            put("FifoQueue", "true".into());
            put(
                "ContentBasedDeduplication",
                self.content_based_deduplication.to_string(),
            );
            let scope = match self.deduplication_scope {
                DeduplicationScope::Queue => "queue",
                DeduplicationScope::MessageGroup => "messageGroup",
            };
            put("DeduplicationScope", scope.into());
            let limit = match self.throughput_per_group {
                true => "perMessageGroupId",
                false => "perQueue",
            };
            put("FifoThroughputLimit", limit.into());
        }
        if let Some(redrive) = &self.redrive {
            let policy = json!({
                "deadLetterTargetArn": queue_arn(&redrive.dead_letter_queue),
                "maxReceiveCount": redrive.receive_count_max,
            });
            put("RedrivePolicy", policy.to_string());
        }
        all
    }
}

fn redrive_policy(value: &str) -> Option<RedrivePolicy> {
    let policy: RedrivePolicyJson = serde_json::from_str(value).ok()?;
    let receive_count_max = match policy.max_receive_count {
        CountJson::Number(number) => number,
        CountJson::Text(text) => text.parse().ok()?,
    };
    let dead_letter_queue = queue_name_of_arn(&policy.dead_letter_target_arn)?.to_owned();
    (1..=1000)
        .contains(&receive_count_max)
        .then_some(RedrivePolicy {
            dead_letter_queue,
            receive_count_max,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<Settings, SqsError> {
        fifo().with(&Attributes::from([(name.to_owned(), value.to_owned())]))
    }

    fn fifo() -> Settings {
        Settings {
            fifo: true,
            ..Settings::default()
        }
    }

    #[test]
    fn settings_survive_a_round_trip() {
        let policy = json!({"deadLetterTargetArn": queue_arn("d.fifo"), "maxReceiveCount": "20"});
        let settings = with("RedrivePolicy", &policy.to_string()).unwrap();
        let parsed = Settings::default().with(&settings.attributes()).unwrap();
        assert_eq!(settings, parsed);
        assert_eq!(parsed.redrive.unwrap().receive_count_max, 20);
    }

    #[test]
    fn a_standard_queue_has_no_attributes_of_a_fifo_queue() {
        let standard = Settings::default();
        let shown = standard.attributes();
        assert!(!shown.contains_key("FifoQueue"), "{shown:?}");
        assert_eq!(Settings::default().with(&shown).unwrap(), standard);
        for (name, value) in [
            ("ContentBasedDeduplication", "true"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ] {
            let attributes = Attributes::from([(name.to_owned(), value.to_owned())]);
            let refused = standard.with(&attributes);
            assert!(matches!(refused, Err(SqsError::InvalidAttributeName(_))));
        }
        for (target, fifo_source) in [("d.fifo", false), ("d", true)] {
            let policy = json!({"deadLetterTargetArn": queue_arn(target), "maxReceiveCount": 3});
            let policy = [("RedrivePolicy".to_owned(), policy.to_string())];
            let source = if fifo_source {
                fifo()
            } else {
                Settings::default()
            };
            assert!(source.with(&Attributes::from(policy)).is_err(), "{target}");
        }
    }

    #[test]
    fn values_out_of_range_and_unknown_names_are_refused() {
        assert!(matches!(
            with("DelaySeconds", "901"),
            Err(SqsError::InvalidAttributeValue(_))
        ));
        assert!(matches!(
            with("FifoQueue", "false"),
            Err(SqsError::InvalidAttributeValue(_))
        ));
        assert!(matches!(
            with("Colour", "red"),
            Err(SqsError::InvalidAttributeName(_))
        ));
        let standard = json!({"deadLetterTargetArn": queue_arn("d"), "maxReceiveCount": 3});
        assert!(with("RedrivePolicy", &standard.to_string()).is_err());
    }

    #[test]
    fn a_throughput_limit_per_group_requires_deduplication_per_group() {
        assert!(with("FifoThroughputLimit", "perMessageGroupId").is_err());
    }
}
