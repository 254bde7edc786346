//! Which writes of a file's record concern its content.

use crate::mirroring::{FOLDER, SHORTCUT};
use crate::{Capabilities, Field, FileRecord, Presence};

/// Whether a record that became `new` asks for a look at the file's content: it is there or gone, in the trash or out of
/// it, its content moved on one of the sides, is in conflict or owed, or may be mirrored in another way.
///
/// What moves for other reasons does not: metadata is written far more often than content. Docs editor files have no
/// content of their own; theirs moves with the time of the last change, since Drive's version moves with everything.
#[must_use]
pub fn content_moved(old: Option<&FileRecord>, new: &FileRecord) -> bool {
    if [FOLDER, SHORTCUT].contains(&new.mirror.mime_type.as_str()) {
        return false;
    }
    match old {
        // What is made here is looked at once it is made, and a tombstone of what never was has nothing.
        None => new.is_present(),
        Some(old) => seen(old) != seen(new) || new.content_owed() && !old.content_owed(),
    }
}

/// What of a record the mirroring of its content goes by.
fn seen(record: &FileRecord) -> impl PartialEq + use<> {
    let mirror = &record.mirror;
    let there = match record.presence {
        Presence::Present => Some(true),
        Presence::Creating => None,
        Presence::Gone(..) => Some(false),
    };
    let both = |field: &Field| {
        let sides = record.sides(field);
        (sides.drive().clone(), sides.app)
    };
    let docs =
        (!record.can_hold_content()).then(|| (mirror.modified_at, mirror.head_revision_id.clone()));
    let open = record.open.get(&Field::Content);
    (
        there,
        both(&Field::Trashed),
        both(&Field::Content),
        open.map(|open| (open.number, open.moves)),
        (mirror.mime_type.clone(), mirror.size_bytes, docs),
        can_download(mirror.capabilities),
    )
}

