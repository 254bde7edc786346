//! Checks the end state: both sides against each other, and every accepted text against Drive's
//! journal, the conflicts and the responses to the programs. The rules are those of the random
//! schedules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::stage::{AppEdit, Ledger, PersonEdit, Stage};

/// The files whose content is looked at.
const CONTENTS: usize = 300;
/// The pause between two looks at the contents that are missing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The place of a text: a file, and the label of a field.
pub(super) type Place = (String, String);

/// A text that replaced another in Drive.
pub(super) struct Written {
    pub(super) from: String,
    pub(super) to: String,
}

/// The facts about one field.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub(super) journal: Vec<Written>,
    pub(super) programs: Vec<&'a AppEdit>,
    pub(super) conflicts: Vec<&'a Value>,
}

/// The findings.
pub struct Verdict {
    /// Accepted texts of programs, and of people, that are lost.
    pub lost: Vec<String>,
    /// Other violations.
    pub wrong: Vec<String>,
    pub conflicts: usize,
    pub open: usize,
    pub unsure: usize,
    /// The number of texts that were traced.
    pub followed: usize,
}

/// Returns the differences between the sides that no open conflict explains, and the owed edits.
/// Without any, the system is at rest.
pub async fn differences(stage: &Stage) -> Vec<String> {
    let ours = stage.list("/files?limit=1000").await;
    let open = stage.list("/conflicts?status=open&limit=1000").await;
    let theirs = stage.in_drive().await;
    let mut held: HashMap<(&str, &str), &Value> = HashMap::new();
    for conflict in &open {
        let place = (text(&conflict["file_id"]), text(&conflict["field"]));
        held.insert(place, conflict);
    }
    let mut ours: HashMap<&str, &Value> =
        ours.iter().map(|file| (text(&file["id"]), file)).collect();
    let mut wrong = Vec::new();
    for drive in &theirs {
        let id = text(&drive["id"]);
        let Some(file) = ours.remove(id) else {
            wrong.push(format!("{id} has not arrived"));
            continue;
        };
        if !file["intent"].is_null() {
            wrong.push(format!("{id}: {}", file["intent"]));
        }
        for (field, drive) in fields(drive, &file["fields"]) {
            let app = value_at(&file["fields"], &field);
            let fits = match held.get(&(id, field.as_str())) {
                None => app == drive,
                Some(conflict) => conflict["app"] == app && conflict["drive"] == drive,
            };
            if !fits {
                wrong.push(format!("{id} {field}: Drive has {drive}, we {app}"));
            }
        }
    }
    wrong.extend(ours.keys().map(|id| format!("{id} is not in Drive")));
    wrong
}

