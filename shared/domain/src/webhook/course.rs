//! The course of an endpoint's deliveries, as a state machine: who may deliver now, what an answer
//! means, and when somebody looks at the endpoint next although nothing wakes it.
//!
//! A worker claims the endpoint, reads the log of one connection, posts, and then, if the delivery
//! was accepted, moves the endpoint's place in that log; last it settles the endpoint. Each of
//! these is one conditional write, and a crash between any two of them leads to the same delivery
//! again.

use std::collections::BTreeSet;

use super::retries::{FAILING_MILLIS_MAX, wait_millis};
use super::{DisabledReason, Endpoint, EndpointState, Telling};
use crate::event::EventCursor;
use crate::rate_limit::Jitter;
use crate::{ConnectionId, Timestamp};

/// How long a worker may deliver without saying that it still does, in milliseconds: longer than a
/// function runs.
pub const LEASE_MILLIS: i64 = 120_000;
/// The interval at which the logs of an endpoint are looked at although nothing wakes it, in
/// milliseconds.
pub const LOOK_MILLIS: i64 = 600_000;
/// The time after which a new endpoint is looked at for the first time, in milliseconds: those who
/// wake endpoints may have read shortly before that the tenant has none.
pub const FIRST_LOOK_MILLIS: i64 = 5_000;

/// The interval at which the index of due items is read, in milliseconds. For an attempt that is
/// due before, the wake stays in its queue.
pub const SOON_MILLIS: i64 = 60_000;

/// The course of an endpoint's deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Course {
    /// The worker that delivers.
    pub lease: Option<Lease>,
    /// The delivery that was not accepted so far.
    pub trouble: Option<Trouble>,
    /// The connection that was served last.
    pub last: Option<ConnectionId>,
    /// When its logs are looked at although nothing wakes it.
    pub look_at: Timestamp,
    /// A test delivery that a person asked for.
    pub test: Option<OwedTest>,
}

/// Identifies a worker that delivers. Random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken(pub u64);

/// The right to deliver to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The worker.
    pub token: LeaseToken,
    /// The time from which another one may take it.
    pub until: Timestamp,
}

/// A delivery that was not accepted so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// The connection that it tells of.
    pub connection: ConnectionId,
    /// The place that it would reach: a further attempt contains the same events. `None` if it
    /// tells that events are missing, of a log that is empty.
    pub head: Option<EventCursor>,
    /// The attempts that failed.
    pub failures: u32,
    /// When the first of them was.
    pub since: Timestamp,
    /// When the next one is.
    pub next_at: Timestamp,
}

/// A test delivery that a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwedTest {
    /// Identifies it. Random.
    pub id: u64,
    /// When it was asked for.
    pub at: Timestamp,
}

/// The place of an endpoint in the log of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Everything up to this event was accepted; `None` before the first.
    pub after: Option<EventCursor>,
    /// How often it was set back. A delivery that began before that moves nothing.
    pub replays: u32,
}

/// What an endpoint is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// A test delivery.
    Test(OwedTest),
    /// To say in the logs after this connection that it was disabled.
    Tell(Option<ConnectionId>),
    /// What its connections have for it.
    Deliver,
    /// Nothing before this time.
    Wait(Timestamp),
    /// Nothing.
    Nothing,
}

/// The outcome of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Granted, once this is stored.
    Granted(Box<Endpoint>),
    /// Another worker delivers. Whatever woke this one must wake one again at this time.
    Busy(Timestamp),
    /// There is nothing to do before this time. The index of due items has it.
    Wait(Timestamp),
    /// There is nothing to do.
    Nothing,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 2xx.
    Accepted,
    /// 410.
    Gone,
    /// Anything else, a redirect included, or no answer in time, or an address that must not be
    /// connected to.
    Failed {
        /// The wait that the answer asks for, in milliseconds.
        retry_after_millis: Option<i64>,
    },
}

/// Whether a worker that ends leaves something to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rest {
    /// It has seen the end of all logs.
    Nothing,
    /// It has not.
    More,
}

/// How far the logs say that an endpoint was disabled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Told {
    /// Up to this connection.
    UpTo(ConnectionId),
    /// All do.
    All,
}

impl Course {
    /// The course of a new endpoint.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            lease: None,
            trouble: None,
            last: None,
            look_at: now.plus_millis(FIRST_LOOK_MILLIS),
            test: None,
        }
    }
}

