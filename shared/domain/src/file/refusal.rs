//! The writes that Drive refused: what each kind of refusal means, and when it is tried again.

use std::collections::BTreeMap;

use crate::file::transition_builder::TransitionBuilder;
use crate::rate_limit::growing_wait_millis;
use crate::{Context, DriveVersion, Field, FileRecord, Jitter, Timestamp, Transition, Value};

/// The reason why a write to Drive did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Another change came first (412). The write did not happen, and nothing is at fault.
    Stale,
    /// Drive limits the rate of calls. The write did not happen, and the file is not at fault.
    Busy,
    /// Drive refuses this kind of write for a while, which says nothing about the file or other
    /// kinds of writes. The write did not happen.
    Later {
        /// The minimum wait before the next attempt, in milliseconds. A random backoff is added.
        wait_millis: i64,
    },
    /// The call was throttled locally: nothing was sent, and this does not count as an attempt.
    Throttled {
        /// The minimum wait, in milliseconds. A random part of up to a second is added.
        wait_millis: i64,
    },
    /// Drive will never accept the write, for this reason: the value itself is not valid.
    Permanent(String),
    /// Drive does not accept the write now, for a reason that can pass (a quota, a right, a
    /// policy). The write did not happen. It is shown as failed, and tried again at intervals that
    /// grow to a day.
    Passing(String),
    /// Drive did not accept the write, for a reason that is not believed or not understood yet. The
    /// write did not happen. It stays owed, and counts as [`Refusal::Passing`] once the reason was
    /// the same for a while.
    Doubted {
        /// Drive's reason.
        reason: String,
        /// The time after which it is believed, in milliseconds.
        believed_after_millis: i64,
    },
    /// There was no answer, or one that says nothing about the outcome. The write may have
    /// happened. No number of such answers makes the edit a failed one.
    Unknown(String),
}

/// The latest reason that keeps a file's writes from succeeding, as long as it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason.
    pub reason: String,
    /// The time of the first attempt that met it.
    pub since: Timestamp,
    /// The number of attempts that met it, one after the other.
    pub times: u32,
    /// The version that all of them were conditional on.
    pub against: DriveVersion,
}

/// The next attempt at a field that failed for a reason that can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// The time of the attempt.
    pub at: Timestamp,
    /// The number of failures so far.
    pub times: u32,
}

/// The reason of a write whose condition Drive keeps refusing although it is current.
pub const FALSE_CONDITION: &str = "conditionNotMet";
/// A refused condition that is current is reported to a person after this many times ...
const FALSE_CONDITIONS_MAX: u32 = 8;
/// ... and not before this time, in milliseconds.
const FALSE_CONDITION_MILLIS: i64 = 600_000;
/// A doubted reason is believed after this many attempts at least.
const DOUBTED_TIMES_MIN: u32 = 3;

impl Trouble {
    /// Returns whether Drive refused a condition that was current: the file was read again, and
    /// still had the version that the condition named.
    #[must_use]
    pub fn is_false_condition(&self) -> bool {
        self.reason == FALSE_CONDITION && self.times > 1
    }

    fn lasts(&self, times: u32, millis: i64, now: Timestamp) -> bool {
        self.times >= times && now.millis_since(self.since) >= millis
    }
}

impl FileRecord {
    /// Records that Drive did not list the file's permissions. They stay unknown, and are asked for
    /// again at intervals that grow to a day.
    #[must_use]
    pub fn permissions_unlisted(&self, context: Context<'_>, jitter: Jitter) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        builder.ask_for_permissions_later(jitter);
        builder.finish()
    }

    /// Makes the next attempt at what failed for a reason that can pass due now, after something
    /// has changed that may end it. What failed for good, and what waits for another reason, is
    /// left alone.
    #[must_use]
    pub fn hasten(&self, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        builder.hasten();
        builder.finish()
    }
}

