//! A small Secrets Manager: secrets with a current and a previous version, in one file that only its owner can read, replaced
//! whole by an atomic rename. It is for one machine: what is in the file is not encrypted.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, Response, StatusCode};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::wire::{Create, Delete, List, Put, SecretId, Stored};
use super::Clock;
use super::in_process::{Body, Handler};
use super::sqs::{ACCOUNT, REGION};

mod wire;

/// A refusal, named as Secrets Manager names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// No secret, or no version of it, has this name.
    #[error("Secrets Manager can't find the specified secret.")]
    NotFound,
    /// A secret has this name, or a version this token with another value.
    #[error("{0}")]
    Exists(String),
    /// The secret's state does not allow the request.
    #[error("{0}")]
    InvalidRequest(String),
    /// A parameter is absent or not allowed.
    #[error("{0}")]
    InvalidParameter(String),
    /// The file cannot be read or written. Nothing of the request took effect.
    #[error("the file of secrets failed")]
    File(#[from] std::io::Error),
    /// The file does not hold secrets.
    #[error("the file of secrets cannot be read")]
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

#[derive(Clone, Serialize, Deserialize)]
struct Version {
    id: String,
    value: Stored,
    created_at_ms: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    arn: String,
    description: Option<String>,
    created_at_ms: i64,
    changed_at_ms: i64,
    deleted_at_ms: Option<i64>,
    current: Option<Version>,
    previous: Option<Version>,
}

type Secrets = BTreeMap<String, Secret>;

/// The secrets of one machine: a handle, cheap to clone.
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
const PREVIOUS: &str = "AWSPREVIOUS";

impl SecretsManager {
    /// Opens the file at a path, or fresh secrets in memory without a path. The file is made by the first write.
    ///
    /// # Errors
    /// The file is there and cannot be read.
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

    /// Applies a change, written before it is seen.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Secrets, i64) -> Result<T, SecretsError>,
    ) -> Result<T, SecretsError> {
        let mut secrets = self.secrets();
        let mut changed = secrets.clone();
        let result = change(&mut changed, (self.inner.clock)())?;
        if let Some(path) = &self.inner.path {
            replace(path, &serde_json::to_vec_pretty(&changed)?)?;
        }
        *secrets = changed;
        Ok(result)
    }

    /// Answers one request: its operation's name and its JSON body.
    ///
    /// # Errors
    /// The request is refused, or the file failed.
    pub fn call(&self, operation: &str, body: &[u8]) -> Result<Value, SecretsError> {
        match operation {
            "GetSecretValue" => self.get(&parse(body)?),
            "CreateSecret" => self.create(parse(body)?),
            "PutSecretValue" => self.put(parse(body)?),
            "DescribeSecret" => self.describe(&parse(body)?),
            "ListSecrets" => Ok(self.list(&parse(body)?)),
            "DeleteSecret" => self.delete(&parse(body)?),
            "RestoreSecret" => self.restore(&parse(body)?),
            other => {
                let reason = format!("The operation {other} is not served here.");
                Err(SecretsError::InvalidRequest(reason))
            }
        }
    }

    fn get(&self, id: &SecretId) -> Result<Value, SecretsError> {
        let secrets = self.secrets();
        let (name, secret) = live(&secrets, &id.secret_id)?;
        let stages = [(&secret.current, CURRENT), (&secret.previous, PREVIOUS)];
        let default = if id.version_id.is_some() {
            None
        } else {
            Some(CURRENT)
        };
        let wanted = id.version_stage.as_deref().or(default);
        let found = stages.into_iter().find_map(|(version, stage)| {
            let version = version.as_ref()?;
            let by_id = id.version_id.as_ref().is_none_or(|id| *id == version.id);
            (by_id && wanted.is_none_or(|wanted| wanted == stage)).then_some((version, stage))
        });
        let (version, stage) = found.ok_or(SecretsError::NotFound)?;
        let mut answer = json!({
            "ARN": secret.arn, "Name": name, "VersionId": version.id, "VersionStages": [stage],
            "CreatedDate": seconds(version.created_at_ms),
        });
        let value = serde_json::to_value(&version.value)?;
        if let (Some(answer), Value::Object(value)) = (answer.as_object_mut(), value) {
            answer.extend(value);
        }
        Ok(answer)
    }

    fn create(&self, request: Create) -> Result<Value, SecretsError> {
        check_name(&request.name)?;
        self.change(|secrets, now| {
            let name = request.name;
            if let Some(secret) = secrets.get(&name) {
                return again(&name, secret, request.client_request_token, &request.value);
            }
            let arn = secret_arn(&name);
            let given = request.value.text.is_some() || request.value.binary.is_some();
            let token = request.client_request_token;
            let current = given.then(|| version(&arn, token, request.value, now));
            let id = current.as_ref().map(|version| version.id.clone());
            let secret = Secret {
                arn: arn.clone(),
                description: request.description,
                created_at_ms: now,
                changed_at_ms: now,
                deleted_at_ms: None,
                current,
                previous: None,
            };
            secrets.insert(name.clone(), secret);
            Ok(json!({"ARN": arn, "Name": name, "VersionId": id}))
        })
    }

    fn put(&self, request: Put) -> Result<Value, SecretsError> {
        if request.value.text.is_some() == request.value.binary.is_some() {
            let reason = "You must provide either SecretString or SecretBinary, and not both.";
            return Err(SecretsError::InvalidParameter(reason.into()));
        }
        self.change(|secrets, now| {
            let (name, secret) = live(secrets, &request.secret_id)?;
            let (name, mut secret) = (name.to_owned(), secret.clone());
            let token = request.client_request_token;
            let same = |version: &&Version| Some(&version.id) == token.as_ref();
            let known = [&secret.current, &secret.previous]
                .into_iter()
                .flatten()
                .find(same);
            let (id, stages) = match known {
                Some(version) if version.value != request.value => {
                    let reason =
                        "A version with this ClientRequestToken exists with another value.";
                    return Err(SecretsError::Exists(reason.into()));
                }
                Some(version) => (version.id.clone(), vec![CURRENT]),
                None => {
                    let new = version(&secret.arn, token, request.value, now);
                    let id = new.id.clone();
                    secret.previous = secret.current.replace(new);
                    secret.changed_at_ms = now;
                    (id, vec![CURRENT])
                }
            };
            let answer = json!({
                "ARN": secret.arn, "Name": name, "VersionId": id, "VersionStages": stages,
            });
            secrets.insert(name, secret);
            Ok(answer)
        })
    }

    fn describe(&self, id: &SecretId) -> Result<Value, SecretsError> {
        let secrets = self.secrets();
        let (name, secret) = find(&secrets, &id.secret_id)?;
        let mut answer = entry(name, secret);
        if let Some(answer) = answer.as_object_mut()
            && let Some(stages) = answer.remove("SecretVersionsToStages")
        {
            answer.insert("VersionIdsToStages".to_owned(), stages);
        }
        Ok(answer)
    }

    fn list(&self, request: &List) -> Value {
        let secrets = self.secrets();
        let matches = |name: &str| {
            let by_name = request.filters.iter().filter(|filter| filter.key == "name");
            by_name
                .into_iter()
                .all(|f| f.values.iter().any(|value| name.starts_with(value)))
        };
        let after = |name: &str| {
            request
                .next_token
                .as_deref()
                .is_none_or(|token| name > token)
        };
        let shown = |s: &Secret| s.deleted_at_ms.is_none() || request.include_planned_deletion;
        let mut chosen = secrets
            .iter()
            .filter(|(name, secret)| matches(name) && after(name) && shown(secret));
        let max = request.max_results.unwrap_or(100).clamp(1, 100);
        let page: Vec<_> = chosen.by_ref().take(max).collect();
        let next = chosen.next().and(page.last()).map(|(name, _)| *name);
        let entries: Vec<Value> = page
            .iter()
            .map(|(name, secret)| entry(name, secret))
            .collect();
        json!({"SecretList": entries, "NextToken": next})
    }

    fn delete(&self, request: &Delete) -> Result<Value, SecretsError> {
        self.change(|secrets, now| {
            let (name, secret) = find(secrets, &request.secret_id)?;
            let (name, arn) = (name.to_owned(), secret.arn.clone());
            if request.force_delete_without_recovery {
                secrets.remove(&name);
            } else if let Some(secret) = secrets.get_mut(&name) {
                secret.deleted_at_ms = Some(now);
            }
            Ok(json!({"ARN": arn, "Name": name, "DeletionDate": seconds(now)}))
        })
    }

    fn restore(&self, id: &SecretId) -> Result<Value, SecretsError> {
        self.change(|secrets, _| {
            let (name, secret) = find(secrets, &id.secret_id)?;
            let (name, arn) = (name.to_owned(), secret.arn.clone());
            if let Some(secret) = secrets.get_mut(&name) {
                secret.deleted_at_ms = None;
            }
            Ok(json!({"ARN": arn, "Name": name}))
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, SecretsError> {
    serde_json::from_slice(body).map_err(|error| SecretsError::InvalidParameter(error.to_string()))
}

fn find<'a>(secrets: &'a Secrets, id: &str) -> Result<(&'a str, &'a Secret), SecretsError> {
    let by_arn = |(_, secret): &(&String, &Secret)| secret.arn == id;
    let found = secrets
        .get_key_value(id)
        .or_else(|| secrets.iter().find(by_arn));
    found
        .map(|(name, secret)| (name.as_str(), secret))
        .ok_or(SecretsError::NotFound)
}

fn live<'a>(secrets: &'a Secrets, id: &str) -> Result<(&'a str, &'a Secret), SecretsError> {
    let (name, secret) = find(secrets, id)?;
    if secret.deleted_at_ms.is_some() {
        let reason =
            "You can't perform this operation on the secret because it was marked for deletion.";
        return Err(SecretsError::InvalidRequest(reason.into()));
    }
    Ok((name, secret))
}

/// A creation whose name is taken: the same request again is answered as before.
fn again(
    name: &str,
    secret: &Secret,
    token: Option<String>,
    value: &Stored,
) -> Result<Value, SecretsError> {
    if secret.deleted_at_ms.is_some() {
        let reason = "You can't create this secret because a secret with this name is already scheduled for deletion.";
        return Err(SecretsError::InvalidRequest(reason.into()));
    }
    match &secret.current {
        Some(version) if Some(&version.id) == token.as_ref() && version.value == *value => {
            Ok(json!({"ARN": secret.arn, "Name": name, "VersionId": version.id}))
        }
        Some(_) | None => Err(SecretsError::Exists(format!(
            "The operation failed because the secret {name} already exists."
        ))),
    }
}

fn check_name(name: &str) -> Result<(), SecretsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if !name.is_empty() && name.len() <= 512 && name.chars().all(allowed) {
        return Ok(());
    }
    let reason = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
    Err(SecretsError::InvalidParameter(reason.into()))
}

fn digest(text: &str) -> [u8; 16] {
    Md5::digest(text.as_bytes()).into()
}

fn secret_arn(name: &str) -> String {
    let suffix: String = hex::encode(digest(name)).chars().take(6).collect();
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-{suffix}")
}

fn version(arn: &str, token: Option<String>, value: Stored, now: i64) -> Version {
    let made = || uuid::Builder::from_md5_bytes(digest(&format!("{arn}/{now}"))).into_uuid();
    let id = token.unwrap_or_else(|| made().to_string());
    Version {
        id,
        value,
        created_at_ms: now,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of our time are far below 2^53"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn entry(name: &str, secret: &Secret) -> Value {
    let stages = [(&secret.current, CURRENT), (&secret.previous, PREVIOUS)];
    let versions: BTreeMap<&str, [&str; 1]> = stages
        .into_iter()
        .filter_map(|(version, stage)| Some((version.as_ref()?.id.as_str(), [stage])))
        .collect();
    json!({
        "ARN": secret.arn,
        "Name": name,
        "Description": secret.description,
        "CreatedDate": seconds(secret.created_at_ms),
        "LastChangedDate": seconds(secret.changed_at_ms),
        "DeletedDate": secret.deleted_at_ms.map(seconds),
        "SecretVersionsToStages": versions,
    })
}

/// Replaces a file whole: a reader, or a killed process, sees the old or the new content.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // Left by a killed process. Removed, since the mode is only set when a file is made.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// The secrets as a handler of whole requests.
#[must_use]
pub fn handler(secrets: SecretsManager) -> Handler {
    Arc::new(move |request| {
        let target = request
            .headers()
            .get("x-amz-target")
            .and_then(|v| v.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix("secretsmanager."));
        let result = secrets.call(operation.unwrap_or_default(), request.body());
        let (status, body) = match result {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => {
                let ours = matches!(error, SecretsError::File(_) | SecretsError::Stored(_));
                if ours {
                    tracing::error!(error = &error as &dyn std::error::Error, "secrets failed");
                }
                let status = if ours {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    StatusCode::BAD_REQUEST
                };
                (
                    status,
                    json!({"__type": error.shape(), "Message": error.to_string()}),
                )
            }
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/x-amz-json-1.1");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, json);
        Box::pin(async { Ok(response) })
    })
}

#[cfg(test)]
mod tests;
