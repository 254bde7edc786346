//! Where a user's My Drive begins.

use domain::FileId;
use http::Method;
use serde::Deserialize;

use crate::request::{Call, parsed, unclear};
use crate::{DriveClient, DriveError};

#[derive(Deserialize)]
struct Root {
    id: String,
}

impl DriveClient {
    /// The id of the root folder of the user's My Drive: no list and no change log shows it, and only
    /// parents name it.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) where the account has no My Drive.
    pub async fn my_drive(&self) -> Result<FileId, DriveError> {
        let call =
            Call::new("files.get", Method::GET, "/drive/v3/files/root").query("fields", "id");
        let body = self.call(&call).await?;
        let root: Root = parsed(call.asked(), &body)?;
        FileId::parse(&root.id).map_err(|why| unclear(call.asked(), why))
    }
}
