//! Detection of record changes that affect a file's content.

use super::next::can_download;
use super::settings::{FOLDER, SHORTCUT};
use crate::{Field, FileRecord, Presence};

/// Returns whether a record's change to `new` requires its content to be processed: the file
/// appeared or is gone, went into or out of the trash, its content changed on one side, is in
/// conflict or owed, or should be stored in another way.
///
/// Other changes don't, since metadata is written far more often than content. Docs editor files
/// have no bytes; their content is taken to change with the time of their last change, and with a
/// version that nothing else explains.
#[must_use]
pub fn affects_content(old: Option<&FileRecord>, new: &FileRecord) -> bool {
    if [FOLDER, SHORTCUT].contains(&new.metadata.mime_type.as_str()) {
        return false;
    }
    match old {
        // A new file is processed once it was created, and the tombstone of a file that never
        // existed has no content.
        None => new.is_present(),
        Some(old) => {
            content_view(old) != content_view(new) || new.content_owed() && !old.content_owed()
        }
    }
}

/// The part of a record that the processing of its content depends on.
fn content_view(record: &FileRecord) -> impl PartialEq + use<> {
    let metadata = &record.metadata;
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
        (!record.can_hold_content()).then_some((metadata.modified_at, record.content_moved_at));
    let open = record.open.get(&Field::Content);
    (
        there,
        both(&Field::Trashed),
        both(&Field::Content),
        open.map(|open| (open.number, open.moves, open.keeping.clone())),
        (metadata.mime_type.clone(), metadata.size_bytes, docs),
        can_download(metadata.capabilities),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually as _, all, context, snapshot, text};
    use crate::{
        Capabilities, Choice, Gone, NewFile, Observation, Policies, Policy, Snapshot, Timestamp,
        Value,
    };

    const DOCS: &str = "application/vnd.google-apps.document";

    fn hash(digit: char) -> Value {
        Value::Text(std::iter::repeat_n(digit, 64).collect())
    }

    fn holding(version: u64, digit: char, fields: &[(Field, Value)]) -> Snapshot {
        let mut shown = snapshot(version, fields);
        shown.metadata.mime_type = "text/plain".to_owned();
        shown.metadata.sha256 = Some(std::iter::repeat_n(digit, 64).collect());
        shown.metadata.size_bytes = Some(1);
        shown.metadata.capabilities = Capabilities::from_names(["canDownload"]);
        shown
    }

    fn stored() -> FileRecord {
        FileRecord::from_snapshot(&holding(1, 'a', &[]))
    }

    fn typed(version: u64, mime_type: &str) -> Snapshot {
        let mut shown = holding(version, 'a', &[]);
        shown.metadata.mime_type = mime_type.to_owned();
        shown.metadata.sha256 = None;
        shown.metadata.size_bytes = None;
        shown
    }

    fn answered(record: &FileRecord, answer: &Observation) -> FileRecord {
        record
            .apply_lookup(answer, context(&Policies::default()))
            .record
    }

    #[test]
    fn a_new_file_affects_content_and_a_new_folder_or_tombstone_does_not() {
        assert!(affects_content(None, &stored()));
        assert!(affects_content(
            None,
            &FileRecord::from_snapshot(&typed(1, DOCS))
        ));
        for mime_type in [FOLDER, SHORTCUT] {
            let first = FileRecord::from_snapshot(&typed(1, mime_type));
            assert!(!affects_content(None, &first), "{mime_type}");
            let gone = answered(&first, &Observation::Gone(Gone::Removed));
            assert!(!affects_content(Some(&first), &gone), "{mime_type}");
        }
        let at = Timestamp::from_millis(0);
        let never = FileRecord::tombstone(stored().file, Gone::Removed, at);
        assert!(!affects_content(None, &never));
    }

    #[test]
    fn only_some_changes_of_a_file_affect_its_content() {
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
                with(&|shown| "text/css".clone_into(&mut shown.metadata.mime_type)),
            ),
            (
                "the capability to download",
                with(&|shown| shown.metadata.capabilities = Capabilities::default()),
            ),
            (
                "a checksum that Drive no longer has",
                with(&|shown| shown.metadata.sha256 = None),
            ),
        ];
        for (what, after) in concern {
            assert!(affects_content(Some(&before), &after), "{what}");
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
                with(&|shown| shown.metadata.modified_at = Some(Timestamp::from_millis(5))),
            ),
            (
                "who changed it",
                with(&|shown| shown.metadata.modified_by = Some("b@example.com".to_owned())),
            ),
        ];
        for (what, after) in none {
            assert!(!affects_content(Some(&before), &after), "{what}");
        }
    }

    #[test]
    fn a_documents_content_changes_with_its_time_or_an_unexplained_version() {
        let before = FileRecord::from_snapshot(&typed(1, DOCS));
        let mut starred = typed(2, DOCS);
        starred.fields.insert(Field::Starred, Value::Flag(true));
        let starred = before.sees(&starred).record;
        assert!(!affects_content(Some(&before), &starred));
        let unexplained = before.sees(&typed(2, DOCS)).record;
        assert!(affects_content(Some(&before), &unexplained));
        let mut shown = typed(3, DOCS);
        shown.metadata.modified_at = Some(Timestamp::from_millis(5));
        assert!(affects_content(Some(&before), &before.sees(&shown).record));
    }

    #[test]
    fn a_content_conflict_affects_content_when_it_opens_moves_and_ends() {
        let policies = all(Policy::Manual);
        let owing = stored().edits(Field::Content, hash('c'));
        let seen = |record: &FileRecord, snapshot| {
            let seen = Observation::Present(snapshot);
            record.observe(&seen, context(&policies)).record
        };
        let open = seen(&owing, holding(2, 'd', &[]));
        assert!(affects_content(Some(&owing), &open));
        let moved = seen(&open, holding(3, 'e', &[]));
        assert!(affects_content(Some(&open), &moved));
        let id = moved.open_conflict(&Field::Content).unwrap();
        let ended = moved
            .resolve(&id, None, &Choice::App, "ann", context(&policies))
            .unwrap()
            .record;
        assert!(ended.content_owed());
        assert!(affects_content(Some(&moved), &ended));
    }

    #[test]
    fn newly_owed_content_affects_content_and_given_up_content_does_not() {
        let owing = stored().edits(Field::Content, hash('c'));
        let mut failed = owing.clone();
        let reason = "Drive refused it".to_owned();
        failed.push.failed.insert(Field::Content, reason);
        assert!(!affects_content(Some(&owing), &failed));
        assert!(affects_content(Some(&failed), &owing));
    }

    #[test]
    fn a_created_file_affects_content_once_it_exists() {
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
        let making = FileRecord::creating(&new, "ann", context(&policies))
            .unwrap()
            .record;
        assert!(!affects_content(None, &making));
        let claim = making.claim_creation(crate::AttemptId(1), context(&policies));
        let sent = claim.transition.record;
        assert!(!affects_content(Some(&making), &sent));
        let made = sent
            .confirmed(
                &claim.patch.unwrap(),
                &holding(1, '0', &[]),
                context(&policies),
            )
            .record;
        assert!(affects_content(Some(&sent), &made));
    }
}
