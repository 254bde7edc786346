//! The progress of mirrored content.

use std::collections::{BTreeMap, BTreeSet};

use domain::content::{ContentOutcome, Progress};
use domain::{ConnectionKey, DesiredContent, FileId, FileRecord};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use store::{PageRequest, Store, StoreError, Tombstones};

/// The most files that one update reads: updates come twice a second, and mirroring uses the table
/// too.
const FILES_PER_UPDATE: usize = 500;
/// The number of concurrent reads of the table.
const CONCURRENT_READS: usize = 8;

/// The mirrored content in numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentCounts {
    /// Files whose content is stored.
    pub(crate) files: u64,
    /// Counted files whose content is to be stored.
    pub(crate) files_wanted: u64,
    /// Downloaded bytes, including those of downloads in progress.
    pub(crate) bytes: u64,
    /// Bytes to download; identical files count once.
    pub(crate) bytes_wanted: u64,
    /// Files whose content is identical to that of another file and was not stored again.
    pub(crate) linked: u64,
    /// Bytes of these files.
    pub(crate) linked_bytes: u64,
    /// Files whose content Drive does not provide.
    pub(crate) unavailable: u64,
    /// Files that the settings exclude.
    pub(crate) skipped: u64,
    counted: bool,
}

impl ContentCounts {
    /// Returns whether all files were counted and processed.
    pub(crate) fn is_complete(&self) -> bool {
        self.counted && self.files + self.unavailable == self.files_wanted
    }
}

/// Content that is not processed yet.
#[derive(Debug, Clone)]
struct Pending {
    number: u32,
    /// The identity according to Drive; unknown for an export.
    identity: Option<String>,
    size_bytes: u64,
}

/// Counts mirrored content, a part of the files with each update. Files that are added after their
/// page was counted are not included.
#[derive(Debug, Default)]
pub(crate) struct ContentProgress {
    cursor: Option<String>,
    listed: bool,
    pending: BTreeMap<FileId, Pending>,
    downloads: BTreeMap<FileId, u64>,
    hashes_wanted: BTreeSet<String>,
    hashes: BTreeSet<String>,
    counts: ContentCounts,
    last: Option<FileId>,
}

impl ContentProgress {
    /// Returns the numbers so far.
    pub(crate) fn counts(&self) -> ContentCounts {
        ContentCounts {
            bytes: self.counts.bytes + self.downloads.values().sum::<u64>(),
            counted: self.listed,
            ..self.counts
        }
    }

    /// Reads the next files.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(crate) async fn advance(
        &mut self,
        store: &Store,
        key: &ConnectionKey,
    ) -> Result<(), StoreError> {
        let Some(connection) = store.load_connection(key).await? else {
            return Ok(());
        };
        let mut read = 0;
        while !self.listed && read < FILES_PER_UPDATE {
            let page = PageRequest {
                cursor: self.cursor.take(),
                ..PageRequest::first(PageRequest::LIMIT_MAX)
            };
            let files = store.list_files(key, None, Tombstones::Skip, &page).await?;
            for record in &files.items {
                self.add(&connection.content.desired_content(record), record);
            }
            read += files.items.len().max(1);
            self.listed = files.next_cursor.is_none();
            self.cursor = files.next_cursor;
        }
        self.update_pending(store, key).await
    }

    fn add(&mut self, wanted: &DesiredContent, record: &FileRecord) {
        let (identity, size_bytes) = match wanted {
            DesiredContent::Bytes(content) => (
                Some(content.to_string()),
                record.metadata.size_bytes.unwrap_or(0),
            ),
            DesiredContent::Export(_) => (None, 0),
            DesiredContent::Skipped(_) => {
                self.counts.skipped += 1;
                return;
            }
            DesiredContent::Nothing => return,
        };
        self.counts.files_wanted += 1;
        let new = identity
            .as_ref()
            .is_none_or(|identity| self.hashes_wanted.insert(identity.clone()));
        if new {
            self.counts.bytes_wanted += size_bytes;
        }
        let pending = Pending {
            number: record.content_version,
            identity,
            size_bytes,
        };
        self.pending.insert(record.file.clone(), pending);
    }

    /// Reads the state of the next pending files, in rounds.
    async fn update_pending(
        &mut self,
        store: &Store,
        key: &ConnectionKey,
    ) -> Result<(), StoreError> {
        let is_next = |file: &&FileId| self.last.as_ref().is_none_or(|last| *file > last);
        let mut files: Vec<FileId> = self.pending.keys().filter(is_next).cloned().collect();
        let ends_round = files.len() <= FILES_PER_UPDATE;
        files.truncate(FILES_PER_UPDATE);
        self.last = files.last().filter(|_| !ends_round).cloned();
        let states = stream::iter(files).map(|file| async move {
            let state = store.load_content(key, &file).await?;
            Ok::<_, StoreError>((file, state))
        });
        let states: Vec<_> = states.buffered(CONCURRENT_READS).try_collect().await?;
        for (file, state) in states {
            let Some(pending) = self.pending.get(&file).cloned() else {
                continue;
            };
            self.downloads.remove(&file);
            match (state.outcome, state.progress) {
                (Some((number, outcome)), _) if number >= pending.number => {
                    self.pending.remove(&file);
                    self.complete(&pending, &outcome);
                }
                // It is asked for again, but nothing is to be waited for.
                _ if state.trouble.is_some() => {
                    self.pending.remove(&file);
                    self.counts.unavailable += 1;
                }
                (_, Some(Progress::Download(download))) => {
                    self.downloads.insert(file, download.done_bytes);
                }
                (_, Some(Progress::Upload(_) | Progress::Copy { .. }) | None) => {}
            }
        }
        Ok(())
    }

    fn complete(&mut self, pending: &Pending, outcome: &ContentOutcome) {
        match outcome {
            ContentOutcome::Stored => {
                self.counts.files += 1;
                let new = pending
                    .identity
                    .as_ref()
                    .is_none_or(|identity| self.hashes.insert(identity.clone()));
                if new {
                    self.counts.bytes += pending.size_bytes;
                } else {
                    self.counts.linked += 1;
                    self.counts.linked_bytes += pending.size_bytes;
                }
            }
            ContentOutcome::Unavailable { .. } | ContentOutcome::Released => {
                self.counts.unavailable += 1
            }
            ContentOutcome::Skipped { .. } => {
                self.counts.files_wanted -= 1;
                self.counts.skipped += 1;
            }
        }
    }
}
