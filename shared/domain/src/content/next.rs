//! The next action for a file's content.

use super::settings::{ContentSettings, DesiredContent};
use super::{
    ContentHash, ContentIdentity, ContentOutcome, ContentState, Failure, Progress, Upload, Verdict,
};
use crate::{
    Ancestry, Capabilities, ConflictId, DAY_MILLIS, DriveVersion, Field, FileRecord, Policies,
    Policy, Timestamp, Value,
};

/// One action on a file's content. The state is evaluated again after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentAction {
    /// Keep both contents of this conflict: create the copy, and resolve the conflict when the copy
    /// is in Drive.
    Copy {
        /// The conflict.
        conflict: ConflictId,
        /// What is waited for, in the terms of [`ContentState::trouble`].
        of: String,
    },
    /// Store the content of Drive's side of the open conflict, so that it can be merged.
    StoreDriveSide {
        /// Its content.
        content: ContentIdentity,
        /// What is asked for, in the terms of [`ContentState::trouble`].
        of: String,
    },
    /// Release the stored content of Drive's side: the conflict has ended.
    ReleaseDriveSide,
    /// Check what an upload replaced, whose claim has been settled by an observation.
    FinishUpload(Upload),
    /// Store the content of this version.
    Store {
        /// The number of the version.
        number: u32,
        /// Its content.
        content: ContentIdentity,
        /// True if Drive has the content, so that it can be downloaded.
        in_drive: bool,
        /// What is asked for, in the terms of [`ContentState::trouble`].
        of: String,
    },
    /// Store an export of the document.
    Export {
        /// The number of the new version.
        number: u32,
        /// The MIME type to export to.
        format: String,
        /// The time of the document's last change.
        modified_at: Timestamp,
        /// The version at which its content may last have changed.
        moved_at: DriveVersion,
        /// What is asked for, in the terms of [`ContentState::trouble`].
        of: String,
    },
    /// Record that content can't be had, without asking for it.
    Fail(Failure),
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
    /// Nothing is waited for any more: the file is back, or what could not be had is not wanted.
    Unschedule,
    /// Do nothing.
    Nothing,
}

impl ContentAction {
    /// Returns whether it changes something in Drive.
    #[must_use]
    pub fn writes_to_drive(&self) -> bool {
        match self {
            Self::Copy { .. } | Self::Upload { .. } => true,
            Self::StoreDriveSide { .. }
            | Self::ReleaseDriveSide
            | Self::FinishUpload(_)
            | Self::Store { .. }
            | Self::Export { .. }
            | Self::Fail(_)
            | Self::Record { .. }
            | Self::ReleaseAt(_)
            | Self::Release
            | Self::Unschedule
            | Self::Nothing => false,
        }
    }
}

/// The context in which the next action is determined.
#[derive(Debug, Clone, Copy)]
pub struct ContentContext<'a> {
    /// The connection's settings.
    pub settings: &'a ContentSettings,
    /// The connection's policies.
    pub policies: &'a Policies,
    /// As in [`crate::Context::above`].
    pub above: Option<&'a Ancestry>,
    /// True if the connection's rules include the file.
    pub in_scope: bool,
    /// The current time.
    pub now: Timestamp,
    /// The time at which a person, a sync or an audit last asked for everything that could not be
    /// had.
    pub asked_at: Timestamp,
}

impl ContentState {
    /// Returns the next action for a file with this record.
    ///
    /// The application's own content comes first: it is stored and uploaded to Drive regardless of
    /// the settings, since it exists nowhere else.
    #[must_use]
    pub fn next_action(&self, record: &FileRecord, context: ContentContext<'_>) -> ContentAction {
        let next = self.next_of_content(record, context);
        let in_conflict = record.open.contains_key(&Field::Content);
        if next == ContentAction::Nothing && self.drive_side.is_some() && !in_conflict {
            return ContentAction::ReleaseDriveSide;
        }
        next
    }

    fn next_of_content(&self, record: &FileRecord, context: ContentContext<'_>) -> ContentAction {
        if let Some(next) = self.next_upload(record, context) {
            return next;
        }
        if let Some(Progress::Upload(upload)) = &self.progress {
            return ContentAction::FinishUpload(upload.clone());
        }
        let trashed = *record.sides(&Field::Trashed).drive() == Value::Flag(true);
        if record.is_gone() || trashed {
            return self.next_of_gone(context);
        }
        if self.due_at.is_some() && self.trouble.is_none() {
            return ContentAction::Unschedule;
        }
        let number = record.content_version;
        let wanted = context
            .in_scope
            .then(|| context.settings.desired_content(record));
        match wanted {
            None | Some(DesiredContent::Nothing) => self.wants_nothing(),
            Some(DesiredContent::Skipped(why)) => {
                let rule = why.label().to_owned();
                self.record(number, ContentOutcome::Skipped { rule })
            }
            Some(DesiredContent::Bytes(_)) if self.is_stored(number) => self.wants_nothing(),
            Some(DesiredContent::Bytes(content)) => {
                let of = content.to_string();
                self.ask(of, record, context, |of| ContentAction::Store {
                    number,
                    content,
                    in_drive: true,
                    of,
                })
            }
            Some(DesiredContent::Export(format)) => {
                let modified_at = record.metadata.modified_at.unwrap_or_default();
                let moved_at = record.content_moved_at;
                let last = self.outcome.as_ref().map_or(0, |(last, _)| *last);
                let exported =
                    self.exported == Some(modified_at) && self.exported_version >= moved_at;
                if exported && self.is_stored(last) {
                    return self.wants_nothing();
                }
                let of = format!("{format} {modified_at} {}", moved_at.0);
                self.ask(of, record, context, |of| ContentAction::Export {
                    number: last.saturating_add(1),
                    format,
                    modified_at,
                    moved_at,
                    of,
                })
            }
        }
    }

