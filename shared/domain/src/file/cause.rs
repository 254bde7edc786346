//! The causes of what a record shows.

use crate::{Cause, Edit, FileRecord, Snapshot, Transition};

impl Transition {
    /// Returns the transition with the cause of the write that commits it: in the record, in its
    /// new edits and in its conflicts. Without a cause, those that are known stay.
    #[must_use]
    pub fn caused_by(mut self, cause: Option<Cause>) -> Self {
        let record = &mut self.record;
        record.cause = cause.or(record.cause);
        for edit in record.edits.values_mut() {
            edit.cause = edit.cause.or(cause);
        }
        for conflict in self.conflicts.values_mut() {
            conflict.cause = cause.or(conflict.cause);
        }
        self
    }
}

impl FileRecord {
    /// Returns the cause of the newest edit that Drive has not received yet, if there is one: a
    /// write of the record on behalf of its edits has this cause.
    #[must_use]
    pub fn edit_cause(&self) -> Option<Cause> {
        let newest = self.edits.values().max_by_key(|edit| edit.at);
        newest.and_then(|edit| edit.cause)
    }

    /// Returns the cause of a reported snapshot that the record knows already: of one that a push
    /// or a lookup has read, or that shows a value which was sent to Drive. `None` if the snapshot
    /// is news, so that its report is its cause.
    #[must_use]
    pub fn cause_of(&self, snapshot: &Snapshot) -> Option<Cause> {
        let read_directly = snapshot.version == self.version && self.reported < self.version;
        // An edit that was made since then was stored with another cause.
        let edited_since = self.edits.values().any(|edit| edit.cause == self.cause);
        if read_directly && !edited_since {
            return self.cause;
        }
        let shows = self.edits.iter().filter(|(field, _)| {
            let sides = self.sides(field);
            let value = snapshot.value(field);
            let is_news = value != sides.base;
            is_news && sides.sent.iter().any(|sent| sent.value == value)
        });
        let newest = shows
            .map(|(_, edit)| edit)
            .max_by_key(|edit: &&Edit| edit.at);
        newest.and_then(|edit| edit.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually as _, named, record, text};
    use crate::{AttemptId, Field, Policies};

    fn cause(number: u64) -> Cause {
        Cause::fresh(0, number)
    }

    /// Returns the record as a commit with this cause stores it.
    fn stored(record: FileRecord, number: u64) -> FileRecord {
        let transition = Transition::unchanged(record);
        transition.caused_by(Some(cause(number))).record
    }

    #[test]
    fn a_commit_names_the_record_and_its_new_edits() {
        let edited = stored(record().edits(Field::Name, text("b")), 1);
        assert_eq!(
            (edited.cause, edited.edit_cause()),
            (Some(cause(1)), Some(cause(1)))
        );
        let seen = stored(edited.sees(&named(2, "a")).record, 2);
        assert_eq!(
            (seen.cause, seen.edit_cause()),
            (Some(cause(2)), Some(cause(1)))
        );
        let unnamed = Transition::unchanged(seen.clone()).caused_by(None);
        assert_eq!(unnamed.record, seen);
        let apart = seen.sees(&named(3, "c")).caused_by(Some(cause(3)));
        let conflict = apart.conflicts.values().next().unwrap();
        assert_eq!(conflict.cause, Some(cause(3)));
    }

    #[test]
    fn a_reported_version_that_shows_our_write_has_the_cause_of_the_edit() {
        let edited = stored(record().edits(Field::Name, text("b")), 1);
        let (sent, patch) = edited.sends(&named(1, "a"), 7);
        assert_eq!(patch.attempt, AttemptId(7));
        let echo = named(2, "b");
        // Reported before the write is confirmed, and after it.
        assert_eq!(sent.cause_of(&echo), Some(cause(1)));
        let policies = Policies::default();
        let confirmed = sent.confirmed(&patch, &echo, crate::fixture::context(&policies));
        let confirmed = stored(confirmed.record, 1);
        assert_eq!(confirmed.cause_of(&echo), Some(cause(1)));
        // Another edit has been stored since: the record no longer tells.
        let again = stored(confirmed.edits(Field::Name, text("c")), 2);
        assert_eq!(again.cause_of(&echo), None);
        // News is caused by its report.
        assert_eq!(sent.cause_of(&named(2, "theirs")), None);
        assert_eq!(sent.cause_of(&named(2, "a")), None);
        assert_eq!(confirmed.cause_of(&named(3, "b")), None);
        let reported = stored(record(), 5);
        assert_eq!(reported.cause_of(&named(1, "a")), None);
    }
}
