//! The client, with one method for each call.

use std::sync::Arc;

use domain::trail::ErasedPersons;
use domain::{
    AccountId, ChannelId, FileId, LogId, Observation, PageToken, Patch, Snapshot, Timestamp,
};
use http::Method;

use crate::access::account::Terms;
use crate::access::token::TokenSource;
use crate::calls::batch::read_any;
use crate::calls::request::{Call, ambiguous, parse_json};
use crate::protocol::normalise;
use crate::protocol::patch;
use crate::protocol::table;
use crate::protocol::wire;
use crate::{
    About, ChangePage, ChannelRequest, Clock, ContentTransport, DriveError, ExpectedAccount,
    FileIdPage, FilePage, Read, Scope, Secret, Transport, Watch, in_memory,
};

/// The requested page size. Drive may return fewer entries, or none.
const PAGE_SIZE: &str = "1000";
/// The lifetime of a channel without an `expiration`: Drive's default, in milliseconds.
const CHANNEL_MILLIS: i64 = 3_600_000;

/// A Drive client with the credentials of one connection. Cloning is cheap.
///
/// No call is retried, except once with a new access token after a 401. The caller decides by
/// [`DriveError::kind`].
#[derive(Clone)]
pub struct DriveClient {
    pub(crate) transport: Transport,
    pub(crate) content: ContentTransport,
    pub(crate) base_url: Arc<str>,
    pub(crate) tokens: Arc<TokenSource>,
    pub(crate) quota_user: Option<Arc<str>>,
    pub(crate) clock: Clock,
    pub(crate) expected: Option<Arc<ExpectedAccount>>,
    pub(crate) within: Option<Arc<LogId>>,
    pub(crate) erased: ErasedPersons,
}

impl DriveClient {
    /// A client with an access token that is never renewed: for the simulator's plain bearer tokens
    /// and for tests.
    #[must_use]
    pub fn with_token(transport: Transport, base_url: &str, token: Secret, clock: Clock) -> Self {
        Self {
            content: in_memory(Arc::clone(&transport)),
            transport,
            base_url: base_url.trim_end_matches('/').into(),
            tokens: Arc::new(TokenSource::Fixed(token)),
            quota_user: None,
            clock,
            expected: None,
            within: None,
            erased: ErasedPersons::default(),
        }
    }

    /// Shows `erased:<n>` in place of these persons in everything that Drive answers about files.
    #[must_use]
    pub fn without(self, erased: ErasedPersons) -> Self {
        Self { erased, ..self }
    }

    /// Makes every call fail with [`Kind::AuthLost`](crate::Kind::AuthLost) and the reason
    /// [`ANOTHER_ACCOUNT`](crate::ANOTHER_ACCOUNT), before it is sent, if the credentials are not
    /// those of this account.
    #[must_use]
    pub fn expecting(self, account: ExpectedAccount) -> Self {
        let expected = Some(Arc::new(account));
        Self { expected, ..self }
    }

    /// Returns the version of the secret whose credentials are in use, if they come from one.
    pub async fn secret_version(&self) -> Option<String> {
        self.tokens.secret_version().await
    }

    /// Returns a token for a call.
    pub(crate) async fn token(&self) -> Result<Secret, DriveError> {
        // Boxed: it is rarely more than a look at the cache, and contains whole calls.
        Box::pin(self.tokens.token(self.terms())).await
    }

