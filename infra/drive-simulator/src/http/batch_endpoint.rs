//! Batches: up to 100 calls in one request, with the responses in the order of the calls.

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use tower::ServiceExt as _;

use crate::{
    errors::DriveError,
    http::{
        endpoint::{apply_fault, fault_response},
        request_body::read_body,
        response::error_response,
    },
    multipart::{self, Part},
    simulator::Simulator,
};

/// The maximum number of calls in one batch.
const CALLS_MAX: usize = 100;
/// The maximum length of the URL of an inner call, in characters.
const URL_MAX: usize = 8_000;
/// The boundary of the response.
const BOUNDARY: &str = "batch_drive-simulator";

/// `POST /batch/drive/v3` and `/batch/drive/v2`; `api` executes the inner calls.
pub(crate) async fn batch(simulator: Simulator, api: Router, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    simulator.count("batch", 0);
    let fault = simulator.match_fault(&parts);
    apply_fault(fault, fault_response, async {
        match execute(api, &parts, body).await {
            Ok(response) => response,
            Err(error) => error_response(&error),
        }
    })
    .await
}

async fn execute(
    api: Router,
    outer: &http::request::Parts,
    body: Body,
) -> Result<Response, DriveError> {
    let malformed = || {
        DriveError::bad_request("Failed to parse batch request, error: the body is not a batch.")
    };
    let content_type = outer
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let boundary = content_type
        .and_then(multipart::boundary)
        .ok_or_else(malformed)?;
    let calls = multipart::split(&read_body(body).await?, &boundary).ok_or_else(malformed)?;
    if calls.is_empty() {
        return Err(malformed());
    }
    if calls.len() > CALLS_MAX {
        let message = format!(
            "The batch request contains {} calls, more than the limit of {CALLS_MAX}.",
            calls.len()
        );
        return Err(DriveError::bad_request(message));
    }
    let mut responses = Vec::with_capacity(calls.len());
    for call in &calls {
        let response = match inner_request(call, &outer.headers) {
            Ok(request) if downloads(request.uri()) => {
                redirected(&request).unwrap_or_else(|error| error_response(&error))
            }
            Ok(request) => api
                .clone()
                .oneshot(request)
                .await
                .unwrap_or_else(|never| match never {}),
            Err(error) => error_response(&error),
        };
        responses.push(response_part(call, response).await?);
    }
    let mut response = Response::new(Body::from(multipart::join(&responses, BOUNDARY)));
    let kind = HeaderValue::from_str(&format!("multipart/mixed; boundary={BOUNDARY}"));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, kind.map_err(|_| malformed())?);
    Ok(response)
}

/// Returns whether a call asks for content.
fn downloads(url: &Uri) -> bool {
    let query = url.query().unwrap_or_default();
    query.split('&').any(|pair| pair == "alt=media")
}

/// Responds to a download as Drive does inside a batch: with the place where the same bearer gets
/// the bytes.
fn redirected(request: &Request) -> Result<Response, DriveError> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let to = format!(
        "http://{}/download{}",
        host.unwrap_or("127.0.0.1"),
        request.uri()
    );
    let mut response = error_response(&DriveError::download_redirect());
    let location = HeaderValue::from_str(&to)
        .map_err(|_| DriveError::bad_request("The URL of a call is not text."))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// Parses the call inside a part. The outer headers apply to it, except those about the outer body.
