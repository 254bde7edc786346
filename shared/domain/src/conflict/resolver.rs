//! A resolver of the tenant's own: a webhook endpoint that is asked to decide a conflict.
//!
//! The question is part of the transition that opens a conflict, or moves its sides, so it is
//! stored or not with them. A worker claims it, posts it, and then commits the decision or leaves
//! the conflict to a person; each of these is one conditional write. A crash between two of them
//! leads to the same question again, under the same message id. An answer counts for the sides that
//! it was asked about, and until its time is over. A person may decide all the time.

use crate::labels::labels;
use crate::webhook::LeaseToken;
use crate::{
    Choice, ConflictId, ConflictStatus, Context, Decider, EndpointId, FileRecord, OpenConflict,
    Policy, ResolveRefused, Timestamp, Transition,
};

/// The longest time that a resolver may be given, in seconds: a day.
pub const SECONDS_MAX: u32 = 86_400;
/// How long a worker may take to ask, in milliseconds: longer than a request and what is written
/// afterwards.
const ASK_LEASE_MILLIS: i64 = 30_000;
/// The longest detail of a reason, in characters.
const DETAIL_CHARS_MAX: usize = 200;
/// The first wait after no connection was made, in milliseconds. Each further one is twice as long.
const RETRY_MILLIS: i64 = 5_000;
/// The longest of these waits, in milliseconds.
const RETRY_MILLIS_MAX: i64 = 5 * 60_000;

/// The resolver that a policy names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolver {
    /// The endpoint that is asked.
    pub endpoint: EndpointId,
    /// The seconds that it has for an answer, from the time at which the conflict opened or moved.
    pub seconds_max: u32,
}

/// What a resolver is asked about one state of a conflict's sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// Who is asked.
    pub resolver: Resolver,
    /// The time at which the sides became what they are.
    pub asked_at: Timestamp,
}

/// A question, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// Where it is.
    pub course: AskCourse,
}

/// Where a question is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AskCourse {
    /// It is to be sent.
    Owed {
        /// When.
        at: Timestamp,
        /// How often no connection was made.
        failures: u32,
    },
    /// A worker sends it, or waits for the answer.
    Sending {
        /// The worker.
        token: LeaseToken,
        /// The time from which another one may send it.
        until: Timestamp,
        /// How often no connection was made.
        failures: u32,
    },
    /// The answer decided the conflict.
    Answered {
        /// When.
        at: Timestamp,
    },
    /// It decided nothing: a person does.
    Left {
        /// Why.
        why: NoDecision,
        /// More about it, in this system's words.
        detail: Option<String>,
        /// Since when.
        at: Timestamp,
    },
}

/// Why a resolver decided nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoDecision {
    /// The endpoint was deleted.
    WebhookDeleted,
    /// The endpoint is disabled.
    WebhookDisabled,
    /// The endpoint is not for this connection, or its maker may not decide conflicts of it.
    NotAllowed,
    /// No policy of the connection names the endpoint any more.
    PolicyChanged,
    /// No connection to the endpoint was made in time.
    Unreachable,
    /// It did not answer in time.
    NoAnswer,
    /// It answered with a status that is not 2xx.
    Refused,
    /// Its answer is none that the conflict can be decided by.
    InvalidAnswer,
    /// A decision that it may not make.
    Forbidden,
}

labels!(NoDecision {
    WebhookDeleted = "webhook_deleted",
    WebhookDisabled = "webhook_disabled",
    NotAllowed = "not_allowed",
    PolicyChanged = "policy_changed",
    Unreachable = "unreachable",
    NoAnswer = "no_answer",
    Refused = "refused",
    InvalidAnswer = "invalid_answer",
    Forbidden = "forbidden",
});

impl NoDecision {
    /// Returns the reason in words, after "the resolver did not decide: ".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::WebhookDeleted => "its webhook was deleted",
            Self::WebhookDisabled => "its webhook is disabled",
            Self::NotAllowed => "its webhook may not decide conflicts of this connection",
            Self::PolicyChanged => "no policy names it any more",
            Self::Unreachable => "it could not be reached in time",
            Self::NoAnswer => "it did not answer in time",
            Self::Refused => "it answered with an error",
            Self::InvalidAnswer => "its answer is not valid",
            Self::Forbidden => "it may not make the decision that it answered with",
        }
    }
}

/// What is to be done about a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskDuty {
    /// To send it.
    Ask,
    /// To leave the conflict to a person: its time is over.
    Leave(NoDecision),
    /// Nothing before this time.
    Wait(Timestamp),
    /// Nothing: it is over.
    Nothing,
}

/// Why an answer decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerRefused {
    /// Nobody was asked about these sides, or a decision is being carried out.
    Unasked,
    /// Its time is over.
    Late,
    /// The decision is not possible.
    Decision(ResolveRefused),
}

impl Question {
    /// Returns what a conflict that opens under a policy asks, if anything.
    #[must_use]
    pub fn of(policy: &Policy, now: Timestamp) -> Option<Self> {
        policy.resolver().map(|resolver| Self {
            resolver: resolver.clone(),
            asked_at: now,
        })
    }

