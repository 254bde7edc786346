//! The erasure of a connection: everything that is stored of it is deleted, in two passes.
//!
//! Everything is counted beforehand, so that an interruption changes no count. The first pass
//! follows the keys: the files, then the items of the connection itself. Work that
//! began before the connection was deleted may still write, so the second pass begins when all of
//! it must have ended, and looks at *every* item of the table and every object of the tenant: it
//! finds what no key leads to. Only then is the erasure certified.

use std::collections::BTreeMap;

use crate::Timestamp;
use crate::labels::labels;
use crate::operation::{DecisionRefused, End, Operation, Run, Work};

/// The time for which a connection that was deleted can be restored, in milliseconds: 30 days.
pub const RESTORE_MILLIS: i64 = 30 * 24 * 3_600_000;
/// The longest time that a function works with a connection that it has loaded, in milliseconds: 15
/// minutes, the longest run of a Lambda function, and a minute for clocks that differ.
pub const QUIET_MILLIS: i64 = 16 * 60_000;

/// The erasure of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Erase {
    /// It only counts, and the connection is not deleted.
    pub dry_run: bool,
    /// The generation of the connection that is erased.
    pub generation: u32,
    /// The time at which it begins by itself.
    pub begins_at: Timestamp,
    /// The time at which no work that began before the deletion can still run.
    pub quiet_at: Timestamp,
    /// Its stage.
    pub stage: EraseStage,
    /// What was erased so far; in a dry run, what would be.
    pub counts: ErasedCounts,
    /// The number of steps that were recorded.
    pub steps: u32,
    /// The time of the last one.
    pub progressed_at: Option<Timestamp>,
}

/// The stage of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EraseStage {
    /// It waits for its time.
    Waiting,
    /// This part is being erased, from a position on.
    Erasing(ErasePart, Option<String>),
    /// Work that began before the deletion may still run.
    Draining,
    /// Nothing is left: the certificate is to be stored.
    Certifying,
    /// It has ended.
    Ended(End),
}

/// A part of what is erased, in the order in which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErasePart {
    /// The files are counted.
    CountFiles,
    /// The items of the connection as a whole are counted.
    CountItems,
    /// The files, by the index of all of them.
    Files,
    /// The items of the connection as a whole.
    Items,
    /// What is left anywhere in the table.
    Remains,
    /// The objects of the tenant that nothing refers to, with all versions.
    Objects,
}

/// The kinds of what is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErasedKind {
    /// Records of files.
    Records,
    /// States in their history.
    History,
    /// Records of conflicts.
    Conflicts,
    /// Stored versions of contents, and the states of their transfers.
    Contents,
    /// Objects in the bucket, and their versions.
    Objects,
    /// Dead letters.
    DeadLetters,
    /// Operations, with their pages and findings.
    Operations,
    /// Change logs and their channels.
    Logs,
    /// Unfinished uploads.
    Uploads,
    /// Everything else: events, the rate limit, answers to requests with a key, schedules.
    Others,
}

/// The number of erased items and objects by kind; kinds without any are absent.
pub type ErasedCounts = BTreeMap<ErasedKind, u64>;

labels!(ErasePart {
    CountFiles = "count_files",
    CountItems = "count_items",
    Files = "files",
    Items = "items",
    Remains = "remains",
    Objects = "objects",
});

impl ErasePart {
    /// Returns whether nothing is deleted in it.
    #[must_use]
    pub fn only_counts(self) -> bool {
        match self {
            Self::CountFiles | Self::CountItems => true,
            Self::Files | Self::Items | Self::Remains | Self::Objects => false,
        }
    }

    /// Returns whether what it deletes was counted beforehand. The versions of an object are
    /// counted when they are deleted.
    fn is_counted_before(self, kind: ErasedKind) -> bool {
        match self {
            Self::Files | Self::Items => kind != ErasedKind::Objects,
            Self::CountFiles | Self::CountItems | Self::Remains | Self::Objects => false,
        }
    }

