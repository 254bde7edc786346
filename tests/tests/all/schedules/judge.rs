//! Checks the end state of a schedule against everything that was written.

use std::collections::BTreeMap;

use domain::{ConflictRecord, ConflictStatus, Field, Value};
use store::{ConflictFilter, PageRequest};

use super::action::Schedule;
use crate::support::sim::{Event, Sim};

/// The responses of the API.
#[derive(Debug, Clone, Default)]
pub struct Responses {
    /// The texts of edits that were answered with 200.
    pub accepted: Vec<String>,
    /// Two different decisions on one conflict that were both answered with 200.
    pub resolved_twice: Vec<String>,
}

/// The findings.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The violations.
    pub wrong: Vec<String>,
    pub conflicts: usize,
    /// The conflicts over writes of unknown fate.
    pub unsure: usize,
}

/// Checks a world at rest.
pub async fn judge(
    sim: &Sim,
    schedule: &Schedule,
    responses: &Responses,
    unconverged: Option<String>,
) -> Verdict {
    let mut wrong: Vec<String> = unconverged.into_iter().collect();
    let conflicts = conflicts(sim).await;
    let unsure = conflicts.iter().filter(|conflict| conflict.unsure).count();
    let counters = sim.simulator().counters();
    let listed = |method: &str| counters.calls.get(method).copied().unwrap_or(0);
    let listings: u64 = listed("changes.list") + listed("files.list");
    if listings > schedule.listings_max() {
        wrong.push(format!("{listings} pages were asked for"));
    }
    wrong.extend(sim.recording().broken.clone());
    wrong.extend(
        responses
            .resolved_twice
            .iter()
            .map(|what| format!("resolved twice: {what}")),
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
        wrong.extend(lost_texts(sim, &conflicts).await);
    }
    Verdict {
        wrong,
        conflicts: conflicts.len(),
        unsure,
    }
}

async fn conflicts(sim: &Sim) -> Vec<ConflictRecord> {
    let filter = ConflictFilter {
        status: None,
        field: None,
    };
    let (mut page, mut all) = (PageRequest::first(1_000), Vec::new());
    loop {
        let listed = sim
            .store()
            .list_conflicts(sim.key(), &filter, &page)
            .await
            .unwrap();
        all.extend(listed.items);
        match listed.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return all,
        }
    }
}

/// Returns our writes that replaced a value that our record did not have.
fn overwritten_unseen(sim: &Sim) -> Vec<String> {
    let recording = sim.recording();
    let unseen = recording
        .events
        .iter()
        .filter_map(|(file, field, event)| match event {
            Event::Landed { from, to, held } if held.as_ref() != Some(from) => Some(format!(
                "{file} {field:?}: our {to:?} replaced {from:?}, and we held {held:?}"
            )),
            Event::Landed { .. }
            | Event::Person { .. }
            | Event::Edited { .. }
            | Event::Decided { .. } => None,
        });
    unseen.collect()
}

/// Returns the texts that were written, are nowhere, and are in no conflict. Every text was written
/// once, so each can be traced.
async fn lost_texts(sim: &Sim, conflicts: &[ConflictRecord]) -> Vec<String> {
    let mut by_field: BTreeMap<(String, Field), Vec<Event>> = BTreeMap::new();
    for (file, field, event) in &sim.recording().events {
        let place = (file.clone(), field.clone());
        by_field.entry(place).or_default().push(event.clone());
    }
    let mut wrong = Vec::new();
    // A write with an unknown result of which Drive shows no trace is an unsure conflict, with any
    // value in Drive.
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
                // A removal is not unique.
                Event::Person { to, .. } | Event::Edited { to, .. } if *to == field.unset() => true,
                Event::Person { to, .. } => persons_text_is_kept(to, later, &of_field),
                Event::Edited { to, base, .. } => {
                    *to == *base
                        || gone
                        || applications_text_is_kept(to, later, &of_field)
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

/// Returns whether a person's text is still in Drive, or was replaced by a person or by an edit
/// that had read it.
fn persons_text_is_kept(text: &Value, later: &[Event], conflicts: &[&ConflictRecord]) -> bool {
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

/// Returns whether the application's text reached Drive, or was replaced at the application, or is
/// in a conflict.
fn applications_text_is_kept(text: &Value, later: &[Event], conflicts: &[&ConflictRecord]) -> bool {
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

/// Returns whether a field has texts of people and programs.
fn is_text(field: &Field) -> bool {
    matches!(field, Field::Name | Field::Description | Field::Property(_))
}
