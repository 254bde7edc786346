//! Bearer tokens: API Gateway's JWT authorizer on one machine, with a key in the data directory.

use std::fs;
use std::path::Path;

use domain::{Role, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Map, Value, json};

use crate::private;
use crate::system::{SUBJECT, TENANT};

const ISSUER: &str = "drivesync-local";
const AUDIENCE: &str = "drivesync";
const KEY_BYTES: usize = 32;
/// The file of the key, in the data directory.
const KEY_FILE: &str = "token.key";
/// The lifetime of a token of the person who started the system, in seconds: an hour, as Cognito
/// issues them by default.
const TOKEN_SECONDS: i64 = 3_600;

/// Issues and validates tokens.
#[derive(Clone)]
pub struct Identity {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// The key cannot be used, or a token cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key file cannot be used.
    #[error("the key file {path} cannot be read or written")]
    File {
        /// The path of the file.
        path: String,
        /// The error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The operating system provides no randomness.
    #[error("the operating system provides no randomness")]
    Random,
    /// A token cannot be signed.
    #[error("a token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

impl Identity {
    /// Returns an identity with a fresh key that is not stored.
    ///
    /// # Errors
    /// [`IdentityError::Random`] if there is no randomness.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        Ok(Self::from_key(&fresh_key()?))
    }

    /// Returns the identity of a data directory. Its key is created on first use, readable only by
    /// the owner.
    ///
    /// # Errors
    /// [`IdentityError`] if the key cannot be read, created or stored.
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(KEY_FILE);
        let failed = |source| IdentityError::File {
            path: path.display().to_string(),
            source,
        };
        match fs::read(&path) {
            Ok(key) if key.len() == KEY_BYTES => Ok(Self::from_key(&key)),
            Ok(_) => Err(failed(std::io::Error::other(
                "it does not contain 32 bytes: remove it to get a new one",
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = fresh_key()?;
                private::create_file(&path, &key).map_err(failed)?;
                Ok(Self::from_key(&key))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns whether a system has run on a data directory, so that it has a key.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        data_dir.join(KEY_FILE).exists()
    }

    fn from_key(key: &[u8]) -> Self {
        Self {
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
        }
    }

    /// Returns a token of an administrator of `tenant`, valid until `expires_at` (seconds of Unix
    /// time).
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the token cannot be signed.
    pub fn token(
        &self,
        tenant: &str,
        subject: &str,
        expires_at: i64,
    ) -> Result<String, IdentityError> {
        self.token_with_role(tenant, subject, Role::Admin, expires_at)
    }

    /// Returns a token like [`Identity::token`], of a caller with another role.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the token cannot be signed.
    pub fn token_with_role(
        &self,
        tenant: &str,
        subject: &str,
        role: Role,
        expires_at: i64,
    ) -> Result<String, IdentityError> {
        let names = api::ClaimNames::default();
        self.sign(json!({
            "sub": subject, names.tenant: tenant, names.role: role.as_str(), "exp": expires_at,
        }))
    }

    /// Returns a token with any claims, beside those of the issuer and the audience.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the token cannot be signed.
    pub fn sign(&self, claims: Value) -> Result<String, IdentityError> {
        self.sign_for(AUDIENCE, claims)
    }

    /// Returns a token for another audience, which the API does not accept.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the token cannot be signed.
    pub(super) fn sign_for(
        &self,
        audience: &str,
        mut claims: Value,
    ) -> Result<String, IdentityError> {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("iss".to_owned(), json!(ISSUER));
            claims.insert("aud".to_owned(), json!(audience));
        }
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(IdentityError::Sign)
    }

    /// Returns a token of the person who started the system, with a role, valid for an hour.
    ///
    /// # Errors
    /// [`IdentityError::Sign`] if the token cannot be signed.
    pub fn own_token(&self, role: Role, now: Timestamp) -> Result<String, IdentityError> {
        self.token_with_role(TENANT, SUBJECT, role, now.as_seconds() + TOKEN_SECONDS)
    }

    /// Returns the claims of a valid token. All values are text, as API Gateway passes them.
    #[must_use]
    pub fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        let claims = self.claims_for(AUDIENCE, token)?;
        let text = |(name, value): (String, Value)| (name, Value::String(claim_text(&value)));
        Some(claims.into_iter().map(text).collect())
    }

    /// Returns the claims of a valid token for an audience, as they are in it.
    pub(super) fn claims_for(&self, audience: &str, token: &str) -> Option<Map<String, Value>> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        // A claim that is not required may be absent, and is then not checked.
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.validate_nbf = true;
        decode::<Map<String, Value>>(token, &self.decoding, &validation)
            .ok()
            .map(|token| token.claims)
    }
}

/// Returns a claim as API Gateway passes it on: a text as it is, a list as `[a b]`.
fn claim_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(claim_text).collect();
            format!("[{}]", texts.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn fresh_key() -> Result<[u8; KEY_BYTES], IdentityError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|_| IdentityError::Random)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: i64 = 4_000_000_000;

    #[test]
    fn only_valid_tokens_of_this_key_have_claims() {
        let identity = Identity::ephemeral().unwrap();
        let token = identity.token("acme", "ann", LATER).unwrap();
        let claims = identity.claims(&token).unwrap();
        assert_eq!(claims["custom:tenant"], "acme");
        assert_eq!(claims["sub"], "ann");
        assert!(claims.values().all(Value::is_string));
        assert!(
            identity
                .claims(&identity.token("acme", "ann", 1).unwrap())
                .is_none(),
            "expired"
        );
        assert!(
            Identity::ephemeral().unwrap().claims(&token).is_none(),
            "another key"
        );
        assert!(identity.claims("no token").is_none());
    }

    #[test]
    fn a_list_is_passed_on_as_api_gateway_does() {
        let identity = Identity::ephemeral().unwrap();
        let token = identity.sign(json!({"exp": LATER, "groups": ["a", "b,c"], "n": 7}));
        let claims = identity.claims(&token.unwrap()).unwrap();
        assert_eq!(
            (&claims["groups"], &claims["n"]),
            (&json!("[a b,c]"), &json!("7"))
        );
    }

    #[test]
    fn the_key_of_a_data_directory_is_kept() {
        let folder =
            std::env::temp_dir().join(format!("drivesync-identity-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let token = Identity::open(&folder)
            .unwrap()
            .token("acme", "ann", LATER)
            .unwrap();
        assert!(Identity::open(&folder).unwrap().claims(&token).is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
