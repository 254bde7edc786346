//! Requests for content: their responses are streamed, and redirects are followed.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::calls::request::{Call, ambiguous, invalid_request, no_response, token_rejected};
use crate::failure::classify::{CallContext, classify};
use crate::{ContentBody, DriveClient, DriveError, Kind, Secret};

/// The most bytes that are read of an error body. Google's have a few hundred.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The most redirects that are followed for one request.
const REDIRECTS_MAX: usize = 5;
/// The domains that Google's access tokens may be sent to.
const GOOGLE: [&str; 3] = ["googleapis.com", "google.com", "googleusercontent.com"];

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
enum BadRedirect {
    #[error("a redirect without an address")]
    Nowhere,
    #[error("a redirect to another server without HTTPS")]
    Unsafe,
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
}

impl DriveClient {
    /// Makes a call whose response is content. Returns a 2xx response with its body still to be
    /// read, or the error. After a 401 the call is made once more with a new access token;
    /// redirects are followed.
    pub(crate) async fn open(
        &self,
        call: &Call,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let token = self.token().await?;
        let refused = match self.open_once(call, &token).await {
            Err(error) if token_rejected(&error) => error,
            outcome => return outcome,
        };
        match self.replacement_for(&token).await? {
            Some(token) => self.open_once(call, &token).await,
            None => Err(refused),
        }
    }

    /// Makes a call whose body is content, and returns the body of a 2xx response or the error.
    /// After a 401 the call is made once more with a new access token; a redirect is an error,
    /// since it would not carry the content.
    pub(crate) async fn send_content(&self, call: &Call) -> Result<Bytes, DriveError> {
        let token = self.token().await?;
        let refused = match self.send_content_once(call, &token).await {
            Err(error) if token_rejected(&error) => error,
            outcome => return outcome,
        };
        match self.replacement_for(&token).await? {
            Some(token) => self.send_content_once(call, &token).await,
            None => Err(refused),
        }
    }

    async fn send_content_once(&self, call: &Call, token: &Secret) -> Result<Bytes, DriveError> {
        let context = call.context();
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        let answer = self.exchange(context, request).await?;
        whole(context, check_success(context, answer).await?.into_body()).await
    }

    async fn open_once(
        &self,
        call: &Call,
        token: &Secret,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let context = call.context();
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        self.send_following_redirects(context, request).await
    }

    /// Sends a request without a body, and follows redirects. The access token is sent only to the
    /// configured Drive and among Google's hosts.
    pub(crate) async fn send_following_redirects(
        &self,
        context: CallContext,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let mut at = Url::parse(&request.uri().to_string())
            .map_err(|error| invalid_request(context.method, error))?;
        for _ in 0..=REDIRECTS_MAX {
            let (verb, mut headers) = (request.method().clone(), request.headers().clone());
            let answer = self.exchange(context, request).await?;
            if !answer.status().is_redirection() {
                return check_success(context, answer).await;
            }
            at = target(&at, answer.headers())
                .ok_or_else(|| ambiguous(context, BadRedirect::Nowhere))?;
            if !self.is_own(&at) {
                headers.remove(header::AUTHORIZATION);
                if at.scheme() != "https" {
                    return Err(ambiguous(context, BadRedirect::Unsafe));
                }
            }
            request = http::Request::builder()
                .method(verb)
                .uri(at.as_str())
                .body(Bytes::new())
                .map_err(|error| invalid_request(context.method, error))?;
            *request.headers_mut() = headers;
        }
        Err(ambiguous(context, BadRedirect::TooMany))
    }

    /// Sends a request through the content transport, and returns the response of any status.
    pub(crate) async fn exchange(
        &self,
        context: CallContext,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        (self.content)(request)
            .await
            .map_err(|error| no_response(context.method, error))
    }

    /// Returns whether an address belongs to the configured Drive, and so may receive its
    /// credentials.
    pub(crate) fn is_own(&self, address: &Url) -> bool {
        let Ok(base) = Url::parse(&self.base_url) else {
            return false;
        };
        address.origin() == base.origin() || (is_google(address) && is_google(&base))
    }
}

fn is_google(address: &Url) -> bool {
    let of = |host: &str, domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    address.scheme() == "https"
        && address.port().is_none()
        && address
            .host_str()
            .is_some_and(|host| GOOGLE.iter().any(|domain| of(host, domain)))
}

fn target(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    from.join(location).ok()
}

/// Returns a successful response, or classifies the error by its body.
async fn check_success(
    context: CallContext,
    answer: http::Response<ContentBody>,
) -> Result<http::Response<ContentBody>, DriveError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = head(body).await;
    Err(classify(context, parts.status, &parts.headers, &body))
}

/// Reads the beginning of a body, which is all of a short one. An interrupted body ends early.
pub(crate) async fn head(mut body: ContentBody) -> Bytes {
    let mut read = BytesMut::new();
    while let Some(Ok(piece)) = body.next().await {
        let room = ERROR_BYTES_MAX.saturating_sub(read.len());
        read.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        if read.len() == ERROR_BYTES_MAX {
            break;
        }
    }
    read.freeze()
}

/// Reads a whole body into memory: the JSON of a success.
///
/// # Errors
/// [`Kind::Unanswered`] if it is interrupted, or longer than any valid response.
pub(crate) async fn whole(
    context: CallContext,
    mut body: ContentBody,
) -> Result<Bytes, DriveError> {
    const BYTES_MAX: usize = 16 * 1024 * 1024;
    let mut read = BytesMut::new();
    while let Some(piece) = body.next().await {
        read.extend_from_slice(&piece.map_err(|error| no_response(context.method, error))?);
        if read.len() > BYTES_MAX {
            return Err(DriveError::new(context.method, Kind::Unanswered));
        }
    }
    Ok(read.freeze())
}

/// Returns whether the status is 416, range not satisfiable (RFC 9110, section 15.5.17).
pub(crate) fn is_range_not_satisfiable(error: &DriveError) -> bool {
    error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE.as_u16())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::Timestamp;

    use super::*;

    fn client(base: &str) -> DriveClient {
        let transport: crate::Transport = Arc::new(|_| panic!("nothing is sent"));
        let clock: crate::Clock = Arc::new(|| Timestamp::from_millis(0));
        DriveClient::with_token(transport, base, Secret::new("t".into()), clock)
    }

    #[test]
    fn tokens_are_sent_to_the_configured_drive_and_to_google_only() {
        let own = |base: &str, at: &str| client(base).is_own(&Url::parse(at).unwrap());
        let google = "https://www.googleapis.com";
        assert!(own(google, "https://www.googleapis.com/download"));
        assert!(own(google, "https://doc-0s.googleusercontent.com/x"));
        assert!(own("http://127.0.0.1:3001", "http://127.0.0.1:3001/x"));
        for foreign in [
            "http://www.googleapis.com/x",
            "https://www.googleapis.com:444/x",
            "https://evilgoogle.com/x",
            "https://googleapis.com.evil.test/x",
            "https://127.0.0.1/x",
        ] {
            assert!(!own(google, foreign), "{foreign}");
        }
        for foreign in ["http://127.0.0.1:3002/x", "https://www.googleapis.com/x"] {
            assert!(!own("http://127.0.0.1:3001", foreign), "{foreign}");
        }
    }
}
