//! One file's record on its way through a round: each step is one conditional write of it.

use std::collections::BTreeMap;

use domain::pace::Held;
use domain::{FileRecord, Gone, Moment, Observation, Patch, Refusal, Snapshot, Step};
use drive::{DriveError, Kind};
use gate::{Reach, Records, Settled, TRIES_MAX};
use runtime::telemetry;
use store::{Committed, StoreError};

use crate::round::Round;

/// A record after a claim: with what is to be written, if anything still stands.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// As it is stored; `None` where it has gone.
    pub(crate) record: Option<FileRecord>,
    /// What is now to be sent.
    pub(crate) patch: Option<Patch>,
}

impl Round<'_> {
    /// Merges what Drive was just read to hold, and claims what is still owed to it. Where somebody wrote
    /// the record first, their record is judged by the same read: it is as good as it was.
    pub(crate) async fn claim(
        &self,
        record: FileRecord,
        read: &Snapshot,
    ) -> Result<Claimed, StoreError> {
        let mut record = record;
        for _ in 0..TRIES_MAX {
            if !self.is_due(&record) {
                break;
            }
            if record.is_creating() {
                let there = Observation::Present(read.clone());
                let record = self.made_after_all(record, &there).await?;
                return Ok(Claimed {
                    record,
                    patch: None,
                });
            }
            let attempt = self.deps.entropy.attempt();
            let jitter = self.deps.entropy.jitter();
            let claim = record.claim(read, attempt, self.moment(), jitter);
            match self.write(&record, &claim.step).await? {
                Committed::Done => {
                    return Ok(Claimed {
                        record: Some(claim.step.record),
                        patch: claim.patch,
                    });
                }
                Committed::Stale(Some(current)) => record = *current,
                Committed::Stale(None) => {
                    return Ok(Claimed {
                        record: None,
                        patch: None,
                    });
                }
            }
        }
        Ok(Claimed {
            record: Some(record),
            patch: None,
        })
    }

    /// Drive holds what was claimed.
    pub(crate) async fn confirm(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        answer: &Snapshot,
    ) -> Result<Option<FileRecord>, StoreError> {
        tracing::info!(file = %answer.file, fields = patch.values.len(), metric = "pushed", "written to Drive");
        self.settle(claimed, |record| {
            record.confirmed(patch, answer, self.moment())
        })
        .await
    }

    /// Drive did not take what was claimed, or did not say so.
    pub(crate) async fn refuse(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        error: &DriveError,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &claimed.file;
        tracing::warn!(%file, error = telemetry::chain(error), metric = "push_refused", "not written");
        self.give_back(claimed, patch, &error.refusal()).await
    }

    /// The claim ends without a confirmation.
    pub(crate) async fn give_back(
        &self,
        claimed: FileRecord,
        patch: &Patch,
        refusal: &Refusal,
    ) -> Result<Option<FileRecord>, StoreError> {
        let jitter = self.deps.entropy.jitter();
        self.settle(claimed, |record| {
            record.refused(patch, refusal, self.moment(), jitter)
        })
        .await
    }

    /// Drive does not show us the file. Only the answer about the file itself means that it is gone.
    pub(crate) async fn unread(
        &self,
        record: FileRecord,
        error: &DriveError,
        reach: &Reach,
    ) -> Result<Option<FileRecord>, StoreError> {
        // Where nobody says why it is gone, the file waits for its next turn.
        if let Some(gone) = error.gone()
            && let Ok(gone) = reach.tell_apart(gone, &record.mirror)
        {
            return self.gone(record, gone).await;
        }
        let file = &record.file;
        tracing::warn!(%file, error = telemetry::chain(error), metric = "push_unread", "not read");
        let jitter = self.deps.entropy.jitter();
        let step = match error.kind() {
            // Drive will never show it to us, so nothing of it can be written: given up, for a person to see.
            Kind::Permanent { reason } => {
                let refusal = Refusal::Permanent(reason.clone());
                record.refused(&self.all_owed(&record), &refusal, self.moment(), jitter)
            }
            // Drive fails over this file, perhaps over others too: each has its own backoff, so that one that
            // can't be read holds up no other. No failure is counted: nothing was sent.
            Kind::CursorLost
            | Kind::AuthLost { .. }
            | Kind::RateLimited { .. }
            | Kind::DailyLimit
            | Kind::Stale
            | Kind::NotFound
            | Kind::AccessDenied { .. }
            | Kind::BadContent(_)
            | Kind::Transient
            | Kind::Unanswered
            | Kind::NotSent => {
                return self.wait(record).await;
            }
        };
        self.commit(record, step).await
    }

    /// The file is out of scope: what it owes waits.
    pub(crate) async fn held(&self, record: FileRecord) -> Result<Option<FileRecord>, StoreError> {
        let file = &record.file;
        tracing::info!(%file, metric = "push_held", "out of scope");
        let step = record.held(self.moment(), self.deps.entropy.jitter());
        self.commit(record, step).await
    }

    /// It is not the connection's turn for what the file needs: it is due again when it is.
    pub(crate) async fn not_yet(
        &self,
        record: FileRecord,
        held: Held,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.put_off(record, &held.refusal()).await
    }

    /// The file waits for its next turn, through no fault of its own.
    pub(crate) async fn wait(&self, record: FileRecord) -> Result<Option<FileRecord>, StoreError> {
        self.put_off(record, &Refusal::Stale).await
    }

    /// Nothing was claimed, and nothing is sent.
    async fn put_off(
        &self,
        record: FileRecord,
        why: &Refusal,
    ) -> Result<Option<FileRecord>, StoreError> {
        let nothing = Patch {
            attempt: self.deps.entropy.attempt(),
            values: BTreeMap::new(),
        };
        let jitter = self.deps.entropy.jitter();
        let step = record.refused(&nothing, why, self.moment(), jitter);
        self.commit(record, step).await
    }

    /// Drive deleted the file, or somebody else did: there is nothing left to write to.
    pub(crate) async fn deleted(
        &self,
        claimed: FileRecord,
    ) -> Result<Option<FileRecord>, StoreError> {
        let file = &claimed.file;
        tracing::info!(%file, metric = "pushed", "deleted in Drive");
        let gone = Observation::Gone(Gone::Removed);
        self.settle(claimed, |record| record.answered(&gone, self.moment()))
            .await
    }

    async fn gone(&self, record: FileRecord, gone: Gone) -> Result<Option<FileRecord>, StoreError> {
        let step = record.answered(&Observation::Gone(gone), self.moment());
        self.commit(record, step).await
    }

    /// Everything that is owed, as if it had been sent.
    fn all_owed(&self, record: &FileRecord) -> Patch {
        let owed = record
            .intent()
            .map_or_else(Vec::new, |intent| intent.fields);
        let values = owed
            .into_iter()
            .map(|field| (field.clone(), record.app(field)))
            .collect();
        Patch {
            attempt: self.deps.entropy.attempt(),
            values,
        }
    }

    /// Whether the record's time has come.
    pub(crate) fn is_due(&self, record: &FileRecord) -> bool {
        let now = self.deps.clock.now();
        record.due().is_some_and(|due| due <= now)
    }

    /// Stores what the answer means, on whatever the record has become meanwhile, and gives the record as it
    /// is then. Where that can't be done, the claim in it remembers the attempt for the next one.
    pub(crate) async fn settle(
        &self,
        claimed: FileRecord,
        step: impl Fn(&FileRecord) -> Step,
    ) -> Result<Option<FileRecord>, StoreError> {
        Ok(match self.records().settle(claimed, step).await? {
            Settled::Done(record) | Settled::Overtaken(record) => Some(*record),
            Settled::Absent => None,
        })
    }

    /// One conditional write: the record as it is then, ours or that of whoever was faster.
    async fn commit(
        &self,
        before: FileRecord,
        step: Step,
    ) -> Result<Option<FileRecord>, StoreError> {
        Ok(match self.write(&before, &step).await? {
            Committed::Done => Some(step.record),
            Committed::Stale(current) => current.map(|record| *record),
        })
    }

    pub(crate) async fn write(
        &self,
        before: &FileRecord,
        step: &Step,
    ) -> Result<Committed, StoreError> {
        self.records().write(before, step).await
    }

    pub(crate) fn moment(&self) -> Moment<'_> {
        self.records().moment()
    }

    fn records(&self) -> Records<'_> {
        let deps = self.deps;
        Records::new(self.connection, &deps.store, &deps.clock, &deps.entropy)
    }
}
