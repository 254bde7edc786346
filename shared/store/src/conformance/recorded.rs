//! Items as an earlier build wrote them: each is read, and written back as it was.
//!
//! `recorded_items.jsonl` was recorded while the tests of the whole system ran: for each kind of
//! item, samples that cover every attribute, every type of it and every word in it, among them
//! operations in each of their states.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{
    ConnectionId, ConnectionKey, FileId, LogId, Operation, OperationId, Run, TenantId, Timestamp,
};
use serde_json::Value;

use super::support::nonce;
use crate::connection::{connection_item, idempotency, stored_rate_limit};
use crate::content::{content_item, multipart_uploads, object_item, version_item};
use crate::dead_letter::dead_letter_item;
use crate::file::{conflict_item, file_item, history};
use crate::log::{channels, logs};
use crate::operation::{drift_entries, inconsistencies, operation_item};
use crate::table::key::Item;
use crate::trail::{act_item, export_item, line, persons};

/// Converts DynamoDB's JSON form of a value.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(text()).unwrap())),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(item(value).into_iter().collect()),
        other => panic!("{other} is not a type of these items"),
    }
}

fn item(value: &Value) -> Item {
    let members = value.as_object().unwrap().iter();
    members
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect()
}

fn recorded() -> Vec<Item> {
    let lines = include_str!("recorded_items.jsonl").lines();
    lines
        .map(|line| item(&serde_json::from_str(line).unwrap()))
        .collect()
}

fn text<'i>(item: &'i Item, name: &str) -> &'i str {
    item[name].as_s().unwrap()
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().unwrap().parse().ok()
}

/// The connection and, after it, the file that a partition key names.
fn place(pk: &str) -> (ConnectionKey, Option<FileId>) {
    let parts: Vec<&str> = pk.splitn(5, '#').collect();
    let connection = parts.get(3).copied().unwrap_or("none");
    let key = ConnectionKey {
        tenant: TenantId::parse(parts[1]).unwrap(),
        connection: ConnectionId::parse(connection).unwrap(),
    };
    (key, parts.get(4).map(|id| FileId::parse(id).unwrap()))
}

fn operation(key: &ConnectionKey, id: &str) -> Operation {
    let id = OperationId::parse(id).unwrap();
    let (began, run) = (Timestamp::from_millis(0), Run::audit(false));
    Operation::new(key.clone(), id, LogId::user(), "ann", began, run)
}

