//! The next action for a file's content.

use super::settings::{ContentSettings, DesiredContent};
use super::{ContentHash, ContentOutcome, ContentState};
use crate::{ConflictId, Field, FileRecord, Policies, Policy, Timestamp, Value};

const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

/// One action on a file's content. The state is evaluated again after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentAction {
    /// Keep both contents of this conflict: create the copy, then resolve the conflict.
    Copy(ConflictId),
    /// Store the content of this version.
    Store {
        /// The number of the version.
        number: u32,
        /// The hash of its content.
        hash: ContentHash,
        /// True if Drive has the content, so that it can be downloaded.
        in_drive: bool,
    },
    /// Store an export of the document.
    Export {
        /// The number of the new version.
        number: u32,
        /// The MIME type to export to.
        format: String,
        /// The time of the document's last change.
        of: Timestamp,
    },
    /// Upload the application's content to Drive.
    Upload {
        /// The number of the version.
        number: u32,
        /// The hash of its content.
        hash: ContentHash,
    },
    /// Record that a version is not stored.
    Record {
        /// The number of the version.
        number: u32,
        /// The reason.
        outcome: ContentOutcome,
    },
    /// Schedule the release of the stored versions of a file that is gone.
    ReleaseAt(Timestamp),
    /// Release the stored versions: the retention has ended.
    Release,
    /// Cancel the scheduled release: the file is back.
    CancelRelease,
    /// Do nothing.
    Nothing,
}

/// The context in which the next action is determined.
#[derive(Debug, Clone, Copy)]
pub struct ContentContext<'a> {
    /// The connection's settings.
    pub settings: &'a ContentSettings,
    /// The connection's policies.
    pub policies: &'a Policies,
    /// True if the connection's rules include the file.
    pub in_scope: bool,
    /// The current time.
    pub now: Timestamp,
}

impl ContentState {
    /// Returns the next action for a file with this record.
    ///
    /// The application's own content comes first: it is stored and uploaded to Drive regardless of
    /// the settings, since it exists nowhere else.
    #[must_use]
    pub fn next_action(&self, record: &FileRecord, context: ContentContext<'_>) -> ContentAction {
        if let Some(next) = self.next_upload(record, context.policies) {
            return next;
        }
        let trashed = *record.sides(&Field::Trashed).drive() == Value::Flag(true);
        if record.is_gone() || trashed {
            return self.next_of_gone(context);
        }
        if self.due_at.is_some() {
            return ContentAction::CancelRelease;
        }
        if !context.in_scope {
            return ContentAction::Nothing;
        }
        let number = record.content_version;
        match context.settings.desired_content(record) {
            DesiredContent::Nothing => ContentAction::Nothing,
            DesiredContent::Skipped(why) => {
                let rule = why.label().to_owned();
                self.record(number, ContentOutcome::Skipped { rule })
            }
            DesiredContent::Bytes(sha256) => match ContentHash::parse(&sha256) {
                Ok(hash) if !self.is_final(number) => ContentAction::Store {
                    number,
                    hash,
                    in_drive: true,
                },
                Ok(_) => ContentAction::Nothing,
                Err(_) => {
                    let reason = "Drive's checksum is none".to_owned();
                    self.record(number, ContentOutcome::Unavailable { reason })
                }
            },
            DesiredContent::Export(format) => {
                let of = record.metadata.modified_at.unwrap_or_default();
                let (last, done) = match &self.outcome {
                    Some((last, _)) => (*last, self.exported == Some(of) && self.is_final(*last)),
                    None => (0, false),
                };
                if done {
                    return ContentAction::Nothing;
                }
                ContentAction::Export {
                    number: last.saturating_add(1),
                    format,
                    of,
                }
            }
        }
    }

    /// Returns the next action for content of the application that Drive does not have.
    fn next_upload(&self, record: &FileRecord, policies: &Policies) -> Option<ContentAction> {
        let sides = record.sides(&Field::Content);
        let Value::Text(sha256) = &sides.app else {
            return None;
        };
        if sides.app == *sides.drive() || record.is_gone() {
            return None;
        }
        let hash = ContentHash::parse(sha256).ok()?;
        let number = record.content_version;
        if !self.is_final(number) {
            return Some(ContentAction::Store {
                number,
                hash,
                in_drive: false,
            });
        }
        if let Some(conflict) = record.open_conflict(&Field::Content) {
            let both = policies.of(&Field::Content) == Policy::KeepBoth;
            return Some(if both {
                ContentAction::Copy(conflict)
            } else {
                ContentAction::Nothing
            });
        }
        let stored = self.outcome == Some((number, ContentOutcome::Stored));
        Some(if record.content_owed() && stored {
            ContentAction::Upload { number, hash }
        } else {
            ContentAction::Nothing
        })
    }

