//! The erasure of a person: what names the person in the items of a tenant is replaced by
//! `erased:<n>` ([`crate::trail::ErasedPersons`]).
//!
//! The name is replaced on the way in before the operation begins. Everything is counted first, so
//! that an interruption changes no count. The first pass replaces the name in every item. Work that
//! began before may still write it, so the second pass begins when all of that must have ended; it
//! also finds where Drive still has the person.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels::labels;
use crate::operation::{DecisionRefused, End, ErasedCounts, Operation, QUIET_MILLIS, Run};
use crate::{ConnectionId, FileId, Timestamp};

/// The most files of a connection that a certificate names; the others are counted.
pub const NAMED_FILES_MAX: usize = 100;
/// The most connections whose files a certificate names; of the others, files are counted.
const NAMED_CONNECTIONS_MAX: usize = 50;

/// The erasure of a person.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErasePerson {
    /// It only counts.
    pub dry_run: bool,
    /// The HMAC of the person's name: the operation does not name whom it erases.
    pub person: String,
    /// The number that stands in place of the name; 0 in a dry run.
    pub number: u32,
    /// The time at which no work that began before the erasure can still run.
    pub quiet_at: Timestamp,
    /// Its stage.
    pub stage: ErasePersonStage,
    /// The number of items that named the person; in a dry run, of those that do.
    pub counts: ErasedCounts,
    /// Where Drive still has the person.
    pub in_drive: InDrive,
    /// Connections whose settings name the person, which only people change.
    pub in_settings: BTreeSet<ConnectionId>,
    /// The number of steps that were recorded.
    pub steps: u32,
    /// The time of the last one.
    pub progressed_at: Option<Timestamp>,
}

/// The files of connections that Drive still shows with a person.
pub type InDrive = BTreeMap<ConnectionId, NamedFiles>;

/// The files of a connection that Drive still shows with a person: as the owner, as who changed it
/// last, or in a permission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NamedFiles {
    /// Their number.
    pub count: u64,
    /// Some of them.
    pub files: Vec<FileId>,
}

/// The stage of a person's erasure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ErasePersonStage {
    /// This part is in progress, from a position on.
    Looking(PersonPart, Option<String>),
    /// Work that began before may still run.
    Draining,
    /// It has ended.
    Ended(End),
}

/// A look at every item of the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersonPart {
    /// What names the person is counted.
    Count,
    /// It is replaced.
    Replace,
    /// What was written meanwhile is replaced, and what Drive has is listed.
    Verify,
}

labels!(PersonPart {
    Count = "count",
    Replace = "replace",
    Verify = "verify",
});

/// What one step has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonFound {
    /// The items that named the person, by kind.
    pub counts: ErasedCounts,
    /// Files that Drive shows with the person.
    pub in_drive: Vec<(ConnectionId, FileId)>,
    /// Connections whose settings name the person.
    pub in_settings: BTreeSet<ConnectionId>,
}

/// The next piece of work of a person's erasure that is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ErasePersonWork {
    /// Nothing: it has ended, or is no such operation.
    Nothing,
    /// Record this next state; there is nothing else to do.
    Advance(Box<Operation>),
    /// Look at the items from this position on.
    Look(PersonPart, Option<String>),
}

impl ErasePerson {
    fn new(person: String, number: u32, now: Timestamp) -> Self {
        Self {
            dry_run: false,
            person,
            number,
            quiet_at: now.plus_millis(QUIET_MILLIS),
            stage: ErasePersonStage::Looking(PersonPart::Count, None),
            counts: ErasedCounts::new(),
            in_drive: InDrive::new(),
            in_settings: BTreeSet::new(),
            steps: 0,
            progressed_at: None,
        }
    }

    pub(in crate::operation) fn end(&self) -> Option<&End> {
        match &self.stage {
            ErasePersonStage::Ended(end) => Some(end),
            ErasePersonStage::Looking(..) | ErasePersonStage::Draining => None,
        }
    }

    /// Returns its stage as a part and a position in it, in the form of an item.
    pub(in crate::operation) fn position(&self) -> Option<String> {
        match &self.stage {
            ErasePersonStage::Looking(part, position) => {
                let position = position.as_deref().unwrap_or_default();
                Some(format!("{}#{position}", part.label()))
            }
            ErasePersonStage::Draining | ErasePersonStage::Ended(_) => None,
        }
    }

    pub(in crate::operation) fn looking_at(position: &str) -> Option<ErasePersonStage> {
        let (part, rest) = position.split_once('#')?;
        let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        Some(ErasePersonStage::Looking(
            PersonPart::from_label(part)?,
            rest,
        ))
    }

