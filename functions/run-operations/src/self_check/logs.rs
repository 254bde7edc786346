//! Checks logs and their channels: whether each log is read in time and has a working channel where
//! one is possible.

use domain::{ChannelId, InconsistencyKind, Timestamp};
use store::{ChannelState, Indexed, Log, LogPosition, Subject};
use worker::WorkError;

use super::{FORGOTTEN_MILLIS, SelfCheck};

/// The time after which a due log counts as forgotten, in milliseconds. Due logs are polled within
/// a minute or two.
const POLL_LATE_MILLIS: i64 = 5 * 60_000;
/// The time after which a log with a channel counts as behind, in milliseconds. It is polled every
/// 15 minutes, with 20 % of jitter.
const UNREAD_WATCHED_MILLIS: i64 = 28 * 60_000;
/// The same for a log without a channel, which is polled every minute.
const UNREAD_MILLIS: i64 = 12 * 60_000;

/// Returns the time since which a log should have been read; `None` if it was read recently enough.
fn unread(log: &Log, now: Timestamp) -> Option<Timestamp> {
    let forgotten = now.millis_since(log.next_poll_at) > POLL_LATE_MILLIS;
    let allowed_millis = match log.channel {
        Some(_) => UNREAD_WATCHED_MILLIS,
        None => UNREAD_MILLIS,
    };
    let behind = match log.position {
        LogPosition::Following => log
            .listed_from
            .filter(|read| now.millis_since(*read) > allowed_millis),
        LogPosition::New | LogPosition::Listing(_) | LogPosition::Left { .. } => None,
    };
    behind.or_else(|| forgotten.then_some(log.next_poll_at))
}