    /// Returns another token than the one that Drive rejected; `None` if there can't be one.
    pub(crate) async fn replacement_for(
        &self,
        refused: &Secret,
    ) -> Result<Option<Secret>, DriveError> {
        Box::pin(self.tokens.replacement_for(refused, self.terms())).await
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            account: self.expected.as_deref(),
            within: self.within.as_deref(),
        }
    }

    /// Uses a separate transport for content. Without it, content goes through the ordinary
    /// transport, as a whole and in memory.
    #[must_use]
    pub fn with_content(self, content: ContentTransport) -> Self {
        Self { content, ..self }
    }

    /// Reads the token of a log's current end, for changes from now on. It does not expire.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) for an inaccessible shared drive.
    pub async fn start_page_token(&self, log: &LogId) -> Result<PageToken, DriveError> {
        let call = Call::new(
            "changes.getStartPageToken",
            Method::GET,
            "/drive/v3/changes/startPageToken",
        );
        let call = drive_query(call, log)
            .query("supportsAllDrives", "true")
            .query("fields", "startPageToken");
        let body = self.call(&call).await?;
        let answer: wire::StartPageToken = parse_json(call.context(), &body)?;
        Ok(PageToken::new(answer.start_page_token))
    }

    /// Lists one page of a log, up to 1,000 entries, oldest change first.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::CursorLost`](crate::Kind::CursorLost) if Drive does not know the
    /// token or the log any more.
    pub async fn list_changes(
        &self,
        log: &LogId,
        token: &PageToken,
    ) -> Result<ChangePage, DriveError> {
        let call = Call::new("changes.list", Method::GET, "/drive/v3/changes");
        let call = changes_query(call, log, token)
            .query("pageSize", PAGE_SIZE)
            .query("fields", &table::CHANGES);
        let body = self.call(&call).await?;
        let list: wire::ChangeList<'_> = parse_json(call.context(), &body)?;
        let page = normalise::change_page(list, (self.clock)())
            .map_err(|defect| ambiguous(call.context(), defect))?;
        Ok(page.without(&self.erased))
    }

    /// Lists one page of all files, up to 1,000, including trashed ones; the first page without a
    /// token.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::CursorLost`](crate::Kind::CursorLost) if Drive does not know the
    /// token any more: the listing must start again.
    pub async fn list_files(
        &self,
        scope: &Scope,
        page_token: Option<&str>,
    ) -> Result<FilePage, DriveError> {
        let call = listing_call(scope, page_token).query("fields", &table::LISTING);
        let body = self.call(&call).await?;
        let page = normalise::file_page(parse_json(call.context(), &body)?);
        Ok(page.without(&self.erased))
    }

    /// Lists one page of the ids of the same files, in the order of their creation: another route
    /// through Drive's index than [`DriveClient::list_files`] takes.
    ///
    /// # Errors
    /// As [`DriveClient::list_files`].
    pub async fn list_file_ids(
        &self,
        scope: &Scope,
        page_token: Option<&str>,
    ) -> Result<FileIdPage, DriveError> {
        let call = listing_call(scope, page_token)
            .query("orderBy", "createdTime")
            .query("fields", table::LISTED_IDS);
        let body = self.call(&call).await?;
        parse_json(call.context(), &body).map(normalise::file_id_page)
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

    /// Reads the complete state of a file, with the etag for a conditional write.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn read_file(&self, file: &FileId) -> Result<Read, DriveError> {
        let call = Self::read_call(file);
        let body = self.call(&call).await?;
        Ok(read_any(&call, &body)?.without(&self.erased))
    }

    /// Observes a file: returns its complete state, or that it is gone.
    ///
    /// A 404 is [`Gone::Removed`](domain::Gone::Removed). A 403 with a reason that is about this
    /// file is [`Gone::AccessLost`](domain::Gone::AccessLost); a 403 that applies to all files is
    /// an error.
    ///
    /// # Errors
    /// [`DriveError`] for all errors that don't mean that the file is gone.
    pub async fn get_or_gone(&self, file: &FileId) -> Result<Observation, DriveError> {
        observation(self.read_file(file).await)
    }

    /// Writes the values of a patch if the file is unchanged since it was read; returns its
    /// complete new state.
    ///
    /// # Errors
    /// [`DriveError`]; [`DriveError::refusal`] returns the meaning for the attempt. A value that
    /// can't be written to Drive is [`Kind::Permanent`](crate::Kind::Permanent) with the reason
    /// `notWritable`, and nothing is sent.
    pub async fn patch_file(&self, read: &Read, patch: &Patch) -> Result<Snapshot, DriveError> {
        let call = Self::patch_call(read, patch)?;
        let body = self.call(&call).await?;
        let shown = normalise::snapshot(parse_json(call.context(), &body)?)
            .map_err(|defect| ambiguous(call.context(), defect))?;
        Ok(shown.without(&self.erased))
    }

    /// Opens a push-notification channel on a log. The first notification (`sync`) may arrive
    /// before this returns.
    ///
    /// # Errors
    /// [`DriveError`]; after [`Kind::Unanswered`](crate::Kind::Unanswered) the channel may be open
    /// until it expires.
    pub async fn watch_changes(
        &self,
        log: &LogId,
        token: &PageToken,
        channel: &ChannelRequest<'_>,
    ) -> Result<Watch, DriveError> {
        let call = Call::new("changes.watch", Method::POST, "/drive/v3/changes/watch");
        let call = changes_query(call, log, token)
            .query("fields", "resourceId,expiration")
            .json(&wire::ChannelOut {
                id: channel.id.as_str(),
                r#type: "web_hook",
                address: channel.address,
                token: channel.token,
                expiration: channel.expires_at.as_millis().to_string(),
            })?;
        let body = self.call(&call).await?;
        let answer: wire::ChannelIn = parse_json(call.context(), &body)?;
        let default = || {
            (self.clock)()
                .plus_millis(CHANNEL_MILLIS)
                .min(channel.expires_at)
        };
        let millis = answer.expiration.and_then(|at| i64::try_from(at.0).ok());
        Ok(Watch {
            resource_id: answer.resource_id,
            expires_at: millis.map_or_else(default, Timestamp::from_millis),
        })
    }

    /// Stops a channel.
    ///
    /// # Errors
    /// [`DriveError`]; [`Kind::NotFound`](crate::Kind::NotFound) if Drive does not know it any
    /// more, which is equivalent to success.
    pub async fn stop_channel(&self, id: &ChannelId, resource_id: &str) -> Result<(), DriveError> {
        let call = Call::new("channels.stop", Method::POST, "/drive/v3/channels/stop");
        let call = call.json(&wire::Stop {
            id: id.as_str(),
            resource_id,
        })?;
        self.call(&call).await.map(drop)
    }

    /// Reads the user that the credentials belong to.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn about(&self) -> Result<About, DriveError> {
        let call = Call::new("about.get", Method::GET, "/drive/v3/about")
            .query("fields", "user(emailAddress,permissionId)");
        let body = self.call(&call).await?;
        let answer: wire::About = parse_json(call.context(), &body)?;
        Ok(About {
            email: answer.user.email_address.unwrap_or_default(),
            account: answer
                .user
                .permission_id
                .and_then(|id| AccountId::parse(&id).ok()),
        })
    }
}

