//! The calls, one method each.

use std::sync::Arc;

use domain::{ChannelId, FileId, LogId, Observation, PageToken, Patch, Snapshot, Timestamp};
use http::Method;

use crate::request::{Call, parsed, unclear};
use crate::token::TokenSource;
use crate::{
    About, ChangePage, ChannelRequest, Clock, ContentTransport, DriveError, FilePage, Read, Scope,
    Secret, Transport, Watch, in_memory, normalise, patch, table, wire,
};

/// The most that Drive gives in one page; it may give fewer, and none.
const PAGE_SIZE: &str = "1000";
/// How long a channel lives whose answer does not say: Drive's default.
const CHANNEL_MILLIS: i64 = 3_600_000;

/// Drive, as one connection sees it. Cloning is cheap.
///
/// No call retries by itself, except once with a new access token after a 401: the caller decides, by
/// [`DriveError::kind`].
#[derive(Clone)]
pub struct DriveClient {
    pub(crate) transport: Transport,
    pub(crate) content: ContentTransport,
    pub(crate) base_url: Arc<str>,
    pub(crate) tokens: Arc<TokenSource>,
    pub(crate) quota_user: Option<Arc<str>>,
    pub(crate) clock: Clock,
}

impl DriveClient {
    /// A client with an access token that is never renewed: for the simulator's plain bearers, and for tests.
    #[must_use]
    pub fn with_token(transport: Transport, base_url: &str, token: Secret, clock: Clock) -> Self {
        Self {
            content: in_memory(Arc::clone(&transport)),
            transport,
            base_url: base_url.trim_end_matches('/').into(),
            tokens: Arc::new(TokenSource::Fixed(token)),
            quota_user: None,
            clock,
        }
    }

    /// The same client, whose content goes through this door. Without one it goes through the ordinary one, whole and
    /// in memory.
    #[must_use]
    pub fn with_content(self, content: ContentTransport) -> Self {
        Self { content, ..self }
    }

    /// The token of a log's present end: changes from now on. It does not expire.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) for a shared drive that we can't see.
    pub async fn start_page_token(&self, log: &LogId) -> Result<PageToken, DriveError> {
        let call = Call::new(
            "changes.getStartPageToken",
            Method::GET,
            "/drive/v3/changes/startPageToken",
        );
        let call = of_drive(call, log)
            .query("supportsAllDrives", "true")
            .query("fields", "startPageToken");
        let body = self.call(&call).await?;
        let answer: wire::StartPageToken = parsed(call.asked(), &body)?;
        Ok(PageToken::new(answer.start_page_token))
    }

    /// One page of a log, oldest change first, up to 1,000 entries.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::CursorLost`](crate::Kind::CursorLost) where Drive no longer knows the token, or the log.
    pub async fn list_changes(
        &self,
        log: &LogId,
        token: &PageToken,
    ) -> Result<ChangePage, DriveError> {
        let call = Call::new("changes.list", Method::GET, "/drive/v3/changes");
        let call = of_changes(call, log, token)
            .query("pageSize", PAGE_SIZE)
            .query("fields", &table::CHANGES);
        let body = self.call(&call).await?;
        let list: wire::ChangeList<'_> = parsed(call.asked(), &body)?;
        normalise::change_page(list, (self.clock)()).map_err(|defect| unclear(call.asked(), defect))
    }

    /// One page of all files, up to 1,000, trashed ones included; the first page without a token.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::CursorLost`](crate::Kind::CursorLost) where Drive no longer knows the token: start at the first page.
    pub async fn list_files(
        &self,
        scope: &Scope,
        page_token: Option<&str>,
    ) -> Result<FilePage, DriveError> {
        let call = Call::new("files.list", Method::GET, "/drive/v3/files");
        let call = match scope {
            Scope::User => call.query("corpora", "user"),
            Scope::SharedDrive(id) => call.query("corpora", "drive").query("driveId", id.as_str()),
        };
        let call = match page_token {
            Some(token) => call.cursor(token),
            None => call,
        };
        // Without a `q` that says otherwise, what is in the trash is listed too.
        let call = call
            .query("supportsAllDrives", "true")
            .query("includeItemsFromAllDrives", "true")
            .query("spaces", "drive")
            .query("pageSize", PAGE_SIZE)
            .query("fields", &table::LISTING);
        let body = self.call(&call).await?;
        parsed(call.asked(), &body).map(normalise::file_page)
    }

    pub(crate) fn read_call(file: &FileId) -> Call {
        Call::new("files.get", Method::GET, v2_path(file))
            .query("supportsAllDrives", "true")
            .query("updateViewedDate", "false")
            .query("fields", &table::V2_FILE)
    }

    pub(crate) fn patch_call(read: &Read, patch: &Patch) -> Result<Call, DriveError> {
        let call = Call::new("files.patch", Method::PATCH, v2_path(&read.snapshot.file))
            .query("supportsAllDrives", "true")
            .query("updateViewedDate", "false")
            .query("fields", &table::V2_FILE)
            .if_match(&read.etag);
        patch::fill(call, read, patch)
    }

