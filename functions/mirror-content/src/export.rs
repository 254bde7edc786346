//! Exports documents of Google's editors: Drive generates their bytes on demand and has no checksum
//! of them.

use std::time::Duration;

use domain::FileRecord;
use domain::content::{ContentOrigin, ContentOutcome, ContentState, ObjectLocation};
use domain::rate_limit::CallKind;
use drive::{Download, Expected, Preparation, PreparationId, Unavailable};
use throttle::{CallError, ThrottledDrive};

use crate::file::{StepResult, Work};
use crate::transfer::{Transfer, TransferResult};
use crate::wanted::Export;
use worker::WorkError;

/// The interval at which Drive is asked whether an export is ready.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Work<'_> {
    /// Stores an export of a document. It shows the document at the time of the export; if the
    /// document changed meanwhile, that change produces the next version. An export with the bytes
    /// of the last one is none: something else had moved the document's version.
    pub(crate) async fn export(
        &self,
        record: &FileRecord,
        state: &ContentState,
        export: Export,
    ) -> Result<StepResult, WorkError> {
        let (number, format) = (export.number, export.format.as_str());
        let (place, digest) = match self.transfer_export(state, number, format).await {
            Ok(transferred) => transferred,
            Err(error) => return self.handle_failure(state, export.of, error).await,
        };
        let state = ContentState {
            exported_version: export.moved_at,
            ..state.clone()
        };
        let object = self.register_object(place, &digest).await?;
        let (key, last) = (&self.connection.key, number.saturating_sub(1));
        let last_version = self.deps.store.load_version(key, self.file, last).await?;
        if last_version.is_some_and(|last| last.hash == object.hash && last.mime_type == format) {
            let unchanged = ContentState {
                exported: Some(export.modified_at),
                ..state.with_outcome(last, ContentOutcome::Stored)
            };
            self.save(&unchanged).await?;
            return Ok(StepResult::Continue);
        }
        let origin = ContentOrigin::Export {
            format: format.to_owned(),
        };
        let moment = Some(export.modified_at.to_string());
        let mut version = self.new_version(record, &object, number, origin, moment);
        version.mime_type = format.to_owned();
        self.link_version(&state, version).await
    }

    async fn transfer_export(
        &self,
        state: &ContentState,
        number: u32,
        format: &str,
    ) -> Result<(ObjectLocation, objects::Digest), WorkError> {
        let drive = self.throttled_drive().await?;
        let download = self.open_export(&drive, format).await?;
        let transfer = Transfer::of_export(self, number);
        match transfer.run_export(state, download, format).await? {
            TransferResult::Done(place, digest) => Ok((place, digest)),
            TransferResult::OutOfTime => Err(WorkError::OutOfTime),
        }
    }

    /// Opens an export. If Drive refuses a large one, it is requested as a long-running operation.
    async fn open_export(
        &self,
        drive: &ThrottledDrive,
        format: &str,
    ) -> Result<Download, WorkError> {
        let export = drive.client().export(self.file, format);
        let error = match drive.call(CallKind::Download, export).await {
            Ok(download) => return Ok(download),
            Err(CallError::Drive(error)) => error,
            Err(error) => return Err(error.into()),
        };
        match error.content_unavailable() {
            Some(Unavailable::TooLarge | Unavailable::NotExportable) => {}
            Some(_) | None => return Err(error.into()),
        }
        let prepare = drive
            .client()
            .prepare_download(self.file, Some(format), None);
        let mut preparation = drive.call(CallKind::Download, prepare).await?;
        loop {
            preparation = match preparation {
                Preparation::Ready(content) => {
                    let open = drive
                        .client()
                        .download_prepared(&content, 0, Expected::default());
                    return Ok(drive.call(CallKind::Download, open).await?);
                }
                Preparation::Pending(id) => self.poll_preparation(drive, &id).await?,
            };
        }
    }

    async fn poll_preparation(
        &self,
        drive: &ThrottledDrive,
        id: &PreparationId,
    ) -> Result<Preparation, WorkError> {
        if self.too_late() {
            return Err(WorkError::LateExport);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        let prepared = drive.client().get_preparation(id);
        Ok(drive.call(CallKind::Other, prepared).await?)
    }
}
