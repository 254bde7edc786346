//! The calls.

use std::sync::Arc;

use domain::{ChannelId, FileId, LogId, Observation, PageToken, Patch, Snapshot};

use crate::{
    About, ChangePage, ChannelRequest, Clock, DriveError, FilePage, Read, Scope, Secret,
    SharedDrive, Transport, Watch,
};
use crate::token::TokenSource;

/// Drive, as one connection sees it. Cloning is cheap.
///
/// No call retries by itself, except once with a new access token after a 401: whoever called decides,
/// by [`DriveError::kind`].
#[derive(Clone)]
pub struct DriveClient {
    transport: Transport,
    base_url: Arc<str>,
    tokens: Arc<TokenSource>,
    quota_user: Option<Arc<str>>,
    clock: Clock,
}

impl DriveClient {
    /// A client with an access token that is never renewed: for the simulator's plain bearers and for tests.
    #[must_use]
    pub fn with_token(transport: Transport, base_url: &str, token: Secret, clock: Clock) -> Self {
        todo!()
    }
    /// The token of a log's present end: changes from now on.
    ///
    /// # Errors
    /// [`DriveError`]; [`crate::Kind::NotFound`] for a shared drive that we can't see.
    pub async fn start_page_token(&self, log: &LogId) -> Result<PageToken, DriveError> {
        todo!()
    }
    /// One page of a log, up to 1,000 entries.
    ///
    /// # Errors
    /// [`DriveError`]; [`crate::Kind::CursorLost`] where Drive no longer knows the token.
    pub async fn list_changes(&self, log: &LogId, token: &PageToken) -> Result<ChangePage, DriveError> {
        todo!()
    }
    /// One page of all files, up to 1,000, trashed ones included; the first one without a token.
    ///
    /// # Errors
    /// [`DriveError`]; [`crate::Kind::CursorLost`] where Drive no longer knows the token: start again.
    pub async fn list_files(&self, scope: &Scope, page_token: Option<&str>) -> Result<FilePage, DriveError> {
        todo!()
    }
    /// The complete state of a file with its etag, to write on that condition.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn read_file(&self, file: &FileId) -> Result<Read, DriveError> {
        todo!()
    }
    /// What is there of a file: its complete state, or that it is gone.
    ///
    /// # Errors
    /// [`DriveError`] for everything but the answers that say it is gone for us.
    pub async fn look(&self, file: &FileId) -> Result<Observation, DriveError> {
        todo!()
    }
    /// Writes the patch's values if the file is still as it was read; returns its complete state after it.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::refusal`] says what it means for the attempt.
    pub async fn patch_file(&self, read: &Read, patch: &Patch) -> Result<Snapshot, DriveError> {
        todo!()
    }
    /// Opens a push-notification channel on a log.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn watch_changes(&self, log: &LogId, token: &PageToken, channel: &ChannelRequest<'_>) -> Result<Watch, DriveError> {
        todo!()
    }
    /// Ends a channel.
    ///
    /// # Errors
    /// [`DriveError`]; [`crate::Kind::NotFound`] where Drive no longer knows it, which is as good.
    pub async fn stop_channel(&self, id: &ChannelId, resource_id: &str) -> Result<(), DriveError> {
        todo!()
    }
    /// Who the credentials belong to.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn about(&self) -> Result<About, DriveError> {
        todo!()
    }
    /// One shared drive.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn get_drive(&self, id: &LogId) -> Result<SharedDrive, DriveError> {
        todo!()
    }
}
