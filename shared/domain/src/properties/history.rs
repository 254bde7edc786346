//! Random histories: events and their order.

use proptest::prelude::*;

use super::FIELDS;
use crate::{Gone, Policy};

/// One event. Numbers select from what exists at that point, and wrap around.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// A person changes a field in Drive.
    PersonSets { field: usize, value: usize },
    /// Something else of the file changes in Drive.
    PersonEditsContent,
    /// The file is removed or becomes inaccessible.
    PersonRemoves(Gone),
    /// The file is restored.
    PersonRestores,
    /// The application edits a field.
    AppSets { field: usize, value: usize },
    /// The queue delivers a snapshot: any one, including old ones.
    Delivered { which: usize },
    /// The file is looked up in Drive.
    Asked,
    /// A worker reads Drive and claims.
    Claimed,
    /// A sent request arrives at Drive.
    Arrives { which: usize },
    /// A worker receives the answer to its request and records it.
    Answered { which: usize, permanent: bool },
    /// A worker never receives the answer, and records that.
    Unanswered { which: usize },
    /// A worker crashes.
    Dies { which: usize },
    /// A person resolves a conflict.
    Decided { which: usize, choice: usize },
    /// A person cancels what is owed.
    Cancelled,
    /// A person retries what was given up.
    Retried,
}

/// The policy of every field, and the events.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) policy: Policy,
    pub(super) events: Vec<Event>,
}

pub(super) fn any() -> impl Strategy<Value = History> {
    let policy = prop_oneof![
        4 => Just(Policy::Manual),
        1 => Just(Policy::DriveWins),
        1 => Just(Policy::AppWins),
        1 => Just(Policy::LastWriterWins { window_millis: 5 }),
        1 => Just(Policy::MostRestrictive),
    ];
    (policy, prop::collection::vec(event(), 1..60))
        .prop_map(|(policy, events)| History { policy, events })
}

fn event() -> impl Strategy<Value = Event> {
    let pick = 0..8usize;
    let small = || (0..FIELDS, 0..3usize);
    prop_oneof![
        5 => small().prop_map(|(field, value)| Event::PersonSets { field, value }),
        1 => Just(Event::PersonEditsContent),
        1 => prop_oneof![Just(Gone::Removed), Just(Gone::AccessLost)]
            .prop_map(Event::PersonRemoves),
        1 => Just(Event::PersonRestores),
        6 => small().prop_map(|(field, value)| Event::AppSets { field, value }),
        6 => pick.clone().prop_map(|which| Event::Delivered { which }),
        2 => Just(Event::Asked),
        6 => Just(Event::Claimed),
        6 => pick.clone().prop_map(|which| Event::Arrives { which }),
        6 => (pick.clone(), prop::bool::weighted(0.2))
            .prop_map(|(which, permanent)| Event::Answered { which, permanent }),
        1 => pick.clone().prop_map(|which| Event::Unanswered { which }),
        1 => pick.clone().prop_map(|which| Event::Dies { which }),
        3 => (pick, 0..4usize).prop_map(|(which, choice)| Event::Decided { which, choice }),
        1 => Just(Event::Cancelled),
        1 => Just(Event::Retried),
    ]
}
