//! Which snapshots are kept as history: those that differ from the one before.
//!
//! A snapshot that repeats what the record holds is left out. The record was read with eventual
//! consistency, so it may be behind: whoever finds that out, by the condition of the write, keeps what was
//! left out before writing on what the record has become. History never comes after the record.

use std::collections::BTreeMap;

use domain::{ConnectionKey, FileId, FileRecord, Snapshot};
use runtime::SnapshotMessage;
use store::{HistoryEntry, StoreError};

use crate::Deps;

type Entries<K> = BTreeMap<K, Vec<HistoryEntry>>;

/// A batch's snapshots, as far as they become history.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) kept: Entries<ConnectionKey>,
    left_out: Entries<(ConnectionKey, FileId)>,
}

impl History {
    /// Sorts the messages of a batch, those of one file in order, against the records as they were read.
    pub(crate) fn of<'a>(
        messages: impl Iterator<Item = &'a SnapshotMessage>,
        records: &BTreeMap<(ConnectionKey, FileId), FileRecord>,
    ) -> Self {
        let mut history = Self::default();
        let mut latest: BTreeMap<(ConnectionKey, FileId), Snapshot> = BTreeMap::new();
        for message in messages {
            let Some(snapshot) = &message.snapshot else {
                continue;
            };
            let entry = HistoryEntry {
                snapshot: snapshot.clone(),
                at: message.at,
            };
            let file = (message.key.clone(), message.file.clone());
            let observed = || records.get(&file).and_then(told);
            let before = latest.get(&file).cloned().or_else(observed);
            if before
                .as_ref()
                .is_some_and(|before| snapshot.repeats(before))
            {
                history
                    .left_out
                    .entry(file.clone())
                    .or_default()
                    .push(entry);
            } else {
                history.kept.entry(file.0.clone()).or_default().push(entry);
            }
            let newest = before.filter(|before| before.version > snapshot.version);
            latest.insert(file, newest.unwrap_or_else(|| snapshot.clone()));
        }
        history
    }

    /// Keeps what was left out of one file's history after all.
    pub(crate) async fn keep_all(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        deps: &Deps,
    ) -> Result<(), StoreError> {
        match self.left_out.get(&(key.clone(), file.clone())) {
            Some(entries) => keep(key, entries, deps).await,
            None => Ok(()),
        }
    }
}

/// What history has told of already: nothing, where Drive was read since by a push or by a question.
fn told(record: &FileRecord) -> Option<Snapshot> {
    let observed = record.observed();
    observed.filter(|_| record.reported == record.version)
}

/// Writes history, if any is kept. Writing it again changes nothing.
pub(crate) async fn keep(
    key: &ConnectionKey,
    entries: &[HistoryEntry],
    deps: &Deps,
) -> Result<(), StoreError> {
    let Some(days) = deps.history_days else {
        return Ok(());
    };
    let expires = deps.clock.now().plus_millis(i64::from(days) * 86_400_000);
    deps.store.keep_history(key, entries, Some(expires)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        ConnectionId, DriveVersion, Field, FieldMask, Mirror, TenantId, Timestamp, Value,
    };
    use runtime::Cause;

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    fn file() -> FileId {
        FileId::parse("1abc").unwrap()
    }

    fn snapshot(version: u64, name: &str) -> Snapshot {
        Snapshot {
            file: file(),
            version: DriveVersion(version),
            mask: FieldMask::CURRENT,
            fields: BTreeMap::from([(Field::Name, Value::text(name))]),
            mirror: Mirror::default(),
        }
    }

    /// The versions that are kept, and those left out, of snapshots on top of a record.
    fn sorted(record: Option<&FileRecord>, seen: &[(u64, &str)]) -> (Vec<u64>, Vec<u64>) {
        let message = |(version, name): &(u64, &str)| SnapshotMessage {
            key: key(),
            cause: Cause::Live,
            file: file(),
            at: Timestamp::from_millis(0),
            snapshot: Some(snapshot(*version, name)),
        };
        let messages: Vec<SnapshotMessage> = seen.iter().map(message).collect();
        let records = record.map(|record| ((key(), file()), record.clone()));
        let history = History::of(messages.iter(), &records.into_iter().collect());
        let versions = |entries: Option<&Vec<HistoryEntry>>| {
            let entries = entries.into_iter().flatten();
            entries.map(|entry| entry.snapshot.version.0).collect()
        };
        let left_out = versions(history.left_out.get(&(key(), file())));
        (versions(history.kept.get(&key())), left_out)
    }

    #[test]
    fn a_snapshot_that_repeats_the_one_before_is_no_history() {
        assert_eq!(
            sorted(None, &[(1, "a"), (2, "a"), (3, "b")]),
            (vec![1, 3], vec![2])
        );
        let record = FileRecord::first_sight(&snapshot(5, "a"));
        let after = |seen| sorted(Some(&record), seen);
        assert_eq!(after(&[(5, "a"), (6, "a")]), (vec![], vec![5, 6]));
        assert_eq!(after(&[(6, "b"), (7, "a")]), (vec![6, 7], vec![]));
        assert_eq!(after(&[(4, "a"), (6, "a")]), (vec![4], vec![6]));
    }

    #[test]
    fn what_only_a_push_has_read_becomes_history_when_it_is_reported() {
        let read = FileRecord {
            reported: DriveVersion(4),
            ..FileRecord::first_sight(&snapshot(5, "ours"))
        };
        assert_eq!(
            sorted(Some(&read), &[(5, "ours"), (6, "ours")]),
            (vec![5], vec![6])
        );
        assert_eq!(sorted(Some(&read), &[(7, "ours")]), (vec![7], vec![]));
    }
}
