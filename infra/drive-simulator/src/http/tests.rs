//! Tests of whole calls, through the router.

mod batch_routes;
mod change_routes;
mod content_routes;
mod control_routes;
mod corpus_moves;
mod drive_routes;
mod drive_troubles;
mod error_reasons;
mod file_routes_v2;
mod file_routes_v3;
mod grant_routes;
mod labels;
mod notification_delivery;
mod permission_routes;
mod shortcuts;
mod upload_routes;

use std::path::Path;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    simulator::{Options, Simulator},
    state::items::item::FOLDER,
};

/// A simulator and its router.
struct World {
    simulator: Simulator,
    router: Router,
}

/// A received response.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Reply {
    /// Returns the JSON of a success.
    #[track_caller]
    fn ok(&self) -> Value {
        assert!(
            self.status.is_success(),
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.bytes)
        );
        if self.bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&self.bytes).expect("JSON")
        }
    }

    /// Returns the status and first reason of an error, which must have Google's format.
    #[track_caller]
    fn refused(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.bytes).expect("JSON");
        assert_eq!(body["error"]["code"], self.status.as_u16(), "{body}");
        let reason = body["error"]["errors"][0]["reason"]
            .as_str()
            .expect("a reason");
        (self.status.as_u16(), reason.to_owned())
    }
}

impl World {
    fn new() -> Self {
        Self::beside(None)
    }

    /// A simulator that may load from a directory.
    fn beside(library: Option<&Path>) -> Self {
        let simulator = Simulator::new(Options {
            seed: Some(1),
            library: library.map(Path::to_owned),
            ..Options::default()
        });
        Self {
            router: simulator.router(),
            simulator,
        }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    /// Makes a call as a user, with a JSON body unless it is null.
    async fn call_as(&self, user: &str, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer user:{user}"));
        self.send(request.body(body).expect("a request")).await
    }

    /// Makes a call as the library's owner.
    async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call_as("owner", method, path, body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null).await
    }