fn can_download(capabilities: Capabilities) -> bool {
    capabilities.names().any(|name| name == "canDownload")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually as _, all, moment, snapshot, text};
    use crate::{Choice, Gone, NewFile, Observation, Policies, Policy, Snapshot, Timestamp, Value};

    const DOCS: &str = "application/vnd.google-apps.document";

    fn hash(digit: char) -> Value {
        Value::Text(std::iter::repeat_n(digit, 64).collect())
    }

    fn holding(version: u64, digit: char, fields: &[(Field, Value)]) -> Snapshot {
        let mut shown = snapshot(version, fields);
        shown.mirror.mime_type = "text/plain".to_owned();
        shown.mirror.sha256 = Some(std::iter::repeat_n(digit, 64).collect());
        shown.mirror.size_bytes = Some(1);
        shown.mirror.capabilities = Capabilities::from_names(["canDownload"]);
        shown
    }

    fn stored() -> FileRecord {
        FileRecord::first_sight(&holding(1, 'a', &[]))
    }

    fn typed(version: u64, mime_type: &str) -> Snapshot {
        let mut shown = holding(version, 'a', &[]);
        shown.mirror.mime_type = mime_type.to_owned();
        shown.mirror.sha256 = None;
        shown.mirror.size_bytes = None;
        shown
    }

    fn answered(record: &FileRecord, answer: &Observation) -> FileRecord {
        record.answered(answer, moment(&Policies::default())).record
    }

    #[test]
    fn the_first_sight_of_a_file_concerns_its_content_and_that_of_a_folder_or_a_tombstone_does_not()
    {
        assert!(content_moved(None, &stored()));
        assert!(content_moved(
            None,
            &FileRecord::first_sight(&typed(1, DOCS))
        ));
        for mime_type in [FOLDER, SHORTCUT] {
            let first = FileRecord::first_sight(&typed(1, mime_type));
            assert!(!content_moved(None, &first), "{mime_type}");
            let gone = answered(&first, &Observation::Gone(Gone::Removed));
            assert!(!content_moved(Some(&first), &gone), "{mime_type}");
        }
        let at = Timestamp::from_millis(0);
        let never = FileRecord::never_seen(stored().file, Gone::Removed, at);
        assert!(!content_moved(None, &never));
    }

    #[test]
    fn what_moves_of_a_file_concerns_its_content_or_not() {
        let before = stored();
        let seen = |snapshot: &Snapshot| before.sees(snapshot).record;
        let with = |change: &dyn Fn(&mut Snapshot)| {
            let mut shown = holding(2, 'a', &[]);
            change(&mut shown);
            seen(&shown)
        };
        let trashed = (Field::Trashed, Value::Flag(true));
        let concern = [
            ("Drive's content", seen(&holding(2, 'b', &[]))),
            (
                "Drive's trash",
                seen(&holding(2, 'a', std::slice::from_ref(&trashed))),
            ),
            ("our trash", before.edits(Field::Trashed, trashed.1)),
            ("our content", before.edits(Field::Content, hash('c'))),
            (
                "removed",
                answered(&before, &Observation::Gone(Gone::Removed)),
            ),
            (
                "the type",
                with(&|shown| "text/css".clone_into(&mut shown.mirror.mime_type)),
            ),
            (
                "the right to download",
                with(&|shown| shown.mirror.capabilities = Capabilities::default()),
            ),
            (
                "a checksum that Drive has lost",
                with(&|shown| shown.mirror.sha256 = None),
            ),
        ];
        for (what, after) in concern {
            assert!(content_moved(Some(&before), &after), "{what}");
        }
        let named = (Field::Name, text("b"));
        let none = [
            ("nothing", before.clone()),
            ("Drive's version", seen(&holding(2, 'a', &[]))),
            (
                "Drive's name",
                seen(&holding(2, 'a', std::slice::from_ref(&named))),
            ),
            ("our name", before.edits(named.0, named.1)),
            (
                "the time",
                with(&|shown| shown.mirror.modified_at = Some(Timestamp::from_millis(5))),
            ),
            (
                "who changed it",
                with(&|shown| shown.mirror.modified_by = Some("b@example.com".to_owned())),
            ),
        ];
        for (what, after) in none {
            assert!(!content_moved(Some(&before), &after), "{what}");
        }
    }

    #[test]
    fn a_docs_editor_file_moves_with_the_time_of_its_last_change() {
        let before = FileRecord::first_sight(&typed(1, DOCS));
        let noise = before.sees(&typed(2, DOCS)).record;
        assert!(!content_moved(Some(&before), &noise));
        let mut shown = typed(3, DOCS);
        shown.mirror.modified_at = Some(Timestamp::from_millis(5));
        assert!(content_moved(Some(&before), &before.sees(&shown).record));
    }

    #[test]
    fn a_conflict_on_content_concerns_it_when_it_opens_moves_and_ends() {
        let policies = all(Policy::Manual);
        let owing = stored().edits(Field::Content, hash('c'));
        let seen = |record: &FileRecord, snapshot| {
            let seen = Observation::Present(snapshot);
            record.observe(&seen, moment(&policies)).record
        };
        let open = seen(&owing, holding(2, 'd', &[]));
        assert!(content_moved(Some(&owing), &open));
        let moved = seen(&open, holding(3, 'e', &[]));
        assert!(content_moved(Some(&open), &moved));
        let id = moved.open_conflict(&Field::Content).unwrap();
        let ended = moved
            .resolve(&id, None, &Choice::App, "ann", moment(&policies))
            .unwrap()
            .record;
        assert!(ended.content_owed());
        assert!(content_moved(Some(&moved), &ended));
    }

    #[test]
    fn content_that_is_owed_anew_concerns_it_and_content_that_was_given_up_does_not() {
        let owing = stored().edits(Field::Content, hash('c'));
        let mut failed = owing.clone();
        let reason = "Drive refused it".to_owned();
        failed.push.failed.insert(Field::Content, reason);
        assert!(!content_moved(Some(&owing), &failed));
        assert!(content_moved(Some(&failed), &owing));
    }

    #[test]
    fn what_the_application_makes_concerns_content_once_it_is_made() {
        let policies = Policies::default();
        let new = NewFile {
            file: crate::fixture::file(),
            mime_type: "text/plain".to_owned(),
            shortcut_target: None,
            values: crate::fixture::values(&[
                (Field::Name, text("a")),
                (Field::Content, hash('c')),
            ]),
        };
        let making = FileRecord::creating(&new, "ann", moment(&policies))
            .unwrap()
            .record;
        assert!(!content_moved(None, &making));
        let claim = making.claim_creation(crate::AttemptId(1), moment(&policies));
        let sent = claim.step.record;
        assert!(!content_moved(Some(&making), &sent));
        let made = sent
            .confirmed(
                &claim.patch.unwrap(),
                &holding(1, '0', &[]),
                moment(&policies),
            )
            .record;
        assert!(content_moved(Some(&sent), &made));
    }
}