impl Answer {
    /// Returns what an answer of this status means. `retry_after_millis` is what its header
    /// `Retry-After` says, which counts with 429 and 503 alone.
    #[must_use]
    pub fn of_status(status: u16, retry_after_millis: Option<i64>) -> Self {
        match status {
            200..=299 => Self::Accepted,
            410 => Self::Gone,
            429 | 503 => Self::Failed { retry_after_millis },
            _ => Self::FAILED,
        }
    }

    /// The answer is none, or says nothing of a wait.
    pub const FAILED: Self = Self::Failed {
        retry_after_millis: None,
    };

    /// Returns whether the endpoint's place moves.
    #[must_use]
    pub fn moves_the_place(self) -> bool {
        self == Self::Accepted
    }
}

/// Returns which connection is served next, of those that have something for an endpoint: the one
/// whose delivery was not accepted so far, or else the one that follows the last in the order of
/// their ids, so that none waits for a busy one.
#[must_use]
pub fn next_connection<'a>(
    trouble: Option<&Trouble>,
    last: Option<&ConnectionId>,
    ready: &'a BTreeSet<ConnectionId>,
) -> Option<&'a ConnectionId> {
    let again = trouble.and_then(|trouble| ready.get(&trouble.connection));
    let after = || ready.iter().find(|id| last.is_none_or(|last| *id > last));
    again.or_else(after).or_else(|| ready.first())
}

impl Endpoint {
    /// Returns what it is owed now.
    #[must_use]
    pub fn duty(&self, now: Timestamp) -> Duty {
        if let Some(test) = self.course.test {
            return Duty::Test(test);
        }
        match (&self.state, &self.course.trouble) {
            (EndpointState::Disabled { telling, .. }, _) => match telling {
                Telling::Owed(after) => Duty::Tell(after.clone()),
                Telling::Done => Duty::Nothing,
            },
            (EndpointState::Active, Some(trouble)) if trouble.next_at > now => {
                Duty::Wait(trouble.next_at)
            }
            (EndpointState::Active, _) => Duty::Deliver,
        }
    }

    /// Returns in how many milliseconds a delivery is attempted again, if that is before the index
    /// of due items is read the next time.
    #[must_use]
    pub fn due_soon_millis(&self, now: Timestamp) -> Option<u64> {
        let Duty::Wait(until) = self.duty(now) else {
            return None;
        };
        let millis = until.millis_since(now);
        let millis = (millis < SOON_MILLIS).then_some(millis);
        millis.and_then(|millis| millis.try_into().ok())
    }

