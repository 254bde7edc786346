//! Credentials as the secret holds them, and what is sent for an access token.

use crate::Secret;

/// Why a secret's text is no usable credentials. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsRefused {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// `type` is neither `service_account` nor `authorized_user`.
    #[error("`type` must be service_account or authorized_user")]
    UnknownType,
    /// A member is missing or empty.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// `private_key` is not an RSA key in PEM.
    #[error("`private_key` is not an RSA private key in PEM")]
    BadKey,
    /// `token_uri` is not a URL.
    #[error("`token_uri` is not a URL")]
    BadTokenUri,
    /// A subject is configured, but only a service account can act as someone else.
    #[error("only a service account can act as another user")]
    NoDelegation,
}

/// What gets an access token from Google.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A service account's key file.
    ServiceAccount {
        /// The account.
        client_email: String,
        /// Which of its keys this is, where the file says so.
        private_key_id: Option<String>,
        /// PEM.
        private_key: Secret,
        /// Where tokens are issued; also the audience of the assertion.
        token_uri: String,
    },
    /// A person's consent, as `gcloud auth application-default login` stores it.
    AuthorizedUser {
        /// The OAuth client.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// The consent.
        refresh_token: Secret,
        /// Where tokens are issued.
        token_uri: String,
    },
}