    fn next_of_gone(&self, context: ContentContext<'_>) -> ContentAction {
        let kept = match &self.outcome {
            Some((
                _,
                ContentOutcome::Stored
                | ContentOutcome::Unavailable { .. }
                | ContentOutcome::Skipped { .. },
            )) => true,
            Some((_, ContentOutcome::Released)) | None => false,
        };
        match self.due_at {
            _ if !kept => ContentAction::Nothing,
            Some(at) if at > context.now => ContentAction::Nothing,
            Some(_) => ContentAction::Release,
            None => {
                let days = i64::from(context.settings.retention_days);
                ContentAction::ReleaseAt(context.now.plus_millis(days * DAY_MILLIS))
            }
        }
    }

    fn record(&self, number: u32, outcome: ContentOutcome) -> ContentAction {
        if self.outcome == Some((number, outcome.clone())) {
            ContentAction::Nothing
        } else {
            ContentAction::Record { number, outcome }
        }
    }

    /// Returns whether the outcome of this version is final: it is stored, or unavailable. What was
    /// skipped or released may be wanted again.
    fn is_final(&self, number: u32) -> bool {
        match &self.outcome {
            Some((last, ContentOutcome::Stored | ContentOutcome::Unavailable { .. })) => {
                *last >= number
            }
            Some((_, ContentOutcome::Skipped { .. } | ContentOutcome::Released)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Manually as _, NOW, all, context, snapshot};
    use crate::{Capabilities, Gone, Observation, Snapshot};

    fn hash(digit: char) -> ContentHash {
        ContentHash::parse(&digit.to_string().repeat(64)).unwrap()
    }

    fn holding(version: u64, digit: char) -> Snapshot {
        let mut shown = snapshot(version, &[]);
        shown.metadata.mime_type = "text/plain".to_owned();
        shown.metadata.sha256 = Some(hash(digit).to_string());
        shown.metadata.size_bytes = Some(1);
        shown.metadata.capabilities = Capabilities::from_names(["canDownload"]);
        shown
    }

    fn file() -> FileRecord {
        FileRecord::from_snapshot(&holding(1, 'a'))
    }

    fn uploaded(digit: char) -> FileRecord {
        file().edits(Field::Content, Value::Text(hash(digit).to_string()))
    }

    fn with_outcome(number: u32, outcome: ContentOutcome) -> ContentState {
        ContentState::default().with_outcome(number, outcome)
    }

    fn action(state: &ContentState, record: &FileRecord, policy: Policy) -> ContentAction {
        let settings = ContentSettings {
            enabled: true,
            retention_days: 2,
            ..ContentSettings::default()
        };
        let context = ContentContext {
            settings: &settings,
            policies: &all(policy),
            in_scope: true,
            now: NOW,
        };
        state.next_action(record, context)
    }

    fn next(state: &ContentState, record: &FileRecord) -> ContentAction {
        action(state, record, Policy::Manual)
    }

    fn skipped() -> ContentOutcome {
        ContentOutcome::Skipped {
            rule: "size".to_owned(),
        }
    }

    fn unavailable() -> ContentOutcome {
        ContentOutcome::Unavailable {
            reason: "abusive".to_owned(),
        }
    }

    #[test]
    fn drives_content_is_stored_once() {
        let wanted = ContentAction::Store {
            number: 1,
            hash: hash('a'),
            in_drive: true,
        };
        assert_eq!(next(&ContentState::default(), &file()), wanted);
        for (so_far, again) in [
            (ContentOutcome::Stored, ContentAction::Nothing),
            (unavailable(), ContentAction::Nothing),
            (skipped(), wanted.clone()),
            (ContentOutcome::Released, wanted),
        ] {
            assert_eq!(
                next(&with_outcome(1, so_far.clone()), &file()),
                again,
                "{so_far:?}"
            );
        }
        let changed = file().sees(&holding(2, 'b')).record;
        let wanted = ContentAction::Store {
            number: 2,
            hash: hash('b'),
            in_drive: true,
        };
        assert_eq!(next(&with_outcome(1, unavailable()), &changed), wanted);
    }

    #[test]
    fn content_that_is_out_of_scope_or_excluded_is_not_stored() {
        let mut closed = file();
        closed.metadata.capabilities = Capabilities::default();
        let rule = "not_downloadable".to_owned();
        let note = ContentOutcome::Skipped { rule };
        let noted = ContentAction::Record {
            number: 1,
            outcome: note.clone(),
        };
        assert_eq!(next(&ContentState::default(), &closed), noted);
        assert_eq!(
            next(&with_outcome(1, note), &closed),
            ContentAction::Nothing
        );
        let settings = ContentSettings {
            enabled: true,
            ..ContentSettings::default()
        };
        let context = ContentContext {
            settings: &settings,
            policies: &Policies::default(),
            in_scope: false,
            now: NOW,
        };
        assert_eq!(
            ContentState::default().next_action(&file(), context),
            ContentAction::Nothing
        );
    }

    #[test]
    fn content_is_uploaded_to_drive_only_after_it_is_stored() {
        let record = uploaded('c');
        let stored = ContentAction::Store {
            number: 2,
            hash: hash('c'),
            in_drive: false,
        };
        assert_eq!(
            next(&with_outcome(1, ContentOutcome::Stored), &record),
            stored
        );
        let carried = ContentAction::Upload {
            number: 2,
            hash: hash('c'),
        };
        assert_eq!(
            next(&with_outcome(2, ContentOutcome::Stored), &record),
            carried
        );
        assert_eq!(
            next(&with_outcome(2, unavailable()), &record),
            ContentAction::Nothing
        );
    }

    #[test]
    fn keep_both_creates_a_copy_for_a_conflict() {
        let open = uploaded('c').sees(&holding(2, 'd')).record;
        let id = open.open_conflict(&Field::Content).unwrap();
        let stored = with_outcome(2, ContentOutcome::Stored);
        assert_eq!(
            action(&stored, &open, Policy::KeepBoth),
            ContentAction::Copy(id)
        );
        assert_eq!(
            action(&stored, &open, Policy::Manual),
            ContentAction::Nothing
        );
        let unstored = action(
            &with_outcome(1, ContentOutcome::Stored),
            &open,
            Policy::KeepBoth,
        );
        assert!(matches!(unstored, ContentAction::Store { number: 2, .. }));
    }

    #[test]
    fn content_of_a_removed_file_is_retained_and_kept_if_restored() {
        let policies = all(Policy::Manual);
        let removed = Observation::Gone(Gone::Removed);
        let gone = file().apply_lookup(&removed, context(&policies)).record;
        let trashed = file()
            .sees(&{
                let mut shown = holding(2, 'a');
                shown.fields.insert(Field::Trashed, Value::Flag(true));
                shown
            })
            .record;
        let at = NOW.plus_millis(2 * DAY_MILLIS);
        for out in [&gone, &trashed] {
            let stored = with_outcome(1, ContentOutcome::Stored);
            assert_eq!(next(&stored, out), ContentAction::ReleaseAt(at));
            let waiting = ContentState {
                due_at: Some(at),
                ..stored.clone()
            };
            assert_eq!(next(&waiting, out), ContentAction::Nothing);
            let over = ContentState {
                due_at: Some(NOW),
                ..stored
            };
            assert_eq!(next(&over, out), ContentAction::Release);
            assert_eq!(next(&over, &file()), ContentAction::CancelRelease);
            assert_eq!(
                next(&with_outcome(1, ContentOutcome::Released), out),
                ContentAction::Nothing
            );
            assert_eq!(next(&ContentState::default(), out), ContentAction::Nothing);
        }
    }

    #[test]
    fn a_changed_document_is_exported_again() {
        let mut document = file();
        document.metadata.mime_type = "application/vnd.google-apps.drawing".to_owned();
        document.metadata.sha256 = None;
        document.metadata.modified_at = Some(NOW);
        let export = |number, of| ContentAction::Export {
            number,
            format: "image/png".to_owned(),
            of,
        };
        assert_eq!(next(&ContentState::default(), &document), export(1, NOW));
        let exported = ContentState {
            exported: Some(NOW),
            ..with_outcome(1, ContentOutcome::Stored)
        };
        assert_eq!(next(&exported, &document), ContentAction::Nothing);
        let later = NOW.plus_millis(1);
        document.metadata.modified_at = Some(later);
        assert_eq!(next(&exported, &document), export(2, later));
    }
}
