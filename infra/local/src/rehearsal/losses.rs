//! Judges a system whose table was lost and restored to an earlier state, while Drive went on: what
//! is lost, by name, and what must not have happened. Each check is tried on a copy of the facts
//! with one thing wrong: a judge that sees nothing is no judge.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::judge::{forgotten, gather, in_conflict, landed, nowhere, overwritten, text};
use super::stage::{AppEdit, Ledger};

/// The facts.
#[derive(Debug, Clone)]
pub struct Facts {
    pub ledger: Ledger,
    /// Drive's journal of texts, to the end.
    pub journal: Value,
    /// Its entries when the table was lost.
    pub journal_then: usize,
    /// The conflicts when the table was lost, and in the end.
    pub conflicts_then: Vec<Value>,
    pub conflicts: Vec<Value>,
    /// The time of the backup, and the time at which the table was lost.
    pub kept_at: Instant,
    pub lost_at: Instant,
    /// The time of the backup, as conflicts state times.
    pub kept: String,
    /// The differences between the sides that nothing explains.
    pub differences: Vec<String>,
    /// Records that name content which is not in the bucket.
    pub without_object: Vec<String>,
    /// The readers of events whose cursor is still taken.
    pub unaware: Vec<String>,
    /// Logs without an audit since the restore that ended well.
    pub unaudited: Vec<String>,
    /// `ETag`s of states that were lost, and that were taken for others.
    pub taken_tags: Vec<String>,
    /// Whatever else is wrong.
    pub wrong: Vec<String>,
}

/// What is lost, and what must not be.
#[derive(Debug, Default)]
pub struct Losses {
    /// The edits that were accepted after the backup and are lost, the oldest first: the
    /// application and its people must know them.
    pub edits: Vec<AppEdit>,
    /// The decisions of the same time that are lost.
    pub decisions: Vec<String>,
    /// The texts of people that are lost: there must be none, as there must be no other breach.
    pub of_people: Vec<String>,
    pub breaches: Vec<String>,
}

impl Losses {
    /// The time before the loss from which on something is missing.
    #[must_use]
    pub fn age(&self, facts: &Facts) -> Duration {
        let oldest = self.edits.first();
        oldest.map_or(Duration::ZERO, |edit| facts.lost_at - edit.answered)
    }
}

/// Judges.
#[must_use]
pub fn judge(facts: &Facts) -> Losses {
    let Facts {
        ledger, journal, ..
    } = facts;
    let people: BTreeSet<&str> = ledger.people.iter().map(|edit| edit.to.as_str()).collect();
    let mut known = facts.conflicts_then.clone();
    known.extend(facts.conflicts.iter().cloned());
    let everything = gather(ledger, journal, &known);
    let ours = gather(ledger, journal, &facts.conflicts);
    let mut losses = Losses {
        breaches: [
            &facts.differences,
            &facts.without_object,
            &facts.unaware,
            &facts.unaudited,
            &facts.taken_tags,
            &facts.wrong,
        ]
        .into_iter()
        .flatten()
        .cloned()
        .collect(),
        ..Losses::default()
    };
    for (place, field) in &everything {
        losses.of_people.extend(overwritten(place, field, &people));
    }
    for (place, field) in &ours {
        for edit in forgotten(field) {
            // A decision against it was made, and then lost as well: it is named among those.
            let decided = everything
                .get(place)
                .is_some_and(|field| in_conflict(field, &edit.to));
            let lost = (facts.kept_at..facts.lost_at).contains(&edit.answered);
            match (lost, decided) {
                (true, true) => {}
                (true, false) => losses.edits.push(edit.clone()),
                (false, _) => losses.breaches.push(nowhere(place, edit)),
            }
        }
    }
    for edit in &ledger.people {
        let place = (edit.file.clone(), edit.field.clone());
        if !everything
            .get(&place)
            .is_some_and(|field| landed(field).contains(edit.to.as_str()))
        {
            let to = &edit.to;
            losses
                .of_people
                .push(format!("{place:?}: {to} was never in Drive"));
        }
    }
    losses.breaches.extend(losses.of_people.clone());
    losses.breaches.extend(undone(facts, &people));
    losses.decisions = decisions(facts);
    losses.edits.sort_by_key(|edit| edit.answered);
    losses
}

/// Returns our writes since the restore of texts that Drive had had before: they undo what was
/// written in between.
fn undone(facts: &Facts, people: &BTreeSet<&str>) -> Vec<String> {
    let entries = facts.journal["written"].as_array();
    let entries = entries.map_or(&[][..], Vec::as_slice);
    let (then, since) = entries.split_at(facts.journal_then.min(entries.len()));
    let place = |entry: &Value| (entry["file"].clone(), entry["field"].clone());
    let again = since.iter().filter(|entry| {
        !people.contains(text(&entry["to"]))
            && !text(&entry["to"]).is_empty()
            && then.iter().any(|earlier| {
                place(earlier) == place(entry) && earlier["to"] == entry["to"]
            })
            // Programs go on after the restore, and may write a text again that they read.
            && !facts.ledger.programs.iter().any(|edit| {
                edit.to == text(&entry["to"]) && edit.answered >= facts.lost_at
            })
    });
    again
        .map(|entry| format!("written again over a later text: {entry}"))
        .collect()
}

