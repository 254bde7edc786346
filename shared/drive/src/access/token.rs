//! Access tokens: one at a time per credentials and subject, cached until shortly before it
//! expires.

use bytes::Bytes;
use domain::{AccountId, OutOfReach, Timestamp};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::access::account::{Terms, another_account, not_identified, out_of_reach};
use crate::access::credentials_secret::{CredentialsSecret, Loaded, unusable};
use crate::failure::classify::ErrorBody;
use crate::failure::drive_error::BadJson;
use crate::{Clock, Credentials, DriveClient, DriveError, Kind, Secret, Transport};

const METHOD: &str = "oauth2.token";
/// The time before its expiry in which a token is not used any more, so that no call outlives it.
const MARGIN_MILLIS: i64 = 60_000;
/// The time after which the secret is read again, so that one that was deleted, or allows less than
/// it did, is not used any longer.
const CREDENTIALS_MILLIS: i64 = 900_000;
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
    pub(crate) base_url: std::sync::Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) secret: CredentialsSecret,
    pub(crate) subject: Option<String>,
}

#[derive(Default)]
struct TokenState {
    loaded: Option<Loaded>,
    token: Option<Token>,
    /// Whose the credentials are; `None` until Drive was asked.
    identity: Option<Identity>,
}

/// The account of the credentials, if Drive shows it.
struct Identity(Option<AccountId>);

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

    /// Reads the credentials unless they were read a short time ago.
    pub(crate) async fn prepare(&self) -> Result<(), DriveError> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                issuer.load(&mut *state.lock().await).await.map(|_| ())
            }
        }
    }

    /// Returns the secret part of the credentials, from which keys are derived.
    pub(crate) async fn key_material(&self) -> Result<Option<Secret>, DriveError> {
        match self {
            Self::Fixed(text) => Ok(Some(text.clone())),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                let mut state = state.lock().await;
                issuer.load(&mut state).await?;
                let loaded = state.loaded.as_ref();
                Ok(loaded.map(|loaded| loaded.secret.credentials.secret().clone()))
            }
        }
    }

    /// Returns a token that does not expire soon, if the credentials may be used on these terms.
    pub(crate) async fn token(&self, terms: Terms<'_>) -> Result<Secret, DriveError> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                issuer.token_of(terms, &mut *state.lock().await).await
            }
        }
    }

    /// Returns the version of the secret whose credentials are in use.
    pub(crate) async fn secret_version(&self) -> Option<String> {
        match self {
            Self::Fixed(_) => None,
            Self::Issued(issued) => {
                let state = issued.state.lock().await;
                state.loaded.as_ref()?.version.clone()
            }
        }
    }

    /// Returns another token than the one that Drive rejected, on the same terms; `None` if there
    /// can't be one.
    pub(crate) async fn replacement_for(
        &self,
        refused: &Secret,
        terms: Terms<'_>,
    ) -> Result<Option<Secret>, DriveError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::Issued(issued) => {
                let Issued { issuer, state } = issued.as_ref();
                let mut state = state.lock().await;
                // Unless another call has replaced it already.
                if state
                    .token
                    .as_ref()
                    .is_some_and(|token| token.text == *refused)
                {
                    state.token = None;
                }
                issuer.token_of(terms, &mut state).await.map(Some)
            }
        }
    }
}

impl Issuer {
    /// Reads the secret if that was not done for a quarter of an hour. Returns whether it was read.
    async fn load(&self, state: &mut TokenState) -> Result<bool, DriveError> {
        let now = (self.clock)();
        let recent = |loaded: &Loaded| now.millis_since(loaded.read_at) < CREDENTIALS_MILLIS;
        if state.loaded.as_ref().is_some_and(recent) {
            return Ok(false);
        }
        self.read_secret(state).await?;
        Ok(true)
    }

