//! The secret that contains the root key.

use std::sync::Arc;

use aws_sdk_secretsmanager::Client;
use tokio::sync::OnceCell;

use crate::RootKey;

/// The secret of Secrets Manager whose text is the root key of all signing secrets. It is read
/// once.
#[derive(Debug, Clone)]
pub struct RootSecret {
    secrets: Client,
    id: String,
    key: Arc<OnceCell<RootKey>>,
}

/// The root key can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Secrets Manager refuses, or does not answer. The cause is left out where it has the secret.
    #[error("the root key of webhooks can't be read")]
    Unread(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The secret has fewer than 32 bytes.
    #[error("the root key of webhooks is too short")]
    Short,
}

impl RootSecret {
    /// Names the secret, by its name or its ARN.
    #[must_use]
    pub fn new(secrets: Client, id: impl Into<String>) -> Self {
        Self {
            secrets,
            id: id.into(),
            key: Arc::default(),
        }
    }

    /// Returns the root key.
    ///
    /// # Errors
    /// [`RootKeyError`]
    pub async fn key(&self) -> Result<RootKey, RootKeyError> {
        let key = self.key.get_or_try_init(|| self.read()).await?;
        Ok(key.clone())
    }

    async fn read(&self) -> Result<RootKey, RootKeyError> {
        let request = self.secrets.get_secret_value().secret_id(&self.id);
        let answer = Box::pin(request.send()).await.map_err(|error| {
            // A success that can't be parsed: the source contains the whole response.
            let is_response = matches!(
                error,
                aws_sdk_secretsmanager::error::SdkError::ResponseError(_)
            );
            RootKeyError::Unread((!is_response).then(|| error.into()))
        })?;
        let text = answer.secret_string().unwrap_or_default();
        RootKey::new(text).ok_or(RootKeyError::Short)
    }
}