    /// Returns when a worker is to look at it although nothing wakes one: its place in the index of
    /// due items. `None` if it is disabled and nothing is owed.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        let Course {
            lease,
            trouble,
            look_at,
            test,
            ..
        } = &self.course;
        let owed = match (&self.state, test, trouble) {
            (_, Some(test), _) => test.at,
            (EndpointState::Disabled { telling, since, .. }, None, _) => match telling {
                Telling::Owed(_) => *since,
                Telling::Done => return None,
            },
            (EndpointState::Active, None, Some(trouble)) => trouble.next_at,
            (EndpointState::Active, None, None) => *look_at,
        };
        Some(lease.map_or(owed, |lease| lease.until))
    }

    /// Claims it for the worker with this token: of all workers, one delivers to it at a time. A
    /// worker that claims again keeps it for longer.
    #[must_use]
    pub fn claim(&self, token: LeaseToken, now: Timestamp) -> Claim {
        let other = self.course.lease.filter(|lease| lease.token != token);
        if let Some(other) = other.filter(|other| other.until > now) {
            return Claim::Busy(other.until);
        }
        let orphan = self.without_maker(now);
        let owed = orphan.as_ref().unwrap_or(self);
        match owed.duty(now) {
            Duty::Wait(until) => Claim::Wait(until),
            Duty::Nothing => Claim::Nothing,
            Duty::Test(_) | Duty::Tell(_) | Duty::Deliver => {
                let mut claimed = owed.clone();
                claimed.course.lease = Some(Lease {
                    token,
                    until: now.plus_millis(LEASE_MILLIS),
                });
                claimed.course.look_at = now.plus_millis(LOOK_MILLIS);
                Claim::Granted(Box::new(claimed))
            }
        }
    }

    /// Returns whether the worker with this token has it.
    fn is_held(&self, token: LeaseToken) -> bool {
        self.course.lease.is_some_and(|lease| lease.token == token)
    }

    /// Returns it after an attempt to deliver what reaches `head` in a connection's log. After one
    /// that was accepted the worker goes on; after any other one it has the endpoint no more.
    /// `None` if the worker does not have it any more: another one does, or a person has changed
    /// it, and the answer says nothing of what it is now.
    #[must_use]
    pub fn settled(
        &self,
        token: LeaseToken,
        (connection, head): (&ConnectionId, Option<EventCursor>),
        answer: Answer,
        now: Timestamp,
        jitter: Jitter,
    ) -> Option<Self> {
        if !self.is_held(token) {
            return None;
        }
        let mut after = self.clone();
        let trouble = after.course.trouble.take();
        let retry_after_millis = match answer {
            Answer::Accepted => return Some(after),
            Answer::Gone => {
                after.disable(DisabledReason::Gone, now);
                return Some(after);
            }
            Answer::Failed { retry_after_millis } => retry_after_millis,
        };
        let failures = trouble.as_ref().map_or(0, |trouble| trouble.failures) + 1;
        let since = trouble.map_or(now, |trouble| trouble.since);
        let wait = wait_millis(failures, retry_after_millis, jitter);
        match wait.filter(|_| now.millis_since(since) < FAILING_MILLIS_MAX) {
            Some(wait) => {
                after.course.lease = None;
                after.course.trouble = Some(Trouble {
                    connection: connection.clone(),
                    head,
                    failures,
                    since,
                    next_at: now.plus_millis(wait),
                });
            }
            None => after.disable(DisabledReason::Failing, now),
        }
        Some(after)
    }

    /// Returns it after the worker has ended, having served this connection last. `None` as
    /// [`Endpoint::settled`].
    #[must_use]
    pub fn released(
        &self,
        token: LeaseToken,
        last: Option<&ConnectionId>,
        rest: Rest,
        now: Timestamp,
    ) -> Option<Self> {
        if !self.is_held(token) {
            return None;
        }
        let mut after = self.clone();
        after.course.lease = None;
        after.course.last = last.cloned().or(after.course.last);
        match rest {
            // What was not accepted is not to be delivered any more. A look that was asked for
            // meanwhile stays.
            Rest::Nothing => after.course.trouble = None,
            Rest::More => after.course.look_at = now,
        }
        Some(after)
    }

    /// Returns it after the logs up to a connection say that it was disabled, or all do. `None` as
    /// [`Endpoint::settled`].
    #[must_use]
    pub fn told(&self, token: LeaseToken, told: Told) -> Option<Self> {
        let mut after = self.clone();
        match &mut after.state {
            EndpointState::Disabled { telling, .. } if self.is_held(token) => {
                *telling = match told {
                    Told::UpTo(connection) => Telling::Owed(Some(connection)),
                    Told::All => Telling::Done,
                };
                Some(after)
            }
            EndpointState::Disabled { .. } | EndpointState::Active => None,
        }
    }

    /// Returns it after its test delivery was attempted, whatever came of it. `None` as
    /// [`Endpoint::settled`].
    #[must_use]
    pub fn tested(&self, token: LeaseToken, test: OwedTest) -> Option<Self> {
        if !self.is_held(token) || self.course.test != Some(test) {
            return None;
        }
        let mut after = self.clone();
        after.course.test = None;
        Some(after)
    }

    /// Disables it for a reason that nobody knows yet.
    pub(super) fn disable(&mut self, reason: DisabledReason, now: Timestamp) {
        self.state = EndpointState::Disabled {
            reason,
            since: now,
            telling: Telling::Owed(None),
        };
        self.course.lease = None;
        self.course.trouble = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::NOW;
    use crate::webhook::changes::tests::endpoint;

    #[test]
    fn a_wake_is_kept_for_an_attempt_that_is_due_before_the_index_is_read() {
        let mut endpoint = endpoint("ann");
        assert_eq!(endpoint.due_soon_millis(NOW), None);
        for (wait, soon) in [
            (5_000, Some(5_000)),
            (SOON_MILLIS - 1, Some(59_999)),
            (SOON_MILLIS, None),
            (300_000, None),
            (0, None),
        ] {
            endpoint.course.trouble = Some(Trouble {
                connection: ConnectionId::parse("c_1").unwrap(),
                head: None,
                failures: 1,
                since: NOW,
                next_at: NOW.plus_millis(wait),
            });
            assert_eq!(endpoint.due_soon_millis(NOW), soon, "{wait}");
        }
    }
}
