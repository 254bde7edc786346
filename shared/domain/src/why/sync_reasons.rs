//! The reasons of a connection, which are also those of each of its files.

use super::words::{self, moment, next_try, number_of, quoted, since, wait};
use super::{AttentionCounts, LogFacts, LogReading, Reason, ReasonKind, SyncFacts, SyncState, Why};
use crate::operation::End;
use crate::rate_limit::{CallKind, CircuitBreaker, ThrottledBy, WriteKind};
use crate::{LogId, Operation, Timestamp};

/// Returns why a connection is as it is.
#[must_use]
pub fn why_connection(counts: AttentionCounts, sync: &SyncFacts<'_>) -> Why {
    let every_write = [WriteKind::Edit, WriteKind::Upload, WriteKind::Share];
    let owes = counts.owed > 0;
    let mut reasons = counted(counts);
    reasons.extend(sync.hindrances(if owes { &every_write } else { &[] }));
    if sync.owed_held {
        reasons.push(owed_held());
    }
    reasons.extend(sync.awaits_confirmation());
    reasons.extend(sync.notes());
    reasons.extend(sync.operation.map(latest));
    Why::of(reasons, || {
        let read_at = sync.read_at();
        let read = read_at.map(|at| format!(": its changes were read at {}", moment(at)));
        let sentence = format!(
            "The connection is in step with Drive{}.",
            read.unwrap_or_default()
        );
        Reason::new(ReasonKind::InStep, sentence)
    })
}

/// Returns the reasons that are about several files.
fn counted(counts: AttentionCounts) -> Vec<Reason> {
    let files = |count| number_of(count, "file", "files");
    let all = [
        (
            counts.conflicts,
            ReasonKind::Conflict,
            format!(
                "{} for a decision.",
                number_of(counts.conflicts, "conflict waits", "conflicts wait")
            ),
            Some("Decide: GET .../conflicts, POST .../conflicts/{id}/resolution."),
        ),
        (
            counts.refused,
            ReasonKind::EditRefused,
            format!("Drive refuses edits of {}.", files(counts.refused)),
            Some(
                "Edit, retry or cancel them: GET .../intents?status=failed names each reason, and \
                 which are tried again by themselves.",
            ),
        ),
        (
            counts.parked,
            ReasonKind::Parked,
            format!(
                "{} set aside: the records may be older than Drive's files.",
                number_of(
                    counts.parked,
                    "change from Drive was",
                    "changes from Drive were"
                )
            ),
            Some("Redrive or drop them: GET /v1/dead-letters."),
        ),
        (
            counts.owed,
            ReasonKind::Owed,
            format!("Edits of {} are owed to Drive.", files(counts.owed)),
            None,
        ),
        (
            counts.content,
            ReasonKind::ContentUnavailable,
            format!("The content of {} can't be had.", files(counts.content)),
            Some("It is asked for again by itself, and at once with POST .../sync."),
        ),
    ];
    let some = all.into_iter().filter(|(count, ..)| *count > 0);
    some.map(|(count, kind, sentence, what_to_do)| Reason {
        what_to_do,
        ..Reason::new(kind, sentence).count(count)
    })
    .collect()
}

/// Returns the reason of what is held back after a restoration.
pub(super) fn owed_held() -> Reason {
    let sentence = "What is owed to Drive is held back, since the connection was restored.";
    Reason::new(ReasonKind::OwedHeld, sentence).remedy(
        "Cancel what is not wanted any more (POST .../intents/cancel), then POST \
         .../restore/confirm.",
    )
}

