use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::AttributeValue::{self, N, S};
use aws_sdk_dynamodb::types::{
    Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure as OnFailure,
    TransactWriteItem,
};
use sdk_in_process::InProcess;
use serde_json::{Value, json};

use super::*;
use crate::aws::scratch::Scratch;
use crate::aws::signature::Keys;
use crate::aws::{NAME, Options, clients, layout, system_clock};

fn table(dynamodb: &Dynamodb) -> Client {
    for (operation, body) in [
        ("CreateTable", layout::create_table()),
        ("UpdateTimeToLive", layout::time_to_live()),
    ] {
        let (status, answer) = dynamodb.call(operation, body.to_string().as_bytes());
        assert!(status.is_success(), "{answer}");
    }
    dynamodb.reset_counters();
    let http = InProcess::new(handler(dynamodb.clone()));
    clients::dynamodb("http://dynamodb.local", &Keys::random().unwrap(), http)
}

fn memory() -> (Dynamodb, Client) {
    let dynamodb = Dynamodb::open(None, system_clock()).unwrap();
    let client = table(&dynamodb);
    (dynamodb, client)
}

fn item(key: &str, more: &[(&str, AttributeValue)]) -> HashMap<String, AttributeValue> {
    let keys = [("PK", S(key.into())), ("SK", S("HEAD".into()))];
    let all = keys.into_iter().chain(more.iter().cloned());
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn put(client: &Client, key: &str, more: &[(&str, AttributeValue)]) {
    client
        .put_item()
        .table_name(NAME)
        .set_item(Some(item(key, more)))
        .send()
        .await
        .unwrap();
}

/// Returns the write units that `work` consumed.
async fn units(dynamodb: &Dynamodb, work: impl Future<Output = ()>) -> f64 {
    let before = dynamodb.counters().write_units;
    work.await;
    dynamodb.counters().write_units - before
}

#[tokio::test]
async fn a_failed_condition_returns_the_old_item_on_request() {
    let (dynamodb, client) = memory();
    put(&client, "a", &[("revision", N("7".into()))]).await;
    let again = || {
        let put = client
            .put_item()
            .table_name(NAME)
            .set_item(Some(item("a", &[])));
        put.condition_expression("attribute_not_exists(PK)")
    };
    let requested = again().return_values_on_condition_check_failure(OnFailure::AllOld);
    let error = requested.send().await.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
        failed,
    ) = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(failed.item().unwrap()["revision"], N("7".into()));
    let plain = again().send().await.unwrap_err().into_service_error();
    assert!(plain.is_conditional_check_failed_exception());
    let body = json!({"TableName": NAME, "Item": {"PK": {"S": "a"}, "SK": {"S": "HEAD"}},
        "ConditionExpression": "attribute_not_exists(PK)"});
    let (_, answer) = dynamodb.call("PutItem", body.to_string().as_bytes());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer.get("Item"), None);
}

#[tokio::test]
async fn replacing_an_item_whose_index_keys_stay_costs_nothing_on_the_index() {
    let (dynamodb, client) = memory();
    let keyed = |n: &str| {
        let keys = [("files_pk", S("p".into())), ("files_sk", S("s".into()))];
        keys.into_iter()
            .chain([("n", S(n.to_owned()))])
            .collect::<Vec<_>>()
    };
    assert_eq!(
        units(&dynamodb, put(&client, "a", &keyed("1"))).await,
        2.0,
        "a new entry"
    );
    assert_eq!(
        units(&dynamodb, put(&client, "a", &keyed("2"))).await,
        1.0,
        "a plain update"
    );
    let moved = [("files_pk", S("p".into())), ("files_sk", S("other".into()))];
    assert_eq!(
        units(&dynamodb, put(&client, "a", &moved)).await,
        3.0,
        "one entry removed, one added"
    );
    assert_eq!(
        units(&dynamodb, put(&client, "a", &[])).await,
        2.0,
        "one entry removed"
    );
    let big = [("n", S("x".repeat(1500)))];
    assert_eq!(
        units(&dynamodb, put(&client, "b", &big)).await,
        2.0,
        "two KB begun"
    );
}

