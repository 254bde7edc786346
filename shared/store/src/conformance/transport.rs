//! An SDK client of an embedded table, with injected faults.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use dynoxide::{Database, DynoxideError};
use http::{Response, StatusCode};
use sdk_in_process::{Body, InProcess, TransportError, json_response, operation};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// The treatment of one request.
pub(super) enum Fault {
    /// It is executed, and the caller receives the response.
    None,
    /// It is executed, and the response is lost.
    AnswerLost,
    /// It is not executed; the caller receives this error.
    Refused(u16, Json),
    /// It is executed as this other request, and the caller receives the response with these
    /// members added.
    Instead(Json, Json),
}

/// Decides by the operation's name and the request's body.
pub(super) type Faults = Arc<dyn Fn(&str, &Json) -> Fault + Send + Sync>;

/// Returns a client of a new, empty database.
pub(super) fn client(faults: Faults) -> Client {
    let database = Arc::new(Database::memory().expect("a database"));
    let http = InProcess::without_yield(Arc::new(move |request| {
        let (database, faults) = (Arc::clone(&database), Arc::clone(&faults));
        Box::pin(async move {
            // Every call takes some (virtual) time, so that concurrent tasks take turns.
            tokio::time::sleep(Duration::from_millis(1)).await;
            respond(&database, &faults, operation(&request), request.body())
        })
    }));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .endpoint_url("http://in.process")
        .http_client(http)
        .build();
    Client::from_conf(config)
}

fn respond(
    database: &Database,
    faults: &Faults,
    operation: &str,
    body: &[u8],
) -> Result<Response<Body>, TransportError> {
    let json: Json = serde_json::from_slice(body).unwrap_or(Json::Null);
    let (status, answer) = match faults(operation, &json) {
        Fault::None => dispatch(database, operation, body),
        Fault::AnswerLost => {
            dispatch(database, operation, body);
            return Err(TransportError::AnswerLost);
        }
        Fault::Refused(status, answer) => (status, answer.to_string()),
        Fault::Instead(request, added) => {
            let body = request.to_string();
            let (status, answer) = dispatch(database, operation, body.as_bytes());
            let mut answer: Json = serde_json::from_str(&answer).expect("an answer in JSON");
            let members = answer.as_object_mut().expect("an object");
            members.extend(added.as_object().expect("an object").clone());
            (status, answer.to_string())
        }
    };
    let status = StatusCode::from_u16(status).expect("an HTTP status");
    Ok(json_response(status, answer))
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
                .map(|answer| serde_json::to_string(&answer).expect("an answer in JSON")),)*
            other => Err(DynoxideError::ValidationException(format!("no operation {other}"))),
        }
    };
}

fn dispatch(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    let answer = operations!(database, operation, body;
        "CreateTable" => create_table, "DescribeTable" => describe_table,
        "PutItem" => put_item, "GetItem" => get_item, "DeleteItem" => delete_item,
        "UpdateItem" => update_item, "Query" => query, "Scan" => scan,
        "BatchGetItem" => batch_get_item, "BatchWriteItem" => batch_write_item,
        "TransactWriteItems" => transact_write_items,
        "UpdateTimeToLive" => update_time_to_live,
        "DescribeTimeToLive" => describe_time_to_live,
    );
    match answer {
        Ok(answer) => (200, answer),
        Err(error) => (error.status_code(), error.to_json()),
    }
}
