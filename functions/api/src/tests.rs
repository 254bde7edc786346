//! Requests to the whole API: the sample events, and what is checked before DynamoDB is called.

/// The sample requests, which the tests of the whole system share.
#[expect(
    unreachable_pub,
    reason = "the file is public within the crate of those tests"
)]
#[path = "../../../tests/tests/all/support/api_events.rs"]
mod api_events;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use domain::rate_limit::TenantLimits;
use domain::{Role, Timestamp};
use drive::Drives;
use http_body_util::BodyExt;
use lambda_http::request::RequestContext;
use runtime::{Clock, Entropy};
use serde_json::{Value, json};
use store::Store;
use throttle::{DriveFactory, TenantBudgets};
use worker::{ContentQueues, Queue, SnapshotQueues, WakeQueues};

use crate::http::{Needs, openapi};
use crate::routes::ROUTES;
use crate::{Deps, handle};

/// Services that can't be reached: a request that succeeds does not call them.
pub(crate) fn deps() -> Deps {
    let region = aws_sdk_dynamodb::config::Region::new("us-east-1");
    let table = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(region.clone())
        .endpoint_url("http://127.0.0.1:1")
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled());
    let queues = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(region.clone())
        .endpoint_url("http://127.0.0.1:1");
    let secrets = aws_sdk_secretsmanager::Config::builder()
        .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
        .region(region)
        .endpoint_url("http://127.0.0.1:1");
    let bucket = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .endpoint_url("http://127.0.0.1:1")
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled());
    let bucket = aws_sdk_s3::Client::from_conf(bucket.build());
    let sqs = aws_sdk_sqs::Client::from_conf(queues.build());
    let transport: drive::Transport = Arc::new(|_| panic!("unexpected Drive call"));
    let now = || Timestamp::from_millis(1_795_251_600_000);
    let secrets = aws_sdk_secretsmanager::Client::from_conf(secrets.build());
    let drives = Drives::new(
        transport,
        "http://127.0.0.1:1",
        secrets.clone(),
        Arc::new(now),
    );
    let store = Store::new(aws_sdk_dynamodb::Client::from_conf(table.build()), "table");
    let (clock, entropy) = (Clock::new(now), Entropy::new(|| 7));
    let limits = TenantLimits::none();
    Deps {
        budgets: TenantBudgets::new(store.clone(), clock.clone(), entropy.clone(), limits),
        drives: DriveFactory::new(drives, store.clone(), clock, entropy),
        store,
        objects: objects::Objects::new(bucket, "content"),
        distribution: None,
        wakes: WakeQueues {
            logs: Queue::new(sqs.clone(), "http://127.0.0.1:1/logs"),
            pushes: Queue::new(sqs.clone(), "http://127.0.0.1:1/pushes"),
            operations: Queue::new(sqs.clone(), "http://127.0.0.1:1/operations"),
            live: Queue::new(sqs.clone(), "http://127.0.0.1:1/live-wakes"),
            deliver: Queue::new(sqs.clone(), "http://127.0.0.1:1/deliver"),
        },
        snapshots: SnapshotQueues {
            live: Queue::new(sqs.clone(), "http://127.0.0.1:1/live"),
            bulk: Queue::new(sqs.clone(), "http://127.0.0.1:1/bulk"),
        },
        contents: ContentQueues {
            high: Queue::new(sqs.clone(), "http://127.0.0.1:1/content"),
            bulk: Queue::new(sqs, "http://127.0.0.1:1/content-bulk"),
        },
        clock: Clock::new(now),
        entropy: Entropy::new(|| 7),
        claims: crate::ClaimNames::default(),
        secrets_prefix: "drivesync/".to_owned(),
        waits_max: 10,
        live_url: "ws://127.0.0.1:1/live".to_owned(),
        webhook_key: webhooks::RootSecret::new(secrets, "webhooks"),
        webhook_hosts: webhooks::Rules::of_internet("live.example.com"),
        history_days: Some(90),
    }
}

/// Returns the top folder of the workspace.
fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn event(name: &str) -> lambda_http::Request {
    let text = api_events::api_event(name).to_string();
    lambda_http::request::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A request of the tenant acme as API Gateway passes it.
pub(crate) fn request(method: Method, uri: &str, body: &str) -> Request<String> {
    let context = event("get-file")
        .extensions()
        .get::<RequestContext>()
        .cloned()
        .unwrap();
    Request::builder()
        .method(method)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::IF_MATCH, "\"1\"")
        .extension(context)
        .body(body.to_owned())
        .unwrap()
}

