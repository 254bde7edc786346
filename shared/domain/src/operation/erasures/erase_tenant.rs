//! The erasure of a tenant: every connection by its own erasure, then everything else that is
//! stored of the tenant, and at last the key of the persons in its audit trail.
//!
//! Everything is counted first. What is left beside the connections is deleted when no work that
//! began before their end can still run; if a connection was made meanwhile, it is erased before.

use crate::Timestamp;
use crate::labels::labels;
use crate::operation::{DecisionRefused, End, ErasedCounts, Operation, QUIET_MILLIS, Run};

/// How long the erasures of the connections are waited for before they are looked at again, in
/// milliseconds.
const AGAIN_MILLIS: i64 = 60_000;

/// The erasure of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EraseTenant {
    /// It only counts.
    pub dry_run: bool,
    /// Its stage.
    pub stage: EraseTenantStage,
    /// What was erased so far; in a dry run, what would be.
    pub counts: ErasedCounts,
    /// The number of steps that were recorded.
    pub steps: u32,
    /// The time of the last one.
    pub progressed_at: Option<Timestamp>,
}

/// The stage of a tenant's erasure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EraseTenantStage {
    /// The items are counted, from a position on.
    Counting(Option<String>),
    /// The connections are erased, each by an operation of its own.
    Connections,
    /// All connections are erased, and until this time earlier work may still run.
    Draining(Timestamp),
    /// This part is being erased, from a position on.
    Erasing(TenantPart, Option<String>),
    /// It has ended.
    Ended(End),
}

/// A part of what is erased of a tenant after its connections, in the order in which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TenantPart {
    /// The objects in the bucket, with all versions.
    Objects,
    /// The items of the table.
    Items,
}

labels!(TenantPart {
    Objects = "objects",
    Items = "items",
});

/// The next piece of work of a tenant's erasure that is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EraseTenantWork {
    /// Nothing: it has ended, or is no such operation.
    Nothing,
    /// Record this next state; there is nothing else to do.
    Advance(Box<Operation>),
    /// Count the items from this position on.
    Count(Option<String>),
    /// Begin the erasure of each connection that is not erased.
    EraseConnections,
    /// Erase this part from a position on.
    Erase(TenantPart, Option<String>),
}

impl EraseTenant {
    pub(in crate::operation) fn end(&self) -> Option<&End> {
        match &self.stage {
            EraseTenantStage::Ended(end) => Some(end),
            EraseTenantStage::Counting(_)
            | EraseTenantStage::Connections
            | EraseTenantStage::Draining(_)
            | EraseTenantStage::Erasing(..) => None,
        }
    }

    /// Returns its stage as a part and a position in it, in the form of an item.
    pub(in crate::operation) fn position(&self) -> Option<String> {
        let text = |part: &str, position: &Option<String>| {
            Some(format!(
                "{part}#{}",
                position.as_deref().unwrap_or_default()
            ))
        };
        match &self.stage {
            EraseTenantStage::Counting(position) => text("count", position),
            EraseTenantStage::Connections => text("connections", &None),
            EraseTenantStage::Draining(until) => Some(until.as_millis().to_string()),
            EraseTenantStage::Erasing(part, position) => text(part.label(), position),
            EraseTenantStage::Ended(_) => None,
        }
    }

    pub(in crate::operation) fn stage_at(position: &str) -> Option<EraseTenantStage> {
        let (part, rest) = position.split_once('#')?;
        let rest = Some(rest.to_owned()).filter(|rest| !rest.is_empty());
        Some(match part {
            "count" => EraseTenantStage::Counting(rest),
            "connections" => EraseTenantStage::Connections,
            part => EraseTenantStage::Erasing(TenantPart::from_label(part)?, rest),
        })
    }

    pub(in crate::operation) fn draining_at(position: &str) -> Option<EraseTenantStage> {
        let until = position.parse().ok()?;
        Some(EraseTenantStage::Draining(Timestamp::from_millis(until)))
    }
}

impl Run {
    /// Creates the erasure of a tenant; in a dry run, a count of what it would erase.
    #[must_use]
    pub fn erase_tenant(dry_run: bool) -> Self {
        Self::EraseTenant(EraseTenant {
            dry_run,
            stage: EraseTenantStage::Counting(None),
            counts: ErasedCounts::new(),
            steps: 0,
            progressed_at: None,
        })
    }
}

impl Operation {
    /// Returns the erasure of a tenant, if it is one.
    #[must_use]
    pub fn tenant_erasure(&self) -> Option<&EraseTenant> {
        match &self.run {
            Run::EraseTenant(erase) => Some(erase),
            Run::Sync(_)
            | Run::Audit(_)
            | Run::LeaveDrive(_)
            | Run::ContentScan(_)
            | Run::Erase(_)
            | Run::Export(_)
            | Run::ErasePerson(_)
            | Run::Restore(_) => None,
        }
    }