fn inner_request(part: &Part, outer: &http::HeaderMap) -> Result<Request, DriveError> {
    let malformed =
        || DriveError::bad_request("Failed to parse batch request, error: a part is not a call.");
    let end = part
        .body
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(part.body.len());
    let line = part
        .body
        .get(..end)
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or_else(malformed)?;
    let mut words = line.split_ascii_whitespace();
    let (method, url) = words.next().zip(words.next()).ok_or_else(malformed)?;
    let path = path_of(url);
    if url.len() > URL_MAX {
        return Err(DriveError::bad_request(format!(
            "The URL of a call is longer than {URL_MAX} characters."
        )));
    }
    if path.starts_with("/upload/") || path.starts_with("/batch/") || path.contains("/export?") {
        return Err(DriveError::bad_request(
            "Media and batches are not supported inside a batch.",
        ));
    }
    let start = (end + 1).min(part.body.len());
    let inner = multipart::part(&part.body.slice(start..)).ok_or_else(malformed)?;
    let mut request = Request::new(Body::from(inner.body));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| malformed())?;
    *request.uri_mut() = path.parse().map_err(|_| malformed())?;
    let about_the_body = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::IF_MATCH,
    ];
    for (name, value) in outer {
        if !about_the_body.contains(name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    for (name, value) in &inner.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        let (name, value) = header.ok_or_else(malformed)?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// Returns the path and query of a URL, which may be absolute.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme
        .find('/')
        .and_then(|at| after_scheme.get(at..))
        .unwrap_or("/")
}

async fn response_part(call: &Part, response: Response) -> Result<Part, DriveError> {
    let (parts, body) = response.into_parts();
    let body = read_body(body).await?;
    let mut text = format!(
        "HTTP/1.1 {} {}\r\n",
        parts.status.as_u16(),
        parts.status.canonical_reason().unwrap_or_default()
    );
    for (name, value) in &parts.headers {
        text.push_str(&format!(
            "{name}: {}\r\n",
            value.to_str().unwrap_or_default()
        ));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut headers = vec![("content-type".to_owned(), "application/http".to_owned())];
    if let Some(id) = call.header("content-id") {
        headers.push(("content-id".to_owned(), response_id(id)));
    }
    Ok(Part {
        headers,
        body: [Bytes::from(text), body].concat().into(),
    })
}

/// Turns `<x>` into `<response-x>`, and `x` into `response-x`.
fn response_id(id: &str) -> String {
    match id.strip_prefix('<') {
        Some(rest) => format!("<response-{rest}"),
        None => format!("response-{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &'static str) -> Result<Request, DriveError> {
        let outer = http::HeaderMap::from_iter([
            (
                header::AUTHORIZATION,
                HeaderValue::from_static("Bearer user:owner"),
            ),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("multipart/mixed; boundary=b"),
            ),
        ]);
        inner_request(
            &Part {
                headers: Vec::new(),
                body: Bytes::from_static(text.as_bytes()),
            },
            &outer,
        )
    }

    #[test]
    fn a_part_inherits_the_outer_headers() {
        let request = call(
            "PATCH /drive/v2/files/1?fields=id HTTP/1.1\r\nIf-Match: \"e\"\r\n\
             Content-Type: application/json\r\n\r\n{}",
        )
        .expect("a call");
        assert_eq!(request.method(), Method::PATCH);
        assert_eq!(request.uri(), "/drive/v2/files/1?fields=id");
        assert_eq!(
            request.headers()[header::AUTHORIZATION],
            "Bearer user:owner"
        );
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(request.headers()[header::IF_MATCH], "\"e\"");
    }

    #[test]
    fn an_absolute_url_is_reduced_to_its_path() {
        let request =
            call("GET https://www.googleapis.com/drive/v3/files?q=x HTTP/1.1\n\n").expect("a call");
        assert_eq!(request.uri(), "/drive/v3/files?q=x");
        assert!(!request.headers().contains_key(header::CONTENT_TYPE));
    }

    #[test]
    fn uploads_exports_and_nested_batches_are_refused() {
        for text in [
            "POST /upload/drive/v3/files HTTP/1.1\r\n\r\n",
            "GET /drive/v3/files/1/export?mimeType=text/plain HTTP/1.1\r\n\r\n",
            "POST /batch/drive/v3 HTTP/1.1\r\n\r\n",
            "",
            "GET",
        ] {
            assert_eq!(call(text).expect_err("refused").status, 400, "{text}");
        }
    }

    #[test]
    fn the_content_id_of_a_response_refers_to_its_call() {
        assert_eq!(response_id("<uuid + 1>"), "<response-uuid + 1>");
        assert_eq!(response_id("item1"), "response-item1");
    }
}