    fn add(&mut self, part: PersonPart, found: PersonFound) {
        for (kind, count) in found.counts {
            // What the first pass replaces was counted beforehand.
            if part != PersonPart::Replace {
                *self.counts.entry(kind).or_default() += count;
            }
        }
        if part == PersonPart::Verify {
            for (connection, file) in found.in_drive {
                let connections = self.in_drive.len();
                let of_connection = self.in_drive.entry(connection).or_default();
                of_connection.count += 1;
                if of_connection.files.len() < NAMED_FILES_MAX
                    && connections <= NAMED_CONNECTIONS_MAX
                {
                    of_connection.files.push(file);
                }
            }
            self.in_settings.extend(found.in_settings);
        }
    }
}

impl Run {
    /// Creates the erasure of a person whose name was replaced on the way in by this time.
    #[must_use]
    pub fn erase_person(person: String, number: u32, now: Timestamp) -> Self {
        Self::ErasePerson(ErasePerson::new(person, number, now))
    }

    /// Creates a count of what names a person.
    #[must_use]
    pub fn count_person(person: String, now: Timestamp) -> Self {
        Self::ErasePerson(ErasePerson {
            dry_run: true,
            ..ErasePerson::new(person, 0, now)
        })
    }
}

impl Operation {
    /// Returns the erasure of a person, if it is one.
    #[must_use]
    pub fn person_erasure(&self) -> Option<&ErasePerson> {
        match &self.run {
            Run::ErasePerson(erase) => Some(erase),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::EraseTenant(_)
            | Run::Restore(_) => None,
        }
    }

    /// Returns what an executor must do now for the erasure of a person.
    #[must_use]
    pub fn next_person_work(&self, now: Timestamp) -> ErasePersonWork {
        let Some(erase) = self.person_erasure() else {
            return ErasePersonWork::Nothing;
        };
        match &erase.stage {
            ErasePersonStage::Looking(part, position) => {
                ErasePersonWork::Look(*part, position.clone())
            }
            ErasePersonStage::Draining if now < erase.quiet_at => {
                ErasePersonWork::Advance(Box::new(self.postponed(erase.quiet_at)))
            }
            ErasePersonStage::Draining => {
                let stage = ErasePersonStage::Looking(PersonPart::Verify, None);
                ErasePersonWork::Advance(Box::new(self.at_person_stage(erase, stage, now)))
            }
            ErasePersonStage::Ended(_) => ErasePersonWork::Nothing,
        }
    }

    fn at_person_stage(
        &self,
        erase: &ErasePerson,
        stage: ErasePersonStage,
        now: Timestamp,
    ) -> Self {
        let erase = ErasePerson {
            stage,
            steps: erase.steps.saturating_add(1),
            progressed_at: Some(now),
            ..erase.clone()
        };
        self.moved(Run::ErasePerson(erase), 0, now)
    }

    /// Records what a step of the part in progress has found; without a `next` position the part is
    /// done.
    #[must_use]
    pub fn on_looked(&self, found: PersonFound, next: Option<String>, now: Timestamp) -> Self {
        let Some(erase) = self.person_erasure() else {
            return self.clone();
        };
        let ErasePersonStage::Looking(part, _) = erase.stage else {
            return self.clone();
        };
        let mut erase = erase.clone();
        erase.add(part, found);
        let stage = match (next, part) {
            (Some(next), part) => ErasePersonStage::Looking(part, Some(next)),
            (None, PersonPart::Count) if erase.dry_run => ErasePersonStage::Ended(End::Done),
            (None, PersonPart::Count) => ErasePersonStage::Looking(PersonPart::Replace, None),
            (None, PersonPart::Replace) => ErasePersonStage::Draining,
            (None, PersonPart::Verify) => ErasePersonStage::Ended(End::Done),
        };
        self.at_person_stage(&erase, stage, now)
    }

