//! One connection's way through the gate.

#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::pace::{Ask, CallKind, Held, HeldBy, Limits, Outcome};
use domain::{Backoff, Timestamp};
use drive::{DriveClient, DriveError, Kind};
use runtime::telemetry;
use store::StoreError;

use crate::GateError;
use crate::ledger::Ledger;

/// How long a caller waits in place for its turn. Longer waits are the caller's to arrange: a wait that nobody
/// works in costs money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The longest single wait, in milliseconds.
    pub wait_millis_max: u64,
    /// No wait ends later than this.
    pub until: Timestamp,
}

impl Patience {
    /// Waits for nothing.
    pub const NONE: Self = Self {
        wait_millis_max: 0,
        until: Timestamp::from_millis(0),
    };
}

/// How often something is asked in place: whoever comes in vain three times goes back to the queue.
const ASKED_MAX: u32 = 3;
/// The waits between: up to half a second, then up to a whole one.
const ASK_AGAIN: Backoff = Backoff {
    base_millis: 500,
    cap_millis: 1_000,
    failures_max: ASKED_MAX,
};
/// Writes that were held back are let gather for so long, in milliseconds.
const GATHERED_MILLIS: u64 = 1_000;

/// Drive for one connection, at its pace.
pub struct Pass {
    drive: DriveClient,
    pub(crate) ledger: Ledger,
    limits: Limits,
    patience: Patience,
}

impl Pass {
    pub(crate) fn new(
        drive: DriveClient,
        ledger: Ledger,
        limits: Limits,
        patience: Patience,
    ) -> Self {
        Self {
            drive,
            ledger,
            limits,
            patience,
        }
    }

    /// The client. Every call of it goes through [`Pass::call`], or between [`Pass::admit`] and [`Pass::tell`].
    #[must_use]
    pub fn drive(&self) -> &DriveClient {
        &self.drive
    }

