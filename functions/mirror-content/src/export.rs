//! Documents of Google's editors: bytes that Drive makes on demand, and has no checksum of.

use std::time::Duration;

use domain::content::{ContentState, Origin, Place};
use domain::pace::CallKind;
use domain::{FileRecord, Timestamp};
use drive::{Download, Expected, Preparation, PreparationId, Unavailable};
use gate::{GateError, Pass};

use crate::Stopped;
use crate::file::{Flow, Work};
use crate::pour::{Pour, Poured};

/// How often Drive is asked whether it has prepared a document.
const ASK_EVERY: Duration = Duration::from_secs(2);

impl Work<'_> {
    /// Has an export of a document stored. What comes is whatever the document is then; if it changed meanwhile, its next
    /// change brings the next version.
    pub(crate) async fn export(
        &self,
        record: &FileRecord,
        state: &ContentState,
        number: u32,
        format: &str,
        of: Timestamp,
    ) -> Result<Flow, Stopped> {
        match self.exported(state, number, format).await {
            Ok((place, digest)) => {
                let object = self.object(place, &digest).await?;
                let origin = Origin::Export {
                    format: format.to_owned(),
                };
                let moment = Some(of.to_string());
                let mut version = self.version(record, &object, number, origin, moment);
                version.mime_type = format.to_owned();
                self.link(state, version).await
            }
            Err(stopped) => {
                let gone = stopped.drive().is_some_and(|error| error.gone().is_some());
                if gone {
                    return Ok(Flow::Over);
                }
                // The moment is noted with the failure, or the document would be asked for with every look.
                let noted = ContentState {
                    exported: Some(of),
                    ..state.clone()
                };
                self.failed(&noted, number, stopped).await
            }
        }
    }

    async fn exported(
        &self,
        state: &ContentState,
        number: u32,
        format: &str,
    ) -> Result<(Place, objects::Digest), Stopped> {
        let pass = self.pass().await?;
        let download = self.open_export(&pass, format).await?;
        let pour = Pour::unknown(self, number);
        match pour.run_export(state, download, format).await? {
            Poured::Done(place, digest) => Ok((place, digest)),
            Poured::Later => Err(Stopped::OutOfTime),
        }
    }

    /// An export, or where Drive does not make so large a one at once, what it prepares in its own time.
    async fn open_export(&self, pass: &Pass, format: &str) -> Result<Download, Stopped> {
        let export = pass.drive().export(self.file, format);
        let error = match pass.call(CallKind::Download, export).await {
            Ok(download) => return Ok(download),
            Err(GateError::Drive(error)) => error,
            Err(error) => return Err(error.into()),
        };
        match error.content_unavailable() {
            Some(Unavailable::TooLarge | Unavailable::NotExportable) => {}
            Some(_) | None => return Err(error.into()),
        }
        let prepare = pass.drive().prepare_download(self.file, Some(format), None);
        let mut preparation = pass.call(CallKind::Download, prepare).await?;
        loop {
            preparation = match preparation {
                Preparation::Ready(content) => {
                    let open = pass
                        .drive()
                        .download_prepared(&content, 0, Expected::default());
                    return Ok(pass.call(CallKind::Download, open).await?);
                }
                Preparation::UnderWay(id) => self.ask_again(pass, &id).await?,
            };
        }
    }

    async fn ask_again(&self, pass: &Pass, id: &PreparationId) -> Result<Preparation, Stopped> {
        if self.too_late() {
            return Err(Stopped::OutOfTime);
        }
        tokio::time::sleep(ASK_EVERY).await;
        let prepared = pass.drive().prepared(id);
        Ok(pass.call(CallKind::Other, prepared).await?)
    }
}
