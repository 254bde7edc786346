//! The CloudFront distribution in front of the bucket, and the secret whose key signs its links.

use std::fmt;
use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::SdkError;
use domain::Timestamp;
use domain::content::StoredVersion;
use objects::{LinkKey, SignedUrl};
use runtime::{Clock, Settings, SettingsError, telemetry};
use tokio::sync::Mutex;

use crate::http::Problem;

/// How long a key is used before the secret is read again, in milliseconds: five minutes. A
/// replaced key therefore signs no link after that, and is needed by no link twenty minutes after
/// it was replaced.
const KEY_MILLIS: i64 = 5 * 60 * 1_000;

/// A distribution that serves content to holders of signed links.
#[derive(Clone)]
pub struct Distribution {
    domain: Arc<str>,
    secrets: Client,
    secret_id: Arc<str>,
    clock: Clock,
    held: Arc<Mutex<Option<Held>>>,
}

/// A key as it was read.
struct Held {
    key: Arc<LinkKey>,
    read_at: Timestamp,
}

/// The key of links can't be read.
#[derive(Debug, thiserror::Error)]
enum LinkKeyError {
    /// Secrets Manager refuses, or does not answer. The cause is left out where it has the secret.
    #[error("the secret with the key of links can't be read")]
    Unread(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The secret is not a key.
    #[error(transparent)]
    Invalid(#[from] objects::InvalidLinkKey),
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distribution({})", self.domain)
    }
}

impl Distribution {
    /// Names a distribution by its domain name, and the secret that has the key of its links, whose
    /// text is that of [`LinkKey::parse`].
    pub fn new(domain: &str, secrets: Client, secret_id: &str, clock: Clock) -> Self {
        Self {
            domain: domain.into(),
            secrets,
            secret_id: secret_id.into(),
            clock,
            held: Arc::default(),
        }
    }

    /// Returns the distribution that the settings name; `None` if they name none.
    pub(crate) fn from_settings(
        settings: &Settings,
        secrets: &Client,
        clock: &Clock,
    ) -> Result<Option<Self>, SettingsError> {
        let Some(domain) = settings.optional("CONTENT_DOMAIN") else {
            return Ok(None);
        };
        let secret_id = settings.required("CONTENT_KEY_SECRET")?;
        Ok(Some(Self::new(
            &domain,
            secrets.clone(),
            &secret_id,
            clock.clone(),
        )))
    }

    /// Returns a link to a stored version that saves it under this name, valid until `expires_at`.
    pub(crate) async fn link(
        &self,
        version: &StoredVersion,
        file_name: &str,
        expires_at: Timestamp,
    ) -> Result<SignedUrl, Problem> {
        let key = self.key().await.map_err(|error| {
            let error = telemetry::chain(&error);
            tracing::error!(error, metric = "link_key_unread", "no link can be signed");
            Problem::busy("links to content can't be signed now", 5)
        })?;
        let (object, mime_type) = (&version.object, version.mime_type.as_str());
        objects::distribution_link(&self.domain, &key, object, file_name, mime_type, expires_at)
            .map_err(|error| {
                tracing::error!(error = telemetry::chain(&error), "no link can be signed");
                Problem::busy("links to content can't be signed now", 5)
            })
    }

    /// Returns the key, read within the last minutes. If it can't be read again, the last one is
    /// used: it is in the key group until its replacement signs.
    async fn key(&self) -> Result<Arc<LinkKey>, LinkKeyError> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(Held { key, read_at }) = &*held
            && now.millis_since(*read_at) < KEY_MILLIS
        {
            return Ok(Arc::clone(key));
        }
        match (self.read().await, &*held) {
            (Ok(key), _) => {
                let (key, read_at) = (Arc::new(key), now);
                *held = Some(Held {
                    key: Arc::clone(&key),
                    read_at,
                });
                Ok(key)
            }
            (Err(error), Some(Held { key, .. })) => {
                let error = telemetry::chain(&error);
                tracing::warn!(error, "the last key of links is used");
                Ok(Arc::clone(key))
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read(&self) -> Result<LinkKey, LinkKeyError> {
        let request = self.secrets.get_secret_value().secret_id(&*self.secret_id);
        let answer = Box::pin(request.send()).await.map_err(|error| {
            // A success that can't be parsed: the source contains the whole response.
            let is_response = matches!(error, SdkError::ResponseError(_));
            LinkKeyError::Unread((!is_response).then(|| error.into()))
        })?;
        let text = answer.secret_string().unwrap_or_default();
        Ok(LinkKey::parse(text)?)
    }
}
