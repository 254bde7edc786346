//! The secret that contains a connection's credentials.

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use domain::Timestamp;

use crate::{BoundCredentials, DriveError, Kind};

const METHOD: &str = "secretsmanager.GetSecretValue";

/// A secret of Secrets Manager with the credentials of a connection.
#[derive(Clone)]
pub(crate) struct CredentialsSecret {
    pub(crate) secrets: aws_sdk_secretsmanager::Client,
    pub(crate) secret_id: String,
    /// The configured Drive.
    pub(crate) drive_url: std::sync::Arc<str>,
}

/// Credentials as they were read.
pub(crate) struct Loaded {
    pub(crate) secret: BoundCredentials,
    /// The id of the secret's version.
    pub(crate) version: Option<String>,
    /// The time at which they were read.
    pub(crate) read_at: Timestamp,
}

impl CredentialsSecret {
    /// Returns whether the secret may be read; it need not exist.
    pub(crate) async fn may_read(&self) -> Result<(), DriveError> {
        let request = self.secrets.get_secret_value().secret_id(&self.secret_id);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads the current credentials, and the version of the secret that has them.
    pub(crate) async fn read(&self, now: Timestamp) -> Result<Loaded, DriveError> {
        let request = self.secrets.get_secret_value().secret_id(&self.secret_id);
        let answer = request.send().await.map_err(failed)?;
        let text = answer.secret_string().unwrap_or_default();
        let secret = BoundCredentials::parse(text, &self.drive_url)
            .map_err(|refused| unusable(METHOD, refused))?;
        Ok(Loaded {
            secret,
            version: answer.version_id().map(str::to_owned),
            read_at: now,
        })
    }
}

/// Returns the error for invalid credentials, which no retry can fix.
pub(crate) fn unusable(method: &'static str, refused: crate::InvalidCredentials) -> DriveError {
    let reason = "credentialsUnusable".to_owned();
    DriveError::new(method, Kind::AuthLost { reason }).with_source(refused)
}

fn failed(error: SdkError<GetSecretValueError>) -> DriveError {
    let code = error.code().unwrap_or_default().to_owned();
    let kind = match code.as_str() {
        // Missing, scheduled for deletion, encrypted with an unusable key, or not readable: a
        // person must act. Nothing was sent to Drive in any case.
        "ResourceNotFoundException"
        | "InvalidRequestException"
        | "InvalidParameterException"
        | "DecryptionFailure"
        | "AccessDeniedException" => Kind::AuthLost {
            reason: code.clone(),
        },
        _ => Kind::NotSent,
    };
    let reason = (!code.is_empty()).then_some(code);
    let failed = DriveError::new(METHOD, kind).with_reason(reason);
    if matches!(error, SdkError::ResponseError(_)) {
        // A success that the SDK can't parse: the source contains the whole response, so the
        // secret.
        return failed;
    }
    failed.with_source(error)
}
