//! Requests that are too large, too deep or malformed are rejected with a clear problem and never
//! cause a server error.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::support::{Answer, World, both_rename, own, shared};

/// The largest accepted body, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Returns every route that reads a body, with a valid one. None of them names an existing
/// resource, so that an accepted body changes nothing.
fn with_bodies(world: &World) -> Vec<(Method, String, Value)> {
    let connection = format!("/v1/connections/{}", world.connection);
    vec![
        (
            Method::POST,
            "/v1/connections".to_owned(),
            json!({"name": "x", "scope": {"type": "user"}, "secret": "none-of-this-name"}),
        ),
        (
            Method::PATCH,
            "/v1/connections/c_none".to_owned(),
            json!({"name": "x"}),
        ),
        (
            Method::POST,
            "/v1/connections/c_none/files".to_owned(),
            json!({"name": "x", "mime_type": "text/plain"}),
        ),
        (
            Method::PATCH,
            format!("{connection}/files/1none"),
            json!({"name": "x"}),
        ),
        (
            Method::POST,
            "/v1/connections/c_none/sync".to_owned(),
            json!({"mode": "delta"}),
        ),
        (
            Method::POST,
            "/v1/connections/c_none/conflicts/resolutions".to_owned(),
            json!({"resolutions": [{"id": "x", "choose": "app"}]}),
        ),
    ]
}

/// A header's name and its value of any bytes.
type Header<'v> = (&'static str, &'v [u8]);

