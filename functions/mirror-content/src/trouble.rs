//! Content that could not be had: what an error says about it, and when it is asked for again.

use domain::Timestamp;
use domain::content::{
    ContentRetries, ContentState, Failure, Verdict, retry_wait_millis, slot_millis,
};
use drive::{BadContent, DriveError, Kind, Unavailable};
use runtime::telemetry;
use store::Nonce;
use worker::WorkError;

use crate::file::{StepResult, Work};

impl Work<'_> {
    /// Records that content could not be had, and when it is asked for again.
    pub(crate) async fn record_trouble(
        &self,
        state: &ContentState,
        failure: Failure,
    ) -> Result<StepResult, WorkError> {
        let now = self.deps.clock.now();
        let failures = state.failures_of(&failure.of).saturating_add(1);
        let jitter = self.deps.entropy.jitter();
        let wait_millis = retry_wait_millis(failures, failure.verdict, jitter);
        let due_at = self.take_slot(now.plus_millis(wait_millis), now).await?;
        tracing::warn!(
            file = %self.file, reason = failure.reason, failures, next_attempt_at = %due_at,
            metric = "content_unavailable", "content could not be had; will ask again"
        );
        self.save(&state.with_trouble(failure, due_at, now)).await?;
        Ok(StepResult::Finished)
    }

    /// Takes the next slot of the connection at or after a time.
    async fn take_slot(&self, from: Timestamp, now: Timestamp) -> Result<Timestamp, WorkError> {
        let slot_millis = slot_millis(&self.connection.limits);
        let nonce = || Nonce(self.deps.entropy.next());
        let take = |retries: &ContentRetries| retries.take_slot(from, now, slot_millis);
        let (store, key) = (&self.deps.store, &self.connection.key);
        let slot = store.change_content_retries(key, nonce, take).await?;
        slot.ok_or(WorkError::Contended)
    }
}

/// Returns what an error says about content: the reason and its verdict. `None` if it says nothing
/// about this content: it is about the connection, or about a service of ours.
pub(crate) fn of_error(error: &WorkError) -> Option<(String, Verdict)> {
    if let WorkError::ChecksumMismatch = error {
        let reason = "the bytes that Drive sent don't match its checksum".to_owned();
        return Some((reason, Verdict::Passing));
    }
    if let WorkError::LateExport = error {
        return Some((error.to_string(), Verdict::Passing));
    }
    let error = error.drive().filter(|error| is_about_content(error))?;
    let known = error.content_unavailable();
    let reason = known.map(label).or_else(|| error.reason());
    let reason = reason.map_or_else(|| telemetry::chain(error), str::to_owned);
    let verdict = match known {
        Some(Unavailable::Abusive) => Verdict::Forbidden,
        Some(_) => Verdict::Refused,
        None => Verdict::Passing,
    };
    Some((reason, verdict))
}

/// Returns whether what has been received so far can't be continued.
pub(crate) fn is_damaged(error: &WorkError) -> bool {
    if let WorkError::ChecksumMismatch = error {
        return true;
    }
    error.drive().is_some_and(|error| match error.kind() {
        Kind::BadContent(bad) => match bad {
            BadContent::Interrupted => false,
            BadContent::TooLong
            | BadContent::UnexpectedBody
            | BadContent::WrongRange
            | BadContent::WrongSize => true,
        },
        Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::Stale
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Permanent { .. }
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => false,
    })
}

fn is_about_content(error: &DriveError) -> bool {
    let limited = matches!(error.kind(), Kind::RateLimited { .. });
    !limited && !error.is_connection_wide()
}

fn label(why: Unavailable) -> &'static str {
    match why {
        Unavailable::TooLarge => "too_large",
        Unavailable::NotExportable => "not_exportable",
        Unavailable::NotDownloadable => "not_downloadable",
        Unavailable::Forbidden => "forbidden",
        Unavailable::Abusive => "abusive",
        _ => "unavailable",
    }
}
