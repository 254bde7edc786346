//! The steps that every call goes through, whatever its method.

use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};

use axum::{
    body::Body,
    extract::{RawPathParams, Request, State},
    response::Response,
};
use http::{HeaderMap, header, request::Parts};
use serde_json::Value;

use crate::{
    errors::DriveError,
    fault_injection::{FaultResponse, MatchedFault, corrupt_body},
    fields::Selection,
    http::{
        call::Call,
        methods::{DOWNLOAD, Method},
        params::Params,
        request_body::read_body,
        response::{ApiResponse, CloseConnection, error_response, into_response},
    },
    ids::UserId,
    simulator::Simulator,
    state::sharing::resource_keys::PresentedKeys,
};

/// The header with the resource keys of the items that a call names.
const RESOURCE_KEYS: &str = "x-goog-drive-resource-keys";

type BoxResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Wraps a handler into the steps that all methods share: counting, faults, authorization, quota,
/// parameters and field selection.
pub(crate) fn endpoint<F, Fut>(
    method: &'static Method,
    handler: F,
) -> impl Fn(State<Simulator>, RawPathParams, Request) -> BoxResponse + Clone + Send + Sync
where
    F: Fn(Simulator, Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<ApiResponse, DriveError>> + Send + 'static,
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
                DOWNLOAD
            } else {
                method.units
            };
            simulator.count(method.name, units);
            let fault = simulator.match_fault(&parts);
            apply_fault(fault, fault_response, async {
                match check_call(&simulator, method, units, path, parts, body).await {
                    Ok(call) => {
                        let included = call.params.list("includeLabels");
                        let outcome = handler(simulator.clone(), call).await;
                        into_response(outcome.map(|response| response.including(&included)))
                    }
                    Err(error) => error_response(&error),
                }
            })
            .await
        })
    }
}

/// Executes a call under a fault, if one matches: delays it, executes it or not, and sends,
/// replaces, corrupts or withholds its response. `respond` renders the fault's error.
pub(crate) async fn apply_fault(
    matched: Option<MatchedFault>,
    respond: fn(&FaultResponse) -> Response,
    execute: impl Future<Output = Response>,
) -> Response {
    let Some(MatchedFault {
        fault,
        next_page_token,
    }) = matched
    else {
        return execute.await;
    };
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let replaces_response = fault.drop || fault.respond.is_some();
    if fault.applied || !replaces_response {
        let response = execute.await;
        if !replaces_response {
            let mut response = replace_texts(response, &fault.replace).await;
            if let Some(token) = next_page_token {
                response = with_next_page(response, token).await;
            }
            if let Some(kind) = &fault.content_type {
                corrupt_body::set_content_type(&mut response, kind);
            }
            return match &fault.corrupt {
                Some(corrupt) => corrupt_body::corrupted(response, corrupt),
                None => response,
            };
        }
    }
    if fault.drop {
        // Sent only where the router is served without `Simulator::serve` and cannot close the
        // connection.
        let mut response = error_response(&DriveError::new(
            503,
            "backendError",
            "The connection was to be closed.",
        ));
        response.extensions_mut().insert(CloseConnection);
        return response;
    }
    match &fault.respond {
        Some(fault_response) => respond(fault_response),
        None => error_response(&DriveError::new(503, "backendError", "Backend Error")),
    }
}

/// Replaces texts in the body of a response.
async fn replace_texts(response: Response, replacements: &BTreeMap<String, String>) -> Response {
    if replacements.is_empty() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = match read_body(body).await {
        Ok(bytes) => bytes,
        Err(error) => return error_response(&error),
    };
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    for (from, to) in replacements {
        text = text.replace(from, to);
    }
    Response::from_parts(parts, Body::from(text))
}

/// Sends a page under this token for the next one, as if the list did not end here.
async fn with_next_page(response: Response, token: String) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = match read_body(body).await {
        Ok(bytes) => bytes,
        Err(error) => return error_response(&error),
    };
    let page = serde_json::from_slice(&bytes).ok();
    let body = match page.filter(|_| parts.status.is_success()) {
        Some(Value::Object(mut members)) => {
            members.remove("newStartPageToken");
            members.insert("nextPageToken".to_owned(), Value::String(token));
            Body::from(Value::Object(members).to_string())
        }
        Some(_) | None => Body::from(bytes),
    };
    Response::from_parts(parts, body)
}

/// The response of a fault in the shape of the Drive API.
pub(crate) fn fault_response(fault: &FaultResponse) -> Response {
    if fault.html {
        return corrupt_body::html_page(fault.status);
    }
    let mut response = match &fault.body {
        Some(body) => corrupt_body::foreign(fault.status, body, fault.content_type.as_deref()),
        None => error_response(&fault.error()),
    };
    if let Some(seconds) = fault.retry_after_seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn check_call(
    simulator: &Simulator,
    method: &'static Method,
    units: u64,
    path: BTreeMap<String, String>,
    parts: Parts,
    body: Body,
) -> Result<Call, DriveError> {
    let params = Params::parse(parts.uri.query().unwrap_or_default());
    params.check_format(method)?;
    let user = caller(simulator, &parts, &params)?;
    simulator.charge(&user, params.text("quotaUser"), units)?;
    params.check(method)?;
    check_resource_keys(simulator, &user, &path, &params, &parts.headers)?;
    let selection = match params.given("fields").map(str::trim) {
        None => Selection::parse(method.default_fields)?,
        Some("") => Selection::nothing(),
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

/// Checks the resource keys of the items that a call names: its own and, in a move, the folders.
fn check_resource_keys(
    simulator: &Simulator,
    user: &UserId,
    path: &BTreeMap<String, String>,
    params: &Params,
    headers: &HeaderMap,
) -> Result<(), DriveError> {
    let header = headers.get(RESOURCE_KEYS);
    let header = header.and_then(|value| value.to_str().ok());
    let mut presented = PresentedKeys::parse(header.unwrap_or_default());
    if let (Some(id), Some(key)) = (params.text("id"), params.text("resourcekey")) {
        presented.add(id, key);
    }
    let mut ids = params.list("addParents");
    ids.extend(params.list("removeParents"));
    ids.extend(path.get("id").cloned());
    ids.extend(params.text("id").map(str::to_owned));
    let ids = ids.iter().map(String::as_str);
    simulator.with_state(|state| state.check_resource_keys(user, ids, &presented))
}

/// Returns the user that a call acts as.
fn caller(simulator: &Simulator, parts: &Parts, params: &Params) -> Result<UserId, DriveError> {
    let headers = &parts.headers;
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
        // A link can have a token, but must not act as a person: any page can have a link.
        None => params
            .text("access_token")
            .or_else(|| params.text("oauth_token"))
            .filter(|token| !token.starts_with("user:"))
            .ok_or_else(|| DriveError::login_required(parts.method == http::Method::GET))?,
    };
    let host = headers.get(header::HOST);
    let host = host.and_then(|value| value.to_str().ok());
    simulator
        .with_state(|state| {
            if let Some(host) = host {
                state.note_host(host);
            }
            state.user_of_bearer(bearer)
        })
        .ok_or_else(DriveError::invalid_credentials)
}