    /// Returns the action that asks Drive for content, unless it could not be had and is not due.
    /// What Drive says that the account may not download is only looked at when it is due.
    fn ask(
        &self,
        of: String,
        record: &FileRecord,
        context: ContentContext<'_>,
        action: impl FnOnce(String) -> ContentAction,
    ) -> ContentAction {
        let open = can_download(record.metadata.capabilities);
        // A change of the capability makes it another question, which is asked at once.
        let of = if open { of } else { format!("{of} (closed)") };
        if self.waits_for(&of, context.now, context.asked_at) {
            return ContentAction::Nothing;
        }
        if !open && self.failures_of(&of) == 0 {
            return ContentAction::Fail(Failure {
                of,
                reason: "not_downloadable".to_owned(),
                verdict: Verdict::Forbidden,
            });
        }
        action(of)
    }

    /// Returns the action where no content is wanted from Drive: what could not be had earlier is
    /// not waited for any more.
    fn wants_nothing(&self) -> ContentAction {
        if self.trouble.is_some() {
            ContentAction::Unschedule
        } else {
            ContentAction::Nothing
        }
    }

    /// Returns the next action for content of the application that Drive does not have.
    fn next_upload(
        &self,
        record: &FileRecord,
        context: ContentContext<'_>,
    ) -> Option<ContentAction> {
        let sides = record.sides(&Field::Content);
        if sides.app == *sides.drive() || record.is_gone() {
            return None;
        }
        let hash = ContentIdentity::parse(&sides.app)?.hash()?;
        let number = record.content_version;
        if !self.is_stored(number) {
            let of = format!("{hash} (of the application)");
            if self.waits_for(&of, context.now, context.asked_at) {
                return Some(ContentAction::Nothing);
            }
            return Some(ContentAction::Store {
                number,
                content: ContentIdentity::Sha256(hash),
                in_drive: false,
                of,
            });
        }
        if let Some(conflict) = record.open_conflict(&Field::Content) {
            return Some(self.next_of_conflict(record, conflict, context));
        }
        Some(if record.content_owed() {
            ContentAction::Upload { number, hash }
        } else {
            ContentAction::Nothing
        })
    }

    /// Returns the next action for a conflict, whose application's side is stored.
    fn next_of_conflict(
        &self,
        record: &FileRecord,
        conflict: ConflictId,
        context: ContentContext<'_>,
    ) -> ContentAction {
        let keeping = record
            .open
            .get(&Field::Content)
            .is_some_and(|open| open.keeping.is_some());
        let places = record.places();
        let places = places.iter().map(Option::as_ref);
        let policies = context.policies;
        let policy = policies.of_file(&Field::Content, &record.file, places, context.above);
        if keeping || policy == Policy::KeepBoth {
            let of = format!("the copy of conflict {}", conflict.number);
            if self.waits_for(&of, context.now, context.asked_at) {
                return ContentAction::Nothing;
            }
            return ContentAction::Copy { conflict, of };
        }
        let sides = record.sides(&Field::Content);
        let Some(content) = ContentIdentity::parse(sides.drive()) else {
            return ContentAction::Nothing;
        };
        let stored = self.drive_side.is_some() && self.drive_side == content.hash();
        if stored || record.metadata.size_bytes > Some(context.settings.size_bytes_max) {
            return ContentAction::Nothing;
        }
        let of = format!("{content} (of Drive)");
        self.ask(of, record, context, |of| ContentAction::StoreDriveSide {
            content,
            of,
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
        let release_at = self.due_at.filter(|_| self.trouble.is_none());
        match release_at {
            _ if !kept => self.wants_nothing(),
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
            self.wants_nothing()
        } else {
            ContentAction::Record { number, outcome }
        }
    }

    /// Returns whether this version, or a later one, is stored. What was skipped, released or could
    /// not be had may be wanted again.
    fn is_stored(&self, number: u32) -> bool {
        match &self.outcome {
            Some((last, ContentOutcome::Stored)) => *last >= number,
            Some((
                _,
                ContentOutcome::Unavailable { .. }
                | ContentOutcome::Skipped { .. }
                | ContentOutcome::Released,
            ))
            | None => false,
        }
    }
}

/// Returns whether Drive says that the account may download a file.
pub(super) fn can_download(capabilities: Capabilities) -> bool {
    capabilities.names().any(|name| name == "canDownload")
}
