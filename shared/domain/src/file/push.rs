//! Pushing owed values to Drive: a claim, followed by a confirmation or a refusal.

use std::collections::{BTreeMap, BTreeSet};

use crate::file::transition_builder::TransitionBuilder;
use crate::merge::Sides;
use crate::trail::erased_principal;
use crate::{
    AttemptId, Backoff, Context, DriveVersion, Field, FileRecord, Gone, Jitter, Missing,
    ObservedPermission, Refusal, Snapshot, Suspicion, Transition, Value,
};

/// The write of one attempt, conditional on the file still being at the version that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The attempt, as recorded in the file's record.
    pub attempt: AttemptId,
    /// The fields and values to write; `Null` clears a property. Either a single permission or no
    /// permission at all: Drive writes permissions by separate calls, and applies only the last of
    /// several concurrent ones.
    pub values: BTreeMap<Field, Value>,
}

impl Patch {
    /// Returns the principal and the role (`Null` for none) of a patch that writes a permission.
    /// Drive has no conditional form of such a write.
    #[must_use]
    pub fn permission(&self) -> Option<(&str, &Value)> {
        let mut values = self.values.iter();
        values.find_map(|(field, value)| Some((field.principal()?, value)))
    }
}

/// The result of a claim, after Drive was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The record with the claim in it. It must be stored before anything is sent.
    pub transition: Transition,
    /// The write to send, if anything is still owed.
    pub patch: Option<Patch>,
}

/// The time for which a claim keeps other workers away, in milliseconds: the longest run of a push
/// function.
const CLAIM_MILLIS: i64 = 30_000;
/// The same for content: the longest run of the function that uploads it (900 s, Lambda's maximum).
const CONTENT_CLAIM_MILLIS: i64 = 900_000;
/// The longest time that a write may be in flight, in milliseconds. A request lives for seconds,
/// and the clocks of two workers may differ by minutes.
const IN_FLIGHT_MILLIS_MAX: i64 = 3_600_000;
/// The reason of what was given up because no worker recorded an outcome.
pub(crate) const NO_OUTCOME: &str = "no attempt was answered";
/// The number of times that a push waits for the change log to provide the time of a change before
/// it leaves the decision to a person: half a minute in total at the longest.
const CHANGE_TIME_WAITS_MAX: u32 = 5;

/// The reason of a field that Drive's answer shows unchanged.
const UNCHANGED: &str = "Drive answered, and left the field as it was";

/// The fields that a claim covers. Content is uploaded by a different function than all other
/// fields, and takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaimScope {
    Fields,
    Content,
}

