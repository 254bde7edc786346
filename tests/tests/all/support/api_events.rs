//! The sample requests to the API, as the events that API Gateway makes of them.
//!
//! `events/api/requests.jsonl` lists the requests. The samples that are checked in as events, for
//! `sam local invoke` and `cargo lambda invoke`, are compared with what is made of them here.

use serde_json::{Value, json};

use super::top;

const HOST: &str = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com";

/// One request to the API.
pub struct ApiSample {
    pub name: String,
    /// The status of the response.
    pub status: u16,
    /// The event, in API Gateway's payload format 2.0.
    pub event: Value,
}

impl ApiSample {
    fn from_line(line: &str) -> Self {
        let request: Value = serde_json::from_str(line).unwrap();
        Self {
            name: request["name"].as_str().unwrap().to_owned(),
            status: u16::try_from(request["status"].as_u64().unwrap()).unwrap(),
            event: event(&request),
        }
    }
}

/// Returns all sample requests, in the order of the list.
pub fn api_samples() -> Vec<ApiSample> {
    let list = top().join("events/api/requests.jsonl");
    let text = std::fs::read_to_string(list).unwrap();
    text.lines().map(ApiSample::from_line).collect()
}

/// Returns the event of one sample request.
pub fn api_event(name: &str) -> Value {
    let mut samples = api_samples().into_iter();
    let sample = samples.find(|sample| sample.name == name);
    sample.unwrap_or_else(|| panic!("no {name}")).event
}

/// Makes the event of a request. Members of the request:
/// - `request`: the method, the path and, after `?`, the query.
/// - `headers`: those beside the usual ones.
/// - `body`: a JSON value, or a text that is the body itself. `base64`: a body that is not text.
/// - `claims`: those that differ from a member of `acme`'s; `null` removes a claim, or all.
fn event(request: &Value) -> Value {
    let (method, path_and_query) = request["request"]
        .as_str()
        .unwrap()
        .split_once(' ')
        .unwrap();
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let proxied = path.strip_prefix("/v1/");
    let route = match proxied {
        Some(_) => "ANY /v1/{proxy+}".to_owned(),
        None => format!("{method} {path}"),
    };
    let body = match (&request["body"], &request["base64"]) {
        (Value::Null, base64) => base64.as_str().map(str::to_owned),
        (Value::String(text), _) => Some(text.clone()),
        (json, _) => Some(json.to_string()),
    };
    let authorized = proxied.is_some() && request.get("claims") != Some(&Value::Null);
    let mut headers = json!({
        "accept": "*/*",
        "content-length": body.as_ref().map_or(0, String::len).to_string(),
        "host": HOST,
        "user-agent": "curl/8.12.1",
        "x-amzn-trace-id": "Root=1-6920297f-4c1d8e2a7b3f5d6e9a0c1b2d",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    });
    let mut context = json!({
        "accountId": "123456789012",
        "apiId": "a1b2c3d4e5",
        "domainName": HOST,
        "domainPrefix": "a1b2c3d4e5",
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": "curl/8.12.1",
        },
        "requestId": "UkV5xTestRequest=",
        "routeKey": route,
        "stage": "$default",
        "time": "21/Nov/2026:09:00:00 +0000",
        "timeEpoch": 1_795_251_600_000_u64,
    });
    if authorized {
        headers["authorization"] = json!("Bearer sample.id.token");
        let claims = claims(&request["claims"]);
        context["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    }
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        headers[name] = value.clone();
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": request["base64"].is_string(),
    });
    if let Some(proxied) = proxied {
        event["pathParameters"] = json!({ "proxy": proxied });
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        event["queryStringParameters"][name] = json!(value);
    }
    if let Some(body) = body {
        event["body"] = json!(body);
    }
    event
}

/// Returns the claims of a Cognito id token of the tenant `acme`, with some of them replaced.
fn claims(replaced: &Value) -> Value {
    let mut claims = json!({
        "aud": "sampleclientid",
        "auth_time": "1795251000",
        "cognito:username": "5f0c1a2b-0000-4000-8000-000000000001",
        "custom:role": "admin",
        "custom:tenant": "acme",
        "email": "ada@example.com",
        "email_verified": "true",
        "event_id": "5edb9753-8617-5586-aa16-39746d5b9b80",
        "exp": "1795255200",
        "iat": "1795251600",
        "iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_sample",
        "jti": "884d8f56-147e-5b28-98b9-417cba4ce818",
        "sub": "5f0c1a2b-0000-4000-8000-000000000001",
        "token_use": "id",
    });
    for (name, value) in replaced.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}