    /// Returns the stage after this part.
    fn following(self, dry_run: bool) -> EraseStage {
        match self {
            Self::CountFiles => EraseStage::Erasing(Self::CountItems, None),
            Self::CountItems if dry_run => EraseStage::Ended(End::Done),
            Self::CountItems => EraseStage::Erasing(Self::Files, None),
            Self::Files => EraseStage::Erasing(Self::Items, None),
            Self::Items => EraseStage::Draining,
            Self::Remains => EraseStage::Erasing(Self::Objects, None),
            Self::Objects => EraseStage::Certifying,
        }
    }
}

labels!(ErasedKind {
    Records = "records",
    History = "history",
    Conflicts = "conflicts",
    Contents = "contents",
    Objects = "objects",
    DeadLetters = "dead_letters",
    Operations = "operations",
    Logs = "logs",
    Uploads = "uploads",
    Others = "others",
});

impl Erase {
    fn new(generation: u32, deleted_at: Timestamp, begins_at: Timestamp, dry_run: bool) -> Self {
        Self {
            dry_run,
            generation,
            begins_at,
            quiet_at: deleted_at.plus_millis(QUIET_MILLIS),
            stage: EraseStage::Waiting,
            counts: ErasedCounts::new(),
            steps: 0,
            progressed_at: None,
        }
    }

    pub(in crate::operation) fn end(&self) -> Option<&End> {
        match &self.stage {
            EraseStage::Ended(end) => Some(end),
            EraseStage::Waiting
            | EraseStage::Erasing(..)
            | EraseStage::Draining
            | EraseStage::Certifying => None,
        }
    }

    /// Returns whether it has not begun, ever: everything that belongs to the connection is there.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.stage == EraseStage::Waiting && self.steps == 0
    }

    /// Returns its stage as a part and a position in it, in the form of an item.
    pub(in crate::operation) fn position(&self) -> Option<String> {
        match &self.stage {
            EraseStage::Erasing(part, position) => {
                let part = part.label();
                Some(format!(
                    "{part}#{}",
                    position.as_deref().unwrap_or_default()
                ))
            }
            EraseStage::Certifying => Some("certificate#".to_owned()),
            EraseStage::Waiting | EraseStage::Draining | EraseStage::Ended(_) => None,
        }
    }

    pub(in crate::operation) fn stage_at(position: &str) -> Option<EraseStage> {
        let (part, rest) = position.split_once('#')?;
        if part == "certificate" {
            return Some(EraseStage::Certifying);
        }
        let part = ErasePart::from_label(part)?;
        let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        Some(EraseStage::Erasing(part, rest))
    }
}

impl Run {
    /// Creates the erasure of a connection that was deleted at this time. It begins at `begins_at`.
    #[must_use]
    pub fn erase(generation: u32, deleted_at: Timestamp, begins_at: Timestamp) -> Self {
        Self::Erase(Erase::new(generation, deleted_at, begins_at, false))
    }

    /// Creates a count of what the erasure of a connection would erase.
    #[must_use]
    pub fn count_erasable(generation: u32, now: Timestamp) -> Self {
        Self::Erase(Erase::new(generation, now, now, true))
    }
}

impl Operation {
    /// Returns the erasure, if it is one.
    #[must_use]
    pub fn erasure(&self) -> Option<&Erase> {
        match &self.run {
            Run::Erase(erase) => Some(erase),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
        }
    }

    pub(in crate::operation) fn erase_work(&self, erase: &Erase, now: Timestamp) -> Work {
        match &erase.stage {
            EraseStage::Waiting => {
                // One that was cancelled half way has counted what it erases.
                let first = match erase.counts.is_empty() {
                    true => ErasePart::CountFiles,
                    false => ErasePart::Files,
                };
                let stage = EraseStage::Erasing(first, None);
                Work::Advance(Box::new(self.at_stage(erase, stage, now)))
            }
            EraseStage::Erasing(part, position) => Work::Erase(*part, position.clone()),
            EraseStage::Draining if now < erase.quiet_at => {
                Work::Advance(Box::new(self.postponed(erase.quiet_at)))
            }
            EraseStage::Draining => {
                let stage = EraseStage::Erasing(ErasePart::Remains, None);
                Work::Advance(Box::new(self.at_stage(erase, stage, now)))
            }
            EraseStage::Certifying => Work::Certify,
            EraseStage::Ended(_) => Work::Nothing,
        }
    }

