//! A Drive client that is subject to its connection's rate limit.

#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::rate_limit::{CallKind, CallOutcome, Cost, Limits, Throttled, ThrottledBy, WriteKind};
use domain::{Backoff, FileId, Timestamp};
use drive::{DriveClient, DriveError, Kind};
use runtime::telemetry;
use store::StoreError;

use crate::CallError;
use crate::budget::LocalBudget;

/// The limits on waiting in place until a call is admitted. A longer wait is the caller's to
/// schedule: an idle function costs money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitBudget {
    /// The longest single wait, in milliseconds.
    pub max_wait_millis: u64,
    /// No wait ends later than this.
    pub deadline: Timestamp,
}

impl WaitBudget {
    /// Never waits.
    pub const NONE: Self = Self {
        max_wait_millis: 0,
        deadline: Timestamp::from_millis(0),
    };
}

/// The most attempts of a call that is retried in place. After them the message returns to its
/// queue.
const ATTEMPTS_MAX: u32 = 3;
/// The waits between the attempts: up to half a second, then up to a second.
const RETRY_BACKOFF: Backoff = Backoff {
    base_millis: 500,
    cap_millis: 1_000,
    failures_max: ATTEMPTS_MAX,
};
/// The shortest wait of a caller with several throttled writes, in milliseconds: several can then
/// be leased at once.
const WRITES_WAIT_MILLIS: u64 = 1_000;

/// A Drive client for one connection, subject to the connection's rate limit.
pub struct ThrottledDrive {
    client: DriveClient,
    pub(crate) budget: LocalBudget,
    limits: Limits,
    wait_budget: WaitBudget,
}

impl ThrottledDrive {
    pub(crate) fn new(
        client: DriveClient,
        budget: LocalBudget,
        limits: Limits,
        wait_budget: WaitBudget,
    ) -> Self {
        Self {
            client,
            budget,
            limits,
            wait_budget,
        }
    }

    /// Returns the client. Every call on it must go through [`ThrottledDrive::call`], or between
    /// [`ThrottledDrive::acquire`] and [`ThrottledDrive::record_outcome`].
    #[must_use]
    pub fn client(&self) -> &DriveClient {
        &self.client
    }

    /// Makes a call once the rate limiter admits it, and records its outcome. The future is not
    /// polled before that.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call<T>(
        &self,
        kind: CallKind,
        call: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, CallError> {
        self.call_about(kind, None, call).await
    }

    /// Makes a call as [`ThrottledDrive::call`] does, one that writes this file.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call_about<T>(
        &self,
        kind: CallKind,
        file: Option<&FileId>,
        call: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, CallError> {
        self.acquire(&[kind], 1).await?;
        let result = call.await;
        self.record_outcome_about(kind, file, result.as_ref().err())
            .await?;
        Ok(result?)
    }

    /// Makes a call that changes nothing in Drive, up to three times if Drive is busy, fails or
    /// does not respond: a message that returns to its queue instead would delay the rest of its
    /// group. Each attempt is a call of its own, admitted like any other; the last one's result
    /// counts.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn call_with_retries<T, F>(
        &self,
        kind: CallKind,
        call: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, DriveError>>,
    {
        let mut attempts = 1;
        loop {
            let result = self.call(kind, call()).await;
            if !result.as_ref().is_err_and(is_retryable) || !self.wait_before_retry(attempts).await
            {
                return result;
            }
            attempts += 1;
        }
    }

    /// Waits before the next attempt after `attempts` of them. Returns `false`, without waiting, if
    /// no attempt or no time is left.
    pub(crate) async fn wait_before_retry(&self, attempts: u32) -> bool {
        let wait = RETRY_BACKOFF.wait_millis(attempts, self.budget.entropy.jitter());
        let ends_at = self.budget.clock.now().plus_millis(wait);
        if attempts >= ATTEMPTS_MAX || ends_at > self.wait_budget.deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
        true
    }

