//! Credentials as stored in the secret, and the request for an access token.

use bytes::Bytes;
use domain::{InvalidReach, Reach, Timestamp};
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use url::{Url, form_urlencoded};

use crate::Secret;

/// Full access to Drive, since files that others created are read and written too.
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/drive";
/// Google's token endpoint, unless the secret names another one.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// The token endpoints that Google's key files have named over the years.
const GOOGLE_TOKEN_URIS: [&str; 4] = [
    TOKEN_URI,
    "https://www.googleapis.com/oauth2/v4/token",
    "https://www.googleapis.com/oauth2/v3/token",
    "https://accounts.google.com/o/oauth2/token",
];
/// Where Google Drive is.
const GOOGLE_DRIVE: &str = "https://www.googleapis.com";
/// What the members begin with that bound the use of the credentials. Google's files have none.
const BOUNDS: &str = "allowed_";
/// The longest lifetime of an assertion that Google accepts.
const ASSERTION_SECONDS: i64 = 3600;
/// The tolerated lead of the local clock over Google's, which rejects assertions from the future.
const CLOCK_SKEW_SECONDS: i64 = 10;

/// The reason why the text of a secret is not valid credentials. Contains nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// Not a JSON object of strings.
    #[error("not a JSON object of strings")]
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
    /// `token_uri` is not an endpoint of Google's, nor of the configured Drive if that is another.
    #[error("`token_uri` must be {TOKEN_URI}")]
    BadTokenUri,
    /// A list that bounds the use of the credentials is not valid.
    #[error("{0}")]
    BadReach(InvalidReach),
    /// A member that begins with `allowed_` is none of the known lists: a spelling mistake.
    #[error(
        "of `allowed_...`, only allowed_subjects, allowed_domains and allowed_drives are known"
    )]
    UnknownBounds,
    /// A subject is set, but only a service account can impersonate another user.
    #[error("only a service account can impersonate another user")]
    NoDelegation,
}

/// Credentials that can be exchanged for an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A service account's key file.
    ServiceAccount {
        /// The account's e-mail address.
        client_email: String,
        /// The id of the account's key, if the file contains it.
        private_key_id: Option<String>,
        /// The key, in PEM.
        private_key: Secret,
        /// The token endpoint, which is also the audience of the assertion.
        token_uri: String,
    },
    /// A person's consent, in the format of `gcloud auth application-default login`.
    AuthorizedUser {
        /// The OAuth client that the consent was given to.
        client_id: String,
        /// The client's secret.
        client_secret: Secret,
        /// The refresh token, which represents the consent.
        refresh_token: Secret,
        /// The token endpoint.
        token_uri: String,
    },
}

/// The known members of both kinds of files.
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
    #[serde(flatten)]
    others: Map<String, Json>,
}

/// A secret: credentials, and whose Drive they may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundCredentials {
    /// The credentials.
    pub credentials: Credentials,
    /// What they may be used for.
    pub reach: Reach,
}

impl BoundCredentials {
    /// Parses the JSON of a secret: the key file of a service account or of an authorized user,
    /// with, beside Google's members, `allowed_subjects`, `allowed_domains` and `allowed_drives`.
    /// `drive_url` is the configured Drive: if it is not Google's, its own token endpoint is
    /// accepted besides Google's.
    ///
    /// # Errors
    /// [`InvalidCredentials`] if it is neither, or can't work.
    pub fn parse(json: &str, drive_url: &str) -> Result<Self, InvalidCredentials> {
        let file: KeyFile = serde_json::from_str(json).map_err(|_| InvalidCredentials::NotJson)?;
        Ok(Self {
            reach: reach(&file.others)?,
            credentials: Credentials::from_file(file, drive_url)?,
        })
    }
}