impl SyncFacts<'_> {
    /// Returns the time up to which all of its logs were read, as far as they can be.
    #[must_use]
    pub fn read_at(&self) -> Option<Timestamp> {
        let followed = |log: &&LogFacts<'_>| !matches!(log.reading, LogReading::Left { .. });
        let read = self.logs.iter().filter(followed).map(|log| log.read_at);
        read.min().flatten()
    }

    /// Returns what keeps changes from being read, or writes of these kinds from being sent.
    pub(super) fn hindrances(&self, writes: &[WriteKind]) -> Vec<Reason> {
        if let Some(stopped) = self.stopped() {
            return vec![stopped];
        }
        let logs = self.logs.iter().filter_map(|log| self.of_log(log));
        logs.chain(self.turns(writes)).collect()
    }

    /// Returns why nothing is synced at all, if nothing is.
    fn stopped(&self) -> Option<Reason> {
        match self.state {
            SyncState::Active => None,
            SyncState::Deleted => Some(
                Reason::new(
                    ReasonKind::Deleted,
                    "The connection was deleted: nothing is synced.",
                )
                .remedy("POST .../restore restores it, as long as it has not been erased."),
            ),
            SyncState::Paused => Some(
                Reason::new(
                    ReasonKind::Paused,
                    "The connection is paused: nothing is read from Drive or written to it.",
                )
                .remedy("POST .../resume."),
            ),
            SyncState::Suspended { reason, at } => {
                let (cause, remedy) = words::remedy(reason);
                let again = self.logs.iter().map(|log| log.next_poll_at).min();
                let sentence = format!(
                    "The connection is suspended since {}: {cause} ({}){}.",
                    moment(at),
                    quoted(reason),
                    next_try(again, self.now)
                );
                Some(
                    Reason::new(ReasonKind::Suspended, sentence)
                        .since(at)
                        .next_try(again)
                        .detail(reason)
                        .remedy(remedy),
                )
            }
        }
    }

    /// Returns why a log's changes are not read, if they are not.
    fn of_log(&self, log: &LogFacts<'_>) -> Option<Reason> {
        let whose = match *log.log == LogId::user() {
            true => "the user's Drive".to_owned(),
            false => format!("the shared drive {}", quoted(log.log.as_str())),
        };
        match log.reading {
            LogReading::Left { at } => {
                let sentence = format!(
                    "The connection's user has no access to {whose} since {}{}.",
                    moment(at),
                    next_try(Some(log.next_poll_at), self.now)
                );
                let left = Reason::new(ReasonKind::DriveLeft, sentence);
                Some(
                    left.since(at)
                        .next_try(log.next_poll_at)
                        .remedy("Make the user a member of the shared drive again in Drive."),
                )
            }
            LogReading::Listing | LogReading::Following if log.stop.is_some() => {
                let stop = log.stop?;
                let (word, cause) = words::stop(stop.reason);
                let sentence = format!(
                    "The reading of {whose} is stopped since {}: {cause}{}.",
                    moment(stop.since),
                    next_try(Some(stop.until), self.now)
                );
                let stopped = Reason::new(ReasonKind::LogStopped, sentence).since(stop.since);
                Some(
                    stopped
                        .next_try(stop.until)
                        .detail(word)
                        .count(stop.attempts)
                        .remedy("Nothing is lost; POST .../sync tries at once."),
                )
            }
            LogReading::Listing => {
                let operation = self.operation.filter(|one| one.log == *log.log);
                let since = operation.map(|one| one.started_at);
                let sentence = format!(
                    "All files of {whose} are being listed{}; changes are read afterwards.",
                    words::since(since)
                );
                let listing = Reason::new(ReasonKind::Listing, sentence).since(since);
                Some(Reason {
                    operation: operation.map(|one| one.id.clone()),
                    ..listing
                })
            }
            LogReading::Following => None,
        }
    }

    /// Returns for whose turn calls to Drive wait: those of all kinds, and writes of these kinds.
    fn turns(&self, writes: &[WriteKind]) -> Vec<Reason> {
        let Some(state) = self.rate_limit else {
            return Vec::new();
        };
        let now = self.now;
        let mut reasons = Vec::new();
        let mut waits = |kind, cause: String, at: Option<Timestamp>, until: Option<Timestamp>| {
            let sentence = format!("{cause}{}{}.", since(at), next_try(until, now));
            reasons.push(Reason::new(kind, sentence).since(at).next_try(until));
        };
        let ahead = |until: Timestamp| Some(until).filter(|until| *until > now);
        if let Some(until) = ahead(state.blocked_until) {
            let cause = "Drive limits the rate of calls, and asked not to be called";
            waits(
                ReasonKind::DriveAsksToWait,
                cause.to_owned(),
                None,
                Some(until),
            );
        }
        if let Some(until) = opens(state.breaker).and_then(ahead) {
            let cause = "Drive failed several times in a row, and is not called for a while";
            waits(ReasonKind::DriveFails, cause.to_owned(), None, Some(until));
        }
        if writes.is_empty() {
            return reasons;
        }
        if let Some(refused) = state.writes_refused {
            let answer = match refused.status {
                Some(status) => format!("Drive answers {status} to writes"),
                None => "Drive answers no write".to_owned(),
            };
            let until = opens(state.writes_breaker).and_then(ahead);
            waits(
                ReasonKind::WritesRefused,
                answer,
                Some(refused.since),
                until,
            );
        }
        let cost = CallKind::Edit.cost(1, self.limits.model);
        if let Err(throttled) = state.lease(cost, cost, false, self.limits, now) {
            let wait_millis = i64::try_from(throttled.wait_millis).unwrap_or(i64::MAX);
            let until = Some(now.plus_millis(wait_millis));
            match throttled.by {
                ThrottledBy::Quota => waits(
                    ReasonKind::QuotaUsed,
                    "The connection's share of Google's quota is used up for now".to_owned(),
                    None,
                    until,
                ),
                ThrottledBy::Writes => waits(
                    ReasonKind::WritesLimited,
                    format!(
                        "Writes wait for their turn: Drive accepts {} a minute at present",
                        self.limits.bounded(state.writes_per_minute)
                    ),
                    None,
                    until,
                ),
                // Shown above.
                ThrottledBy::Drive | ThrottledBy::Breaker => {}
            }
        }
        for (kind, of, pause) in [
            (WriteKind::Upload, ReasonKind::UploadsPaused, state.uploads),
            (WriteKind::Share, ReasonKind::SharingPaused, state.sharing),
        ] {
            let until = ahead(pause.until).filter(|_| writes.contains(&kind));
            let what = match kind {
                WriteKind::Upload => "uploads",
                WriteKind::Share => "changes of permissions",
                WriteKind::Edit => "edits",
            };
            if until.is_some() {
                waits(
                    of,
                    format!("Drive accepts no more {what} for now"),
                    None,
                    until,
                );
            }
        }
        reasons
    }

    /// Returns the latest operation, if it waits for a person.
    fn awaits_confirmation(&self) -> Option<Reason> {
        let operation = self.operation?;
        let since = operation.awaits_confirmation()?;
        let (would, files, remedy) = match operation.restore() {
            Some(restore) => (
                "set back",
                restore.counts.to_restore,
                "Read the list (GET .../operations/{id}/findings), then confirm or cancel the \
                 operation.",
            ),
            None => (
                "remove the records of",
                operation
                    .comparison()
                    .map_or(0, |found| found.counts.missing_there),
                "Read the list (GET .../operations/{id}/drift), then confirm or cancel the \
                 operation.",
            ),
        };
        let sentence = format!(
            "An operation would {would} {}: it waits for a person since {}.",
            number_of(files, "file", "files"),
            moment(since)
        );
        let waits = Reason::new(ReasonKind::AwaitsConfirmation, sentence);
        Some(Reason {
            operation: Some(operation.id.clone()),
            ..waits.since(since).count(files).remedy(remedy)
        })
    }

    /// Returns how its logs are read, if it is not by notifications.
    pub(super) fn notes(&self) -> Vec<Reason> {
        if self.state != SyncState::Active {
            return Vec::new();
        }
        let asked = |log: &&LogFacts<'_>| !log.has_channel && log.reading == LogReading::Following;
        let note = |log: &LogFacts<'_>| {
            let sentence = format!(
                "There is no push channel, so Drive is asked for changes about every minute: \
                 {}.",
                wait(log.next_poll_at, self.now)
            );
            Reason::new(ReasonKind::NoChannel, sentence).next_try(log.next_poll_at)
        };
        // One says it, however many logs there are: the one that is asked first.
        let first = self
            .logs
            .iter()
            .filter(asked)
            .min_by_key(|log| log.next_poll_at);
        first.map(note).into_iter().collect()
    }
}

