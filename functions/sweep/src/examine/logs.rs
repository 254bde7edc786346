//! Logs and their channels: is each log read when it is to be, and does Drive tell of it where it can?

use domain::{ChannelId, FlawKind, Timestamp};
use runtime::telemetry;
use store::{ChannelState, Flaw, Kept, Log, Position, Subject};

use super::{Examination, FORGOTTEN_MILLIS};
use crate::{Stopped, channels};

/// A log that is due is polled within a minute or two. One that was not for so long is forgotten, in milliseconds.
const POLL_LATE_MILLIS: i64 = 5 * 60_000;
/// What was not read to its end for so long is behind, in milliseconds: a log with a channel is polled every 15
/// minutes, with 20 % of jitter.
const UNREAD_WATCHED_MILLIS: i64 = 28 * 60_000;
/// The same of a log without a channel, which is polled every minute.
const UNREAD_MILLIS: i64 = 12 * 60_000;

/// Since when a log should have been read; `None` where it was not long ago.
fn unread(log: &Log, now: Timestamp) -> Option<Timestamp> {
    let forgotten = now.millis_since(log.next_poll_at) > POLL_LATE_MILLIS;
    let allowed_millis = match log.channel {
        Some(_) => UNREAD_WATCHED_MILLIS,
        None => UNREAD_MILLIS,
    };
    let behind = match log.position {
        Position::Following => log
            .listed_from
            .filter(|read| now.millis_since(*read) > allowed_millis),
        Position::New | Position::Listing(_) | Position::Left { .. } => None,
    };
    behind.or_else(|| forgotten.then_some(log.next_poll_at))
}

