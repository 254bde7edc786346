//! The sizes that API Gateway and Lambda accept. A body travels in the JSON of an invocation: text
//! as a string, in which each quote and each backslash takes two bytes, anything else as base64.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request, Response};

/// The largest request body, in bytes: API Gateway's limit of 10 MB.
pub(super) const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The largest event of a synchronous invocation, in bytes: Lambda's limit of 6 MB.
const INVOCATION_BYTES_MAX: usize = 6 * 1024 * 1024;
/// The largest answer of a synchronous invocation, in bytes, as Lambda's error states it.
const ANSWER_BYTES_MAX: usize = 6_291_556;
/// What an event has besides headers and body, in bytes: its context, with the claims.
const CONTEXT_BYTES: usize = 2_000;

/// Returns the size of the event that a request is passed in, if Lambda does not accept it.
pub(super) fn excess_event(request: &Request<Vec<u8>>) -> Option<usize> {
    let uri = request.uri().to_string().len();
    let headers = headers_bytes(request.headers());
    let body = body_bytes(request.headers(), request.body());
    let bytes = CONTEXT_BYTES + 2 * uri + headers + body;
    (bytes > INVOCATION_BYTES_MAX).then_some(bytes)
}

/// Returns the size of the answer that a response is passed in, if Lambda does not accept it.
pub(super) fn excess_answer(response: &Response<Vec<u8>>) -> Option<usize> {
    const FRAME: &str = r#"{"statusCode":200,"headers":{},"multiValueHeaders":{},"body":"",
        "isBase64Encoded":false,"cookies":[]}"#;
    let headers = headers_bytes(response.headers());
    let body = body_bytes(response.headers(), response.body());
    let bytes = FRAME.len() + headers + body;
    (bytes > ANSWER_BYTES_MAX).then_some(bytes)
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    let each = headers.iter();
    each.map(|(name, value)| name.as_str().len() + value.len() + 6)
        .sum()
}

fn body_bytes(headers: &HeaderMap, body: &[u8]) -> usize {
    if is_text(headers, body) {
        body.iter().map(|byte| escaped_bytes(*byte)).sum()
    } else {
        body.len().div_ceil(3) * 4
    }
}

/// Returns whether a body travels as text.
pub(super) fn is_text(headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = text(CONTENT_TYPE).unwrap_or("application/json");
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let textual = [
        "text/",
        "application/json",
        "application/xml",
        "application/javascript",
    ];
    let is_text = textual.iter().any(|known| essence.starts_with(known))
        || essence.ends_with("+json")
        || essence.ends_with("+xml");
    is_text && text(CONTENT_ENCODING).is_none() && std::str::from_utf8(body).is_ok()
}

/// Returns what a byte of a text takes in a JSON string.
fn escaped_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(media_type: &str, body: Vec<u8>) -> Response<Vec<u8>> {
        let builder = Response::builder().header(CONTENT_TYPE, media_type);
        builder.body(body).unwrap()
    }

    #[test]
    fn a_quote_of_a_body_counts_twice_and_other_bytes_by_base64() {
        let json = |unit: &str, times: usize| {
            excess_answer(&response(
                "application/json",
                unit.repeat(times).into_bytes(),
            ))
        };
        assert_eq!(json("x", 6_290_000), None);
        assert!(json("x", 6_291_556).is_some());
        assert_eq!(json("\"", 3_140_000), None);
        assert!(json("\"", 3_150_000).is_some());
        let bytes = |count| excess_answer(&response("application/octet-stream", vec![0; count]));
        assert_eq!(bytes(4_700_000), None);
        assert!(bytes(4_720_000).is_some());
    }

    #[test]
    fn a_request_is_measured_as_the_event_that_it_becomes() {
        let request = |media_type: &str, body: Vec<u8>| {
            let builder = Request::builder()
                .uri("/v1")
                .header(CONTENT_TYPE, media_type);
            excess_event(&builder.body(body).unwrap())
        };
        let mebi = 1024 * 1024;
        assert_eq!(request("application/octet-stream", vec![7; 4 * mebi]), None);
        assert!(request("application/octet-stream", vec![7; 5 * mebi]).is_some());
        assert_eq!(request("application/json", vec![b'x'; 5 * mebi]), None);
        assert!(request("application/json", vec![b'"'; 4 * mebi]).is_some());
    }
}
