//! Starts uploads: of new content for a file, or of a new file.

use bytes::Bytes;
use domain::Snapshot;
use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;
use url::Url;

use crate::calls::client::v2_upload_path;
use crate::calls::create::create_call;
use crate::calls::request::{Call, ambiguous, parse_json};
use crate::protocol::body::JsonBody;
use crate::protocol::{normalise, table};
use crate::transfer::content_facts::AnotherFile;
use crate::{Creation, DriveClient, DriveError, Kind, Read, UploadSession};

const CONTENT_TYPE: HeaderName = HeaderName::from_static("x-upload-content-type");
const CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-upload-content-length");

/// The content of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadContent<'a> {
    /// The MIME type.
    pub mime_type: &'a str,
    /// The size in bytes, which every chunk repeats.
    pub total_bytes: u64,
}

/// The result of starting the upload of a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStart {
    /// The bytes can be sent.
    Started(UploadSession),
    /// A file with this id exists. The id was generated for it alone, so an earlier upload created
    /// it, whose last response was lost. [`DriveClient::content_facts`] tells its content.
    Exists,
}

/// Drive started an upload without an address, or with one of another server.
#[derive(Debug, thiserror::Error)]
#[error("the response has no valid upload address")]
struct NoAddress;

impl DriveClient {
    /// Starts the replacement of a file's content, if the file is unchanged since it was read. The
    /// content is replaced when the last byte has been sent; nothing else changes. An abandoned
    /// session expires after a week.
    ///
    /// This is v2 `files.update`, Drive's only upload with an `If-Match`; for its effect see
    /// [`crate::Assumption::StaleEtagStopsSession`].
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] if the file has changed since it was read.
    pub async fn start_replacement(
        &self,
        read: &Read,
        content: UploadContent<'_>,
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

    /// Replaces a file's content in one request (`uploadType=media`, up to 5 MB), if the file is
    /// unchanged since it was read. Returns its complete new state.
    ///
    /// That Drive checks the condition of such a request was measured by others; for a session it
    /// was not. See [`crate::Assumption::StaleEtagStopsUpload`].
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Stale`] if the file has changed since it was read.
    pub async fn replace_content(
        &self,
        read: &Read,
        content: UploadContent<'_>,
        bytes: Bytes,
    ) -> Result<Snapshot, DriveError> {
        let file = &read.snapshot.file;
        let call = Call::new("files.update", Method::PUT, v2_upload_path(file))
            .query("supportsAllDrives", "true")
            .query("updateViewedDate", "false")
            .query("fields", &table::V2_FILE)
            .query("uploadType", "media")
            .if_match(&read.etag)
            .header(header::CONTENT_TYPE, content.mime_type)?
            .bytes(bytes);
        let body = JsonBody::new(self.send_content(&call).await?);
        let shown = normalise::snapshot(parse_json(call.context(), &body)?)
            .map_err(|defect| ambiguous(call.context(), defect))?;
        if shown.file == *file {
            Ok(shown.without(&self.erased))
        } else {
            Err(ambiguous(call.context(), AnotherFile))
        }
    }

    /// Starts the upload of a new file with its content and fields, with a pregenerated id
    /// ([`DriveClient::generate_id`]), so that it is created once however often it is tried.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn start_new_file(
        &self,
        creation: &Creation<'_>,
        content: UploadContent<'_>,
    ) -> Result<UploadStart, DriveError> {
        let call = create_call("/upload/drive/v3/files", creation)?;
        match self.start(call, content).await {
            Ok(address) => Ok(UploadStart::Started(UploadSession::new(
                creation.file.clone(),
                address,
            ))),
            Err(error) if error.status() == Some(StatusCode::CONFLICT.as_u16()) => {
                Ok(UploadStart::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn start(&self, call: Call, content: UploadContent<'_>) -> Result<String, DriveError> {
        let call = call
            .query("uploadType", "resumable")
            .header(CONTENT_TYPE, content.mime_type)?
            .header(CONTENT_LENGTH, &content.total_bytes.to_string())?;
        let answer = self.call_with_response(&call).await?;
        let location = answer.headers().get(header::LOCATION);
        let base = Url::parse(&self.base_url).map_err(|error| call.invalid_request(error))?;
        let address = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| base.join(location).ok())
            .filter(|address| self.is_own(address));
        // Nothing has been written, so starting again is harmless.
        address.map(String::from).ok_or_else(|| {
            DriveError::new(call.context().method, Kind::Transient).with_source(NoAddress)
        })
    }
}