/// Reads the lists that bound the use of the credentials.
fn reach(members: &Map<String, Json>) -> Result<Reach, InvalidCredentials> {
    const KNOWN: [(&str, InvalidReach); 3] = [
        ("allowed_subjects", InvalidReach::Subjects),
        ("allowed_domains", InvalidReach::Domains),
        ("allowed_drives", InvalidReach::Drives),
    ];
    let is_unknown = |name: &String| {
        // `Allowed_Subjects` is meant to be one, and would bound nothing.
        name.to_ascii_lowercase().starts_with(BOUNDS)
            && KNOWN.iter().all(|(known, _)| known != name)
    };
    if members.keys().any(is_unknown) {
        return Err(InvalidCredentials::UnknownBounds);
    }
    let list = |(name, invalid)| match members.get(name) {
        None => Ok(None),
        Some(Json::Array(entries)) => {
            let entries: Option<Vec<&str>> = entries.iter().map(Json::as_str).collect();
            entries
                .map(Some)
                .ok_or(InvalidCredentials::BadReach(invalid))
        }
        Some(_) => Err(InvalidCredentials::BadReach(invalid)),
    };
    let [subjects, domains, drives] = KNOWN.map(list);
    let (subjects, domains, drives) = (subjects?, domains?, drives?);
    Reach::parse(subjects.as_deref(), domains.as_deref(), drives.as_deref())
        .map_err(InvalidCredentials::BadReach)
}

/// Returns the token endpoint, which is sent the signed assertion or the refresh token: Google's,
/// or that of the configured Drive if that is not Google's (a simulated one).
fn token_uri(named: Option<String>, drive_url: &str) -> Result<String, InvalidCredentials> {
    let Some(named) = named else {
        return Ok(TOKEN_URI.to_owned());
    };
    if GOOGLE_TOKEN_URIS.contains(&named.as_str()) {
        return Ok(named);
    }
    let origin = |url: &str| {
        let url = Url::parse(url).ok()?;
        Some(url.origin()).filter(url::Origin::is_tuple)
    };
    match (origin(&named), origin(drive_url), origin(GOOGLE_DRIVE)) {
        (Some(named_origin), Some(drive), google)
            if named_origin == drive && google.as_ref() != Some(&drive) =>
        {
            Ok(named)
        }
        _ => Err(InvalidCredentials::BadTokenUri),
    }
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
    fn from_file(file: KeyFile, drive_url: &str) -> Result<Self, InvalidCredentials> {
        let token_uri = token_uri(file.token_uri, drive_url)?;
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
            Some(_) | None => return Err(InvalidCredentials::UnknownType),
        };
        if let Self::ServiceAccount { private_key, .. } = &credentials {
            signing_key(private_key)?;
        }
        Ok(credentials)
    }

    /// Returns what nobody else has: the service account's key or the person's refresh token.
    pub(crate) const fn secret(&self) -> &Secret {
        match self {
            Self::ServiceAccount { private_key, .. } => private_key,
            Self::AuthorizedUser { refresh_token, .. } => refresh_token,
        }
    }

    /// Builds the request for an access token; `subject` is the user to impersonate.
    ///
    /// # Errors
    /// [`InvalidCredentials::NoDelegation`] for a subject with a person's consent,
    /// [`InvalidCredentials::BadKey`] if the key can't sign.
    pub(crate) fn token_request(
        &self,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Result<http::Request<Bytes>, InvalidCredentials> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let token_uri = match self {
            Self::ServiceAccount { token_uri, .. } => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", self.assertion(subject, now)?.expose());
                token_uri
            }
            Self::AuthorizedUser { .. } if subject.is_some() => {
                return Err(InvalidCredentials::NoDelegation);
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
            .map_err(|_| InvalidCredentials::BadTokenUri)
    }

    /// Builds the signed assertion that identifies the service account and its subject.
    fn assertion(
        &self,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Result<Secret, InvalidCredentials> {
        let Self::ServiceAccount {
            client_email,
            private_key_id,
            private_key,
            token_uri,
        } = self
        else {
            return Err(InvalidCredentials::NoDelegation);
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
            .map_err(|_| InvalidCredentials::BadKey)
    }
}

fn signing_key(pem: &Secret) -> Result<EncodingKey, InvalidCredentials> {
    // jsonwebtoken selects a cryptography provider by itself only if the build enables exactly one.
    // Installing it explicitly makes this independent of other crates' features. An error means
    // that a provider is installed already.
    let _ = aws_lc::DEFAULT_PROVIDER.install_default();
    EncodingKey::from_rsa_pem(pem.expose().as_bytes()).map_err(|_| InvalidCredentials::BadKey)
}

fn present(member: Option<String>, name: &'static str) -> Result<String, InvalidCredentials> {
    member
        .filter(|text| !text.is_empty())
        .ok_or(InvalidCredentials::Missing(name))
}
