//! Selects the snapshots that become history: those that differ from their predecessor.
//!
//! A state is kept for the retention from the time at which it was replaced, so that the state of
//! every time within the retention is known, also of a file that had not changed for years.
//!
//! A snapshot that repeats the record is skipped. The record was read with eventual consistency and
//! may be stale. When the condition of the write reveals that, the skipped snapshots are saved
//! before the file is written again. History is never written after the record.

use std::collections::BTreeMap;

use domain::{
    Cause, ConnectionKey, DAY_MILLIS, FileId, FileRecord, Snapshot, Timestamp, Transition,
};
use store::{HistoryEntry, StoreError};
use worker::SnapshotMessage;

use crate::Deps;

type Entries<K> = BTreeMap<K, Vec<HistoryEntry>>;

/// The snapshots of a batch that become history.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Entries<ConnectionKey>,
    /// The states that the new entries replace.
    replaced: BTreeMap<ConnectionKey, Vec<Snapshot>>,
    repetitions: Entries<(ConnectionKey, FileId)>,
}

impl History {
    /// Compares the messages of a batch, each file's in order, with the loaded records, and
    /// separates new snapshots from repetitions. A snapshot that shows our own write has the cause
    /// of that write, and any other the cause of its message.
    pub(crate) fn collect<'a>(
        messages: impl Iterator<Item = (&'a SnapshotMessage, Cause)>,
        records: &BTreeMap<(ConnectionKey, FileId), FileRecord>,
    ) -> Self {
        let mut history = Self::default();
        let mut latest: BTreeMap<(ConnectionKey, FileId), Snapshot> = BTreeMap::new();
        for (message, cause) in messages {
            let Some(snapshot) = &message.snapshot else {
                continue;
            };
            let file = (message.key.clone(), message.file.clone());
            let known = records
                .get(&file)
                .and_then(|record| record.cause_of(snapshot));
            let entry = HistoryEntry {
                snapshot: snapshot.clone(),
                at: message.at,
                cause: known.or(Some(cause)),
            };
            let observed = || records.get(&file).and_then(last_reported);
            let before = latest.get(&file).cloned().or_else(observed);
            if before
                .as_ref()
                .is_some_and(|before| snapshot.repeats(before))
            {
                history
                    .repetitions
                    .entry(file.clone())
                    .or_default()
                    .push(entry);
            } else {
                if !latest.contains_key(&file)
                    && let Some(replaced) = observed()
                {
                    let replaced_ones = history.replaced.entry(file.0.clone()).or_default();
                    replaced_ones.push(replaced);
                }
                history
                    .entries
                    .entry(file.0.clone())
                    .or_default()
                    .push(entry);
            }
            let newest = before.filter(|before| before.version > snapshot.version);
            latest.insert(file, newest.unwrap_or_else(|| snapshot.clone()));
        }
        history
    }

    /// Saves the new states of the connections that exist, and keeps those that they replace.
    pub(crate) async fn save_new(
        &self,
        exists: impl Fn(&ConnectionKey) -> bool,
        deps: &Deps,
    ) -> Result<(), StoreError> {
        for (key, replaced) in self.replaced.iter().filter(|(key, _)| exists(key)) {
            keep_replaced(key, replaced, deps).await?;
        }
        for (key, entries) in self.entries.iter().filter(|(key, _)| exists(key)) {
            save(key, entries, deps).await?;
        }
        Ok(())
    }

    /// Saves the snapshots of one file that were skipped as repetitions.
    pub(crate) async fn save_repetitions(
        &self,
        key: &ConnectionKey,
        file: &FileId,
        deps: &Deps,
    ) -> Result<(), StoreError> {
        match self.repetitions.get(&(key.clone(), file.clone())) {
            Some(entries) => save(key, entries, deps).await,
            None => Ok(()),
        }
    }
}

/// Returns the snapshot that history already contains: none if a push or a lookup has read Drive
/// since.
fn last_reported(record: &FileRecord) -> Option<Snapshot> {
    let observed = record.observed();
    observed.filter(|_| record.reported == record.version)
}

/// Returns when a state that is saved now expires. It is kept a tenth longer than it must be, so
/// that a file that changes often has none of its states kept anew.
fn expiry(days: u32, now: Timestamp) -> Timestamp {
    let millis = i64::from(days) * DAY_MILLIS;
    now.plus_millis(millis + millis / 10)
}

