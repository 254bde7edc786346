//! Writing what is owed to Drive: claim, then confirm or learn that it was refused.

use std::collections::BTreeMap;

use crate::step::Change;
use crate::{AttemptId, Backoff, Field, FileRecord, Jitter, Moment, Snapshot, Step, Value};

/// What one attempt sends to Drive, on condition that the file is still at the version read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The attempt, as remembered in the record.
    pub attempt: AttemptId,
    /// The fields and the values to write; `Null` clears a property.
    pub values: BTreeMap<Field, Value>,
}

/// What is left to do after Drive was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The record with the claim in it: it must be stored before anything is sent.
    pub step: Step,
    /// What to send, if anything still stands.
    pub patch: Option<Patch>,
}

/// Why Drive did not take a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody was faster (412): it did not happen, and it is nobody's fault.
    Stale,
    /// Drive is busy with everyone (rate limits): it did not happen, and the file is not at fault.
    Busy,
    /// Drive will never take it, for this reason.
    Permanent(String),
    /// No answer, or one that tells nothing: it may have happened.
    Unknown(String),
}

/// How long a claim keeps other workers away: as long as a push function can run, in milliseconds.
const CLAIM_MILLIS: i64 = 30_000;

impl FileRecord {
    /// Judges Drive's state as it was just read, and claims what is still owed to it.
    #[must_use]
    pub fn claim(
        &self,
        read: &Snapshot,
        attempt: AttemptId,
        moment: Moment<'_>,
        jitter: Jitter,
    ) -> Claim {
        if !self.is_present() {
            return Claim {
                step: Step::stay(self.clone()),
                patch: None,
            };
        }
        let mut change = Change::of(self, moment);
        change.observe(read, &BTreeMap::new());
        if read.version < change.record.version {
            // Drive showed us something older than we know: a write against it could only be refused.
            let attempts = change.record.push.attempts + 1;
            change.wait(attempts, jitter);
            return Claim {
                step: change.finish(),
                patch: None,
            };
        }
        let fields: Vec<Field> = change.record.fields.keys().cloned().collect();
        for field in &fields {
            let judged = change.record.sides(field).judged(read.version);
            change.set(field, judged, None);
        }
        let limit = if change.record.push.one_at_a_time {
            1
        } else {
            usize::MAX
        };
        let mut values = BTreeMap::new();
        for field in fields {
            let sides = change.record.sides(&field);
            let wanted = sides.owed() && !change.record.push.failed.contains_key(&field);
            if wanted && values.len() < limit {
                values.insert(field.clone(), sides.app.clone());
                change.set(&field, sides.claimed(read.version, attempt), None);
            }
        }
        if values.is_empty() {
            let attempts = change.record.push.attempts + 1;
            change.wait(attempts, jitter);
            return Claim {
                step: change.finish(),
                patch: None,
            };
        }
        change.record.push.not_before = moment.now.plus_millis(CLAIM_MILLIS);
        Claim {
            step: change.finish(),
            patch: Some(Patch { attempt, values }),
        }
    }

    /// Drive took the attempt, and holds `answer` since: its complete state after the write.
    #[must_use]
    pub fn confirmed(&self, patch: &Patch, answer: &Snapshot, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        let seen = self.version;
        for field in patch.values.keys() {
            let value = answer
                .fields
                .get(field)
                .cloned()
                .unwrap_or_else(|| field.unset());
            let sides = self
                .sides(field)
                .confirmed(patch.attempt, value, answer.version, seen);
            change.set(field, sides, None);
        }
        // The answer is a complete snapshot: moving the version past it without merging the other fields
        // would lose their changes.
        change.observe(answer, &patch.values);
        change.due_now();
        change.finish()
    }

    /// Drive did not take the attempt, or did not say so.
    #[must_use]
    pub fn refused(
        &self,
        patch: &Patch,
        refusal: &Refusal,
        moment: Moment<'_>,
        jitter: Jitter,
    ) -> Step {
        let mut change = Change::of(self, moment);
        let definite = match refusal {
            Refusal::Stale | Refusal::Busy | Refusal::Permanent(_) => true,
            Refusal::Unknown(_) => false,
        };
        if definite {
            for field in patch.values.keys() {
                let sides = change.record.sides(field).refused(patch.attempt);
                change.set(field, sides, None);
            }
        }
        let attempts = change.record.push.attempts + 1;
        match refusal {
            Refusal::Stale | Refusal::Busy => change.wait(attempts, jitter),
            Refusal::Permanent(_) if patch.values.len() > 1 => {
                change.record.push.one_at_a_time = true;
                change.record.push.not_before = moment.now;
            }
            Refusal::Permanent(reason) => {
                change.give_up(patch.values.keys(), reason);
                change.record.push.not_before = moment.now;
            }
            Refusal::Unknown(reason) => {
                change.record.push.failures += 1;
                if change.record.push.failures >= Backoff::PUSH.failures_max {
                    change.give_up(patch.values.keys(), reason);
                }
                change.wait(attempts, jitter);
            }
        }
        change.finish()
    }

    /// Someone asks for what was given up to be tried again.
    #[must_use]
    pub fn retry(&self, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        change.record.push.failed.clear();
        change.due_now();
        change.finish()
    }

    /// Someone takes back what is owed: the application's side returns to the base.
    #[must_use]
    pub fn cancel(&self, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        for (field, sides) in self.fields.iter().filter(|(_, sides)| sides.owed()) {
            change.set(field, sides.edited(sides.base.clone(), self.version), None);
        }
        change.finish()
    }
}

impl Change<'_> {
    fn wait(&mut self, attempts: u32, jitter: Jitter) {
        self.record.push.attempts = attempts;
        let wait_millis = Backoff::PUSH.wait_millis(attempts, jitter);
        self.record.push.not_before = self.moment.now.plus_millis(wait_millis);
    }

    fn give_up<'f>(&mut self, fields: impl Iterator<Item = &'f Field>, reason: &str) {
        for field in fields {
            if self.record.sides(field).owed() {
                self.record
                    .push
                    .failed
                    .insert(field.clone(), reason.to_owned());
            }
        }
    }
}