/// The defect of a log's channel.
enum Lapse {
    /// The channel does not exist or has ended: another must be opened.
    Ended(&'static str),
    /// The channel is not found when it is due.
    Lost(&'static str),
}

impl SelfCheck<'_> {
    pub(super) async fn check_logs(&self, logs: &[Indexed<Log>]) -> Result<(), WorkError> {
        for indexed in logs.iter().filter(|log| self.covers(&log.value.log)) {
            self.check_polling(indexed).await?;
            self.check_channel(&indexed.value).await?;
        }
        Ok(())
    }

    async fn check_polling(&self, indexed: &Indexed<Log>) -> Result<(), WorkError> {
        let log = &indexed.value;
        let subject = || Subject::Log(log.log.clone());
        let mut inconsistencies = Vec::new();
        if indexed.index_defect.is_some() {
            let detail = "missing from the due index";
            inconsistencies.push(self.inconsistency(
                InconsistencyKind::LogNotDue,
                subject(),
                detail,
            ));
        }
        if let Some(since) = unread(log, self.now)
            && !self.is_throttled().await?
        {
            let detail = format!("not read since {since}");
            inconsistencies.push(self.inconsistency(
                InconsistencyKind::LogNotRead,
                subject(),
                detail,
            ));
        }
        for inconsistency in &inconsistencies {
            self.record(inconsistency).await?;
        }
        if inconsistencies.is_empty() || self.operation.is_dry_run() {
            return Ok(());
        }
        let (deps, key) = (self.deps, self.key());
        if indexed.index_defect.is_some() {
            let next = log.next_poll_at.max(self.now);
            deps.store.postpone_poll(key, &log.log, next).await?;
        }
        Ok(deps.wakes.log(key, &log.log, self.now).await?)
    }

    /// Returns whether calls to Drive are currently throttled, so that nothing can be read.
    async fn is_throttled(&self) -> Result<bool, WorkError> {
        let rate_limit = self.deps.store.load_rate_limit(self.key()).await?;
        Ok(rate_limit.is_some_and(|rate_limit| rate_limit.rate_limit.is_blocked(self.now)))
    }

    async fn check_channel(&self, log: &Log) -> Result<(), WorkError> {
        let left = matches!(log.position, LogPosition::Left { .. });
        if left || log.cursor.is_none() {
            return Ok(());
        }
        let subject = Subject::Log(log.log.clone());
        let Some(id) = &log.channel else {
            if !self.deps.has_webhook {
                return Ok(());
            }
            let refused = log.watch_again_at.filter(|at| *at > self.now);
            let kind = InconsistencyKind::ChannelMissing;
            return match refused {
                Some(at) => {
                    let failures = log.watch_failures;
                    let detail =
                        format!("Drive rejected a channel {failures} times; next attempt at {at}");
                    self.record_unrepairable(self.inconsistency(kind, subject, detail))
                        .await
                }
                None => {
                    let inconsistency = self.inconsistency(kind, subject, "the log has no channel");
                    self.record(&inconsistency).await?;
                    self.request_channel(log).await
                }
            };
        };
        let Some(lapse) = self.lapse(id).await? else {
            return Ok(());
        };
        // The channel may have been replaced while the log was checked.
        let current = self.deps.store.load_log(self.key(), &log.log).await?;
        if current.is_none_or(|current| current.channel.as_ref() != Some(id)) {
            return Ok(());
        }
        let (Lapse::Ended(detail) | Lapse::Lost(detail)) = lapse;
        let inconsistency = self.inconsistency(InconsistencyKind::ChannelLapsed, subject, detail);
        self.record(&inconsistency).await?;
        if self.operation.is_dry_run() {
            return Ok(());
        }
        match lapse {
            Lapse::Ended(_) => self.replace(log, id).await,
            // The sweep processes it.
            Lapse::Lost(_) => {
                self.deps.store.postpone_channel(id, self.now).await?;
                Ok(())
            }
        }
    }

    async fn lapse(&self, id: &ChannelId) -> Result<Option<Lapse>, WorkError> {
        let Some(indexed) = self.deps.store.load_channel_with_index_state(id).await? else {
            return Ok(Some(Lapse::Ended("the channel does not exist")));
        };
        let channel = &indexed.value;
        let ended = match channel.state {
            ChannelState::Pending | ChannelState::Active => channel.expires_at <= self.now,
            ChannelState::Replaced => true,
        };
        Ok(if ended {
            Some(Lapse::Ended("the channel has ended"))
        } else if indexed.index_defect.is_some() {
            Some(Lapse::Lost("missing from the due index"))
        } else if self.now.millis_since(channel.due_at) > FORGOTTEN_MILLIS {
            Some(Lapse::Lost("not processed since it was due"))
        } else {
            None
        })
    }

    /// Detaches and stops the channel, and requests another.
    async fn replace(&self, log: &Log, id: &ChannelId) -> Result<(), WorkError> {
        let (store, key) = (&self.deps.store, self.key());
        store.replace_channel(id, self.now).await?;
        store.set_channel(key, &log.log, Some(id), None).await?;
        self.request_channel(log).await
    }

    /// Makes the log due now, so that the sweep opens a channel, unless this is a dry run.
    async fn request_channel(&self, log: &Log) -> Result<(), WorkError> {
        if !self.operation.is_dry_run() {
            let store = &self.deps.store;
            store.postpone_poll(self.key(), &log.log, self.now).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, ConnectionKey, LogId, TenantId};

    use super::*;

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    /// A log read to its end at minute 100 and due again a minute later.
    fn log() -> Log {
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c1").unwrap(),
        };
        Log {
            position: LogPosition::Following,
            listed_from: Some(minutes(100)),
            ..Log::new(key, LogId::user(), minutes(101))
        }
    }

    #[test]
    fn a_log_is_unread_if_it_is_long_overdue_or_behind() {
        assert_eq!(unread(&log(), minutes(106)), None);
        assert_eq!(unread(&log(), minutes(107)), Some(minutes(101)));
        // The log is polled but does not reach its end.
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
    fn a_left_or_listing_log_is_unread_only_if_it_is_long_overdue() {
        let left = Log {
            position: LogPosition::Left { at: minutes(1) },
            listed_from: None,
            ..log()
        };
        assert_eq!(unread(&left, minutes(106)), None);
        assert_eq!(unread(&left, minutes(107)), Some(minutes(101)));
    }
}
