//! DynamoDB, SQS and Secrets Manager behind the SDKs' real clients, without sockets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dynoxide::{Database, DynoxideError};
use http::StatusCode;
use sdk_in_process::{
    Body, Fault, FaultHook, Handler, InProcess, fault_layer, json_response, operation, router,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqs_fifo::Sqs;

const DYNAMODB: &str = "dynamodb.test";
pub(crate) const SQS: &str = "sqs.test";
const SECRETS: &str = "secrets.test";

/// The calls to AWS by operation.
#[derive(Default)]
pub(crate) struct AwsCalls {
    /// The number of calls to refuse.
    pub(crate) refusals: BTreeMap<String, u32>,
    /// The number of calls that were made.
    pub(crate) made: BTreeMap<String, u64>,
}

macro_rules! client {
    ($name:ident, $sdk:ident, $host:expr) => {
        pub(crate) fn $name(http: InProcess) -> $sdk::Client {
            let config = $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::v2026_01_12())
                .region($sdk::config::Region::new("us-east-1"))
                .credentials_provider($sdk::config::Credentials::new(
                    "id", "key", None, None, "test",
                ))
                .endpoint_url(format!("http://{}", $host))
                .retry_config($sdk::config::retry::RetryConfig::disabled())
                .http_client(http);
            $sdk::Client::from_conf(config.build())
        }
    };
}

client!(dynamodb, aws_sdk_dynamodb, DYNAMODB);
client!(sqs, aws_sdk_sqs, SQS);
client!(secrets, aws_sdk_secretsmanager, SECRETS);

/// Returns the HTTP client that reaches all services. Every secret is `secret`.
pub(crate) fn in_process(
    database: Arc<Database>,
    sqs: Sqs,
    secret: String,
    calls: Arc<Mutex<AwsCalls>>,
) -> InProcess {
    let table: Handler = Arc::new(move |request| {
        let database = Arc::clone(&database);
        Box::pin(async move {
            let (status, body) = dispatch(&database, operation(&request), request.body());
            Ok(json_response(StatusCode::from_u16(status).unwrap(), body))
        })
    });
    let queues: Handler = Arc::new(move |request| {
        let sqs = sqs.clone();
        Box::pin(async move { Ok(sqs_fifo::respond(&sqs, &request).await.map(Body::from)) })
    });
    let secret = json!({"ARN": "arn:x", "Name": "n", "SecretString": secret}).to_string();
    let secrets: Handler = Arc::new(move |_| {
        let response = json_response(StatusCode::OK, secret.clone());
        Box::pin(async move { Ok(response) })
    });
    let services = [(DYNAMODB, table), (SQS, queues), (SECRETS, secrets)];
    let services = services.map(|(host, handler)| (host.to_owned(), handler));
    let hook: FaultHook = Arc::new(move |request| {
        let mut calls = calls.lock().unwrap();
        let operation = operation(request);
        *calls.made.entry(operation.to_owned()).or_default() += 1;
        match calls.refusals.get_mut(operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Fault::Refused {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    code: "InternalFailure".to_owned(),
                }
            }
            Some(_) | None => Fault::None,
        }
    });
    InProcess::new(fault_layer(hook)(router(BTreeMap::from(services))))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|why| {
        let why = why.to_string();
        let why = why.strip_prefix("VALIDATION:").unwrap_or(&why);
        DynoxideError::ValidationException(why.to_owned())
    })
}

macro_rules! operations {
    ($database:expr, $operation:expr, $body:expr; $($name:literal => $call:ident),* $(,)?) => {
        match $operation {
            $($name => parse($body)
                .and_then(|request| $database.$call(request))
                .map(|response| serde_json::to_string(&response).unwrap()),)*
            other => Err(DynoxideError::ValidationException(format!("no operation {other}"))),
        }
    };
}

/// Returns an item in DynamoDB's JSON.
pub(crate) fn item(database: &Database, table: &str, pk: &str, sk: &str) -> Value {
    let key = json!({"PK": {"S": pk}, "SK": {"S": sk}});
    let request = json!({"TableName": table, "Key": key}).to_string();
    let (_, response) = dispatch(database, "GetItem", request.as_bytes());
    let response: Value = serde_json::from_str(&response).unwrap();
    response["Item"].clone()
}

fn dispatch(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    let response = operations!(database, operation, body;
        "CreateTable" => create_table, "DescribeTable" => describe_table,
        "PutItem" => put_item, "GetItem" => get_item, "DeleteItem" => delete_item,
        "UpdateItem" => update_item, "Query" => query, "Scan" => scan,
        "BatchGetItem" => batch_get_item, "BatchWriteItem" => batch_write_item,
        "TransactWriteItems" => transact_write_items,
        "UpdateTimeToLive" => update_time_to_live,
        "DescribeTimeToLive" => describe_time_to_live,
    );
    match response {
        Ok(response) => (200, response),
        Err(error) => (error.status_code(), error.to_json()),
    }
}