#[tokio::test]
async fn failed_conditions_and_reads_are_metered_without_a_report() {
    let (dynamodb, client) = memory();
    put(&client, "a", &[("n", S("x".repeat(1500)))]).await;
    let failed = units(&dynamodb, async {
        let put = client
            .put_item()
            .table_name(NAME)
            .set_item(Some(item("a", &[])));
        put.condition_expression("attribute_not_exists(PK)")
            .send()
            .await
            .unwrap_err();
    });
    assert_eq!(failed.await, 2.0, "the size of the existing item");
    dynamodb.reset_counters();
    let key = || {
        client
            .get_item()
            .table_name(NAME)
            .set_key(Some(item("a", &[])))
    };
    let plain = key().send().await.unwrap();
    assert_eq!(plain.consumed_capacity(), None);
    let strong = key().consistent_read(true);
    let strong = strong
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send();
    assert_eq!(
        strong
            .await
            .unwrap()
            .consumed_capacity()
            .unwrap()
            .capacity_units(),
        Some(1.0)
    );
    let counters = dynamodb.counters();
    assert_eq!(counters.read_units, 1.5);
    assert_eq!(counters.calls, BTreeMap::from([("GetItem".to_owned(), 2)]));
}

#[tokio::test]
async fn a_transaction_is_atomic_and_reports_its_reasons() {
    let (dynamodb, client) = memory();
    put(&client, "a", &[]).await;
    let action = |key: &str| {
        let put = Put::builder()
            .table_name(NAME)
            .set_item(Some(item(key, &[])));
        let put = put
            .condition_expression("attribute_not_exists(PK)")
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let cancelled = units(&dynamodb, async {
        let write = client.transact_write_items();
        let write = write
            .transact_items(action("b"))
            .transact_items(action("a"));
        let error = write.send().await.unwrap_err().into_service_error();
        let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
            panic!("{error:?}");
        };
        let codes: Vec<_> = cancelled
            .cancellation_reasons()
            .iter()
            .map(|r| r.code().unwrap())
            .collect();
        assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    });
    assert_eq!(cancelled.await, 4.0);
    let get = client
        .get_item()
        .table_name(NAME)
        .set_key(Some(item("b", &[])))
        .send();
    assert_eq!(get.await.unwrap().item, None);
    let done = units(&dynamodb, async {
        let write = client.transact_write_items();
        let write = write
            .transact_items(action("b"))
            .transact_items(action("c"));
        write.send().await.unwrap();
    });
    assert_eq!(done.await, 4.0);
}

