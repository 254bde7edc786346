//! The root folder of a user's My Drive.

use domain::FileId;
use http::Method;
use serde::Deserialize;

use crate::calls::request::{Call, ambiguous, parse_json};
use crate::{DriveClient, DriveError};

#[derive(Deserialize)]
struct Root {
    id: String,
}

impl DriveClient {
    /// Reads the id of the root folder of the user's My Drive. No listing and no change log
    /// contains the folder; it only appears as a parent.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) if the account has no My Drive.
    pub async fn root_folder_id(&self) -> Result<FileId, DriveError> {
        let call =
            Call::new("files.get", Method::GET, "/drive/v3/files/root").query("fields", "id");
        let body = self.call(&call).await?;
        let root: Root = parse_json(call.context(), &body)?;
        FileId::parse(&root.id).map_err(|why| ambiguous(call.context(), why))
    }
}
