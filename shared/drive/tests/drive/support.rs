//! A scripted Drive and Secrets Manager, which record their requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use base64::Engine as _;
use bytes::Bytes;
use domain::Timestamp;
use drive::{Clock, DriveClient, Secret, Transport, TransportError};
use http::StatusCode;
use sdk_in_process::{InProcess, json_response};
use serde_json::{Value, json};

pub(crate) const BASE: &str = "https://drive.test";
/// 2026-11-21T09:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_251_600_000);

pub(crate) type Answer = Result<http::Response<Bytes>, TransportError>;

/// The recorded requests and the responses to come.
#[derive(Default)]
pub(crate) struct Fake {
    asked: Mutex<Vec<http::Request<Bytes>>>,
    answers: Mutex<VecDeque<Answer>>,
}

impl Fake {
    pub(crate) fn answering(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let fake = Arc::new(Self::default());
        fake.answers.lock().unwrap().extend(answers);
        fake
    }

    pub(crate) fn transport(self: &Arc<Self>) -> Transport {
        let fake = Arc::clone(self);
        Arc::new(move |request| {
            fake.asked.lock().unwrap().push(request);
            let answer = fake.answers.lock().unwrap().pop_front();
            Box::pin(async move { answer.expect("an unexpected call") })
        })
    }

    pub(crate) fn client(self: &Arc<Self>) -> DriveClient {
        DriveClient::with_token(self.transport(), BASE, Secret::new("t0ken".into()), clock())
    }

    pub(crate) fn asked(&self) -> Vec<http::Request<Bytes>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) fn only_request(&self) -> http::Request<Bytes> {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }
}

pub(crate) fn clock() -> Clock {
    Arc::new(|| NOW)
}

pub(crate) fn answer(status: u16, body: &Value) -> Answer {
    let body = Bytes::from(body.to_string());
    Ok(http::Response::builder().status(status).body(body).unwrap())
}

pub(crate) fn ok(body: &Value) -> Answer {
    answer(200, body)
}

/// An error in Google's format.
pub(crate) fn google_error(status: u16, reason: &str, location: Option<&str>) -> Answer {
    let mut detail = json!({"domain": "global", "reason": reason, "message": "SECRET name.pdf"});
    if let Some(location) = location {
        detail["location"] = json!(location);
        detail["locationType"] = json!("parameter");
    }
    let error = json!({"errors": [detail], "code": status, "message": "SECRET name.pdf"});
    answer(status, &json!({"error": error}))
}

pub(crate) fn fixture(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The parameters of a request, sorted by name.
pub(crate) fn query(request: &http::Request<Bytes>) -> Vec<(String, String)> {
    let pairs = url::form_urlencoded::parse(request.uri().query().unwrap_or("").as_bytes());
    let mut pairs: Vec<_> = pairs.into_owned().collect();
    pairs.sort();
    pairs
}

pub(crate) fn form(request: &http::Request<Bytes>, name: &str) -> Option<String> {
    url::form_urlencoded::parse(request.body())
        .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

/// Creates an RSA key: the private key in PEM, the public key in DER (PKCS #1).
pub(crate) fn rsa_key() -> (String, Vec<u8>) {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::KeyPair as _;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let name = "PRIVATE KEY";
    let pem = format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----\n",
        lines.join("\n")
    );
    (pem, pair.public_key().as_ref().to_vec())
}

/// A scripted Secrets Manager, which counts its reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeSecrets {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    reads: Arc<Mutex<u32>>,
}

impl FakeSecrets {
    pub(crate) fn holding(secrets: impl IntoIterator<Item = String>) -> Self {
        let fake = Self::default();
        for (number, secret) in secrets.into_iter().enumerate() {
            let version = format!("v{}", number + 1);
            let body = json!({"ARN": "arn:x", "Name": "n", "VersionId": version,
                "SecretString": secret});
            fake.answers
                .lock()
                .unwrap()
                .push_back((200, body.to_string()));
        }
        fake
    }

    pub(crate) fn failing(status: u16, code: &str) -> Self {
        let fake = Self::default();
        fake.fails(status, code);
        fake
    }

    /// Answers the next read with an error.
    pub(crate) fn fails(&self, status: u16, code: &str) {
        let body = json!({"__type": code, "message": "no"}).to_string();
        self.answers.lock().unwrap().push_back((status, body));
    }

    pub(crate) fn reads(&self) -> u32 {
        *self.reads.lock().unwrap()
    }

    pub(crate) fn client(&self) -> aws_sdk_secretsmanager::Client {
        let fake = self.clone();
        let http = InProcess::without_yield(Arc::new(move |_| {
            *fake.reads.lock().unwrap() += 1;
            let answer = fake.answers.lock().unwrap().pop_front();
            let (status, body) = answer.expect("one read too many");
            let status = StatusCode::from_u16(status).unwrap();
            Box::pin(async move { Ok(json_response(status, body)) })
        }));
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-north-1"))
            .credentials_provider(Credentials::new("id", "key", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(http)
            .build();
        aws_sdk_secretsmanager::Client::from_conf(config)
    }
}
