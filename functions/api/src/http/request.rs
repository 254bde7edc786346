//! Query and body of a request, checked before a handler uses them.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use store::PageRequest;
use utoipa::{IntoParams, ToSchema};

use crate::Deps;
use crate::described::check::{check, typed};
use crate::described::strict_json;
use crate::http::problem::{Kind, Problem};

/// The largest body that is read, in bytes: enough for a hundred resolutions.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Items on a page if the caller does not ask for another number.
const LIMIT_DEFAULT: u32 = 100;
/// The longest reason that is stored, in bytes.
const REASON_BYTES_MAX: usize = 500;

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
    pub(crate) fn page(self) -> PageRequest {
        page(self.limit, self.cursor)
    }
}

/// Returns the page that a query requests. The description of `limit` bounds it.
pub(crate) fn page(limit: Option<u32>, cursor: Option<String>) -> PageRequest {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    PageRequest { limit, cursor }
}

/// A JSON object as the body. It is read through the description of what it must be.
pub(crate) struct JsonBody {
    members: Map<String, Json>,
}

impl JsonBody {
    #[cfg(test)]
    pub(crate) fn of(json: Json) -> Self {
        let members = json.as_object().unwrap().clone();
        Self { members }
    }

    /// Reads the body as a type that is described.
    pub(crate) fn read<T: ToSchema + DeserializeOwned>(self) -> Result<T, Problem> {
        typed(Json::Object(self.members), "")
    }

    /// Returns the members of a body that is what `T` describes.
    pub(crate) fn members<T: ToSchema>(self) -> Result<Map<String, Json>, Problem> {
        let json = Json::Object(self.members);
        check::<T>(&json, "")?;
        match json {
            Json::Object(members) => Ok(members),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                Ok(Map::new())
            }
        }
    }

    /// Returns a member that has not been checked.
    pub(crate) fn unchecked(&self, member: &str) -> Option<&Json> {
        self.members.get(member)
    }
}

impl FromRequest<Arc<Deps>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Deps>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        let bytes = read(body).await?;
        if parts.headers.contains_key(header::CONTENT_ENCODING) {
            let detail = "send the body as it is, without Content-Encoding";
            return Err(Problem::new(Kind::MalformedBody, detail));
        }
        match strict_json::parse(&bytes)? {
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
    let mut parts = value.to_str().unwrap_or("").split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    let known = ["application/json", "application/merge-patch+json"];
    let is_known = |known: &&str| essence.eq_ignore_ascii_case(known);
    let other_charset = |part: &str| {
        let (name, charset) = part.split_once('=').unwrap_or((part, ""));
        let utf_8 = charset.trim_matches('"').eq_ignore_ascii_case("utf-8");
        name.eq_ignore_ascii_case("charset") && !utf_8
    };
    if parts.any(other_charset) {
        let detail = "JSON is always UTF-8: send it without another charset";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
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