/// Returns the files whose content has not arrived in time, of the first few hundred.
pub async fn contents(stage: &Stage, bound: Duration) -> Vec<String> {
    let end = Instant::now() + bound;
    let mut waiting: Vec<&String> = stage.files.iter().take(CONTENTS).collect();
    loop {
        let mut wrong = Vec::new();
        let mut left = Vec::new();
        for file in waiting {
            let path = format!("/files/{file}/content");
            let (answer, _) = stage.insist(Method::GET, &path, &[], None).await;
            if answer.status != 200 {
                wrong.push(format!(
                    "the content of {file} is not here: {}",
                    answer.body
                ));
                left.push(file);
            }
        }
        if wrong.is_empty() || Instant::now() > end {
            return wrong;
        }
        waiting = left;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the fields of a file of Drive's v3, named as in the API, with the property keys of both
/// sides.
fn fields(drive: &Value, ours: &Value) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::from([
        ("name".to_owned(), drive["name"].clone()),
        ("description".to_owned(), json!(text(&drive["description"]))),
        ("starred".to_owned(), drive["starred"].clone()),
        ("trashed".to_owned(), drive["explicitlyTrashed"].clone()),
        ("parent".to_owned(), drive["parents"][0].clone()),
    ]);
    for side in [&drive["properties"], &ours["properties"]] {
        for key in side.as_object().into_iter().flatten().map(|(key, _)| key) {
            let value = drive["properties"][key].clone();
            fields.insert(format!("properties.{key}"), value);
        }
    }
    fields
}

fn value_at(fields: &Value, label: &str) -> Value {
    match label.strip_prefix("properties.") {
        Some(key) => fields["properties"][key].clone(),
        None => fields[label].clone(),
    }
}

/// Checks a system at rest.
pub async fn judge(stage: &Stage) -> Verdict {
    let conflicts = stage.list("/conflicts?status=all&limit=1000").await;
    let journal = stage.control(Method::GET, "journal", json!({})).await;
    let mut ledger = stage.ledger.lock().unwrap();
    let mut wrong = std::mem::take(&mut ledger.wrong);
    let (lost, more) = weigh(&ledger, &journal, &conflicts);
    wrong.extend(more);
    wrong.extend(blind(&mut ledger, journal, &conflicts, lost.len()));
    let count = |wanted: &dyn Fn(&&Value) -> bool| conflicts.iter().filter(wanted).count();
    Verdict {
        lost,
        wrong,
        conflicts: conflicts.len(),
        open: count(&|conflict| conflict["status"] == "open"),
        unsure: count(&|conflict| conflict["unsure"] == true),
        followed: ledger.people.len() + ledger.programs.len(),
    }
}

/// Returns the lost texts and the other violations.
fn weigh(ledger: &Ledger, journal: &Value, conflicts: &[Value]) -> (Vec<String>, Vec<String>) {
    let fields = gather(ledger, journal, conflicts);
    let people: BTreeSet<&str> = ledger.people.iter().map(|edit| edit.to.as_str()).collect();
    let programs: BTreeSet<&str> = ledger
        .programs
        .iter()
        .map(|edit| edit.to.as_str())
        .chain(ledger.chosen.iter().map(String::as_str))
        .collect();
    let (mut lost, mut wrong) = (Vec::new(), Vec::new());
    let mut written: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
    for edit in &ledger.people {
        let place = (edit.file.clone(), edit.field.clone());
        written.entry(place).or_default().insert(&edit.to);
    }
    for (place, field) in &fields {
        lost.extend(overwritten(place, field, &people));
        lost.extend(forgotten(field).map(|edit| nowhere(place, edit)));
        if let Some(texts) = written.get_mut(place) {
            for entry in &field.journal {
                texts.remove(entry.to.as_str());
            }
        }
        let ourselves = field.conflicts.iter().filter(|conflict| {
            let drive = text(&conflict["drive"]);
            conflict["unsure"] == false && programs.contains(drive) && !people.contains(drive)
        });
        wrong.extend(ourselves.map(|conflict| format!("a conflict with ourselves: {conflict}")));
    }
    for (place, texts) in written {
        let never = |text| format!("{place:?}: {text} was never in Drive");
        lost.extend(texts.into_iter().map(never));
    }
    (lost, wrong)
}

/// Returns the simulated losses that the check misses: an acknowledged edit that is nowhere, a
/// person's text that our write replaced, and one that Drive accepted and never had.
fn blind(
    ledger: &mut Ledger,
    mut journal: Value,
    conflicts: &[Value],
    found: usize,
) -> Vec<String> {
    let mut unseen = Vec::new();
    let fields = gather(ledger, &journal, conflicts);
    let quiet = ledger.people.iter().find(|edit| {
        let place = (edit.file.clone(), edit.field.clone());
        let field = &fields[&place];
        field.programs.is_empty() && field.conflicts.is_empty()
    });
    let Some(quiet) = quiet.cloned() else {
        return vec!["no field was left to people alone: the judge was not tried".to_owned()];
    };
    let mut expect = |what: &str, ledger: &Ledger, journal: &Value| {
        if weigh(ledger, journal, conflicts).0.len() != found + 1 {
            unseen.push(format!("the judge does not see {what}"));
        }
    };
    ledger.programs.push(AppEdit {
        file: quiet.file.clone(),
        field: quiet.field.clone(),
        from: quiet.to.clone(),
        to: "made up".to_owned(),
        accepted: true,
        answered: Instant::now(),
    });
    expect("an edit that is nowhere", ledger, &journal);
    ledger.programs.pop();
    ledger.people.push(PersonEdit {
        to: "made up".to_owned(),
        ..quiet.clone()
    });
    expect("a text that Drive never had", ledger, &journal);
    ledger.people.pop();
    if let Some(written) = journal["written"].as_array_mut() {
        written.push(json!({
            "file": quiet.file, "field": quiet.field, "from": quiet.to, "to": "made up",
                "by": "owner",
        }));
    }
    expect("a text that was overwritten", ledger, &journal);
    unseen
}

pub(super) fn gather<'a>(
    ledger: &'a Ledger,
    journal: &Value,
    conflicts: &'a [Value],
) -> BTreeMap<Place, Field<'a>> {
    let mut fields: BTreeMap<Place, Field<'a>> = BTreeMap::new();
    for entry in journal["written"].as_array().into_iter().flatten() {
        let place = (
            text(&entry["file"]).to_owned(),
            text(&entry["field"]).to_owned(),
        );
        fields.entry(place).or_default().journal.push(Written {
            from: text(&entry["from"]).to_owned(),
            to: text(&entry["to"]).to_owned(),
        });
    }
    for edit in &ledger.programs {
        let place = (edit.file.clone(), edit.field.clone());
        fields.entry(place).or_default().programs.push(edit);
    }
    for conflict in conflicts {
        let place = (
            text(&conflict["file_id"]).to_owned(),
            text(&conflict["field"]).to_owned(),
        );
        fields.entry(place).or_default().conflicts.push(conflict);
    }
    fields
}