    fn at_stage(&self, erase: &Erase, stage: EraseStage, now: Timestamp) -> Self {
        let erase = Erase {
            stage,
            steps: erase.steps.saturating_add(1),
            progressed_at: Some(now),
            ..erase.clone()
        };
        self.moved(Run::Erase(erase), 0, now)
    }

    /// Records that this was erased of the part in progress; without a `next` position the part is
    /// done. It is recorded after the deletions, so an erasure that is cut off repeats a step,
    /// which finds less. What the first pass deletes was counted beforehand.
    #[must_use]
    pub fn on_erased(&self, counts: &ErasedCounts, next: Option<String>, now: Timestamp) -> Self {
        let Some(erase) = self.erasure() else {
            return self.clone();
        };
        let EraseStage::Erasing(part, _) = erase.stage else {
            return self.clone();
        };
        let mut erase = erase.clone();
        let uncounted = counts.iter();
        for (kind, count) in uncounted.filter(|(kind, _)| !part.is_counted_before(**kind)) {
            *erase.counts.entry(*kind).or_default() += count;
        }
        let stage = match next {
            Some(position) => EraseStage::Erasing(part, Some(position)),
            None => part.following(erase.dry_run),
        };
        self.at_stage(&erase, stage, now)
    }

    /// Returns the erasure as one that begins now, or goes on.
    #[must_use]
    pub fn hastened(&self, now: Timestamp) -> Self {
        match self.erasure() {
            Some(erase) if erase.stage == EraseStage::Waiting => {
                let hastened = Erase {
                    begins_at: now,
                    ..erase.clone()
                };
                self.moved(Run::Erase(hastened), 0, now)
            }
            Some(_) | None => self.clone(),
        }
    }

    /// Cancels an erasure: one that counts ends, another one stops where it is, and begins anew at
    /// the end of the time in which the connection could have been restored. What was erased stays
    /// erased.
    pub(in crate::operation) fn cancel_erasure(
        &self,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        let cancellable = |erase: &&Erase| match erase.stage {
            EraseStage::Waiting | EraseStage::Erasing(..) | EraseStage::Draining => true,
            EraseStage::Certifying | EraseStage::Ended(_) => false,
        };
        let erase = self.erasure().filter(cancellable);
        let erase = erase.ok_or(DecisionRefused::NotCancellable)?;
        if erase.dry_run {
            return Ok(self.at_stage(erase, EraseStage::Ended(End::Cancelled), now));
        }
        let deleted_at = erase.quiet_at.plus_millis(-QUIET_MILLIS);
        let begins_at = deleted_at.plus_millis(RESTORE_MILLIS).max(now);
        let counting = matches!(&erase.stage, EraseStage::Erasing(part, _) if part.only_counts());
        let counts = match counting {
            true => ErasedCounts::new(),
            false => erase.counts.clone(),
        };
        let stopped = Erase {
            begins_at,
            counts,
            steps: erase.steps + u32::from(erase.stage != EraseStage::Waiting),
            stage: EraseStage::Waiting,
            ..erase.clone()
        };
        Ok(self.moved(Run::Erase(stopped), 0, begins_at))
    }

