//! What is stored of a connection, read whole for an export: the items of each file, and those of
//! the connection.

use domain::content::StoredVersion;
use domain::{ConflictRecord, ConnectionKey, FileId, FileRecord, Operation, TenantId, Timestamp};

use crate::content::version_item::decode_version;
use crate::dead_letter::dead_letter_item::decode_dead_letter;
use crate::file::conflict_item::decode_conflict;
use crate::file::file_item::decode_file;
use crate::file::history::decode_entry;
use crate::operation::operation_item::decode_operation;
use crate::table::item::has_expired;
use crate::table::key::{HEAD, Item, Key, VERSION, connection_pk, file_pk};
use crate::table::range::Range;
use crate::{Connection, DeadLetter, HistoryEntry, PageRequest, Store, StoreError};

/// The items of one query.
const ITEMS_MAX: u32 = 200;

/// An item that is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// The record of a file.
    File(Box<FileRecord>),
    /// A state in the history of a file.
    History(Box<HistoryEntry>),
    /// A conflict of a file.
    Conflict(Box<ConflictRecord>),
    /// A stored version of a file's content.
    Version(FileId, Box<StoredVersion>),
    /// A dead letter.
    DeadLetter(Box<DeadLetter>),
    /// An operation.
    Operation(Box<Operation>),
    /// An item that can't be read, by its keys.
    Unreadable(String, String),
}

/// Items, and the position after which the next ones follow; `None` at the end.
pub type ExportedPage = (Vec<Exported>, Option<String>);

impl Store {
    /// Reads the first connection of a tenant by id, after this one; deleted ones are included.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn next_connection(
        &self,
        tenant: &TenantId,
        after: Option<&ConnectionKey>,
    ) -> Result<Option<Connection>, StoreError> {
        let is_after = |connection: &Connection| after.is_none_or(|after| connection.key > *after);
        let first = PageRequest::first(1);
        let found = self.list_any_connections(tenant, &first, is_after).await?;
        Ok(found.items.into_iter().next())
    }

    /// Reads one page of what is stored of a file and has not expired by `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn export_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<ExportedPage, StoreError> {
        let decode = |kind: &str, item: Item| {
            Ok(Some(match kind {
                HEAD => Exported::File(Box::new(decode_file(key, item)?.0)),
                "SNAP" => Exported::History(Box::new(decode_entry(file, item)?)),
                "CONFLICT" => Exported::Conflict(Box::new(decode_conflict(key, item)?)),
                kind if VERSION.strip_suffix('#') == Some(kind) => {
                    Exported::Version(file.clone(), Box::new(decode_version(key, item)?))
                }
                // The state of transfers.
                _ => return Ok(None),
            }))
        };
        let all = Range::partition(file_pk(key, file));
        self.export_items(all, after, now, decode).await
    }

    /// Reads one page of what is stored of a connection as a whole and has not expired by `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn export_connection(
        &self,
        key: &ConnectionKey,
        after: Option<&str>,
        now: Timestamp,
    ) -> Result<ExportedPage, StoreError> {
        let decode = |kind: &str, item: Item| {
            Ok(Some(match kind {
                "PARKED" => Exported::DeadLetter(Box::new(decode_dead_letter(key, item)?)),
                "OP" => Exported::Operation(Box::new(decode_operation(key, item)?)),
                // Positions in logs, pages of listings, the rate limit.
                _ => return Ok(None),
            }))
        };
        let all = Range::partition(connection_pk(key));
        self.export_items(all, after, now, decode).await
    }

    async fn export_items(
        &self,
        all: Range,
        after: Option<&str>,
        now: Timestamp,
        decode: impl Fn(&str, Item) -> Result<Option<Exported>, StoreError>,
    ) -> Result<ExportedPage, StoreError> {
        let range = match after {
            Some(after) => all.after(after)?,
            None => all,
        };
        let slice = self.slice(&range, ITEMS_MAX).await?;
        let next = slice.last_sk()?.filter(|_| slice.more);
        let mut found = Vec::new();
        for item in slice
            .items
            .into_iter()
            .filter(|item| !has_expired(item, now))
        {
            let place = Key::of(&item)?;
            let kind = place.sk.split('#').next().unwrap_or_default().to_owned();
            match decode(&kind, item) {
                Ok(exported) => found.extend(exported),
                Err(StoreError::Corrupt { pk, sk, .. } | StoreError::NewerItem { pk, sk, .. }) => {
                    found.push(Exported::Unreadable(pk, sk));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((found, next))
    }
}
