//! Query and body of a request, checked before a handler uses them.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use serde_path_to_error::Segment;
use store::PageRequest;
use utoipa::IntoParams;

use crate::Deps;
use crate::http::problem::{Kind, Problem, pointer_part};

/// The largest body that is read, in bytes: enough for a hundred resolutions.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Items on a page if the caller does not ask for another number.
const LIMIT_DEFAULT: u32 = 100;
/// The longest reason that is stored, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// The query, read strictly: an unknown parameter is refused, since it is a mistake that would go
/// unnoticed. `T` must deny unknown fields.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Deps>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Deps>) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|rejection| Problem::new(Kind::MalformedRequest, rejection.body_text()))
    }
}

/// The page of a list without filters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl PageQuery {
    pub(crate) fn page(self) -> Result<PageRequest, Problem> {
        page(self.limit, self.cursor)
    }
}

/// Returns the page that a query requests.
pub(crate) fn page(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > PageRequest::LIMIT_MAX {
        let detail = format!("limit must be 1 to {}", PageRequest::LIMIT_MAX);
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    Ok(PageRequest { limit, cursor })
}

/// A JSON object as the body.
pub(crate) struct JsonBody {
    pub(crate) members: Map<String, Json>,
}

impl JsonBody {
    /// Reads the members into a type that denies unknown fields.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Problem> {
        typed(Json::Object(self.members), "")
    }
}

impl FromRequest<Arc<Deps>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Deps>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        let bytes = read(body).await?;
        let json: Json = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail = format!("invalid JSON at line {line}, column {column}");
            Problem::new(Kind::MalformedBody, detail)
        })?;
        match json {
            Json::Object(members) => Ok(Self { members }),
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
    let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("");
    let known = ["application/json", "application/merge-patch+json"];
    let is_known = |known: &&str| essence.trim().eq_ignore_ascii_case(known);
    if known.iter().any(is_known) {
        return Ok(());
    }
    let detail = "send Content-Type: application/json, or application/merge-patch+json to PATCH";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body may have at most {BODY_BYTES_MAX} bytes");
        Problem::new(Kind::BodyTooLarge, detail)
    })
}

/// Reads JSON into a type that denies unknown fields. A problem points at the invalid member;
/// `pointer` is where the JSON stands in the body.
pub(crate) fn typed<T: DeserializeOwned>(json: Json, pointer: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let mut at = pointer.to_owned();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => at.push_str(&format!("/{index}")),
                Segment::Map { key } => {
                    at.push('/');
                    at.push_str(&pointer_part(key));
                }
                // A variant is not a member, and an unknown segment has no name.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        Problem::new(Kind::MemberNotAllowed, error.inner().to_string()).at(at)
    })
}

/// Checks the reason that a caller gives: one line. A blank one is dropped.
pub(crate) fn reason(text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.len() > REASON_BYTES_MAX || text.chars().any(char::is_control) => {
            let detail = format!("reason must be one line of at most {REASON_BYTES_MAX} bytes");
            Err(Problem::new(Kind::ValueNotAllowed, detail).at("/reason"))
        }
        text => Ok(text.filter(|text| !text.trim().is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are checked")]
    struct Outer {
        inner: Option<Inner>,
        list: Option<Vec<u8>>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are checked")]
    struct Inner {
        number: u8,
    }

    fn pointer(json: &str) -> String {
        let problem = typed::<Outer>(serde_json::from_str(json).unwrap(), "").unwrap_err();
        assert_eq!(problem.status(), 422);
        problem.body().pointer().unwrap().to_owned()
    }

    #[test]
    fn a_problem_points_at_the_invalid_member_of_a_body() {
        assert_eq!(pointer(r#"{"inner":{"number":"x"}}"#), "/inner/number");
        assert_eq!(pointer(r#"{"inner":{"number":1,"a/b":2}}"#), "/inner/a~1b");
        assert_eq!(pointer(r#"{"colour":"red"}"#), "/colour");
        assert_eq!(pointer(r#"{"list":[1,-1]}"#), "/list/1");
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