    /// Waits, within the wait budget, until the rate limiter admits some units of work, each of
    /// which takes one call of each of these kinds. Returns the number of admitted units: at least
    /// one and at most `count`.
    ///
    /// # Errors
    /// [`CallError::Throttled`] if the wait is too long; [`CallError::Store`].
    pub async fn acquire(&self, kinds: &[CallKind], count: u32) -> Result<u32, CallError> {
        let each = kinds.iter().fold(Cost::default(), |sum, kind| {
            let cost = kind.cost(1, self.limits.model);
            Cost {
                quota: sum.quota.saturating_add(cost.quota),
                writes: sum.writes.saturating_add(cost.writes),
            }
        });
        loop {
            let admitted = match self.check_pauses(kinds).await? {
                Ok(()) => self.budget.acquire(each, count, &self.limits).await?,
                Err(paused) => Err(paused),
            };
            let mut throttled = match admitted {
                Ok(admitted) => return Ok(admitted),
                Err(throttled) => throttled,
            };
            if count > 1 && throttled.by == ThrottledBy::Writes {
                // Several writes are leased at once: a lease for each would be a table write each.
                let more = WRITES_WAIT_MILLIS.min(self.wait_budget.max_wait_millis);
                throttled.wait_millis = throttled.wait_millis.max(more);
            }
            if !self.allows(throttled) {
                let (by, wait_millis) = (throttled.by.label(), throttled.wait_millis);
                tracing::info!(by, wait_millis, metric = "paced", "Drive call throttled");
                return Err(CallError::Throttled(throttled));
            }
            tokio::time::sleep(Duration::from_millis(throttled.wait_millis)).await;
        }
    }

    /// Checks that none of these kinds of calls is paused.
    async fn check_pauses(&self, kinds: &[CallKind]) -> Result<Result<(), Throttled>, StoreError> {
        for kind in kinds.iter().filter_map(|kind| kind.write()) {
            if kind == WriteKind::Edit {
                continue;
            }
            let checked = self.budget.check_pause(kind, &self.limits).await?;
            if checked.is_err() {
                return Ok(checked);
            }
        }
        Ok(Ok(()))
    }

    /// Returns whether the wait budget allows a wait.
    fn allows(&self, throttled: Throttled) -> bool {
        let wait = i64::try_from(throttled.wait_millis).unwrap_or(i64::MAX);
        throttled.wait_millis <= self.wait_budget.max_wait_millis
            && self.budget.clock.now().plus_millis(wait) <= self.wait_budget.deadline
    }

    /// Returns to the local budget what was admitted for calls that were not made.
    pub async fn release(&self, kind: CallKind, count: u32) {
        let cost = kind.cost(count, self.limits.model);
        self.budget.release(cost).await;
    }

    /// Records the outcome of the calls of one batch. It counts as a failure of Drive only if all
    /// of them failed. `file` is the file that was written, if the batch wrote one.
    ///
    /// # Errors
    /// As [`ThrottledDrive::record_outcome`].
    pub async fn record_outcomes<T>(
        &self,
        kind: CallKind,
        file: Option<&FileId>,
        results: &[Result<T, DriveError>],
    ) -> Result<(), StoreError> {
        let outcome = |error: &DriveError| outcome(kind, file, error);
        let errors = || results.iter().filter_map(|result| result.as_ref().err());
        for error in errors() {
            log_error(error, outcome(error));
        }
        let outcomes = || errors().map(outcome);
        let limited = outcomes().find(|outcome| is_limit(*outcome));
        let wrote = results.iter().any(Result::is_ok);
        let recorded = limited.or_else(|| wrote.then(|| answered(kind)));
        let recorded = recorded.or_else(|| outcomes().find(|outcome| !is_failure(*outcome)));
        match recorded.or_else(|| outcomes().next()) {
            Some(outcome) => self.update_rate_limit(kind, outcome, wrote).await,
            None => Ok(()),
        }
    }

    /// Records the outcome of an admitted call: its error, or success.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be recorded; Drive's response stands in any case.
    pub async fn record_outcome(
        &self,
        kind: CallKind,
        error: Option<&DriveError>,
    ) -> Result<(), StoreError> {
        self.record_outcome_about(kind, None, error).await
    }

    async fn record_outcome_about(
        &self,
        kind: CallKind,
        file: Option<&FileId>,
        error: Option<&DriveError>,
    ) -> Result<(), StoreError> {
        let recorded = error.map_or_else(|| answered(kind), |error| outcome(kind, file, error));
        if let Some(error) = error {
            log_error(error, recorded);
        }
        self.update_rate_limit(kind, recorded, error.is_none())
            .await
    }

    async fn update_rate_limit(
        &self,
        kind: CallKind,
        outcome: CallOutcome,
        succeeded: bool,
    ) -> Result<(), StoreError> {
        let wrote = succeeded && !is_limit(outcome) && kind == CallKind::Edit;
        let changed = self
            .budget
            .record_outcome(outcome, wrote, &self.limits)
            .await?;
        if let Some(rate_limit) = changed {
            match outcome {
                CallOutcome::Failed if rate_limit.breaker.is_open() => {
                    tracing::error!(metric = "breaker_open", "circuit breaker opened");
                }
                CallOutcome::WriteFailed { .. } if rate_limit.are_writes_blocked() => {
                    tracing::error!(
                        metric = "writes_breaker_open",
                        "circuit breaker of writes opened"
                    );
                }
                CallOutcome::RateLimited(_) => {
                    let per_minute = rate_limit.writes_per_minute;
                    tracing::warn!(per_minute, metric = "slowed_down", "write rate reduced");
                }
                CallOutcome::Answered
                | CallOutcome::WriteAnswered(_)
                | CallOutcome::WriteLimited(..)
                | CallOutcome::DailyLimit
                | CallOutcome::WriteFailed { .. }
                | CallOutcome::Failed => {}
            }
        }
        Ok(())
    }
}