    /// Returns the time at which the resolver's time is over.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        let millis = i64::from(self.resolver.seconds_max) * 1_000;
        self.asked_at.plus_millis(millis)
    }
}

impl Asked {
    /// Returns what the record of a conflict of this status says about its question.
    #[must_use]
    pub fn of(open: &OpenConflict, status: &ConflictStatus) -> Option<Self> {
        let question = open.question.clone()?;
        let course = match status {
            ConflictStatus::Open if open.keeping.is_some() => return None,
            ConflictStatus::Open => AskCourse::Owed {
                at: question.asked_at,
                failures: 0,
            },
            ConflictStatus::Resolved(made) if made.by == Decider::Policy => {
                AskCourse::Answered { at: made.at }
            }
            ConflictStatus::Resolved(_) | ConflictStatus::Closed { .. } => return None,
        };
        Some(Self { question, course })
    }

    /// Returns what is to be done now.
    #[must_use]
    pub fn duty(&self, now: Timestamp) -> AskDuty {
        let over = now >= self.question.until();
        match &self.course {
            AskCourse::Owed { failures: 0, .. } if over => AskDuty::Leave(NoDecision::NoAnswer),
            AskCourse::Owed { .. } if over => AskDuty::Leave(NoDecision::Unreachable),
            AskCourse::Owed { at, .. } if *at > now => AskDuty::Wait(*at),
            AskCourse::Owed { .. } => AskDuty::Ask,
            AskCourse::Sending { until, .. } if *until > now => AskDuty::Wait(*until),
            AskCourse::Sending { .. } if over => AskDuty::Leave(NoDecision::NoAnswer),
            AskCourse::Sending { .. } => AskDuty::Ask,
            AskCourse::Answered { .. } | AskCourse::Left { .. } => AskDuty::Nothing,
        }
    }

    /// Returns when something is to be done: its place in the index of due items.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.course {
            AskCourse::Owed { at, .. } => Some(*at),
            AskCourse::Sending { until, .. } => Some(*until),
            AskCourse::Answered { .. } | AskCourse::Left { .. } => None,
        }
    }

    /// Claims it for the worker with this token, so that no other sends it at the same time. `None`
    /// if it is not to be sent now.
    #[must_use]
    pub fn claimed(&self, token: LeaseToken, now: Timestamp) -> Option<Self> {
        (self.duty(now) == AskDuty::Ask).then(|| Self {
            course: AskCourse::Sending {
                token,
                until: now.plus_millis(ASK_LEASE_MILLIS),
                failures: self.failures(),
            },
            ..self.clone()
        })
    }

    /// Returns it after the worker with this token made no connection, so that nothing was sent: it
    /// is tried again, or left to a person if there is no time for that. `None` if the worker does
    /// not have it any more.
    #[must_use]
    pub fn unsent(&self, token: LeaseToken, now: Timestamp) -> Option<Self> {
        if !self.is_held(token) {
            return None;
        }
        let failures = self.failures().saturating_add(1);
        let factor = 1_i64 << (failures - 1).min(16);
        let at = now.plus_millis((RETRY_MILLIS * factor).min(RETRY_MILLIS_MAX));
        let course = match at < self.question.until() {
            true => AskCourse::Owed { at, failures },
            false => AskCourse::Left {
                why: NoDecision::Unreachable,
                detail: None,
                at: now,
            },
        };
        Some(Self {
            course,
            ..self.clone()
        })
    }

    /// Returns it after it was found that it will decide nothing. `token` is that of the worker
    /// that sent it; without one, nothing was sent. `None` if another worker has it, or it is over.
    #[must_use]
    pub fn left(
        &self,
        token: Option<LeaseToken>,
        (why, detail): (NoDecision, Option<&str>),
        now: Timestamp,
    ) -> Option<Self> {
        let may = match (&self.course, token) {
            (AskCourse::Sending { .. }, Some(token)) => self.is_held(token),
            (AskCourse::Sending { until, .. }, None) => *until <= now,
            (AskCourse::Owed { .. }, None) => true,
            (AskCourse::Owed { .. }, Some(_)) => false,
            (AskCourse::Answered { .. } | AskCourse::Left { .. }, _) => false,
        };
        may.then(|| Self {
            course: AskCourse::Left {
                why,
                detail: detail.map(|detail| detail.chars().take(DETAIL_CHARS_MAX).collect()),
                at: now,
            },
            ..self.clone()
        })
    }

    fn is_held(&self, by: LeaseToken) -> bool {
        matches!(&self.course, AskCourse::Sending { token, .. } if *token == by)
    }

    fn failures(&self) -> u32 {
        match &self.course {
            AskCourse::Owed { failures, .. } | AskCourse::Sending { failures, .. } => *failures,
            AskCourse::Answered { .. } | AskCourse::Left { .. } => 0,
        }
    }
}