    /// The complete state of a file, with its etag to write on that condition.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn read_file(&self, file: &FileId) -> Result<Read, DriveError> {
        let call = Self::read_call(file);
        let body = self.call(&call).await?;
        normalise::read(parsed(call.asked(), &body)?)
            .map_err(|defect| unclear(call.asked(), defect))
    }

    /// What is there of a file: its complete state, or that it is gone.
    ///
    /// A 404 is [`Gone::Removed`](domain::Gone::Removed). A 403 for a reason of this very file is [`Gone::AccessLost`](domain::Gone::AccessLost); one that
    /// shuts us out altogether is an error.
    ///
    /// # Errors
    /// [`DriveError`] for everything but the answers that say it is gone for us.
    pub async fn look(&self, file: &FileId) -> Result<Observation, DriveError> {
        observation(self.read_file(file).await)
    }

    /// Writes the patch's values if the file is still as it was read; returns its complete state after it.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::refusal`] says what it means for the attempt. A value that Drive has no
    /// place for is [`Kind::Permanent`](crate::Kind::Permanent) with the reason `notWritable`, and nothing is sent.
    pub async fn patch_file(&self, read: &Read, patch: &Patch) -> Result<Snapshot, DriveError> {
        let call = Self::patch_call(read, patch)?;
        let body = self.call(&call).await?;
        normalise::snapshot(parsed(call.asked(), &body)?)
            .map_err(|defect| unclear(call.asked(), defect))
    }

    /// Opens a push-notification channel on a log. Its first notification (`sync`) may arrive before this returns.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::Unanswered`](crate::Kind::Unanswered) leaves a channel that may be open until it expires.
    pub async fn watch_changes(
        &self,
        log: &LogId,
        token: &PageToken,
        channel: &ChannelRequest<'_>,
    ) -> Result<Watch, DriveError> {
        let call = Call::new("changes.watch", Method::POST, "/drive/v3/changes/watch");
        let call = of_changes(call, log, token)
            .query("fields", "resourceId,expiration")
            .json(&wire::ChannelOut {
                id: channel.id.as_str(),
                r#type: "web_hook",
                address: channel.address,
                token: channel.token,
                expiration: channel.expires_at.as_millis().to_string(),
            })?;
        let body = self.call(&call).await?;
        let answer: wire::ChannelIn = parsed(call.asked(), &body)?;
        let unstated = || {
            (self.clock)()
                .plus_millis(CHANNEL_MILLIS)
                .min(channel.expires_at)
        };
        let millis = answer.expiration.and_then(|at| i64::try_from(at.0).ok());
        Ok(Watch {
            resource_id: answer.resource_id,
            expires_at: millis.map_or_else(unstated, Timestamp::from_millis),
        })
    }

    /// Ends a channel.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) where Drive no longer knows it, which is as good.
    pub async fn stop_channel(&self, id: &ChannelId, resource_id: &str) -> Result<(), DriveError> {
        let call = Call::new("channels.stop", Method::POST, "/drive/v3/channels/stop");
        let call = call.json(&wire::Stop {
            id: id.as_str(),
            resource_id,
        })?;
        self.call(&call).await.map(drop)
    }

    /// Whose Drive it is.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn about(&self) -> Result<About, DriveError> {
        let call = Call::new("about.get", Method::GET, "/drive/v3/about")
            .query("fields", "user(emailAddress,permissionId)");
        let body = self.call(&call).await?;
        let answer: wire::About = parsed(call.asked(), &body)?;
        Ok(About {
            email: answer.user.email_address.unwrap_or_default(),
            permission_id: answer.user.permission_id,
        })
    }
}

/// What the answer to a read says of the file, where it says something.
pub(crate) fn observation(read: Result<Read, DriveError>) -> Result<Observation, DriveError> {
    match read {
        Ok(read) => Ok(Observation::Present(read.snapshot)),
        Err(error) => error.gone().map(Observation::Gone).ok_or(error),
    }
}

pub(crate) fn v2_path(file: &FileId) -> String {
    format!("/drive/v2/files/{file}")
}

pub(crate) fn v2_upload_path(file: &FileId) -> String {
    format!("/upload/drive/v2/files/{file}")
}

fn of_drive(call: Call, log: &LogId) -> Call {
    match Scope::from(log) {
        Scope::User => call,
        Scope::SharedDrive(id) => call.query("driveId", id.as_str()),
    }
}

/// What `changes.list` and `changes.watch` must say alike, so that a channel covers what a listing shows.
fn of_changes(call: Call, log: &LogId, token: &PageToken) -> Call {
    of_drive(call.cursor(token.as_str()), log)
        .query("supportsAllDrives", "true")
        .query("includeItemsFromAllDrives", "true")
        .query("includeRemoved", "true")
        .query("includeCorpusRemovals", "true")
        .query("restrictToMyDrive", "false")
        .query("spaces", "drive")
}