impl FileRecord {
    /// Merges the state that was just read from Drive, and claims what is still owed except
    /// content.
    #[must_use]
    pub fn claim(
        &self,
        read: &Snapshot,
        attempt: AttemptId,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Claim {
        self.claim_of(ClaimScope::Fields, read, attempt, context, jitter)
    }

    /// Like [`FileRecord::claim`], for content only: the patch contains [`Field::Content`] or there
    /// is none.
    #[must_use]
    pub fn claim_content(
        &self,
        read: &Snapshot,
        attempt: AttemptId,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Claim {
        self.claim_of(ClaimScope::Content, read, attempt, context, jitter)
    }

    fn claim_of(
        &self,
        scope: ClaimScope,
        read: &Snapshot,
        attempt: AttemptId,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Claim {
        // 1. We know that the file is not present in Drive: there is nothing to write to.
        if !self.is_present() {
            return Claim {
                transition: Transition::unchanged(self.clone()),
                patch: None,
            };
        }
        let mut builder = TransitionBuilder::of(self, context);
        builder.observe(read, &BTreeSet::new());
        builder.postpone_permissions(jitter);
        // 2. We know that this read opened a conflict only because the time of Drive's change is
        // unknown, and that the change log may still provide it: wait for the log.
        if builder.awaits_change_time() && self.push.attempts < CHANGE_TIME_WAITS_MAX {
            // As if Drive had not been read: the change log will report the same change with its
            // time.
            let mut waiting = TransitionBuilder::of(self, context);
            waiting.wait(self.push.attempts.saturating_add(1), jitter);
            return Claim {
                transition: waiting.finish(),
                patch: None,
            };
        }
        // 3. We know that the read is older than what was already observed: a write conditional on
        // it could only be refused.
        if read.version < builder.record.version {
            let attempts = builder.record.push.attempts.saturating_add(1);
            builder.wait(attempts, jitter);
            return Claim {
                transition: builder.finish(),
                patch: None,
            };
        }
        // From here on we know that the record has Drive's current state, at the version of the
        // read. So the settled writes can be assessed, and what was sent longer ago than a write
        // can be in flight did not happen.
        let arrived = self.push.sent_at.plus_millis(IN_FLIGHT_MILLIS_MAX) <= context.now;
        let deleting = builder.record.deletion_owed();
        let fields: Vec<Field> = builder.record.fields.keys().cloned().collect();
        // A deletion does not depend on the outcome of earlier writes.
        for field in fields.iter().filter(|_| !deleting) {
            if matches!(field, Field::Permission(_)) && !read.metadata.permissions_known {
                // Drive's permissions were not read, so they say nothing about what was sent.
                continue;
            }
            let sides = builder.record.sides(field);
            let assessed = if *field == Field::Existence {
                sides.discard_settled(read.version)
            } else {
                sides.assess_in_flight(read.version)
            };
            let assessed = if arrived {
                assessed.discard_in_flight()
            } else {
                assessed
            };
            builder.set(field, assessed, None);
        }
        builder.take_up_failed();
        // 4. We know that too many attempts were claimed without a recorded outcome: give up.
        if builder.record.push.failures >= Backoff::PUSH.failures_max {
            // Earlier workers ended before they recorded an outcome. Whatever ends them must not
            // keep the other files waiting.
            builder.give_up_for_now(&to_be_sent(&builder.record), NO_OUTCOME, jitter);
        }
        // 5. We know that Drive does not show the file's permissions: none may be written blindly.
        if !read.metadata.permissions_known {
            let mut blind = to_be_sent(&builder.record);
            blind.retain(|field, _| matches!(field, Field::Permission(_)));
            if !blind.is_empty() {
                let reason = "Drive does not show the file's permissions";
                builder.give_up_for_now(&blind, reason, jitter);
            }
        }
        let values = next_values(&builder.record, scope);
        // 6. We know that nothing of this scope is owed any more, or that all of it was given up.
        // Writes of unknown outcome may remain, so a claim of fields schedules the next read.
        if values.is_empty() {
            if scope == ClaimScope::Fields {
                let attempts = builder.record.push.attempts.saturating_add(1);
                builder.wait(attempts, jitter);
            }
            return Claim {
                transition: builder.finish(),
                patch: None,
            };
        }
        // 7. We know that these values are owed against the version that was read: claim them.
        builder.send(&values, read.version, attempt);
        Claim {
            transition: builder.finish(),
            patch: Some(Patch { attempt, values }),
        }
    }

    /// Records that Drive accepted the attempt. `answer` is the file's complete state after the
    /// write.
    #[must_use]
    pub fn confirmed(&self, patch: &Patch, answer: &Snapshot, context: Context<'_>) -> Transition {
        let answer = &*self.recognise(answer);
        let mut builder = TransitionBuilder::of(self, context);
        let mut merged = BTreeSet::new();
        builder.schedule_now();
        if self.is_creating() {
            builder.mark_present(answer);
        }
        let known = patch.values.iter();
        for (field, asked) in known.filter(|(field, _)| **field != Field::Existence) {
            let sides = builder.record.sides(field);
            if !sides.sent.iter().any(|sent| sent.attempt == patch.attempt) {
                // An observation has settled it, or it was abandoned: for this field the answer is
                // one more snapshot.
                continue;
            }
            let value = answer.value(field);
            if value == sides.base && value != *asked {
                // Drive accepted the request but not this value. Following Drive would silently
                // undo the edit.
                builder.set(field, sides.refused(patch.attempt), None);
                let refused = BTreeMap::from([(field.clone(), asked.clone())]);
                builder.give_up_for_now(&refused, UNCHANGED, patch.attempt.jitter());
                continue;
            }
            merged.insert(field.clone());
            let seen = self.version;
            let sides = sides.confirmed(patch.attempt, value, answer.version, seen);
            builder.set(field, sides, None);
        }
        // The answer is a complete snapshot. Moving the version past it without merging the other
        // fields would lose their changes.
        builder.observe(answer, &merged);
        builder.finish()
    }

    /// Records that Drive accepted an attempt that was not conditional, and that the file was then
    /// read again as `read`: a later state, perhaps including another person's change, or one that
    /// does not show the write yet. `answer` is the permission that Drive answered a grant with:
    /// that is the agreement, whatever was asked for. Of a permission that was revoked, only its
    /// absence confirms that.
    #[must_use]
    pub fn confirmed_by_reread(
        &self,
        patch: &Patch,
        answer: Option<&ObservedPermission>,
        read: &Snapshot,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        let known = self.recognise(read);
        let mut merged = BTreeSet::new();
        builder.schedule_now();
        let mut late = false;
        for (field, asked) in &patch.values {
            let sides = self.sides(field);
            if !sides.sent.iter().any(|sent| sent.attempt == patch.attempt) {
                continue;
            }
            if let (Field::Permission(principal), Some(answer)) = (field, answer)
                && self.is_another_name(principal, answer)
            {
                builder.accept_under_another_name(principal, patch.attempt, answer);
                merged.insert(field.clone());
                continue;
            }
            let agreed = answer.map_or(asked.clone(), |answer| Value::text(answer.role.as_str()));
            if agreed == sides.base && agreed != *asked {
                builder.set(field, sides.refused(patch.attempt), None);
                let refused = BTreeMap::from([(field.clone(), asked.clone())]);
                builder.give_up_for_now(&refused, UNCHANGED, jitter);
                continue;
            }
            let shown = match answer {
                _ if known.metadata.permissions_known => known.value(field),
                Some(_) => agreed.clone(),
                None => {
                    // What Drive does not show says nothing about who has access.
                    late = true;
                    continue;
                }
            };
            if shown == agreed {
                let confirmed = sides.confirmed(patch.attempt, agreed, read.version, self.version);
                builder.set(field, confirmed, None);
                // Under the name that Drive uses now, it is one more observation.
                if read.value(field) == shown {
                    merged.insert(field.clone());
                }
            } else {
                late |= read.version <= self.version;
            }
        }
        builder.observe(read, &merged);
        if late {
            builder.wait(1, jitter);
        }
        builder.finish()
    }

    /// Returns whether Drive answered a grant to a principal with a permission of another name that
    /// the record does not know as that principal's.
    fn is_another_name(&self, principal: &str, answer: &ObservedPermission) -> bool {
        let known = self.metadata.permission(principal);
        answer.principal != principal && known.is_none_or(|known| known.id != answer.id)
    }

    /// Records that Drive refused the attempt, or that its outcome is unknown.
    #[must_use]
    pub fn refused(
        &self,
        patch: &Patch,
        refusal: &Refusal,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        let against = self.claimed_against(patch);
        builder.postpone_permissions(jitter);
        // Without a claim there is nothing to end.
        if !patch.values.is_empty() {
            let failures = builder.record.push.failures;
            builder.record.push.failures = failures.saturating_sub(1);
            for field in patch.values.keys() {
                let sides = builder.record.sides(field);
                let sides = match refusal {
                    Refusal::Unknown(_) => sides.unanswered(patch.attempt),
                    Refusal::Stale
                    | Refusal::Busy
                    | Refusal::Later { .. }
                    | Refusal::Throttled { .. }
                    | Refusal::Permanent(_)
                    | Refusal::Passing(_)
                    | Refusal::Doubted { .. } => sides.refused(patch.attempt),
                };
                builder.set(field, sides, None);
            }
        }
        let attempts = builder.record.push.attempts.saturating_add(1);
        // One field's bad value must not block the others.
        let apart = patch.values.len() > 1 && !patch.creates();
        match refusal {
            Refusal::Stale => {
                builder.wait(attempts, jitter);
                if let Some(against) = against {
                    builder.meet_stale(&patch.values, against);
                }
            }
            Refusal::Busy => builder.wait(attempts, jitter),
            Refusal::Later { wait_millis } => {
                builder.wait(attempts, jitter);
                let drawn = builder.record.push.not_before;
                builder.record.push.not_before = drawn.plus_millis(*wait_millis);
            }
            Refusal::Throttled { wait_millis } => {
                let spread_millis = Backoff::PUSH.wait_millis(1, jitter);
                let turn = context.now.plus_millis(*wait_millis);
                builder.record.push.not_before = turn.plus_millis(spread_millis);
            }
            Refusal::Permanent(_) | Refusal::Passing(_) if apart => {
                builder.record.push.one_at_a_time = true;
                builder.record.push.not_before = context.now;
            }
            Refusal::Permanent(reason) => {
                builder.give_up(&patch.values, reason);
                builder.record.push.not_before = context.now;
            }
            Refusal::Passing(reason) => {
                builder.give_up_for_now(&patch.values, reason, jitter);
                builder.record.push.not_before = context.now;
            }
            Refusal::Doubted {
                reason,
                believed_after_millis,
            } => {
                builder.wait(attempts, jitter);
                builder.record.push.one_at_a_time |= apart;
                if !apart {
                    builder.meet_doubted(&patch.values, reason, *believed_after_millis, jitter);
                }
            }
            Refusal::Unknown(reason) => {
                builder.wait(attempts, jitter);
                builder.meet_trouble(reason, DriveVersion(0));
            }
        }
        builder.finish()
    }

    /// Returns the version that a claimed attempt is conditional on, if its claim is still there.
    fn claimed_against(&self, patch: &Patch) -> Option<DriveVersion> {
        let sent = patch.values.keys().flat_map(|field| self.sides(field).sent);
        sent.filter(|sent| sent.attempt == patch.attempt)
            .map(|sent| sent.against)
            .next()
    }

    /// Records that Drive did not find the present file, or denied access to it, when the file was
    /// read. That is believed once it was answered for a while by an account that works (that is,
    /// `account_works`: something else of it could be read). Until then the file is read again at
    /// growing intervals.
    #[must_use]
    pub fn suspected_gone(
        &self,
        why: Gone,
        account_works: bool,
        context: Context<'_>,
        jitter: Jitter,
    ) -> Transition {
        if self.is_gone() {
            return Transition::unchanged(self.clone());
        }
        let mut builder = TransitionBuilder::of(self, context);
        builder.postpone_permissions(jitter);
        if account_works {
            let before = self.missing.map(|missing| missing.seen);
            let seen = Suspicion::again(before, context.now);
            if seen.is_certain(context.now) {
                builder.mark_gone(why);
                return builder.finish();
            }
            builder.record.missing = Some(Missing { why, seen });
        }
        let attempts = builder.record.push.attempts.saturating_add(1);
        builder.wait(attempts, jitter);
        builder.finish()
    }

    /// Defers the push of a file that is out of scope. What is owed is checked again at growing
    /// intervals of up to five minutes, and is never given up.
    #[must_use]
    pub fn defer_out_of_scope(&self, context: Context<'_>, jitter: Jitter) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        builder.postpone_permissions(jitter);
        if self.push_due().is_some() {
            let attempts = builder.record.push.attempts.saturating_add(1);
            builder.wait(attempts, jitter);
            builder.record.push.out_of_scope = true;
        }
        builder.finish()
    }

    /// Makes a push that was deferred because the file was out of scope due now, after the rules or
    /// the folders above have changed. A push that waits for another reason keeps waiting.
    #[must_use]
    pub fn reschedule_out_of_scope(&self, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        if self.push.out_of_scope {
            builder.schedule_now();
        }
        builder.finish()
    }

    /// Retries what was given up.
    #[must_use]
    pub fn retry(&self, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        builder.record.push.failed.clear();
        builder.record.push.again.clear();
        builder.schedule_now();
        builder.finish()
    }

    /// Cancels what is owed: the application's side returns to the base.
    #[must_use]
    pub fn cancel(&self, context: Context<'_>) -> Transition {
        let mut builder = TransitionBuilder::of(self, context);
        if self.is_creating() {
            let existence = self.sides(&Field::Existence);
            if existence.sent.is_empty() {
                builder.abandon_creation(Gone::Removed);
            } else {
                let taken_back = existence.edited(Value::Null, self.version);
                builder.set(&Field::Existence, taken_back, None);
            }
            return builder.finish();
        }
        for (field, sides) in self.fields.iter().filter(|(_, sides)| sides.owed()) {
            builder.set(field, sides.edited(sides.base.clone(), self.version), None);
        }
        builder.finish()
    }
}

impl TransitionBuilder<'_> {
    /// Records what is about to be sent, on condition of the version that was read. It counts as a
    /// failure until its outcome is recorded, so that a crash of the worker counts too.
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
        self.record.push.out_of_scope = false;
        self.record.push.sent_at = self.context.now;
        let content = values.contains_key(&Field::Content);
        let claim_millis = if content {
            CONTENT_CLAIM_MILLIS
        } else {
            CLAIM_MILLIS
        };
        self.record.push.not_before = self.context.now.plus_millis(claim_millis);
    }

    /// Records that a role was given to somebody whom Drive knows by another name: the agreement is
    /// under that name, and the one that was asked for leads there.
    fn accept_under_another_name(
        &mut self,
        asked: &str,
        attempt: AttemptId,
        answer: &ObservedPermission,
    ) {
        let asked_field = Field::Permission(asked.to_owned());
        let sides = self.record.sides(&asked_field);
        let sent = sides.sent.iter().find(|sent| sent.attempt == attempt);
        let newer = sent
            .is_some_and(|sent| sent.value != sides.app)
            .then_some(sides.app);
        let field = Field::Permission(answer.principal.clone());
        let role = Value::text(answer.role.as_str());
        let own = self.record.sides(&field);
        if !own.pending() && own.conflict.is_none() {
            let edit = self.record.edits.get(&asked_field).cloned();
            let app = newer.unwrap_or_else(|| role.clone());
            let owed = app != role;
            self.set(
                &field,
                Sides {
                    app,
                    ..Sides::agreed(role)
                },
                None,
            );
            if let (true, Some(edit)) = (owed, edit) {
                self.record.edits.insert(field, edit);
            }
        }
        self.set(&asked_field, Sides::agreed(Value::Null), None);
        // The name of a person that was erased is not remembered.
        if erased_principal(&answer.principal).is_none() {
            let former = &mut self.record.former_principals;
            former.insert(asked.to_owned(), answer.id.clone());
        }
    }

    fn wait(&mut self, attempts: u32, jitter: Jitter) {
        self.record.push.attempts = attempts;
        self.record.push.out_of_scope = false;
        let wait_millis = Backoff::PUSH.wait_millis(attempts, jitter);
        self.record.push.not_before = self.context.now.plus_millis(wait_millis);
    }
}

/// Returns the values of the next attempt: all other fields before any permission, and one
/// permission at a time. Nothing is written to a file that is to be deleted.
fn next_values(record: &FileRecord, scope: ClaimScope) -> BTreeMap<Field, Value> {
    let mut values = to_be_sent(record);
    let deletion = values.remove(&Field::Existence);
    let content = values.remove(&Field::Content);
    let only =
        |field, value: Option<Value>| value.map(|value| (field, value)).into_iter().collect();
    match scope {
        ClaimScope::Content if deletion.is_some() => return BTreeMap::new(),
        ClaimScope::Content => return only(Field::Content, content),
        ClaimScope::Fields if deletion.is_some() => return only(Field::Existence, deletion),
        ClaimScope::Fields => {}
    }
    let (permissions, others): (BTreeMap<_, _>, BTreeMap<_, _>) = values
        .into_iter()
        .partition(|(field, _)| matches!(field, Field::Permission(_)));
    if others.is_empty() {
        return permissions.into_iter().take(1).collect();
    }
    if record.push.one_at_a_time {
        // In turns, so that a field which keeps being refused does not block the others.
        let turn = usize::try_from(record.push.attempts).unwrap_or(0) % others.len();
        return others.into_iter().skip(turn).take(1).collect();
    }
    others
}

/// Returns the owed values without those that were given up: these keep their reason and their
/// time, whatever else happens to the file.
fn to_be_sent(record: &FileRecord) -> BTreeMap<Field, Value> {
    let given_up = |field: &Field| record.push.failed.contains_key(field);
    let owed = record.fields.iter().filter(|(_, sides)| sides.owed());
    owed.filter(|(field, _)| !given_up(field))
        .map(|(field, sides)| (field.clone(), sides.app.clone()))
        .collect()
}
