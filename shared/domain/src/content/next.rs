//! What is to be done next for a file's content.

use super::{ContentHash, ContentState, Dealt};
use crate::mirroring::{ContentSettings, Wanted};
use crate::{ConflictId, Field, FileRecord, Policies, Policy, Timestamp, Value};

const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

/// One step of the mirror. After each, the file is looked at anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Both contents of this conflict are to be kept: make the copy, then decide.
    Copy(ConflictId),
    /// Have the content of this version stored.
    Store {
        /// The version.
        number: u32,
        /// Its content.
        hash: ContentHash,
        /// Whether Drive has it, so that it can be fetched.
        in_drive: bool,
    },
    /// Have an export of the document stored.
    Export {
        /// The version that it becomes.
        number: u32,
        /// The MIME type to export to.
        format: String,
        /// When the document was last changed.
        of: Timestamp,
    },
    /// Bring the application's content to Drive.
    Carry {
        /// The version.
        number: u32,
        /// Its content.
        hash: ContentHash,
    },
    /// Note that a version is not to be stored.
    Note {
        /// The version.
        number: u32,
        /// Why.
        dealt: Dealt,
    },
    /// The file has gone: its stored versions may go at this time.
    ReleaseAt(Timestamp),
    /// That time has come.
    Release,
    /// The file is back: its versions stay.
    Keep,
    /// Nothing is to be done.
    Nothing,
}

/// What the mirror goes by.
#[derive(Debug, Clone, Copy)]
pub struct Outlook<'a> {
    /// The connection's settings.
    pub settings: &'a ContentSettings,
    /// The connection's policies.
    pub policies: &'a Policies,
    /// Whether the connection's rules take the file in.
    pub in_scope: bool,
    /// Now.
    pub now: Timestamp,
}

impl ContentState {
    /// What is to be done next for a file with this record.
    ///
    /// First of all what the application brought is stored and comes to Drive, whatever the settings say of such a
    /// file: nobody else has it.
    #[must_use]
    pub fn next(&self, record: &FileRecord, outlook: Outlook<'_>) -> Next {
        if let Some(next) = self.next_of_ours(record, outlook.policies) {
            return next;
        }
        let trashed = *record.sides(&Field::Trashed).drive() == Value::Flag(true);
        if record.is_gone() || trashed {
            return self.next_of_gone(outlook);
        }
        if self.due_at.is_some() {
            return Next::Keep;
        }
        if !outlook.in_scope {
            return Next::Nothing;
        }
        let number = record.content_version;
        match outlook.settings.wanted(record) {
            Wanted::Nothing => Next::Nothing,
            Wanted::Skipped(why) => {
                let rule = why.label().to_owned();
                self.note(number, Dealt::Skipped { rule })
            }
            Wanted::Bytes(sha256) => match ContentHash::parse(&sha256) {
                Ok(hash) if !self.is_settled(number) => Next::Store {
                    number,
                    hash,
                    in_drive: true,
                },
                Ok(_) => Next::Nothing,
                Err(_) => {
                    let reason = "Drive's checksum is none".to_owned();
                    self.note(number, Dealt::Unavailable { reason })
                }
            },
            Wanted::Export(format) => {
                let of = record.mirror.modified_at.unwrap_or_default();
                let (last, settled) = match &self.dealt {
                    Some((last, _)) => (*last, self.exported == Some(of) && self.is_settled(*last)),
                    None => (0, false),
                };
                if settled {
                    return Next::Nothing;
                }
                Next::Export {
                    number: last.saturating_add(1),
                    format,
                    of,
                }
            }
        }
    }

    /// What is to be done for content that the application brought and Drive does not hold.
    fn next_of_ours(&self, record: &FileRecord, policies: &Policies) -> Option<Next> {
        let sides = record.sides(&Field::Content);
        let Value::Text(sha256) = &sides.app else {
            return None;
        };
        if sides.app == *sides.drive() || record.is_gone() {
            return None;
        }
        let hash = ContentHash::parse(sha256).ok()?;
        let number = record.content_version;
        if !self.is_settled(number) {
            return Some(Next::Store {
                number,
                hash,
                in_drive: false,
            });
        }
        if let Some(conflict) = record.open_conflict(&Field::Content) {
            let both = policies.of(&Field::Content) == Policy::KeepBoth;
            return Some(if both {
                Next::Copy(conflict)
            } else {
                Next::Nothing
            });
        }
        let stored = self.dealt == Some((number, Dealt::Stored));
        Some(if record.content_owed() && stored {
            Next::Carry { number, hash }
        } else {
            Next::Nothing
        })
    }

