//! Beginning an upload: of new content for a file, or of a file that is not there yet.

use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;
use url::Url;

use crate::client::v2_upload_path;
use crate::create::create_call;
use crate::request::Call;
use crate::{Creation, DriveClient, DriveError, Kind, Read, UploadSession, table};

const CONTENT_TYPE: HeaderName = HeaderName::from_static("x-upload-content-type");
const CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-upload-content-length");

/// Content that is to be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Its type.
    pub mime_type: &'a str,
    /// All of its bytes: every chunk says so again.
    pub total_bytes: u64,
}

/// What became of the beginning of a new file's upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStart {
    /// The bytes can be sent.
    Begun(UploadSession),
    /// There is a file with this id. The id is ours alone, so it was we who made it: an upload whose last answer was lost,
    /// or one that nobody remembers. [`DriveClient::content_facts`] says with which content.
    Exists,
}

/// Drive began an upload and did not say where to send it, or named another server.
#[derive(Debug, thiserror::Error)]
#[error("no address of this Drive to send the content to")]
struct NoAddress;

impl DriveClient {
    /// Begins to replace a file's content, if the file is still as it was read. Its name and all else stay. Nothing
    /// changes before the last byte has been sent; a session that is given up goes after a week.
    ///
    /// This is v2 `files.update`, the only upload of Drive that takes an `If-Match`; how far that binds is
    /// [`crate::Assumption::StaleEtagStopsUpload`].
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] where the file is no longer as it was read.
    pub async fn start_replacement(
        &self,
        read: &Read,
        content: Outgoing<'_>,
    ) -> Result<UploadSession, DriveError> {
        let file = &read.snapshot.file;
        let call = Call::new("files.update", Method::PUT, v2_upload_path(file))
            .query("supportsAllDrives", "true")
            .query("updateViewedDate", "false")
            .query("fields", &table::V2_FILE)
            .if_match(&read.etag)
            .json(&json!({}))?;
        let address = self.start(call, content).await?;
        Ok(UploadSession::new(file.clone(), address))
    }

    /// Begins to upload a new file with its content and fields, under an id that Drive gave out beforehand
    /// ([`DriveClient::generate_id`]), so that it is made once however often that is tried.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn start_new_file(
        &self,
        creation: &Creation<'_>,
        content: Outgoing<'_>,
    ) -> Result<UploadStart, DriveError> {
        let call = create_call("/upload/drive/v3/files", creation)?;
        match self.start(call, content).await {
            Ok(address) => Ok(UploadStart::Begun(UploadSession::new(
                creation.file.clone(),
                address,
            ))),
            Err(error) if error.status() == Some(StatusCode::CONFLICT.as_u16()) => {
                Ok(UploadStart::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn start(&self, call: Call, content: Outgoing<'_>) -> Result<String, DriveError> {
        let call = call
            .query("uploadType", "resumable")
            .header(CONTENT_TYPE, content.mime_type)?
            .header(CONTENT_LENGTH, &content.total_bytes.to_string())?;
        let answer = self.answered(&call).await?;
        let location = answer.headers().get(header::LOCATION);
        let base = Url::parse(&self.base_url).map_err(|error| call.unsendable(error))?;
        let address = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| base.join(location).ok())
            .filter(|address| self.is_own(address));
        // Nothing has been written, whatever the answer says: beginning once more is harmless.
        address.map(String::from).ok_or_else(|| {
            DriveError::new(call.asked().method, Kind::Transient).with_source(NoAddress)
        })
    }
}
