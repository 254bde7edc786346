//! Which credentials a connection uses, and the clients made of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;

use crate::token::{Issuer, TokenSource};
use crate::vault::Vault;
use crate::{
    Clock, ContentTimeouts, ContentTransport, DriveClient, DriveError, Timeouts, Transport,
    TransportError, in_memory, reqwest_content_transport, reqwest_transport,
};

/// How a connection gets into Drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The name or ARN of the secret that holds the credentials.
    pub secret_id: String,
    /// The user that a service account acts as (domain-wide delegation).
    pub subject: Option<String>,
    /// Whose quota the calls count against (`quotaUser`, at most 40 characters); only with a service account.
    pub quota_user: Option<String>,
}

/// By secret id and subject.
type Sources = HashMap<(String, Option<String>), Arc<TokenSource>>;

/// Makes clients and shares what they have in common: connections to Drive, credentials and access tokens.
/// Cloning is cheap, and the clones share.
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
    /// Talks to the Drive at `base_url` (`https://www.googleapis.com`, no path), with the credentials in `secrets`.
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

    /// The same, whose content goes through this door. Without one it goes through the ordinary one, whole and in
    /// memory.
    #[must_use]
    pub fn with_content(self, content: ContentTransport) -> Self {
        Self { content, ..self }
    }

    /// Talks to the Drive at `base_url` over HTTPS, within these time limits; content within
    /// [`ContentTimeouts::default`].
    ///
    /// # Errors
    /// [`TransportError`] where TLS can't be set up.
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

    /// The client of one connection. Reads the secret the first time; nothing is asked of Google yet.
    ///
    /// # Errors
    /// [`crate::Kind::AuthLost`] where the secret is gone, unreadable to us or holds no usable
    /// credentials; [`crate::Kind::NotSent`] where Secrets Manager did not answer.
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
        })
    }

    /// The same source for the same credentials and user, so that they share one token.
    fn source(&self, access: &Access) -> Arc<TokenSource> {
        let key = (access.secret_id.clone(), access.subject.clone());
        let made = || {
            Arc::new(TokenSource::issued(Issuer {
                transport: Arc::clone(&self.transport),
                clock: Arc::clone(&self.clock),
                vault: Vault {
                    secrets: self.secrets.clone(),
                    secret_id: access.secret_id.clone(),
                },
                subject: access.subject.clone(),
            }))
        };
        // The map is whole after every statement, so a panic elsewhere can't have left it broken.
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(key).or_insert_with(made))
    }
}
