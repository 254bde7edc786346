//! What a request says, checked before a handler sees it: path, query, body, idempotency key.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConflictId, ConnectionId, ConnectionKey, FileId, OperationId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use store::PageRequest;

use crate::auth::Caller;
use crate::problem::{Kind, Problem, pointer_part};
use crate::{Deps, conflict_id};

/// The largest body that is read, in bytes. The largest that makes sense is a hundred resolutions.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;
/// The longest `Idempotency-Key` that is taken, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Items on a page, unless the caller asks for another number.
const LIMIT_DEFAULT: u32 = 100;

/// A connection of the caller's, by the path. Whether it exists is not known yet.
pub(crate) struct ConnectionPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
}

/// A file of one of the caller's connections, by the path.
pub(crate) struct FilePath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) file: FileId,
}

/// A stored version of a file, by the path.
pub(crate) struct VersionPath {
    pub(crate) at: FilePath,
    /// `None` where it is no number, and so no version's.
    pub(crate) number: Option<u32>,
}

/// An upload of a file's content, by the path.
pub(crate) struct UploadPath {
    pub(crate) at: FilePath,
    /// As the path has it: whether there is such an upload is not known yet.
    pub(crate) upload: String,
}

/// A conflict in one of the caller's connections, by the path.
pub(crate) struct ConflictPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: ConflictId,
}

/// An operation of one of the caller's connections, by the path.
pub(crate) struct OperationPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: OperationId,
}

/// The caller first: without a tenant, no path is worth a look.
async fn path(
    parts: &mut Parts,
    deps: &Arc<Deps>,
) -> Result<(Caller, ConnectionKey, HashMap<String, String>), Problem> {
    let caller = Caller::from_request_parts(parts, deps).await?;
    let params = Path::<HashMap<String, String>>::from_request_parts(parts, deps).await;
    let Path(params) = params.map_err(|_| Problem::not_found("the path"))?;
    let connection = params.get("connection").map(String::as_str).unwrap_or("");
    let connection =
        ConnectionId::parse(connection).map_err(|_| Problem::not_found("the connection"))?;
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection,
    };
    Ok((caller, key, params))
}

async fn file_path(
    parts: &mut Parts,
    deps: &Arc<Deps>,
) -> Result<(FilePath, HashMap<String, String>), Problem> {
    let (caller, key, params) = path(parts, deps).await?;
    let file = FileId::parse(param(&params, "file"));
    let file = file.map_err(|_| Problem::not_found("the file"))?;
    Ok((FilePath { caller, key, file }, params))
}

fn param<'a>(params: &'a HashMap<String, String>, name: &str) -> &'a str {
    params.get(name).map(String::as_str).unwrap_or("")
}

impl FromRequestParts<Arc<Deps>> for ConnectionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let (caller, key, _) = path(parts, deps).await?;
        Ok(Self { caller, key })
    }
}

impl FromRequestParts<Arc<Deps>> for FilePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        file_path(parts, deps).await.map(|(at, _)| at)
    }
}

impl FromRequestParts<Arc<Deps>> for VersionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let (at, params) = file_path(parts, deps).await?;
        let number = param(&params, "version").parse().ok();
        Ok(Self { at, number })
    }
}

impl FromRequestParts<Arc<Deps>> for UploadPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let (at, params) = file_path(parts, deps).await?;
        let upload = param(&params, "upload");
        let ours = upload.len() == 32 && upload.bytes().all(|byte| byte.is_ascii_hexdigit());
        // What is no id of ours names nothing, and must not reach a key.
        let upload = if ours { upload } else { "none" }.to_ascii_lowercase();
        Ok(Self { at, upload })
    }
}

impl FromRequestParts<Arc<Deps>> for ConflictPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let (caller, key, params) = path(parts, deps).await?;
        let id = conflict_id::parse(param(&params, "conflict"));
        let id = id.ok_or_else(|| Problem::not_found("the conflict"))?;
        Ok(Self { caller, key, id })
    }
}

impl FromRequestParts<Arc<Deps>> for OperationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let (caller, key, params) = path(parts, deps).await?;
        let id = OperationId::parse(param(&params, "operation"));
        let id = id.map_err(|_| Problem::not_found("the operation"))?;
        Ok(Self { caller, key, id })
    }
}

/// The query, strictly: a parameter that we don't know is a mistake that would otherwise go unseen.
/// `T` must deny unknown fields.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Deps>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Deps>) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|rejection| Problem::new(Kind::MalformedRequest, rejection.body_text()))
    }
}