/// Returns the texts in Drive that our writes replaced without a program that had read them and
/// without a conflict.
pub(super) fn overwritten(
    place: &Place,
    field: &Field<'_>,
    people: &BTreeSet<&str>,
) -> Vec<String> {
    let mut lost = Vec::new();
    for entry in &field.journal {
        let ours = !people.contains(entry.to.as_str());
        let seen = field.programs.iter().any(|edit| edit.from == entry.from)
            || field.programs.iter().any(|edit| edit.to == entry.from)
            || in_conflict(field, &entry.from);
        if ours && !seen {
            let Written { from, to } = entry;
            lost.push(format!(
                "{place:?}: our {to:?} took the place of {from:?}, unseen"
            ));
        }
    }
    lost
}

/// Returns the acknowledged texts of programs that neither reached Drive nor were replaced by a
/// program that had read them, and are in no conflict.
pub(super) fn forgotten<'a>(field: &Field<'a>) -> impl Iterator<Item = &'a AppEdit> {
    let landed: BTreeSet<&str> = landed(field);
    // An unanswered edit is known to have been executed only by its effects.
    let known: BTreeSet<&str> = field
        .programs
        .iter()
        .filter(|edit| {
            let seen = field.programs.iter().any(|later| later.from == edit.to);
            edit.accepted
                || seen
                || landed.contains(edit.to.as_str())
                || in_conflict(field, &edit.to)
        })
        .map(|edit| edit.to.as_str())
        .collect();
    let accounted = |edit: &AppEdit| {
        let replaced = field
            .programs
            .iter()
            .any(|later| later.from == edit.to && known.contains(later.to.as_str()));
        replaced || landed.contains(edit.to.as_str()) || in_conflict(field, &edit.to)
    };
    let programs = field.programs.iter().copied();
    let forgotten =
        programs.filter(|edit| edit.accepted && edit.from != edit.to && !accounted(edit));
    forgotten.collect::<Vec<_>>().into_iter()
}

/// Returns the texts that were in Drive.
pub(super) fn landed<'f>(field: &'f Field<'_>) -> BTreeSet<&'f str> {
    let entries = field.journal.iter();
    entries.map(|entry| entry.to.as_str()).collect()
}

pub(super) fn nowhere(place: &Place, edit: &AppEdit) -> String {
    format!(
        "{place:?}: {:?} was accepted over {:?}, and is nowhere",
        edit.to, edit.from
    )
}

/// Returns whether a conflict record has a text on any of its sides.
pub(super) fn in_conflict(field: &Field<'_>, wanted: &str) -> bool {
    field.conflicts.iter().any(|conflict| {
        let sides = ["base", "app", "drive"];
        sides.iter().any(|side| text(&conflict[side]) == wanted)
            || text(&conflict["resolution"]["value"]) == wanted
    })
}
