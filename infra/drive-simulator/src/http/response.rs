//! HTTP responses in the format of the Drive API.

use axum::{body::Body, response::Response};
use http::{StatusCode, header};
use serde_json::Value;

use crate::{errors::DriveError, http::v3::labels_v3};

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloseConnection;

/// A successful response.
#[derive(Debug)]
pub(crate) enum ApiResponse {
    /// A JSON resource, already reduced to the selection.
    Json(Value),
    /// A JSON resource with its etag.
    Tagged(Value, String),
    /// 204.
    Empty,
    /// Any other response.
    Raw(Response),
}

impl ApiResponse {
    /// Returns the response with these labels in the `labelInfo` of its files, and no others.
    pub(crate) fn including(mut self, labels: &[String]) -> Self {
        match &mut self {
            Self::Json(value) | Self::Tagged(value, _) => {
                labels_v3::keep_included(value, labels);
            }
            Self::Empty | Self::Raw(_) => {}
        }
        self
    }
}

/// Turns the outcome of a method into a response.
pub(crate) fn into_response(outcome: Result<ApiResponse, DriveError>) -> Response {
    match outcome {
        Ok(ApiResponse::Json(value)) => json(StatusCode::OK, &value),
        Ok(ApiResponse::Tagged(value, etag)) => {
            let mut response = json(StatusCode::OK, &value);
            if let Ok(etag) = etag.parse() {
                response.headers_mut().insert(header::ETAG, etag);
            }
            response
        }
        Ok(ApiResponse::Empty) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Ok(ApiResponse::Raw(response)) => response,
        Err(error) => error_response(&error),
    }
}

/// Returns an error in the format of the Drive API.
pub(crate) fn error_response(error: &DriveError) -> Response {
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

/// Returns a JSON response.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
