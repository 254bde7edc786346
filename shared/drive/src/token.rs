//! Access tokens: one at a time per credentials and user, kept until shortly before it expires.

use bytes::Bytes;
use domain::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::BadJson;
use crate::reasons::Said;
use crate::vault::{Vault, unusable};
use crate::{Clock, Credentials, DriveError, Kind, Secret, Transport};

const METHOD: &str = "oauth2.token";
/// How long before its end a token is no longer used: a call that starts now must not outlive it.
const MARGIN_MILLIS: i64 = 60_000;
/// What a token is worth whose answer does not say (`expires_in` is only recommended).
const UNSTATED_SECONDS: i64 = 300;

/// The words of a token endpoint that mean: not with these credentials. RFC 6749, section 5.2, and Google's own.
const LOST: [&str; 10] = [
    "invalid_grant",
    "unauthorized_client",
    "invalid_client",
    "invalid_scope",
    "invalid_request",
    "unsupported_grant_type",
    "access_denied",
    "deleted_client",
    "disabled_client",
    "admin_policy_enforced",
];

/// Where a client's access tokens come from.
pub(crate) enum TokenSource {
    /// Always the same one.
    Fixed(Secret),
    /// Issued for credentials. The lock is held across the exchange: many calls that find the token expired
    /// make one exchange.
    Issued(Box<Issued>),
}

/// Credentials with the token that they got.
pub(crate) struct Issued {
    issuer: Issuer,
    held: Mutex<Held>,
}

/// Gets tokens for the credentials of one secret, as one user.
pub(crate) struct Issuer {
    pub(crate) transport: Transport,
    pub(crate) clock: Clock,
    pub(crate) vault: Vault,
    pub(crate) subject: Option<String>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Credentials>,
    token: Option<Token>,
}

struct Token {
    text: Secret,
    good_until: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<i64>,
}

impl TokenSource {
    pub(crate) fn issued(issuer: Issuer) -> Self {
        Self::Issued(Box::new(Issued {
            issuer,
            held: Mutex::default(),
        }))
    }

    /// Reads the credentials if that has not been done yet.
    pub(crate) async fn prepare(&self) -> Result<(), DriveError> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Issued(issued) => {
                let Issued { issuer, held } = issued.as_ref();
                let mut held = held.lock().await;
                if held.credentials.is_none() {
                    held.credentials = Some(issuer.vault.read().await?);
                }
                Ok(())
            }
        }
    }

    /// A token that is good for some time yet.
    pub(crate) async fn token(&self) -> Result<Secret, DriveError> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Issued(issued) => {
                let Issued { issuer, held } = issued.as_ref();
                let mut held = held.lock().await;
                match &held.token {
                    Some(token) if (issuer.clock)() < token.good_until => Ok(token.text.clone()),
                    Some(_) | None => issuer.renew(&mut held).await,
                }
            }
        }
    }

    /// Another token than the one that Drive refused; `None` where there can't be one.
    pub(crate) async fn instead_of(&self, refused: &Secret) -> Result<Option<Secret>, DriveError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Issued(issued) => {
                let Issued { issuer, held } = issued.as_ref();
                let mut held = held.lock().await;
                match &held.token {
                    // Another call was faster.
                    Some(token) if token.text != *refused => Ok(Some(token.text.clone())),
                    Some(_) | None => issuer.renew(&mut held).await.map(Some),
                }
            }
        }
    }
}

impl Issuer {
    /// Exchanges the credentials for a token. Where Google no longer takes them, the secret is read once
    /// more: it may have been rotated since.
    async fn renew(&self, held: &mut Held) -> Result<Secret, DriveError> {
        held.token = None;
        let (credentials, fresh) = match held.credentials.take() {
            Some(credentials) => (credentials, false),
            None => (self.vault.read().await?, true),
        };
        let mut outcome = self.exchange(&credentials).await;
        let mut used = credentials;
        if !fresh && matches!(&outcome, Err(error) if matches!(error.kind(), Kind::AuthLost { .. }))
        {
            let now = self.vault.read().await?;
            if now != used {
                outcome = self.exchange(&now).await;
                used = now;
            }
        }
        held.credentials = Some(used);
        let token = outcome?;
        let text = token.text.clone();
        held.token = Some(token);
        Ok(text)
    }

    async fn exchange(&self, credentials: &Credentials) -> Result<Token, DriveError> {
        let now = (self.clock)();
        let request = credentials
            .token_request(self.subject.as_deref(), now)
            .map_err(|refused| unusable(METHOD, refused))?;
        // Whatever became of this request, the call to Drive that needs the token has not been sent.
        let answer = (self.transport)(request)
            .await
            .map_err(|error| DriveError::new(METHOD, Kind::NotSent).with_source(error))?;
        if !answer.status().is_success() {
            return Err(refused(&answer));
        }
        let answer: Answer = serde_json::from_slice(answer.body()).map_err(|error| {
            DriveError::new(METHOD, Kind::NotSent).with_source(BadJson::from(error))
        })?;
        let seconds = answer.expires_in.unwrap_or(UNSTATED_SECONDS);
        let lives_millis = seconds.saturating_mul(1000).saturating_sub(MARGIN_MILLIS);
        Ok(Token {
            text: Secret::new(answer.access_token),
            good_until: now.plus_millis(lives_millis),
        })
    }
}

fn refused(answer: &http::Response<Bytes>) -> DriveError {
    let reason = Said::parse(answer.body()).reason;
    let kind = match &reason {
        Some(word) if answer.status().is_client_error() && LOST.contains(&word.as_str()) => {
            Kind::AuthLost {
                reason: word.clone(),
            }
        }
        Some(_) | None => Kind::NotSent,
    };
    DriveError::new(METHOD, kind)
        .with_status(answer.status())
        .with_reason(reason)
}
