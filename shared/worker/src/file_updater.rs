//! Saves the consequences of Drive's responses to file records, with conditional writes.

use domain::{Context, Field, FileRecord, Transition};
use runtime::{Clock, Entropy};
use store::{Attempt, Committed, Connection, Nonce, Store, StoreError, Swapped, compare_and_swap};

/// Updates the file records of one connection, for the functions that write to Drive.
#[derive(Clone, Copy)]
pub struct FileUpdater<'a> {
    connection: &'a Connection,
    store: &'a Store,
    clock: &'a Clock,
    entropy: &'a Entropy,
}

/// The outcome of [`FileUpdater::update`].
#[derive(Debug)]
pub enum UpdateOutcome {
    /// The update was committed; contains the new record.
    Applied(Box<FileRecord>),
    /// The record does not exist any more.
    Gone,
    /// Other writers were faster in all attempts; contains the current record. The claim in
    /// it still remembers the attempt.
    Contended(Box<FileRecord>),
}

impl<'a> FileUpdater<'a> {
    /// An updater for the connection's records in `store`.
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

    /// Returns the context of an observation by a read, without the folders above the file. A read
    /// does not tell when the file changed, so there is no Drive time.
    #[must_use]
    pub fn context(&self) -> Context<'a> {
        Context {
            now: self.clock.now(),
            drive_at: None,
            above: None,
            policies: &self.connection.policies,
        }
    }

    /// Commits one conditional write of a file's record, on behalf of its newest edit if it has
    /// one. Nothing is written if the record did not change.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write(
        &self,
        before: &FileRecord,
        step: &Transition,
    ) -> Result<Committed, StoreError> {
        if step.record == *before {
            return Ok(Committed::Done);
        }
        let key = &self.connection.key;
        let nonce = Nonce(self.entropy.next());
        let committed = match before.edit_cause() {
            Some(cause) => {
                let store = self.store.caused_by(cause);
                store.commit(key, before.revision, step, nonce).await?
            }
            None => self.store.commit(key, before.revision, step, nonce).await?,
        };
        if matches!(committed, Committed::Done) {
            self.log_outcome(before, &step.record);
        }
        Ok(committed)
    }

    /// Logs what a person may want to know of a committed write.
    fn log_outcome(&self, before: &FileRecord, after: &FileRecord) {
        let key = &self.connection.key;
        let (was, push) = (&before.push, &after.push);
        let lasts = |field: &&Field| !push.again.contains_key(*field);
        let failed = push
            .failed
            .keys()
            .filter(|field| !was.failed.contains_key(*field));
        if failed.clone().any(|field| lasts(&field)) {
            tracing::error!(
                connection = %key, file = %before.file, metric = "given_up",
                "Drive rejected an owed write permanently: a person must act"
            );
        } else if failed.count() > 0 {
            tracing::warn!(
                connection = %key, file = %before.file, metric = "given_up_for_now",
                "Drive rejected an owed write; it is tried again at growing intervals"
            );
        }
        let is_unsure = |field: &&Field| {
            let conflict = after.sides(field).conflict;
            conflict.is_some_and(|conflict| conflict.unsure)
        };
        let opened = after
            .open
            .keys()
            .filter(|field| !before.open.contains_key(*field));
        if opened.filter(is_unsure).count() > 0 {
            tracing::warn!(
                connection = %key, file = %before.file, metric = "unsure",
                "it can't be told whether a write without an answer was undone: a person decides"
            );
        }
    }

    /// Commits an update. Where others have changed the record meanwhile, computes the update
    /// again from the current record. If it opens a conflict that the policy of a folder may
    /// decide, it is computed again with the folders above the file.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn update(
        &self,
        record: FileRecord,
        step: impl Fn(&FileRecord, Context<'_>) -> Transition,
    ) -> Result<UpdateOutcome, StoreError> {
        let updated = compare_and_swap(record, async |record: FileRecord| {
            let mut next = step(&record, self.context());
            let (store, connection) = (self.store, self.connection);
            if let Some(above) = store.policy_ancestry(connection, &record, &next).await? {
                let context = Context {
                    above: Some(&above),
                    ..self.context()
                };
                next = step(&record, context);
            }
            match self.write(&record, &next).await? {
                Committed::Done => {
                    let record = Box::new(next.record);
                    Ok::<_, StoreError>(Attempt::Done(UpdateOutcome::Applied(record)))
                }
                Committed::Stale(Some(current)) => Ok(Attempt::Stale(*current)),
                Committed::Stale(None) => Ok(Attempt::Done(UpdateOutcome::Gone)),
            }
        });
        match updated.await? {
            Swapped::Done(outcome) => Ok(outcome),
            Swapped::Contended(record) => Ok(UpdateOutcome::Contended(Box::new(record))),
        }
    }
}
