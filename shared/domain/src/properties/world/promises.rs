//! What holds after every step of a history.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Checked, REFUSED, World};
use crate::properties::{FIELDS, field};
use crate::{ConflictId, ConflictRecord, ConflictStatus, Field, FileRecord};

impl World {
    pub(super) fn revisions(
        &self,
        what: &str,
        before: &FileRecord,
        conflicts: &BTreeMap<ConflictId, ConflictRecord>,
    ) -> Checked {
        let after = &self.record;
        if after == before {
            prop_assert!(
                conflicts.is_empty(),
                "{what}: conflicts are written with the record"
            );
            return Ok(());
        }
        prop_assert_eq!(after.revision, before.revision.next(), "{}", what);
        let mut same_but_for_the_revision = after.clone();
        same_but_for_the_revision.revision = before.revision;
        prop_assert_ne!(
            &same_but_for_the_revision,
            before,
            "{}: nothing changed",
            what
        );
        let moved = shown(after) != shown(before);
        let expected = if moved {
            after.revision
        } else {
            before.visible
        };
        prop_assert_eq!(
            after.visible,
            expected,
            "{}: visible changes with what is shown",
            what
        );
        Ok(())
    }

    pub(super) fn completeness(&self, what: &str) -> Checked {
        let record = &self.record;
        for (field, sides) in &record.fields {
            let open = record.open.contains_key(field);
            prop_assert_eq!(
                sides.conflict.is_some(),
                open,
                "{}: {} {:?}",
                what,
                field,
                sides
            );
            if sides.conflict.is_some() {
                prop_assert_ne!(
                    &sides.app,
                    sides.drive(),
                    "{}: a conflict of equal values",
                    what
                );
            }
            if sides.app != sides.base {
                let known = record.edits.contains_key(field);
                prop_assert!(known, "{what}: an edit without an author");
            } else if sides.sent.is_empty() {
                let known = record.edits.contains_key(field);
                prop_assert!(!known, "{what}: an edit of nothing");
            }
        }
        let owed = |field: &Field| record.sides(field).owed();
        prop_assert!(
            record.push.failed.keys().all(owed) && record.push.again.keys().all(owed),
            "{what}: only what is owed can fail"
        );
        // What failed for any other reason is tried again by itself.
        let mut pending = record.fields.iter().filter(|(_, sides)| sides.pending());
        let due = record.is_present() && pending.any(|(field, _)| !failed_for_good(record, field));
        prop_assert_eq!(
            record.due().is_some(),
            due,
            "{}: due while something is pending and not given up for good",
            what
        );
        prop_assert!(
            record.has_consistent_conflicts(),
            "{what}: conflicts without an id: {record:?}"
        );
        for id in record
            .open
            .keys()
            .map(|field| record.open_conflict(field).unwrap())
        {
            prop_assert!(
                self.book.contains_key(&id),
                "{what}: {id:?} was never written"
            );
        }
        for (id, conflict) in &self.book {
            let open = record.open_conflict(&id.field).as_ref() == Some(id);
            prop_assert_eq!(
                conflict.status == ConflictStatus::Open,
                open,
                "{}: {:?}",
                what,
                id
            );
            if open && id.field != Field::Existence {
                let sides = record.sides(&id.field);
                prop_assert_eq!(
                    (&conflict.base, &conflict.app, &conflict.drive),
                    (&sides.base, &sides.app, sides.drive())
                );
                prop_assert_eq!(conflict.unsure, sides.conflict.unwrap().unsure);
                prop_assert_eq!(conflict.moves, record.open[&id.field].moves);
            } else if open {
                let owed = record
                    .fields
                    .iter()
                    .filter(|(_, sides)| sides.app != sides.base);
                let owed: BTreeMap<_, _> = owed.map(|(f, s)| (f.clone(), s.app.clone())).collect();
                prop_assert_eq!(&conflict.owed, &owed);
                prop_assert!(!record.is_present());
            }
        }
        Ok(())
    }

    /// What was given up for good stays so, with its reason, while it is owed and until it is
    /// edited or retried.
    pub(super) fn given_up_for_good(&self, what: &str, before: &FileRecord) -> Checked {
        if matches!(what, "edit" | "retry") {
            return Ok(());
        }
        let given_up = before.push.failed.keys();
        for field in given_up.filter(|field| failed_for_good(before, field)) {
            let stays = failed_for_good(&self.record, field);
            let owed = self.record.sides(field).owed();
            prop_assert!(stays || !owed, "{what}: {field} is no longer given up");
        }
        Ok(())
    }

    /// If the application's value was replaced, it had been agreed, had reached Drive, is in a
    /// conflict record, or was withdrawn.
    pub(super) fn nothing_is_lost(&self, what: &str, before: &FileRecord) -> Checked {
        if matches!(what, "edit" | "cancel") {
            return Ok(());
        }
        for (field, sides) in &before.fields {
            if sides.app == self.record.app(field) || sides.app == sides.base {
                continue;
            }
            let reached = self.landed.contains(&(field.clone(), sides.app.clone()));
            let recorded = self.book.values().any(|conflict| {
                (conflict.id.field == *field && conflict.app == sides.app)
                    || conflict.owed.get(field) == Some(&sides.app)
            });
            prop_assert!(reached || recorded, "{what}: {field} lost {:?}", sides.app);
        }
        Ok(())
    }
}

/// Returns whether a field was given up until it is edited or retried.
pub(super) fn failed_for_good(record: &FileRecord, field: &Field) -> bool {
    let reason = record.push.failed.get(field);
    reason.is_some_and(|reason| reason == REFUSED)
}

/// Returns what the API shows of a file.
fn shown(record: &FileRecord) -> impl PartialEq {
    let fields: BTreeSet<Field> = (0..FIELDS).map(field).collect();
    let side = |field: &Field| {
        let sides = record.sides(field);
        (sides.app.clone(), sides.drive().clone(), sides.owed())
    };
    (
        record.presence,
        fields.iter().map(side).collect::<Vec<_>>(),
        record.open.clone(),
        record.push.failed.clone(),
        record.metadata.clone(),
    )
}
