//! The credentials of connections, and the clients that use them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::trail::ErasedPersons;
use domain::{LogId, Timestamp};

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
    /// The log that is read with them ([`LogId::user`] for everything that the user sees), if what
    /// the secret allows ([`domain::Reach`]) is held to; `None` for a connection that was made
    /// before secrets said so.
    pub within: Option<LogId>,
}

/// The most token sources that are kept. The one that was not used for longest makes room.
const SOURCES_MAX: usize = 256;

/// A secret's id and a subject.
type SourceKey = (String, Option<String>);

/// The token sources of the secrets and subjects that were used last.
#[derive(Default)]
struct Sources {
    kept: HashMap<SourceKey, (Arc<TokenSource>, u64)>,
    uses: u64,
}

impl Sources {
    /// Returns the source of a key, and makes it if it is not kept.
    fn get(&mut self, key: SourceKey, make: impl FnOnce() -> Arc<TokenSource>) -> Arc<TokenSource> {
        if self.kept.len() >= SOURCES_MAX && !self.kept.contains_key(&key) {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.kept.remove(&oldest);
            }
        }
        self.uses += 1;
        let (source, used) = self.kept.entry(key).or_insert_with(|| (make(), 0));
        *used = self.uses;
        Arc::clone(source)
    }
}

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

    /// Asks for a secret of this name, which need not exist, and returns whether that is permitted.
    ///
    /// # Errors
    /// [`crate::Kind::AuthLost`] if it is not; [`crate::Kind::NotSent`] if Secrets Manager did not
    /// respond.
    pub async fn may_read_secret(&self, name: &str) -> Result<(), DriveError> {
        let secret = CredentialsSecret {
            secrets: self.secrets.clone(),
            secret_id: name.to_owned(),
            drive_url: Arc::clone(&self.base_url),
        };
        secret.may_read().await
    }

    /// Opens the client of a connection. Reads the secret if it was not read within the last
    /// quarter of an hour; sends nothing to Google.
    ///
    /// # Errors
    /// [`crate::Kind::AuthLost`] if the secret is missing, not readable or contains invalid
    /// credentials; [`crate::Kind::NotSent`] if Secrets Manager did not respond.
    pub async fn client(&self, access: &Access) -> Result<DriveClient, DriveError> {
        let make = || self.new_source(access);
        let tokens = self.sources().get(source_key(access), make);
        self.open(access, tokens).await
    }

    /// Opens a client with the credentials that the secret has now: a person may just have changed
    /// them. They are kept for no other client, since they may only be tried out.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn fresh_client(&self, access: &Access) -> Result<DriveClient, DriveError> {
        self.sources().kept.remove(&source_key(access));
        self.open(access, self.new_source(access)).await
    }

    async fn open(
        &self,
        access: &Access,
        tokens: Arc<TokenSource>,
    ) -> Result<DriveClient, DriveError> {
        tokens.prepare().await?;
        Ok(DriveClient {
            transport: Arc::clone(&self.transport),
            content: Arc::clone(&self.content),
            base_url: Arc::clone(&self.base_url),
            tokens,
            quota_user: access.quota_user.as_deref().map(Arc::from),
            clock: Arc::clone(&self.clock),
            expected: None,
            within: access.within.clone().map(Arc::new),
            erased: ErasedPersons::default(),
        })
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        // Every statement leaves the map consistent, so a poisoned lock is safe to use.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a source. All clients with the same credentials and subject share one, and its token.
    fn new_source(&self, access: &Access) -> Arc<TokenSource> {
        Arc::new(TokenSource::issued(Issuer {
            transport: Arc::clone(&self.transport),
            base_url: Arc::clone(&self.base_url),
            clock: Arc::clone(&self.clock),
            secret: CredentialsSecret {
                secrets: self.secrets.clone(),
                secret_id: access.secret_id.clone(),
                drive_url: Arc::clone(&self.base_url),
            },
            subject: access.subject.clone(),
        }))
    }
}

fn source_key(access: &Access) -> SourceKey {
    (access.secret_id.clone(), access.subject.clone())
}
