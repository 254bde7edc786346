//! Shared drives: which ones the account is a member of.

use domain::LogId;
use http::Method;

use crate::request::{Call, parsed};
use crate::{DriveClient, DriveError, DrivePage, SharedDrive, normalise, wire};

/// The most that Drive gives in one page (`drives.list`: 1 to 100).
const PAGE_SIZE: &str = "100";

impl DriveClient {
    /// One page of the shared drives that the account is a member of, up to 100; the first page without
    /// a token.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn list_drives(&self, page_token: Option<&str>) -> Result<DrivePage, DriveError> {
        let call = Call::new("drives.list", Method::GET, "/drive/v3/drives");
        let call = match page_token {
            Some(token) => call.cursor(token),
            None => call,
        };
        let call = call
            .query("pageSize", PAGE_SIZE)
            .query("fields", "nextPageToken,drives(id,name)");
        let body = self.call(&call).await?;
        parsed(call.asked(), &body).map(normalise::drive_page)
    }

    /// One shared drive.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) where we are no member of it.
    pub async fn get_drive(&self, id: &LogId) -> Result<SharedDrive, DriveError> {
        let call = Call::new("drives.get", Method::GET, format!("/drive/v3/drives/{id}"))
            .query("fields", "id,name");
        let body = self.call(&call).await?;
        let answer: wire::Drive = parsed(call.asked(), &body)?;
        Ok(SharedDrive {
            id: id.clone(),
            name: answer.name.unwrap_or_default(),
        })
    }

    /// One shared drive, or `None` where Drive says that we are no member of it: it is not there for us,
    /// whether it was deleted or we were put out.
    ///
    /// # Errors
    /// [`DriveError`] for everything but the answers that say so.
    pub async fn find_drive(&self, id: &LogId) -> Result<Option<SharedDrive>, DriveError> {
        match self.get_drive(id).await {
            Ok(drive) => Ok(Some(drive)),
            // The same answers that say that a file is not there for us.
            Err(error) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
