//! The reasons of one file.

use super::sync_reasons::owed_held;
use super::words::{self, capital, fields, moment, next_try, quoted, since, times, wait};
use super::{FileFacts, Parked, Reason, ReasonKind, SyncFacts, Why};
use crate::rate_limit::WriteKind;
use crate::{
    AskCourse, Asked, Excluded, Field, FileRecord, Gone, OpenConflict, Presence, Timestamp,
};

/// Returns why a file is as it is.
#[must_use]
pub fn why_file(file: &FileFacts<'_>, sync: &SyncFacts<'_>) -> Why {
    let record = file.record;
    let mut reasons: Vec<Reason> = conflicts(file, sync.now).collect();
    match record.presence {
        Presence::Gone(why, at) => {
            reasons.push(gone(why, at));
            if why == Gone::AccessLost {
                // It may come back as soon as Drive is read.
                reasons.extend(sync.hindrances(&[]));
            }
        }
        Presence::Present | Presence::Creating => {
            let owed = owed_fields(record);
            let writes: Vec<WriteKind> = owed.iter().map(|field| words::write_of(field)).collect();
            reasons.extend(sync.hindrances(&writes));
            if sync.owed_held && !owed.is_empty() {
                reasons.push(owed_held());
            }
            reasons.extend(refused(record, sync.now));
            reasons.extend(owes(record, &owed, sync.now));
            reasons.extend(unsettled(record, sync.now));
            reasons.extend(file.around(sync.now));
            reasons.extend(sync.notes());
        }
    }
    reasons.extend(file.parked.map(|parked| set_aside(parked, sync.now)));
    Why::of(reasons, || in_step(file, sync))
}

/// Returns why there is no record of a file that Drive has shown.
#[must_use]
pub fn why_not_stored(parked: Parked<'_>, sync: &SyncFacts<'_>) -> Why {
    let mut reasons = sync.hindrances(&[]);
    let set_aside = set_aside(parked, sync.now);
    reasons.push(set_aside.clone());
    Why::of(reasons, || set_aside)
}

/// Returns the reasons of the open conflicts.
fn conflicts<'a>(file: &FileFacts<'a>, now: Timestamp) -> impl Iterator<Item = Reason> + use<'a> {
    let (record, asked) = (file.record, file.asked);
    record.open.iter().map(move |(field, open)| {
        let reason = match &open.keeping {
            None => {
                let asked = asked.iter().find(|(of, _)| of == field);
                undecided(record, field, open, asked.map(|(_, asked)| asked))
            }
            Some(keeping) => {
                let refused = keeping.reason.as_deref().map(|reason| {
                    format!(
                        "; Drive has not accepted the copy so far ({})",
                        quoted(reason)
                    )
                });
                let sentence = format!(
                    "Both contents are being kept since {}: the application's goes to the file \
                     {}{}{}.",
                    moment(keeping.at),
                    quoted(keeping.copy.as_str()),
                    refused.unwrap_or_default(),
                    next_try(record.push_due(), now)
                );
                let reason = Reason::new(ReasonKind::KeepingBoth, sentence).since(keeping.at);
                match &keeping.reason {
                    Some(word) => reason.detail(word),
                    None => reason,
                }
            }
        };
        Reason {
            conflict: record.open_conflict(field),
            ..reason.about(field)
        }
    })
}

fn undecided(
    record: &FileRecord,
    field: &Field,
    open: &OpenConflict,
    asked: Option<&Asked>,
) -> Reason {
    let sides = record.sides(field);
    let unsure = sides.conflict.as_ref().is_some_and(|drive| drive.unsure);
    let cause = if *field == Field::Existence && record.is_gone() {
        "Drive does not have the file any more, and edits of it never reached Drive".to_owned()
    } else if *field == Field::Existence {
        "it was deleted here, and changed in Drive".to_owned()
    } else if unsure {
        let what = words::field(field);
        format!("no answer came to a write of {what}, and Drive was changed since")
    } else {
        let what = words::field(field);
        format!("{what} was changed here and in Drive, to different values")
    };
    let sentence = format!(
        "Held by a conflict since {}: {cause}.{}",
        moment(open.opened_at),
        asked.map_or_else(String::new, resolver)
    );
    Reason::new(ReasonKind::Conflict, sentence)
        .since(open.opened_at)
        .remedy("Decide which value counts: POST .../conflicts/{id}/resolution.")
}

/// Returns what the resolver of a conflict does, as a further sentence.
fn resolver(asked: &Asked) -> String {
    match &asked.course {
        AskCourse::Owed { .. } | AskCourse::Sending { .. } => {
            let until = moment(asked.question.until());
            format!(" It waits for its resolver until {until}; a person may decide meanwhile.")
        }
        AskCourse::Left { why, detail, .. } => {
            let detail = detail
                .as_deref()
                .map(|detail| format!(" ({})", quoted(detail)));
            let detail = detail.unwrap_or_default();
            format!(" The resolver did not decide: {}{detail}.", why.words())
        }
        AskCourse::Answered { .. } => String::new(),
    }
}

