//! Requests with an `Idempotency-Key`: a repeat is answered, not carried out again.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Request;
use sha2::{Digest, Sha256};

use crate::http::auth::Caller;
use crate::http::problem::{Kind, Problem};

/// The longest `Idempotency-Key` that is accepted, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Marks the response to a request that had been carried out before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Reads a request's `Idempotency-Key` in the form that is stored: a digest of the caller and the
/// key, and a digest of `content`, which identifies the request itself.
pub(crate) fn keyed_request(
    headers: &HeaderMap,
    caller: &Caller,
    content: &[&str],
) -> Result<Option<Request>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Two keys name two requests: a repeat would be ambiguous.
    if values.next().is_some() {
        let detail = "send only one Idempotency-Key";
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let key = value.as_bytes();
    let graphic = key.iter().all(|byte| (b' '..=b'~').contains(byte));
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !graphic {
        let detail = format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} ASCII characters");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let content: Vec<&[u8]> = content.iter().map(|part| part.as_bytes()).collect();
    Ok(Some(Request {
        key: digest(&[caller.subject.as_bytes(), key]),
        digest: digest(&content),
    }))
}

/// Returns whether a request is the same as the last one that was carried out.
///
/// # Errors
/// 422 if the same key came with another request.
pub(crate) fn is_replay(
    request: Option<&Request>,
    last: Option<&Request>,
) -> Result<bool, Problem> {
    match (request, last) {
        (Some(request), Some(last)) if request.key == last.key => {
            if request.digest == last.digest {
                return Ok(true);
            }
            let detail = "the key has been used for another request";
            Err(Problem::new(Kind::KeyReused, detail))
        }
        (Some(_) | None, Some(_) | None) => Ok(false),
    }
}

/// Marks a response as the answer to a repeat.
pub(crate) fn mark_replayed(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
}

/// Returns a short digest of some byte strings, unambiguous because it includes their lengths.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_of_another_caller_is_another_key() {
        let caller = |subject: &str| Caller {
            tenant: domain::TenantId::parse("acme").unwrap(),
            subject: subject.to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", "k".parse().unwrap());
        let keyed = |subject: &str, content: &str| {
            let request = keyed_request(&headers, &caller(subject), &[content]);
            request.unwrap().unwrap()
        };
        let (ada, eve) = (keyed("ada", "x"), keyed("eve", "x"));
        assert_ne!(ada.key, eve.key);
        assert!(is_replay(Some(&ada), Some(&ada)).unwrap());
        assert!(!is_replay(Some(&ada), Some(&eve)).unwrap());
        let reused = is_replay(Some(&keyed("ada", "y")), Some(&ada)).unwrap_err();
        assert_eq!(reused.status(), 422);
    }
}