    /// Ends an erasure that has not begun, since the connection is restored; `None` if it has.
    #[must_use]
    pub fn restored(&self, now: Timestamp) -> Option<Self> {
        let erase = self.erasure().filter(|erase| erase.is_untouched())?;
        Some(self.at_stage(erase, EraseStage::Ended(End::Cancelled), now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::search::operation;
    use crate::operation::{ConnectionFacts, RemovalLimits};

    const DELETED: Timestamp = Timestamp::from_millis(1_000_000);
    const FACTS: ConnectionFacts = ConnectionFacts {
        active: false,
        mirrors_content: false,
        has_rules: false,
        removals: RemovalLimits::NONE,
    };

    fn erasing() -> Operation {
        operation(Run::erase(3, DELETED, DELETED), DELETED)
    }

    /// Takes the work that is due at this time, each part in two steps.
    fn step(operation: &Operation, now: Timestamp) -> Option<Operation> {
        let work = operation.next_work(&FACTS, now);
        if let Work::Advance(after) = work {
            return Some(*after);
        }
        if let Work::Erase(_, position) = work {
            let one = ErasedCounts::from([(ErasedKind::Records, 1)]);
            return Some(match position {
                None => operation.on_erased(&one, Some("2".to_owned()), now),
                Some(_) => operation.on_erased(&ErasedCounts::new(), None, now),
            });
        }
        (work == Work::Certify).then(|| operation.ended(End::Done, now))
    }

    #[test]
    fn the_second_pass_waits_until_no_earlier_work_can_run() {
        let mut operation = erasing();
        let mut parts = Vec::new();
        let mut now = DELETED;
        while let Some(after) = step(&operation, now) {
            if let Work::Erase(part, None) = operation.next_work(&FACTS, now) {
                parts.push((part, now));
            }
            assert!(!operation.stands_like(&after) || after.due_at > operation.due_at);
            operation = after;
            now = operation.due_at.map_or(now, |due| due.max(now));
        }
        let quiet = DELETED.plus_millis(QUIET_MILLIS);
        assert_eq!(
            parts,
            [
                (ErasePart::CountFiles, DELETED),
                (ErasePart::CountItems, DELETED),
                (ErasePart::Files, DELETED),
                (ErasePart::Items, DELETED),
                (ErasePart::Remains, quiet),
                (ErasePart::Objects, quiet),
            ]
        );
        assert_eq!(operation.run.end(), Some(&End::Done));
        assert_eq!(operation.finished_at, Some(quiet));
        let counts = &operation.erasure().unwrap().counts;
        assert_eq!(counts[&ErasedKind::Records], 4);
    }

    #[test]
    fn every_stage_is_stored_and_read_back() {
        let mut operation = erasing();
        let mut now = DELETED;
        loop {
            assert_eq!(
                operation.form().into_run().as_ref(),
                Some(&operation.run),
                "{operation:?}"
            );
            let Some(after) = step(&operation, now) else {
                break;
            };
            operation = after;
            now = now.plus_millis(QUIET_MILLIS);
        }
        assert!(operation.has_ended());
    }

    #[test]
    fn only_an_untouched_erasure_is_given_up_for_a_restore() {
        let waiting = erasing();
        let restored = waiting.restored(DELETED).unwrap();
        assert_eq!(restored.run.end(), Some(&End::Cancelled));
        assert!(!waiting.stands_like(&restored));
        let begun = step(&waiting, DELETED).unwrap();
        assert_eq!(begun.restored(DELETED), None);
        let cancelled = begun.decide(false, "ann", DELETED).unwrap();
        assert_eq!(
            cancelled.due_at,
            Some(DELETED.plus_millis(RESTORE_MILLIS)),
            "it begins anew in time"
        );
        assert_eq!(cancelled.restored(DELETED), None, "half of it is gone");
        assert!(!begun.stands_like(&cancelled));
        let again = cancelled.hastened(DELETED);
        assert!(again.is_due(DELETED));
        assert!(step(&again, DELETED).is_some());
    }

    #[test]
    fn a_dry_run_ends_when_everything_is_counted() {
        let mut operation = operation(Run::count_erasable(1, DELETED), DELETED);
        while let Some(after) = step(&operation, DELETED) {
            operation = after;
        }
        assert_eq!(operation.run.end(), Some(&End::Done));
        assert_eq!(operation.erasure().unwrap().counts[&ErasedKind::Records], 2);
        assert!(operation.is_dry_run());
    }
}