#[tokio::test]
async fn an_index_contains_only_items_with_its_keys() {
    let (_, client) = memory();
    put(
        &client,
        "a",
        &[("due_pk", S("0".into())), ("due_sk", S("5".into()))],
    )
    .await;
    put(
        &client,
        "b",
        &[("due_pk", S("0".into())), ("due_sk", S("9".into()))],
    )
    .await;
    put(&client, "c", &[]).await;
    let query = client.query().table_name(NAME).index_name("due");
    let query = query.key_condition_expression("due_pk = :shard AND due_sk <= :now");
    let query = query.expression_attribute_values(":shard", S("0".into()));
    let found = query
        .expression_attribute_values(":now", S("7".into()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        found
            .items()
            .iter()
            .map(|i| i["PK"].clone())
            .collect::<Vec<_>>(),
        [S("a".into())]
    );
}

#[tokio::test]
async fn expired_items_are_deleted_by_the_given_clock() {
    let now = Arc::new(AtomicI64::new(1_800_000_000_000));
    let clock = now.clone();
    let dynamodb = Dynamodb::open(None, Arc::new(move || clock.load(Ordering::SeqCst))).unwrap();
    let client = table(&dynamodb);
    put(&client, "a", &[("expires", N("1800000100".into()))]).await;
    assert_eq!(dynamodb.sweep_ttl().unwrap(), 0);
    now.fetch_add(101_000, Ordering::SeqCst);
    assert_eq!(dynamodb.sweep_ttl().unwrap(), 1);
}

fn call(dynamodb: &Dynamodb, operation: &str, body: &Value) -> Value {
    let (status, answer) = dynamodb.call(operation, body.to_string().as_bytes());
    assert!(status.is_success(), "{operation}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

fn stream_records(dynamodb: &Dynamodb) -> Vec<String> {
    let streams = call(dynamodb, "ListStreams", &json!({}));
    let arn = &streams["Streams"][0]["StreamArn"];
    let stream = call(dynamodb, "DescribeStream", &json!({"StreamArn": arn}));
    let shard = &stream["StreamDescription"]["Shards"][0]["ShardId"];
    let get = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = call(dynamodb, "GetShardIterator", &get);
    let get = json!({"ShardIterator": iterator["ShardIterator"]});
    let records = call(dynamodb, "GetRecords", &get);
    let records = records["Records"].as_array().unwrap().clone();
    records
        .iter()
        .map(|r| r["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn trimmed_stream_records_are_removed_and_new_ones_follow_in_order() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("table.db");
    let dynamodb = Dynamodb::open(Some(&path), system_clock()).unwrap();
    let client = table(&dynamodb);
    for key in ["a", "b", "c"] {
        put(&client, key, &[]).await;
    }
    let before = stream_records(&dynamodb);
    assert_eq!(before.len(), 3);
    assert_eq!(dynamodb.trim_stream(Some(&before[1])).unwrap(), 2);
    assert_eq!(stream_records(&dynamodb), before[2..]);
    assert_eq!(dynamodb.trim_stream(None).unwrap(), 0, "the last one stays");
    put(&client, "d", &[]).await;
    let after = stream_records(&dynamodb);
    assert_eq!(after.len(), 2);
    assert!(after[1] > before[2]);
    assert!(dynamodb.trim_stream(Some("nonsense")).is_err());
}

#[tokio::test]
async fn the_table_survives_reopening() {
    let folder = Scratch::new().unwrap();
    {
        let aws = crate::aws::Aws::open(Options::directory(folder.path())).unwrap();
        put(&aws.dynamodb_client(), "a", &[]).await;
    }
    let aws = crate::aws::Aws::open(Options::directory(folder.path())).unwrap();
    let get = aws
        .dynamodb_client()
        .get_item()
        .table_name(NAME)
        .set_key(Some(item("a", &[])));
    assert!(get.send().await.unwrap().item.is_some());
}

#[tokio::test]
async fn the_stream_reads_the_same_in_a_file_and_in_memory() {
    let folder = Scratch::new().unwrap();
    let path = folder.path().join("table.db");
    for path in [None, Some(path.as_path())] {
        let dynamodb = Dynamodb::open(path, system_clock()).unwrap();
        let client = table(&dynamodb);
        assert_eq!(dynamodb.stream_keys(None, 10).unwrap(), []);
        let writes = dynamodb.writes();
        put(&client, "a", &[("n", N("1".into()))]).await;
        put(&client, "a", &[("n", N("2".into()))]).await;
        put(&client, "b", &[]).await;
        assert_eq!(dynamodb.writes(), writes + 3);
        let keys = dynamodb.stream_keys(None, 10).unwrap();
        let names: Vec<&str> = keys.iter().map(|k| k.partition_key.as_str()).collect();
        assert_eq!(names, ["a", "a", "b"]);
        assert!(keys.iter().all(|k| k.sort_key == "HEAD"));
        assert!(keys.is_sorted_by_key(|k| k.sequence_number.clone()));
        assert_eq!(dynamodb.stream_keys(None, 2).unwrap(), keys[..2]);
        let after = Some(keys[0].sequence_number.as_str());
        assert_eq!(dynamodb.stream_keys(after, 10).unwrap(), keys[1..]);

        let wanted = [keys[1].sequence_number.clone()];
        let event = dynamodb.stream_event(after, &wanted).unwrap();
        let records = event["Records"].as_array().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0]["eventName"], "MODIFY");
        let shown = &records[0]["dynamodb"];
        assert_eq!(shown["SequenceNumber"], wanted[0].as_str());
        assert_eq!(shown["OldImage"]["n"], json!({"N": "1"}));
        assert_eq!(shown["NewImage"]["n"], json!({"N": "2"}));
        let event: aws_lambda_events::event::dynamodb::Event =
            serde_json::from_value(event).unwrap();
        assert_eq!(event.records[0].change.keys.len(), 2);
    }
}
