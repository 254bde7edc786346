//! The table's stream, for its only reader.
//!
//! The engine also serves the API of DynamoDB Streams, but there every record is read as a whole
//! while the engine's connection is locked. A database in a file is read here through a connection
//! of its own instead, keys first, so that a reader that skips records costs the writers nothing.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use dynoxide::actions::get_records::{GetRecordsRequest, Record};
use dynoxide::actions::get_shard_iterator::encode_shard_iterator;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dynamodb, DynamodbError, dispatch, stored_sequence_number};
use crate::aws::layout::NAME;

/// Returns the engine's name of the only shard of the table.
fn shard() -> String {
    format!("shardId-00000001-{NAME}")
}

/// The offset of the public form of a sequence number to the stored one.
const OFFSET: u128 = 10_u128.pow(20);

/// What a stream record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamKeys {
    /// The record's position in the stream: 21 digits, ascending.
    pub sequence_number: String,
    /// The item's partition key.
    pub partition_key: String,
    /// The item's sort key.
    pub sort_key: String,
    /// The name of the write: `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "PK")]
    pk: Text,
    #[serde(rename = "SK")]
    sk: Text,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "S")]
    s: String,
}

fn keys(stored: i64, text: &str, event_name: String) -> Result<StreamKeys, DynamodbError> {
    let keys: Keys = serde_json::from_str(text).map_err(DynamodbError::Record)?;
    Ok(StreamKeys {
        sequence_number: public(stored),
        partition_key: keys.pk.s,
        sort_key: keys.sk.s,
        event_name,
    })
}

fn public(stored: i64) -> String {
    (OFFSET + u128::from(stored.unsigned_abs())).to_string()
}

fn stored(public: &str) -> Result<i64, DynamodbError> {
    stored_sequence_number(public).ok_or_else(|| DynamodbError::SequenceNumber(public.to_owned()))
}

impl Dynamodb {
    /// Returns the address of the table's stream, if it has one. A table that was restored has
    /// another.
    #[must_use]
    pub fn stream_arn(&self) -> Option<String> {
        let named = json!({"TableName": NAME}).to_string();
        let described = dispatch(&self.inner.database, "DescribeTable", named.as_bytes());
        let described: Value = serde_json::from_str(&described.result.ok()?).ok()?;
        let arn = described.pointer("/Table/LatestStreamArn")?;
        arn.as_str().map(str::to_owned)
    }

    /// Returns the number of requests that may have written. While it is unchanged, so is the
    /// stream.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inner.writes.load(Ordering::Acquire)
    }

    /// Returns the keys of up to `limit` records after a sequence number, or from the beginning,
    /// oldest first.
    ///
    /// # Errors
    /// The text is not a sequence number, or the database failed.
    pub fn stream_keys(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamKeys>, DynamodbError> {
        let after = after.map(stored).transpose()?.unwrap_or(0);
        let reader = &self.inner.reader;
        let Some(reader) = reader else {
            let records = self.records_in_memory(after, limit)?;
            let each = records.iter().map(|record| {
                let text = serde_json::to_string(&record.dynamodb.keys);
                let stored = stored(&record.dynamodb.sequence_number)?;
                let text = text.map_err(DynamodbError::Record)?;
                keys(stored, &text, record.event_name.clone())
            });
            return each.collect();
        };
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = reader.prepare_cached(
            "SELECT CAST(sequence_number AS INTEGER), keys_json, event_name FROM _stream_records
                WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) > ?2
                ORDER BY CAST(sequence_number AS INTEGER) LIMIT ?3",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = select.query_map((NAME, after, limit), |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        })?;
        rows.map(|row| {
            let (stored, text, event_name) = row?;
            keys(stored, &text, event_name)
        })
        .collect()
    }

    /// Returns the given records as a Lambda event. They must be in order, and among the 1,000
    /// after `after`.
    ///
    /// # Errors
    /// The text is not a sequence number, or the database failed.
    pub fn stream_event(
        &self,
        after: Option<&str>,
        wanted: &[String],
    ) -> Result<Value, DynamodbError> {
        let Some(reader) = &self.inner.reader else {
            let after = after.map(stored).transpose()?.unwrap_or(0);
            let mut found = self.records_in_memory(after, 1_000)?;
            found.retain(|record| wanted.contains(&record.dynamodb.sequence_number));
            let arn = self.stream_arn();
            let mut records = Vec::with_capacity(found.len());
            for record in found {
                let mut record = serde_json::to_value(record).map_err(DynamodbError::Record)?;
                if let Some(members) = record.as_object_mut() {
                    members.insert("eventSourceARN".to_owned(), json!(arn));
                }
                records.push(record);
            }
            return Ok(json!({ "Records": records }));
        };
        let arn = self.stream_arn();
        let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = reader.prepare_cached(
            "SELECT event_name, keys_json, new_image, old_image, created_at, event_id
                FROM _stream_records
                WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) = ?2",
        )?;
        let mut records = Vec::with_capacity(wanted.len());
        for sequence_number in wanted {
            let row = select.query_row((NAME, stored(sequence_number)?), |row| {
                Ok(Row {
                    event_name: row.get(0)?,
                    keys: row.get(1)?,
                    new_image: row.get(2)?,
                    old_image: row.get(3)?,
                    created_at: row.get(4)?,
                    event_id: row.get(5)?,
                })
            })?;
            records.push(row.into_record(sequence_number, arn.as_deref())?);
        }
        Ok(json!({ "Records": records }))
    }

    fn records_in_memory(&self, after: i64, limit: usize) -> Result<Vec<Record>, DynamodbError> {
        let request = GetRecordsRequest {
            shard_iterator: encode_shard_iterator(NAME, &shard(), after),
            limit: Some(limit),
        };
        Ok(self.inner.database.get_records(request)?.records)
    }
}

/// A stored stream record.
struct Row {
    event_name: String,
    keys: String,
    new_image: Option<String>,
    old_image: Option<String>,
    created_at: i64,
    event_id: Option<String>,
}

impl Row {
    fn into_record(self, sequence_number: &str, arn: Option<&str>) -> Result<Value, DynamodbError> {
        let bytes = |image: &Option<String>| image.as_ref().map_or(0, String::len);
        let size = self.keys.len() + bytes(&self.new_image) + bytes(&self.old_image);
        let image = |text: Option<String>| match text {
            Some(text) => serde_json::from_str::<Value>(&text).map(Some),
            None => Ok(None),
        };
        let mut shown = json!({
            "ApproximateCreationDateTime": self.created_at,
            "Keys": image(Some(self.keys)).map_err(DynamodbError::Record)?,
            "SequenceNumber": sequence_number,
            "SizeBytes": size,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        for (name, text) in [("NewImage", self.new_image), ("OldImage", self.old_image)] {
            let image = image(text).map_err(DynamodbError::Record)?;
            if let (Some(image), Some(shown)) = (image, shown.as_object_mut()) {
                shown.insert(name.to_owned(), image);
            }
        }
        Ok(json!({
            "eventID": self.event_id.as_deref().unwrap_or(sequence_number),
            "eventName": self.event_name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": sqs_fifo::REGION,
            "eventSourceARN": arn,
            "dynamodb": shown,
        }))
    }
}
