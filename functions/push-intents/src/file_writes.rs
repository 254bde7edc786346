//! Writes one file's record during a batch. Each step is one conditional write.

use std::collections::BTreeMap;

use domain::rate_limit::Throttled;
use domain::{
    Context, FileRecord, Gone, Observation, Patch, Refusal, Snapshot, Timestamp, Transition,
};
use drive::{DriveError, Kind};
use runtime::telemetry;
use store::{Attempt, Committed, StoreError, Swapped, compare_and_swap};
use worker::{FileUpdater, UpdateOutcome};

use crate::push_batch::{AccountState, Claimed, PushBatch, log_unstorable};

/// The wait before a file whose state can't be stored is tried again, in milliseconds.
const UNSTORABLE_WAIT_MILLIS: i64 = 60 * 60 * 1_000;

impl PushBatch<'_> {
    /// Merges the state just read from Drive and claims what is still owed. If the record was
    /// written concurrently, the claim is repeated on the current record with the same read, which
    /// is still valid.
    pub(crate) async fn claim(
        &self,
        record: FileRecord,
        read: &Snapshot,
    ) -> Result<Claimed, StoreError> {
        let unclaimed = |record| Claimed {
            record,
            patch: None,
        };
        let claimed = compare_and_swap(record, async |record: FileRecord| {
            if !self.is_due(&record) {
                return Ok::<_, StoreError>(Attempt::Done(unclaimed(Some(record))));
            }
            if record.is_creating() {
                let found = Observation::Present(read.clone());
                let record = self.accept_created(record, &found).await?;
                return Ok(Attempt::Done(unclaimed(record)));
            }
            let attempt = self.deps.entropy.attempt();
            let jitter = self.deps.entropy.jitter();
            let mut claim = record.claim(read, attempt, self.context(), jitter);
            let (store, step) = (&self.deps.store, &claim.transition);
            let above = store.policy_ancestry(self.connection, &record, step);
            if let Some(above) = above.await? {
                let context = Context {
                    above: Some(&above),
                    ..self.context()
                };
                claim = record.claim(read, attempt, context, jitter);
            }
            let written = match self.write(&record, &claim.transition).await {
                Err(error) if error.concerns_one_item() => {
                    let record = self.postpone_unstorable(record, &error).await?;
                    return Ok(Attempt::Done(unclaimed(record)));
                }
                written => written?,
            };
            match written {
                Committed::Done => Ok(Attempt::Done(Claimed {
                    record: Some(claim.transition.record),
                    patch: claim.patch,
                })),
                Committed::Stale(Some(current)) => Ok(Attempt::Stale(*current)),
                Committed::Stale(None) => Ok(Attempt::Done(unclaimed(None))),
            }
        });
        match claimed.await? {
            Swapped::Done(claimed) => Ok(claimed),
            Swapped::Contended(record) => Ok(unclaimed(Some(record))),
        }
    }

    /// Confirms the claim: Drive has the claimed values.
    pub(crate) async fn confirm(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        answer: &Snapshot,
    ) -> Result<Option<FileRecord>, StoreError> {
        tracing::info!(
            file = %answer.file, fields = patch.values.len(), metric = "pushed",
            "wrote fields to Drive"
        );
        self.update(claimed, |record, context| {
            record.confirmed(patch, answer, context)
        })
        .await
    }

    /// Releases the claim after Drive rejected the write or its response was lost.
    pub(crate) async fn record_refusal(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        error: &DriveError,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &claimed.file;
        tracing::warn!(
            %file, error = telemetry::chain(error), metric = "push_refused",
            "Drive rejected the write"
        );
        let record = self.release_claim(claimed, patch, &error.refusal()).await?;
        let trouble = record.as_ref().and_then(|r| r.push.trouble.as_ref());
        if let Some(trouble) = trouble.filter(|trouble| trouble.is_false_condition()) {
            tracing::warn!(
                file = record.as_ref().map(|record| record.file.as_str()),
                times = trouble.times,
                metric = "false_condition",
                "Drive refused a condition that names the file's current version"
            );
        }
        Ok(record)
    }

    /// Ends a claim without a confirmation.
    pub(crate) async fn release_claim(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        refusal: &Refusal,
    ) -> Result<Option<FileRecord>, StoreError> {
        let jitter = self.deps.entropy.jitter();
        self.update(claimed, |record, context| {
            record.refused(patch, refusal, context, jitter)
        })
        .await
    }

    /// Handles an error of reading the file. A file that Drive does not find is suspected to be
    /// gone; any other failure may concern only this file. Each file has its own backoff, so that
    /// an unreadable one does not block the others. No failure is counted, since nothing was sent.
    pub(crate) async fn handle_read_error(
        &self,
        record: FileRecord,
        error: &DriveError,
        account: &AccountState,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &record.file;
        tracing::warn!(
            %file, error = telemetry::chain(error), metric = "push_unread",
            "could not read file from Drive"
        );
        let Some(gone) = error.gone() else {
            return match error.kind() {
                Kind::Permanent { .. } | Kind::Transient | Kind::Unanswered => {
                    let trouble = Refusal::Unknown(error.trouble());
                    self.postpone_with(record, &trouble).await
                }
                Kind::CursorLost
                | Kind::AuthLost { .. }
                | Kind::RateLimited { .. }
                | Kind::DailyLimit
                | Kind::Stale
                | Kind::NotFound
                | Kind::AccessDenied { .. }
                | Kind::BadContent(_)
                | Kind::NotSent => self.postpone(record).await,
            };
        };
        match account.drives.classify_missing(gone, &record.metadata) {
            Ok(gone) => self.suspect_gone(record, gone, account.works).await,
            // The cause of its absence is unknown.
            Err(_) => self.postpone(record).await,
        }
    }

    /// Records that Drive did not find the file, or denied access to it.
    pub(crate) async fn suspect_gone(
        &self,
        record: FileRecord,
        gone: Gone,
        account_works: bool,
    ) -> Result<Option<FileRecord>, StoreError> {
        let jitter = self.deps.entropy.jitter();
        let updated = self.update(record, |record, context| {
            record.suspected_gone(gone, account_works, context, jitter)
        });
        let record = updated.await?;
        if let Some(record) = record.as_ref().filter(|record| record.missing.is_some()) {
            let times = record.missing.map(|missing| missing.seen.times);
            tracing::warn!(
                file = %record.file, times, metric = "suspected_gone",
                "Drive does not show the file; it is read again before that is believed"
            );
        }
        Ok(record)
    }

    /// Postpones the intent of an out-of-scope file.
    pub(crate) async fn postpone_out_of_scope(
        &self,
        record: FileRecord,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &record.file;
        tracing::info!(%file, metric = "push_held", "file is out of scope; intent postponed");
        let transition = record.defer_out_of_scope(self.context(), self.deps.entropy.jitter());
        self.commit(record, transition).await
    }

    /// Postpones a file whose call was throttled until the rate limiter admits it.
    pub(crate) async fn postpone_throttled(
        &self,
        record: FileRecord,
        throttled: Throttled,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.postpone_with(record, &throttled.refusal()).await
    }

    /// Postpones a file for a reason outside the file.
    pub(crate) async fn postpone(
        &self,
        record: FileRecord,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.postpone_with(record, &Refusal::Stale).await
    }

    /// Postpones a file whose state in Drive can't be stored with what is owed. That changes when
    /// the file does, in Drive or here.
    pub(crate) async fn postpone_unstorable(
        &self,
        record: FileRecord,
        error: &StoreError,
    ) -> Result<Option<FileRecord>, StoreError> {
        log_unstorable(&record.file, error);
        let wait_millis = UNSTORABLE_WAIT_MILLIS;
        self.postpone_with(record, &Refusal::Later { wait_millis })
            .await
    }

    /// Postpones a file for which nothing was claimed or sent.
    async fn postpone_with(
        &self,
        record: FileRecord,
        refusal: &Refusal,
    ) -> Result<Option<FileRecord>, StoreError> {
        let nothing = Patch {
            attempt: self.deps.entropy.attempt(),
            values: BTreeMap::new(),
        };
        let jitter = self.deps.entropy.jitter();
        let transition = record.refused(&nothing, refusal, self.context(), jitter);
        self.commit(record, transition).await
    }

    /// Records that the file was deleted in Drive; nothing is left to write to.
    pub(crate) async fn confirm_deletion(
        &self,
        claimed: FileRecord,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &claimed.file;
        tracing::info!(%file, metric = "pushed", "deleted file in Drive");
        let gone = Observation::Gone(Gone::Removed);
        self.update(claimed, |record, context| {
            record.apply_lookup(&gone, context)
        })
        .await
    }

    /// Returns whether the record is due.
    pub(crate) fn is_due(&self, record: &FileRecord) -> bool {
        self.is_due_at(record.due())
    }

    /// Returns whether this time has come.
    pub(crate) fn is_due_at(&self, at: Option<Timestamp>) -> bool {
        let now = self.deps.clock.now();
        at.is_some_and(|due| due <= now)
    }

    /// Applies `step` to the record, or to what it has become meanwhile, and returns the stored
    /// record. If that fails, the claim in the record preserves the attempt for the next push.
    pub(crate) async fn update(
        &self,
        claimed: FileRecord,
        transition: impl Fn(&FileRecord, Context<'_>) -> Transition,
    ) -> Result<Option<FileRecord>, StoreError> {
        Ok(match self.updater().update(claimed, transition).await? {
            UpdateOutcome::Applied(record) | UpdateOutcome::Contended(record) => Some(*record),
            UpdateOutcome::Gone => None,
        })
    }

    /// Makes one conditional write. Returns the stored record: the new one, or a concurrent
    /// writer's.
    async fn commit(
        &self,
        before: FileRecord,
        transition: Transition,
    ) -> Result<Option<FileRecord>, StoreError> {
        Ok(match self.write(&before, &transition).await? {
            Committed::Done => Some(transition.record),
            Committed::Stale(current) => current.map(|record| *record),
        })
    }

    pub(crate) async fn write(
        &self,
        before: &FileRecord,
        transition: &Transition,
    ) -> Result<Committed, StoreError> {
        self.updater().write(before, transition).await
    }

    pub(crate) fn context(&self) -> Context<'_> {
        self.updater().context()
    }

    fn updater(&self) -> FileUpdater<'_> {
        let deps = self.deps;
        FileUpdater::new(self.connection, &deps.store, &deps.clock, &deps.entropy)
    }
}
