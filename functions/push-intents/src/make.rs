//! Files that Drive has yet to make: each is claimed, and then asked for with the id that was given out for
//! it. Drive answers 409 where it made the file before, and a look tells the rest.

use domain::pace::CallKind;
use domain::{FileId, FileRecord, Observation, Patch, Refusal};
use drive::{Created, Creation, DriveError};
use futures_util::StreamExt;
use futures_util::stream;
use store::{Committed, StoreError};

use crate::record::Claimed;
use crate::round::{After, RECORDS_AT_ONCE, Round};

/// A file whose making was claimed.
struct Making {
    record: FileRecord,
    patch: Patch,
}

impl Round<'_> {
    /// Makes the files that these records wait for.
    pub(crate) async fn make(&self, due: Vec<FileRecord>, after: &mut After) {
        let claims = stream::iter(due).map(|record| async {
            let file = record.file.clone();
            (file, self.claim_making(record).await)
        });
        let mut claims = claims.buffer_unordered(RECORDS_AT_ONCE);
        let mut makings = Vec::new();
        while let Some((file, claimed)) = claims.next().await {
            match claimed {
                Ok(Claimed {
                    record: Some(record),
                    patch: Some(patch),
                }) => makings.push(Making { record, patch }),
                Ok(claimed) => after.file(file, Ok(claimed.record)),
                Err(error) => after.file(file, Err(error)),
            }
        }
        let answers: Vec<Option<_>> = if self.too_late() {
            makings.iter().map(|_| None).collect()
        } else {
            let creations: Vec<Creation<'_>> = makings.iter().map(creation).collect();
            let answers = self.pass.drive().create_files(&creations).await;
            self.note(CallKind::Edit, &answers).await;
            answers.into_iter().map(Some).collect()
        };
        let settled = stream::iter(makings.into_iter().zip(answers))
            .map(|(making, answer)| self.made(making, answer));
        let mut settled = settled.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record, stopped)) = settled.next().await {
            after.stop(stopped);
            after.file(file, record);
        }
    }

    async fn claim_making(&self, record: FileRecord) -> Result<Claimed, StoreError> {
        let attempt = self.deps.entropy.attempt();
        let claim = record.claim_creation(attempt, self.moment());
        Ok(match self.write(&record, &claim.step).await? {
            Committed::Done => Claimed {
                record: Some(claim.step.record),
                patch: claim.patch,
            },
            Committed::Stale(current) => Claimed {
                record: current.map(|record| *record),
                patch: None,
            },
        })
    }

    async fn made(
        &self,
        making: Making,
        answer: Option<Result<Created, DriveError>>,
    ) -> (
        FileId,
        Result<Option<FileRecord>, StoreError>,
        Option<DriveError>,
    ) {
        let Making { record, patch } = making;
        let file = record.file.clone();
        let error = match answer {
            Some(Ok(Created::Made(snapshot))) => {
                return (file, self.confirm(record, &patch, &snapshot).await, None);
            }
            Some(Ok(Created::Already)) => match self.look(&file).await {
                Ok(there) => {
                    let settled = self.settle(record, |r| r.answered(&there, self.moment()));
                    return (file, settled.await, None);
                }
                // It may have been made by the attempt before or by this one: the next round tells.
                Err(error) => error,
            },
            Some(Err(error)) => error,
            None => {
                let settled = self.give_back(record, &patch, &Refusal::Busy).await;
                return (file, settled, None);
            }
        };
        let settled = self.refuse(record, &patch, &error).await;
        (file, settled, error.concerns_us().then_some(error))
    }

    /// Looks at a file that Drive made before. A file that is only to be made needs no read, and the round was
    /// admitted one for each.
    async fn look(&self, file: &FileId) -> Result<Observation, DriveError> {
        let there = self.pass.drive().look(file).await;
        self.note(CallKind::Read, std::slice::from_ref(&there))
            .await;
        there
    }

    /// Takes what Drive shows of a file whose making was taken back too late.
    pub(crate) async fn made_after_all(
        &self,
        record: FileRecord,
        there: &Observation,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.settle(record, |record| record.answered(there, self.moment()))
            .await
    }
}

fn creation(making: &Making) -> Creation<'_> {
    let mirror = &making.record.mirror;
    Creation {
        file: &making.record.file,
        mime_type: &mirror.mime_type,
        shortcut_target: mirror.shortcut_target.as_deref(),
        patch: &making.patch,
    }
}
