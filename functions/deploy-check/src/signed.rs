//! The calls of AWS that the check needs, signed here: their clients would be the larger part
//! of the function.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use runtime::{Clock, Settings, SettingsError};
use serde_json::{Value, json};

use crate::NewVersion;

/// The version of CodeDeploy's API.
const CODEDEPLOY: &str = "CodeDeploy_20141006";
/// The time limit of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A call of AWS failed.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// A setting is missing or invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The request can't be signed.
    #[error("the request cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service did not respond.
    #[error("{service} did not respond")]
    Call {
        /// The service.
        service: &'static str,
        /// The reason.
        #[source]
        source: reqwest::Error,
    },
    /// The service refused.
    #[error("{service} responded {status}: {body}")]
    Refused {
        /// The service.
        service: &'static str,
        /// The HTTP status.
        status: u16,
        /// The response.
        body: String,
    },
    /// The invoked function failed.
    #[error("the function failed: {0}")]
    Function(String),
}

/// A client of Lambda and CodeDeploy.
pub struct SignedCalls {
    client: reqwest::Client,
    identity: Identity,
    region: String,
    lambda_url: String,
    codedeploy_url: String,
    clock: Clock,
}

impl SignedCalls {
    /// Reads keys, region and addresses from the environment. A call may take `timeout`.
    ///
    /// # Errors
    /// [`AwsError`] if a setting is missing, or TLS can't be set up.
    pub fn load(settings: &Settings, clock: Clock, timeout: Duration) -> Result<Self, AwsError> {
        let region = settings.required("AWS_REGION")?;
        let url = |service: &str, setting: &str| {
            let usual = format!("https://{service}.{region}.amazonaws.com");
            settings.optional(setting).unwrap_or(usual)
        };
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .build();
        let credentials = Credentials::new(
            settings.required("AWS_ACCESS_KEY_ID")?,
            settings.required("AWS_SECRET_ACCESS_KEY")?,
            settings.optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Ok(Self {
            client: client.map_err(|source| AwsError::Call {
                service: "TLS",
                source,
            })?,
            identity: credentials.into(),
            lambda_url: url("lambda", "AWS_ENDPOINT_URL_LAMBDA"),
            codedeploy_url: url("codedeploy", "AWS_ENDPOINT_URL_CODEDEPLOY"),
            region,
            clock,
        })
    }

    /// Invokes a version and returns its answer.
    ///
    /// # Errors
    /// [`AwsError`], also if the function failed.
    pub async fn invoke(&self, version: &NewVersion, event: &Value) -> Result<Value, AwsError> {
        let base = &self.lambda_url;
        let NewVersion {
            name,
            target_version,
        } = version;
        let url =
            format!("{base}/2015-03-31/functions/{name}/invocations?Qualifier={target_version}");
        let response = self.post("lambda", &url, &[], event).await?;
        let failed = response.headers().contains_key("x-amz-function-error");
        let body = text("lambda", response).await?;
        if failed {
            return Err(AwsError::Function(body));
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// Returns what a deployment does: the content of its AppSpec.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn deployed(&self, deployment: &str) -> Result<String, AwsError> {
        let question = json!({ "deploymentId": deployment });
        let answer = self.codedeploy("GetDeployment", &question).await?;
        let revision = answer.pointer("/deploymentInfo/revision");
        // The member was renamed; which of them is set depends on who began the deployment.
        let content = ["/appSpecContent/content", "/string/content"];
        let mut content = content.iter().filter_map(|path| revision?.pointer(path));
        let content = content.next().and_then(Value::as_str);
        Ok(content.unwrap_or_default().to_owned())
    }

    /// Answers a hook.
    ///
    /// # Errors
    /// [`AwsError`]
    pub async fn put_hook_status(&self, answer: &Value) -> Result<(), AwsError> {
        let operation = "PutLifecycleEventHookExecutionStatus";
        self.codedeploy(operation, answer).await.map(|_| ())
    }

    async fn codedeploy(&self, operation: &str, question: &Value) -> Result<Value, AwsError> {
        let target = format!("{CODEDEPLOY}.{operation}");
        let headers = [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
        ];
        let url = format!("{}/", self.codedeploy_url);
        let response = self.post("codedeploy", &url, &headers, question).await?;
        let answer = text("codedeploy", response).await?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    async fn post(
        &self,
        service: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<reqwest::Response, AwsError> {
        let body = body.to_string();
        let millis = u64::try_from(self.clock.now().as_millis()).unwrap_or(0);
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| AwsError::Sign(error.into()))?;
        let signable = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", url, headers.iter().copied(), signable)
            .map_err(|error| AwsError::Sign(error.into()))?;
        let signed = sign(request, &params.into()).map_err(|error| AwsError::Sign(error.into()))?;
        let mut request = self.client.post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in signed.output().headers() {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await;
        response.map_err(|source| AwsError::Call { service, source })
    }
}

/// Returns the body of a successful response.
async fn text(service: &'static str, response: reqwest::Response) -> Result<String, AwsError> {
    let status = response.status();
    let body = response.text().await;
    let body = body.map_err(|source| AwsError::Call { service, source })?;
    match status.is_success() {
        true => Ok(body),
        false => Err(AwsError::Refused {
            service,
            status: status.as_u16(),
            body,
        }),
    }
}