/// Returns the end of the time for which a circuit breaker lets no call pass.
fn opens(breaker: CircuitBreaker) -> Option<Timestamp> {
    match breaker {
        CircuitBreaker::Closed { .. } => None,
        CircuitBreaker::Open { until } | CircuitBreaker::HalfOpen { until } => Some(until),
    }
}

/// Returns the latest operation of a connection as a note.
fn latest(operation: &Operation) -> Reason {
    let kind = operation.kind().label().replace('_', " ");
    let at =
        |at: Option<Timestamp>| at.map_or_else(String::new, |at| format!(" at {}", moment(at)));
    let ended = at(operation.finished_at);
    let outcome = match operation.run.end() {
        Some(End::Done) => format!("was done{ended}"),
        Some(End::Cancelled) => format!("was cancelled{ended}"),
        Some(End::Failed { reason }) => format!("failed{ended}: {}", quoted(reason)),
        None => format!(
            "is running since {} ({})",
            moment(operation.started_at),
            operation.state().label().replace('_', " ")
        ),
    };
    let sentence = format!("The latest operation, {kind}, {outcome}.");
    let note = Reason::new(ReasonKind::Operation, sentence).detail(operation.state().label());
    Reason {
        operation: Some(operation.id.clone()),
        ..note.since(operation.finished_at.or(Some(operation.started_at)))
    }
}
