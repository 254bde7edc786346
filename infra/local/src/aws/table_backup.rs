//! A backup of the table of a data directory, and its restore: what AWS's point-in-time recovery
//! does. Queues and buckets stay as they are.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::dynamodb::{Dynamodb, DynamodbError};
use super::layout::{NAME, time_to_live};
use super::{AwsError, system_clock};

/// The database of the table in a data directory.
fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("aws").join("dynamodb.db")
}

/// Copies the table of a data directory into a new file, as it is at one moment; a system may run
/// on it.
///
/// # Errors
/// The table cannot be read, or the copy not be written.
pub fn back_up(data_dir: &Path, copy: &Path) -> Result<(), DynamodbError> {
    let text = copy.to_str();
    let text = text.ok_or_else(|| DynamodbError::Path(copy.to_owned()))?;
    let connection = rusqlite::Connection::open(database(data_dir))?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    connection.execute("VACUUM INTO ?1", [text])?;
    Ok(())
}

/// Replaces the table of a data directory, on which no system runs, by a copy. As on AWS it is
/// another table then: it has no stream and no time to live.
///
/// # Errors
/// The table cannot be replaced.
pub fn restore(data_dir: &Path, copy: &Path) -> Result<(), AwsError> {
    let database = database(data_dir);
    for suffix in ["", "-wal", "-shm"] {
        let mut name = database.clone().into_os_string();
        name.push(suffix);
        let name = PathBuf::from(name);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(folder(&name, error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::copy(copy, &database).map_err(|error| folder(&database, error))?;
    let table = Dynamodb::open(Some(&database), system_clock())?;
    table.drop_stream()?;
    let no_stream = json!({"TableName": NAME, "StreamSpecification": {"StreamEnabled": false}});
    let mut kept = time_to_live();
    if let Some(enabled) = kept.pointer_mut("/TimeToLiveSpecification/Enabled") {
        *enabled = Value::Bool(false);
    }
    ask(&table, "UpdateTable", &no_stream)?;
    ask(&table, "UpdateTimeToLive", &kept)
}

/// Gives a restored table what it lacks: the commands `update-table` and `update-time-to-live` of a
/// restore.
///
/// # Errors
/// The table refuses.
pub fn complete(data_dir: &Path) -> Result<(), AwsError> {
    let table = Dynamodb::open(Some(&database(data_dir)), system_clock())?;
    let stream = json!({
        "TableName": NAME,
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    });
    ask(&table, "UpdateTable", &stream)?;
    ask(&table, "UpdateTimeToLive", &time_to_live())
}

fn folder(path: &Path, source: std::io::Error) -> AwsError {
    let path = path.to_owned();
    AwsError::Folder { path, source }
}

fn ask(table: &Dynamodb, operation: &str, request: &Value) -> Result<(), AwsError> {
    let (status, answer) = table.call(operation, request.to_string().as_bytes());
    match status.is_success() {
        true => Ok(()),
        false => Err(AwsError::Table(answer)),
    }
}
