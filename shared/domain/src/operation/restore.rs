//! Restoring a folder, or a whole connection, to a point in time: the files are compared with their
//! history, a person confirms if too many would be changed, and then each is edited.

use std::collections::BTreeMap;

use super::comparison::{CONFIRM_MILLIS, REMIND_MILLIS};
use super::{ConnectionFacts, Decision, DecisionRefused, End, Operation, Run, Work};
use crate::restore::LeftReason;
use crate::{FileId, Timestamp};

/// Delay before a restore goes on whose connection owes too much to Drive, in milliseconds.
const OWED_AGAIN_MILLIS: i64 = 5_000;

/// A restore.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Restore {
    /// It only lists what it would change.
    pub dry_run: bool,
    /// The folder, which is restored with everything below it; `None` for the whole connection.
    pub folder: Option<FileId>,
    /// The time whose state is restored.
    pub at: Timestamp,
    /// Its stage.
    pub stage: RestoreStage,
    /// What was found, and done.
    pub counts: RestoreCounts,
    /// A person's decision, if there was one.
    pub decision: Option<Decision>,
    /// The number of steps that were recorded.
    pub steps: u32,
    /// The time of the last one.
    pub progressed_at: Option<Timestamp>,
}

/// The stage of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RestoreStage {
    /// The files are compared with their history, from a position on.
    Comparing(Option<String>),
    /// A person must confirm or cancel it.
    AwaitingConfirmation {
        /// The start of the wait.
        since: Timestamp,
    },
    /// The listed files are edited, from a position on.
    Restoring(Option<String>),
    /// It has ended.
    Ended(End),
}

/// The files of a restore, each counted once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RestoreCounts {
    /// Files that are in the folder now, or were at the time.
    pub files: u64,
    /// Those of which something is to be set back.
    pub to_restore: u64,
    /// Those of which something was set back.
    pub restored: u64,
    /// Those of which something is left as it is, by the reason.
    pub left: BTreeMap<LeftReason, u64>,
}

impl RestoreCounts {
    fn add(&mut self, more: &Self) {
        self.files += more.files;
        self.to_restore += more.to_restore;
        self.restored += more.restored;
        for (reason, files) in &more.left {
            *self.left.entry(*reason).or_default() += files;
        }
    }
}

impl Run {
    /// Creates a restore of a folder, or of the whole connection, to its state at `at`.
    #[must_use]
    pub fn restore(folder: Option<FileId>, at: Timestamp, dry_run: bool) -> Self {
        Self::Restore(Restore {
            dry_run,
            folder,
            at,
            stage: RestoreStage::Comparing(None),
            counts: RestoreCounts::default(),
            decision: None,
            steps: 0,
            progressed_at: None,
        })
    }
}

impl Restore {
    pub(super) fn end(&self) -> Option<&End> {
        match &self.stage {
            RestoreStage::Ended(end) => Some(end),
            RestoreStage::Comparing(_)
            | RestoreStage::AwaitingConfirmation { .. }
            | RestoreStage::Restoring(_) => None,
        }
    }
}

