//! Judges how a schedule has ended: against everything that anybody ever wrote.

use std::collections::BTreeMap;

use domain::{ConflictRecord, ConflictStatus, Field, Value};
use store::{ConflictFilter, PageRequest};

use super::action::Schedule;
use crate::support::sim::{Event, Sim};

/// What the API responses those who called it.
#[derive(Debug, Clone, Default)]
pub struct Responses {
    /// The texts of edits that were answered with 200.
    pub accepted: Vec<String>,
    /// Two different decisions on one conflict that were both answered with 200.
    pub resolved_twice: Vec<String>,
}

/// What is wrong, and how many conflicts there were.
pub async fn judge(
    sim: &Sim,
    schedule: &Schedule,
    responses: &Responses,
    unsettled: Option<String>,
) -> (Vec<String>, usize) {
    let mut wrong: Vec<String> = unsettled.into_iter().collect();
    let conflicts = conflicts(sim).await;
    let count = conflicts.len();
    wrong.extend(sim.recording().broken.clone());
    wrong.extend(
        responses
            .resolved_twice
            .iter()
            .map(|what| format!("settled twice: {what}")),
    );
    for text in &responses.accepted {
        let written = Value::text(text);
        let committed = sim
            .recording()
            .events
            .iter()
            .any(|(_, _, event)| match event {
                Event::Edited { to, .. } | Event::Decided { to, .. } => *to == written,
                Event::Person { .. } | Event::Landed { .. } => false,
            });
        if !committed {
            wrong.push(format!(
                "{text} was accepted, and never stood in our records"
            ));
        }
    }
    if sim.dead() > 0 {
        wrong.push(format!("{} messages ended as dead letters", sim.dead()));
    }
    let parked = sim
        .store()
        .list_dead_letters(sim.key(), &PageRequest::first(10))
        .await;
    for letter in parked.unwrap().items {
        wrong.push(format!("a message was parked: {letter:?}"));
    }
    for (file, record) in sim.records().await {
        let open = conflicts.iter().filter(|conflict| {
            conflict.id.file == file && matches!(conflict.status, ConflictStatus::Open)
        });
        let recorded: Vec<&Field> = open.map(|conflict| &conflict.id.field).collect();
        let held: Vec<&Field> = record.open.keys().collect();
        let mut sorted = recorded.clone();
        sorted.sort();
        if sorted != held {
            wrong.push(format!(
                "{file}: open conflicts are recorded on {recorded:?}, and held on {held:?}"
            ));
        }
    }
    wrong.extend(overwritten_unseen(sim));
    if schedule.unique {
        let dropped = sim.recording().dropped.clone();
        let dropped = dropped.into_iter().filter(|(field, _)| is_text(field));
        wrong.extend(dropped.map(|(_, how)| how));
        wrong.extend(lost(sim, &conflicts).await);
    }
    (wrong, count)
}

async fn conflicts(sim: &Sim) -> Vec<ConflictRecord> {
    let filter = ConflictFilter {
        status: None,
        field: None,
    };
    let page = PageRequest::first(1_000);
    let listed = sim
        .store()
        .list_conflicts(sim.key(), &filter, &page)
        .await
        .unwrap();
    assert_eq!(listed.next_cursor, None, "more conflicts than one page has");
    listed.items
}

/// Our writes that took the place of a value that our record did not know.
fn overwritten_unseen(sim: &Sim) -> Vec<String> {
    let recording = sim.recording();
    let unseen = recording
        .events
        .iter()
        .filter_map(|(file, field, event)| match event {
            Event::Landed { from, to, held } if held.as_ref() != Some(from) => Some(format!(
                "{file} {field:?}: our {to:?} took the place of {from:?}, and we held {held:?}"
            )),
            Event::Landed { .. }
            | Event::Person { .. }
            | Event::Edited { .. }
            | Event::Decided { .. } => None,
        });
    unseen.collect()
}