fn gone(why: Gone, at: Timestamp) -> Reason {
    let (kind, what) = match why {
        Gone::Removed => (
            ReasonKind::Removed,
            "Drive does not have the file any more, or does not show it",
        ),
        Gone::AccessLost => (
            ReasonKind::AccessLost,
            "The connection's user has no access to the file any more",
        ),
        Gone::MovedAway => (
            ReasonKind::MovedAway,
            "The file is in a drive that the connection does not cover",
        ),
    };
    let reason = Reason::new(kind, format!("{what} since {}.", moment(at))).since(at);
    match why {
        Gone::Removed => reason,
        Gone::AccessLost => reason.remedy("Share the file with the connection's user again."),
        Gone::MovedAway => reason.remedy("Move it back, or sync that drive with a connection too."),
    }
}

/// Returns the fields that are owed, and have not been given up.
fn owed_fields(record: &FileRecord) -> Vec<&Field> {
    let owed = record.fields.iter().filter(|(_, sides)| sides.owed());
    let owed = owed.map(|(field, _)| field);
    owed.filter(|field| !record.push.failed.contains_key(*field))
        .collect()
}

/// Returns the reasons of the fields that Drive refused.
fn refused(record: &FileRecord, now: Timestamp) -> impl Iterator<Item = Reason> {
    let owed = |field: &Field| record.sides(field).owed();
    let failed = record
        .push
        .failed
        .iter()
        .filter(move |(field, _)| owed(field));
    failed.map(move |(field, word)| {
        let edited = record.edits.get(field).map(|edit| edit.at);
        let what = match (field, record.presence) {
            (Field::Existence, Presence::Creating) => "the creation of the file".to_owned(),
            (Field::Existence, _) => "the deletion of the file".to_owned(),
            (field, _) => words::field(field),
        };
        let described = format!("Drive refuses {what} ({})", quoted(word));
        let reason = match record.push.again.get(field) {
            None => {
                let sentence = format!(
                    "{described}, as it was edited here{}: it is not tried again by itself.",
                    since(edited).replace(" since ", " at ")
                );
                Reason::new(ReasonKind::EditRefused, sentence).remedy(
                    "Edit it again, cancel it (POST .../intents/{file}/cancel), or try it once \
                     more (POST .../intents/{file}/retry).",
                )
            }
            Some(again) => {
                let sentence = format!(
                    "{described}, {} so far{}.",
                    times(again.times),
                    next_try(Some(again.at), now)
                );
                Reason::new(ReasonKind::EditRefusedForNow, sentence)
                    .next_try(again.at)
                    .count(again.times)
                    .remedy(
                        "Remove the cause, and try at once (POST .../intents/{file}/retry), or \
                         cancel it (.../cancel).",
                    )
            }
        };
        reason.about(field).since(edited).detail(word)
    })
}

/// Returns the reason of what is owed.
fn owes(record: &FileRecord, owed: &[&Field], now: Timestamp) -> Option<Reason> {
    let first = owed.first()?;
    let since_when = owed.iter().filter_map(|field| record.edits.get(*field));
    let since_when = since_when.map(|edit| edit.at).min();
    let what = if record.is_creating() {
        "the new file".to_owned()
    } else if record.deletion_owed() {
        "the deletion of the file".to_owned()
    } else {
        fields(owed)
    };
    let met = record.push.trouble.as_ref();
    let met_words = met.map(|met| {
        let met_since = moment(met.since);
        format!(
            ": {} {} since {met_since}",
            quoted(&met.reason),
            times(met.times)
        )
    });
    let at = record.owed_due();
    let sentence = format!(
        "Owed to Drive{}: {what}{}{}.",
        since(since_when),
        met_words.unwrap_or_default(),
        next_try(at, now)
    );
    let reason = Reason::new(ReasonKind::Owed, sentence)
        .since(since_when)
        .next_try(at);
    let reason = match met {
        Some(met) => reason.detail(&met.reason).count(met.times).remedy(
            "It goes on by itself; POST .../intents/{file}/retry tries at once, .../cancel \
             withdraws it.",
        ),
        None => reason,
    };
    Some(if owed.len() == 1 {
        reason.about(first)
    } else {
        reason
    })
}

