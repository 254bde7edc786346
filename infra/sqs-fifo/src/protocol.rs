//! SQS's JSON protocol (`application/x-amz-json-1.0`, the action in `X-Amz-Target`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::engine::{Sqs, check_batch};
use super::error::SqsError;
use super::message::{MessageAttributes, Received, md5_of_attributes, md5_of_text};
use super::receive::ReceiveOptions;
use super::settings::ACCOUNT;
use super::wire;

/// Answers one request of the protocol. The queue URLs in responses are
/// `<endpoint>/000000000000/<name>`, with the endpoint that the request was sent to.
pub async fn respond(sqs: &Sqs, request: &Request<Bytes>) -> Response<Bytes> {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|v| v.to_str().ok());
    let action = target
        .and_then(|target| target.strip_prefix("AmazonSQS."))
        .unwrap_or_default();
    let (status, error, body) = match dispatch(sqs, action, request).await {
        Ok(body) => (StatusCode::OK, None, body),
        Err(error) => {
            let status = if error.is_sender_fault() {
                StatusCode::BAD_REQUEST
            } else {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    action,
                    "SQS request failed"
                );
                StatusCode::INTERNAL_SERVER_ERROR
            };
            let body = json!({"__type": error.shape(), "message": error.to_string()});
            (status, Some(error), body)
        }
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/x-amz-json-1.0");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    if let Some(error) = error {
        let fault = if error.is_sender_fault() {
            "Sender"
        } else {
            "Receiver"
        };
        if let Ok(value) = http::HeaderValue::from_str(&format!("{};{fault}", error.code())) {
            response.headers_mut().insert("x-amzn-query-error", value);
        }
    }
    response
}

fn parse<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, SqsError> {
    let body = if request.body().is_empty() {
        b"{}"
    } else {
        request.body().as_ref()
    };
    serde_json::from_slice(body).map_err(|error| {
        SqsError::InvalidParameterValue(format!("The request is malformed: {error}"))
    })
}

fn to_json<T: Serialize>(value: T) -> Result<Value, SqsError> {
    Ok(serde_json::to_value(value)?)
}

/// Returns the URL of a queue at the endpoint that the request was sent to.
fn queue_url(request: &Request<Bytes>, name: &str) -> String {
    let scheme = request.uri().scheme_str().unwrap_or("http");
    let host = request
        .headers()
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let host = authority.or(host).unwrap_or("localhost");
    format!("{scheme}://{host}/{ACCOUNT}/{name}")
}

async fn dispatch(sqs: &Sqs, action: &str, request: &Request<Bytes>) -> Result<Value, SqsError> {
    match action {
        "SendMessage" => send(sqs, parse(request)?),
        "SendMessageBatch" => send_batch(sqs, parse(request)?),
        "ReceiveMessage" => receive(sqs, parse(request)?).await,
        "DeleteMessage" => {
            let one: wire::One<wire::Receipt> = parse(request)?;
            single_result(sqs.delete(&one.queue_url, &[one.entry.receipt_handle])?)
        }
        "DeleteMessageBatch" => delete_batch(sqs, parse(request)?),
        "ChangeMessageVisibility" => {
            let one: wire::One<wire::Visibility> = parse(request)?;
            single_result(sqs.change_visibility(&one.queue_url, &[visibility(one.entry)?])?)
        }
        "ChangeMessageVisibilityBatch" => visibility_batch(sqs, parse(request)?),
        _ => admin(sqs, action, request),
    }
}

fn admin(sqs: &Sqs, action: &str, request: &Request<Bytes>) -> Result<Value, SqsError> {
    match action {
        "CreateQueue" => {
            let create: wire::CreateQueue = parse(request)?;
            sqs.create_queue(&create.queue_name, &create.attributes)?;
            Ok(json!({"QueueUrl": queue_url(request, &create.queue_name)}))
        }
        "DeleteQueue" => {
            let queue: wire::QueueUrl = parse(request)?;
            sqs.delete_queue(&queue.queue_url).map(|()| json!({}))
        }
        "GetQueueUrl" => {
            let queue: wire::QueueName = parse(request)?;
            let name = sqs.find_queue(&queue.queue_name)?;
            Ok(json!({"QueueUrl": queue_url(request, &name)}))
        }
        "ListQueues" => {
            let list: wire::ListQueues = parse(request)?;
            let names = sqs.list_queues(&list.queue_name_prefix);
            let (names, next) = page(names, list.max_results, list.next_token);
            let urls = names.iter().map(|name| queue_url(request, name));
            Ok(json!({"QueueUrls": urls.collect::<Vec<_>>(), "NextToken": next}))
        }
        "GetQueueAttributes" => get_attributes(sqs, &parse(request)?),
        "SetQueueAttributes" => {
            let set: wire::SetAttributes = parse(request)?;
            sqs.set_queue_attributes(&set.queue_url, &set.attributes)
                .map(|()| json!({}))
        }
        other => Err(SqsError::UnsupportedOperation(format!(
            "The action {other} is not supported."
        ))),
    }
}

