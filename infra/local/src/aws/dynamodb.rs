//! DynamoDB in this process: the embedded engine behind DynamoDB's JSON protocol, with its consumption counted.
//!
//! Every data request is made to report what it consumed; the caller sees the report only if it asked. Requests are taken
//! from the engine's own accounting, which charges an index only for a change of what it stores: replacing an item whose
//! index keys stay the same costs nothing on a keys-only index, as on AWS. Two things the engine does not report are added
//! here, after AWS's developer guide ("read and write operations"): a failed condition costs the write units of the item that
//! was there (at least 1), and a cancelled transaction costs 2 for each of its actions, which is exact for items up to 1 KB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dynoxide::types::{ConsumedCapacity, item_size, write_capacity_units};
use dynoxide::{Database, DynoxideError, actions};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Clock;
use super::in_process::{Body, Handler};

mod stream;

pub use self::stream::StreamKeys;

/// Why the table cannot be opened or kept in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DynamodbError {
    /// The engine failed.
    #[error("the table's engine failed")]
    Engine(#[source] Box<DynoxideError>),
    /// The engine's database failed underneath it.
    #[error("the table's database failed")]
    Storage(#[from] rusqlite::Error),
    /// The path is not text.
    #[error("the path {0:?} is not UTF-8")]
    Path(PathBuf),
    /// Not a sequence number of this engine's streams.
    #[error("{0} is not a sequence number of a stream")]
    SequenceNumber(String),
    /// A record of the stream is not what the engine writes.
    #[error("a record of the stream can't be read")]
    Record(#[source] serde_json::Error),
}

impl From<DynoxideError> for DynamodbError {
    fn from(error: DynoxideError) -> Self {
        Self::Engine(Box::new(error))
    }
}

/// What was consumed so far, as AWS bills it on demand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Requests by operation (`PutItem`, ...), refused ones included.
    pub calls: BTreeMap<String, u64>,
    /// Write request units, those of indexes included.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
}

/// An embedded DynamoDB: a handle, cheap to clone.
#[derive(Clone)]
pub struct Dynamodb {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    path: Option<PathBuf>,
    counters: Mutex<Counters>,
    /// Requests that may have written.
    writes: AtomicU64,
    /// The connection of the stream's reader; a database in memory can't be reached.
    reader: Option<Mutex<rusqlite::Connection>>,
    /// Requests hold it shared. Trimming holds it alone, since it writes through a connection of its own.
    gate: RwLock<()>,
}

impl std::fmt::Debug for Dynamodb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamodb")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Our clock as the engine wants it.
struct EngineClock(Clock);

impl dynoxide::storage_backend::Clock for EngineClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from((self.0)() / 1000).unwrap_or(0)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of our time are far below 2^53"
    )]
    fn now_unix_secs_f64(&self) -> f64 {
        (self.0)() as f64 / 1000.0
    }
}

