//! Signatures of requests, version 4: who calls a service over a socket has the keys.
//!
//! S3 checks signatures by itself. For the services with JSON protocols a request is signed again
//! as AWS's own library does it, and the signatures are compared.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use sdk_in_process::{Handler, json_response};
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;

use super::Clock;

/// The access key. It is no secret, and unfinished uploads are stored with it.
pub const ACCESS_KEY: &str = "drivesync";
/// The difference between the date of a request and the clock that AWS accepts.
const SKEW_MAX: Duration = Duration::from_mins(15);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";

/// The keys of the services of one process. The access key is always [`ACCESS_KEY`].
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    secret_key: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Draws a secret key.
    ///
    /// # Errors
    /// The operating system provides no randomness.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        let secret_key = hex::encode(bytes);
        Ok(Self { secret_key })
    }

    /// Returns the secret key.
    #[must_use]
    pub fn expose_secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Returns the keys as credentials of an SDK's client.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::new(ACCESS_KEY, &self.secret_key, None, None, "local")
    }
}

/// The reason why a request is refused, in AWS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("Missing Authentication Token")]
    Missing,
    #[error("The Authorization header is not of Signature Version 4, or lacks a part.")]
    Incomplete,
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    #[error("Credential should be scoped to the called service.")]
    Scope,
    #[error("Host and every X-Amz- header have to be signed.")]
    Unsigned,
    #[error("Signature not yet current or expired: the date is not within 15 minutes of now.")]
    Expired,
    #[error("The request signature we calculated does not match the signature you provided.")]
    Wrong,
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Scope | Self::Unsigned | Self::Expired | Self::Wrong => {
                "InvalidSignatureException"
            }
        }
    }
}

/// Returns a handler that passes on what is signed for `service` with these keys, within a quarter
/// of an hour of the clock, and answers 403 to anything else.
pub(super) fn checked(
    handler: Handler,
    service: &'static str,
    keys: Keys,
    clock: Clock,
) -> Handler {
    std::sync::Arc::new(move |request| {
        let refusal = match check(&request, service, &keys, clock()) {
            Ok(()) => return handler(request),
            Err(refusal) => refusal,
        };
        let body = serde_json::json!({
            "__type": refusal.code(), "message": refusal.to_string(),
        });
        let response = json_response(StatusCode::FORBIDDEN, body.to_string());
        Box::pin(async { Ok(response) })
    })
}

/// The parts of an `Authorization` header.
struct Authorization<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let members = text.strip_prefix(ALGORITHM)?;
        let member = |name: &str| {
            let mut pairs = members
                .split(',')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let scope: Vec<&str> = member("Credential")?.split('/').collect();
        let [access_key, date, region, service, "aws4_request"] = scope[..] else {
            return None;
        };
        Some(Self {
            access_key,
            date,
            region,
            service,
            signed_headers: member("SignedHeaders")?.split(';').collect(),
            signature: member("Signature")?,
        })
    }

    fn signs(&self, name: &str) -> bool {
        self.signed_headers.contains(&name)
    }
}

fn check(request: &Request<Bytes>, service: &str, keys: &Keys, now_ms: i64) -> Result<(), Refusal> {
    let headers = request.headers();
    let text = single(headers, header::AUTHORIZATION.as_str()).ok_or(Refusal::Missing)?;
    let sent = Authorization::parse(text).ok_or(Refusal::Incomplete)?;
    if sent.access_key != ACCESS_KEY {
        return Err(Refusal::UnknownKey);
    }
    if sent.service != service {
        return Err(Refusal::Scope);
    }
    let mut named = headers.keys().map(header::HeaderName::as_str);
    if !sent.signs("host") || named.any(|name| name.starts_with("x-amz-") && !sent.signs(name)) {
        return Err(Refusal::Unsigned);
    }
    let date = single(headers, DATE).ok_or(Refusal::Incomplete)?;
    let time = parse_date(date).ok_or(Refusal::Incomplete)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms.unsigned_abs());
    let skew = now
        .duration_since(time)
        .or_else(|_| time.duration_since(now));
    if !date.starts_with(sent.date) || skew.is_ok_and(|skew| skew > SKEW_MAX) {
        return Err(Refusal::Expired);
    }
    let signature = signature(request, &sent, keys, time).ok_or(Refusal::Wrong)?;
    if bool::from(signature.as_bytes().ct_eq(sent.signature.as_bytes())) {
        Ok(())
    } else {
        Err(Refusal::Wrong)
    }
}

