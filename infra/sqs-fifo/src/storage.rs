//! The queues on disk: a request is acknowledged only after its commit. The journal is a WAL with
//! `synchronous=NORMAL`, so that a commit survives a killed process, but not a power cut.
//!
//! Bodies are written once and deleted once. Receive counts are in a table of their own, so that a
//! receive rewrites a few bytes and not the body's page.

use std::path::Path;

use rusqlite::{Connection, Row, Transaction, params};

use super::error::SqsError;
use super::message::MessageAttributes;
use super::queue::WINDOW_MS;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS queues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    attributes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    modified_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    sequence INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    group_id TEXT NOT NULL,
    deduplication_id TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    source TEXT,
    attributes TEXT,
    system_attributes TEXT,
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS receives (
    sequence INTEGER PRIMARY KEY,
    receive_count INTEGER NOT NULL,
    first_received_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS delays (
    sequence INTEGER PRIMARY KEY,
    available_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS originals (
    sequence INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sent_at INTEGER NOT NULL);
";

/// A sequence number begins with the time, `sent_at << SEQUENCE_SHIFT`, so that numbers ascend over
/// restarts and old rows are a range of keys.
pub(super) const SEQUENCE_SHIFT: u32 = 20;

/// A stored message.
pub(super) struct StoredMessage {
    pub(super) sequence: i64,
    pub(super) message_id: String,
    pub(super) group_id: String,
    pub(super) deduplication_id: String,
    pub(super) sent_at: i64,
    /// The end of the message's own delay, if it has one.
    pub(super) available_at: Option<i64>,
    /// In a dead-letter queue, the name of the queue that it was moved from.
    pub(super) source: Option<String>,
    pub(super) attributes: MessageAttributes,
    pub(super) system_attributes: MessageAttributes,
    pub(super) body: String,
}

/// The part of a message that is kept in memory.
pub(super) struct StoredEntry {
    pub(super) queue: i64,
    pub(super) sequence: i64,
    pub(super) group_id: String,
    pub(super) sent_at: i64,
    pub(super) receive_count: u32,
    pub(super) first_received_at: i64,
    pub(super) available_at: Option<i64>,
}

/// An entry of the deduplication window.
pub(super) struct StoredOriginal {
    pub(super) queue: i64,
    pub(super) key: String,
    pub(super) message_id: String,
    pub(super) sequence: i64,
    pub(super) sent_at: i64,
}

/// A stored queue.
pub(super) struct StoredQueue {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) attributes: String,
    pub(super) created_at: i64,
    pub(super) modified_at: i64,
}

/// Opens the database at a path, or one in memory without a path.
pub(super) fn open(path: Option<&Path>) -> Result<Connection, SqsError> {
    let connection = match path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    // Only a checkpoint waits for the disk, so it is rarer than the default of 1,000 pages.
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
         PRAGMA wal_autocheckpoint=8000; PRAGMA busy_timeout=5000;",
    )?;
    connection.execute_batch(SCHEMA)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

pub(super) fn queues(connection: &Connection) -> Result<Vec<StoredQueue>, SqsError> {
    let sql = "SELECT id, name, attributes, created_at, modified_at FROM queues ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(StoredQueue {
            id: row.get(0)?,
            name: row.get(1)?,
            attributes: row.get(2)?,
            created_at: row.get(3)?,
            modified_at: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn entries(connection: &Connection) -> Result<Vec<StoredEntry>, SqsError> {
    let sql = "SELECT m.queue, m.sequence, m.group_id, m.sent_at, COALESCE(r.receive_count, 0),
        COALESCE(r.first_received_at, 0), d.available_at
        FROM messages m LEFT JOIN receives r ON r.sequence = m.sequence
        LEFT JOIN delays d ON d.sequence = m.sequence ORDER BY m.sequence";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(StoredEntry {
            queue: row.get(0)?,
            sequence: row.get(1)?,
            group_id: row.get(2)?,
            sent_at: row.get(3)?,
            receive_count: row.get(4)?,
            first_received_at: row.get(5)?,
            available_at: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn originals(connection: &Connection) -> Result<Vec<StoredOriginal>, SqsError> {
    let sql = "SELECT queue, key, message_id, sequence, sent_at FROM originals ORDER BY sequence";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(StoredOriginal {
            queue: row.get(0)?,
            key: row.get(1)?,
            message_id: row.get(2)?,
            sequence: row.get(3)?,
            sent_at: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Creates or updates a queue and returns its id.
pub(super) fn put_queue(
    connection: &Connection,
    name: &str,
    attributes: &str,
    created_at: i64,
    modified_at: i64,
) -> Result<i64, SqsError> {
    let sql =
        "INSERT INTO queues (name, attributes, created_at, modified_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (name) DO UPDATE SET attributes = ?2, modified_at = ?4 RETURNING id";
    Ok(connection.query_row(
        sql,
        params![name, attributes, created_at, modified_at],
        |r| r.get(0),
    )?)
}

/// Deletes a queue with its messages and its deduplication window.
pub(super) fn delete_queue(transaction: &Transaction<'_>, id: i64) -> Result<(), SqsError> {
    transaction.execute(
        "DELETE FROM receives WHERE sequence IN (SELECT sequence FROM messages WHERE queue = ?1)",
        [id],
    )?;
    transaction.execute(
        "DELETE FROM delays WHERE sequence IN (SELECT sequence FROM messages WHERE queue = ?1)",
        [id],
    )?;
    transaction.execute("DELETE FROM messages WHERE queue = ?1", [id])?;
    transaction.execute("DELETE FROM originals WHERE queue = ?1", [id])?;
    transaction.execute("DELETE FROM queues WHERE id = ?1", [id])?;
    Ok(())
}

fn attributes_text(attributes: &MessageAttributes) -> Result<Option<String>, SqsError> {
    Ok(if attributes.is_empty() {
        None
    } else {
        Some(serde_json::to_string(attributes)?)
    })
}

fn attributes_of(row: &Row<'_>, column: usize) -> Result<MessageAttributes, SqsError> {
    let text: Option<String> = row.get(column)?;
    Ok(text
        .map(|text| serde_json::from_str(&text))
        .transpose()?
        .unwrap_or_default())
}

/// Inserts a message, and its entry of the deduplication window if it has a key in it.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    queue: i64,
    message: &StoredMessage,
    deduplication_key: Option<&str>,
) -> Result<(), SqsError> {
    let StoredMessage {
        sequence,
        message_id,
        sent_at,
        ..
    } = message;
    transaction
        .prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            sequence,
            queue,
            message_id,
            message.group_id,
            message.deduplication_id,
            sent_at,
            message.source,
            attributes_text(&message.attributes)?,
            attributes_text(&message.system_attributes)?,
            message.body,
        ])?;
    if let Some(key) = deduplication_key {
        transaction
            .prepare_cached("INSERT INTO originals VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![sequence, queue, key, message_id, sent_at])?;
    }
    if let Some(available_at) = message.available_at {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO delays VALUES (?1, ?2)")?
            .execute([*sequence, available_at])?;
    }
    Ok(())
}

/// Deletes the entries that have left the deduplication window.
pub(super) fn delete_expired_originals(
    transaction: &Transaction<'_>,
    now: i64,
) -> Result<(), SqsError> {
    let oldest = (now - WINDOW_MS).max(0) << SEQUENCE_SHIFT;
    transaction
        .prepare_cached("DELETE FROM originals WHERE sequence < ?1")?
        .execute([oldest])?;
    Ok(())
}

/// Loads a message, if it exists.
pub(super) fn load(
    connection: &Connection,
    sequence: i64,
) -> Result<Option<StoredMessage>, SqsError> {
    let sql = "SELECT message_id, group_id, deduplication_id, sent_at, source, attributes,
        system_attributes, body FROM messages WHERE sequence = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([sequence])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(StoredMessage {
        sequence,
        message_id: row.get(0)?,
        group_id: row.get(1)?,
        deduplication_id: row.get(2)?,
        sent_at: row.get(3)?,
        available_at: None,
        source: row.get(4)?,
        attributes: attributes_of(row, 5)?,
        system_attributes: attributes_of(row, 6)?,
        body: row.get(7)?,
    }))
}

/// Records how often a message was received.
pub(super) fn record_receive(
    transaction: &Transaction<'_>,
    sequence: i64,
    receive_count: u32,
    first_received_at: i64,
) -> Result<(), SqsError> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO receives VALUES (?1, ?2, ?3)")?
        .execute(params![sequence, receive_count, first_received_at])?;
    Ok(())
}

pub(super) fn delete(transaction: &Transaction<'_>, sequence: i64) -> Result<(), SqsError> {
    transaction
        .prepare_cached("DELETE FROM messages WHERE sequence = ?1")?
        .execute([sequence])?;
    transaction
        .prepare_cached("DELETE FROM receives WHERE sequence = ?1")?
        .execute([sequence])?;
    transaction
        .prepare_cached("DELETE FROM delays WHERE sequence = ?1")?
        .execute([sequence])?;
    Ok(())
}

/// The target of a message that moves to a dead-letter queue.
pub(super) struct Move<'a> {
    pub(super) queue: i64,
    pub(super) sequence: i64,
    /// The name of the queue that it leaves.
    pub(super) source: &'a str,
    pub(super) sent_at: i64,
}

/// Moves a message. Its id and its receive count stay.
pub(super) fn move_message(
    transaction: &Transaction<'_>,
    sequence: i64,
    to: &Move<'_>,
) -> Result<(), SqsError> {
    let sql = "UPDATE messages SET sequence = ?2, queue = ?3, source = ?4, sent_at = ?5
        WHERE sequence = ?1";
    transaction.prepare_cached(sql)?.execute(params![
        sequence,
        to.sequence,
        to.queue,
        to.source,
        to.sent_at,
    ])?;
    transaction
        .prepare_cached("UPDATE receives SET sequence = ?2 WHERE sequence = ?1")?
        .execute([sequence, to.sequence])?;
    Ok(())
}

/// Returns the highest sequence number of the messages and of the deduplication window.
pub(super) fn last_sequence(connection: &Connection) -> Result<i64, SqsError> {
    let sql = "SELECT MAX(COALESCE((SELECT MAX(sequence) FROM messages), 0),
        COALESCE((SELECT MAX(sequence) FROM originals), 0))";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
