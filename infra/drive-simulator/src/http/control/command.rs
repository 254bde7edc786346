//! Commands of the control interface: parsing and responding.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{request_body::read_body, response};

/// A command that could not be executed; 400 with the message.
pub(crate) struct ControlError(pub(crate) String);

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        response::json(StatusCode::BAD_REQUEST, &json!({"error": self.0}))
    }
}

/// The response to a command.
pub(crate) type ControlResult = Result<Response, ControlError>;

/// Returns the response to an executed command.
pub(crate) fn ok(value: &Value) -> ControlResult {
    Ok(response::json(StatusCode::OK, value))
}

/// Parses a command; an empty body is an empty object.
pub(crate) async fn parse<T: for<'de> Deserialize<'de>>(
    request: Request,
) -> Result<T, ControlError> {
    let bytes = read_body(request.into_body())
        .await
        .map_err(|error| ControlError(error.to_string()))?;
    let bytes = if bytes.is_empty() {
        bytes::Bytes::from_static(b"{}")
    } else {
        bytes
    };
    serde_json::from_slice(&bytes).map_err(|error| ControlError(error.to_string()))
}
