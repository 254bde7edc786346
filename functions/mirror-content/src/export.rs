//! Exports documents of Google's editors: Drive generates their bytes on demand and has no checksum
//! of them.

use std::time::Duration;

use domain::content::{ContentOrigin, ContentState, ObjectLocation};
use domain::rate_limit::CallKind;
use domain::{FileRecord, Timestamp};
use drive::{Download, Expected, Preparation, PreparationId, Unavailable};
use throttle::{CallError, ThrottledDrive};

use crate::file::{StepResult, Work};
use crate::transfer::{Transfer, TransferResult};
use worker::WorkError;

/// The interval at which Drive is asked whether an export is ready.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Work<'_> {
    /// Stores an export of a document. It shows the document at the time of the export; if the
    /// document changed meanwhile, that change produces the next version.
    pub(crate) async fn export(
        &self,
        record: &FileRecord,
        state: &ContentState,
        number: u32,
        format: &str,
        of: Timestamp,
    ) -> Result<StepResult, WorkError> {
        match self.transfer_export(state, number, format).await {
            Ok((place, digest)) => {
                let object = self.register_object(place, &digest).await?;
                let origin = ContentOrigin::Export {
                    format: format.to_owned(),
                };
                let moment = Some(of.to_string());
                let mut version = self.new_version(record, &object, number, origin, moment);
                version.mime_type = format.to_owned();
                self.link_version(state, version).await
            }
            Err(error) => {
                let gone = error.drive().is_some_and(|error| error.gone().is_some());
                if gone {
                    return Ok(StepResult::Finished);
                }
                // The document's modification time is saved with the failure, so that the export is
                // not retried on every wake.
                let updated = ContentState {
                    exported: Some(of),
                    ..state.clone()
                };
                self.handle_failure(&updated, number, error).await
            }
        }
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
            return Err(WorkError::OutOfTime);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        let prepared = drive.client().get_preparation(id);
        Ok(drive.call(CallKind::Other, prepared).await?)
    }
}
