//! Opening content: the one request that does not read its whole answer, and where it may be sent to.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::reasons::{Asked, classify};
use crate::request::{Call, expired, unanswered, unclear, unsendable};
use crate::{ContentBody, DriveClient, DriveError, Kind, Secret};

/// The most that is read of an error's body, in bytes. Google's are a few hundred.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The most redirects that are followed for one content.
const REDIRECTS_MAX: usize = 5;
/// The domains that may see Google's access tokens.
const GOOGLE: [&str; 3] = ["googleapis.com", "google.com", "googleusercontent.com"];

/// The answer sends us on, to where we don't go.
#[derive(Debug, thiserror::Error)]
enum Astray {
    #[error("a redirect without an address")]
    Nowhere,
    #[error("a redirect to what is neither HTTPS nor the Drive that was asked")]
    Unsafe,
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
}

impl DriveClient {
    /// Makes a call whose answer is content: the answer of a 2xx with its body still to come, or what went wrong. A 401
    /// is tried once more with a new access token; redirects are followed.
    pub(crate) async fn open(
        &self,
        call: &Call,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let token = self.tokens.token().await?;
        let refused = match self.open_once(call, &token).await {
            Err(error) if expired(&error) => error,
            outcome => return outcome,
        };
        match self.tokens.instead_of(&token).await? {
            Some(token) => self.open_once(call, &token).await,
            None => Err(refused),
        }
    }

    async fn open_once(
        &self,
        call: &Call,
        token: &Secret,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let asked = call.asked();
        let request = call.build(&self.base_url, self.quota_user.as_deref(), token)?;
        self.follow(asked, request).await
    }

    /// Sends a request that has no body, and goes where its answer says that the content is. The access token goes
    /// along only to the Drive that was asked, and among Google's own hosts.
    pub(crate) async fn follow(
        &self,
        asked: Asked,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        let mut at = Url::parse(&request.uri().to_string())
            .map_err(|error| unsendable(asked.method, error))?;
        for _ in 0..=REDIRECTS_MAX {
            let (verb, mut headers) = (request.method().clone(), request.headers().clone());
            let answer = self.exchange(asked, request).await?;
            if !answer.status().is_redirection() {
                return succeeded(asked, answer).await;
            }
            at = target(&at, answer.headers()).ok_or_else(|| unclear(asked, Astray::Nowhere))?;
            if !self.is_own(&at) {
                headers.remove(header::AUTHORIZATION);
                if at.scheme() != "https" {
                    return Err(unclear(asked, Astray::Unsafe));
                }
            }
            request = http::Request::builder()
                .method(verb)
                .uri(at.as_str())
                .body(Bytes::new())
                .map_err(|error| unsendable(asked.method, error))?;
            *request.headers_mut() = headers;
        }
        Err(unclear(asked, Astray::TooMany))
    }

    /// Sends a request through the door for content: its answer, whatever its status.
    pub(crate) async fn exchange(
        &self,
        asked: Asked,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<ContentBody>, DriveError> {
        (self.content)(request)
            .await
            .map_err(|error| unanswered(asked.method, error))
    }

    /// Whether an address is of the Drive that we talk to, so that it may see what only Drive may.
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

/// The answer, if it is one of success; else what its body says, as far as we read it.
async fn succeeded(
    asked: Asked,
    answer: http::Response<ContentBody>,
) -> Result<http::Response<ContentBody>, DriveError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body = head(body).await;
    Err(classify(asked, parts.status, &parts.headers, &body))
}

/// The beginning of a body, and all of a short one. One that breaks off ends there.
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

/// A whole body, in memory: the JSON of a success.
///
/// # Errors
/// [`Kind::Unanswered`] where it breaks off, or is longer than any that we know how to read.
pub(crate) async fn whole(asked: Asked, mut body: ContentBody) -> Result<Bytes, DriveError> {
    const BYTES_MAX: usize = 16 * 1024 * 1024;
    let mut read = BytesMut::new();
    while let Some(piece) = body.next().await {
        read.extend_from_slice(&piece.map_err(|error| unanswered(asked.method, error))?);
        if read.len() > BYTES_MAX {
            return Err(DriveError::new(asked.method, Kind::Unanswered));
        }
    }
    Ok(read.freeze())
}

/// Whether a status says that there is no such byte (RFC 9110, section 15.5.17).
pub(crate) fn is_past_the_end(error: &DriveError) -> bool {
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
    fn tokens_stay_with_the_drive_that_was_asked_and_with_google() {
        let own = |base: &str, at: &str| client(base).is_own(&Url::parse(at).unwrap());
        let google = "https://www.googleapis.com";
        assert!(own(google, "https://www.googleapis.com/download"));
        assert!(own(google, "https://doc-0s.googleusercontent.com/x"));
        assert!(own("http://127.0.0.1:3001", "http://127.0.0.1:3001/x"));
        for elsewhere in [
            "http://www.googleapis.com/x",
            "https://www.googleapis.com:444/x",
            "https://evilgoogle.com/x",
            "https://googleapis.com.evil.test/x",
            "https://127.0.0.1/x",
        ] {
            assert!(!own(google, elsewhere), "{elsewhere}");
        }
        for elsewhere in ["http://127.0.0.1:3002/x", "https://www.googleapis.com/x"] {
            assert!(!own("http://127.0.0.1:3001", elsewhere), "{elsewhere}");
        }
    }
}
