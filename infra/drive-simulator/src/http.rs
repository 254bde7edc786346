//! The HTTP face: what every call goes through, whichever method it is for.

mod batch;
mod body;
mod changes;
mod control;
mod control_sharing;
mod download;
mod drives;
mod export;
mod files;
mod files_v2;
mod methods;
mod params;
mod permissions;
mod permissions_v2;
mod render;
mod render_v2;
mod resumable;
mod revisions;
mod routes;
mod shapes_content;
mod shapes_v2;
mod shapes_v3;
mod spoil;
mod token;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use axum::{
    body::Body,
    extract::{RawPathParams, Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde_json::Value;

pub use resumable::UploadCondition;
pub(crate) use resumable::Uploads;
pub(crate) use routes::router;

use crate::{
    Simulator,
    errors::DriveError,
    faults::{Fault, FaultAnswer},
    fields::Selection,
    http::{methods::Method, params::Params},
    ids::UserId,
};

/// The longest body, in bytes.
const BODY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What a media download costs, in quota units.
const DOWNLOAD_UNITS: u64 = 200;

/// Marks an answer that must not be sent: the connection is to be closed instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloseConnection;

/// A call whose caller, parameters and selection have been checked.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) user: UserId,
    pub(crate) path: BTreeMap<String, String>,
    pub(crate) params: Params,
    pub(crate) selection: Selection,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// A variable of the path.
    ///
    /// # Errors
    /// 404: the route has no such variable.
    pub(crate) fn path(&self, name: &str) -> Result<&str, DriveError> {
        self.path
            .get(name)
            .map(String::as_str)
            .ok_or_else(DriveError::no_such_method)
    }

    /// A header, if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `supportsAllDrives`, or its deprecated name.
    ///
    /// # Errors
    /// 400 for a value that is not a boolean.
    pub(crate) fn all_drives(&self) -> Result<bool, DriveError> {
        Ok(self.params.flag("supportsAllDrives", false)?
            || self.params.flag("supportsTeamDrives", false)?)
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A JSON resource, already cut to the selection.
    Json(Value),
    /// A JSON resource with its etag.
    Tagged(Value, String),
    /// 204.
    Empty,
    /// Anything else.
    Raw(Response),
}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Wraps a handler into what every method shares: counting, faults, authorization, quota, parameters and selection.
pub(crate) fn endpoint<F, Fut>(
    method: &'static Method,
    handler: F,
) -> impl Fn(State<Simulator>, RawPathParams, Request) -> Answering + Clone + Send + Sync + 'static
where
    F: Fn(Simulator, Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, DriveError>> + Send + 'static,
{
    move |State(simulator), path, request| {
        let handler = handler.clone();
        Box::pin(async move {
            let path = path
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let (parts, body) = request.into_parts();
            let download = parts
                .uri
                .query()
                .is_some_and(|query| query.split('&').any(|pair| pair == "alt=media"));
            let units = if download
                && (method.name.ends_with("files.get") || method.name == "revisions.get")
            {
                DOWNLOAD_UNITS
            } else {
                method.units
            };
            simulator.count(method.name, units);
            let fault = simulator.meet_fault(&parts);
            with_fault(fault, fault_response, async {
                match checked(&simulator, method, units, path, parts, body).await {
                    Ok(call) => answer(handler(simulator.clone(), call).await),
                    Err(error) => refusal(&error),
                }
            })
            .await
        })
    }
}

/// Executes a call as a fault has it: held back, executed or not, answered, refused or not answered. Refusals have the
/// shape that `error_response` gives them.
pub(crate) async fn with_fault(
    fault: Option<Fault>,
    error_response: fn(&FaultAnswer) -> Response,
    execute: impl Future<Output = Response>,
) -> Response {
    let Some(fault) = fault else {
        return execute.await;
    };
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let takes_effect = fault.drop || fault.respond.is_some();
    if fault.applied || !takes_effect {
        let response = execute.await;
        if !takes_effect {
            let response = replaced(response, &fault.replace).await;
            return match &fault.spoil {
                Some(spoil) => spoil::spoiled(response, spoil),
                None => response,
            };
        }
    }
    if fault.drop {
        // Who serves the router without `Simulator::serve` cannot close the connection and sends this instead.
        let mut response = refusal(&DriveError::new(
            503,
            "backendError",
            "The connection was to be closed.",
        ));
        response.extensions_mut().insert(CloseConnection);
        return response;
    }
    match &fault.respond {
        Some(answer) => error_response(answer),
        None => refusal(&DriveError::new(503, "backendError", "Backend Error")),
    }
}

/// An answer with other words in it.
async fn replaced(response: Response, words: &BTreeMap<String, String>) -> Response {
    if words.is_empty() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = match read_body(body).await {
        Ok(bytes) => bytes,
        Err(error) => return refusal(&error),
    };
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    for (word, instead) in words {
        text = text.replace(word, instead);
    }
    Response::from_parts(parts, Body::from(text))
}

/// A fault's answer in the shape of the Drive API.
pub(crate) fn fault_response(answer: &FaultAnswer) -> Response {
    if answer.html {
        return spoil::page(answer.status);
    }
    let mut response = refusal(&answer.error());
    if let Some(seconds) = answer.retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn checked(
    simulator: &Simulator,
    method: &'static Method,
    units: u64,
    path: BTreeMap<String, String>,
    parts: Parts,
    body: Body,
) -> Result<Call, DriveError> {
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    let user = caller(simulator, &parts.headers, &params)?;
    simulator.charge(&user, params.text("quotaUser"), units)?;
    params.check(method)?;
    let selection = match params.text("fields") {
        None => Selection::parse(method.default_fields)?,
        Some(fields) => {
            let selection = Selection::parse(fields)?;
            if let Some(shape) = method.shape {
                selection.check(shape)?;
            }
            selection
        }
    };
    let body = read_body(body).await?;
    Ok(Call {
        user,
        path,
        params,
        selection,
        headers: parts.headers,
        body,
    })
}

/// Reads a whole body.
///
/// # Errors
/// 400 when it breaks off, 413 when it is too long to keep.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, DriveError> {
    axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| {
            DriveError::new(
                413,
                "uploadTooLarge",
                format!("The body could not be read: {error}"),
            )
        })
}

/// The user behind a call.
fn caller(
    simulator: &Simulator,
    headers: &HeaderMap,
    params: &Params,
) -> Result<UserId, DriveError> {
    let from_header = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default());
    let bearer = match from_header {
        Some(value) => {
            let (scheme, token) = value
                .split_once(' ')
                .ok_or_else(DriveError::invalid_credentials)?;
            Some(token.trim())
                .filter(|_| scheme.eq_ignore_ascii_case("bearer"))
                .ok_or_else(DriveError::invalid_credentials)?
        }
        None => params
            .text("access_token")
            .or_else(|| params.text("oauth_token"))
            .ok_or_else(DriveError::login_required)?,
    };
    simulator
        .with(|state| state.user_of_bearer(bearer))
        .ok_or_else(DriveError::invalid_credentials)
}

pub(crate) fn answer(outcome: Result<Answer, DriveError>) -> Response {
    match outcome {
        Ok(Answer::Json(value)) => json(StatusCode::OK, &value),
        Ok(Answer::Tagged(value, etag)) => {
            let mut response = json(StatusCode::OK, &value);
            if let Ok(etag) = etag.parse() {
                response.headers_mut().insert(header::ETAG, etag);
            }
            response
        }
        Ok(Answer::Empty) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Ok(Answer::Raw(response)) => response,
        Err(error) => refusal(&error),
    }
}

/// A refusal as a response.
pub(crate) fn refusal(error: &DriveError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.body());
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static(
            "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"",
        );
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
