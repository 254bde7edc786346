//! Files to be created in Drive. Each is claimed and then created with its pre-generated id. Drive
//! responds with 409 if an earlier attempt created the file; a lookup then returns its state.

use domain::rate_limit::CallKind;
use domain::{FileId, FileRecord, Observation, Patch, Refusal};
use drive::{CreateResult, Creation, DriveError};
use futures_util::StreamExt;
use futures_util::stream;
use store::{Committed, StoreError};
use tracing::Instrument as _;

use crate::push_batch::{BatchResult, Claimed, PushBatch, RECORDS_AT_ONCE, span};

/// A file whose creation was claimed.
struct ClaimedCreation {
    record: FileRecord,
    patch: Patch,
}

impl PushBatch<'_> {
    /// Creates the files that these records describe.
    pub(crate) async fn create(&self, due: Vec<FileRecord>, result: &mut BatchResult) {
        let claims = stream::iter(due).map(|record| {
            let span = span(&record);
            let claimed = async {
                let file = record.file.clone();
                (file, self.claim_creation(record).await)
            };
            claimed.instrument(span)
        });
        let mut claims = claims.buffer_unordered(RECORDS_AT_ONCE);
        let mut creations = Vec::new();
        while let Some((file, claimed)) = claims.next().await {
            match claimed {
                Ok(Claimed {
                    record: Some(record),
                    patch: Some(patch),
                }) => creations.push(ClaimedCreation { record, patch }),
                Ok(claimed) => result.add(file, Ok(claimed.record)),
                Err(error) => result.add(file, Err(error)),
            }
        }
        let answers: Vec<Option<_>> = if self.too_late() {
            creations.iter().map(|_| None).collect()
        } else {
            let requests: Vec<Creation<'_>> = creations.iter().map(creation_of).collect();
            let answers = self.drive.client().create_files(&requests).await;
            let only = match creations.as_slice() {
                [only] => Some(&only.record.file),
                _ => None,
            };
            self.report_outcomes(CallKind::Edit, only, &answers).await;
            answers.into_iter().map(Some).collect()
        };
        let results = stream::iter(creations.into_iter().zip(answers)).map(|(creation, answer)| {
            let span = span(&creation.record);
            self.handle_response(creation, answer).instrument(span)
        });
        let mut results = results.buffer_unordered(RECORDS_AT_ONCE);
        while let Some((file, record, error)) = results.next().await {
            result.fail(error);
            result.add(file, record);
        }
    }

    async fn claim_creation(&self, record: FileRecord) -> Result<Claimed, StoreError> {
        let attempt = self.deps.entropy.attempt();
        let claim = record.claim_creation(attempt, self.context());
        let written = match self.write(&record, &claim.transition).await {
            Err(error) if error.concerns_one_item() => {
                let record = self.postpone_unstorable(record, &error).await?;
                return Ok(Claimed {
                    record,
                    patch: None,
                });
            }
            written => written?,
        };
        Ok(match written {
            Committed::Done => Claimed {
                record: Some(claim.transition.record),
                patch: claim.patch,
            },
            Committed::Stale(current) => Claimed {
                record: current.map(|record| *record),
                patch: None,
            },
        })
    }

    async fn handle_response(
        &self,
        creation: ClaimedCreation,
        answer: Option<Result<CreateResult, DriveError>>,
    ) -> (
        FileId,
        Result<Option<FileRecord>, StoreError>,
        Option<DriveError>,
    ) {
        let ClaimedCreation { record, patch } = creation;
        let file = record.file.clone();
        let lost = Refusal::Unknown("created before, and not found".to_owned());
        let error = match answer {
            Some(Ok(CreateResult::Created(snapshot))) => {
                return (file, self.confirm(record, &patch, &snapshot).await, None);
            }
            Some(Ok(CreateResult::AlreadyExists)) => match self.lookup(&file).await {
                Ok(found @ Observation::Present(_)) => {
                    let record = self.update(record, |r, context| r.apply_lookup(&found, context));
                    return (file, record.await, None);
                }
                // It was created by an earlier attempt; one answer does not show that it is gone
                // again.
                Ok(Observation::Gone(gone)) => {
                    let released = self.release_claim(record, &patch, &lost).await;
                    let record = match released {
                        Ok(Some(record)) => self.suspect_gone(record, gone, true).await,
                        released => released,
                    };
                    return (file, record, None);
                }
                // It may have been created by an earlier attempt or by this one; the next batch
                // finds out.
                Err(error) => error,
            },
            Some(Err(error)) => error,
            None => {
                let record = self.release_claim(record, &patch, &Refusal::Busy).await;
                return (file, record, None);
            }
        };
        let record = self.record_refusal(record, &patch, &error).await;
        (file, record, error.is_connection_wide().then_some(error))
    }

    /// Looks up a file that already exists in Drive. The batch admitted one read per file, and a
    /// creation needs none of its own.
    async fn lookup(&self, file: &FileId) -> Result<Observation, DriveError> {
        let found = self.drive.client().get_or_gone(file).await;
        self.report_outcomes(CallKind::Read, None, std::slice::from_ref(&found))
            .await;
        found
    }

    /// Applies the state of a file that was created although its creation had been withdrawn.
    pub(crate) async fn accept_created(
        &self,
        record: FileRecord,
        found: &Observation,
    ) -> Result<Option<FileRecord>, StoreError> {
        self.update(record, |record, context| {
            record.apply_lookup(found, context)
        })
        .await
    }
}

fn creation_of(creation: &ClaimedCreation) -> Creation<'_> {
    let metadata = &creation.record.metadata;
    Creation {
        file: &creation.record.file,
        mime_type: &metadata.mime_type,
        shortcut_target: metadata.shortcut_target.as_deref(),
        patch: &creation.patch,
    }
}
