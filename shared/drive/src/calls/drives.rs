//! The shared drives that the account is a member of.

use domain::LogId;
use http::Method;

use crate::calls::request::{Call, parse_json};
use crate::protocol::normalise;
use crate::protocol::wire;
use crate::{DriveClient, DriveError, DrivePage, SharedDrive};

/// The page size (`drives.list` allows 1 to 100).
const PAGE_SIZE: &str = "100";

impl DriveClient {
    /// Lists one page, of up to 100, of the shared drives that the account is a member of; the
    /// first page without a token.
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
        parse_json(call.context(), &body).map(normalise::drive_page)
    }

    /// Reads one shared drive.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) if the account is not a member.
    pub async fn get_drive(&self, id: &LogId) -> Result<SharedDrive, DriveError> {
        let call = Call::new("drives.get", Method::GET, format!("/drive/v3/drives/{id}"))
            .query("fields", "id,name");
        let body = self.call(&call).await?;
        let answer: wire::Drive = parse_json(call.context(), &body)?;
        Ok(SharedDrive {
            id: id.clone(),
            name: answer.name.unwrap_or_default(),
        })
    }

    /// Reads one shared drive; `None` if Drive reports that the account is not a member of it: the
    /// drive was deleted, or the membership ended.
    ///
    /// # Errors
    /// [`DriveError`] for all other errors.
    pub async fn find_drive(&self, id: &LogId) -> Result<Option<SharedDrive>, DriveError> {
        match self.get_drive(id).await {
            Ok(drive) => Ok(Some(drive)),
            // The same errors that mean that a file is gone.
            Err(error) if error.gone().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
