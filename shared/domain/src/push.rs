//! Writing what is owed to Drive: claim, then confirm or learn that it was refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::Change;
use crate::{
    AttemptId, Backoff, DriveVersion, Field, FileRecord, Gone, Jitter, Moment, Snapshot, Step,
    Value,
};

/// What one attempt sends to Drive, on condition that the file is still at the version read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The attempt, as remembered in the record.
    pub attempt: AttemptId,
    /// The fields and the values to write; `Null` clears a property. Either one permission and nothing
    /// else, or no permission: Drive writes those by other calls, and only the last of several at once.
    pub values: BTreeMap<Field, Value>,
}

impl Patch {
    /// The principal and the role (`Null`: none) of a patch that writes a permission. Such a patch can't be
    /// made conditional in Drive.
    #[must_use]
    pub fn permission(&self) -> Option<(&str, &Value)> {
        self.values.iter().find_map(|(field, value)| match field {
            Field::Permission(principal) => Some((principal.as_str(), value)),
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Content
            | Field::Property(_) => None,
        })
    }
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
    /// Drive will not take it for a while, which says nothing of the file or of other kinds of writes:
    /// it did not happen.
    Later {
        /// The wait before the next attempt, in milliseconds; a drawn part comes on top.
        wait_millis: i64,
    },
    /// It is not the connection's turn yet: nothing was sent, and nothing counts as an attempt.
    NotYet {
        /// When it may be, in milliseconds; a drawn part of up to a second comes on top.
        wait_millis: i64,
    },
    /// Drive will never take it, for this reason.
    Permanent(String),
    /// No answer, or one that tells nothing: it may have happened.
    Unknown(String),
}

/// How long a claim keeps other workers away: as long as a push function can run, in milliseconds.
const CLAIM_MILLIS: i64 = 30_000;
/// The same for content: as long as the function that carries it can run (900 s, Lambda's most).
const CONTENT_CLAIM_MILLIS: i64 = 900_000;
/// How long a write may be on its way to Drive, in milliseconds: it lives for seconds, and two workers' clocks
/// may be minutes apart.
const ON_ITS_WAY_MILLIS_MAX: i64 = 3_600_000;
/// How often a push waits for the log to tell the time of a change before it leaves the decision to a person:
/// half a minute in all, at the longest.
const WAITS_FOR_A_TIME_MAX: u32 = 5;

/// What a claim is for: content is carried by another function than everything else, and takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cargo {
    Fields,
    Content,
}

impl FileRecord {
    /// Judges Drive's state as it was just read, and claims what is still owed to it but for content.
    #[must_use]
    pub fn claim(
        &self,
        read: &Snapshot,
        attempt: AttemptId,
        moment: Moment<'_>,
        jitter: Jitter,
    ) -> Claim {
        self.claim_of(Cargo::Fields, read, attempt, moment, jitter)
    }

    /// The same for content, and for nothing else: its patch holds [`Field::Content`] or is none.
    #[must_use]
    pub fn claim_content(
        &self,
        read: &Snapshot,
        attempt: AttemptId,
        moment: Moment<'_>,
        jitter: Jitter,
    ) -> Claim {
        self.claim_of(Cargo::Content, read, attempt, moment, jitter)
    }

    fn claim_of(
        &self,
        cargo: Cargo,
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
        change.observe(read, &BTreeSet::new());
        if change.lacks_a_time() && self.push.attempts < WAITS_FOR_A_TIME_MAX {
            // As if Drive had not been read: the log brings the same change, with its time.
            let mut waiting = Change::of(self, moment);
            waiting.wait(self.push.attempts.saturating_add(1), jitter);
            return Claim {
                step: waiting.finish(),
                patch: None,
            };
        }
        if read.version < change.record.version {
            // Drive showed us something older than we know: a write against it could only be refused.
            let attempts = change.record.push.attempts.saturating_add(1);
            change.wait(attempts, jitter);
            return Claim {
                step: change.finish(),
                patch: None,
            };
        }
        let arrived = self.push.sent_at.plus_millis(ON_ITS_WAY_MILLIS_MAX) <= moment.now;
        let deleting = change.record.deletion_owed();
        let fields: Vec<Field> = change.record.fields.keys().cloned().collect();
        // What is to be deleted needs no answer to what became of an earlier write.
        for field in fields.iter().filter(|_| !deleting) {
            if matches!(field, Field::Permission(_)) && !read.mirror.permissions_known {
                // What Drive holds was not read: nothing can be told of what was sent.
                continue;
            }
            let sides = change.record.sides(field);
            let judged = if *field == Field::Existence {
                sides.without_settled(read.version)
            } else {
                sides.judged(read.version)
            };
            let judged = if arrived { judged.unlanded() } else { judged };
            change.set(field, judged, None);
        }
        if change.record.push.failures >= Backoff::PUSH.failures_max {
            // The workers before died without a word: whatever kills them must not go on for ever.
            change.give_up(&owed(&change.record), "no attempt was answered");
        }
        if !read.mirror.permissions_known {
            let mut blind = owed(&change.record);
            blind.retain(|field, _| matches!(field, Field::Permission(_)));
            if !blind.is_empty() {
                change.give_up(&blind, "Drive does not show us the file's permissions");
            }
        }
        let values = next_values(&change.record, cargo);
        if values.is_empty() {
            if cargo == Cargo::Fields {
                let attempts = change.record.push.attempts.saturating_add(1);
                change.wait(attempts, jitter);
            }
            return Claim {
                step: change.finish(),
                patch: None,
            };
        }
        change.send(&values, read.version, attempt);
        Claim {
            step: change.finish(),
            patch: Some(Patch { attempt, values }),
        }
    }