/// Decodes an item and encodes it again. `None` for kinds that are written once and only read then.
fn rewritten(item: Item) -> Option<Item> {
    let (pk, sk) = (text(&item, "PK").to_owned(), text(&item, "SK").to_owned());
    if pk.starts_with("CHANNEL#") {
        let channel = channels::decode_channel(item).unwrap();
        return Some(channels::encode_channel(&channel).unwrap().item);
    }
    let revision = number(&item, "revision").unwrap_or(0);
    let expires =
        number(&item, "expires").map(|seconds| Timestamp::from_millis(seconds as i64 * 1000));
    let (key, file) = place(&pk);
    let (kind, rest) = sk.split_once('#').unwrap_or((&sk, ""));
    let kind = if pk.contains("#AUDIT#") { "ACT" } else { kind };
    let encoded = match kind {
        "ACT" => {
            let act = act_item::decode_act(item).unwrap();
            let link = line::link(&act.members).unwrap();
            assert_eq!((link.place, link.hash), (act.place, link.computed));
            return None;
        }
        "CHAIN" => {
            let end = act_item::decode_end(item).unwrap();
            act_item::encode_end(&key.tenant, rest.parse().unwrap(), &end)
        }
        "EXPORT" => {
            let state = export_item::decode_export(&key.tenant, item).unwrap();
            export_item::encode_export(&state)
        }
        "KEY" => {
            let decoded = persons::decode_key(item).unwrap();
            assert!(decoded.pseudonym("ann").is_ok());
            return None;
        }
        "WHO" => {
            let (person, subject) = persons::decode_person(item).unwrap();
            persons::encode_person(&key.tenant, &person, &subject)
        }
        "HEAD" => {
            let (record, nonce) = file_item::decode_file(&key, item).unwrap();
            file_item::encode_file(&key, &record, nonce)
        }
        "CONFLICT" => {
            let record = conflict_item::decode_conflict(&key, item).unwrap();
            conflict_item::encode_conflict(&key, &record)
        }
        "SNAP" => {
            let entry = history::decode_entry(&file.unwrap(), item).unwrap();
            history::encode_entry(&key, &entry, expires)
        }
        "CONTENT" => {
            let (state, nonce) = content_item::decode_content(&key, item).unwrap();
            content_item::encode_content(&key, &file.unwrap(), &state, nonce)
        }
        "VERSION" => {
            let version = version_item::decode_version(&key, item).unwrap();
            version_item::encode_version(&key, &file.unwrap(), &version)
        }
        "OBJECT" => {
            let object = object_item::decode_object(&key.tenant, item).unwrap();
            object_item::encode_object(&key.tenant, &object)
        }
        "CONN" => {
            let connection = connection_item::decode_connection(&key.tenant, item).unwrap();
            connection_item::encode_connection(&connection)
        }
        "LOG" => logs::encode_log(&logs::decode_log(&key, item).unwrap()),
        "OP" => {
            let operation = operation_item::decode_operation(&key, item).unwrap();
            operation_item::encode_operation(&operation)
        }
        "PARKED" => {
            let letter = dead_letter_item::decode_dead_letter(&key, item).unwrap();
            dead_letter_item::encode_dead_letter(&letter, revision)
        }
        "DRIFT" => {
            let id = rest.split_once('#').unwrap().0;
            let of = operation(&key, id);
            let entry = drift_entries::decode_entry(&key, &of.id, item).unwrap();
            drift_entries::encode_entry(&of, &entry, revision)
        }
        "FLAW" => {
            let id = rest.split_once('#').unwrap().0;
            let (found, revision) = inconsistencies::decode_inconsistency(item).unwrap();
            inconsistencies::encode_inconsistency(&operation(&key, id), &found, revision)
        }
        "PACE" => {
            let stored = stored_rate_limit::decode_rate_limit(item).unwrap();
            stored_rate_limit::encode_rate_limit(&key, &stored, nonce())
        }
        "PAGE" => {
            let ids = item["ids"].as_l().unwrap().len();
            assert_eq!(operation_item::decode_page(item).unwrap().len(), ids);
            return None;
        }
        "INCOMING" => {
            multipart_uploads::decode_upload(&key, rest, item).unwrap();
            return None;
        }
        "MADE" => {
            idempotency::decode_record(item).unwrap();
            return None;
        }
        other => panic!("{other} has no codec here"),
    };
    Some(encoded.unwrap().item)
}

#[test]
fn recorded_items_are_read_and_written_back_as_they_were() {
    let mut kinds = BTreeSet::new();
    for before in recorded() {
        let sk = text(&before, "SK").to_owned();
        let kind = sk.split('#').next().unwrap().to_owned();
        let Some(after) = rewritten(before.clone()) else {
            kinds.insert(kind);
            continue;
        };
        // Drawn or derived at each write: the nonce, and the time to live of some.
        let fresh = |name: &str| match kind.as_str() {
            "PACE" => name == "nonce",
            // Left over once it waits no more.
            "OP" => name == "since",
            "DRIFT" | "FLAW" | "META" => name == "expires",
            _ => false,
        };
        // What was absent may be written as the default that it is read as.
        for name in before.keys().filter(|name| !fresh(name)) {
            assert_eq!(
                before.get(name),
                after.get(name),
                "{name} of {sk}: {before:#?}"
            );
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 22, "{kinds:?}");
}
