//! The credentials of connections, and the clients that use them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;

use crate::access::credentials_secret::CredentialsSecret;
use crate::access::token::{Issuer, TokenSource};
use crate::{
    Clock, ContentTimeouts, ContentTransport, DriveClient, DriveError, Timeouts, Transport,
    TransportError, in_memory, reqwest_content_transport, reqwest_transport,
};

/// The credentials that a connection uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name or ARN of the secret that contains the credentials.
    pub secret_id: String,
    /// The user that a service account impersonates (domain-wide delegation).
    pub subject: Option<String>,
    /// The user whose quota the calls count against (`quotaUser`, at most 40 characters). Only with
    /// a service account.
    pub quota_user: Option<String>,
}

/// The token sources by secret id and subject.
type Sources = HashMap<(String, Option<String>), Arc<TokenSource>>;

/// Creates clients, which share the HTTP connections, the credentials and the access tokens.
/// Cloning is cheap, and clones share too.
#[derive(Clone)]
pub struct Drives {
    transport: Transport,
    content: ContentTransport,
    base_url: Arc<str>,
    secrets: aws_sdk_secretsmanager::Client,
    clock: Clock,
    sources: Arc<Mutex<Sources>>,
}

impl Drives {
    /// Uses the Drive at `base_url` (`https://www.googleapis.com`, without a path) with the
    /// credentials in `secrets`.
    #[must_use]
    pub fn new(
        transport: Transport,
        base_url: &str,
        secrets: aws_sdk_secretsmanager::Client,
        clock: Clock,
    ) -> Self {
        Self {
            content: in_memory(Arc::clone(&transport)),
            transport,
            base_url: base_url.trim_end_matches('/').into(),
            secrets,
            clock,
            sources: Arc::default(),
        }
    }

    /// Uses a separate transport for content. Without it, content goes through the ordinary
    /// transport, as a whole and in memory.
    #[must_use]
    pub fn with_content(self, content: ContentTransport) -> Self {
        Self { content, ..self }
    }

    /// Uses the Drive at `base_url` over HTTPS with these timeouts, and
    /// [`ContentTimeouts::default`] for content.
    ///
    /// # Errors
    /// [`TransportError`] if TLS can't be set up.
    pub fn connect(
        base_url: &str,
        timeouts: Timeouts,
        secrets: aws_sdk_secretsmanager::Client,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Self, TransportError> {
        let transport = reqwest_transport(timeouts)?;
        let content = reqwest_content_transport(ContentTimeouts::default())?;
        Ok(Self::new(transport, base_url, secrets, Arc::new(clock)).with_content(content))
    }

    /// Opens the client of a connection. The first time, reads the secret; sends nothing to Google.
    ///
    /// # Errors
    /// [`crate::Kind::AuthLost`] if the secret is missing, not readable or contains invalid
    /// credentials; [`crate::Kind::NotSent`] if Secrets Manager did not respond.
    pub async fn client(&self, access: &Access) -> Result<DriveClient, DriveError> {
        let tokens = self.source(access);
        tokens.prepare().await?;
        Ok(DriveClient {
            transport: Arc::clone(&self.transport),
            content: Arc::clone(&self.content),
            base_url: Arc::clone(&self.base_url),
            tokens,
            quota_user: access.quota_user.as_deref().map(Arc::from),
            clock: Arc::clone(&self.clock),
            expected: None,
        })
    }

    /// Opens a client as [`Drives::client`] does, with the credentials that the secret has now: a
    /// person may just have changed them.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn fresh_client(&self, access: &Access) -> Result<DriveClient, DriveError> {
        let key = (access.secret_id.clone(), access.subject.clone());
        // Every statement leaves the map consistent, so a poisoned lock is safe to use.
        let sources = self.sources.lock();
        sources.unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.client(access).await
    }

    /// Returns one shared source per credentials and subject, so that all clients share its token.
    fn source(&self, access: &Access) -> Arc<TokenSource> {
        let key = (access.secret_id.clone(), access.subject.clone());
        let create = || {
            Arc::new(TokenSource::issued(Issuer {
                transport: Arc::clone(&self.transport),
                base_url: Arc::clone(&self.base_url),
                clock: Arc::clone(&self.clock),
                secret: CredentialsSecret {
                    secrets: self.secrets.clone(),
                    secret_id: access.secret_id.clone(),
                },
                subject: access.subject.clone(),
            }))
        };
        // Every statement leaves the map consistent, so a poisoned lock is safe to use.
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(key).or_insert_with(create))
    }
}
