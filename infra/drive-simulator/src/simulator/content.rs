//! Contents that tests and programs put into the library without HTTP, however large.

use std::sync::Arc;

use bytes::Bytes;

use super::Simulator;
use crate::{
    errors::DriveError,
    http::UploadCondition,
    ids::UserId,
    state::{edit::NewItem, item::Content, patch::Patch},
};

/// A file whose bytes are made up when somebody reads them: the same ones for the same seed, and as many as it says.
/// None of them is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Its name.
    pub name: String,
    /// Its type.
    pub mime_type: String,
    /// Which bytes.
    pub seed: u64,
    /// How many.
    pub size_bytes: u64,
}

impl Simulator {
    /// Makes a file of made-up bytes, in the root of the user's My Drive when no parent is named, and returns its id.
    ///
    /// # Errors
    /// What Drive would answer: 404 for a parent out of sight, 403 without the right.
    pub fn create_generated(
        &self,
        user: &str,
        parent: Option<&str>,
        file: Generated,
    ) -> Result<String, DriveError> {
        let content = Content::synthetic(file.seed, file.size_bytes);
        let fields = Patch {
            name: Some(file.name),
            mime_type: Some(file.mime_type),
            content: Some(Arc::new(content)),
            ..Patch::default()
        };
        let new = NewItem {
            parents: parent.map(str::to_owned).into_iter().collect(),
            fields,
            ..NewItem::default()
        };
        let user = UserId::from_email(user);
        self.with(|state| state.create(&user, new, true))
            .map(|id| id.to_string())
    }

    /// Replaces a file's content, as an upload does: a new revision, a new version, an entry in the logs.
    ///
    /// # Errors
    /// What Drive would answer: 404 for a file out of sight, 403 without the right.
    pub fn replace_content(
        &self,
        user: &str,
        file_id: &str,
        content: Bytes,
    ) -> Result<(), DriveError> {
        self.replace(user, file_id, Content::uploaded(content))
    }

    /// The same with made-up bytes, of which none is kept in memory.
    ///
    /// # Errors
    /// As for [`Simulator::replace_content`].
    pub fn replace_generated(
        &self,
        user: &str,
        file_id: &str,
        seed: u64,
        size_bytes: u64,
    ) -> Result<(), DriveError> {
        self.replace(user, file_id, Content::synthetic(seed, size_bytes))
    }

    fn replace(&self, user: &str, file_id: &str, content: Content) -> Result<(), DriveError> {
        let patch = Patch {
            content: Some(Arc::new(content)),
            ..Patch::default()
        };
        let user = UserId::from_email(user);
        self.with(|state| state.patch(&user, file_id, true, None, patch))
            .map(|_| ())
    }

    /// When uploads whose beginning names an etag are held to it, from now on.
    pub fn set_upload_condition(&self, condition: UploadCondition) {
        self.uploads(|uploads| uploads.condition = condition);
    }
}