impl FileRecord {
    /// Decides an open conflict by the answer of its resolver, which was asked about the sides
    /// after `moves` moves. It counts as the decision of the policy.
    ///
    /// # Errors
    /// [`AnswerRefused`]: the answer is without effect.
    pub fn answered(
        &self,
        conflict: &ConflictId,
        moves: u32,
        choice: &Choice,
        context: Context<'_>,
    ) -> Result<Transition, AnswerRefused> {
        let open = self.open.get(&conflict.field);
        let open = open.filter(|open| open.number == conflict.number);
        let open = open.ok_or(AnswerRefused::Decision(ResolveRefused::NotOpen))?;
        if open.moves != moves {
            return Err(AnswerRefused::Decision(ResolveRefused::Moved));
        }
        let question = open.question.as_ref().filter(|_| open.keeping.is_none());
        let question = question.ok_or(AnswerRefused::Unasked)?;
        if context.now >= question.until() {
            return Err(AnswerRefused::Late);
        }
        self.decided(conflict, Some(moves), choice, Decider::Policy, context)
            .map_err(AnswerRefused::Decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::NOW;

    const TOKEN: LeaseToken = LeaseToken(1);
    const OTHER: LeaseToken = LeaseToken(2);

    fn question(seconds_max: u32) -> Question {
        Question {
            resolver: Resolver {
                endpoint: EndpointId::fresh(1),
                seconds_max,
            },
            asked_at: NOW,
        }
    }

    /// Every kind of course, at every time that matters, with what is to be done.
    #[test]
    fn what_is_to_be_done_follows_from_course_and_time() {
        let after = |millis| NOW.plus_millis(millis);
        let owed = |millis, failures| AskCourse::Owed {
            at: after(millis),
            failures,
        };
        let sending = |until| AskCourse::Sending {
            token: TOKEN,
            until: after(until),
            failures: 0,
        };
        let left = AskCourse::Left {
            why: NoDecision::NoAnswer,
            detail: None,
            at: NOW,
        };
        let late = AskDuty::Leave(NoDecision::NoAnswer);
        let wait = |millis| AskDuty::Wait(after(millis));
        for (course, at, duty) in [
            (owed(0, 0), 0, AskDuty::Ask),
            (owed(0, 0), 59_999, AskDuty::Ask),
            (owed(0, 0), 60_000, late),
            (owed(5_000, 1), 4_999, wait(5_000)),
            (owed(5_000, 1), 5_000, AskDuty::Ask),
            (
                owed(5_000, 1),
                60_000,
                AskDuty::Leave(NoDecision::Unreachable),
            ),
            (sending(30_000), 29_999, wait(30_000)),
            (sending(30_000), 30_000, AskDuty::Ask),
            (sending(30_000), 60_000, late),
            // An answer on its way may still be recorded as one that came late.
            (sending(61_000), 60_000, wait(61_000)),
            (left, 0, AskDuty::Nothing),
            (AskCourse::Answered { at: NOW }, 60_000, AskDuty::Nothing),
        ] {
            let asked = Asked {
                question: question(60),
                course,
            };
            assert_eq!(asked.duty(after(at)), duty, "{asked:?} at {at}");
            let claimed = asked.claimed(OTHER, after(at));
            assert_eq!(claimed.is_some(), duty == AskDuty::Ask);
            assert_eq!(asked.due_at().is_none(), duty == AskDuty::Nothing);
            if let Some(claimed) = claimed {
                assert_eq!(claimed.due_at(), Some(after(at + ASK_LEASE_MILLIS)));
                assert!(claimed.claimed(TOKEN, after(at)).is_none());
                assert!(claimed.unsent(TOKEN, after(at)).is_none());
                let why = (NoDecision::Refused, None);
                assert!(claimed.left(Some(TOKEN), why, after(at)).is_none());
                assert!(claimed.left(None, why, after(at)).is_none());
                let left = claimed.left(Some(OTHER), why, after(at)).unwrap();
                assert_eq!(left.duty(after(at)), AskDuty::Nothing);
                assert!(left.left(None, why, after(at)).is_none());
            }
        }
    }

    #[test]
    fn what_was_not_sent_is_tried_again_while_there_is_time() {
        let mut asked = Asked {
            question: question(60),
            course: AskCourse::Owed {
                at: NOW,
                failures: 0,
            },
        };
        let mut waits = Vec::new();
        let mut now = NOW;
        while let Some(claimed) = asked.claimed(TOKEN, now) {
            asked = claimed.unsent(TOKEN, now).unwrap();
            let Some(due) = asked.due_at() else { break };
            waits.push(due.millis_since(now));
            now = due;
        }
        assert_eq!(waits, [5_000, 10_000, 20_000]);
        let AskCourse::Left { why, .. } = &asked.course else {
            panic!("{:?}", asked.course);
        };
        assert_eq!(*why, NoDecision::Unreachable);
    }

    #[test]
    fn a_detail_is_short() {
        let asked = Asked {
            question: question(1),
            course: AskCourse::Owed {
                at: NOW,
                failures: 0,
            },
        };
        let long = "é".repeat(1_000);
        let left = asked.left(None, (NoDecision::Refused, Some(&long)), NOW);
        let AskCourse::Left {
            detail: Some(detail),
            ..
        } = left.unwrap().course
        else {
            panic!("it is left");
        };
        assert_eq!(detail.chars().count(), DETAIL_CHARS_MAX);
    }
}
