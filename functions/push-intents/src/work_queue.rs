//! The due files of one connection, in the order in which they are pushed.

use std::collections::{BTreeMap, BTreeSet};

use domain::{FileId, Timestamp};
use drive::BATCH_CALLS_MAX;

/// The number of batches that one file may take part in: lost races, and fields that are pushed one
/// at a time.
const ATTEMPTS_MAX: u32 = 12;
/// The longest backoff that is waited for in process, in milliseconds; longer ones are left to the
/// sweep.
const WAIT_MILLIS_MAX: u64 = 2_000;

/// The files that are still to be pushed in this invocation.
#[derive(Debug, Default)]
pub(crate) struct WorkQueue {
    /// The number of batches that each file took part in. The index lags behind the records: a file
    /// that was just written may still be in it and must not be enqueued again.
    attempts: BTreeMap<FileId, u32>,
    /// The waiting files, by the time from which they may be pushed.
    waiting: BTreeSet<(Timestamp, FileId)>,
}

/// The next action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Push these files.
    Files(Vec<FileId>),
    /// Wait until the next backoff has elapsed.
    Wait {
        /// The wait in milliseconds.
        millis: u64,
    },
    /// No file is left.
    Empty,
}

impl WorkQueue {
    /// Adds due files, each once per invocation.
    pub(crate) fn enqueue(&mut self, due: Vec<FileId>) {
        for file in due {
            if !self.attempts.contains_key(&file) {
                self.attempts.insert(file.clone(), 0);
                self.waiting.insert((Timestamp::default(), file));
            }
        }
    }

    /// Takes the files whose time has come, up to the size of a batch.
    pub(crate) fn next(&mut self, now: Timestamp) -> Next {
        let ready = self.waiting.iter().take_while(|(at, _)| *at <= now);
        let ready: Vec<(Timestamp, FileId)> = ready.take(BATCH_CALLS_MAX).cloned().collect();
        if ready.is_empty() {
            return match self.waiting.first() {
                Some((at, _)) => Next::Wait {
                    millis: u64::try_from(at.millis_since(now)).unwrap_or(0),
                },
                None => Next::Empty,
            };
        }
        for place in &ready {
            self.waiting.remove(place);
        }
        Next::Files(ready.into_iter().map(|(_, file)| file).collect())
    }

    /// Puts files that the rate limiter did not admit back at the head of the queue.
    pub(crate) fn requeue(&mut self, files: &[FileId]) {
        let places = files
            .iter()
            .map(|file| (Timestamp::default(), file.clone()));
        self.waiting.extend(places);
    }

    /// Records that a file took part in a batch. It is enqueued again at `due` if that is soon: the
    /// next sweep may be a minute away.
    pub(crate) fn requeue_at(&mut self, file: FileId, due: Option<Timestamp>, now: Timestamp) {
        let attempts = self.attempts.entry(file.clone()).or_default();
        *attempts += 1;
        let Some(due) = due else { return };
        let wait_millis = u64::try_from(due.millis_since(now)).unwrap_or(0);
        if *attempts < ATTEMPTS_MAX && wait_millis <= WAIT_MILLIS_MAX {
            self.waiting.insert((due, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn file(number: usize) -> FileId {
        FileId::parse(&format!("f{number:04}")).unwrap()
    }

    fn queue_of(files: usize) -> WorkQueue {
        let mut queue = WorkQueue::default();
        queue.enqueue((0..files).map(file).collect());
        queue
    }

    fn take_count(queue: &mut WorkQueue) -> usize {
        match queue.next(NOW) {
            Next::Files(files) => files.len(),
            Next::Wait { .. } | Next::Empty => 0,
        }
    }

    #[test]
    fn a_batch_takes_as_many_files_as_drive_accepts_calls() {
        let mut queue = queue_of(250);
        assert_eq!([(); 4].map(|()| take_count(&mut queue)), [100, 100, 50, 0]);
        assert_eq!(queue.next(NOW), Next::Empty);
    }

    #[test]
    fn a_file_still_in_the_index_is_not_taken_twice() {
        let mut queue = queue_of(1);
        assert_eq!(take_count(&mut queue), 1);
        queue.requeue_at(file(0), None, NOW);
        queue.enqueue(vec![file(0)]);
        assert_eq!(queue.next(NOW), Next::Empty);
    }

    #[test]
    fn a_short_backoff_is_waited_for_and_a_long_one_is_left_to_the_sweep() {
        let mut queue = queue_of(2);
        assert_eq!(take_count(&mut queue), 2);
        queue.requeue_at(file(0), Some(NOW.plus_millis(2_000)), NOW);
        queue.requeue_at(file(1), Some(NOW.plus_millis(2_001)), NOW);
        assert_eq!(queue.next(NOW), Next::Wait { millis: 2_000 });
        assert_eq!(
            queue.next(NOW.plus_millis(2_000)),
            Next::Files(vec![file(0)])
        );
        assert_eq!(queue.next(NOW), Next::Empty);
    }

    #[test]
    fn a_file_that_keeps_failing_is_dropped_after_the_maximum_number_of_attempts() {
        let mut queue = queue_of(1);
        let mut attempts = 0;
        while take_count(&mut queue) == 1 {
            attempts += 1;
            queue.requeue_at(file(0), Some(NOW), NOW);
        }
        assert_eq!(attempts, ATTEMPTS_MAX);
    }
}