    /// Returns whether it erases its tenant and has not ended: nothing new is begun meanwhile.
    #[must_use]
    pub fn is_erasing_tenant(&self) -> bool {
        let erase = self.tenant_erasure();
        erase.is_some_and(|erase| !erase.dry_run && erase.end().is_none())
    }

    /// Returns what an executor must do now for the erasure of a tenant.
    #[must_use]
    pub fn next_tenant_work(&self, now: Timestamp) -> EraseTenantWork {
        let Some(erase) = self.tenant_erasure() else {
            return EraseTenantWork::Nothing;
        };
        match &erase.stage {
            EraseTenantStage::Counting(position) => EraseTenantWork::Count(position.clone()),
            EraseTenantStage::Connections => EraseTenantWork::EraseConnections,
            EraseTenantStage::Draining(until) if now < *until => {
                EraseTenantWork::Advance(Box::new(self.postponed(*until)))
            }
            EraseTenantStage::Draining(_) => {
                let stage = EraseTenantStage::Erasing(TenantPart::Objects, None);
                EraseTenantWork::Advance(Box::new(self.at_tenant_stage(erase, stage, now)))
            }
            EraseTenantStage::Erasing(part, position) => {
                EraseTenantWork::Erase(*part, position.clone())
            }
            EraseTenantStage::Ended(_) => EraseTenantWork::Nothing,
        }
    }

    fn at_tenant_stage(
        &self,
        erase: &EraseTenant,
        stage: EraseTenantStage,
        now: Timestamp,
    ) -> Self {
        let wait_millis = match &stage {
            EraseTenantStage::Draining(until) => until.millis_since(now),
            EraseTenantStage::Counting(_)
            | EraseTenantStage::Connections
            | EraseTenantStage::Erasing(..)
            | EraseTenantStage::Ended(_) => 0,
        };
        let erase = EraseTenant {
            stage,
            steps: erase.steps.saturating_add(1),
            progressed_at: Some(now),
            ..erase.clone()
        };
        self.moved(Run::EraseTenant(erase), wait_millis, now)
    }

    /// Records that these items were counted; without a `next` position, all are.
    #[must_use]
    pub fn on_tenant_counted(
        &self,
        counts: &ErasedCounts,
        next: Option<String>,
        now: Timestamp,
    ) -> Self {
        let counting = |erase: &&EraseTenant| matches!(erase.stage, EraseTenantStage::Counting(_));
        let Some(erase) = self.tenant_erasure().filter(counting) else {
            return self.clone();
        };
        let mut erase = erase.clone();
        add(&mut erase.counts, counts);
        let stage = match next {
            Some(next) => EraseTenantStage::Counting(Some(next)),
            None if erase.dry_run => EraseTenantStage::Ended(End::Done),
            None => EraseTenantStage::Connections,
        };
        self.at_tenant_stage(&erase, stage, now)
    }

    /// Records whether all connections are erased. If not, they are looked at again later.
    #[must_use]
    pub fn on_connections_erased(&self, all: bool, now: Timestamp) -> Self {
        match self.tenant_erasure() {
            Some(erase) if erase.stage == EraseTenantStage::Connections => match all {
                true => {
                    let until = now.plus_millis(QUIET_MILLIS);
                    self.at_tenant_stage(erase, EraseTenantStage::Draining(until), now)
                }
                false => self.postponed(now.plus_millis(AGAIN_MILLIS)),
            },
            Some(_) | None => self.clone(),
        }
    }

    /// Records that a connection was made meanwhile, which has to be erased before the rest.
    #[must_use]
    pub fn on_connection_met(&self, now: Timestamp) -> Self {
        match self.tenant_erasure() {
            Some(erase) if matches!(erase.stage, EraseTenantStage::Erasing(..)) => {
                self.at_tenant_stage(erase, EraseTenantStage::Connections, now)
            }
            Some(_) | None => self.clone(),
        }
    }

    /// Records that this was erased of the part in progress; without a `next` position the part is
    /// done. The objects are counted when they are deleted, the items were counted beforehand.
    #[must_use]
    pub fn on_tenant_erased(
        &self,
        counts: &ErasedCounts,
        next: Option<String>,
        now: Timestamp,
    ) -> Self {
        let Some(erase) = self.tenant_erasure() else {
            return self.clone();
        };
        let EraseTenantStage::Erasing(part, _) = erase.stage else {
            return self.clone();
        };
        let mut erase = erase.clone();
        add(&mut erase.counts, counts);
        let stage = match (next, part) {
            (Some(next), part) => EraseTenantStage::Erasing(part, Some(next)),
            (None, TenantPart::Objects) => EraseTenantStage::Erasing(TenantPart::Items, None),
            (None, TenantPart::Items) => EraseTenantStage::Ended(End::Done),
        };
        self.at_tenant_stage(&erase, stage, now)
    }