impl Operation {
    /// Returns the restore; `None` for another kind of run.
    #[must_use]
    pub fn restore(&self) -> Option<&Restore> {
        match &self.run {
            Run::Restore(restore) => Some(restore),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_) => None,
        }
    }

    pub(super) fn restore_work(
        &self,
        restore: &Restore,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Work {
        match &restore.stage {
            RestoreStage::Ended(_) => Work::Nothing,
            // Nothing was changed.
            RestoreStage::AwaitingConfirmation { since }
                if now.millis_since(*since) > CONFIRM_MILLIS =>
            {
                Work::Advance(Box::new(self.failed("nobody confirmed it", now)))
            }
            RestoreStage::AwaitingConfirmation { .. } => {
                Work::Remind(Box::new(self.postponed(now.plus_millis(REMIND_MILLIS))))
            }
            RestoreStage::Comparing(_) | RestoreStage::Restoring(_) if !facts.active => {
                self.inactive(now)
            }
            RestoreStage::Comparing(position) => Work::CompareWithHistory(position.clone()),
            RestoreStage::Restoring(position) => Work::RestoreFiles(position.clone()),
        }
    }

    /// Records that this many more files were compared with their history; without a `next`
    /// position they were the last, and it is decided how it continues.
    #[must_use]
    pub fn on_compared_with_history(
        &self,
        found: &RestoreCounts,
        next: Option<String>,
        facts: &ConnectionFacts,
        now: Timestamp,
    ) -> Self {
        let Some(restore) = self.restore() else {
            return self.clone();
        };
        let RestoreStage::Comparing(_) = restore.stage else {
            return self.clone();
        };
        let mut restore = restore.clone();
        restore.counts.add(found);
        let counts = &restore.counts;
        let (stage, wait_millis) = if next.is_some() {
            (RestoreStage::Comparing(next), 0)
        } else if restore.dry_run || counts.to_restore == 0 {
            (RestoreStage::Ended(End::Done), 0)
        } else if counts.to_restore > facts.removals.limit_for(counts.files) {
            let stage = RestoreStage::AwaitingConfirmation { since: now };
            (stage, REMIND_MILLIS)
        } else {
            (RestoreStage::Restoring(None), 0)
        };
        self.with_restore(restore, stage, wait_millis, now)
    }

    /// Records that a page of files was edited; without a `next` position it was the last.
    #[must_use]
    pub fn on_restored(&self, done: &RestoreCounts, next: Option<String>, now: Timestamp) -> Self {
        let Some(restore) = self.restore() else {
            return self.clone();
        };
        let RestoreStage::Restoring(_) = restore.stage else {
            return self.clone();
        };
        let mut restore = restore.clone();
        restore.counts.add(done);
        let stage = match next {
            None => RestoreStage::Ended(End::Done),
            position => RestoreStage::Restoring(position),
        };
        self.with_restore(restore, stage, 0, now)
    }

    /// Postpones it until less is owed to Drive.
    #[must_use]
    pub fn on_too_much_owed(&self, now: Timestamp) -> Self {
        self.postponed(now.plus_millis(OWED_AGAIN_MILLIS))
    }

    fn with_restore(
        &self,
        restore: Restore,
        stage: RestoreStage,
        wait_millis: i64,
        now: Timestamp,
    ) -> Self {
        let restore = Restore {
            stage,
            steps: restore.steps + 1,
            progressed_at: Some(now),
            ..restore
        };
        self.moved(Run::Restore(restore), wait_millis, now)
    }

    /// Confirms or cancels it. A restore that is cancelled while it edits files ends where it
    /// stands: what was set back stays so.
    pub(super) fn decide_restore(
        &self,
        restore: &Restore,
        confirmed: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        let cancelled = matches!(restore.stage, RestoreStage::Ended(End::Cancelled));
        match (&restore.decision, confirmed, &restore.stage) {
            (Some(decision), true, _) if decision.confirmed => Ok(self.clone()),
            (Some(_), false, _) if cancelled => Ok(self.clone()),
            (Some(decision), true, _) => Err(DecisionRefused::Decided(decision.clone())),
            (_, false, RestoreStage::Ended(_)) => Err(DecisionRefused::NotCancellable),
            (None, true, RestoreStage::AwaitingConfirmation { .. }) | (_, false, _) => {
                let stage = match confirmed {
                    true => RestoreStage::Restoring(None),
                    false => RestoreStage::Ended(End::Cancelled),
                };
                let decision = Decision {
                    confirmed,
                    by: by.to_owned(),
                    at: now,
                };
                let decided = Restore {
                    decision: Some(decision),
                    ..restore.clone()
                };
                Ok(self.with_restore(decided, stage, 0, now))
            }
            (None, true, _) => Err(DecisionRefused::NotAwaited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::search::operation;
    use crate::{OperationState, RemovalLimits};

    const T: Timestamp = Timestamp::from_millis(1_000_000);

    fn facts(limit: u32, active: bool) -> ConnectionFacts {
        ConnectionFacts {
            active,
            mirrors_content: true,
            has_rules: false,
            removals: RemovalLimits {
                share_percent_max: 0,
                unasked_max: limit,
            },
        }
    }

    fn page(to_restore: u64) -> RestoreCounts {
        RestoreCounts {
            files: 3,
            to_restore,
            restored: 0,
            left: BTreeMap::from([(LeftReason::MadeSince, 1)]),
        }
    }

    fn done(restored: u64) -> RestoreCounts {
        RestoreCounts {
            restored,
            ..RestoreCounts::default()
        }
    }

    fn begun(dry_run: bool) -> Operation {
        operation(Run::restore(None, T, dry_run), T)
    }

    /// Plays the two pages of each stage to the end, as executors do. A person decides at a step.
    fn play(dry_run: bool, limit: u32, decide_at: Option<(usize, bool)>) -> Vec<Operation> {
        let (facts, mut now) = (facts(limit, true), T);
        let mut course = vec![begun(dry_run)];
        for step in 0..20 {
            let current = course.last().unwrap().clone();
            if let Some((_, confirmed)) = decide_at.filter(|(at, _)| *at == step)
                && let Ok(decided) = current.decide(confirmed, "bob", now)
            {
                course.push(decided);
                continue;
            }
            now = current.due_at.unwrap_or(now);
            let next = |position: &Option<String>| position.is_none().then(|| "2".to_owned());
            let work = current.next_work(&facts, now);
            let after = if let Work::CompareWithHistory(position) = &work {
                current.on_compared_with_history(&page(2), next(position), &facts, now)
            } else if let Work::RestoreFiles(position) = &work {
                current.on_restored(&done(2), next(position), now)
            } else if let Work::Remind(after) | Work::Advance(after) = work {
                *after
            } else {
                assert_eq!(work, Work::Nothing);
                return course;
            };
            course.push(after);
        }
        course
    }

    fn counts(course: &[Operation]) -> &RestoreCounts {
        &course.last().unwrap().restore().unwrap().counts
    }

    #[test]
    fn it_edits_only_within_the_limit_or_once_it_is_confirmed() {
        for dry_run in [true, false] {
            for limit in [3, 4] {
                for decide_at in (0..8).flat_map(|at| [None, Some((at, true)), Some((at, false))]) {
                    let course = play(dry_run, limit, decide_at);
                    let said = format!("{dry_run} {limit} {decide_at:?}");
                    let last = course.last().unwrap();
                    let restored = counts(&course).restored;
                    let asked = course.iter().any(|at| at.awaits_confirmation().is_some());
                    let decision = last.restore().unwrap().decision.clone();
                    let confirmed = decision.as_ref().is_some_and(|decided| decided.confirmed);
                    let edits = course
                        .iter()
                        .any(|at| at.state() == OperationState::Restoring);
                    assert!(!dry_run || restored == 0 && !asked, "{said}");
                    assert!(limit == 4 || !edits || decide_at.is_some(), "{said}");
                    if limit == 3 && restored > 0 && last.state() == OperationState::Done {
                        assert!(confirmed && asked, "{said}");
                    }
                    if last.state() == OperationState::Done {
                        let wanted = if dry_run { 0 } else { 4 };
                        assert_eq!(restored, wanted, "{said}");
                        assert_eq!(counts(&course).files, 6, "{said}");
                        assert_eq!(counts(&course).left[&LeftReason::MadeSince], 2, "{said}");
                    }
                    let cancelled = decision.is_some_and(|decided| !decided.confirmed);
                    assert_eq!(
                        last.state() == OperationState::Cancelled,
                        cancelled,
                        "{said}"
                    );
                    for at in &course {
                        let back = at.form().into_run();
                        assert_eq!(back.as_ref(), Some(&at.run), "{said}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_ends_if_nobody_confirms_and_waits_for_an_inactive_connection() {
        let begun = begun(false);
        let waiting = begun.on_compared_with_history(&page(2), None, &facts(1, true), T);
        assert_eq!(waiting.awaits_confirmation(), Some(T));
        let late = T.plus_millis(CONFIRM_MILLIS + 1);
        let Work::Advance(ended) = waiting.next_work(&facts(1, true), late) else {
            panic!("it waits for ever");
        };
        assert_eq!(ended.state(), OperationState::Failed);
        let Work::Advance(later) = begun.next_work(&facts(1, false), T) else {
            panic!("it reads a connection that is not active");
        };
        assert_eq!(later.run, begun.run);
        assert!(later.due_at > Some(T));
    }

    #[test]
    fn a_decision_is_made_once_and_an_end_stays() {
        let waiting = begun(false).on_compared_with_history(&page(2), None, &facts(1, true), T);
        let confirmed = waiting.decide(true, "bob", T).unwrap();
        assert_eq!(confirmed.decide(true, "eve", T), Ok(confirmed.clone()));
        let stopped = confirmed.decide(false, "eve", T).unwrap();
        assert_eq!(stopped.state(), OperationState::Cancelled);
        assert_eq!(stopped.decide(false, "bob", T), Ok(stopped.clone()));
        assert!(matches!(
            stopped.decide(true, "bob", T),
            Err(DecisionRefused::Decided(_))
        ));
        let refused = begun(false).decide(true, "bob", T);
        assert_eq!(refused, Err(DecisionRefused::NotAwaited));
        let all = confirmed.on_restored(&done(2), None, T);
        assert_eq!(
            all.decide(false, "bob", T),
            Err(DecisionRefused::NotCancellable)
        );
        let nothing = begun(false).on_compared_with_history(&page(0), None, &facts(1, true), T);
        assert_eq!(nothing.state(), OperationState::Done);
        let unchanged = nothing.on_restored(&done(2), None, T);
        assert_eq!(unchanged, nothing);
    }
}