    /// Sends a command to the control interface.
    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        self.call(method, &format!("/_control/{path}"), body)
            .await
            .ok()
    }

    fn file(&self, name: &str) -> String {
        self.simulator
            .create_file("owner", name, None, Bytes::from_static(b"content"))
            .expect("made")
    }

    fn folder(&self, name: &str, parent: Option<&str>) -> String {
        self.simulator
            .create_folder("owner", name, parent)
            .expect("made")
    }

    async fn start_token(&self, user: &str, query: &str) -> String {
        let reply = self
            .call_as(
                user,
                "GET",
                &format!("/drive/v3/changes/startPageToken?{query}"),
                Value::Null,
            )
            .await;
        reply.ok()["startPageToken"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Returns every change after a token, as (file id, removed), and the next start token.
    async fn changes(
        &self,
        user: &str,
        mut token: String,
        query: &str,
    ) -> (Vec<(String, bool)>, String) {
        let mut found = Vec::new();
        for _ in 0..10_000 {
            let page = self
                .call_as(
                    user,
                    "GET",
                    &format!("/drive/v3/changes?pageToken={token}&{query}"),
                    Value::Null,
                )
                .await
                .ok();
            for change in page["changes"].as_array().expect("changes") {
                let id = change["fileId"]
                    .as_str()
                    .or(change["driveId"].as_str())
                    .expect("an id");
                found.push((id.to_owned(), change["removed"].as_bool().expect("removed")));
            }
            let next = page["nextPageToken"]
                .as_str()
                .or(page["newStartPageToken"].as_str())
                .expect("a token")
                .to_owned();
            assert_ne!(
                page.get("nextPageToken").is_some(),
                page.get("newStartPageToken").is_some()
            );
            if page.get("newStartPageToken").is_some() {
                return (found, next);
            }
            token = next;
        }
        panic!("the log does not end");
    }
}

#[tokio::test]
async fn a_call_without_a_valid_bearer_is_refused() {
    let world = World::new();
    let without = Request::get("/drive/v3/files")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(
        world.send(without).await.refused(),
        (403, "forbidden".to_owned())
    );
    let without = Request::post("/drive/v3/files").body(Body::empty());
    assert_eq!(
        world.send(without.expect("a request")).await.refused(),
        (401, "required".to_owned())
    );
    for bearer in ["Bearer unknown", "Bearer user:", "Basic eA==", "Bearer"] {
        let request = Request::get("/drive/v3/files")
            .header(header::AUTHORIZATION, bearer)
            .body(Body::empty());
        assert_eq!(
            world.send(request.expect("a request")).await.refused(),
            (401, "authError".to_owned()),
            "{bearer}"
        );
    }
}

#[tokio::test]
async fn an_issued_token_acts_as_its_user_until_it_expires() {
    let world = World::new();
    let form = "grant_type=refresh_token&refresh_token=user%3Aalice&client_id=x&client_secret=y";
    let granted = world
        .send(
            Request::post("/token")
                .body(Body::from(form))
                .expect("a request"),
        )
        .await
        .ok();
    assert_eq!(
        (&granted["expires_in"], &granted["token_type"]),
        (&json!(3599), &json!("Bearer"))
    );
    let about = || {
        let bearer = format!(
            "Bearer {}",
            granted["access_token"].as_str().expect("a token")
        );
        Request::get("/drive/v3/about?fields=user/emailAddress")
            .header(header::AUTHORIZATION, bearer)
            .body(Body::empty())
            .expect("a request")
    };
    assert_eq!(
        world.send(about()).await.ok(),
        json!({"user": {"emailAddress": "alice@example.com"}})
    );
    world
        .control("POST", "clock", json!({"advance_seconds": 3_600}))
        .await;
    assert_eq!(
        world.send(about()).await.refused(),
        (401, "authError".to_owned())
    );
}

#[tokio::test]
async fn an_unknown_refresh_token_is_an_invalid_grant() {
    let world = World::new();
    let form = "grant_type=refresh_token&refresh_token=revoked";
    let reply = world
        .send(
            Request::post("/token")
                .body(Body::from(form))
                .expect("a request"),
        )
        .await;
    let body: Value = serde_json::from_slice(&reply.bytes).expect("JSON");
    assert_eq!(
        (reply.status, &body["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
    );
}

#[tokio::test]
async fn unknown_paths_and_parameters_and_omitted_methods_are_refused() {
    let world = World::new();
    let id = world.file("a");
    for (method, path, status, reason) in [
        ("GET", "/drive/v3/nothing".to_owned(), 404, "notFound"),
        ("GET", "/".to_owned(), 404, "notFound"),
        (
            "GET",
            "/drive/v3/files?unknown=1".to_owned(),
            400,
            "invalidParameter",
        ),
        (
            "GET",
            "/drive/v3/files?alt=xml".to_owned(),
            400,
            "invalidParameter",
        ),
        (
            "GET",
            "/drive/v3/files?supportsAllDrives=maybe".to_owned(),
            400,
            "invalid",
        ),
        (
            "GET",
            "/drive/v3/files?pageSize=0".to_owned(),
            400,
            "invalidParameter",
        ),
        (
            "GET",
            "/drive/v3/files?pageSize=many".to_owned(),
            400,
            "invalid",
        ),
        (
            "GET",
            "/drive/v3/files?pageSize=1001".to_owned(),
            400,
            "invalidParameter",
        ),
        (
            "GET",
            "/drive/v3/files?includeItemsFromAllDrives=true".to_owned(),
            403,
            "supportsTeamDrivesRequired",
        ),
        (
            "GET",
            "/drive/v3/files?orderBy=name,name".to_owned(),
            403,
            "orderByContainsDuplicateSortKeys",
        ),
        (
            "GET",
            format!("/drive/v3/files/{id}?acknowledgeAbuse=true"),
            403,
            "invalidAbuseAcknowledgment",
        ),
        (
            "POST",
            format!("/drive/v3/files/{id}/approvals:start"),
            501,
            "notImplemented",
        ),
        ("GET", "/drive/v2/changes".to_owned(), 501, "notImplemented"),
        (
            "POST",
            format!("/drive/v2/files/{id}/touch"),
            501,
            "notImplemented",
        ),
        (
            "DELETE",
            format!("/drive/v2/files/{id}/parents/x"),
            501,
            "notImplemented",
        ),
        (
            "PUT",
            format!("/drive/v2/files/{id}/parents/x"),
            404,
            "notFound",
        ),
        ("POST", format!("/drive/v2/files/{id}"), 404, "notFound"),
        (
            "PATCH",
            format!("/upload/drive/v2/files/{id}?uploadType=media"),
            404,
            "notFound",
        ),
        ("GET", "/drive/v3/comments".to_owned(), 404, "notFound"),
    ] {
        let reply = world.call(method, &path, Value::Null).await;
        assert_eq!(
            reply.refused(),
            (status, reason.to_owned()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_batch_executes_its_calls_with_their_own_headers() {
    let world = World::new();
    let id = world.file("a");
    let etag = world.simulator.file(&id).expect("there").etag;
    let body = format!(
        "--b\r\nContent-Type: application/http\r\nContent-ID: <x + 1>\r\n\r\n\
         PATCH /drive/v2/files/{id}?fields=title HTTP/1.1\r\n\
         Content-Type: application/json\r\nIf-Match: {etag}\r\n\r\n{{\"title\":\"b\"}}\r\n\
         --b\r\nContent-Type: application/http\r\nContent-ID: <x + 2>\r\n\r\n\
         PATCH /drive/v2/files/{id} HTTP/1.1\r\nIf-Match: {etag}\r\n\r\n\
         {{\"title\":\"c\"}}\r\n--b--"
    );
    let request = Request::post("/batch/drive/v2")
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::CONTENT_TYPE, "multipart/mixed; boundary=b");
    let reply = world
        .send(request.body(Body::from(body)).expect("a request"))
        .await;
    let text = String::from_utf8_lossy(&reply.bytes);
    let (first, second) = (
        text.find("<response-x + 1>").expect("first"),
        text.find("<response-x + 2>").expect("second"),
    );
    assert!(first < second, "{text}");
    assert!(
        text[first..second].contains("HTTP/1.1 200 OK")
            && text[first..second].contains("{\"title\":\"b\"}"),
        "{text}"
    );
    assert!(
        text[second..].contains("HTTP/1.1 412") && text[second..].contains("conditionNotMet"),
        "{text}"
    );
    assert_eq!(world.simulator.counters().calls["v2.files.patch"], 2);
}

#[tokio::test]
async fn a_batch_of_more_than_a_hundred_calls_is_refused() {
    let world = World::new();
    let part =
        "--b\r\nContent-Type: application/http\r\n\r\nGET /drive/v3/files HTTP/1.1\r\n\r\n\r\n";
    let request = Request::post("/batch/drive/v3")
        .header(header::CONTENT_TYPE, "multipart/mixed; boundary=b");
    let reply = world
        .send(
            request
                .body(Body::from(format!("{}--b--", part.repeat(101))))
                .expect("a request"),
        )
        .await;
    assert_eq!(reply.refused(), (400, "badRequest".to_owned()));
}

#[tokio::test]
async fn items_of_shared_drives_need_support_and_membership() {
    let world = World::new();
    let made = world
        .control(
            "POST",
            "drives",
            json!({"name": "Team", "members": ["owner", {"user": "bob", "role": "reader"}]}),
        )
        .await;
    let drive = made["id"].as_str().expect("an id");
    let body = json!({"name": "in the drive", "parents": [drive]});
    assert_eq!(
        world
            .call("POST", "/drive/v3/files", body.clone())
            .await
            .refused(),
        (404, "notFound".to_owned())
    );
    let file = world
        .call(
            "POST",
            "/drive/v3/files?supportsAllDrives=true&fields=id,driveId,owners,ownedByMe",
            body.clone(),
        )
        .await
        .ok();
    assert_eq!(file["driveId"], drive);
    assert!(file.get("owners").is_none() && file.get("ownedByMe").is_none());
    let path = format!("/drive/v3/files/{}", file["id"].as_str().expect("an id"));
    assert_eq!(
        world.get(&path).await.refused(),
        (404, "notFound".to_owned())
    );
    assert!(
        world
            .get(&format!("{path}?supportsAllDrives=true"))
            .await
            .status
            .is_success()
    );
    let as_user = async |user: &str, method: &str| {
        world
            .call_as(
                user,
                method,
                &format!("{path}?supportsAllDrives=true"),
                json!({}),
            )
            .await
            .status
            .as_u16()
    };
    assert_eq!(
        (as_user("bob", "GET").await, as_user("carol", "GET").await),
        (200, 404)
    );
    assert_eq!(as_user("bob", "DELETE").await, 403);
    let list = |query: &str| format!("/drive/v3/files?fields=files(id)&{query}");
    let count = async |query: &str| {
        world.get(&list(query)).await.ok()["files"]
            .as_array()
            .expect("files")
            .len()
    };
    assert_eq!(count("").await, 0);
    assert_eq!(
        count("includeItemsFromAllDrives=true&supportsAllDrives=true").await,
        1
    );
    assert_eq!(
        count(&format!(
            "corpora=drive&driveId={drive}&includeItemsFromAllDrives=true&supportsAllDrives=true"
        ))
        .await,
        1
    );
    assert_eq!(
        world.get("/drive/v3/files?corpora=drive").await.refused(),
        (400, "invalid".to_owned())
    );
}