/// Returns the reasons of what is not known about the file in Drive.
fn unsettled(record: &FileRecord, now: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let sent = record.fields.iter();
    let sent = sent.filter(|(_, sides)| sides.pending() && !sides.owed());
    let sent: Vec<&Field> = sent.map(|(field, _)| field).collect();
    if let Some(first) = sent.first() {
        let at = record.push_due();
        let sentence = format!(
            "{}: a write was sent{}, and it is not known yet whether it has arrived{}.",
            capital(&fields(&sent)),
            since(Some(record.push.sent_at)).replace(" since ", " at "),
            next_try(at, now)
        );
        let reason = Reason::new(ReasonKind::OutcomeUnknown, sentence)
            .since(record.push.sent_at)
            .next_try(at);
        reasons.push(if sent.len() == 1 {
            reason.about(first)
        } else {
            reason
        });
    }
    if let Some(missing) = record.missing.filter(|_| record.is_present()) {
        let seen = missing.seen;
        let at = record.push_due();
        let sentence = format!(
            "Drive did not show the file when it was read, {} since {}; it counts as gone only \
             after more answers like this{}.",
            times(seen.times),
            moment(seen.since),
            next_try(at, now)
        );
        let reason = Reason::new(ReasonKind::InDoubt, sentence).since(seen.since);
        reasons.push(reason.next_try(at).count(seen.times));
    }
    if let Some(again) = record.unlisted.filter(|_| record.is_present()) {
        let sentence = format!(
            "Drive did not list who has access to the file, {} so far{}.",
            times(again.times),
            next_try(Some(again.at), now)
        );
        let reason = Reason::new(ReasonKind::PermissionsUnknown, sentence);
        reasons.push(reason.next_try(again.at).count(again.times));
    }
    reasons
}

impl FileFacts<'_> {
    /// Returns the reasons of its place, its content and the rules.
    fn around(&self, now: Timestamp) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Some(excluded) = self.excluded {
            let waits = if owed_fields(self.record).is_empty() {
                ""
            } else {
                "; what is owed to it waits"
            };
            let (what, rule) = match excluded {
                Excluded::By(rule) => (
                    format!("an exclude rule ({})", words::rule(rule)),
                    Some(rule),
                ),
                Excluded::NotIncluded => ("no include rule takes it in".to_owned(), None),
            };
            let sentence = format!("The connection's rules leave the file out: {what}{waits}.");
            let reason = Reason::new(ReasonKind::Excluded, sentence)
                .remedy("Change the rules (PATCH the connection), or its name or place in Drive.");
            reasons.push(Reason {
                rule: rule.cloned(),
                ..reason
            });
        }
        if let Some(by) = self.trashed_by {
            let sentence = if *by == self.record.file {
                "It is in the trash.".to_owned()
            } else {
                format!(
                    "It is in the trash with the folder {}.",
                    quoted(by.as_str())
                )
            };
            let reason = Reason::new(ReasonKind::Trashed, sentence);
            reasons
                .push(reason.remedy("Take it, or that folder, out of the trash: PATCH trashed."));
        }
        if let Some(content) = self.content {
            let trouble = content.trouble;
            let sentence = format!(
                "Its content can't be had since {} ({}), asked for {}{}.",
                moment(trouble.since),
                quoted(&trouble.reason),
                times(content.failures.max(1)),
                next_try(content.due_at, now)
            );
            let reason = Reason::new(ReasonKind::ContentUnavailable, sentence)
                .since(trouble.since)
                .next_try(content.due_at)
                .about(&Field::Content)
                .detail(&trouble.reason)
                .count(content.failures.max(1));
            reasons.push(reason.remedy("POST .../intents/{file}/retry asks for it at once."));
        }
        if let Some(skipped) = self.content_left_out {
            let reason = Reason::new(ReasonKind::ContentLeftOut, words::left_out(skipped));
            let reason = reason.about(&Field::Content).detail(skipped.label());
            reasons.push(reason.remedy("Change the connection's content settings to mirror it."));
        }
        reasons
    }
}

/// Returns the reason of a change that was set aside.
fn set_aside(parked: Parked<'_>, now: Timestamp) -> Reason {
    let what = format!(
        "A change from Drive was set aside at {} ({}): what is stored may be older than Drive's \
         file",
        moment(parked.at),
        quoted(parked.reason)
    );
    let reason = match parked.redrive_at {
        Some(at) => {
            let sentence = format!("{what}; it is sent again {}.", wait(at, now));
            Reason::new(ReasonKind::ParkedForNow, sentence).next_try(at)
        }
        None => Reason::new(ReasonKind::Parked, format!("{what}.")),
    };
    let reason = reason.since(parked.at).detail(parked.reason);
    reason.remedy("Redrive or drop it: GET /v1/dead-letters, POST /v1/dead-letters/redrive.")
}

fn in_step(file: &FileFacts<'_>, sync: &SyncFacts<'_>) -> Reason {
    let changed = file.changed_at;
    let changed_words = changed.map(|at| format!(" since its change at {}", moment(at)));
    let read = sync.read_at();
    let read = read.map(|at| format!("; Drive's changes were read at {}", moment(at)));
    let sentence = format!(
        "It is in step with Drive{}{}.",
        changed_words.unwrap_or_default(),
        read.unwrap_or_default()
    );
    Reason::new(ReasonKind::InStep, sentence).since(changed)
}
