//! Credentials as the secret holds them, and the request for an access token that they make.

use bytes::Bytes;
use domain::Timestamp;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::Secret;

/// Full access to Drive: files that others made are to be read and written too.
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/drive";
/// Google's token endpoint, where the secret names no other.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Google refuses an assertion that lives longer.
const ASSERTION_SECONDS: i64 = 3600;
/// How far our clock may be ahead of Google's, which refuses an assertion from the future.
const CLOCK_SKEW_SECONDS: i64 = 10;

/// Why a secret's text is no usable credentials. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsRefused {
    /// Not a JSON object of texts.
    #[error("not a JSON object of texts")]
    NotJson,
    /// `type` is neither `service_account` nor `authorized_user`.
    #[error("`type` must be service_account or authorized_user")]
    UnknownType,
    /// A member is missing or empty.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// `private_key` is not an RSA private key in PEM.
    #[error("`private_key` is not an RSA private key in PEM")]
    BadKey,
    /// `token_uri` is not an http or https URL.
    #[error("`token_uri` is not an http or https URL")]
    BadTokenUri,
    /// A subject is wanted, but only a service account can act as someone else.
    #[error("only a service account can act as another user")]
    NoDelegation,
}

/// What gets an access token from Google.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A service account's key file.
    ServiceAccount {
        /// The account's e-mail address.
        client_email: String,
        /// Which of the account's keys it is, where the file says so.
        private_key_id: Option<String>,
        /// The key, in PEM.
        private_key: Secret,
        /// Where tokens are issued; also the audience of the assertion.
        token_uri: String,
    },
    /// A person's consent, in the form that `gcloud auth application-default login` stores it.
    AuthorizedUser {
        /// The OAuth client that the consent was given to.
        client_id: String,
        /// The client's secret.
        client_secret: Secret,
        /// The consent.
        refresh_token: Secret,
        /// Where tokens are issued.
        token_uri: String,
    },
}

/// The members that we know of either kind of file.
#[derive(Deserialize)]
struct KeyFile {
    r#type: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    token_uri: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl Credentials {
    /// Reads the JSON of a service account's key file, or of an authorized user.
    ///
    /// # Errors
    /// [`CredentialsRefused`] where it is neither, or can't work.
    pub fn parse(json: &str) -> Result<Self, CredentialsRefused> {
        let file: KeyFile = serde_json::from_str(json).map_err(|_| CredentialsRefused::NotJson)?;
        let token_uri = file.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        match url::Url::parse(&token_uri) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {}
            Ok(_) | Err(_) => return Err(CredentialsRefused::BadTokenUri),
        }
        let credentials = match file.r#type.as_deref() {
            Some("service_account") => Self::ServiceAccount {
                client_email: present(file.client_email, "client_email")?,
                private_key_id: file.private_key_id,
                private_key: Secret::new(present(file.private_key, "private_key")?),
                token_uri,
            },
            Some("authorized_user") => Self::AuthorizedUser {
                client_id: present(file.client_id, "client_id")?,
                client_secret: Secret::new(present(file.client_secret, "client_secret")?),
                refresh_token: Secret::new(present(file.refresh_token, "refresh_token")?),
                token_uri,
            },
            Some(_) | None => return Err(CredentialsRefused::UnknownType),
        };
        if let Self::ServiceAccount { private_key, .. } = &credentials {
            signing_key(private_key)?;
        }
        Ok(credentials)
    }

    /// The request that asks for an access token; `subject` is the user to act as.
    ///
    /// # Errors
    /// [`CredentialsRefused::NoDelegation`] for a subject with a person's consent,
    /// [`CredentialsRefused::BadKey`] where the key can't sign.
    pub(crate) fn token_request(
        &self,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Result<http::Request<Bytes>, CredentialsRefused> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let token_uri = match self {
            Self::ServiceAccount { token_uri, .. } => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", self.assertion(subject, now)?.expose());
                token_uri
            }
            Self::AuthorizedUser { .. } if subject.is_some() => {
                return Err(CredentialsRefused::NoDelegation);
            }
            Self::AuthorizedUser {
                client_id,
                client_secret,
                refresh_token,
                token_uri,
            } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", client_secret.expose());
                form.append_pair("refresh_token", refresh_token.expose());
                token_uri
            }
        };
        http::Request::post(token_uri)
            .header(
                http::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            )
            .header(http::header::ACCEPT, "application/json")
            .body(Bytes::from(form.finish()))
            .map_err(|_| CredentialsRefused::BadTokenUri)
    }

    /// Says by signature that we are the service account, and whom it acts as.
    fn assertion(
        &self,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Result<Secret, CredentialsRefused> {
        let Self::ServiceAccount {
            client_email,
            private_key_id,
            private_key,
            token_uri,
        } = self
        else {
            return Err(CredentialsRefused::NoDelegation);
        };
        let issued_at = now.as_millis().div_euclid(1000) - CLOCK_SKEW_SECONDS;
        let claims = Claims {
            iss: client_email,
            scope: SCOPE,
            aud: token_uri,
            iat: issued_at,
            exp: issued_at + ASSERTION_SECONDS,
            sub: subject,
        };
        let mut header = Header::new(Algorithm::RS256);
        header.kid.clone_from(private_key_id);
        jsonwebtoken::encode(&header, &claims, &signing_key(private_key)?)
            .map(Secret::new)
            .map_err(|_| CredentialsRefused::BadKey)
    }
}

fn signing_key(pem: &Secret) -> Result<EncodingKey, CredentialsRefused> {
    // jsonwebtoken finds its cryptography by itself only while the whole build enables exactly one; naming it
    // keeps another crate's features from breaking ours. An error means that the process has one already.
    let _ = aws_lc::DEFAULT_PROVIDER.install_default();
    EncodingKey::from_rsa_pem(pem.expose().as_bytes()).map_err(|_| CredentialsRefused::BadKey)
}

fn present(member: Option<String>, name: &'static str) -> Result<String, CredentialsRefused> {
    member
        .filter(|text| !text.is_empty())
        .ok_or(CredentialsRefused::Missing(name))
}