pub(crate) async fn json(response: Response) -> (StatusCode, Value) {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    if bytes.is_empty() {
        return (parts.status, Value::Null);
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let media_type = parts.headers[header::CONTENT_TYPE].to_str().unwrap();
    if parts.status.is_client_error() || parts.status.is_server_error() {
        assert_eq!(media_type, "application/problem+json");
        assert_eq!(body["status"], parts.status.as_u16());
        assert!(
            body["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:drivesync:problem:")
        );
        assert!(!body["title"].as_str().unwrap().is_empty());
    } else {
        assert_eq!(media_type, "application/json");
    }
    (parts.status, body)
}

#[tokio::test]
async fn every_sample_event_gets_a_well_formed_response() {
    let deps = deps();
    let mut seen = 0;
    for sample in api_events::api_samples() {
        let (name, wanted) = (sample.name, sample.status);
        let (status, body) = json(handle(event(&name), &deps).await).await;
        assert_ne!(status, 500, "{name}, {wanted} if DynamoDB responds: {body}");
        seen += 1;
    }
    assert!(seen > 30, "{seen} events");
}

#[tokio::test]
async fn an_invalid_request_is_refused_before_dynamodb_is_called() {
    let deps = deps();
    for (name, status, pointer) in [
        ("no-claims", 401, None),
        ("no-tenant-claim", 401, None),
        ("empty-tenant-claim", 401, None),
        ("tenant-claim-that-breaks-a-key", 401, None),
        ("unknown-path", 404, None),
        ("method-not-allowed", 405, None),
        ("malformed-json", 400, None),
        ("list-files-bad-cursor", 400, None),
        ("list-files-bad-limit", 400, None),
        ("patch-file-not-an-object", 400, Some("")),
        ("patch-file-unknown-field", 422, Some("/colour")),
        ("patch-file-read-only-field", 422, Some("/size")),
        ("patch-file-wrong-type", 422, Some("/starred")),
        ("patch-file-empty-name", 422, Some("/name")),
        (
            "patch-file-property-over-limit",
            422,
            Some("/properties/stage"),
        ),
        ("patch-file-without-if-match", 428, None),
        ("resolve-conflict-unknown-choice", 422, Some("/choose")),
        (
            "create-connection-secret-of-another-tenant",
            422,
            Some("/secret"),
        ),
        ("openapi", 200, None),
    ] {
        let (got, body) = json(handle(event(name), &deps).await).await;
        assert_eq!(got, status, "{name}: {body}");
        assert_eq!(body["pointer"].as_str(), pointer, "{name}: {body}");
    }
}

#[tokio::test]
async fn an_unreachable_table_is_a_503_with_retry_after() {
    for name in ["health", "get-file", "patch-file", "tenant-in-a-header"] {
        let response = handle(event(name), &deps()).await;
        assert!(
            response.headers().contains_key(header::RETRY_AFTER),
            "{name}"
        );
        assert_eq!(json(response).await.0, 503, "{name}");
    }
}

#[tokio::test]
async fn a_401_names_the_scheme_and_a_405_the_allowed_methods() {
    let response = handle(event("no-claims"), &deps()).await;
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let response = handle(event("method-not-allowed"), &deps()).await;
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_not_json_is_refused() {
    let deps = deps();
    let uri = "/v1/connections/c_01/files/1abc";
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(256 * 1024));
    let (status, _) = json(handle(request(Method::PATCH, uri, &large), &deps).await).await;
    assert_eq!(status, 413);
    let mut form = request(Method::PATCH, uri, "name=x");
    let kind = header::HeaderValue::from_static("application/x-www-form-urlencoded");
    form.headers_mut().insert(header::CONTENT_TYPE, kind);
    assert_eq!(json(handle(form, &deps).await).await.0, 415);
    let (status, body) = json(handle(request(Method::PATCH, uri, "{\n\"a\""), &deps).await).await;
    assert_eq!(status, 400);
    assert!(
        body["detail"].as_str().unwrap().contains("line 2"),
        "{body}"
    );
}

#[tokio::test]
async fn a_query_with_an_unknown_or_malformed_parameter_is_refused() {
    let deps = deps();
    for query in [
        "colour=red",
        "limit=x",
        "limit=0",
        "trashed=maybe",
        "parent=a/b",
        "limit=1&limit=2",
        "cursor=!",
    ] {
        let uri = format!("/v1/connections/c_01/files?{query}");
        let (status, body) = json(handle(request(Method::GET, &uri, ""), &deps).await).await;
        assert_eq!(status, 400, "{query}: {body}");
    }
}

#[tokio::test]
async fn a_path_without_valid_ids_is_404() {
    let deps = deps();
    for path in [
        "/v1/connections/a%23b",
        "/v1/connections/c_01/files/%ff",
        "/v1",
        "/",
        "/health/x",
    ] {
        let (status, body) = json(handle(request(Method::GET, path, ""), &deps).await).await;
        assert_eq!(status, 404, "{path}: {body}");
    }
}

#[tokio::test]
async fn the_problem_of_an_invalid_sync_points_at_the_member() {
    let deps = deps();
    let uri = "/v1/connections/c_01/sync";
    for (body, pointer) in [
        (json!({"mode": "quick"}), "/mode"),
        (json!({"mode": "full", "dry": true}), "/dry"),
    ] {
        let request = request(Method::POST, uri, &body.to_string());
        let (status, answer) = json(handle(request, &deps).await).await;
        assert_eq!(
            (status.as_u16(), &answer["pointer"]),
            (422, &json!(pointer))
        );
    }
}

#[tokio::test]
async fn every_described_route_exists_and_requires_authentication() {
    let deps = deps();
    let document = openapi::document();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let uri = path
                .replace("{connection}", "c_01")
                .replace("{file}", "1abc")
                .replace("{conflict}", "x")
                .replace("{operation}", "x")
                .replace("{version}", "1")
                .replace("{upload}", "x")
                .replace("{webhook}", "w_01");
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(uri)
                .body(String::new())
                .unwrap();
            let wanted = if path == "/health" { 503 } else { 401 };
            let (status, body) = json(handle(request, &deps).await).await;
            assert_eq!(status, wanted, "{method} {path}: {body}");
            routes += 1;
        }
    }
    assert_eq!(routes, 81);
}