    /// Drive took the attempt, and holds `answer` since: its complete state after the write.
    #[must_use]
    pub fn confirmed(&self, patch: &Patch, answer: &Snapshot, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        let mut settled = BTreeSet::new();
        change.due_now();
        if self.is_creating() {
            change.present(answer);
        }
        let known = patch.values.iter();
        for (field, asked) in known.filter(|(field, _)| **field != Field::Existence) {
            let sides = change.record.sides(field);
            if !sides.sent.iter().any(|sent| sent.attempt == patch.attempt) {
                // Settled by an observation, or let go: to this field the answer is one more snapshot.
                continue;
            }
            let value = answer.value(field);
            if value == sides.base && value != *asked {
                // Drive took the request and not this value. To follow it would undo the edit unseen.
                change.set(field, sides.refused(patch.attempt), None);
                let refused = BTreeMap::from([(field.clone(), asked.clone())]);
                change.give_up(&refused, "Drive answered, and left the field as it was");
                continue;
            }
            settled.insert(field.clone());
            let seen = self.version;
            let sides = sides.confirmed(patch.attempt, value, answer.version, seen);
            change.set(field, sides, None);
        }
        // The answer is a complete snapshot: moving the version past it without merging the other fields
        // would lose their changes.
        change.observe(answer, &settled);
        change.finish()
    }

    /// Drive took the attempt, which was conditional on nothing, and held `read` when it was read again:
    /// a later state, perhaps with somebody's change on top, or one that Drive has yet to bring up to date.
    #[must_use]
    pub fn took(&self, patch: &Patch, read: &Snapshot, moment: Moment<'_>, jitter: Jitter) -> Step {
        let mut change = Change::of(self, moment);
        let mut settled = BTreeSet::new();
        change.due_now();
        let mut late = false;
        for (field, asked) in &patch.values {
            let sides = self.sides(field);
            if !sides.sent.iter().any(|sent| sent.attempt == patch.attempt) {
                continue;
            }
            if read.value(field) == *asked {
                let confirmed =
                    sides.confirmed(patch.attempt, asked.clone(), read.version, self.version);
                change.set(field, confirmed, None);
                settled.insert(field.clone());
            } else {
                late |= read.version <= self.version;
            }
        }
        change.observe(read, &settled);
        if late {
            change.wait(1, jitter);
        }
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
            Refusal::Stale
            | Refusal::Busy
            | Refusal::Later { .. }
            | Refusal::NotYet { .. }
            | Refusal::Permanent(_) => true,
            Refusal::Unknown(_) => false,
        };
        // What was never claimed is no failure to take back.
        if definite && !patch.values.is_empty() {
            let failures = change.record.push.failures;
            change.record.push.failures = failures.saturating_sub(1);
            for field in patch.values.keys() {
                let sides = change.record.sides(field).refused(patch.attempt);
                change.set(field, sides, None);
            }
        }
        let attempts = change.record.push.attempts.saturating_add(1);
        match refusal {
            Refusal::Stale | Refusal::Busy => change.wait(attempts, jitter),
            Refusal::Later { wait_millis } => {
                change.wait(attempts, jitter);
                let drawn = change.record.push.not_before;
                change.record.push.not_before = drawn.plus_millis(*wait_millis);
            }
            Refusal::NotYet { wait_millis } => {
                let spread_millis = Backoff::PUSH.wait_millis(1, jitter);
                let turn = moment.now.plus_millis(*wait_millis);
                change.record.push.not_before = turn.plus_millis(spread_millis);
            }
            Refusal::Permanent(_) if patch.values.len() > 1 && !patch.creates() => {
                change.record.push.one_at_a_time = true;
                change.record.push.not_before = moment.now;
            }
            Refusal::Permanent(reason) => {
                change.give_up(&patch.values, reason);
                change.record.push.not_before = moment.now;
            }
            Refusal::Unknown(reason) => {
                if change.record.push.failures >= Backoff::PUSH.failures_max {
                    change.give_up(&patch.values, reason);
                }
                change.wait(attempts, jitter);
            }
        }
        change.finish()
    }

    /// Nothing may be written to the file for now, as it is out of scope: what is owed waits, is looked at
    /// again later and later, up to five minutes apart, and nothing of it is ever given up.
    #[must_use]
    pub fn held(&self, moment: Moment<'_>, jitter: Jitter) -> Step {
        let mut change = Change::of(self, moment);
        if self.due().is_some() {
            let attempts = change.record.push.attempts.saturating_add(1);
            change.wait(attempts, jitter);
            change.record.push.held = true;
        }
        change.finish()
    }

    /// The rules, or the folders above, have changed: what is held for being out of scope is looked at again now.
    /// What waits for another reason goes on waiting.
    #[must_use]
    pub fn released(&self, moment: Moment<'_>) -> Step {
        let mut change = Change::of(self, moment);
        if self.push.held {
            change.due_now();
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
        if self.is_creating() {
            let existence = self.sides(&Field::Existence);
            if existence.sent.is_empty() {
                change.abandon(Gone::Removed);
            } else {
                let taken_back = existence.edited(Value::Null, self.version);
                change.set(&Field::Existence, taken_back, None);
            }
            return change.finish();
        }
        for (field, sides) in self.fields.iter().filter(|(_, sides)| sides.owed()) {
            change.set(field, sides.edited(sides.base.clone(), self.version), None);
        }
        change.finish()
    }
}

