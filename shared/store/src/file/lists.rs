//! Lists of files, intents and conflicts, over the indexes. The indexes lag a little: the items
//! they name are loaded, and listed only if they still belong.

use std::collections::{BTreeMap, BTreeSet};

use domain::{ConflictId, ConflictRecord, ConnectionKey, Field, FileId, FileRecord, Timestamp};

use crate::content::content_item::TROUBLE;
use crate::file::conflict_item::{self, decode_conflict};
use crate::file::file_item::AttentionReason;
use crate::table::key::{
    FILE_SHARDS, Index, Item, Key, children_pk, connection_pk, file_of, files_pk, millis_13,
};
use crate::table::page::Position;
use crate::table::range::Range;
use crate::{Page, PageRequest, Store, StoreError};

/// Whether a list of files includes tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tombstones {
    /// Only files that are present.
    #[default]
    Skip,
    /// Tombstones too. (They have no parent, so no folder lists them.)
    Include,
}

/// The kind of intents to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentStatus {
    /// Something will be pushed, or the outcome of a push determined: earliest due first.
    Owed,
    /// Something was given up, and nothing will be pushed until a person edits or retries.
    Failed,
}

/// The conflicts to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConflictFilter {
    /// Open or ended ones; `None` for both, open ones first.
    pub status: Option<ConflictState>,
    /// Those on one field; `None` for all fields.
    pub field: Option<Field>,
}

/// The state of a conflict, as far as lists distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictState {
    /// It is open. Listed oldest first.
    Open,
    /// It was resolved, or closed by itself. Listed in the order in which they ended.
    Ended,
}

/// The number of items of a connection that need attention. Counted over an index that lags a
/// little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attention {
    /// Open conflicts.
    pub open_conflicts: u64,
    /// Files with something to push.
    pub owed: u64,
    /// Files with something given up and nothing to push.
    pub failed: u64,
    /// Files whose content could not be had, and is asked for again.
    pub content_unavailable: u64,
    /// Whether a count stopped at its bound, so that the true number is higher.
    pub more: bool,
}

/// The bound of each count of [`Store::count_attention`].
const COUNT_MAX: u32 = 1_000;
/// The most queries of one page, beyond one for each partition.
const QUERIES_MAX: usize = 16;

/// Reads the sort key of an item in the range's index.
fn index_sort_key(range: &Range, item: &Item) -> Result<String, StoreError> {
    let name = range.index.map_or("SK", Index::sk);
    let text = item.get(name).and_then(|value| value.as_s().ok());
    match text {
        Some(text) => Ok(text.clone()),
        None => Err(Key::of(item)?.corrupt("the index returned no sort key")),
    }
}

/// The parts of the index that list all files of a connection.
pub(crate) fn all_files(key: &ConnectionKey) -> Vec<Range> {
    let shard = |shard| Range::ids(Index::Files, files_pk(key, shard));
    (0..FILE_SHARDS).map(shard).collect()
}

