//! Erasing everything that is stored of a connection: found by the keys first, then by a look at
//! every item of the table.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::content::{ContentHash, ObjectKey, Progress, UploadId};
use domain::operation::{ErasedCounts, ErasedKind};
use domain::{ConnectionKey, FileId, OperationId, Timestamp};

use crate::content::content_item::decode_content;
use crate::content::multipart_uploads::decode_upload;
use crate::content::version_item::decode_version;
use crate::event::event_item::log_pk;
use crate::file::lists::all_files;
use crate::log::stray_channels::STRAY;
use crate::operation::operation_item::operation_key;
use crate::table::key::{CONTENT, HEAD, Item, Key, META, VERSION, connection_pk, file_of, file_pk};
use crate::table::range::Range;
use crate::table::store::sent;
use crate::webhook::endpoint_item::endpoint_pk_prefix;
use crate::webhook::places::PLACE;
use crate::{Page, PageRequest, Store, StoreError};

/// The items of one query.
const ITEMS_MAX: u32 = 500;

/// Everything that is stored of a file, or a part of what is stored of a connection.
#[derive(Debug, Default)]
pub struct Belongings {
    /// The number of items by kind.
    pub counts: ErasedCounts,
    /// Uploads in progress, whose bytes are in the bucket.
    pub uploads: Vec<(ObjectKey, UploadId)>,
    /// The contents that its versions refer to.
    pub hashes: BTreeSet<ContentHash>,
    items: BTreeSet<Key>,
    /// The number of each version, and whether it is pinned.
    versions: Vec<(u32, bool)>,
    head: Option<Key>,
}

impl Belongings {
    fn count(&mut self, kind: ErasedKind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Returns whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// What is left of a connection in one part of the table.
#[derive(Debug, Default)]
pub struct Remains {
    /// Files of which something is left.
    pub files: BTreeSet<FileId>,
    /// Other items.
    pub belongings: Belongings,
    /// The position after which the next part begins; `None` at the end of the table.
    pub next: Option<String>,
}

/// Returns the kind of an item of a connection, by its sort key.
pub(crate) fn kind_of(sort_key: &str) -> ErasedKind {
    match sort_key.split('#').next().unwrap_or_default() {
        HEAD => ErasedKind::Records,
        "SNAP" => ErasedKind::History,
        "CONFLICT" => ErasedKind::Conflicts,
        "VERSION" | CONTENT => ErasedKind::Contents,
        "PARKED" => ErasedKind::DeadLetters,
        "OP" | "PAGE" | "DRIFT" | "FLAW" | "RESTORE" => ErasedKind::Operations,
        "LOG" | META | STRAY => ErasedKind::Logs,
        "INCOMING" => ErasedKind::Uploads,
        _ => ErasedKind::Others,
    }
}

impl Store {
    /// Lists the ids of all files of a connection by the index of its records, whether these can be
    /// read or not.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_file_ids(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<FileId>, StoreError> {
        let found = self
            .scan_partitions("file_ids", &all_files(key), page, |_| Ok(true))
            .await?;
        let files = found.items.iter().map(|item| file_of(key, item));
        Ok(Page {
            items: files.collect::<Result<_, _>>()?,
            next_cursor: found.next_cursor,
        })
    }

    /// Reads which items are stored of a file.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn belongings_of_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<Belongings, StoreError> {
        let mut found = Belongings::default();
        let mut range = Range::partition(file_pk(key, file));
        loop {
            let slice = self.slice(&range, ITEMS_MAX).await?;
            let next = slice.last_sk()?.filter(|_| slice.more);
            for item in slice.items {
                found.add_of_file(key, item)?;
            }
            match next {
                Some(next) => range = range.after(&next)?,
                None => return Ok(found),
            }
        }
    }

