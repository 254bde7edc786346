//! Arbitrary requests: any path, query, header and body to every route of the API.

use std::cell::Cell;

use axum::body::{Body, to_bytes};
use http::{HeaderValue, Method, Request, Uri, header};
use lambda_http::request::RequestContext;
use local::system::TENANT;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::mutation::{Mutations, bytes, mutated, mutations, text};
use super::runner;
use crate::support::{ByHand, api_event, run};

/// A segment of a path for a name in braces of the description.
#[derive(Debug, Clone)]
enum Segment {
    /// The right id.
    Right,
    /// Any text, escaped or not.
    Else(String, bool),
}

#[derive(Debug, Clone)]
enum Content {
    /// A body that some route takes, mutated.
    Mutated(Index, Mutations),
    Else(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Call {
    route: Index,
    segments: Vec<Segment>,
    /// Not the route's method.
    method: Option<&'static str>,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, Vec<u8>)>,
    content: Content,
}

const QUERIES: [&str; 17] = [
    "parent",
    "q",
    "trashed",
    "excluded",
    "path",
    "limit",
    "cursor",
    "status",
    "field",
    "connection",
    "kind",
    "recursive",
    "version",
    "from",
    "to",
    "expected_version",
    "content_hash",
];

/// Returns valid bodies of routes.
fn bodies() -> Vec<Value> {
    vec![
        json!({"name": "x", "description": "y", "starred": true, "trashed": false,
            "properties": {"stage": "a", "b": null}}),
        json!({"parent": "1none", "permissions": {"user:ann@example.com": "reader",
            "anyone": null}}),
        json!({"name": "x", "mime_type": "text/plain", "properties": {"a": "b"}}),
        json!({"name": "x", "mime_type": "application/vnd.google-apps.shortcut",
            "shortcut": {"target_id": "1x"}}),
        json!({"name": "x", "scope": {"type": "shared_drive", "drive_id": "0A"}, "secret": "none",
            "subject": "a@example.com",
            "quota_user": "q", "policies": {"fields": {"name": "drive_wins",
                "properties": {"last_writer_wins": {"window_seconds": 5}}}}}),
        json!({"name": "y", "limits": {"writes_base_per_minute": 100, "breaker_open_seconds": 5},
            "rules": {"include": [{"folder": "1x"}], "exclude": [{"name": "*.tmp"},
                {"mime_type": "video/*"}]},
            "removal_share_percent_max": 10, "removals_unasked_max": 100}),
        json!({"mode": "delta"}),
        json!({"mode": "audit", "dry_run": true, "log": "user"}),
        json!({"choose": "app"}),
        json!({"value": "x"}),
        json!({"resolutions": [{"id": "x", "choose": "drive"}, {"id": "y", "value": null}]}),
        json!({"ids": ["x"]}),
        json!({"all": true, "connection": "c_none", "cursor": "x"}),
        json!({"reason": "it was a test"}),
        json!({"choose": "both"}),
        json!({"pinned": true}),
        json!({"version": 1, "reason": "x", "expected_version": 0}),
        json!({"history_version": "1", "fields": ["name", "permissions"], "reason": "x"}),
        json!({"size_bytes": 20_000_000, "content_hash": "00".repeat(32), "expected_version": 0}),
        json!({"name": "x", "mime_type": "text/plain", "content": {"base64": "YQ=="},
            "content_hash": "00", "expected_version": 0}),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let segment = prop_oneof![
        3 => Just(Segment::Right),
        1 => (text(), any::<bool>()).prop_map(|(text, escaped)| Segment::Else(text, escaped)),
    ];
    let methods = select(vec![
        "GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "X",
    ]);
    let query = (
        prop_oneof![4 => select(QUERIES.to_vec()).prop_map(str::to_owned), 1 => text()],
        text(),
    );
    let any_header = prop_oneof![
        text().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
        select(vec![
            "*",
            "\"1\"",
            "W/\"1\"",
            "\"1\", \"2\"",
            "key",
            "application/json",
            "text/plain"
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    let header = (
        select(vec![
            "if-match",
            "idempotency-key",
            "content-type",
            "content-sha256",
            "x-tenant",
        ]),
        any_header,
    );
    let content = prop_oneof![
        4 => (any::<Index>(), mutations()).prop_map(|(which, mutations)| Content::Mutated(which,
            mutations)),
        1 => bytes().prop_map(Content::Else),
    ];
    let parts = (
        any::<Index>(),
        vec(segment, 3),
        prop::option::weighted(0.1, methods),
        vec(query, 0..3),
        vec(header, 0..3),
        content,
    );
    parts.prop_map(|(route, segments, method, query, headers, content)| Call {
        route,
        segments,
        method,
        query,
        headers,
        content,
    })
}

/// A route of the description: its method, and its path with names in braces.
type Route = (Method, String);

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

struct Api {
    hand: ByHand,
    routes: Vec<Route>,
    context: RequestContext,
    file: String,
    bodies: Vec<Value>,
}

impl Api {
    async fn start() -> Self {
        let hand = ByHand::start(4).await;
        let described = hand
            .call(None, Method::GET, "/openapi.json", &[], None)
            .await;
        let mut routes = Vec::new();
        for (path, methods) in described.body["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let method = method.to_uppercase();
                if let Ok(method) = Method::from_bytes(method.as_bytes()) {
                    routes.push((method, path.clone()));
                }
            }
        }
        assert!(routes.len() > 25, "{routes:?}");
        let event = api_event("get-file").to_string().replace("acme", TENANT);
        let sample = lambda_http::request::from_str(&event).unwrap();
        let context = sample
            .extensions()
            .get::<RequestContext>()
            .cloned()
            .unwrap();
        let file = hand.simulator.random_files("owner", 1).remove(0);
        let bodies = bodies();
        Self {
            hand,
            routes,
            context,
            file,
            bodies,
        }
    }

    /// Returns the request, if it is valid HTTP.
    fn request(&self, call: &Call) -> Option<Request<Body>> {
        let (method, template) = call.route.get(&self.routes);
        let mut segments = call.segments.iter();
        let mut right = true;
        let part = |part: &str| match part
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            None => part.to_owned(),
            Some(name) => match segments.next() {
                Some(Segment::Else(text, true)) => {
                    right = false;
                    escaped(text)
                }
                Some(Segment::Else(text, false)) => {
                    right = false;
                    text.clone()
                }
                Some(Segment::Right) | None => match name {
                    "connection" => self.hand.key.connection.to_string(),
                    _ => self.file.clone(),
                },
            },
        };
        let path: Vec<String> = template.split('/').map(part).collect();
        let method = match call.method {
            Some(method) => Method::from_bytes(method.as_bytes()).unwrap(),
            None => method.clone(),
        };
        if method == Method::DELETE && right && template.ends_with("{connection}") {
            // The connection must not be deleted.
            return None;
        }
        let query: Vec<String> = call
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        let uri = Uri::try_from(format!("{}?{}", path.join("/"), query.join("&"))).ok()?;
        let content = match &call.content {
            Content::Mutated(which, mutations) => {
                mutated(which.get(&self.bodies), mutations).into_bytes()
            }
            Content::Else(bytes) => bytes.clone(),
        };
        let mut request = Request::builder().method(method).uri(uri);
        request = request.extension(self.context.clone());
        let mut request = request.body(Body::from(content)).ok()?;
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::IF_MATCH, HeaderValue::from_static("*"));
        for (name, value) in &call.headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(*name, value);
            }
        }
        Some(request)
    }

    async fn answer(&self, request: Request<Body>) -> (u16, String, Vec<u8>) {
        let answer = api::handle(request, &self.hand.functions.api).await;
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, kind.unwrap_or_default(), body.to_vec())
    }
}

