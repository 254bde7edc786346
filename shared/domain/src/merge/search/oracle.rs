//! The oracle: the invariants of a world at rest, derived from the intentions and Drive's history
//! alone.

use super::model::{Author, Intention, World};

/// A violated invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Violation {
    /// Nothing can happen any more, yet something is owed or unseen.
    Stuck,
    /// At rest without a conflict, our value differs from Drive's.
    Diverged,
    /// The application's last edit was overwritten, and not by anyone who could have seen it.
    AppEditLost,
    /// A person's last edit was overwritten by an edit of ours that never saw it.
    HumanEditLost,
    /// Drive's side of an open conflict is an earlier write of our own.
    SelfConflict,
    /// A conflict is marked unsure although every answer was received.
    NeedlessQuestion,
}

/// Judges a world at rest. `heard` says that every answer of Drive was recorded before the next
/// read.
pub(super) fn judge(world: &World, heard: bool) -> Option<Violation> {
    match &world.sides.conflict {
        Some(conflict) if conflict.unsure => heard.then_some(Violation::NeedlessQuestion),
        Some(conflict) => only_ours(world, conflict.drive).then_some(Violation::SelfConflict),
        None => {
            let value = world.current();
            if world.sides.app != value || world.sides.base != value {
                Some(Violation::Diverged)
            } else if app_edit_lost(world, value) {
                Some(Violation::AppEditLost)
            } else if human_edit_lost(world, value) {
                Some(Violation::HumanEditLost)
            } else {
                None
            }
        }
    }
}

/// Returns whether a value was written to Drive by us and set by no person.
fn only_ours(world: &World, value: u8) -> bool {
    let by_person = |i: &Intention| matches!(i, Intention::Person { value: v, .. } if *v == value);
    let pushed = world
        .history
        .iter()
        .any(|(_, author)| *author == Author::Us);
    pushed && value != world.history[0].0 && !world.intentions.iter().any(by_person)
}

fn app_edit_lost(world: &World, end: u8) -> bool {
    let by_us = |i: &&Intention| !matches!(i, Intention::Person { .. });
    let (value, version, seen) = match world.intentions.iter().rfind(by_us) {
        None | Some(Intention::Person { .. }) => return false,
        // Accepted: returning to the base with nothing in flight withdraws the edit.
        Some(Intention::Edit {
            withdrawal: true, ..
        }) => return false,
        Some(Intention::Edit {
            value,
            before,
            version,
            seen,
            withdrawal: false,
        }) => {
            // The same, although a request of ours was in flight that then never landed: the edit
            // returned to what Drive was observed to have, and what it withdrew never existed
            // there.
            let mut since = world.history.iter().skip(usize::from(*seen) + 1);
            let landed = since.any(|made| *made == (*before, Author::Us));
            if !landed && *value == value_at(world, *seen) {
                return false;
            }
            (*value, *version, *seen)
        }
        // A decision for Drive's value requires nothing of Drive.
        Some(Intention::Decision { value, drive, .. }) if value == drive => return false,
        Some(Intention::Decision {
            value,
            version,
            seen,
            ..
        }) => (*value, *version, *seen),
    };
    if value == end {
        return false;
    }
    // It may be gone only through a person to whom Drive could have shown it.
    let saw_it = |i: &Intention| match i {
        Intention::Edit { .. } | Intention::Decision { .. } => false,
        Intention::Person { version: at, .. } => {
            let shown = |v: u8| value_at(world, v) == value;
            // Accepted: a snapshot, however late, that shows the edit's value agrees with it.
            (seen + 1..*at).any(shown) || (*at > version && shown(at - 1))
        }
    };
    !world.intentions.iter().any(saw_it)
}

fn human_edit_lost(world: &World, end: u8) -> bool {
    let last = world.intentions.iter().rev().find_map(|i| match i {
        Intention::Person { value, version } => Some((*value, *version)),
        Intention::Edit { .. } | Intention::Decision { .. } => None,
    });
    let Some((theirs, at)) = last.filter(|(value, _)| *value != end) else {
        return false;
    };
    let set_by_us = |wanted: u8| {
        let is_it = |i: &Intention| match i {
            Intention::Person { .. } => false,
            Intention::Edit { value, .. } | Intention::Decision { value, .. } => *value == wanted,
        };
        world.intentions.iter().any(is_it)
    };
    let knew = |i: &Intention| match i {
        Intention::Person { .. } => false,
        Intention::Edit {
            before,
            seen,
            withdrawal,
            ..
        } => {
            // Accepted: a person who writes the very value that we had in flight counts as us, and
            // the application then edits what it takes for its own.
            let replaced_own = !withdrawal && *before == theirs && set_by_us(theirs);
            *seen >= at || replaced_own
        }
        Intention::Decision {
            app, drive, seen, ..
        } => *seen >= at || *drive == theirs || *app == theirs,
    };
    if world.intentions.iter().any(knew) {
        return false;
    }
    let winner = world.intentions.iter().rev().find_map(|i| match i {
        Intention::Person { .. } => None,
        Intention::Edit { value, seen, .. } | Intention::Decision { value, seen, .. } => {
            (*value == end).then_some(*seen)
        }
    });
    // Accepted: the winning edit replaced that same value, seen at an earlier version, and nothing
    // of ours had changed it in between: the person set what the application had already answered.
    let answered = winner.is_some_and(|seen| {
        let changed_by_us = |v: u8| {
            world.history[usize::from(v)].1 == Author::Us
                && value_at(world, v) != value_at(world, v - 1)
        };
        value_at(world, seen) == theirs && !(seen + 1..=at).any(changed_by_us)
    });
    !answered
}

fn value_at(world: &World, version: u8) -> u8 {
    world.history[usize::from(version)].0
}