    /// Cancels the erasure of a person: what was replaced stays replaced, also on the way in.
    pub(in crate::operation) fn cancel_person_erasure(
        &self,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        let erase = self.person_erasure();
        let erase = erase.ok_or(DecisionRefused::NotCancellable)?;
        match &erase.stage {
            ErasePersonStage::Looking(..) | ErasePersonStage::Draining => {
                let stage = ErasePersonStage::Ended(End::Cancelled);
                Ok(self.at_person_stage(erase, stage, now))
            }
            ErasePersonStage::Ended(End::Cancelled) => Ok(self.clone()),
            ErasePersonStage::Ended(End::Done | End::Failed { .. }) => {
                Err(DecisionRefused::NotCancellable)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::ErasedKind;
    use crate::operation::search::operation;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    /// Takes the work that is due, each part in two steps of one record each.
    fn step(operation: &Operation, now: Timestamp) -> Option<Operation> {
        match operation.next_person_work(now) {
            ErasePersonWork::Nothing => None,
            ErasePersonWork::Advance(after) => Some(*after),
            ErasePersonWork::Look(_, position) => {
                let file = position.as_deref().unwrap_or("1");
                let found = PersonFound {
                    counts: ErasedCounts::from([(ErasedKind::Records, 1)]),
                    in_drive: vec![(
                        ConnectionId::parse("c_01").unwrap(),
                        FileId::parse(file).unwrap(),
                    )],
                    in_settings: BTreeSet::new(),
                };
                let next = position.is_none().then(|| "2".to_owned());
                Some(operation.on_looked(found, next, now))
            }
        }
    }

    #[test]
    fn the_second_pass_waits_until_no_earlier_work_can_run_and_lists_what_drive_has() {
        let mut operation = operation(Run::erase_person("p_x".to_owned(), 3, START), START);
        let (mut parts, mut now) = (Vec::new(), START);
        while let Some(after) = step(&operation, now) {
            if let ErasePersonWork::Look(part, None) = operation.next_person_work(now) {
                parts.push((part, now));
            }
            assert!(!operation.stands_like(&after) || after.due_at > operation.due_at);
            let form = after.form();
            assert_eq!(
                form.into_run().as_ref(),
                Some(&after.run),
                "it is stored whole"
            );
            operation = after;
            now = operation.due_at.map_or(now, |due| due.max(now));
        }
        let quiet = START.plus_millis(QUIET_MILLIS);
        assert_eq!(
            parts,
            [
                (PersonPart::Count, START),
                (PersonPart::Replace, START),
                (PersonPart::Verify, quiet)
            ]
        );
        let erase = operation.person_erasure().unwrap();
        assert_eq!(erase.end(), Some(&End::Done));
        // Two were counted beforehand, and two came later.
        assert_eq!(erase.counts, ErasedCounts::from([(ErasedKind::Records, 4)]));
        let named: Vec<_> = erase.in_drive.values().collect();
        assert_eq!(
            (named.len(), named[0].count, named[0].files.len()),
            (1, 2, 2)
        );
    }

    #[test]
    fn a_dry_run_only_counts() {
        let mut operation = operation(Run::count_person("p_x".to_owned(), START), START);
        while let Some(after) = step(&operation, START) {
            operation = after;
        }
        let erase = operation.person_erasure().unwrap();
        assert_eq!((erase.steps, erase.end()), (2, Some(&End::Done)));
        assert!(erase.in_drive.is_empty());
    }

    #[test]
    fn it_is_cancelled_at_any_time_and_only_once() {
        let (mut operation, mut now) = (
            operation(Run::erase_person("p_x".to_owned(), 3, START), START),
            START,
        );
        while let Some(after) = step(&operation, now) {
            let cancelled = operation.decide(false, "bob", now).unwrap();
            assert_eq!(cancelled.next_person_work(now), ErasePersonWork::Nothing);
            assert_eq!(cancelled.decide(false, "bob", now), Ok(cancelled.clone()));
            let late = cancelled.on_looked(PersonFound::default(), None, now);
            assert_eq!(late, cancelled, "a late step changes nothing");
            operation = after;
            now = operation.due_at.unwrap_or(now);
        }
        assert!(operation.decide(false, "bob", now).is_err(), "it is over");
        assert!(operation.decide(true, "bob", now).is_err());
    }

    #[test]
    fn many_files_are_counted_and_some_are_named() {
        let mut operation = operation(Run::erase_person("p_x".to_owned(), 3, START), START);
        if let Run::ErasePerson(erase) = &mut operation.run {
            erase.stage = ErasePersonStage::Looking(PersonPart::Verify, None);
        }
        let connection = ConnectionId::parse("c_01").unwrap();
        let file = |n: usize| FileId::parse(&format!("f{n}")).unwrap();
        let found = PersonFound {
            in_drive: (0..250).map(|n| (connection.clone(), file(n))).collect(),
            ..PersonFound::default()
        };
        let done = operation.on_looked(found, None, START);
        let named = &done.person_erasure().unwrap().in_drive[&connection];
        assert_eq!((named.count, named.files.len()), (250, NAMED_FILES_MAX));
    }
}