/// The page that a query asks for.
pub(crate) fn page(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > PageRequest::LIMIT_MAX {
        let detail = format!("limit must be 1 to {}", PageRequest::LIMIT_MAX);
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    Ok(PageRequest { limit, cursor })
}

/// A JSON object as the body, and a digest of its very bytes.
pub(crate) struct JsonBody {
    pub(crate) members: Map<String, Json>,
    pub(crate) digest: String,
}

impl FromRequest<Arc<Deps>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Deps>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        let bytes = read(body).await?;
        let json: Json = serde_json::from_slice(&bytes).map_err(|error| {
            let detail = format!(
                "not JSON at line {}, column {}",
                error.line(),
                error.column()
            );
            Problem::new(Kind::MalformedBody, detail)
        })?;
        match json {
            Json::Object(members) => Ok(Self {
                members,
                digest: digest(&[&bytes]),
            }),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Err(Problem::new(Kind::MalformedBody, "the body must be a JSON object").at(""))
            }
        }
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or("")
        .split(';')
        .next()
        .unwrap_or("")
        .trim();
    let known = ["application/json", "application/merge-patch+json"];
    if known
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    let detail = "send Content-Type: application/json, or application/merge-patch+json to PATCH";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("a body may have {BODY_BYTES_MAX} bytes");
        Problem::new(Kind::BodyTooLarge, detail)
    })
}

/// Reads members into a type of ours that denies unknown fields; what is wrong is pointed at.
pub(crate) fn typed<T: DeserializeOwned>(json: Json, pointer: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let mut at = pointer.to_owned();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => at.push_str(&format!("/{index}")),
                serde_path_to_error::Segment::Map { key } => {
                    at.push('/');
                    at.push_str(&pointer_part(key));
                }
                // A variant is no member, and what is unknown has no name.
                serde_path_to_error::Segment::Enum { .. }
                | serde_path_to_error::Segment::Unknown => {}
            }
        }
        Problem::new(Kind::MemberNotAllowed, error.inner().to_string()).at(at)
    })
}

/// The request's `Idempotency-Key` as it is kept: with whose it is, and a digest of what was asked.
pub(crate) fn idempotency(
    headers: &HeaderMap,
    caller: &Caller,
    asked: &[&str],
) -> Result<Option<domain::Request>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Two keys name two requests: which one a repeat means could not be told.
    if values.next().is_some() {
        let detail = "only one Idempotency-Key is possible";
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let key = value.as_bytes();
    let graphic = key.iter().all(|byte| (b' '..=b'~').contains(byte));
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX || !graphic {
        let detail =
            format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} ASCII characters");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let asked: Vec<&[u8]> = asked.iter().map(|part| part.as_bytes()).collect();
    Ok(Some(domain::Request {
        key: digest(&[caller.subject.as_bytes(), key]),
        digest: digest(&asked),
    }))
}

/// What an earlier request means for one with an idempotency key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It is not the same.
    New,
    /// It was done already.
    Replayed,
}

/// Compares a request with the last one that was done.
pub(crate) fn repeat(
    asked: Option<&domain::Request>,
    last: Option<&domain::Request>,
) -> Result<Repeat, Problem> {
    match (asked, last) {
        (Some(asked), Some(last)) if asked.key == last.key => {
            if asked.digest == last.digest {
                Ok(Repeat::Replayed)
            } else {
                let detail = "the same key came with another request before";
                Err(Problem::new(Kind::KeyReused, detail))
            }
        }
        (Some(_) | None, Some(_) | None) => Ok(Repeat::New),
    }
}

/// A short digest of some texts, told apart by their lengths.
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
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Outer {
        inner: Option<Inner>,
        list: Option<Vec<u8>>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Inner {
        number: u8,
    }

    fn pointer(json: &str) -> String {
        let problem = typed::<Outer>(serde_json::from_str(json).unwrap(), "").unwrap_err();
        assert_eq!(problem.status(), 422);
        problem.body().pointer().unwrap().to_owned()
    }

    #[test]
    fn what_is_wrong_in_a_body_is_pointed_at() {
        assert_eq!(pointer(r#"{"inner":{"number":"x"}}"#), "/inner/number");
        assert_eq!(pointer(r#"{"inner":{"number":1,"a/b":2}}"#), "/inner/a~1b");
        assert_eq!(pointer(r#"{"colour":"red"}"#), "/colour");
        assert_eq!(pointer(r#"{"list":[1,-1]}"#), "/list/1");
    }

    #[test]
    fn the_same_key_of_another_person_is_another_key() {
        let caller = |subject: &str| Caller {
            tenant: domain::TenantId::parse("acme").unwrap(),
            subject: subject.to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", "k".parse().unwrap());
        let ada = idempotency(&headers, &caller("ada"), &["x"])
            .unwrap()
            .unwrap();
        let eve = idempotency(&headers, &caller("eve"), &["x"])
            .unwrap()
            .unwrap();
        assert_ne!(ada.key, eve.key);
        assert_eq!(repeat(Some(&ada), Some(&ada)).unwrap(), Repeat::Replayed);
        assert_eq!(repeat(Some(&ada), Some(&eve)).unwrap(), Repeat::New);
        let other = idempotency(&headers, &caller("ada"), &["y"]).unwrap();
        let reused = repeat(other.as_ref(), Some(&ada)).unwrap_err();
        assert_eq!(reused.status(), 422);
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        assert_eq!(page(None, None).unwrap().limit, 100);
        assert_eq!(page(Some(1_000), None).unwrap().limit, 1_000);
        for bad in [0, 1_001] {
            assert_eq!(page(Some(bad), None).unwrap_err().status(), 400);
        }
    }
}