/// What is wrong with a channel that a log has.
enum Lapse {
    /// There is none, or Drive has let it go: another must be opened.
    Ended(&'static str),
    /// Nobody finds it when it is due.
    Lost(&'static str),
}

impl Examination<'_> {
    pub(super) async fn look_at_logs(&self, logs: &[Kept<Log>]) -> Result<(), Stopped> {
        for kept in logs.iter().filter(|log| self.covers(&log.value.log)) {
            self.look_at_polls(kept).await?;
            self.look_at_channel(&kept.value).await?;
        }
        Ok(())
    }

    async fn look_at_polls(&self, kept: &Kept<Log>) -> Result<(), Stopped> {
        let log = &kept.value;
        let subject = || Subject::Log(log.log.clone());
        let mut flaws = Vec::new();
        if kept.misplaced.is_some() {
            let detail = "no index finds it when it is due";
            flaws.push(self.flaw(FlawKind::LogNotDue, subject(), detail));
        }
        if let Some(since) = unread(log, self.now)
            && !self.is_held().await?
        {
            let detail = format!("not read since {since}");
            flaws.push(self.flaw(FlawKind::LogNotRead, subject(), detail));
        }
        for flaw in &flaws {
            self.note(flaw).await?;
        }
        if flaws.is_empty() || self.operation.dry_run {
            return Ok(());
        }
        let (deps, key) = (self.deps, self.key());
        if kept.misplaced.is_some() {
            let next = log.next_poll_at.max(self.now);
            deps.store.postpone_poll(key, &log.log, next).await?;
        }
        Ok(deps.wakes.log(key, &log.log, self.now).await?)
    }

    /// Whether Drive is left alone, so that nothing can be read.
    async fn is_held(&self) -> Result<bool, Stopped> {
        let paced = self.deps.store.load_pace(self.key()).await?;
        Ok(paced.is_some_and(|paced| paced.pace.is_held(self.now)))
    }

    async fn look_at_channel(&self, log: &Log) -> Result<(), Stopped> {
        let left = matches!(log.position, Position::Left { .. });
        if left || log.cursor.is_none() {
            return Ok(());
        }
        let subject = Subject::Log(log.log.clone());
        let Some(id) = &log.channel else {
            if self.deps.webhook_url.is_none() {
                return Ok(());
            }
            let refused = log.watch_again_at.filter(|at| *at > self.now);
            let kind = FlawKind::ChannelMissing;
            return match refused {
                Some(at) => {
                    let failures = log.watch_failures;
                    let detail = format!("Drive refused one {failures} times; asked again at {at}");
                    self.report(self.flaw(kind, subject, detail)).await
                }
                None => {
                    let flaw = self.flaw(kind, subject, "the log has none");
                    self.note(&flaw).await?;
                    self.put_right(flaw, async || self.open(log).await).await
                }
            };
        };
        let Some(lapse) = self.lapse(id).await? else {
            return Ok(());
        };
        // A channel is replaced while the log is looked at, once in a while.
        let again = self.deps.store.load_log(self.key(), &log.log).await?;
        if again.is_none_or(|again| again.channel.as_ref() != Some(id)) {
            return Ok(());
        }
        let (Lapse::Ended(detail) | Lapse::Lost(detail)) = lapse;
        let flaw = self.flaw(FlawKind::ChannelLapsed, subject, detail);
        self.note(&flaw).await?;
        let renew = async || match lapse {
            Lapse::Ended(_) => Box::pin(self.replace(log, id)).await,
            Lapse::Lost(_) => Box::pin(self.find_again(id)).await,
        };
        self.put_right(flaw, renew).await
    }

    async fn lapse(&self, id: &ChannelId) -> Result<Option<Lapse>, Stopped> {
        let Some(kept) = self.deps.store.load_kept_channel(id).await? else {
            return Ok(Some(Lapse::Ended("there is no such channel")));
        };
        let channel = &kept.value;
        let ended = match channel.state {
            ChannelState::Pending | ChannelState::Active => channel.expires_at <= self.now,
            ChannelState::Replaced => true,
        };
        Ok(if ended {
            Some(Lapse::Ended("it has ended"))
        } else if kept.misplaced.is_some() {
            Some(Lapse::Lost("no index finds it when it is due"))
        } else if self.now.millis_since(channel.due_at) > FORGOTTEN_MILLIS {
            Some(Lapse::Lost("nobody has looked at it since it was due"))
        } else {
            None
        })
    }

    /// The log lets go of the channel, which is stopped as far as that is possible, and another is opened.
    async fn replace(&self, log: &Log, id: &ChannelId) -> Result<(), Stopped> {
        let (store, key) = (&self.deps.store, self.key());
        store.replace_channel(id, self.now).await?;
        store.set_channel(key, &log.log, Some(id), None).await?;
        store.postpone_poll(key, &log.log, self.now).await?;
        let Some(log) = store.load_log(key, &log.log).await? else {
            return Ok(());
        };
        if log.channel.is_some() || log.watch_again_at.is_some_and(|at| at > self.now) {
            return Ok(());
        }
        self.open(&log).await
    }

    async fn open(&self, log: &Log) -> Result<(), Stopped> {
        Box::pin(channels::open(self.connection, log, self.deps)).await
    }

    /// The channel is due now: it is renewed, or its time is set anew.
    async fn find_again(&self, id: &ChannelId) -> Result<(), Stopped> {
        self.deps.store.postpone_channel(id, self.now).await?;
        Box::pin(channels::look_at(id, self.deps)).await
    }

    /// Puts a channel right, unless nothing is to be changed. What Drive refuses is told, and is no reason to stop: it
    /// is asked again when the log is polled.
    async fn put_right(
        &self,
        flaw: Flaw,
        put_right: impl AsyncFnOnce() -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if self.operation.dry_run {
            return Ok(());
        }
        match put_right().await {
            Err(Stopped::Gate(error)) => {
                let error = telemetry::chain(&*error);
                let detail = format!("{}; {error}", flaw.detail);
                self.report(Flaw { detail, ..flaw }).await
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, ConnectionKey, LogId, TenantId};

    use super::*;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    /// Read to its end at minute 100, and due again a minute after.
    fn log() -> Log {
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c1").unwrap(),
        };
        Log {
            position: Position::Following,
            listed_from: Some(minutes(100)),
            ..Log::new(key, LogId::user(), minutes(101))
        }
    }

    #[test]
    fn a_log_is_unread_once_it_was_due_for_long_or_is_behind() {
        assert_eq!(unread(&log(), minutes(106)), None);
        assert_eq!(unread(&log(), minutes(107)), Some(minutes(101)));
        // It is polled, and does not get to its end.
        let polled = Log {
            next_poll_at: minutes(200),
            ..log()
        };
        assert_eq!(unread(&polled, minutes(112)), None);
        assert_eq!(unread(&polled, minutes(113)), Some(minutes(100)));
        let watched = Log {
            channel: Some(ChannelId::fresh(1, 2)),
            ..polled
        };
        assert_eq!(unread(&watched, minutes(128)), None);
        assert_eq!(unread(&watched, minutes(129)), Some(minutes(100)));
    }

    #[test]
    fn a_log_that_was_left_or_is_being_listed_is_only_to_be_looked_at_when_it_is_due() {
        let left = Log {
            position: Position::Left { at: minutes(1) },
            listed_from: None,
            ..log()
        };
        assert_eq!(unread(&left, minutes(106)), None);
        assert_eq!(unread(&left, minutes(107)), Some(minutes(101)));
    }
}
