//! Storing what an answer of Drive's means for a file: on condition of the record that it was made from.

use domain::{FileRecord, Moment, Step};
use runtime::{Clock, Entropy};
use store::{Committed, Connection, Nonce, Store, StoreError};

/// How often a step is tried again on what others have made of the record meanwhile.
pub const TRIES_MAX: usize = 12;

/// The records of one connection, for those who bring to Drive what is owed to it.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    connection: &'a Connection,
    store: &'a Store,
    clock: &'a Clock,
    entropy: &'a Entropy,
}

/// What became of a step that is stored on whatever the record has become.
#[derive(Debug)]
pub enum Settled {
    /// It stands; this is the record after it.
    Done(Box<FileRecord>),
    /// The record has gone.
    Absent,
    /// Others were faster [`TRIES_MAX`] times. The claim in this record of theirs remembers the attempt.
    Overtaken(Box<FileRecord>),
}

impl<'a> Records<'a> {
    /// The connection's records in `store`.
    #[must_use]
    pub const fn new(
        connection: &'a Connection,
        store: &'a Store,
        clock: &'a Clock,
        entropy: &'a Entropy,
    ) -> Self {
        Self {
            connection,
            store,
            clock,
            entropy,
        }
    }

    /// The moment of a read: it tells what Drive holds, not since when.
    #[must_use]
    pub fn moment(&self) -> Moment<'a> {
        Moment {
            now: self.clock.now(),
            drive_at: None,
            policies: &self.connection.policies,
        }
    }

    /// One conditional write of a file's record. A step that changes nothing is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write(&self, before: &FileRecord, step: &Step) -> Result<Committed, StoreError> {
        if step.record == *before {
            return Ok(Committed::Done);
        }
        let key = &self.connection.key;
        let nonce = Nonce(self.entropy.next());
        let write = self.store.commit(key, before.revision, step, nonce);
        let committed = write.await?;
        let given_up = step.record.push.failed.len() > before.push.failed.len();
        if given_up && matches!(committed, Committed::Done) {
            tracing::error!(
                connection = %key, file = %before.file, metric = "given_up",
                "Drive does not take what is owed: a person has to look"
            );
        }
        Ok(committed)
    }

    /// Stores what an answer means, on whatever the record has become meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn settle(
        &self,
        record: FileRecord,
        step: impl Fn(&FileRecord) -> Step,
    ) -> Result<Settled, StoreError> {
        let mut record = record;
        for _ in 0..TRIES_MAX {
            let next = step(&record);
            match self.write(&record, &next).await? {
                Committed::Done => return Ok(Settled::Done(Box::new(next.record))),
                Committed::Stale(Some(current)) => record = *current,
                Committed::Stale(None) => return Ok(Settled::Absent),
            }
        }
        Ok(Settled::Overtaken(Box::new(record)))
    }
}