/// Returns whether a retry within seconds may succeed.
pub(crate) fn is_retryable(error: &CallError) -> bool {
    let CallError::Drive(error) = error else {
        return false;
    };
    match error.kind() {
        Kind::RateLimited { .. } | Kind::Transient | Kind::Unanswered => true,
        Kind::NotSent
        | Kind::DailyLimit
        | Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_) => false,
    }
}

/// Returns the outcome of a call that Drive answered.
fn answered(kind: CallKind) -> CallOutcome {
    match kind.write() {
        Some(write) => CallOutcome::WriteAnswered(write),
        None => CallOutcome::Answered,
    }
}

const fn is_limit(outcome: CallOutcome) -> bool {
    matches!(
        outcome,
        CallOutcome::RateLimited(_) | CallOutcome::WriteLimited(..) | CallOutcome::DailyLimit
    )
}

const fn is_failure(outcome: CallOutcome) -> bool {
    matches!(
        outcome,
        CallOutcome::Failed | CallOutcome::WriteFailed { .. }
    )
}

/// Identifies a file among the few that fail at a time.
fn subject(file: Option<&FileId>) -> u32 {
    let Some(file) = file else { return 0 };
    // FNV-1a.
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    file.as_str().bytes().fold(0x811c_9dc5, hash).max(1)
}

/// Classifies an error for the rate limiter.
fn outcome(kind: CallKind, file: Option<&FileId>, error: &DriveError) -> CallOutcome {
    // Secrets are read before a Drive call: their errors are not Drive's.
    if error.method().starts_with("secretsmanager.") {
        return CallOutcome::Answered;
    }
    // Tokens are requested before a write, which they say nothing about.
    let write = kind
        .write()
        .filter(|_| error.method() != "oauth2.token" && *error.kind() != Kind::NotSent);
    match (error.kind(), write) {
        // A limit on one kind of call (sharing, uploading, opening channels) does not limit the
        // others.
        (Kind::RateLimited { retry_after_millis }, Some(WriteKind::Upload | WriteKind::Share)) => {
            let kind = write.unwrap_or(WriteKind::Edit);
            CallOutcome::WriteLimited(kind, *retry_after_millis)
        }
        (Kind::RateLimited { .. }, _) if error.limits_one_kind_of_call() => CallOutcome::Answered,
        (Kind::RateLimited { retry_after_millis }, _) => {
            CallOutcome::RateLimited(*retry_after_millis)
        }
        (Kind::DailyLimit, _) => CallOutcome::DailyLimit,
        (_, Some(_)) if error.is_outage() => CallOutcome::WriteFailed {
            status: error.status(),
            subject: subject(file),
        },
        (_, None) if error.is_outage() => CallOutcome::Failed,
        (_, Some(write)) => CallOutcome::WriteAnswered(write),
        (_, None) => CallOutcome::Answered,
    }
}

fn log_error(error: &DriveError, outcome: CallOutcome) {
    if let Some(reason) = error.unknown_reason() {
        tracing::warn!(
            reason,
            method = error.method(),
            metric = "unknown_reason",
            "unknown error reason from Drive"
        );
    }
    match outcome {
        CallOutcome::RateLimited(_) => {
            let error = telemetry::chain(error);
            tracing::warn!(error, metric = "rate_limited", "Drive rate limit exceeded");
        }
        CallOutcome::DailyLimit => {
            let error = telemetry::chain(error);
            tracing::error!(error, metric = "daily_limit", "Drive daily quota exceeded");
        }
        CallOutcome::WriteLimited(..) => {
            let error = telemetry::chain(error);
            tracing::warn!(
                error,
                metric = "kind_limited",
                "Drive limits one kind of writes; the others go on"
            );
        }
        CallOutcome::Failed | CallOutcome::WriteFailed { .. } => {
            let error = telemetry::chain(error);
            tracing::warn!(error, metric = "drive_failed", "Drive request failed");
        }
        CallOutcome::Answered | CallOutcome::WriteAnswered(_) => {}
    }
}
