//! A person's content that an upload through a session replaced unseen: it becomes a file beside.
//!
//! An upload is conditional on the file as it was read. If Drive does not check that up to the
//! session's last byte, what a person uploaded in between is one of the file's revisions, which
//! Drive deletes after a month. So the revisions are read after such an upload.

use domain::content::{ContentState, Progress, Upload};
use domain::rate_limit::CallKind;
use domain::{FileRecord, Value};
use drive::{Expected, Kind, Revision};
use runtime::telemetry;
use throttle::{CallError, ThrottledDrive};
use worker::WorkError;

use crate::file::Work;
use crate::transfer::{Transfer, TransferResult};

/// The most pages of a thousand revisions that are read.
const PAGES_MAX: u32 = 20;

impl Work<'_> {
    /// Keeps the newest revision between the one that the upload replaced and its own, if there is
    /// one. The revisions before it were replaced by people.
    pub(crate) async fn keep_overwritten(
        &self,
        record: &FileRecord,
        state: ContentState,
        upload: Upload,
        head: Option<String>,
    ) -> Result<ContentState, WorkError> {
        let (Some(base), Some(head)) = (upload.base_revision.clone(), head) else {
            return Ok(state);
        };
        let drive = self.throttled_drive().await?;
        let found = match self.find_overwritten(&drive, &upload, &base, &head).await {
            Ok(found) => found,
            Err(CallError::Drive(error)) if is_refused(error.kind()) => {
                let error = telemetry::chain(&error);
                tracing::warn!(
                    file = %self.file, error, metric = "content_unchecked",
                    "Drive does not show what an upload replaced"
                );
                None
            }
            Err(error) => return Err(error.into()),
        };
        match found {
            Some(revision) => {
                Box::pin(self.keep_revision(&drive, record, state, upload, revision)).await
            }
            None => Ok(state),
        }
    }

    async fn find_overwritten(
        &self,
        drive: &ThrottledDrive,
        upload: &Upload,
        base: &str,
        head: &str,
    ) -> Result<Option<Revision>, CallError> {
        let mut revisions: Vec<Revision> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let client = drive.client();
            let list = || client.list_revisions(self.file, token.as_deref());
            let page = drive.call_with_retries(CallKind::List, list).await?;
            revisions.extend(page.revisions);
            let next = page.next;
            if next.is_none() || next == token {
                break;
            }
            token = next;
        }
        let end = revisions.iter().position(|one| one.id.as_str() == head);
        revisions.truncate(end.unwrap_or(revisions.len()));
        let begin = revisions.iter().position(|one| one.id.as_str() == base);
        let between = match begin {
            Some(begin) => revisions.split_off(begin + 1),
            // The replaced one is not listed any more: what was made during the upload is not ours.
            None => {
                revisions.retain(|one| one.modified_at >= Some(upload.began_at));
                revisions
            }
        };
        Ok(between.into_iter().next_back())
    }

    /// Stores a revision, and creates a file beside with it.
    async fn keep_revision(
        &self,
        drive: &ThrottledDrive,
        record: &FileRecord,
        state: ContentState,
        upload: Upload,
        revision: Revision,
    ) -> Result<ContentState, WorkError> {
        let kept = match upload.kept.clone() {
            Some(kept) => kept,
            None => self.generate_id(&record.metadata.mime_type).await?,
        };
        let upload = Upload {
            kept: Some(kept.clone()),
            ..upload
        };
        let state = self
            .save(&state.with_progress(Progress::Upload(upload)))
            .await?;
        // Only revisions that are kept can be downloaded.
        let client = drive.client();
        let keep = client.keep_revision(self.file, &revision.id, true);
        drive.call(CallKind::Edit, keep).await?;
        let expected = Expected {
            mime_type: revision.mime_type.as_deref(),
            size_bytes: revision.size_bytes,
        };
        let open = client.download_revision(self.file, &revision.id, 0, expected);
        let download = drive.call(CallKind::Download, open).await?;
        let mime_type = &record.metadata.mime_type;
        let transfer = Transfer::of_export(self, record.content_version);
        let (place, digest) = match transfer.run_export(&state, download, mime_type).await? {
            TransferResult::Done(place, digest) => (place, digest),
            TransferResult::OutOfTime => return Err(WorkError::OutOfTime),
        };
        let object = self.register_object(place, &digest).await?;
        let who = revision.modified_by.as_deref().unwrap_or("Drive");
        let content = Value::Text(object.hash.to_string());
        let new = record.copy_with(kept.clone(), content, who, self.deps.clock.now());
        self.create_beside(&new, who).await?;
        tracing::warn!(
            file = %self.file, %kept, revision = revision.id.as_str(),
            metric = "content_overwritten",
            "an upload replaced a person's content, which is kept in a file beside"
        );
        Ok(state)
    }
}

fn is_refused(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::NotFound | Kind::AccessDenied { .. } | Kind::Permanent { .. }
    )
}
