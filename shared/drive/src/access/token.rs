//! Access tokens: one at a time per credentials and subject, cached until shortly before it
//! expires.

use bytes::Bytes;
use domain::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::access::credentials_secret::{CredentialsSecret, unusable};
use crate::failure::classify::ErrorBody;
use crate::failure::drive_error::BadJson;
use crate::{Clock, Credentials, DriveError, Kind, Secret, Transport};

const METHOD: &str = "oauth2.token";
/// The time before its expiry in which a token is not used any more, so that no call outlives it.
const MARGIN_MILLIS: i64 = 60_000;
/// The assumed lifetime of a token if the response has no `expires_in`, which is only recommended.
const UNSTATED_SECONDS: i64 = 300;

/// The error codes of a token endpoint that mean that the credentials don't work. From RFC 6749,
/// section 5.2, and Google's own.
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

/// The source of a client's access tokens.
pub(crate) enum TokenSource {
    /// A fixed token.
    Fixed(Secret),
    /// Tokens issued for credentials. The lock is acquired for the whole exchange, so that many
    /// calls that find the token expired cause one exchange.
    Issued(Box<Issued>),
}

/// An issuer with its current credentials and token.
pub(crate) struct Issued {
    issuer: Issuer,
    state: Mutex<TokenState>,
}

/// Requests tokens for the credentials of one secret and one subject.
pub(crate) struct Issuer {
    pub(crate) transport: Transport,
    pub(crate) clock: Clock,
    pub(crate) secret: CredentialsSecret,
    pub(crate) subject: Option<String>,
}

#[derive(Default)]
struct TokenState {
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
            state: Mutex::default(),
        }))
    }

    /// Reads the credentials unless they are loaded.
    pub(crate) async fn prepare(&self) -> Result<(), DriveError> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                let mut state = state.lock().await;
                if state.credentials.is_none() {
                    state.credentials = Some(issuer.secret.read().await?);
                }
                Ok(())
            }
        }
    }

    /// Returns a token that does not expire soon.
    pub(crate) async fn token(&self) -> Result<Secret, DriveError> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                let mut state = state.lock().await;
                match &state.token {
                    Some(token) if (issuer.clock)() < token.good_until => Ok(token.text.clone()),
                    Some(_) | None => issuer.renew(&mut state).await,
                }
            }
        }
    }

    /// Returns another token than the one that Drive rejected; `None` if there can't be one.
    pub(crate) async fn replacement_for(
        &self,
        refused: &Secret,
    ) -> Result<Option<Secret>, DriveError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                let mut state = state.lock().await;
                match &state.token {
                    // Another call has replaced it already.
                    Some(token) if token.text != *refused => Ok(Some(token.text.clone())),
                    Some(_) | None => issuer.renew(&mut state).await.map(Some),
                }
            }
        }
    }
}

impl Issuer {
    /// Exchanges the credentials for a token. If Google rejects them, reads the secret once more,
    /// since it may have been rotated.
    async fn renew(&self, state: &mut TokenState) -> Result<Secret, DriveError> {
        state.token = None;
        let (credentials, fresh) = match state.credentials.take() {
            Some(credentials) => (credentials, false),
            None => (self.secret.read().await?, true),
        };
        let mut outcome = self.exchange(&credentials).await;
        let mut used = credentials;
        if !fresh && matches!(&outcome, Err(error) if matches!(error.kind(), Kind::AuthLost { .. }))
        {
            let now = self.secret.read().await?;
            if now != used {
                outcome = self.exchange(&now).await;
                used = now;
            }
        }
        state.credentials = Some(used);
        let token = outcome?;
        let text = token.text.clone();
        state.token = Some(token);
        Ok(text)
    }

    async fn exchange(&self, credentials: &Credentials) -> Result<Token, DriveError> {
        let now = (self.clock)();
        let request = credentials
            .token_request(self.subject.as_deref(), now)
            .map_err(|refused| unusable(METHOD, refused))?;
        // Whatever the outcome of this request, the Drive call that needs the token was not sent.
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
    let reason = ErrorBody::parse(answer.body()).reason;
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
