//! How much of the content is stored, for people to look at.

use std::collections::{BTreeMap, BTreeSet};

use domain::content::{Dealt, Progress};
use domain::{ConnectionKey, FileId, FileRecord, Wanted};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{PageRequest, Store, StoreError, Tombstones};

/// Files that one look asks about: it is drawn twice a second, and the mirror needs the table as well.
const LOOK_MAX: usize = 500;
/// Questions to the table at a time.
const ASK_AT_ONCE: usize = 8;

/// What of the content is stored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Files whose content is stored.
    pub(crate) files: u64,
    /// Files whose content is to be stored, as far as they were counted.
    pub(crate) files_wanted: u64,
    /// Bytes that were brought, of downloads under way too.
    pub(crate) bytes: u64,
    /// Bytes to be brought: those of identical files once.
    pub(crate) bytes_wanted: u64,
    /// Files whose content is that of another file, and was not stored again.
    pub(crate) linked: u64,
    /// Their bytes.
    pub(crate) linked_bytes: u64,
    /// Files whose content Drive does not give.
    pub(crate) unavailable: u64,
    /// Files that the settings leave out.
    pub(crate) skipped: u64,
    counted: bool,
}

impl Amount {
    /// Whether everything was counted and dealt with.
    pub(crate) fn is_whole(&self) -> bool {
        self.counted && self.files + self.unavailable == self.files_wanted
    }
}

/// Content that is waited for.
#[derive(Debug, Clone)]
struct Waited {
    number: u32,
    /// The hash that Drive says; of an export, nobody knows it before.
    sha256: Option<String>,
    size_bytes: u64,
}

/// Counts what is stored, a part of it with each look. Files that come after their page was counted are not in it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cursor: Option<String>,
    listed: bool,
    waited: BTreeMap<FileId, Waited>,
    under_way: BTreeMap<FileId, u64>,
    hashes_wanted: BTreeSet<String>,
    hashes: BTreeSet<String>,
    amount: Amount,
    last: Option<FileId>,
}

impl Tally {
    /// What is known by now.
    pub(crate) fn amount(&self) -> Amount {
        Amount {
            bytes: self.amount.bytes + self.under_way.values().sum::<u64>(),
            counted: self.listed,
            ..self.amount
        }
    }

    /// Counts on.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn look(
        &mut self,
        store: &Store,
        key: &ConnectionKey,
    ) -> Result<(), StoreError> {
        let Some(connection) = store.load_connection(key).await? else {
            return Ok(());
        };
        let mut read = 0;
        while !self.listed && read < LOOK_MAX {
            let page = PageRequest {
                cursor: self.cursor.take(),
                ..PageRequest::first(PageRequest::LIMIT_MAX)
            };
            let files = store.list_files(key, None, Tombstones::Skip, &page).await?;
            for record in &files.items {
                self.expect(&connection.content.wanted(record), record);
            }
            read += files.items.len().max(1);
            self.listed = files.next_cursor.is_none();
            self.cursor = files.next_cursor;
        }
        self.ask(store, key).await
    }

    fn expect(&mut self, wanted: &Wanted, record: &FileRecord) {
        let (sha256, size_bytes) = match wanted {
            Wanted::Bytes(sha256) => (Some(sha256.clone()), record.mirror.size_bytes.unwrap_or(0)),
            Wanted::Export(_) => (None, 0),
            Wanted::Skipped(_) => {
                self.amount.skipped += 1;
                return;
            }
            Wanted::Nothing => return,
        };
        self.amount.files_wanted += 1;
        let new = sha256
            .as_ref()
            .is_none_or(|sha256| self.hashes_wanted.insert(sha256.clone()));
        if new {
            self.amount.bytes_wanted += size_bytes;
        }
        let waited = Waited {
            number: record.content_version,
            sha256,
            size_bytes,
        };
        self.waited.insert(record.file.clone(), waited);
    }

    /// Asks about the next files that are waited for, one round after the other.
    async fn ask(&mut self, store: &Store, key: &ConnectionKey) -> Result<(), StoreError> {
        let behind = |file: &&FileId| self.last.as_ref().is_none_or(|last| *file > last);
        let mut files: Vec<FileId> = self.waited.keys().filter(behind).cloned().collect();
        let whole_round = files.len() <= LOOK_MAX;
        files.truncate(LOOK_MAX);
        self.last = files.last().filter(|_| !whole_round).cloned();
        let states = stream::iter(files).map(|file| async move {
            let state = store.load_content(key, &file).await?;
            Ok::<_, StoreError>((file, state))
        });
        let states: Vec<_> = states.buffered(ASK_AT_ONCE).try_collect().await?;
        for (file, state) in states {
            let Some(waited) = self.waited.get(&file).cloned() else {
                continue;
            };
            self.under_way.remove(&file);
            match (state.dealt, state.progress) {
                (Some((number, dealt)), _) if number >= waited.number => {
                    self.waited.remove(&file);
                    self.take(&waited, &dealt);
                }
                (_, Some(Progress::Download(download))) => {
                    self.under_way.insert(file, download.done_bytes);
                }
                (_, Some(Progress::Upload(_) | Progress::Copy { .. }) | None) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, waited: &Waited, dealt: &Dealt) {
        match dealt {
            Dealt::Stored => {
                self.amount.files += 1;
                let new = waited
                    .sha256
                    .as_ref()
                    .is_none_or(|sha256| self.hashes.insert(sha256.clone()));
                if new {
                    self.amount.bytes += waited.size_bytes;
                } else {
                    self.amount.linked += 1;
                    self.amount.linked_bytes += waited.size_bytes;
                }
            }
            Dealt::Unavailable { .. } | Dealt::Released => self.amount.unavailable += 1,
            Dealt::Skipped { .. } => {
                self.amount.files_wanted -= 1;
                self.amount.skipped += 1;
            }
        }
    }
}