impl Store {
    /// Lists a connection's files, in no meaningful order; with `parent`, the files that the
    /// application sees in that folder, by id. A page may be short where tombstones are left out.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_files(
        &self,
        key: &ConnectionKey,
        parent: Option<&FileId>,
        tombstones: Tombstones,
        page: &PageRequest,
    ) -> Result<Page<FileRecord>, StoreError> {
        let (list, parts): (_, Vec<Range>) = match parent {
            Some(parent) => {
                let children = Range::ids(Index::Children, children_pk(key, parent));
                ("children", vec![children])
            }
            None => ("files", all_files(key)),
        };
        let wanted = |_: &Key| Ok(true);
        let found = self.scan_partitions(list, &parts, page, wanted).await?;
        let files = self.records_in_order(key, &found.items).await?;
        let keep = |record: &FileRecord| tombstones == Tombstones::Include || !record.is_gone();
        Ok(Page {
            items: files.into_iter().filter(keep).collect(),
            next_cursor: found.next_cursor,
        })
    }

    /// Lists the files for which something is owed, or was given up.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_intents(
        &self,
        key: &ConnectionKey,
        status: IntentStatus,
        page: &PageRequest,
    ) -> Result<Page<FileRecord>, StoreError> {
        let (list, prefix) = match status {
            IntentStatus::Owed => ("owed", AttentionReason::OWED),
            IntentStatus::Failed => ("failed", AttentionReason::FAILED),
        };
        let part = Range::prefix(Some(Index::Attention), connection_pk(key), prefix);
        let found = self
            .scan_partitions(list, &[part], page, |_| Ok(true))
            .await?;
        let files = self.records_in_order(key, &found.items).await?;
        let belongs = |record: &FileRecord| match AttentionReason::of(record) {
            Some(AttentionReason::Owed(_)) => status == IntentStatus::Owed,
            Some(AttentionReason::Failed(_)) => status == IntentStatus::Failed,
            Some(AttentionReason::Unlisted(_)) | None => false,
        };
        Ok(Page {
            items: files.into_iter().filter(belongs).collect(),
            next_cursor: found.next_cursor,
        })
    }

    /// Lists at most `limit` files whose pushes are due at `now`, earliest first. The index lags:
    /// load each consistently before acting.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due_files(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, StoreError> {
        self.due_until(key, AttentionReason::OWED, now, limit).await
    }

    /// Lists up to `limit` files that owe nothing but what failed for a reason that can pass, and
    /// whose next attempt is due at `now`, earliest first. The index lags, as for
    /// [`Store::due_files`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due_failed_files(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, StoreError> {
        self.due_until(key, AttentionReason::FAILED_FOR_NOW, now, limit)
            .await
    }

    /// Lists up to `limit` files of which nothing but the permissions is to be read at `now`,
    /// earliest first. The index lags, as for [`Store::due_files`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due_unlisted_files(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, StoreError> {
        self.due_until(key, AttentionReason::UNLISTED, now, limit)
            .await
    }

    async fn due_until(
        &self,
        key: &ConnectionKey,
        prefix: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<FileId>, StoreError> {
        let due = Range::until(
            Index::Attention,
            connection_pk(key),
            prefix,
            &millis_13(now),
        );
        let slice = self.slice(&due, limit).await?;
        let file = |item| file_of(key, &Key::of(item)?);
        slice.items.iter().map(file).collect()
    }

    /// Lists a connection's conflicts.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_conflicts(
        &self,
        key: &ConnectionKey,
        filter: &ConflictFilter,
        page: &PageRequest,
    ) -> Result<Page<ConflictRecord>, StoreError> {
        let states: &[ConflictState] = match filter.status {
            None => &[ConflictState::Open, ConflictState::Ended],
            Some(ConflictState::Open) => &[ConflictState::Open],
            Some(ConflictState::Ended) => &[ConflictState::Ended],
        };
        let list = match filter.status {
            None => "conflicts",
            Some(ConflictState::Open) => "open",
            Some(ConflictState::Ended) => "ended",
        };
        let part = |state: &ConflictState| {
            let prefix = conflict_item::prefix(*state);
            Range::prefix(Some(Index::Attention), connection_pk(key), prefix)
        };
        let parts: Vec<Range> = states.iter().map(part).collect();
        let wanted = |place: &Key| {
            let id = conflict_item::id_of(key, place)?;
            Ok(filter.field.as_ref().is_none_or(|field| *field == id.field))
        };
        let found = self.scan_partitions(list, &parts, page, wanted).await?;
        let mut by_key = BTreeMap::new();
        for item in self
            .get_many(found.items.iter().cloned().collect(), None)
            .await?
        {
            by_key.insert(Key::of(&item)?, decode_conflict(key, item)?);
        }
        let belongs = |record: &ConflictRecord| {
            let (state, _) = conflict_item::state(&record.status);
            filter.status.is_none_or(|status| status == state)
        };
        let in_order = found.items.iter().filter_map(|place| by_key.remove(place));
        Ok(Page {
            items: in_order.filter(belongs).collect(),
            next_cursor: found.next_cursor,
        })
    }

    /// Reads one conflict consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_conflict(
        &self,
        key: &ConnectionKey,
        id: &ConflictId,
    ) -> Result<Option<ConflictRecord>, StoreError> {
        let item = self.get(&Key::conflict(key, id)).await?;
        item.map(|item| decode_conflict(key, item)).transpose()
    }

    /// Counts what needs attention, each kind up to a bound.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_attention(&self, key: &ConnectionKey) -> Result<Attention, StoreError> {
        let range = |prefix| Range::prefix(Some(Index::Attention), connection_pk(key), prefix);
        let open = range(conflict_item::prefix(ConflictState::Open));
        let owed = range(AttentionReason::OWED);
        let failed = range(AttentionReason::FAILED);
        let content = range(TROUBLE);
        let (open, owed, failed, content) = tokio::try_join!(
            self.count(&open, COUNT_MAX),
            self.count(&owed, COUNT_MAX),
            self.count(&failed, COUNT_MAX),
            self.count(&content, COUNT_MAX),
        )?;
        Ok(Attention {
            open_conflicts: open.0,
            owed: owed.0,
            failed: failed.0,
            content_unavailable: content.0,
            more: open.1 || owed.1 || failed.1 || content.1,
        })
    }

    /// Returns when the oldest open conflict of a connection was opened: its index begins with it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn oldest_conflict(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<Timestamp>, StoreError> {
        let prefix = conflict_item::prefix(ConflictState::Open);
        let range = Range::prefix(Some(Index::Attention), connection_pk(key), prefix);
        let Some(first) = self.slice(&range, 1).await?.items.into_iter().next() else {
            return Ok(None);
        };
        let place = index_sort_key(&range, &first)?;
        let time = place
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('#').next());
        let time = time.and_then(|time| time.parse().ok());
        Ok(time.map(Timestamp::from_millis))
    }

    /// Counts a connection's files with something to push, up to `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_owed(&self, key: &ConnectionKey, limit: u32) -> Result<u64, StoreError> {
        let index = Some(Index::Attention);
        let owed = Range::prefix(index, connection_pk(key), AttentionReason::OWED);
        self.count_whole(&owed, limit).await
    }

    /// Reads the keys of one page from an index, through its partitions one after the other. Stops
    /// at the page's limit, or after a bounded number of queries (if `wanted` leaves out most
    /// keys).
    pub(crate) async fn scan_partitions(
        &self,
        list: &'static str,
        parts: &[Range],
        page: &PageRequest,
        wanted: impl Fn(&Key) -> Result<bool, StoreError>,
    ) -> Result<Page<Key>, StoreError> {
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let start = page.position(list)?;
        let mut position = start.unwrap_or(Position {
            part: 0,
            after: None,
        });
        if usize::from(position.part) >= parts.len() {
            return Err(StoreError::InvalidCursor);
        }
        let mut found: BTreeSet<Key> = BTreeSet::new();
        let mut items = Vec::new();
        let mut queries = 0;
        while let Some(part) = parts.get(usize::from(position.part)) {
            if items.len() >= limit || queries >= parts.len() + QUERIES_MAX {
                let next_cursor = Some(position.cursor(list)?);
                return Ok(Page { items, next_cursor });
            }
            let rest = match &position.after {
                Some(after) => part.clone().after(after)?,
                None => part.clone(),
            };
            let room = u32::try_from(limit - items.len()).unwrap_or(u32::MAX);
            let slice = self.slice(&rest, room).await?;
            queries += 1;
            position = match slice.items.last() {
                Some(last) if slice.more => {
                    Position::after(position.part, index_sort_key(&rest, last)?)
                }
                Some(_) | None => Position {
                    part: position.part.saturating_add(1),
                    after: None,
                },
            };
            for item in &slice.items {
                let place = Key::of(item)?;
                // An item that moves during the scan may be met twice.
                if wanted(&place)? && found.insert(place.clone()) {
                    items.push(place);
                }
            }
        }
        Ok(Page {
            items,
            next_cursor: None,
        })
    }

    /// Loads the records of HEAD items, in the order of their keys; those that are gone by now are
    /// left out.
    async fn records_in_order(
        &self,
        key: &ConnectionKey,
        places: &[Key],
    ) -> Result<Vec<FileRecord>, StoreError> {
        let files = places.iter().map(|place| file_of(key, place));
        let files: Vec<FileId> = files.collect::<Result<_, _>>()?;
        let mut records = self.load_files(key, &files).await?;
        Ok(files
            .iter()
            .filter_map(|file| records.remove(file))
            .collect())
    }
}