impl Change<'_> {
    /// Remembers what is now sent, on condition of the version that was read. It counts as failed until its
    /// answer is recorded, so that a worker that dies counts too.
    pub(crate) fn send(
        &mut self,
        values: &BTreeMap<Field, Value>,
        against: DriveVersion,
        attempt: AttemptId,
    ) {
        for field in values.keys() {
            let sides = self.record.sides(field).claimed(against, attempt);
            self.set(field, sides, None);
        }
        self.record.push.failures = self.record.push.failures.saturating_add(1);
        self.record.push.held = false;
        self.record.push.sent_at = self.moment.now;
        let content = values.contains_key(&Field::Content);
        let claim_millis = if content {
            CONTENT_CLAIM_MILLIS
        } else {
            CLAIM_MILLIS
        };
        self.record.push.not_before = self.moment.now.plus_millis(claim_millis);
    }

    fn wait(&mut self, attempts: u32, jitter: Jitter) {
        self.record.push.attempts = attempts;
        self.record.push.held = false;
        let wait_millis = Backoff::PUSH.wait_millis(attempts, jitter);
        self.record.push.not_before = self.moment.now.plus_millis(wait_millis);
    }

    /// Gives up the fields that still hold what was tried: a newer edit has yet to be.
    pub(crate) fn give_up(&mut self, tried: &BTreeMap<Field, Value>, reason: &str) {
        // A file that can't be made has no fields that could fail.
        let whole = |field: &Field| !self.record.is_creating() || *field == Field::Existence;
        let tried: Vec<_> = tried.iter().filter(|(field, _)| whole(field)).collect();
        for (field, value) in tried {
            let sides = self.record.sides(field);
            if sides.owed() && sides.app == *value {
                let reason = reason.to_owned();
                self.record.push.failed.insert(field.clone(), reason);
            }
        }
        self.record.push.failures = 0;
    }
}

/// What the next attempt writes: all other fields before any permission, and one permission at a time. Nothing
/// is written to what is to be deleted.
fn next_values(record: &FileRecord, cargo: Cargo) -> BTreeMap<Field, Value> {
    let mut values = owed(record);
    values.retain(|field, _| !record.push.failed.contains_key(field));
    let deletion = values.remove(&Field::Existence);
    let content = values.remove(&Field::Content);
    let only =
        |field, value: Option<Value>| value.map(|value| (field, value)).into_iter().collect();
    match cargo {
        Cargo::Content if deletion.is_some() => return BTreeMap::new(),
        Cargo::Content => return only(Field::Content, content),
        Cargo::Fields if deletion.is_some() => return only(Field::Existence, deletion),
        Cargo::Fields => {}
    }
    let (permissions, others): (BTreeMap<_, _>, BTreeMap<_, _>) = values
        .into_iter()
        .partition(|(field, _)| matches!(field, Field::Permission(_)));
    if others.is_empty() {
        return permissions.into_iter().take(1).collect();
    }
    let limit = if record.push.one_at_a_time {
        1
    } else {
        usize::MAX
    };
    others.into_iter().take(limit).collect()
}

/// What is owed, given up or not, with its values.
fn owed(record: &FileRecord) -> BTreeMap<Field, Value> {
    let owed = record.fields.iter().filter(|(_, sides)| sides.owed());
    owed.map(|(field, sides)| (field.clone(), sides.app.clone()))
        .collect()
}