impl Dynamodb {
    /// Opens the database at a path, with every acknowledged write safe against a killed process (not against a power cut);
    /// without a path a fresh one in memory, whose time to live follows `clock`. The engine has no such choice for a file:
    /// there it follows the machine's clock.
    ///
    /// # Errors
    /// The database cannot be opened.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, DynamodbError> {
        let mut reader = None;
        let database = match path {
            None => Database::memory_with_clock(Arc::new(EngineClock(clock)))?,
            Some(path) => {
                let text = path
                    .to_str()
                    .ok_or_else(|| DynamodbError::Path(path.to_owned()))?;
                let database = Database::new(text)?;
                // The engine leaves SQLite at an fsync for each commit. Ending its bulk mode sets synchronous=NORMAL, which
                // is the only way to it.
                database.enable_bulk_loading()?;
                database.disable_bulk_loading()?;
                // Every write looks for the stream's last sequence number, which nothing indexes.
                let connection = rusqlite::Connection::open(path)?;
                connection.execute_batch(
                    "CREATE INDEX IF NOT EXISTS local_stream_sequence
                        ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
                )?;
                reader = Some(Mutex::new(connection));
                database
            }
        };
        let (counters, gate) = (Mutex::default(), RwLock::default());
        let path = path.map(Path::to_owned);
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                path,
                counters,
                writes: AtomicU64::new(0),
                reader,
                gate,
            }),
        })
    }

    /// What was consumed so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts from zero again.
    pub fn reset_counters(&self) {
        *self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Counters::default();
    }

    /// Deletes expired items, as AWS does by itself; the stream tells it. Gives how many.
    ///
    /// # Errors
    /// The engine failed.
    pub fn sweep_ttl(&self) -> Result<usize, DynamodbError> {
        let _shared = self
            .inner
            .gate
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let swept = self.inner.database.sweep_ttl()?;
        self.inner.writes.fetch_add(1, Ordering::Release);
        Ok(swept)
    }

    /// Removes stream records up to and including a sequence number, or, with None, all (for when nobody reads the stream).
    /// The engine keeps them forever and every write scans them, so a reader calls this with what it has dealt with. The last
    /// record always stays: the next sequence number counts on from it. Gives how many were removed; 0 for a database in
    /// memory, where they cannot be reached.
    ///
    /// # Errors
    /// Not a sequence number, or the database failed.
    pub fn trim_stream(&self, through: Option<&str>) -> Result<usize, DynamodbError> {
        let through = match through {
            None => i64::MAX,
            Some(text) => stored_sequence_number(text)
                .ok_or_else(|| DynamodbError::SequenceNumber(text.to_owned()))?,
        };
        let Some(path) = &self.inner.path else {
            return Ok(0);
        };
        let _alone = self
            .inner
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(connection.execute(
            "DELETE FROM _stream_records WHERE CAST(sequence_number AS INTEGER) <= ?1
                AND id < (SELECT MAX(id) FROM _stream_records)",
            [through],
        )?)
    }

    /// Answers one request of the JSON protocol: the status and the body.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> (StatusCode, String) {
        let answer = {
            let _shared = self
                .inner
                .gate
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            dispatch(&self.inner.database, operation, body)
        };
        self.count(operation, &answer);
        match answer.result {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => {
                let status = StatusCode::from_u16(error.status_code());
                (
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    error.to_json(),
                )
            }
        }
    }

    fn count(&self, operation: &str, answer: &Answer) {
        let reads = ["GetItem", "BatchGetItem", "Query", "TransactGetItems"];
        if !reads.contains(&operation) {
            self.inner.writes.fetch_add(1, Ordering::Release);
        }
        let mut counters = self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match counters.calls.get_mut(operation) {
            Some(calls) => *calls += 1,
            None => {
                counters.calls.insert(operation.to_owned(), 1);
            }
        }
        counters.write_units += answer.write_units;
        counters.read_units += answer.read_units;
    }
}

/// The sequence number as the engine stores it: the public form is 21 digits, offset by 10^20.
fn stored_sequence_number(public: &str) -> Option<i64> {
    let offset = 10_u128.pow(20);
    i64::try_from(public.parse::<u128>().ok()?.checked_sub(offset)?).ok()
}

/// What the engine answered, and what it cost.
struct Answer {
    result: Result<String, DynoxideError>,
    write_units: f64,
    read_units: f64,
}

impl Answer {
    fn free(result: Result<String, DynoxideError>) -> Self {
        Self {
            result,
            write_units: 0.0,
            read_units: 0.0,
        }
    }

    /// Adds what an operation reports, on the axis that it names or else on the operation's own.
    fn with<'a>(
        mut self,
        reports: impl IntoIterator<Item = &'a ConsumedCapacity>,
        writes: bool,
    ) -> Self {
        for report in reports {
            match (report.write_capacity_units, report.read_capacity_units) {
                (None, None) if writes => self.write_units += report.capacity_units,
                (None, None) => self.read_units += report.capacity_units,
                (write, read) => {
                    self.write_units += write.unwrap_or_default();
                    self.read_units += read.unwrap_or_default();
                }
            }
        }
        self
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| {
        // The engine's own decoder marks the class of an error in its text.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        if let Some(reason) = text.strip_prefix("SERIALIZATION:") {
            return DynoxideError::SerializationException(reason.to_owned());
        }
        let marks = ["VALIDATION_REQUEST:", "VALIDATION:"];
        let reason = marks
            .iter()
            .find_map(|mark| text.strip_prefix(mark))
            .unwrap_or(text);
        DynoxideError::ValidationException(reason.to_owned())
    })
}