    fn next_of_gone(&self, outlook: Outlook<'_>) -> Next {
        let kept = match &self.dealt {
            Some((_, Dealt::Stored | Dealt::Unavailable { .. } | Dealt::Skipped { .. })) => true,
            Some((_, Dealt::Released)) | None => false,
        };
        match self.due_at {
            _ if !kept => Next::Nothing,
            Some(at) if at > outlook.now => Next::Nothing,
            Some(_) => Next::Release,
            None => {
                let days = i64::from(outlook.settings.retention_days);
                Next::ReleaseAt(outlook.now.plus_millis(days * DAY_MILLIS))
            }
        }
    }

    fn note(&self, number: u32, dealt: Dealt) -> Next {
        if self.dealt == Some((number, dealt.clone())) {
            Next::Nothing
        } else {
            Next::Note { number, dealt }
        }
    }

    /// Whether nothing more can come of storing this version: it is stored, or can't be had. What was left out or let go
    /// may be wanted again.
    fn is_settled(&self, number: u32) -> bool {
        match &self.dealt {
            Some((last, Dealt::Stored | Dealt::Unavailable { .. })) => *last >= number,
            Some((_, Dealt::Skipped { .. } | Dealt::Released)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually as _, NOW, all, moment, snapshot};
    use crate::{Capabilities, Gone, Observation, Snapshot};

    fn hash(digit: char) -> ContentHash {
        ContentHash::parse(&digit.to_string().repeat(64)).unwrap()
    }

    fn holding(version: u64, digit: char) -> Snapshot {
        let mut shown = snapshot(version, &[]);
        shown.mirror.mime_type = "text/plain".to_owned();
        shown.mirror.sha256 = Some(hash(digit).to_string());
        shown.mirror.size_bytes = Some(1);
        shown.mirror.capabilities = Capabilities::from_names(["canDownload"]);
        shown
    }

    fn file() -> FileRecord {
        FileRecord::first_sight(&holding(1, 'a'))
    }

    fn uploaded(digit: char) -> FileRecord {
        file().edits(Field::Content, Value::Text(hash(digit).to_string()))
    }

    fn dealt(number: u32, dealt: Dealt) -> ContentState {
        ContentState::default().settled(number, dealt)
    }

    fn step(state: &ContentState, record: &FileRecord, policy: Policy) -> Next {
        let settings = ContentSettings {
            enabled: true,
            retention_days: 2,
            ..ContentSettings::default()
        };
        let outlook = Outlook {
            settings: &settings,
            policies: &all(policy),
            in_scope: true,
            now: NOW,
        };
        state.next(record, outlook)
    }

    fn next(state: &ContentState, record: &FileRecord) -> Next {
        step(state, record, Policy::Manual)
    }

    fn skipped() -> Dealt {
        Dealt::Skipped {
            rule: "size".to_owned(),
        }
    }

    fn unavailable() -> Dealt {
        Dealt::Unavailable {
            reason: "abusive".to_owned(),
        }
    }

    #[test]
    fn what_drive_holds_is_stored_once() {
        let wanted = Next::Store {
            number: 1,
            hash: hash('a'),
            in_drive: true,
        };
        assert_eq!(next(&ContentState::default(), &file()), wanted);
        for (so_far, again) in [
            (Dealt::Stored, Next::Nothing),
            (unavailable(), Next::Nothing),
            (skipped(), wanted.clone()),
            (Dealt::Released, wanted),
        ] {
            assert_eq!(
                next(&dealt(1, so_far.clone()), &file()),
                again,
                "{so_far:?}"
            );
        }
        let changed = file().sees(&holding(2, 'b')).record;
        let wanted = Next::Store {
            number: 2,
            hash: hash('b'),
            in_drive: true,
        };
        assert_eq!(next(&dealt(1, unavailable()), &changed), wanted);
    }

    #[test]
    fn what_is_out_of_scope_or_left_out_is_not_stored() {
        let mut closed = file();
        closed.mirror.capabilities = Capabilities::default();
        let rule = "not_downloadable".to_owned();
        let note = Dealt::Skipped { rule };
        let noted = Next::Note {
            number: 1,
            dealt: note.clone(),
        };
        assert_eq!(next(&ContentState::default(), &closed), noted);
        assert_eq!(next(&dealt(1, note), &closed), Next::Nothing);
        let settings = ContentSettings {
            enabled: true,
            ..ContentSettings::default()
        };
        let outlook = Outlook {
            settings: &settings,
            policies: &Policies::default(),
            in_scope: false,
            now: NOW,
        };
        assert_eq!(
            ContentState::default().next(&file(), outlook),
            Next::Nothing
        );
    }

    #[test]
    fn an_upload_is_stored_before_it_is_carried_and_carried_only_if_it_is() {
        let record = uploaded('c');
        let stored = Next::Store {
            number: 2,
            hash: hash('c'),
            in_drive: false,
        };
        assert_eq!(next(&dealt(1, Dealt::Stored), &record), stored);
        let carried = Next::Carry {
            number: 2,
            hash: hash('c'),
        };
        assert_eq!(next(&dealt(2, Dealt::Stored), &record), carried);
        assert_eq!(next(&dealt(2, unavailable()), &record), Next::Nothing);
    }

    #[test]
    fn of_a_conflict_both_are_kept_where_the_policy_says_so() {
        let open = uploaded('c').sees(&holding(2, 'd')).record;
        let id = open.open_conflict(&Field::Content).unwrap();
        let stored = dealt(2, Dealt::Stored);
        assert_eq!(step(&stored, &open, Policy::KeepBoth), Next::Copy(id));
        assert_eq!(step(&stored, &open, Policy::Manual), Next::Nothing);
        let unstored = step(&dealt(1, Dealt::Stored), &open, Policy::KeepBoth);
        assert!(matches!(unstored, Next::Store { number: 2, .. }));
    }

    #[test]
    fn what_is_gone_is_kept_for_the_retention_and_stays_if_it_comes_back() {
        let policies = all(Policy::Manual);
        let removed = Observation::Gone(Gone::Removed);
        let gone = file().answered(&removed, moment(&policies)).record;
        let trashed = file()
            .sees(&{
                let mut shown = holding(2, 'a');
                shown.fields.insert(Field::Trashed, Value::Flag(true));
                shown
            })
            .record;
        let at = NOW.plus_millis(2 * DAY_MILLIS);
        for out in [&gone, &trashed] {
            let stored = dealt(1, Dealt::Stored);
            assert_eq!(next(&stored, out), Next::ReleaseAt(at));
            let waiting = ContentState {
                due_at: Some(at),
                ..stored.clone()
            };
            assert_eq!(next(&waiting, out), Next::Nothing);
            let over = ContentState {
                due_at: Some(NOW),
                ..stored
            };
            assert_eq!(next(&over, out), Next::Release);
            assert_eq!(next(&over, &file()), Next::Keep);
            assert_eq!(next(&dealt(1, Dealt::Released), out), Next::Nothing);
            assert_eq!(next(&ContentState::default(), out), Next::Nothing);
        }
    }

    #[test]
    fn a_document_is_exported_anew_when_it_has_changed() {
        let mut document = file();
        document.mirror.mime_type = "application/vnd.google-apps.drawing".to_owned();
        document.mirror.sha256 = None;
        document.mirror.modified_at = Some(NOW);
        let export = |number, of| Next::Export {
            number,
            format: "image/png".to_owned(),
            of,
        };
        assert_eq!(next(&ContentState::default(), &document), export(1, NOW));
        let exported = ContentState {
            exported: Some(NOW),
            ..dealt(1, Dealt::Stored)
        };
        assert_eq!(next(&exported, &document), Next::Nothing);
        let later = NOW.plus_millis(1);
        document.mirror.modified_at = Some(later);
        assert_eq!(next(&exported, &document), export(2, later));
    }
}
