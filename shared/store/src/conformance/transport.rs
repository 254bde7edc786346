//! The SDK's HTTP client without sockets: requests go straight into an embedded table, by way of faults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// What becomes of one request.
pub(super) enum Fault {
    /// It is done, and the caller is told.
    None,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is not done; the caller gets this error.
    Refused(u16, Json),
    /// It is done as this other request, and the caller gets the answer with these members added.
    Instead(Json, Json),
}

/// Decides by the operation's name and the request's body.
pub(super) type Faults = Arc<dyn Fn(&str, &Json) -> Fault + Send + Sync>;

#[derive(Clone)]
struct InProcess {
    database: Arc<Database>,
    faults: Faults,
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

/// A client of a new, empty database.
pub(super) fn client(faults: Faults) -> Client {
    let database = Arc::new(Database::memory().expect("a database"));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "static"))
        .endpoint_url("http://in.process")
        .http_client(InProcess { database, faults })
        .build();
    Client::from_conf(config)
}

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let me = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x();
            let (parts, body) = request
                .map_err(|e| ConnectorError::user(e.into()))?
                .into_parts();
            let body = body
                .collect()
                .await
                .map_err(ConnectorError::user)?
                .to_bytes();
            let target = parts
                .headers
                .get("x-amz-target")
                .and_then(|v| v.to_str().ok());
            let operation = target
                .and_then(|t| t.rsplit('.').next())
                .unwrap_or_default();
            // Every call takes a little (virtual) time, so that concurrent tasks take turns.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (status, answer) = me.answer(operation, &body)?;
            let response = http::Response::builder()
                .status(status)
                .body(Bytes::from(answer));
            let response = response.map_err(|e| ConnectorError::user(e.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

impl InProcess {
    fn answer(&self, operation: &str, body: &[u8]) -> Result<(u16, String), ConnectorError> {
        let json: Json = serde_json::from_slice(body).unwrap_or(Json::Null);
        match (self.faults)(operation, &json) {
            Fault::None => Ok(dispatch(&self.database, operation, body)),
            Fault::AnswerLost => {
                dispatch(&self.database, operation, body);
                Err(ConnectorError::io("the answer was lost".into()))
            }
            Fault::Refused(status, answer) => Ok((status, answer.to_string())),
            Fault::Instead(request, added) => {
                let body = request.to_string();
                let (status, answer) = dispatch(&self.database, operation, body.as_bytes());
                let mut answer: Json = serde_json::from_str(&answer).expect("an answer in JSON");
                let members = answer.as_object_mut().expect("an object");
                members.extend(added.as_object().expect("an object").clone());
                Ok((status, answer.to_string()))
            }
        }
    }
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
        "UpdateItem" => update_item, "Query" => query,
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