fn send(sqs: &Sqs, request: wire::Send) -> Result<Value, SqsError> {
    let sent = sqs.send(&request.queue_url, request.message.into())?;
    to_json(wire::SentJson::new(None, sent))
}

fn send_batch(sqs: &Sqs, request: wire::Batch<wire::Message>) -> Result<Value, SqsError> {
    check_entry_ids(&request.entries)?;
    let entries = request.entries.into_iter();
    let (ids, messages): (Vec<_>, Vec<_>) =
        entries.map(|entry| (entry.id, entry.entry.into())).unzip();
    let sent = sqs.send_batch(&request.queue_url, messages)?;
    batch_result(ids.into_iter().zip(sent), wire::SentJson::new)
}

fn delete_batch(sqs: &Sqs, request: wire::Batch<wire::Receipt>) -> Result<Value, SqsError> {
    check_entry_ids(&request.entries)?;
    let entries = request
        .entries
        .into_iter()
        .map(|entry| (entry.id, entry.entry.receipt_handle));
    let (ids, handles): (Vec<_>, Vec<_>) = entries.unzip();
    let deleted = sqs.delete(&request.queue_url, &handles)?;
    batch_result(ids.into_iter().zip(deleted), succeeded)
}

fn visibility(entry: wire::Visibility) -> Result<(String, i64), SqsError> {
    let seconds = entry.visibility_timeout;
    Ok((
        entry.receipt_handle,
        seconds.ok_or(SqsError::MissingParameter("VisibilityTimeout"))?,
    ))
}

fn visibility_batch(sqs: &Sqs, request: wire::Batch<wire::Visibility>) -> Result<Value, SqsError> {
    check_entry_ids(&request.entries)?;
    let (mut ids, mut changes) = (Vec::new(), Vec::new());
    for entry in request.entries {
        ids.push(entry.id);
        changes.push(visibility(entry.entry)?);
    }
    let changed = sqs.change_visibility(&request.queue_url, &changes)?;
    batch_result(ids.into_iter().zip(changed), succeeded)
}

fn succeeded(id: Option<String>, (): ()) -> wire::Succeeded {
    wire::Succeeded {
        id: id.unwrap_or_default(),
    }
}

fn batch_result<T, J: Serialize>(
    results: impl IntoIterator<Item = (String, Result<T, SqsError>)>,
    json: impl Fn(Option<String>, T) -> J,
) -> Result<Value, SqsError> {
    let mut result = wire::BatchResult {
        successful: Vec::new(),
        failed: Vec::new(),
    };
    for (id, outcome) in results {
        match outcome {
            Ok(value) => result.successful.push(json(Some(id), value)),
            Err(error) => result.failed.push(failed(id, &error)),
        }
    }
    to_json(result)
}

fn failed(id: String, error: &SqsError) -> wire::Failed {
    // Within a batch an expired handle is reported with the code of an invalid one.
    let (code, message) = if matches!(error, SqsError::ReceiptHandleExpired(_)) {
        (
            "ReceiptHandleIsInvalid",
            "The receipt handle has expired".to_owned(),
        )
    } else {
        (error.code(), error.to_string())
    };
    wire::Failed {
        id,
        code,
        message,
        sender_fault: error.is_sender_fault(),
    }
}

fn single_result(mut results: Vec<Result<(), SqsError>>) -> Result<Value, SqsError> {
    results.pop().unwrap_or(Ok(())).map(|()| json!({}))
}