    /// Deletes the items of a file. Its versions are released, so that contents that nothing else
    /// refers to may be collected from `now` on; its record is the last, since the index finds the
    /// others by it.
    ///
    /// # Errors
    /// [`StoreError`]; delete them again.
    pub async fn erase_file(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        found: &Belongings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for (number, pinned) in &found.versions {
            if *pinned {
                self.pin_version(key, file, *number, false).await?;
            }
            match self.release_version(key, file, *number, now).await {
                Ok(_) => {}
                // Its object does not count it: there is nothing to release.
                Err(StoreError::Corrupt { .. }) => {
                    self.delete(&Key::version(key, file, *number)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.delete_many(found.items.clone()).await?;
        self.delete_many(found.head.iter().cloned().collect()).await
    }

    /// Reads one page of the items of a connection as a whole, without the operation `except`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn belongings_of_connection(
        &self,
        key: &ConnectionKey,
        except: &OperationId,
        after: Option<&str>,
    ) -> Result<(Belongings, Option<String>), StoreError> {
        let mut range = Range::partition(connection_pk(key));
        if let Some(after) = after {
            range = range.after(after)?;
        }
        let slice = self.slice(&range, ITEMS_MAX).await?;
        let next = slice.last_sk()?.filter(|_| slice.more);
        let mut found = Belongings::default();
        for item in slice.items {
            found.add_of_connection(key, except, item)?;
        }
        Ok((found, next))
    }

    /// Deletes the items of a connection as a whole.
    ///
    /// # Errors
    /// [`StoreError`]; delete them again.
    pub async fn erase_items(&self, found: &Belongings) -> Result<(), StoreError> {
        self.delete_many(found.items.clone()).await
    }

    /// Reads one part of the table, whatever is in it, for what is left of a connection: items that
    /// no index leads to, and those whose partition is not the connection's. The connection's own
    /// item and the operation `except` are left out.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn find_remains(
        &self,
        key: &ConnectionKey,
        except: &OperationId,
        after: Option<&str>,
    ) -> Result<Remains, StoreError> {
        let (items, next) = self.scan_part(after).await?;
        let mut remains = Remains {
            next,
            ..Remains::default()
        };
        for item in items {
            remains.add(key, except, item)?;
        }
        Ok(remains)
    }

    /// Reads one part of the table, and the position after which the next one begins; `None` at
    /// the end.
    pub(crate) async fn scan_part(
        &self,
        after: Option<&str>,
    ) -> Result<(Vec<Item>, Option<String>), StoreError> {
        let after = after.map(serde_json::from_str::<(String, String)>);
        let after = after.transpose().map_err(|_| StoreError::InvalidCursor)?;
        let call = self.client.scan().table_name(&self.table);
        let call = call
            .consistent_read(true)
            .set_exclusive_start_key(after.map(|(pk, sk)| Key::new(pk, sk).to_item()));
        let output = sent(call.send()).await?;
        let next = output
            .last_evaluated_key
            .as_ref()
            .map(Key::of)
            .transpose()?;
        let next = next.map(|Key { pk, sk }| serde_json::to_string(&(pk, sk)));
        let next = next.transpose();
        let next = next.map_err(|error| StoreError::Refused(Box::new(error)))?;
        Ok((output.items.unwrap_or_default(), next))
    }
}

impl Belongings {
    fn add_of_file(&mut self, key: &ConnectionKey, item: Item) -> Result<(), StoreError> {
        let place = Key::of(&item)?;
        self.count(kind_of(&place.sk));
        if place.sk == HEAD {
            self.head = Some(place);
            return Ok(());
        }
        if place.sk == CONTENT {
            // What is in progress of one that can't be read is aborted by the bucket's own rule.
            if let Ok((state, _)) = decode_content(key, item)
                && let Some(Progress::Download(download)) = state.progress
            {
                self.uploads.push((download.object, download.upload));
            }
        } else if place.sk.starts_with(VERSION) {
            match decode_version(key, item) {
                Ok(version) => {
                    self.hashes.insert(version.hash);
                    self.versions.push((version.number, version.pinned));
                    return Ok(());
                }
                Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.items.insert(place);
        Ok(())
    }

    fn add_of_connection(
        &mut self,
        key: &ConnectionKey,
        except: &OperationId,
        item: Item,
    ) -> Result<(), StoreError> {
        let place = Key::of(&item)?;
        if place == operation_key(key, except) {
            return Ok(());
        }
        self.count(kind_of(&place.sk));
        if let Some(id) = place.sk.strip_prefix("INCOMING#")
            && let Ok(upload) = decode_upload(key, id, item)
        {
            self.uploads.push((upload.object, upload.upload));
        }
        self.items.insert(place);
        Ok(())
    }
}

impl Remains {
    fn add(
        &mut self,
        key: &ConnectionKey,
        except: &OperationId,
        item: Item,
    ) -> Result<(), StoreError> {
        let place = Key::of(&item)?;
        if let Ok(file) = file_of(key, &place) {
            self.files.insert(file);
        } else if place.pk == connection_pk(key) {
            self.belongings.add_of_connection(key, except, item)?;
        } else if place.pk == log_pk(key)
            || is_channel_of(key, &place, &item)
            || is_answer_about(key, &place, &item)
            || is_of_endpoint_about(key, &place, &item)
        {
            self.belongings.count(kind_of(&place.sk));
            self.belongings.items.insert(place);
        }
        Ok(())
    }
}

pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    let value = item.get(name).map(AttributeValue::as_s);
    value.and_then(Result::ok).map(String::as_str)
}

/// Returns whether an item is a channel of a connection.
fn is_channel_of(key: &ConnectionKey, place: &Key, item: &Item) -> bool {
    place.pk.starts_with("CHANNEL#")
        && text(item, "tenant") == Some(key.tenant.as_str())
        && text(item, "connection") == Some(key.connection.as_str())
}

/// Returns whether an item is the place of a webhook endpoint in the log of a connection, or what
/// it was delivered of it.
fn is_of_endpoint_about(key: &ConnectionKey, place: &Key, item: &Item) -> bool {
    place.pk.starts_with(&endpoint_pk_prefix(&key.tenant))
        && (place.sk == format!("{PLACE}{}", key.connection)
            || text(item, "connection") == Some(key.connection.as_str()))
}

/// Returns whether an item is the answer to a request about a connection.
fn is_answer_about(key: &ConnectionKey, place: &Key, item: &Item) -> bool {
    let Some(location) = text(item, "l") else {
        return false;
    };
    place.pk.starts_with(&format!("T#{}#K#", key.tenant))
        && location
            .split('/')
            .any(|part| part == key.connection.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_item_counts_as_one_kind() {
        for (sort_key, kind) in [
            ("HEAD", ErasedKind::Records),
            ("SNAP#0000000000000000007", ErasedKind::History),
            ("CONFLICT#name#1", ErasedKind::Conflicts),
            ("CONTENT", ErasedKind::Contents),
            ("VERSION#0000000000000000001", ErasedKind::Contents),
            ("PARKED#f.1abc.x", ErasedKind::DeadLetters),
            ("OP#019aa", ErasedKind::Operations),
            ("PAGE#019aa#00000001", ErasedKind::Operations),
            ("LOG#user", ErasedKind::Logs),
            ("META", ErasedKind::Logs),
            ("INCOMING#0a", ErasedKind::Uploads),
            ("PACE", ErasedKind::Others),
            ("NEW#of another release", ErasedKind::Others),
        ] {
            assert_eq!(kind_of(sort_key), kind, "{sort_key}");
        }
    }
}