/// Returns the decisions that were made after the backup and are not known any more.
fn decisions(facts: &Facts) -> Vec<String> {
    let made = facts.conflicts_then.iter().filter(|conflict| {
        let at = text(&conflict["resolution"]["at"]);
        !at.is_empty() && at >= facts.kept.as_str()
    });
    let lost = made.filter(|conflict| {
        let still = facts
            .conflicts
            .iter()
            .find(|now| now["id"] == conflict["id"]);
        still.is_none_or(|now| now["resolution"]["at"] != conflict["resolution"]["at"])
    });
    lost.map(|conflict| {
        format!(
            "{} {}: {} by {} at {}",
            text(&conflict["file_id"]),
            text(&conflict["field"]),
            conflict["resolution"]["choose"],
            text(&conflict["resolution"]["by"]),
            text(&conflict["resolution"]["at"]),
        )
    })
    .collect()
}

/// Tries each check, and returns those that see nothing.
#[must_use]
pub fn blind(facts: &Facts) -> Vec<String> {
    let found = judge(facts).breaches.len();
    let quiet = facts.ledger.people.iter().find(|edit| {
        let programs = &facts.ledger.programs;
        let fields = programs.iter().map(|edit| (&edit.file, &edit.field));
        let conflicts = facts.conflicts_then.iter().chain(&facts.conflicts);
        let held = conflicts.map(|conflict| (text(&conflict["file_id"]), text(&conflict["field"])));
        let place = (&edit.file, &edit.field);
        !fields.into_iter().any(|other| other == place)
            && !held
                .into_iter()
                .any(|(file, field)| file == edit.file && field == edit.field)
    });
    let Some(quiet) = quiet.cloned() else {
        return vec!["no field was left to people alone: the judge was not tried".to_owned()];
    };
    let made_up = |answered: Instant| AppEdit {
        file: quiet.file.clone(),
        field: quiet.field.clone(),
        from: quiet.to.clone(),
        to: "made up".to_owned(),
        accepted: true,
        answered,
    };
    let wrote = |facts: &mut Facts, from: &str, to: &str| {
        if let Some(written) = facts.journal["written"].as_array_mut() {
            written.push(json!({
                "file": quiet.file, "field": quiet.field, "from": from, "to": to, "by": "owner",
            }));
        }
    };
    type Break<'a> = (&'a str, Box<dyn Fn(&mut Facts) + 'a>);
    let named = |list: fn(&mut Facts) -> &mut Vec<String>| {
        Box::new(move |facts: &mut Facts| list(facts).push("made up".to_owned()))
    };
    let before = facts.kept_at.checked_sub(Duration::from_millis(1));
    let breaks: Vec<Break<'_>> = vec![
        (
            "an edit from before the backup that is nowhere",
            Box::new(|facts| {
                let edits = &mut facts.ledger.programs;
                edits.extend(before.map(made_up));
            }),
        ),
        (
            "an edit from after the restore that is nowhere",
            Box::new(|facts| facts.ledger.programs.push(made_up(facts.lost_at))),
        ),
        (
            "a text of a person that Drive never had",
            Box::new(|facts| {
                let mut edit = quiet.clone();
                "made up".clone_into(&mut edit.to);
                facts.ledger.people.push(edit);
            }),
        ),
        (
            "a text of a person that was overwritten unseen",
            Box::new(|facts| wrote(facts, &quiet.to, "made up")),
        ),
        (
            "a write that undoes a later one",
            Box::new(|facts| {
                let mut edit = made_up(facts.kept_at);
                "first".clone_into(&mut edit.to);
                facts.ledger.programs.push(edit.clone());
                edit.from = std::mem::replace(&mut edit.to, "second".to_owned());
                facts.ledger.programs.push(edit);
                wrote(facts, &quiet.to, "first");
                wrote(facts, "first", "second");
                facts.journal_then = facts.journal["written"].as_array().map_or(0, Vec::len);
                wrote(facts, "second", "first");
            }),
        ),
        ("a difference", named(|facts| &mut facts.differences)),
        ("a missing object", named(|facts| &mut facts.without_object)),
        (
            "a reader who does not know",
            named(|facts| &mut facts.unaware),
        ),
        (
            "a log without an audit",
            named(|facts| &mut facts.unaudited),
        ),
        (
            "an old ETag that is taken",
            named(|facts| &mut facts.taken_tags),
        ),
    ];
    let mut unseen = Vec::new();
    for (what, broken) in breaks {
        let mut copy = facts.clone();
        broken(&mut copy);
        if judge(&copy).breaches.len() != found + 1 {
            unseen.push(format!("the judge does not see {what}"));
        }
    }
    let mut copy = facts.clone();
    copy.ledger.programs.push(made_up(facts.kept_at));
    if judge(&copy).edits.len() != judge(facts).edits.len() + 1 {
        unseen.push("the judge does not name an edit that is lost".to_owned());
    }
    unseen
}