fn check_entry_ids<T>(entries: &[wire::Entry<T>]) -> Result<(), SqsError> {
    check_batch(entries.len())?;
    let mut seen = BTreeSet::new();
    for wire::Entry { id, .. } in entries {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if id.is_empty() || id.len() > 80 || !id.bytes().all(allowed) {
            return Err(SqsError::InvalidBatchEntryId);
        }
        if !seen.insert(id) {
            return Err(SqsError::BatchEntryIdsNotDistinct(id.clone()));
        }
    }
    Ok(())
}

async fn receive(sqs: &Sqs, request: wire::Receive) -> Result<Value, SqsError> {
    let wait = request.wait_time_seconds.map(|seconds| {
        // A negative wait is refused like one that is too long.
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
    });
    let options = ReceiveOptions {
        max: usize::try_from(request.max_number_of_messages.unwrap_or(1)).unwrap_or(0),
        wait,
        visibility_seconds: request.visibility_timeout,
        attempt_id: request.receive_request_attempt_id,
    };
    let received = sqs.receive_with(&request.queue_url, &options).await?;
    let mut system = request.message_system_attribute_names;
    system.extend(request.attribute_names);
    let names = request.message_attribute_names;
    let messages = received
        .into_iter()
        .map(|message| message_json(message, &system, &names));
    let messages: Vec<_> = messages.collect();
    if messages.is_empty() {
        return Ok(json!({}));
    }
    Ok(json!({"Messages": to_json(messages)?}))
}

fn message_json(message: Received, system: &[String], names: &[String]) -> wire::MessageJson {
    let trace = message.system_attributes.get("AWSTraceHeader");
    let all: [(&'static str, Option<String>); 8] = [
        ("SenderId", Some(ACCOUNT.to_owned())),
        ("SentTimestamp", Some(message.sent_at_ms.to_string())),
        (
            "ApproximateReceiveCount",
            Some(message.receive_count.to_string()),
        ),
        (
            "ApproximateFirstReceiveTimestamp",
            Some(message.first_received_at_ms.to_string()),
        ),
        (
            "MessageGroupId",
            Some(message.group_id).filter(|id| !id.is_empty()),
        ),
        (
            "MessageDeduplicationId",
            Some(message.deduplication_id).filter(|id| !id.is_empty()),
        ),
        ("SequenceNumber", message.sequence_number),
        ("DeadLetterQueueSourceArn", message.dead_letter_source_arn),
    ];
    let trace = ("AWSTraceHeader", trace.and_then(|t| t.string_value.clone()));
    let is_requested = |name: &str| system.iter().any(|s| s == "All" || s == name);
    let system: BTreeMap<_, _> = all
        .into_iter()
        .chain([trace])
        .filter(|(name, _)| is_requested(name))
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let is_requested = |name: &str| {
        names.iter().any(|requested| {
            requested == "All"
                || requested == name
                || requested
                    .strip_suffix(".*")
                    .is_some_and(|prefix| name.starts_with(prefix))
        })
    };
    let attributes: MessageAttributes = message
        .attributes
        .into_iter()
        .filter(|(name, _)| is_requested(name))
        .collect();
    wire::MessageJson {
        message_id: message.message_id,
        receipt_handle: message.receipt_handle,
        md5_of_body: md5_of_text(&message.body),
        body: message.body,
        system,
        md5_of_attributes: md5_of_attributes(&attributes),
        attributes,
    }
}

fn get_attributes(sqs: &Sqs, request: &wire::GetAttributes) -> Result<Value, SqsError> {
    let attributes = sqs.queue_attributes(&request.queue_url)?;
    let is_requested = |name: &str| {
        request
            .attribute_names
            .iter()
            .any(|a| a == "All" || a == name)
    };
    let chosen: BTreeMap<_, _> = attributes
        .into_iter()
        .filter(|(name, _)| is_requested(name))
        .collect();
    Ok(if chosen.is_empty() {
        json!({})
    } else {
        json!({"Attributes": chosen})
    })
}

/// Returns a page of names and the token of the next one: the last name of this page.
fn page(
    names: Vec<String>,
    max: Option<usize>,
    token: Option<String>,
) -> (Vec<String>, Option<String>) {
    let after = names
        .into_iter()
        .filter(|name| token.as_ref().is_none_or(|token| name > token));
    let rest: Vec<String> = after.collect();
    let max = max.unwrap_or(1000);
    let next = if rest.len() > max {
        rest.get(max.saturating_sub(1)).cloned()
    } else {
        None
    };
    (rest.into_iter().take(max).collect(), next)
}
