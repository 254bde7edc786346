//! DynamoDB in this process: an embedded engine behind DynamoDB's JSON protocol, with metering.
//!
//! Every data request is made to report its consumed capacity; the caller sees the report only if
//! it requested it. The numbers come from the engine's own accounting, which charges an index only
//! for a change of its entry: replacing an item whose index keys stay the same costs nothing on a
//! keys-only index, as on AWS. Two costs that the engine does not report are added here, following
//! AWS's developer guide ("read and write operations"): a failed condition costs the write units of
//! the existing item (at least 1), and a cancelled transaction costs 2 for each of its actions,
//! which is exact for items up to 1 KB.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dynoxide::types::{ConsumedCapacity, item_size, write_capacity_units};
use dynoxide::{Database, DynoxideError, actions};
use http::StatusCode;
use sdk_in_process::{Handler, json_response, operation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Clock;

mod table_stream;

pub use self::table_stream::StreamKeys;

/// The table cannot be opened or maintained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DynamodbError {
    /// The engine failed.
    #[error("the embedded DynamoDB engine failed")]
    Engine(#[source] Box<DynoxideError>),
    /// The engine's SQLite database failed.
    #[error("the SQLite database of the embedded DynamoDB failed")]
    Storage(#[from] rusqlite::Error),
    /// The path is not UTF-8.
    #[error("the path {0:?} is not UTF-8")]
    Path(PathBuf),
    /// The text is not a sequence number of the engine's streams.
    #[error("{0} is not a sequence number of a stream")]
    SequenceNumber(String),
    /// A stored stream record cannot be decoded.
    #[error("a stream record cannot be decoded")]
    Record(#[source] serde_json::Error),
}

impl From<DynoxideError> for DynamodbError {
    fn from(error: DynoxideError) -> Self {
        Self::Engine(Box::new(error))
    }
}

/// The consumption so far, as AWS bills it on demand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Requests by operation (`PutItem`, ...), including refused ones.
    pub calls: BTreeMap<String, u64>,
    /// Write request units, including those of indexes.
    pub write_units: f64,
    /// Read request units.
    pub read_units: f64,
}

/// A handle to the embedded DynamoDB, cheap to clone.
#[derive(Clone)]
pub struct Dynamodb {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    path: Option<PathBuf>,
    counters: Mutex<Counters>,
    /// The number of requests that may have written.
    writes: AtomicU64,
    /// The connection of the stream's reader; `None` for a database in memory, which has no second
    /// one.
    reader: Option<Mutex<rusqlite::Connection>>,
    /// Locked shared by requests and exclusively by trimming, which writes through a connection of
    /// its own.
    write_lock: RwLock<()>,
}

impl std::fmt::Debug for Dynamodb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamodb")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Adapts a [`Clock`] to the engine.
struct EngineClock(Clock);

impl dynoxide::storage_backend::Clock for EngineClock {
    fn now_unix_secs(&self) -> u64 {
        u64::try_from((self.0)() / 1000).unwrap_or(0)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of Unix time are far below 2^53"
    )]
    fn now_unix_secs_f64(&self) -> f64 {
        (self.0)() as f64 / 1000.0
    }
}

impl Dynamodb {
    /// Opens the database at a path, or an empty one in memory without a path. Acknowledged writes
    /// survive a killed process, but not a power cut. The time to live follows `clock` in memory;
    /// for a file the engine always uses the machine's clock.
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
                // The engine leaves SQLite at one fsync for each commit. Leaving its bulk mode is
                // the only way to set synchronous=NORMAL.
                database.enable_bulk_loading()?;
                database.disable_bulk_loading()?;
                // Every write queries the stream's last sequence number, for which the engine has
                // no index.
                let connection = rusqlite::Connection::open(path)?;
                connection.execute_batch(
                    "CREATE INDEX IF NOT EXISTS local_stream_sequence
                        ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
                )?;
                reader = Some(Mutex::new(connection));
                database
            }
        };
        let (counters, write_lock) = (Mutex::default(), RwLock::default());
        let path = path.map(Path::to_owned);
        Ok(Self {
            inner: Arc::new(Inner {
                database,
                path,
                counters,
                writes: AtomicU64::new(0),
                reader,
                write_lock,
            }),
        })
    }

    /// Returns the consumption so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sets all counters to zero.
    pub fn reset_counters(&self) {
        *self
            .inner
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Counters::default();
    }

    /// Deletes expired items, as AWS does in the background, and returns their number. The stream
    /// reports the deletions.
    ///
    /// # Errors
    /// The engine failed.
    pub fn sweep_ttl(&self) -> Result<usize, DynamodbError> {
        let _shared = self
            .inner
            .write_lock
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let swept = self.inner.database.sweep_ttl()?;
        self.inner.writes.fetch_add(1, Ordering::Release);
        Ok(swept)
    }

    /// Removes stream records up to and including a sequence number, or all with `None`, and
    /// returns their number. The engine keeps records forever and every write scans them, so the
    /// reader trims the records that it has processed. The last record always stays, since the next
    /// sequence number is derived from it. In memory nothing is removed.
    ///
    /// # Errors
    /// The text is not a sequence number, or the database failed.
    pub fn trim_stream(&self, through: Option<&str>) -> Result<usize, DynamodbError> {
        let through = match through {
            None => i64::MAX,
            Some(text) => stored_sequence_number(text)
                .ok_or_else(|| DynamodbError::SequenceNumber(text.to_owned()))?,
        };
        let Some(path) = &self.inner.path else {
            return Ok(0);
        };
        let _exclusive = self
            .inner
            .write_lock
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

    /// Removes every record of the stream, of a database in a file on which nothing else works.
    ///
    /// # Errors
    /// The database failed.
    pub(super) fn drop_stream(&self) -> Result<(), DynamodbError> {
        if let Some(path) = &self.inner.path {
            let connection = rusqlite::Connection::open(path)?;
            connection.execute("DELETE FROM _stream_records", [])?;
        }
        Ok(())
    }

    /// Answers one request of the JSON protocol with a status and a body.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8]) -> (StatusCode, String) {
        let answer = {
            let _shared = self
                .inner
                .write_lock
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

    fn count(&self, operation: &str, answer: &Metered) {
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

/// Returns a sequence number as the engine stores it: the public form has 21 digits, offset by
/// 10^20.
fn stored_sequence_number(public: &str) -> Option<i64> {
    let offset = 10_u128.pow(20);
    i64::try_from(public.parse::<u128>().ok()?.checked_sub(offset)?).ok()
}

/// A response of the engine, and its cost.
struct Metered {
    result: Result<String, DynoxideError>,
    write_units: f64,
    read_units: f64,
}

impl Metered {
    fn free(result: Result<String, DynoxideError>) -> Self {
        Self {
            result,
            write_units: 0.0,
            read_units: 0.0,
        }
    }

    /// Adds reported capacity: as writes or reads where the report says so, otherwise by the kind
    /// of operation.
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
        // The engine's decoder marks the class of an error in its text.
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

/// Calls the engine with a report of `INDEXES`, meters it, and returns the report only on request.
macro_rules! metered {
    ($database:expr, $body:expr, $method:ident($request:ident), $writes:expr) => {{
        match parse::<actions::$method::$request>($body) {
            Err(error) => Metered::free(Err(error)),
            Ok(mut request) => metered!(@call $database, request, $method, $writes),
        }
    }};
    (@call $database:expr, $request:ident, $method:ident, $writes:expr) => {{
        let requested = force_report(&mut $request.return_consumed_capacity);
        match $database.$method($request) {
            Err(error) => Metered::free(Err(error)),
            Ok(mut response) => {
                let reports = response.consumed_capacity.clone();
                if !requested {
                    response.consumed_capacity = None;
                }
                Metered::free(write(&response)).with(reports.iter().flatten_reports(), $writes)
            }
        }
    }};
}

/// Like `metered` for a conditional write: a failed condition costs as much as the existing item.
macro_rules! conditional {
    ($database:expr, $body:expr, $method:ident($request:ident)) => {{
        match parse::<actions::$method::$request>($body) {
            Err(error) => Metered::free(Err(error)),
            Ok(mut request) => {
                let old = &mut request.return_values_on_condition_check_failure;
                let item_requested = old.as_deref() == Some("ALL_OLD");
                *old = Some("ALL_OLD".to_owned());
                let answer = metered!(@call $database, request, $method, true);
                failed_condition(answer, item_requested)
            }
        }
    }};
}

/// Calls the engine without metering.
macro_rules! free {
    ($database:expr, $body:expr, $method:ident) => {
        Metered::free(
            parse($body)
                .and_then(|request| $database.$method(request))
                .and_then(|response| write(&response)),
        )
    };
}

/// Makes a request report its consumed capacity. Returns whether the caller had requested it.
fn force_report(mode: &mut Option<String>) -> bool {
    if matches!(mode.as_deref(), Some("TOTAL" | "INDEXES")) {
        return true;
    }
    *mode = Some("INDEXES".to_owned());
    false
}

/// The reports of an operation: one or several.
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

fn failed_condition(mut answer: Metered, item_requested: bool) -> Metered {
    if let Err(DynoxideError::ConditionalCheckFailedException(_, item)) = &mut answer.result {
        answer.write_units += item
            .as_ref()
            .map_or(1.0, |i| write_capacity_units(item_size(i)));
        if !item_requested {
            *item = None;
        }
    }
    answer
}

fn transact_write(database: &Database, body: &[u8]) -> Metered {
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

fn dispatch(db: &Database, operation: &str, body: &[u8]) -> Metered {
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
            let reason = format!("The operation {other} is not supported.");
            Metered::free(Err(DynoxideError::ValidationException(reason)))
        }
    }
}

/// Returns a handler of requests in this process, for the protocols of tables and of streams.
#[must_use]
pub fn handler(dynamodb: Dynamodb) -> Handler {
    Arc::new(move |request| {
        let (status, body) = dynamodb.call(operation(&request), request.body());
        let response = json_response(status, body);
        Box::pin(async { Ok(response) })
    })
}

#[cfg(test)]
mod tests;