impl TransitionBuilder<'_> {
    /// See [`FileRecord::permissions_unlisted`].
    pub(crate) fn ask_for_permissions_later(&mut self, jitter: Jitter) {
        let before = self.record.unlisted.map_or(0, |again| again.times);
        let times = before.saturating_add(1);
        let wait_millis = growing_wait_millis(times, jitter);
        let at = self.context.now.plus_millis(wait_millis);
        self.record.unlisted = Some(Again { at, times });
    }

    /// Postpones the listing of the permissions if it is due: the file was read without them.
    pub(crate) fn postpone_permissions(&mut self, jitter: Jitter) {
        let due = self.record.unlisted_due();
        if due.is_some_and(|at| at <= self.context.now) {
            self.ask_for_permissions_later(jitter);
        }
    }

    /// See [`FileRecord::hasten`].
    pub(crate) fn hasten(&mut self) {
        for again in self.record.push.again.values_mut() {
            again.at = again.at.min(self.context.now);
        }
    }

    /// Takes up again what failed for a reason that can pass, as far as its time has come.
    pub(crate) fn take_up_failed(&mut self) {
        let now = self.context.now;
        let push = &mut self.record.push;
        for (field, again) in &push.again {
            if again.at <= now {
                push.failed.remove(field);
            }
        }
    }

    /// Counts an attempt that met this trouble, and returns it with its history.
    pub(crate) fn meet_trouble(&mut self, reason: &str, against: DriveVersion) -> Trouble {
        let now = self.context.now;
        let same = |met: &Trouble| met.reason == reason && met.against == against;
        let before = self.record.push.trouble.take().filter(same);
        let (since, times) = before.map_or((now, 0), |met| (met.since, met.times));
        let trouble = Trouble {
            reason: reason.to_owned(),
            since,
            times: times.saturating_add(1),
            against,
        };
        self.record.push.trouble = Some(trouble.clone());
        trouble
    }

    /// Records that Drive refused a condition. If it names the version that Drive still has, the
    /// refusal is a false one; after many of them a person is asked.
    pub(crate) fn meet_stale(
        &mut self,
        tried: &BTreeMap<Field, Value>,
        against: DriveVersion,
    ) -> bool {
        let trouble = self.meet_trouble(FALSE_CONDITION, against);
        let asks = trouble.lasts(
            FALSE_CONDITIONS_MAX,
            FALSE_CONDITION_MILLIS,
            self.context.now,
        );
        if asks {
            self.give_up(tried, FALSE_CONDITION);
        }
        asks
    }

    /// Records a refusal for a reason that is not believed yet, and returns whether it is now.
    pub(crate) fn meet_doubted(
        &mut self,
        tried: &BTreeMap<Field, Value>,
        reason: &str,
        believed_after_millis: i64,
        jitter: Jitter,
    ) -> bool {
        let trouble = self.meet_trouble(reason, DriveVersion(0));
        let believed = trouble.lasts(DOUBTED_TIMES_MIN, believed_after_millis, self.context.now);
        if believed {
            self.give_up_for_now(tried, reason, jitter);
        }
        believed
    }

    /// Gives up the fields that still have the value that was tried, until they are edited or
    /// retried. A newer edit has not been tried yet.
    pub(crate) fn give_up(&mut self, tried: &BTreeMap<Field, Value>, reason: &str) {
        for field in self.still_owed(tried) {
            self.record.push.again.remove(&field);
            self.record.push.failed.insert(field, reason.to_owned());
        }
        self.record.push.failures = 0;
    }

    /// Gives the fields up like [`TransitionBuilder::give_up`], until a later time.
    pub(crate) fn give_up_for_now(
        &mut self,
        tried: &BTreeMap<Field, Value>,
        reason: &str,
        jitter: Jitter,
    ) {
        let now = self.context.now;
        for field in self.still_owed(tried) {
            let push = &mut self.record.push;
            let before = push.again.get(&field).map_or(0, |again| again.times);
            let times = before.saturating_add(1);
            let at = now.plus_millis(growing_wait_millis(times, jitter));
            push.again.insert(field.clone(), Again { at, times });
            push.failed.insert(field, reason.to_owned());
        }
        self.record.push.failures = 0;
    }

    fn still_owed(&self, tried: &BTreeMap<Field, Value>) -> Vec<Field> {
        // A file that can't be created has no fields that could fail individually.
        let whole = |field: &Field| !self.record.is_creating() || *field == Field::Existence;
        let owed = |(field, value): &(&Field, &Value)| {
            let sides = self.record.sides(field);
            whole(field) && sides.owed() && sides.app == **value
        };
        let owed = tried.iter().filter(owed);
        owed.map(|(field, _)| field.clone()).collect()
    }
}