    /// Cancels the erasure of a tenant before anything but its connections is erased. The erasures
    /// of the connections that have begun go on; each is an operation of its own.
    pub(in crate::operation) fn cancel_tenant_erasure(
        &self,
        now: Timestamp,
    ) -> Result<Self, DecisionRefused> {
        let erase = self.tenant_erasure();
        let erase = erase.ok_or(DecisionRefused::NotCancellable)?;
        match &erase.stage {
            EraseTenantStage::Counting(_)
            | EraseTenantStage::Connections
            | EraseTenantStage::Draining(_) => {
                let stage = EraseTenantStage::Ended(End::Cancelled);
                Ok(self.at_tenant_stage(erase, stage, now))
            }
            EraseTenantStage::Ended(End::Cancelled) => Ok(self.clone()),
            EraseTenantStage::Erasing(..)
            | EraseTenantStage::Ended(End::Done | End::Failed { .. }) => {
                Err(DecisionRefused::NotCancellable)
            }
        }
    }
}

fn add(counts: &mut ErasedCounts, more: &ErasedCounts) {
    for (kind, count) in more {
        *counts.entry(*kind).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::ErasedKind;
    use crate::operation::search::operation;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn one() -> ErasedCounts {
        ErasedCounts::from([(ErasedKind::Others, 1)])
    }

    fn erasing(dry_run: bool) -> Operation {
        operation(Run::erase_tenant(dry_run), START)
    }

    /// Takes the work that is due, each part in two steps; the connections are erased at the second
    /// look.
    fn step(operation: &Operation, now: Timestamp) -> Option<Operation> {
        let next = |position: &Option<String>| position.is_none().then(|| "2".to_owned());
        match operation.next_tenant_work(now) {
            EraseTenantWork::Nothing => None,
            EraseTenantWork::Advance(after) => Some(*after),
            EraseTenantWork::Count(at) => Some(operation.on_tenant_counted(&one(), next(&at), now)),
            EraseTenantWork::EraseConnections => {
                Some(operation.on_connections_erased(now > START, now))
            }
            EraseTenantWork::Erase(_, at) => {
                Some(operation.on_tenant_erased(&ErasedCounts::new(), next(&at), now))
            }
        }
    }

    #[test]
    fn the_rest_of_a_tenant_goes_after_its_connections_and_all_earlier_work() {
        let (mut operation, mut now) = (erasing(false), START);
        let mut parts = Vec::new();
        while let Some(after) = step(&operation, now) {
            assert!(operation.is_erasing_tenant());
            if let EraseTenantWork::Erase(part, None) = operation.next_tenant_work(now) {
                parts.push((part, now));
            }
            assert!(!operation.stands_like(&after) || after.due_at > operation.due_at);
            assert_eq!(after.form().into_run().as_ref(), Some(&after.run));
            operation = after;
            now = operation.due_at.map_or(now, |due| due.max(now));
        }
        let quiet = START.plus_millis(AGAIN_MILLIS + QUIET_MILLIS);
        assert_eq!(
            parts,
            [(TenantPart::Objects, quiet), (TenantPart::Items, quiet)]
        );
        let erase = operation.tenant_erasure().unwrap();
        assert_eq!(erase.end(), Some(&End::Done));
        assert_eq!(erase.counts, ErasedCounts::from([(ErasedKind::Others, 2)]));
        assert!(!operation.is_erasing_tenant());
    }

    #[test]
    fn a_connection_that_was_made_meanwhile_is_erased_first() {
        let mut operation = erasing(false);
        let mut now = START.plus_millis(1);
        while !matches!(operation.next_tenant_work(now), EraseTenantWork::Erase(..)) {
            operation = step(&operation, now).unwrap();
            now = operation.due_at.map_or(now, |due| due.max(now));
        }
        let met = operation.on_connection_met(now);
        assert_eq!(met.next_tenant_work(now), EraseTenantWork::EraseConnections);
        let drained = met.on_connections_erased(true, now);
        assert!(
            drained.due_at > Some(now),
            "what began before its end may still run"
        );
    }

    #[test]
    fn a_dry_run_only_counts() {
        let mut operation = erasing(true);
        while let Some(after) = step(&operation, START) {
            assert!(!operation.is_erasing_tenant());
            operation = after;
        }
        let erase = operation.tenant_erasure().unwrap();
        assert_eq!((erase.steps, erase.end()), (2, Some(&End::Done)));
    }

    #[test]
    fn it_is_cancelled_until_more_than_the_connections_is_erased() {
        let (mut operation, mut now) = (erasing(false), START);
        let mut cancelled = 0;
        while let Some(after) = step(&operation, now) {
            let begun = matches!(operation.next_tenant_work(now), EraseTenantWork::Erase(..));
            let decided = operation.decide(false, "bob", now);
            assert_eq!(decided.is_err(), begun);
            if let Ok(decided) = decided {
                cancelled += 1;
                assert_eq!(decided.next_tenant_work(now), EraseTenantWork::Nothing);
                assert_eq!(decided.decide(false, "bob", now), Ok(decided.clone()));
            }
            operation = after;
            now = operation.due_at.unwrap_or(now);
        }
        assert!(cancelled >= 4);
        assert!(operation.decide(false, "bob", now).is_err(), "it is over");
    }
}