/// Keeps the states that are about to be replaced for the retention, if the deployment retains any.
async fn keep_replaced(
    key: &ConnectionKey,
    replaced: &[Snapshot],
    deps: &Deps,
) -> Result<(), StoreError> {
    let Some(days) = deps.history_days else {
        return Ok(());
    };
    let now = deps.clock.now();
    let millis = i64::from(days) * DAY_MILLIS;
    // When Drive made a state that has expired is known of some changes only.
    let at = |snapshot: &Snapshot| {
        let changed = snapshot.metadata.modified_at;
        let changed = changed.filter(|changed| *changed <= now);
        changed.unwrap_or(now.plus_millis(-millis))
    };
    let entries = replaced.iter().map(|snapshot| HistoryEntry {
        snapshot: snapshot.clone(),
        at: at(snapshot),
        cause: None,
    });
    let entries: Vec<HistoryEntry> = entries.collect();
    let expires_min = now.plus_millis(millis);
    let store = &deps.store;
    store
        .keep_history(key, &entries, expires_min, expiry(days, now))
        .await
}

/// Saves history if the deployment retains any. Saving it again changes nothing.
async fn save(
    key: &ConnectionKey,
    entries: &[HistoryEntry],
    deps: &Deps,
) -> Result<(), StoreError> {
    let Some(days) = deps.history_days else {
        return Ok(());
    };
    let expires = expiry(days, deps.clock.now());
    let left_out = deps.store.save_history(key, entries, Some(expires)).await?;
    if left_out > 0 {
        tracing::warn!(
            connection = %key, left_out, metric = "history_left_out",
            "snapshots are too large for history"
        );
    }
    Ok(())
}

/// Saves the history of a state that a message refers to, which was read from Drive only now.
pub(crate) async fn save_referred(
    messages: &[SnapshotMessage],
    mut looked_up: Transition,
    deps: &Deps,
) -> Result<Transition, StoreError> {
    let mut referring = messages.iter();
    let referring = referring.find(|message| message.origin.referred_version().is_some());
    if let (Some(message), Some(snapshot)) = (referring, looked_up.record.observed()) {
        looked_up.record.reported = looked_up.record.version;
        let entry = HistoryEntry {
            snapshot,
            at: message.at,
            cause: None,
        };
        save(&message.key, &[entry], deps).await?;
    }
    Ok(looked_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{
        ConnectionId, DriveMetadata, DriveVersion, Field, FieldSetVersion, TenantId, Value,
    };
    use worker::Origin;

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
            field_set: FieldSetVersion::CURRENT,
            fields: BTreeMap::from([(Field::Name, Value::text(name))]),
            metadata: DriveMetadata::default(),
        }
    }

    /// Returns the versions saved and the versions skipped for snapshots on top of a record.
    fn classified(record: Option<&FileRecord>, seen: &[(u64, &str)]) -> (Vec<u64>, Vec<u64>) {
        let message = |(version, name): &(u64, &str)| SnapshotMessage {
            key: key(),
            origin: Origin::Live,
            file: file(),
            at: Timestamp::from_millis(0),
            snapshot: Some(snapshot(*version, name)),
        };
        let messages: Vec<SnapshotMessage> = seen.iter().map(message).collect();
        let records = record.map(|record| ((key(), file()), record.clone()));
        let history = History::collect(
            messages.iter().map(|m| (m, Cause::fresh(0, 0))),
            &records.into_iter().collect(),
        );
        let versions = |entries: Option<&Vec<HistoryEntry>>| {
            let entries = entries.into_iter().flatten();
            entries.map(|entry| entry.snapshot.version.0).collect()
        };
        let repetitions = versions(history.repetitions.get(&(key(), file())));
        (versions(history.entries.get(&key())), repetitions)
    }

    #[test]
    fn a_snapshot_that_repeats_its_predecessor_is_skipped() {
        assert_eq!(
            classified(None, &[(1, "a"), (2, "a"), (3, "b")]),
            (vec![1, 3], vec![2])
        );
        let record = FileRecord::from_snapshot(&snapshot(5, "a"));
        let after = |seen| classified(Some(&record), seen);
        assert_eq!(after(&[(5, "a"), (6, "a")]), (vec![], vec![5, 6]));
        assert_eq!(after(&[(6, "b"), (7, "a")]), (vec![6, 7], vec![]));
        assert_eq!(after(&[(4, "a"), (6, "a")]), (vec![4], vec![6]));
    }

    #[test]
    fn a_snapshot_read_by_a_push_is_saved_when_drive_reports_it() {
        let read = FileRecord {
            reported: DriveVersion(4),
            ..FileRecord::from_snapshot(&snapshot(5, "ours"))
        };
        assert_eq!(
            classified(Some(&read), &[(5, "ours"), (6, "ours")]),
            (vec![5], vec![6])
        );
        assert_eq!(classified(Some(&read), &[(7, "ours")]), (vec![7], vec![]));
    }
}
