//! Secrets Manager in this process: one current value for each secret, in one file that only its
//! owner can read, replaced as a whole by an atomic rename. The file is not encrypted.
//!
//! Supported are `GetSecretValue`, `CreateSecret` and `PutSecretValue`, for text. Earlier versions
//! of a secret are not kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use md5::{Digest as _, Md5};
use sdk_in_process::{Handler, json_response, operation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqs_fifo::{ACCOUNT, REGION};

use super::Clock;
use crate::private;

/// An error, named as Secrets Manager names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// No secret, or no version of it, has this name.
    #[error("Secrets Manager can't find the specified secret.")]
    NotFound,
    /// A secret has this name, or its version with this token has another value.
    #[error("{0}")]
    Exists(String),
    /// The operation is not supported.
    #[error("{0}")]
    InvalidRequest(String),
    /// A parameter is absent or not allowed.
    #[error("{0}")]
    InvalidParameter(String),
    /// The file cannot be read or written. The request had no effect.
    #[error("the secrets file cannot be read or written")]
    File(#[from] std::io::Error),
    /// The content of the file cannot be decoded.
    #[error("the secrets file cannot be decoded")]
    Stored(#[from] serde_json::Error),
}

impl SecretsError {
    fn shape(&self) -> &'static str {
        match self {
            Self::NotFound => "ResourceNotFoundException",
            Self::Exists(_) => "ResourceExistsException",
            Self::InvalidRequest(_) => "InvalidRequestException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::File(_) | Self::Stored(_) => "InternalServiceError",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SecretValue {
    #[serde(rename = "SecretString")]
    text: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Version {
    id: String,
    value: SecretValue,
    created_at_ms: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    arn: String,
    created_at_ms: i64,
    changed_at_ms: i64,
    current: Option<Version>,
}

type Secrets = BTreeMap<String, Secret>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    name: String,
    client_request_token: Option<String>,
    #[serde(flatten)]
    value: SecretValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    secret_id: String,
    client_request_token: Option<String>,
    #[serde(flatten)]
    value: SecretValue,
}

/// A handle to the secrets, cheap to clone.
#[derive(Clone)]
pub struct SecretsManager {
    inner: Arc<Inner>,
}

struct Inner {
    path: Option<PathBuf>,
    clock: Clock,
    secrets: Mutex<Secrets>,
}

impl std::fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretsManager")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

const CURRENT: &str = "AWSCURRENT";

impl SecretsManager {
    /// Opens the file at a path, or an empty store in memory without a path. The first write
    /// creates the file.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn open(path: Option<&Path>, clock: Clock) -> Result<Self, SecretsError> {
        let secrets = match path.map(std::fs::read) {
            None => Secrets::new(),
            Some(Ok(bytes)) => serde_json::from_slice(&bytes)?,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Secrets::new(),
            Some(Err(error)) => return Err(error.into()),
        };
        let (path, secrets) = (path.map(Path::to_owned), Mutex::new(secrets));
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                clock,
                secrets,
            }),
        })
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.inner
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change. It is written to the file before it becomes visible.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Secrets, i64) -> Result<T, SecretsError>,
    ) -> Result<T, SecretsError> {
        let mut secrets = self.secrets();
        let mut changed = secrets.clone();
        let result = change(&mut changed, (self.inner.clock)())?;
        if let Some(path) = &self.inner.path {
            private::replace_file(path, &serde_json::to_vec_pretty(&changed)?)?;
        }
        *secrets = changed;
        Ok(result)
    }

    /// Creates a secret, unless there is one with this name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create_missing(&self, name: &str, text: &str) -> Result<(), SecretsError> {
        let text = text.to_owned();
        let created = self.create(Create {
            name: name.to_owned(),
            client_request_token: None,
            value: SecretValue { text },
        });
        match created {
            Ok(_) | Err(SecretsError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Answers one request, given the name of its operation and its JSON body.
    ///
    /// # Errors
    /// The request is refused, or the file failed.
    pub fn call(&self, operation: &str, body: &[u8]) -> Result<Value, SecretsError> {
        match operation {
            "GetSecretValue" => self.get(&parse(body)?),
            "CreateSecret" => self.create(parse(body)?),
            "PutSecretValue" => self.put(parse(body)?),
            other => Err(SecretsError::InvalidRequest(format!(
                "The operation {other} is not supported."
            ))),
        }
    }

    fn get(&self, request: &Get) -> Result<Value, SecretsError> {
        let secrets = self.secrets();
        let (name, secret) = find(&secrets, &request.secret_id)?;
        let version = secret.current.as_ref().filter(|version| {
            let stage = request.version_stage.as_deref();
            let id = request.version_id.as_ref();
            stage.is_none_or(|stage| stage == CURRENT) && id.is_none_or(|id| *id == version.id)
        });
        let version = version.ok_or(SecretsError::NotFound)?;
        Ok(json!({
            "ARN": secret.arn,
            "Name": name,
            "VersionId": version.id,
            "VersionStages": [CURRENT],
            "CreatedDate": seconds(version.created_at_ms),
            "SecretString": version.value.text,
        }))
    }

    fn create(&self, request: Create) -> Result<Value, SecretsError> {
        check_name(&request.name)?;
        self.change(|secrets, now| {
            let name = request.name;
            let token = request.client_request_token;
            if let Some(secret) = secrets.get(&name) {
                // The same request again is answered as before.
                return match &secret.current {
                    Some(version)
                        if Some(&version.id) == token.as_ref()
                            && version.value == request.value =>
                    {
                        Ok(json!({"ARN": secret.arn, "Name": name, "VersionId": version.id}))
                    }
                    Some(_) | None => Err(SecretsError::Exists(format!(
                        "The operation failed because the secret {name} already exists."
                    ))),
                };
            }
            let arn = secret_arn(&name);
            let version = new_version(&arn, token, request.value, now);
            let response = json!({"ARN": arn, "Name": name, "VersionId": version.id});
            let secret = Secret {
                arn,
                created_at_ms: now,
                changed_at_ms: now,
                current: Some(version),
            };
            secrets.insert(name, secret);
            Ok(response)
        })
    }

    fn put(&self, request: Put) -> Result<Value, SecretsError> {
        self.change(|secrets, now| {
            let (name, secret) = find(secrets, &request.secret_id)?;
            let (name, mut secret) = (name.to_owned(), secret.clone());
            let token = request.client_request_token;
            let known = secret
                .current
                .as_ref()
                .filter(|version| Some(&version.id) == token.as_ref());
            let id = match known {
                Some(version) if version.value != request.value => {
                    let reason =
                        "A version with this ClientRequestToken exists with another value.";
                    return Err(SecretsError::Exists(reason.into()));
                }
                Some(version) => version.id.clone(),
                None => {
                    let version = new_version(&secret.arn, token, request.value, now);
                    secret.changed_at_ms = now;
                    secret.current.insert(version).id.clone()
                }
            };
            let response = json!({
                "ARN": secret.arn, "Name": name, "VersionId": id, "VersionStages": [CURRENT],
            });
            secrets.insert(name, secret);
            Ok(response)
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, SecretsError> {
    serde_json::from_slice(body).map_err(|error| SecretsError::InvalidParameter(error.to_string()))
}

/// Finds a secret by its name or ARN.
fn find<'a>(secrets: &'a Secrets, id: &str) -> Result<(&'a str, &'a Secret), SecretsError> {
    let by_arn = |(_, secret): &(&String, &Secret)| secret.arn == id;
    let found = secrets
        .get_key_value(id)
        .or_else(|| secrets.iter().find(by_arn));
    found
        .map(|(name, secret)| (name.as_str(), secret))
        .ok_or(SecretsError::NotFound)
}

fn check_name(name: &str) -> Result<(), SecretsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if !name.is_empty() && name.len() <= 512 && name.chars().all(allowed) {
        return Ok(());
    }
    let reason = "Invalid name. Must be a valid name containing alphanumeric characters, or any of \
                  the following: -/_+=.@!";
    Err(SecretsError::InvalidParameter(reason.into()))
}

fn digest(text: &str) -> [u8; 16] {
    Md5::digest(text.as_bytes()).into()
}

fn secret_arn(name: &str) -> String {
    let suffix: String = hex::encode(digest(name)).chars().take(6).collect();
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{suffix}")
}

fn new_version(arn: &str, token: Option<String>, value: SecretValue, now: i64) -> Version {
    let derived = || uuid::Builder::from_md5_bytes(digest(&format!("{arn}/{now}"))).into_uuid();
    let id = token.unwrap_or_else(|| derived().to_string());
    Version {
        id,
        value,
        created_at_ms: now,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of Unix time are far below 2^53"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Returns a handler of requests in this process.
#[must_use]
pub fn handler(secrets: SecretsManager) -> Handler {
    Arc::new(move |request| {
        let (status, body) = match secrets.call(operation(&request), request.body()) {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => {
                let body = json!({"__type": error.shape(), "Message": error.to_string()});
                match error {
                    SecretsError::File(_) | SecretsError::Stored(_) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(error, "Secrets Manager request failed");
                        (StatusCode::INTERNAL_SERVER_ERROR, body)
                    }
                    SecretsError::NotFound
                    | SecretsError::Exists(_)
                    | SecretsError::InvalidRequest(_)
                    | SecretsError::InvalidParameter(_) => (StatusCode::BAD_REQUEST, body),
                }
            }
        };
        let response = json_response(status, body.to_string());
        Box::pin(async { Ok(response) })
    })
}

#[cfg(test)]
mod tests;
