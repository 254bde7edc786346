//! Looks up many files in Drive at once and classifies those that are missing.

use std::sync::Arc;

use domain::rate_limit::CallKind;
use domain::{DriveMetadata, FileId, Gone, Observation};
use drive::{BATCH_CALLS_MAX, DriveError};
use runtime::telemetry;

use crate::throttled::is_retryable;
use crate::{CallError, ThrottledDrive};

/// A file to look up in Drive.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// The file.
    pub file: &'a FileId,
    /// Drive's metadata when the file was last seen. If set, a missing file is classified, which
    /// may take a lookup of its shared drive.
    pub last_seen: Option<&'a DriveMetadata>,
}

/// The result of one lookup. Several lookups may share one error.
type LookupResult = Result<Observation, Arc<CallError>>;

impl ThrottledDrive {
    /// Looks up files as they are in Drive now, and returns one result for each, in order. Deleted
    /// files are distinguished from files of an inaccessible shared drive (see
    /// [`crate::DriveReachability`]). A request covers up to a hundred files; each shared drive is
    /// another request.
    ///
    /// # Errors
    /// Each file has its own result: a refused, lost or throttled lookup fails that file alone, and
    /// is retried in place as by [`ThrottledDrive::call_with_retries`]. Lookups that the rate
    /// limiter did not admit within the wait budget share one error.
    pub async fn lookup_many(&self, lookups: &[Lookup<'_>]) -> Vec<LookupResult> {
        let mut results = self.lookup_once(lookups).await;
        let mut attempts = 1;
        let failed = |result: &LookupResult| result.as_ref().is_err_and(|e| is_retryable(e));
        while results.iter().any(failed) && self.wait_before_retry(attempts).await {
            let retried: Vec<Lookup<'_>> = lookups
                .iter()
                .zip(&results)
                .filter(|(_, result)| failed(result))
                .map(|(lookup, _)| *lookup)
                .collect();
            let repeated = self.lookup_once(&retried).await;
            let places = results.iter_mut().filter(|result| failed(result));
            for (result, repeated) in places.zip(repeated) {
                *result = repeated;
            }
            attempts += 1;
        }
        self.classify(lookups, results).await
    }

    async fn lookup_once(&self, lookups: &[Lookup<'_>]) -> Vec<LookupResult> {
        let mut results: Vec<LookupResult> = Vec::with_capacity(lookups.len());
        let mut rest = lookups;
        while !rest.is_empty() {
            let most = rest.len().min(BATCH_CALLS_MAX);
            match self.acquire(&[CallKind::Read], count(most)).await {
                Ok(admitted) => {
                    let size = most.min(usize::try_from(admitted).unwrap_or(most));
                    let (batch, later) = rest.split_at(size);
                    let observed = self.lookup_batch(batch).await;
                    results.extend(observed.into_iter().map(|result| result.map_err(shared)));
                    rest = later;
                }
                Err(error) => {
                    let error = Arc::new(error);
                    results.extend(rest.iter().map(|_| Err(Arc::clone(&error))));
                    rest = &[];
                }
            }
        }
        results
    }

    /// Sends one admitted request. Its results stand even if their outcome can't be recorded.
    async fn lookup_batch(&self, lookups: &[Lookup<'_>]) -> Vec<Result<Observation, DriveError>> {
        let files: Vec<FileId> = lookups.iter().map(|lookup| lookup.file.clone()).collect();
        let results = self.client().get_or_gone_many(&files).await;
        if let Err(error) = self.record_outcomes(CallKind::Read, None, &results).await {
            let error = telemetry::chain(&error);
            tracing::warn!(
                error,
                metric = "pace_unnoted",
                "could not record the outcome of Drive calls"
            );
        }
        results
    }

    /// Classifies missing files. Their shared drives are looked up after the files: see
    /// [`crate::DriveReachability`].
    async fn classify(
        &self,
        lookups: &[Lookup<'_>],
        results: Vec<LookupResult>,
    ) -> Vec<LookupResult> {
        let is_removed =
            |result: &LookupResult| matches!(result, Ok(Observation::Gone(Gone::Removed)));
        let removed = lookups
            .iter()
            .zip(&results)
            .filter(|(_, result)| is_removed(result))
            .filter_map(|(lookup, _)| lookup.last_seen);
        let reachability = self.drive_reachability(removed).await;
        let classify =
            |(lookup, result): (&Lookup<'_>, LookupResult)| match (lookup.last_seen, result?) {
                (Some(last_seen), Observation::Gone(gone)) => reachability
                    .classify_missing(gone, last_seen)
                    .map(Observation::Gone),
                (_, observation) => Ok(observation),
            };
        lookups.iter().zip(results).map(classify).collect()
    }
}

fn shared(error: DriveError) -> Arc<CallError> {
    Arc::new(error.into())
}

fn count(files: usize) -> u32 {
    u32::try_from(files).unwrap_or(u32::MAX)
}