/// Returns the signature that the request would have if it was signed with these keys.
fn signature(
    request: &Request<Bytes>,
    sent: &Authorization<'_>,
    keys: &Keys,
    time: SystemTime,
) -> Option<String> {
    let identity = Identity::from(keys.credentials());
    // Exactly the headers that the sender has signed.
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(sent.region)
        .name(sent.service)
        .time(time)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let headers = request.headers().iter();
    let signed = headers.filter(|(name, _)| sent.signs(name.as_str()));
    let signed: Option<Vec<(&str, &str)>> = signed
        .map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let path = request.uri().path_and_query()?.as_str();
    let body = SignableBody::Bytes(request.body());
    let signable = SignableRequest::new(request.method().as_str(), path, signed?.into_iter(), body);
    let (_, signature) = sign(signable.ok()?, &params).ok()?.into_parts();
    Some(signature)
}

/// Returns the text of a header that is sent once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    HeaderValue::to_str(value).ok()
}

/// Parses the date of a signature, `20261130T121500Z`.
fn parse_date(text: &str) -> Option<SystemTime> {
    let format =
        time::format_description::parse_borrowed::<2>("[year][month][day]T[hour][minute][second]Z");
    let parsed = PrimitiveDateTime::parse(text, &format.ok()?).ok()?;
    Some(parsed.assume_utc().into())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use sdk_in_process::{Body, InProcess};

    use super::*;
    use crate::aws::{clients, system_clock};

    const MINUTE_MS: i64 = 60_000;

    /// Returns a request as the SDK's client signs it with these keys.
    async fn signed(keys: &Keys) -> Request<Bytes> {
        let seen = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&seen);
        let handler: Handler = Arc::new(move |request: Request<Bytes>| {
            *tell.lock().unwrap() = Some(request);
            let body = serde_json::json!({"SecretString": "s"}).to_string();
            Box::pin(async { Ok(http::Response::new(Body::from(body))) })
        });
        let client = clients::secrets("http://127.0.0.1:3005", keys, InProcess::new(handler));
        let get = client.get_secret_value().secret_id("drivesync/local/drive");
        get.send().await.unwrap();
        let mut request = seen.lock().unwrap().take().unwrap();
        // A socket states the host in a header, which the SDK signs.
        let host = HeaderValue::from_static("127.0.0.1:3005");
        request.headers_mut().insert(header::HOST, host);
        request
    }

    fn changed(request: &Request<Bytes>, name: &str, value: &str) -> Request<Bytes> {
        let mut request = request.clone();
        let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    }

    #[tokio::test]
    async fn only_an_unchanged_request_with_these_keys_passes() {
        let keys = Keys::random().unwrap();
        let now = system_clock()();
        let request = signed(&keys).await;
        let judge = |request: &Request<Bytes>| check(request, "secretsmanager", &keys, now);
        assert_eq!(judge(&request), Ok(()));
        let others = Keys::random().unwrap();
        assert_eq!(judge(&signed(&others).await), Err(Refusal::Wrong));

        let mut body = request.clone();
        *body.body_mut() = Bytes::from_static(br#"{"SecretId":"drivesync/other/drive"}"#);
        assert_eq!(judge(&body), Err(Refusal::Wrong));
        let target = "secretsmanager.PutSecretValue";
        let target = changed(&request, "x-amz-target", target);
        assert_eq!(judge(&target), Err(Refusal::Wrong));
        let host = changed(&request, "host", "evil.example");
        assert_eq!(judge(&host), Err(Refusal::Wrong));
        let more = changed(&request, "x-amz-more", "1");
        assert_eq!(judge(&more), Err(Refusal::Unsigned));

        let text = request.headers()[header::AUTHORIZATION].to_str().unwrap();
        let with = |text: &str| judge(&changed(&request, "authorization", text));
        let unhosted = text.replace("host;", "");
        assert_eq!(with(&unhosted), Err(Refusal::Unsigned));
        let named = text.replace(ACCESS_KEY, "test");
        assert_eq!(with(&named), Err(Refusal::UnknownKey));
        let scoped = text.replace("/secretsmanager/", "/dynamodb/");
        assert_eq!(with(&scoped), Err(Refusal::Scope));
        for text in [
            "",
            "Bearer x",
            ALGORITHM,
            "AWS4-HMAC-SHA256 Credential=drivesync",
        ] {
            assert_eq!(with(text), Err(Refusal::Incomplete), "{text}");
        }
        let mut bare = request.clone();
        bare.headers_mut().remove(header::AUTHORIZATION);
        assert_eq!(judge(&bare), Err(Refusal::Missing));
    }

    #[tokio::test]
    async fn a_signature_holds_for_a_quarter_of_an_hour() {
        let keys = Keys::random().unwrap();
        let now = system_clock()();
        let request = signed(&keys).await;
        for (minutes, expected) in [
            (-16, Err(Refusal::Expired)),
            (-14, Ok(())),
            (14, Ok(())),
            (16, Err(Refusal::Expired)),
        ] {
            let at = now + minutes * MINUTE_MS;
            assert_eq!(
                check(&request, "secretsmanager", &keys, at),
                expected,
                "{minutes}"
            );
        }
    }
}