fn write<T: Serialize>(response: &T) -> Result<String, DynoxideError> {
    serde_json::to_string(response)
        .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// Calls the engine with `INDEXES` reported, takes the costs, and gives the caller only what it asked for.
macro_rules! metered {
    ($database:expr, $body:expr, $method:ident($request:ident), $writes:expr) => {{
        match parse::<actions::$method::$request>($body) {
            Err(error) => Answer::free(Err(error)),
            Ok(mut request) => metered!(@call $database, request, $method, $writes),
        }
    }};
    (@call $database:expr, $request:ident, $method:ident, $writes:expr) => {{
        let asked = hide(&mut $request.return_consumed_capacity);
        match $database.$method($request) {
            Err(error) => Answer::free(Err(error)),
            Ok(mut response) => {
                let reports = response.consumed_capacity.clone();
                if !asked {
                    response.consumed_capacity = None;
                }
                Answer::free(write(&response)).with(reports.iter().flatten_reports(), $writes)
            }
        }
    }};
}

/// The same for a write with a condition: a failed one costs what the item that was there would.
macro_rules! conditional {
    ($database:expr, $body:expr, $method:ident($request:ident)) => {{
        match parse::<actions::$method::$request>($body) {
            Err(error) => Answer::free(Err(error)),
            Ok(mut request) => {
                let old = &mut request.return_values_on_condition_check_failure;
                let item_asked = old.as_deref() == Some("ALL_OLD");
                *old = Some("ALL_OLD".to_owned());
                let answer = metered!(@call $database, request, $method, true);
                failed_condition(answer, item_asked)
            }
        }
    }};
}

macro_rules! free {
    ($database:expr, $body:expr, $method:ident) => {
        Answer::free(
            parse($body)
                .and_then(|request| $database.$method(request))
                .and_then(|response| write(&response)),
        )
    };
}

/// Makes a request report what it consumes. True when its caller asked for that.
fn hide(mode: &mut Option<String>) -> bool {
    if matches!(mode.as_deref(), Some("TOTAL" | "INDEXES")) {
        return true;
    }
    *mode = Some("INDEXES".to_owned());
    false
}

/// One report or several, by operation.
trait Reports<'a> {
    fn flatten_reports(self) -> Vec<&'a ConsumedCapacity>;
}

impl<'a> Reports<'a> for std::option::Iter<'a, ConsumedCapacity> {
    fn flatten_reports(self) -> Vec<&'a ConsumedCapacity> {
        self.collect()
    }
}

impl<'a> Reports<'a> for std::option::Iter<'a, Vec<ConsumedCapacity>> {
    fn flatten_reports(self) -> Vec<&'a ConsumedCapacity> {
        self.flatten().collect()
    }
}

fn failed_condition(mut answer: Answer, item_asked: bool) -> Answer {
    if let Err(DynoxideError::ConditionalCheckFailedException(_, item)) = &mut answer.result {
        answer.write_units += item
            .as_ref()
            .map_or(1.0, |i| write_capacity_units(item_size(i)));
        if !item_asked {
            *item = None;
        }
    }
    answer
}

fn transact_write(database: &Database, body: &[u8]) -> Answer {
    let mut answer = metered!(
        database,
        body,
        transact_write_items(TransactWriteItemsRequest),
        true
    );
    if let Err(DynoxideError::TransactionCanceledException(_, reasons)) = &answer.result {
        let actions = u32::try_from(reasons.len()).unwrap_or(u32::MAX);
        answer.write_units += 2.0 * f64::from(actions);
    }
    answer
}

fn dispatch(db: &Database, operation: &str, body: &[u8]) -> Answer {
    match operation {
        "GetItem" => metered!(db, body, get_item(GetItemRequest), false),
        "BatchGetItem" => metered!(db, body, batch_get_item(BatchGetItemRequest), false),
        "Query" => metered!(db, body, query(QueryRequest), false),
        "Scan" => metered!(db, body, scan(ScanRequest), false),
        "TransactGetItems" => {
            metered!(db, body, transact_get_items(TransactGetItemsRequest), false)
        }
        "PutItem" => conditional!(db, body, put_item(PutItemRequest)),
        "UpdateItem" => conditional!(db, body, update_item(UpdateItemRequest)),
        "DeleteItem" => conditional!(db, body, delete_item(DeleteItemRequest)),
        "BatchWriteItem" => metered!(db, body, batch_write_item(BatchWriteItemRequest), true),
        "TransactWriteItems" => transact_write(db, body),
        "CreateTable" => free!(db, body, create_table),
        "DeleteTable" => free!(db, body, delete_table),
        "DescribeTable" => free!(db, body, describe_table),
        "ListTables" => free!(db, body, list_tables),
        "UpdateTable" => free!(db, body, update_table),
        "UpdateTimeToLive" => free!(db, body, update_time_to_live),
        "DescribeTimeToLive" => free!(db, body, describe_time_to_live),
        "ListStreams" => free!(db, body, list_streams),
        "DescribeStream" => free!(db, body, describe_stream),
        "GetShardIterator" => free!(db, body, get_shard_iterator),
        "GetRecords" => free!(db, body, get_records),
        other => {
            let reason = format!("The operation {other} is not served here.");
            Answer::free(Err(DynoxideError::ValidationException(reason)))
        }
    }
}

/// The database as a handler of whole requests, for the table's and the streams' protocol alike.
#[must_use]
pub fn handler(dynamodb: Dynamodb) -> Handler {
    Arc::new(move |request| {
        let target = request
            .headers()
            .get("x-amz-target")
            .and_then(|v| v.to_str().ok());
        let operation = target
            .and_then(|target| target.rsplit('.').next())
            .unwrap_or_default();
        let (status, body) = dynamodb.call(operation, request.body());
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/x-amz-json-1.0");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, json);
        Box::pin(async { Ok(response) })
    })
}

#[cfg(test)]
mod tests;
