//! Whose turn it is: the files of one connection that are due, in one drain.

use std::collections::{BTreeMap, BTreeSet};

use domain::{FileId, Timestamp};
use drive::BATCH_CALLS_MAX;

/// Rounds for one file: lost races, and fields that go one at a time.
const ROUNDS_MAX: u32 = 12;
/// A file whose backoff is no longer than this is waited for, in milliseconds; others are left to the sweep.
const PATIENCE_MILLIS: u64 = 2_000;

/// The files that a drain has still to do.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// How many rounds each file has had. The index lags behind the records: a file that was just
    /// written may still stand in it, and must not be taken for a new one.
    rounds: BTreeMap<FileId, u32>,
    /// Who waits, and until when.
    waiting: BTreeSet<(Timestamp, FileId)>,
}

/// What a drain does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A round with these.
    Files(Vec<FileId>),
    /// Nothing for so long; then somebody's backoff is over.
    Wait {
        /// In milliseconds.
        millis: u64,
    },
    /// The drain is done.
    Nobody,
}

impl Line {
    /// Files that are due stand at the end of the line, each once in a drain.
    pub(crate) fn join(&mut self, due: Vec<FileId>) {
        for file in due {
            if !self.rounds.contains_key(&file) {
                self.rounds.insert(file.clone(), 0);
                self.waiting.insert((Timestamp::default(), file));
            }
        }
    }

    /// Takes those whose turn has come, as many as go into one round.
    pub(crate) fn next(&mut self, now: Timestamp) -> Next {
        let ready = self.waiting.iter().take_while(|(at, _)| *at <= now);
        let ready: Vec<(Timestamp, FileId)> = ready.take(BATCH_CALLS_MAX).cloned().collect();
        if ready.is_empty() {
            return match self.waiting.first() {
                Some((at, _)) => Next::Wait {
                    millis: u64::try_from(at.millis_since(now)).unwrap_or(0),
                },
                None => Next::Nobody,
            };
        }
        for place in &ready {
            self.waiting.remove(place);
        }
        Next::Files(ready.into_iter().map(|(_, file)| file).collect())
    }

    /// Files that it was not the connection's turn for go back to the head of the line.
    pub(crate) fn back(&mut self, files: &[FileId]) {
        let places = files
            .iter()
            .map(|file| (Timestamp::default(), file.clone()));
        self.waiting.extend(places);
    }

    /// A file has had a round, and is due again at `due`, if it is. It is waited for if that is soon: the
    /// next sweep may be a minute away.
    pub(crate) fn again(&mut self, file: FileId, due: Option<Timestamp>, now: Timestamp) {
        let rounds = self.rounds.entry(file.clone()).or_default();
        *rounds += 1;
        let Some(due) = due else { return };
        let wait_millis = u64::try_from(due.millis_since(now)).unwrap_or(0);
        if *rounds < ROUNDS_MAX && wait_millis <= PATIENCE_MILLIS {
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

    fn line(files: usize) -> Line {
        let mut line = Line::default();
        line.join((0..files).map(file).collect());
        line
    }

    fn taken(line: &mut Line) -> usize {
        match line.next(NOW) {
            Next::Files(files) => files.len(),
            Next::Wait { .. } | Next::Nobody => 0,
        }
    }

    #[test]
    fn a_round_has_as_many_files_as_a_batch_has_calls() {
        let mut line = line(250);
        assert_eq!([(); 4].map(|()| taken(&mut line)), [100, 100, 50, 0]);
        assert_eq!(line.next(NOW), Next::Nobody);
    }

    #[test]
    fn a_file_that_the_index_still_shows_is_not_taken_twice() {
        let mut line = line(1);
        assert_eq!(taken(&mut line), 1);
        line.again(file(0), None, NOW);
        line.join(vec![file(0)]);
        assert_eq!(line.next(NOW), Next::Nobody);
    }

    #[test]
    fn a_short_backoff_is_waited_for_and_a_long_one_left_to_the_sweep() {
        let mut line = line(2);
        assert_eq!(taken(&mut line), 2);
        line.again(file(0), Some(NOW.plus_millis(2_000)), NOW);
        line.again(file(1), Some(NOW.plus_millis(2_001)), NOW);
        assert_eq!(line.next(NOW), Next::Wait { millis: 2_000 });
        assert_eq!(
            line.next(NOW.plus_millis(2_000)),
            Next::Files(vec![file(0)])
        );
        assert_eq!(line.next(NOW), Next::Nobody);
    }

    #[test]
    fn a_file_that_never_gets_through_is_left_after_so_many_rounds() {
        let mut line = line(1);
        let mut rounds = 0;
        while taken(&mut line) == 1 {
            rounds += 1;
            line.again(file(0), Some(NOW), NOW);
        }
        assert_eq!(rounds, ROUNDS_MAX);
    }
}