/// Returns a request by a member of the tenant acme with this claim of a role.
fn request_of(role: Option<&str>, method: &Method, path: &str) -> Request<String> {
    let path = path.replace("{connection}", "c_01").replace(['{', '}'], "");
    let mut request = request(method.clone(), &path, "{}");
    let context = request.extensions_mut().get_mut::<RequestContext>();
    let Some(RequestContext::ApiGatewayV2(context)) = context else {
        panic!("no context");
    };
    let claims = context.authorizer.as_mut().unwrap().jwt.as_mut().unwrap();
    claims.claims.remove("custom:role");
    if let Some(role) = role {
        claims
            .claims
            .insert("custom:role".to_owned(), role.to_owned());
    }
    request
}

#[tokio::test]
async fn every_route_refuses_the_roles_below_its_own_before_anything_is_read() {
    let deps = deps();
    let mut claims: Vec<(Option<&str>, Role)> = vec![
        (None, Role::Viewer),
        (Some("owner"), Role::Viewer),
        (Some("[admin operator]"), Role::Viewer),
    ];
    claims.extend(Role::ALL.map(|role| (Some(role.as_str()), role)));
    let mut tried = 0;
    for (method, path, needs) in ROUTES {
        let Needs::Role(needed) = needs else {
            continue;
        };
        for (claim, role) in &claims {
            let request = request_of(*claim, method, path);
            let (status, body) = json(handle(request, &deps).await).await;
            let what = format!("{method} {path} by {claim:?}: {body}");
            if role < needed {
                assert_eq!(status, 403, "{what}");
                assert_eq!(body["type"], "urn:drivesync:problem:forbidden", "{what}");
                assert_eq!(body["role_needed"], needed.as_str(), "{what}");
            } else {
                assert!(status != 401 && status != 403, "{what}");
            }
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn the_description_states_the_role_of_every_route_of_the_table() {
    let document = openapi::document();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"].as_str().unwrap_or("anyone");
            described.insert(format!("{} {path} {role}", method.to_uppercase()));
        }
    }
    let table = ROUTES
        .iter()
        .filter(|(_, path, _)| *path != "/openapi.json");
    let table = table.map(|(method, path, needs)| match needs {
        Needs::Anyone => format!("{method} {path} anyone"),
        Needs::Role(role) => format!("{method} {path} {role}"),
    });
    assert_eq!(described, table.collect());
}

#[test]
fn the_description_is_complete() {
    let document = openapi::document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    let schemas = &document["components"]["schemas"];
    let text = document.to_string();
    for part in text.split("\"$ref\":\"").skip(1) {
        let name = part.split('"').next().unwrap();
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas[name].is_object(), "{name} is not described");
    }
    let names: Vec<&str> = text
        .split("\"operationId\":\"")
        .skip(1)
        .filter_map(|part| part.split('"').next())
        .collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert_eq!((names.len(), distinct.len()), (81, 81), "{names:?}");
    let patch = &document["paths"]["/v1/connections/{connection}/files/{file}"]["patch"];
    for status in [
        "200", "400", "401", "404", "409", "410", "412", "413", "415", "422", "428", "429", "503",
    ] {
        assert!(patch["responses"][status].is_object(), "{status}");
    }
}