    /// Makes a call once it is its turn, and takes note of how it ended. The future is not polled before.
    ///
    /// # Errors
    /// [`GateError`]
    pub async fn call<T>(
        &self,
        kind: CallKind,
        call: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, GateError> {
        self.admit(&[kind], 1).await?;
        let answer = call.await;
        self.tell(kind, answer.as_ref().err()).await?;
        Ok(answer?)
    }

    /// Asks Drive for something, as often as three times where it is busy, fails or does not answer: a message that
    /// goes back to its queue for that holds up what is behind it. For what changes nothing in Drive; each time is a
    /// call of its own, admitted like any other, and the last one's answer is what counts.
    ///
    /// # Errors
    /// [`GateError`]
    pub async fn ask<T, F>(&self, kind: CallKind, ask: impl Fn() -> F) -> Result<T, GateError>
    where
        F: Future<Output = Result<T, DriveError>>,
    {
        let mut asked = 1;
        loop {
            let answer = self.call(kind, ask()).await;
            if !answer.as_ref().is_err_and(passes) || !self.waits_again(asked).await {
                return answer;
            }
            asked += 1;
        }
    }

    /// Waits before something is asked again that was asked so often; says whether there is a point, and time.
    pub(crate) async fn waits_again(&self, asked: u32) -> bool {
        let wait = ASK_AGAIN.wait_millis(asked, self.ledger.entropy.jitter());
        let ends_at = self.ledger.clock.now().plus_millis(wait);
        if asked >= ASKED_MAX || ends_at > self.patience.until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
        true
    }

    /// Waits, within its patience, until some things may be done, each of which takes a call of these kinds: at least
    /// one of them and at most `count`. Says how many.
    ///
    /// # Errors
    /// [`GateError::Held`] where that is too long; [`GateError::Store`].
    pub async fn admit(&self, kinds: &[CallKind], count: u32) -> Result<u32, GateError> {
        let each = kinds.iter().fold(Ask::default(), |sum, kind| {
            let cost = kind.cost(1, self.limits.model);
            Ask {
                quota: sum.quota.saturating_add(cost.quota),
                writes: sum.writes.saturating_add(cost.writes),
            }
        });
        loop {
            let mut held = match self.ledger.spend(each, count, &self.limits).await? {
                Ok(admitted) => return Ok(admitted),
                Err(held) => held,
            };
            if count > 1 && held.by == HeldBy::Writes {
                // Whoever has many to do lets some more flow in: taking them one by one would be a write each.
                let more = GATHERED_MILLIS.min(self.patience.wait_millis_max);
                held.wait_millis = held.wait_millis.max(more);
            }
            if !self.waits(held) {
                let (by, wait_millis) = (held.by.word(), held.wait_millis);
                tracing::info!(by, wait_millis, metric = "paced", "not now");
                return Err(GateError::Held(held));
            }
            tokio::time::sleep(Duration::from_millis(held.wait_millis)).await;
        }
    }

    fn waits(&self, held: Held) -> bool {
        let wait = i64::try_from(held.wait_millis).unwrap_or(i64::MAX);
        held.wait_millis <= self.patience.wait_millis_max
            && self.ledger.clock.now().plus_millis(wait) <= self.patience.until
    }

    /// Gives back what was admitted for calls that were not needed.
    pub async fn give_back(&self, kind: CallKind, count: u32) {
        let ask = kind.cost(count, self.limits.model);
        self.ledger.give_back(ask).await;
    }

    /// Takes note of how the calls of one batch ended. Drive failed if all of them did; where some were answered, it
    /// is there.
    ///
    /// # Errors
    /// As [`Pass::tell`].
    pub async fn tell_all<T>(
        &self,
        kind: CallKind,
        answers: &[Result<T, DriveError>],
    ) -> Result<(), StoreError> {
        let errors = || answers.iter().filter_map(|answer| answer.as_ref().err());
        let is = |wanted: fn(Outcome) -> bool| errors().find(|error| wanted(outcome(error)));
        let limited = is(|outcome| matches!(outcome, Outcome::Limited(_) | Outcome::DailyLimit));
        let answered = is(|outcome| outcome == Outcome::Answered);
        let all_well = answers.iter().any(Result::is_ok);
        for error in errors() {
            report(error, outcome(error));
        }
        match limited.or(answered.filter(|_| !all_well)) {
            Some(error) => self.note(kind, Some(error)).await,
            None if all_well => self.note(kind, None).await,
            None => match errors().next() {
                Some(error) => self.note(kind, Some(error)).await,
                None => Ok(()),
            },
        }
    }

    /// Takes note of how an admitted call ended: with an error, or well.
    ///
    /// # Errors
    /// [`StoreError`] where the table did not take note; what Drive answered stands all the same.
    pub async fn tell(&self, kind: CallKind, error: Option<&DriveError>) -> Result<(), StoreError> {
        if let Some(error) = error {
            report(error, outcome(error));
        }
        self.note(kind, error).await
    }

    async fn note(&self, kind: CallKind, error: Option<&DriveError>) -> Result<(), StoreError> {
        let outcome = error.map_or(Outcome::Answered, outcome);
        let wrote = error.is_none() && matches!(kind, CallKind::Edit);
        let changed = self.ledger.told(outcome, wrote, &self.limits).await?;
        if let Some(pace) = changed {
            match outcome {
                Outcome::Failed if pace.breaker.is_open() => {
                    tracing::error!(
                        metric = "breaker_open",
                        "Drive fails and fails: it is left alone for a while"
                    );
                }
                Outcome::Limited(_) => {
                    let per_minute = pace.writes_per_minute;
                    tracing::warn!(per_minute, metric = "slowed_down", "writes go slower");
                }
                Outcome::Answered | Outcome::DailyLimit | Outcome::Failed => {}
            }
        }
        Ok(())
    }
}

/// Whether asking again soon may be answered.
pub(crate) fn passes(error: &GateError) -> bool {
    let GateError::Drive(error) = error else {
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

/// What an error says about the pace.
fn outcome(error: &DriveError) -> Outcome {
    // What comes before a call is not Drive.
    if error.method().starts_with("secretsmanager.") {
        return Outcome::Answered;
    }
    match error.kind() {
        // A limit of one kind of call (sharing, opening channels) is no limit of the others.
        Kind::RateLimited { .. } if error.limits_one_kind_of_call() => Outcome::Answered,
        Kind::RateLimited { retry_after_millis } => Outcome::Limited(*retry_after_millis),
        Kind::DailyLimit => Outcome::DailyLimit,
        Kind::Transient if error.status().is_some_and(|status| status >= 500) => Outcome::Failed,
        Kind::Unanswered | Kind::NotSent => Outcome::Failed,
        Kind::Transient
        | Kind::CursorLost
        | Kind::AuthLost { .. }
        | Kind::NotFound
        | Kind::AccessDenied { .. }
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_) => Outcome::Answered,
    }
}

fn report(error: &DriveError, outcome: Outcome) {
    if let Some(reason) = error.unfamiliar_reason() {
        tracing::warn!(
            reason,
            method = error.method(),
            metric = "unknown_reason",
            "Drive gave a reason that this build does not know"
        );
    }
    match outcome {
        Outcome::Limited(_) => {
            let error = telemetry::chain(error);
            tracing::warn!(error, metric = "rate_limited", "too many calls");
        }
        Outcome::DailyLimit => {
            let error = telemetry::chain(error);
            tracing::error!(error, metric = "daily_limit", "the day's quota is used up");
        }
        Outcome::Failed => {
            let error = telemetry::chain(error);
            tracing::warn!(error, metric = "drive_failed", "Drive failed");
        }
        Outcome::Answered => {}
    }
}
