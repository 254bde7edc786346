//! A change log, compacted as Drive's is: one entry per subject, which the latest change replaces
//! and moves to the end.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use crate::ids::{DriveId, FileId};

/// The subject of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// An item.
    File(FileId),
    /// A shared drive itself: joined, renamed, left.
    Drive(DriveId),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) subject: Subject,
    /// The shared drive that the item is in, or that is the subject: visible only to readers who
    /// ask for all drives.
    pub(crate) drive: Option<DriveId>,
    pub(crate) time_ms: i64,
    /// Deleted, or no longer in this log's corpus.
    pub(crate) removed: bool,
}

/// A compacted log: an ordered map from change id to entry, and the position of each subject's
/// entry in it.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    last: u64,
    entries: BTreeMap<u64, Entry>,
    /// By subject, and by whether the entry is visible only to readers who ask for all drives.
    latest: HashMap<(Subject, bool), u64>,
}

impl ChangeLog {
    /// Appends an entry, `step` ids after the last one, and removes the subject's previous entry
    /// for the same readers.
    pub(crate) fn append(&mut self, entry: Entry, step: u64) -> u64 {
        self.last = self.last.saturating_add(step.max(1));
        let key = (entry.subject.clone(), entry.drive.is_some());
        if let Some(previous) = self.latest.insert(key, self.last) {
            self.entries.remove(&previous);
        }
        self.entries.insert(self.last, entry);
        self.last
    }

    /// Returns the position after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.last
    }

    /// Returns the entries after `position`, oldest first.
    pub(crate) fn after(&self, position: u64) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.entries
            .range((Bound::Excluded(position), Bound::Unbounded))
            .map(|(id, entry)| (*id, entry))
    }

    /// Returns whether no later entry has the same subject. A reader who asks for all drives sees
    /// each subject once.
    pub(crate) fn is_latest(&self, id: u64, subject: &Subject) -> bool {
        [false, true]
            .into_iter()
            .filter_map(|shared| self.latest.get(&(subject.clone(), shared)))
            .all(|latest| *latest <= id)
    }

    /// Removes the entries about items of a shared drive, from the log of a user who has left it.
    pub(crate) fn remove_items_of(&mut self, drive: &DriveId) {
        let of_drive = |entry: &Entry| {
            entry.drive.as_ref() == Some(drive) && matches!(entry.subject, Subject::File(_))
        };
        self.entries.retain(|_, entry| !of_drive(entry));
        let Self {
            entries, latest, ..
        } = self;
        latest.retain(|_, id| entries.contains_key(id));
    }

    /// Returns the number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(file: &str, drive: Option<&str>) -> Entry {
        Entry {
            subject: Subject::File(FileId::from(file)),
            drive: drive.map(DriveId::from),
            time_ms: 0,
            removed: false,
        }
    }

    fn files(log: &ChangeLog, position: u64) -> Vec<String> {
        log.after(position)
            .filter_map(|(_, entry)| match &entry.subject {
                Subject::File(id) => Some(id.to_string()),
                Subject::Drive(_) => None,
            })
            .collect()
    }

    #[test]
    fn a_new_change_replaces_the_entry_and_moves_it_to_the_end() {
        let mut log = ChangeLog::default();
        for file in ["a", "b", "a"] {
            log.append(entry(file, None), 1);
        }
        assert_eq!(files(&log, 0), ["b", "a"]);
        assert_eq!(files(&log, log.end()), Vec::<String>::new());
    }

    #[test]
    fn a_reader_can_see_a_subject_again_after_a_new_change() {
        let mut log = ChangeLog::default();
        let first = log.append(entry("a", None), 1);
        log.append(entry("b", None), 2);
        log.append(entry("a", None), 3);
        assert_eq!(files(&log, first), ["b", "a"]);
    }

    #[test]
    fn a_reader_of_both_entries_of_a_file_sees_the_later_one() {
        let mut log = ChangeLog::default();
        let mine = log.append(entry("a", None), 1);
        let in_drive = log.append(entry("a", Some("d")), 1);
        let subject = Subject::File(FileId::from("a"));
        assert!(!log.is_latest(mine, &subject));
        assert!(log.is_latest(in_drive, &subject));
        assert_eq!(
            files(&log, 0),
            ["a", "a"],
            "a reader of one of them sees the first"
        );
    }

    #[test]
    fn the_items_of_a_drive_can_be_removed() {
        let mut log = ChangeLog::default();
        log.append(entry("a", Some("d")), 1);
        log.append(entry("b", Some("e")), 1);
        log.append(entry("a", None), 1);
        log.remove_items_of(&DriveId::from("d"));
        assert_eq!(files(&log, 0), ["b", "a"]);
        log.append(entry("a", Some("d")), 1);
        assert_eq!(files(&log, 0), ["b", "a", "a"]);
    }

    proptest! {
        #[test]
        fn the_log_has_each_file_once_in_the_order_of_its_last_change(
            changes in prop::collection::vec((0_u8..6, 1_u64..4), 0..60),
        ) {
            let mut log = ChangeLog::default();
            for (file, step) in &changes {
                log.append(entry(&file.to_string(), None), *step);
            }
            let mut expected: Vec<String> = Vec::new();
            for (file, _) in &changes {
                expected.retain(|known| *known != file.to_string());
                expected.push(file.to_string());
            }
            prop_assert_eq!(log.len(), expected.len());
            prop_assert_eq!(files(&log, 0), expected);
        }
    }
}
