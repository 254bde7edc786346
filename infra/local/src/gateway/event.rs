//! Requests and responses in the form in which API Gateway passes them to and from a function
//! (payload format 2.0).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::limits::is_text;

/// Returns the request context of a caller with these claims.
pub(super) fn context(parts: &Parts, claims: Option<Map<String, Value>>) -> Value {
    let authorizer = claims.map(|claims| json!({"jwt": {"claims": claims, "scopes": null}}));
    json!({
        "accountId": "000000000000", "apiId": "local", "stage": "$default", "routeKey": "$default",
        "requestId": uuid::Uuid::new_v4().to_string(), "timeEpoch": 0,
        "authorizer": authorizer,
        "http": {
            "method": parts.method.as_str(), "path": parts.uri.path(), "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1", "userAgent": "",
        },
    })
}

/// Returns a request as an event.
pub(super) fn event(parts: &Parts, body: &[u8], context: &Value) -> Value {
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == COOKIE {
            cookies.extend(value.split("; ").map(str::to_owned));
            continue;
        }
        let values = headers.entry(name.as_str()).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(&value);
    }
    let text = is_text(&parts.headers, body);
    let body = match (body, text.then(|| std::str::from_utf8(body).ok()).flatten()) {
        ([], _) => None,
        (_, Some(text)) => Some(text.to_owned()),
        (bytes, None) => Some(BASE64.encode(bytes)),
    };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.uri.path(),
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "cookies": cookies,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": body.is_some() && !text,
        "body": body,
    })
}

/// A function's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

impl Answer {
    /// Returns the response that the caller gets; `None` if the answer is none.
    pub(super) fn into_response(self) -> Option<Response<Vec<u8>>> {
        let text = self.body.unwrap_or_default();
        let body = match self.is_base64_encoded {
            true => BASE64.decode(text).ok()?,
            false => text.into_bytes(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status_code).ok()?;
        for (name, value) in self.headers {
            let name = HeaderName::try_from(name).ok()?;
            let value = HeaderValue::try_from(value).ok()?;
            response.headers_mut().insert(name, value);
        }
        for cookie in self.cookies {
            let cookie = HeaderValue::try_from(cookie).ok()?;
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_the_event_of_payload_format_2_0() {
        let request = |media_type: &str| {
            http::Request::builder()
                .method("PATCH")
                .uri("/v1/connections/c?limit=3")
                .header("content-type", media_type)
                .header("x-twice", "a")
                .header("x-twice", "b")
                .header("cookie", "one=1; two=2")
                .body(())
                .unwrap()
                .into_parts()
                .0
        };
        let parts = request("application/json");
        let event = super::event(&parts, b"{}", &context(&parts, None));
        assert_eq!(event["rawPath"], "/v1/connections/c");
        assert_eq!(event["rawQueryString"], "limit=3");
        assert_eq!(event["headers"]["x-twice"], "a,b");
        assert_eq!(event["cookies"], json!(["one=1", "two=2"]));
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("{}"), &json!(false))
        );
        let bytes = request("application/octet-stream");
        let event = super::event(&bytes, b"{}", &context(&bytes, None));
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("e30="), &json!(true))
        );
    }

    #[test]
    fn an_answer_becomes_the_response() {
        let answer: Answer = serde_json::from_value(json!({
            "statusCode": 201, "headers": {"etag": "\"1\""}, "multiValueHeaders": {},
            "cookies": ["a=1", "b=2"], "body": "e30=", "isBase64Encoded": true,
        }))
        .unwrap();
        let response = answer.into_response().unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["etag"], "\"1\"");
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert_eq!(response.body(), b"{}");
    }
}
