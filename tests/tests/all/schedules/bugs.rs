//! Seeded bugs, on the wire and around the functions, without any code for them in the product.
//!
//! The list has the common bugs of such systems. One of them, "no check after the PATCH", is not
//! possible in a design with conditional writes. Wrong rules of the merge are seeded in the search
//! of `shared/domain`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use serde_json::{Map, Value, json};

use super::play::Bugs;
use super::troubles::Trouble;
use crate::support::sim::{FUNCTION, Misreading, MutationResult, SourceBugs, WireMutation};

/// The description of a bug, and the bug.
pub type Bug = (&'static str, fn() -> Bugs);

pub const ALL: [Bug; 15] = [
    ("the cursor moves before the changes are queued", || {
        on_the_wire(cursor_first)
    }),
    (
        "a message's deduplication id leaves out the version",
        || on_the_wire(deduplicated_by_file),
    ),
    ("a record is written whatever it is by now", || {
        on_the_wire(records_unconditionally)
    }),
    ("a conflict is recorded by a write of its own", || {
        on_the_wire(conflict_apart)
    }),
    ("the last writer wins, and nothing tells of it", || Bugs {
        policies: Some("drive_wins"),
        ..on_the_wire(conflict_unrecorded)
    }),
    ("Drive is written to whatever is there by now", || {
        on_the_wire(without_if_match)
    }),
    ("a write without an answer is sent again as it was", || {
        around(SourceBugs {
            writes_blindly_again: true,
            ..SourceBugs::default()
        })
    }),
    ("what is owed counts as done before it is sent", || {
        on_the_wire(done_first)
    }),
    ("what was sent is not remembered", || {
        on_the_wire(sent_forgotten)
    }),
    (
        "messages are deleted although their process has ended, or their function failed",
        || {
            around(SourceBugs {
                acknowledges_errors: true,
                acknowledges_crashes: true,
                ..SourceBugs::default()
            })
        },
    ),
    ("a process that failed once fails for ever", || {
        around(SourceBugs {
            keeps_failures: true,
            ..SourceBugs::default()
        })
    }),
    ("readers are woken, and nothing is appended", || {
        of_events(told_without_log)
    }),
    ("the numbers of events are drawn from the time", || {
        of_events(numbered_by_time)
    }),
    ("events are appended whatever the log has by now", || {
        of_events(appended_unconditionally)
    }),
    ("the ids of events are drawn at each attempt", || {
        of_events(identified_anew)
    }),
];

/// The bugs in deliveries to webhook receivers.
pub const OF_DELIVERIES: [Bug; 2] = [
    ("an endpoint's place moves before the answer", || Bugs {
        events: true,
        ..around(SourceBugs {
            accepts_before_answer: true,
            ..SourceBugs::default()
        })
    }),
    ("a delivery goes on after what was refused", || {
        of_events(refused_skipped)
    }),
];

/// The bugs in the reading of Drive's answers, each with the trouble that shows it. A client that
/// follows any token is not among them: the entries of a page that repeats end its walk as well.
pub const OF_READING: [(&str, Misreading, Trouble); 5] = [
    (
        "a single 404 is believed",
        Misreading::OneNotFound,
        Trouble::FalseNotFound,
    ),
    (
        "a page of HTML is believed",
        Misreading::Pages,
        Trouble::ForeignNotFound,
    ),
    (
        "a refusal by a page of HTML counts against the edit",
        Misreading::Trouble,
        Trouble::ForeignPages,
    ),
    (
        "an outage of writes counts against the edits",
        Misreading::Trouble,
        Trouble::RefusedWrites,
    ),
    (
        "an unknown reason counts against the edit",
        Misreading::Trouble,
        Trouble::UnknownReason,
    ),
];

fn on_the_wire(mutation: fn() -> WireMutation) -> Bugs {
    Bugs {
        mutation: Some(mutation),
        ..Bugs::default()
    }
}

fn of_events(mutation: fn() -> WireMutation) -> Bugs {
    Bugs {
        events: true,
        ..on_the_wire(mutation)
    }
}

fn around(source_bugs: SourceBugs) -> Bugs {
    Bugs {
        source_bugs,
        ..Bugs::default()
    }
}

/// Messages are kept in the process until the log's item is written.
fn cursor_first() -> WireMutation {
    let kept: Mutex<BTreeMap<String, Vec<Request<Bytes>>>> = Mutex::default();
    Arc::new(move |request| {
        let process = tokio::task::id().to_string();
        let mut kept = kept.lock().unwrap();
        if is(request, "SendMessageBatch") && text(request).contains("snapshots") {
            let entries = json_of(request)["Entries"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let sent = entries.iter().enumerate().map(|(at, entry)| {
                json!({"Id": entry["Id"], "MessageId": format!("m{at}"), "MD5OfMessageBody": "",
                    "SequenceNumber": "1"})
            });
            let sent: Vec<Value> = sent.collect();
            kept.entry(process).or_default().push(request.clone());
            let body = json!({"Successful": sent, "Failed": []}).to_string();
            return MutationResult::Answered(Response::new(Bytes::from(body)));
        }
        if writes_item(request, "LOG#") {
            return MutationResult::Followed(kept.remove(&process).unwrap_or_default());
        }
        MutationResult::Passes
    })
}

fn deduplicated_by_file() -> WireMutation {
    Arc::new(|request| {
        if is(request, "SendMessageBatch") && text(request).contains("snapshots") {
            change(request, |body| {
                let entries = body.get_mut("Entries").and_then(Value::as_array_mut);
                for entry in entries.into_iter().flatten() {
                    entry["MessageDeduplicationId"] = entry["MessageGroupId"].clone();
                }
            });
        }
        MutationResult::Passes
    })
}

fn records_unconditionally() -> WireMutation {
    Arc::new(|request| {
        put_whole(request);
        if is(request, "PutItem") && writes_item(request, "HEAD") {
            change(request, |body| {
                for part in [
                    "ConditionExpression",
                    "ExpressionAttributeNames",
                    "ExpressionAttributeValues",
                ] {
                    body.remove(part);
                }
            });
        }
        MutationResult::Passes
    })
}

/// A transaction is split into a write of the record and one of the conflict.
fn conflict_apart() -> WireMutation {
    Arc::new(|request| {
        let writes = conflict_transaction(request);
        let Some((record, others)) = writes.split_first() else {
            return MutationResult::Passes;
        };
        let alone = |put: &Value| {
            let mut alone = request.clone();
            set(&mut alone, "PutItem", put);
            alone
        };
        let others = others.iter().map(alone).collect();
        set(request, "PutItem", record);
        MutationResult::Followed(others)
    })
}

fn conflict_unrecorded() -> WireMutation {
    Arc::new(|request| {
        if let Some(record) = conflict_transaction(request).first() {
            set(request, "PutItem", record);
        }
        MutationResult::Passes
    })
}

/// Returns the puts of a transaction that writes a record and its conflicts; none for any other
/// request.
fn conflict_transaction(request: &Request<Bytes>) -> Vec<Value> {
    if !is(request, "TransactWriteItems") {
        return Vec::new();
    }
    let body = json_of(request);
    let writes = body["TransactItems"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let puts: Vec<Value> = writes
        .into_iter()
        .map(|mut write| match write["Update"].take() {
            Value::Null => write["Put"].take(),
            update => put_of(&update),
        })
        .collect();
    let of = |put: &Value, place: &str| sort_key(put).is_some_and(|key| key.starts_with(place));
    let (record, others) = match puts.split_first() {
        Some((record, others)) if of(record, "HEAD") => (record, others),
        Some(_) | None => return Vec::new(),
    };
    let all_conflicts = others.iter().all(|put| of(put, "CONFLICT#"));
    match all_conflicts {
        true => std::iter::once(record).chain(others).cloned().collect(),
        false => Vec::new(),
    }
}

fn without_if_match() -> WireMutation {
    Arc::new(|request| {
        request.headers_mut().remove("if-match");
        let body = text(request).replace("If-Match:", "X-Match:");
        if is_batch(request) {
            *request.body_mut() = Bytes::from(body);
        }
        MutationResult::Passes
    })
}

/// The record that claims a write is stored as if the write had been confirmed.
fn done_first() -> WireMutation {
    Arc::new(|request| {
        let pushing = FUNCTION.try_with(|function| *function == "push-intents") == Ok(true);
        put_whole(request);
        if pushing && is(request, "PutItem") && writes_item(request, "HEAD") {
            change(request, |body| {
                let Some(item) = body.get_mut("Item").and_then(Value::as_object_mut) else {
                    return;
                };
                let Some(sent) = item.remove("s") else { return };
                for (field, entries) in sent["M"].as_object().into_iter().flatten() {
                    let last = entries["L"].as_array().and_then(|entries| entries.last());
                    let value = last.map(|entry| entry["L"][0].clone()).unwrap_or_default();
                    item["b"]["M"][field] = value;
                    if let Some(app) = item.get_mut("a").and_then(|app| app["M"].as_object_mut()) {
                        app.remove(field);
                    }
                }
                for place in ["due_pk", "due_sk", "attention_pk", "attention_sk"] {
                    item.remove(place);
                }
            });
        }
        MutationResult::Passes
    })
}

fn sent_forgotten() -> WireMutation {
    Arc::new(|request| {
        put_whole(request);
        if is(request, "PutItem") && writes_item(request, "HEAD") {
            change(request, |body| {
                if let Some(item) = body.get_mut("Item").and_then(Value::as_object_mut) {
                    item.remove("s");
                }
            });
        }
        MutationResult::Passes
    })
}

/// An append is answered, and not made.
fn told_without_log() -> WireMutation {
    Arc::new(|request| match writes_item(request, "EV#") {
        true => MutationResult::Answered(Response::new(Bytes::from_static(b"{}"))),
        false => MutationResult::Passes,
    })
}

fn numbered_by_time() -> WireMutation {
    let began = tokio::time::Instant::now();
    Arc::new(move |request| {
        if writes_item(request, "EV#") {
            let millis = began.elapsed().as_millis();
            change(request, |body| {
                body["Item"]["SK"]["S"] = json!(format!("EV#{millis:019}"));
            });
        }
        MutationResult::Passes
    })
}

fn appended_unconditionally() -> WireMutation {
    Arc::new(|request| {
        if writes_item(request, "EV#") {
            change(request, |body| {
                body.remove("ConditionExpression");
            });
        }
        MutationResult::Passes
    })
}

fn identified_anew() -> WireMutation {
    let attempts = Mutex::new(0_u64);
    Arc::new(move |request| {
        if writes_item(request, "EV#") {
            change(request, |body| {
                let mut attempts = attempts.lock().unwrap();
                *attempts += 1;
                let events = body["Item"]["events"]["L"].as_array_mut();
                for event in events.into_iter().flatten() {
                    event["M"]["n"]["S"] = json!(format!("{attempts}"));
                }
            });
        }
        MutationResult::Passes
    })
}

/// The endpoint's place follows what was not accepted.
fn refused_skipped() -> WireMutation {
    Arc::new(|request| {
        if !writes_item(request, "HOOK#") {
            return MutationResult::Passes;
        }
        let endpoint = put_of(&json_of(request));
        let (item, trouble) = (&endpoint["Item"], &endpoint["Item"]["trouble"]["M"]);
        let (Some(head), Some(connection)) = (
            trouble["head"]["S"].as_str(),
            trouble["connection"]["S"].as_str(),
        ) else {
            return MutationResult::Passes;
        };
        let (hooks, hook) = (item["PK"]["S"].as_str(), item["SK"]["S"].as_str());
        let pk = hooks.zip(hook).map(|(hooks, hook)| {
            let tenant = hooks.trim_end_matches("HOOKS");
            format!("{tenant}{hook}")
        });
        let mut moved = request.clone();
        let update = json!({
            "TableName": endpoint["TableName"],
            "Key": {"PK": {"S": pk}, "SK": {"S": format!("PLACE#{connection}")}},
            "UpdateExpression": "SET #after = :after",
            "ExpressionAttributeNames": {"#after": "after"},
            "ExpressionAttributeValues": {":after": {"S": head}},
        });
        set(&mut moved, "UpdateItem", &update);
        MutationResult::Followed(vec![moved])
    })
}

/// Each wake of an endpoint is in a group of its own, so that several workers have one at once.
pub fn wakes_apart() -> WireMutation {
    let sent = Mutex::new(0_u64);
    Arc::new(move |request| {
        if is(request, "SendMessage") && text(request).contains("deliver.fifo") {
            change(request, |body| {
                let mut sent = sent.lock().unwrap();
                *sent += 1;
                body.insert("MessageGroupId".to_owned(), json!(format!("wake{sent}")));
            });
        }
        MutationResult::Passes
    })
}

/// Turns the update that replaces a record into the put of the whole item. Both are equivalent
/// here, as no item has attributes that the store does not know.
fn put_whole(request: &mut Request<Bytes>) {
    if is(request, "UpdateItem") && writes_item(request, "HEAD") {
        let put = put_of(&json_of(request));
        set(request, "PutItem", &put);
    }
}

/// Returns the put of the item that an update sets, with the update's condition.
fn put_of(update: &Value) -> Value {
    let members = |name: &str| update[name].as_object().cloned().unwrap_or_default();
    let (names, values) = (
        members("ExpressionAttributeNames"),
        members("ExpressionAttributeValues"),
    );
    let mut item = members("Key");
    for (name, value) in &values {
        let attribute = name.trim_start_matches(':');
        if names.contains_key(&format!("#{attribute}")) {
            item.insert(attribute.to_owned(), value.clone());
        }
    }
    let condition = update["ConditionExpression"].as_str().unwrap_or_default();
    let of_condition: BTreeSet<&str> = condition
        .split(|c: char| !c.is_alphanumeric() && !"_#:".contains(c))
        .collect();
    let kept = |members: Map<String, Value>| -> Map<String, Value> {
        let each = members.into_iter();
        each.filter(|(name, _)| of_condition.contains(name.as_str()))
            .collect()
    };
    json!({
        "TableName": update["TableName"],
        "Item": item,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": kept(names),
        "ExpressionAttributeValues": kept(values),
        "ReturnValuesOnConditionCheckFailure": update["ReturnValuesOnConditionCheckFailure"],
    })
}

/// Returns whether a request calls this operation of AWS.
pub fn is(request: &Request<Bytes>, operation: &str) -> bool {
    let target = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    target.is_some_and(|target| target.ends_with(&format!(".{operation}")))
}

fn is_batch(request: &Request<Bytes>) -> bool {
    request.uri().path().starts_with("/batch/")
}

fn text(request: &Request<Bytes>) -> String {
    String::from_utf8_lossy(request.body()).into_owned()
}

/// Returns the body of a request; `Null` if it is no JSON.
pub fn json_of(request: &Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap_or(Value::Null)
}

fn sort_key(write: &Value) -> Option<&str> {
    let key = [&write["Item"], &write["Key"]]
        .into_iter()
        .find(|key| key.is_object())?;
    key["SK"]["S"].as_str()
}

/// Returns whether a request writes one item of this kind.
fn writes_item(request: &Request<Bytes>, kind: &str) -> bool {
    let writes = is(request, "PutItem") || is(request, "UpdateItem");
    writes && sort_key(&json_of(request)).is_some_and(|key| key.starts_with(kind))
}

fn change(request: &mut Request<Bytes>, change: impl FnOnce(&mut Map<String, Value>)) {
    if let Value::Object(mut body) = json_of(request) {
        change(&mut body);
        *request.body_mut() = Bytes::from(Value::Object(body).to_string());
    }
}

fn set(request: &mut Request<Bytes>, operation: &str, body: &Value) {
    let target = HeaderValue::from_str(&format!("DynamoDB_20120810.{operation}")).unwrap();
    request.headers_mut().insert("x-amz-target", target);
    *request.body_mut() = Bytes::from(body.to_string());
}