/// Sends any bytes with any headers in addition to the token.
async fn send(
    world: &World,
    method: &Method,
    path: &str,
    headers: &[Header<'_>],
    body: impl Into<reqwest::Body>,
) -> Answer {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        all.append(HeaderName::from_static(name), value);
    }
    let request = world
        .http
        .request(method.clone(), format!("{}{path}", world.api_url))
        .bearer_auth(&world.token)
        .headers(all)
        .body(body);
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    Answer {
        status,
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

/// Asserts that an answer is a problem of one of these statuses.
fn refused(answer: &Answer, statuses: &[u16], what: &str) {
    assert!(
        statuses.contains(&answer.status),
        "{what}: {} {}",
        answer.status,
        answer.body
    );
    assert_eq!(
        answer.headers["content-type"], "application/problem+json",
        "{what}"
    );
    assert_eq!(answer.body["status"], answer.status, "{what}");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(
        !detail.is_empty() && detail.len() < 1_000,
        "{what}: {detail}"
    );
}

const JSON: (&str, &[u8]) = ("content-type", b"application/json");
const ANY: (&str, &[u8]) = ("if-match", b"*");

#[test]
fn a_body_of_256_kib_is_read_and_one_byte_more_is_413() {
    shared(async |world| {
        for (method, path, body) in with_bodies(world) {
            let what = format!("{method} {path}");
            let body = body.to_string();
            let full = format!("{body}{}", " ".repeat(BODY_BYTES_MAX - body.len()));
            let over = format!("{full} ");
            let answer = send(world, &method, &path, &[JSON, ANY], full).await;
            refused(&answer, &[404, 422], &what);
            let answer = send(world, &method, &path, &[JSON, ANY], over).await;
            refused(&answer, &[413], &what);
        }
    });
}

#[test]
fn json_that_is_too_deep_or_invalid_is_rejected() {
    shared(async |world| {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for (method, path, good) in with_bodies(world) {
            let member = good.as_object().unwrap().keys().next().unwrap().clone();
            for depth in [100, 127, 128, 10_000, 100_000] {
                for deep in [nested(depth), objects(depth.min(40_000))] {
                    let what = format!("{method} {path} with {depth} levels");
                    let body = format!("{{\"{member}\":{deep}}}");
                    let answer = send(world, &method, &path, &[JSON, ANY], body).await;
                    refused(&answer, &[400, 404, 413, 422], &what);
                    if depth > 128 {
                        refused(&answer, &[400, 413], &what);
                    }
                    let answer = send(world, &method, &path, &[JSON, ANY], deep).await;
                    refused(&answer, &[400, 404, 413, 422], &what);
                }
            }
            let odd: [&[u8]; 12] = [
                b"",
                b"{",
                b"null",
                b"[]",
                b"7",
                b"\"text\"",
                b"\xff\xfe{}",
                b"\xef\xbb\xbf{}",
                b"{\"name\":\"\xc3\"}",
                br#"{"name":"\ud800"}"#,
                br#"{"name":1e999}"#,
                b"{\"name\":\"x\"}{}",
            ];
            for body in odd {
                let what = format!("{method} {path} with {}", String::from_utf8_lossy(body));
                let answer = send(world, &method, &path, &[JSON, ANY], body).await;
                refused(&answer, &[400], &what);
            }
        }
    });
}

#[test]
fn a_body_of_another_type_is_415() {
    shared(async |world| {
        for (method, path, good) in with_bodies(world) {
            for kind in [
                &b"text/plain"[..],
                b"application/x-www-form-urlencoded",
                b"application/jsonx",
                b"application/json, text/plain",
                b";",
                b"\xff",
                b"",
            ] {
                let what = format!("{method} {path}: {}", String::from_utf8_lossy(kind));
                let headers = [("content-type", kind), ANY];
                let answer = send(world, &method, &path, &headers, good.to_string()).await;
                refused(&answer, &[415], &what);
            }
            // A compressed body is not decompressed: it is no valid JSON.
            let compressed: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\
                \x00\x43\xbf\xa6\xa3\x02\x00\x00\x00";
            let headers = [JSON, ANY, ("content-encoding", b"gzip")];
            let answer = send(world, &method, &path, &headers, compressed).await;
            refused(&answer, &[400], &path);
        }
    });
}

#[test]
fn malformed_headers_are_rejected_with_a_problem() {
    shared(async |world| {
        let file = world.take();
        let path = format!("/v1/connections/{}/files/{file}", world.connection);
        let before = world.file(&file).await;
        let long = "k".repeat(256);
        let key = "idempotency-key";
        let cases: Vec<(Vec<Header<'_>>, u16)> = vec![
            (vec![ANY, (key, b"")], 400),
            (vec![ANY, (key, long.as_bytes())], 400),
            (vec![ANY, (key, b"caf\xc3\xa9")], 400),
            (vec![ANY, (key, b"\xff")], 400),
            (vec![ANY, (key, b"tab\there")], 400),
            (vec![ANY, (key, b"one"), (key, b"two")], 400),
            (vec![("if-match", b"")], 400),
            (vec![("if-match", b"7")], 400),
            (vec![("if-match", b"\"7")], 400),
            (vec![("if-match", b"\xff")], 400),
            (vec![("if-match", b"\"99999999999999999999999\"")], 412),
            (vec![("if-match", b"\"-1\"")], 412),
            (vec![("if-match", b"W/\"1\"")], 412),
            (vec![], 428),
        ];
        for (mut headers, status) in cases {
            let what = format!("{headers:?}");
            headers.push(JSON);
            let body = r#"{"name":"by an odd header"}"#;
            let answer = send(world, &Method::PATCH, &path, &headers, body).await;
            refused(&answer, &[status], &what);
        }
        let after = world.file(&file).await;
        assert_eq!(after["revision"], before["revision"], "{after}");
    });
}

#[test]
fn malformed_paths_and_queries_are_rejected_with_a_problem() {
    shared(async |world| {
        let connection = format!("/v1/connections/{}", world.connection);
        let long = "x".repeat(4_000);
        for path in [
            format!("{connection}/files/%00"),
            format!("{connection}/files/%ff"),
            format!("{connection}/files/a%2fb"),
            format!("{connection}/files/..%2f..%2fx"),
            format!("{connection}/files/{long}"),
            format!("{connection}/conflicts/{long}"),
            format!("{connection}/operations/{long}"),
            format!("/v1/connections/{long}/files"),
            format!("/v1/connections/{}%23x/files", world.connection),
            format!("{connection}//files"),
            format!("{connection}/files/"),
        ] {
            let answer = send(world, &Method::GET, &path, &[], "").await;
            refused(&answer, &[404], &path);
        }
        for query in [
            "limit=18446744073709551616",
            "limit=-1",
            "limit=1001",
            "limit=",
            "limit=1&limit=1",
            "cursor=",
            "cursor=%00",
            "cursor=W1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW10",
            "%00=1",
            "a[b]=c",
        ] {
            for list in ["files", "conflicts", "intents", "operations"] {
                let path = format!("{connection}/{list}?{query}");
                let answer = send(world, &Method::GET, &path, &[], "").await;
                refused(&answer, &[400], &path);
            }
        }
        let path = format!("{connection}/files?cursor={long}");
        refused(
            &send(world, &Method::GET, &path, &[], "").await,
            &[400],
            "a long cursor",
        );
    });
}

#[test]
fn a_reused_idempotency_key_with_another_body_is_rejected_on_every_route() {
    own(async |world| {
        let token = Some(world.token.as_str());
        let connection = format!("/v1/connections/{}", world.connection);
        let file = world.take();
        let conflict = both_rename(world, &file).await["id"].clone();
        let conflict = conflict.as_str().unwrap();
        let made = json!({"name": "made once", "mime_type": "text/plain"});
        let new = json!({"name": "once", "scope": {"type": "user"}, "secret": "drive"});
        let one = format!("{connection}/conflicts/{conflict}/resolution");
        let other = |body: &Value, member: &str| {
            let mut body = body.clone();
            body[member] = json!("another");
            body
        };
        for (path, body, another) in [
            (
                format!("{connection}/files"),
                made.clone(),
                other(&made, "name"),
            ),
            (one, json!({"choose": "app"}), json!({"choose": "drive"})),
            (
                "/v1/connections".to_owned(),
                new.clone(),
                other(&new, "name"),
            ),
        ] {
            let headers = [("idempotency-key", "only-this-body"), ("if-match", "*")];
            let call = async |body: &Value| {
                let body = body.to_string();
                let post = Method::POST;
                world.call(token, post, &path, &headers, Some(&body)).await
            };
            let first = call(&body).await;
            assert!(first.status < 300, "{path}: {}", first.body);
            let again = call(&body).await;
            assert_eq!(again.status, 200, "{path}: {}", again.body);
            assert_eq!(again.headers["idempotent-replayed"], "true", "{path}");
            let reused = call(&another).await;
            refused(&reused, &[422], &path);
            let kind = "urn:drivesync:problem:idempotency-key-reused";
            assert_eq!(reused.body["type"], kind, "{path}");
            if path == "/v1/connections" {
                let made = format!("/v1/connections/{}", first.body["id"].as_str().unwrap());
                let gone = world.call(token, Method::DELETE, &made, &[], None).await;
                assert_eq!(gone.status, 204, "{}", gone.body);
            }
        }
    });
}