/// Texts that were written and are nowhere, nor was anybody asked. Every text was written once, so each can be followed.
async fn lost(sim: &Sim, conflicts: &[ConflictRecord]) -> Vec<String> {
    let mut by_field: BTreeMap<(String, Field), Vec<Event>> = BTreeMap::new();
    for (file, field, event) in &sim.recording().events {
        let place = (file.clone(), field.clone());
        by_field.entry(place).or_default().push(event.clone());
    }
    let mut wrong = Vec::new();
    // A write of unknown fate that Drive shows no trace of is asked about, whoever wrote what Drive holds.
    for conflict in conflicts.iter().filter(|conflict| !conflict.unsure) {
        let place = (conflict.id.file.to_string(), conflict.id.field.clone());
        let wrote = |who: fn(&Event) -> Option<&Value>| {
            let events = by_field.get(&place).into_iter().flatten();
            events.filter_map(who).any(|text| *text == conflict.drive)
        };
        let ours = wrote(|event| match event {
            Event::Landed { to, .. } => Some(to),
            Event::Person { .. } | Event::Edited { .. } | Event::Decided { .. } => None,
        });
        let theirs = wrote(|event| match event {
            Event::Person { to, .. } => Some(to),
            Event::Landed { .. } | Event::Edited { .. } | Event::Decided { .. } => None,
        });
        if ours && !theirs && is_text(&conflict.id.field) {
            wrong.push(format!(
                "{place:?}: a conflict with ourselves: {conflict:?}"
            ));
        }
    }
    for ((file, field), events) in by_field {
        if !is_text(&field) {
            continue;
        }
        let of_field: Vec<&ConflictRecord> = conflicts
            .iter()
            .filter(|conflict| conflict.id.file.as_str() == file && conflict.id.field == field)
            .collect();
        let gone = sim.simulator().file(&file).is_none();
        for (at, event) in events.iter().enumerate() {
            let later = &events[at + 1..];
            let fine = match event {
                // What is taken away was not written once.
                Event::Person { to, .. } | Event::Edited { to, .. } if *to == field.unset() => true,
                Event::Person { to, .. } => persons(to, later, &of_field),
                Event::Edited { to, base, .. } => {
                    *to == *base
                        || gone
                        || applications(to, later, &of_field)
                        || final_app(sim, &file, &field, to).await
                }
                Event::Decided { .. } | Event::Landed { .. } => true,
            };
            if !fine {
                wrong.push(format!("{file} {field:?}: lost: {event:?}, then {later:?}"));
            }
        }
    }
    wrong
}

/// Whether a person's text is still there, or was replaced by a person, or by somebody who knew it.
fn persons(text: &Value, later: &[Event], conflicts: &[&ConflictRecord]) -> bool {
    let in_drive = later.iter().position(|event| match event {
        Event::Person { .. } | Event::Landed { .. } => true,
        Event::Edited { .. } | Event::Decided { .. } => false,
    });
    let Some(place) = in_drive else { return true };
    match &later[place] {
        Event::Landed { .. } => {
            let edited = later[..place].iter().any(|event| match event {
                Event::Edited { from, base, .. } => from == text || base == text,
                Event::Decided { .. } | Event::Person { .. } | Event::Landed { .. } => false,
            });
            edited
                || conflicts
                    .iter()
                    .any(|conflict| conflict.drive == *text || conflict.base == *text)
        }
        Event::Person { .. } | Event::Edited { .. } | Event::Decided { .. } => true,
    }
}

/// Whether the application's text got to Drive, or was replaced at the application, or was put before a person.
fn applications(text: &Value, later: &[Event], conflicts: &[&ConflictRecord]) -> bool {
    let seen = later.iter().any(|event| match event {
        Event::Landed { to, .. } | Event::Person { to, .. } => to == text,
        Event::Edited { .. } | Event::Decided { .. } => true,
    });
    seen || conflicts.iter().any(|conflict| conflict.app == *text)
}

async fn final_app(sim: &Sim, file: &str, field: &Field, text: &Value) -> bool {
    sim.record(file)
        .await
        .is_some_and(|record| record.app(field) == *text)
}

/// Whether a field holds the texts that people and programs write.
fn is_text(field: &Field) -> bool {
    matches!(field, Field::Name | Field::Description | Field::Property(_))
}
