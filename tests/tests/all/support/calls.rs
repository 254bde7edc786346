//! The calls of each function to AWS, in the terms of IAM policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use local::aws::in_process::{Fault, Layer, fault_layer};
use local::aws::{NAME, WEBHOOK_KEY};
use local::system::SECRETS_PREFIX;
use serde_json::Value;

/// The resources, as `index/due`, by action, as `dynamodb:GetItem`.
pub type ByAction = BTreeMap<String, BTreeSet<String>>;

/// The calls of each function, by its name.
#[derive(Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<&'static str, ByAction>>>);

impl Calls {
    /// Returns a layer that records every call as one of `function`.
    pub fn layer(&self, function: &'static str) -> Layer {
        let calls = self.clone();
        fault_layer(Arc::new(move |request| {
            let mut all = calls.0.lock().unwrap();
            let of_function = all.entry(function).or_default();
            for (action, resource) in used(request) {
                of_function.entry(action).or_default().insert(resource);
            }
            Fault::None
        }))
    }

    /// Returns all recorded calls.
    pub fn all(&self) -> BTreeMap<&'static str, ByAction> {
        self.0.lock().unwrap().clone()
    }
}

/// Returns the actions and resources that a request needs.
///
/// A transaction has no action of its own: DynamoDB checks those of its writes ("Using IAM with
/// DynamoDB transactions"). Neither have SQS's batches (Amazon SQS API permissions reference).
fn used(request: &Request<Bytes>) -> Vec<(String, String)> {
    if let Some((_, socket)) = request.uri().path().split_once("/@connections/") {
        assert!(!socket.is_empty());
        let resource = format!("sockets/{}", request.method());
        return vec![("execute-api:ManageConnections".to_owned(), resource)];
    }
    // S3's requests name no action.
    let Some(target) = request.headers().get("x-amz-target") else {
        return Vec::new();
    };
    let target = target.to_str().unwrap();
    let (service, operation) = target.split_once('.').unwrap();
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    match service {
        "DynamoDB_20120810" => in_table(operation, &body),
        "AmazonSQS" => {
            let url = body["QueueUrl"].as_str().unwrap();
            let queue = url.rsplit('/').next().unwrap().trim_end_matches(".fifo");
            let action = operation.trim_end_matches("Batch");
            vec![(format!("sqs:{action}"), format!("queue/{queue}"))]
        }
        "secretsmanager" => {
            let name = body["SecretId"].as_str().unwrap();
            let resource = match name {
                WEBHOOK_KEY => "webhook-key",
                name if name.starts_with(SECRETS_PREFIX) => "secrets",
                other => panic!("{other} is no secret of ours"),
            };
            vec![(format!("secretsmanager:{operation}"), resource.to_owned())]
        }
        other => panic!("{other} is no service of ours"),
    }
}

fn in_table(operation: &str, body: &Value) -> Vec<(String, String)> {
    let of_table = |what: &Value| {
        assert_eq!(what["TableName"], NAME, "{what}");
        // The public function may read and create only channels.
        let key = match operation {
            "GetItem" => &what["Key"]["PK"]["S"],
            "PutItem" => &what["Item"]["PK"]["S"],
            _ => &Value::Null,
        };
        if key.as_str().unwrap_or_default().starts_with("CHANNEL#") {
            return "channels".to_owned();
        }
        match what["IndexName"].as_str() {
            Some(index) => format!("index/{index}"),
            None => "table".to_owned(),
        }
    };
    let action = |operation: &str| format!("dynamodb:{operation}");
    match operation {
        "TransactWriteItems" => {
            let writes = body["TransactItems"].as_array().unwrap().iter();
            let write = |write: &Value| {
                let (kind, what) = write.as_object().unwrap().iter().next().unwrap();
                let kind = match kind.as_str() {
                    "ConditionCheck" => kind.clone(),
                    kind => format!("{kind}Item"),
                };
                (action(&kind), of_table(what))
            };
            writes.map(write).collect()
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = body["RequestItems"].as_object().unwrap();
            assert!(tables.keys().eq([NAME]), "{tables:?}");
            vec![(action(operation), "table".to_owned())]
        }
        single => vec![(action(single), of_table(body))],
    }
}