/// Converts the result of a read into an observation, if it is one.
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

/// Returns the call for a page of all files of a scope. Without a `q`, trashed files are listed
/// too.
fn listing_call(scope: &Scope, page_token: Option<&str>) -> Call {
    let call = Call::new("files.list", Method::GET, "/drive/v3/files");
    let call = match scope {
        Scope::User => call.query("corpora", "user"),
        Scope::SharedDrive(id) => call.query("corpora", "drive").query("driveId", id.as_str()),
    };
    let call = match page_token {
        Some(token) => call.cursor(token),
        None => call,
    };
    call.query("supportsAllDrives", "true")
        .query("includeItemsFromAllDrives", "true")
        .query("spaces", "drive")
        .query("pageSize", PAGE_SIZE)
}

fn drive_query(call: Call, log: &LogId) -> Call {
    match Scope::from(log) {
        Scope::User => call,
        Scope::SharedDrive(id) => call.query("driveId", id.as_str()),
    }
}

/// Adds the parameters that `changes.list` and `changes.watch` must share, so that a channel covers
/// what a listing shows.
fn changes_query(call: Call, log: &LogId, token: &PageToken) -> Call {
    drive_query(call.cursor(token.as_str()), log)
        .query("supportsAllDrives", "true")
        .query("includeItemsFromAllDrives", "true")
        .query("includeRemoved", "true")
        .query("includeCorpusRemovals", "true")
        .query("restrictToMyDrive", "false")
        .query("spaces", "drive")
}