#[test]
fn no_request_causes_a_server_error_and_rejections_are_problems() {
    let api = run(Api::start());
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let outcome = runner(700).run(&call(), |call| {
        let Some(request) = api.request(&call) else {
            return Ok(());
        };
        let what = format!("{} {}", request.method(), request.uri());
        let head = request.method() == Method::HEAD;
        let (status, kind, body) = run(api.answer(request));
        prop_assert!(
            status < 500,
            "{what}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        if status < 400 {
            taken.set(taken.get() + 1);
            prop_assert!(
                body.is_empty() || serde_json::from_slice::<Value>(&body).is_ok(),
                "{what}"
            );
            return Ok(());
        }
        refused.set(refused.get() + 1);
        prop_assert_eq!(kind, "application/problem+json", "{} {}", what, status);
        if !head {
            let problem: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&problem["status"], status, "{}: {}", &what, &problem);
            let name = problem["type"].as_str().unwrap_or_default();
            prop_assert!(
                name.starts_with("urn:drivesync:problem:"),
                "{what}: {problem}"
            );
            let detail = problem["detail"].as_str().unwrap_or_default();
            prop_assert!(
                !detail.is_empty() && detail.len() < 2_000,
                "{what}: {problem}"
            );
        }
        Ok(())
    });
    outcome.unwrap();
    let (taken, refused) = (taken.get(), refused.get());
    assert!(
        taken > 50 && refused > 50,
        "{taken} taken, {refused} refused"
    );
}