    /// Reads the secret. With other credentials than before, there is no token yet, and it is not
    /// known whose they are; with none, the ones before are not used any longer.
    async fn read_secret(&self, state: &mut TokenState) -> Result<(), DriveError> {
        let read = self.secret.read((self.clock)()).await;
        let before = state
            .loaded
            .as_ref()
            .map(|loaded| &loaded.secret.credentials);
        let same = match &read {
            Ok(read) => before == Some(&read.secret.credentials),
            Err(error) => !matches!(error.kind(), Kind::AuthLost { .. }),
        };
        if !same {
            *state = TokenState::default();
        }
        state.loaded = Some(read?);
        Ok(())
    }

    /// Checks that what the credentials are used for is within what their secret allows.
    fn check_reach(&self, terms: Terms<'_>, state: &TokenState) -> Result<(), OutOfReach> {
        match (terms.within, &state.loaded) {
            (Some(log), Some(loaded)) => loaded.secret.reach.check(self.subject.as_deref(), log),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Returns a token, if what it is for is within what the secret allows, and if it is the
    /// expected account's. Whose the credentials are is asked only if the secret has another
    /// version than the one that is known to be the account's, and once for each: so credentials
    /// that were exchanged for another account's are noticed before anything is read or written
    /// with them. Before a refusal, the secret is read once more, since it, or the account, may
    /// have been replaced.
    async fn token_of(
        &self,
        terms: Terms<'_>,
        state: &mut TokenState,
    ) -> Result<Secret, DriveError> {
        let mut read_again = false;
        loop {
            read_again |= self.load(state).await?;
            if let Err(refused) = self.check_reach(terms, state) {
                if read_again {
                    return Err(out_of_reach(refused));
                }
                self.read_secret(state).await?;
                read_again = true;
                continue;
            }
            let token = match &state.token {
                Some(token) if (self.clock)() < token.good_until => token.text.clone(),
                Some(_) | None => self.renew(terms, state, read_again).await?,
            };
            let Some(expected) = terms.account else {
                return Ok(token);
            };
            let version = state
                .loaded
                .as_ref()
                .and_then(|loaded| loaded.version.as_ref());
            if version.is_some() && version == expected.secret_version.as_ref() {
                return Ok(token);
            }
            let identity = match state.identity.take() {
                Some(identity) => identity,
                None => self.identify(token.clone()).await?,
            };
            let other = identity.0.as_ref().is_some_and(|id| *id != expected.id);
            state.identity = Some(identity);
            if !other {
                return Ok(token);
            }
            if read_again {
                return Err(another_account());
            }
            *state = TokenState::default();
        }
    }

    /// Asks Drive whose a token is.
    async fn identify(&self, token: Secret) -> Result<Identity, DriveError> {
        let (transport, clock) = (self.transport.clone(), self.clock.clone());
        let client = DriveClient::with_token(transport, &self.base_url, token, clock);
        // Boxed: the client's calls contain this one.
        let about = Box::pin(async move { client.about().await });
        Ok(Identity(about.await.map_err(not_identified)?.account))
    }

    /// Exchanges the credentials for a token. If Google rejects them, reads the secret once more,
    /// unless it was just read, since it may have been rotated.
    async fn renew(
        &self,
        terms: Terms<'_>,
        state: &mut TokenState,
        just_read: bool,
    ) -> Result<Secret, DriveError> {
        state.token = None;
        let mut outcome = self.exchange_loaded(state).await;
        let lost = |error: &DriveError| matches!(error.kind(), Kind::AuthLost { .. });
        if !just_read && outcome.as_ref().is_err_and(lost) {
            let before = state.loaded.as_ref().map(|used| used.secret.clone());
            self.read_secret(state).await?;
            self.check_reach(terms, state).map_err(out_of_reach)?;
            if state.loaded.as_ref().map(|now| &now.secret) != before.as_ref() {
                outcome = self.exchange_loaded(state).await;
            }
        }
        let token = outcome?;
        let text = token.text.clone();
        state.token = Some(token);
        Ok(text)
    }

    async fn exchange_loaded(&self, state: &TokenState) -> Result<Token, DriveError> {
        match &state.loaded {
            Some(loaded) => self.exchange(&loaded.secret.credentials).await,
            None => Err(DriveError::new(METHOD, Kind::NotSent)),
        }
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
