//! Resumable uploads.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::{Reply, World};

const CHUNK: usize = 256 * 1024;

impl World {
    /// Begins an upload and returns the session's path and query.
    async fn begin(&self, method: &str, path: &str, metadata: Value) -> String {
        let reply = self.call(method, path, metadata).await;
        assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.bytes);
        assert!(reply.bytes.is_empty());
        let location = reply.headers[header::LOCATION].to_str().expect("text");
        location
            .strip_prefix("http://127.0.0.1")
            .expect("this machine")
            .to_owned()
    }

    /// Sends a request to a session, which needs no bearer token.
    async fn put(&self, session: &str, range: &str, bytes: &[u8]) -> Reply {
        let request = Request::put(session).header(header::CONTENT_RANGE, range);
        self.send(request.body(Body::from(bytes.to_vec())).expect("a request"))
            .await
    }
}

fn arrived(reply: &Reply) -> Option<String> {
    assert_eq!(reply.status, StatusCode::PERMANENT_REDIRECT);
    reply
        .headers
        .get(header::RANGE)
        .map(|range| range.to_str().expect("text").to_owned())
}

fn content(length: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(length).collect()
}

#[tokio::test]
async fn a_chunked_upload_creates_a_file_and_repeats_its_last_response() {
    let world = World::new();
    let bytes = content(CHUNK * 2 + 100);
    let total = bytes.len();
    let session = world
        .begin(
            "POST",
            "/upload/drive/v3/files?uploadType=resumable&fields=id,name,size",
            json!({"name": "large.bin"}),
        )
        .await;
    let ask = format!("bytes */{total}");
    assert_eq!(arrived(&world.put(&session, &ask, b"").await), None);
    let first = format!("bytes 0-{}/{total}", CHUNK - 1);
    let reply = world.put(&session, &first, &bytes[..CHUNK]).await;
    assert_eq!(arrived(&reply), Some(format!("bytes=0-{}", CHUNK - 1)));
    let too_far = format!("bytes {}-{}/{total}", CHUNK * 2, total - 1);
    assert_eq!(
        world
            .put(&session, &too_far, &bytes[CHUNK * 2..])
            .await
            .refused(),
        (400, "badRequest".to_owned())
    );
    let again = format!("bytes 0-{}/{total}", CHUNK * 2 - 1);
    let reply = world.put(&session, &again, &bytes[..CHUNK * 2]).await;
    assert_eq!(arrived(&reply), Some(format!("bytes=0-{}", CHUNK * 2 - 1)));
    let last = world
        .put(&session, &too_far, &bytes[CHUNK * 2..])
        .await
        .ok();
    assert_eq!(
        (&last["name"], &last["size"]),
        (&json!("large.bin"), &json!(total.to_string()))
    );
    assert_eq!(world.put(&session, &ask, b"").await.ok(), last);
    let media = format!(
        "/drive/v3/files/{}?alt=media",
        last["id"].as_str().expect("an id")
    );
    assert_eq!(world.get(&media).await.bytes, bytes);
    assert_eq!(world.simulator.totals().files, 1);
}

#[tokio::test]
async fn an_upload_resumes_after_a_lost_response() {
    let world = World::new();
    let id = world.file("a");
    let bytes = content(CHUNK + 1);
    let session = world
        .begin(
            "PATCH",
            &format!("/upload/drive/v3/files/{id}?uploadType=resumable&fields=size"),
            json!({"name": "b"}),
        )
        .await;
    world
        .control(
            "POST",
            "faults",
            json!({"match": "PUT /upload/*", "respond": {"status": 503}, "applied": true}),
        )
        .await;
    let first = format!("bytes 0-{}/*", CHUNK - 1);
    assert_eq!(
        world.put(&session, &first, &bytes[..CHUNK]).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let range = arrived(&world.put(&session, "bytes */*", b"").await);
    assert_eq!(range, Some(format!("bytes=0-{}", CHUNK - 1)));
    assert_eq!(world.simulator.file(&id).expect("there").size, Some(7));
    let rest = format!("bytes {CHUNK}-{CHUNK}/{}", CHUNK + 1);
    assert_eq!(
        world.put(&session, &rest, &bytes[CHUNK..]).await.ok(),
        json!({"size": (CHUNK + 1).to_string()})
    );
    let file = world.simulator.file(&id).expect("there");
    assert_eq!((file.name.as_str(), file.size), ("b", Some(262_145)));
}

#[tokio::test]
async fn invalid_chunks_and_totals_are_refused() {
    let world = World::new();
    let session = world
        .begin(
            "POST",
            "/resumable/upload/drive/v3/files?uploadType=resumable",
            Value::Null,
        )
        .await;
    for (range, bytes) in [
        ("bytes 0-99/1000", content(100)),
        ("bytes 0-9/1000", content(100)),
        ("bytes 0-99/50", content(100)),
        ("a lot", content(100)),
        ("bytes 0-99/2000", content(100)),
    ] {
        assert_eq!(
            world.put(&session, range, &bytes).await.refused(),
            (400, "badRequest".to_owned()),
            "{range}"
        );
    }
    assert_eq!(
        world
            .put(&session, "bytes 0-999/1000", &content(1_000))
            .await
            .ok()["name"],
        "Untitled"
    );
}

#[tokio::test]
async fn a_session_expires_after_a_week_and_can_be_cancelled() {
    let world = World::new();
    let path = "/upload/drive/v3/files?uploadType=resumable";
    let (old, given_up) = (
        world.begin("POST", path, Value::Null).await,
        world.begin("POST", path, Value::Null).await,
    );
    let cancel = || {
        Request::delete(&given_up)
            .body(Body::empty())
            .expect("a request")
    };
    assert_eq!(world.send(cancel()).await.status.as_u16(), 499);
    assert_eq!(world.send(cancel()).await.status.as_u16(), 404);
    world.simulator.advance_clock(7 * 24 * 3_600 - 60);
    assert_eq!(arrived(&world.put(&old, "bytes */*", b"").await), None);
    world.simulator.advance_clock(120);
    for session in [old.as_str(), "/upload/drive/v3/files?upload_id=unknown"] {
        assert_eq!(
            world.put(session, "bytes */*", b"").await.refused(),
            (404, "notFound".to_owned())
        );
    }
}

#[tokio::test]
async fn an_upload_without_permission_is_refused_when_it_begins() {
    let world = World::new();
    let begin = "/upload/drive/v3/files?uploadType=resumable";
    let missing = json!({"name": "a", "parents": ["nowhere"]});
    assert_eq!(
        world.call("POST", begin, missing).await.refused(),
        (404, "notFound".to_owned())
    );
    assert_eq!(
        world
            .call("POST", begin, json!({"version": "7"}))
            .await
            .refused(),
        (403, "fieldNotWritable".to_owned())
    );
    let drive = world.simulator.create_drive(
        "Team",
        &[
            ("owner", crate::Role::Organizer),
            ("bob", crate::Role::Reader),
        ],
    );
    let file = world
        .simulator
        .create_file("owner", "a", Some(&drive), "x".into())
        .expect("made");
    let path = format!("/upload/drive/v3/files/{file}?uploadType=resumable&supportsAllDrives=true");
    assert_eq!(
        world
            .call_as("bob", "PATCH", &path, Value::Null)
            .await
            .refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
}

/// Begins an upload in v2 that is conditional on `etag`.
async fn begin_v2(world: &World, id: &str, etag: &str) -> Reply {
    let path = format!("/upload/drive/v2/files/{id}?uploadType=resumable&fields=id,fileSize");
    let request = Request::put(path)
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::IF_MATCH, etag);
    world
        .send(request.body(Body::empty()).expect("a request"))
        .await
}

fn session_of(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.bytes);
    let location = reply.headers[header::LOCATION].to_str().expect("text");
    let session = location.strip_prefix("http://127.0.0.1");
    session.expect("this machine").to_owned()
}

#[tokio::test]
async fn a_v2_upload_checks_its_etag_at_the_beginning_and_at_completion() {
    let world = World::new();
    let id = world.file("a");
    let etag = || world.simulator.file(&id).expect("there").etag;
    let stale = etag();
    let edit = |name: &str| {
        let edit = crate::Edit::Rename(name.to_owned());
        world.simulator.apply("alice", &id, edit).expect("allowed");
    };
    edit("b");
    let not_met = (412, "conditionNotMet".to_owned());
    assert_eq!(begin_v2(&world, &id, &stale).await.refused(), not_met);

    let overtaken = session_of(&begin_v2(&world, &id, &etag()).await);
    assert!(overtaken.starts_with(&format!("/upload/drive/v2/files/{id}?")));
    edit("c");
    let late = world.put(&overtaken, "bytes 0-2/3", b"new").await;
    assert_eq!(late.refused(), not_met);
    let after = world.put(&overtaken, "bytes */3", b"").await;
    assert_eq!(after.refused(), (404, "notFound".to_owned()));

    let session = session_of(&begin_v2(&world, &id, &etag()).await);
    let done = json!({"id": id, "fileSize": "0"});
    for _ in 0..2 {
        assert_eq!(world.put(&session, "bytes */0", b"").await.ok(), done);
    }
}

#[tokio::test]
async fn the_moment_of_the_etag_check_can_be_set() {
    let world = World::new();
    let id = world.file("a");
    let etag = || world.simulator.file(&id).expect("there").etag;
    let edit = |name: &str| {
        let edit = crate::Edit::Rename(name.to_owned());
        world.simulator.apply("alice", &id, edit).expect("allowed");
    };
    world
        .control("POST", "uploads", json!({"condition": "begin"}))
        .await;
    let session = session_of(&begin_v2(&world, &id, &etag()).await);
    edit("b");
    assert_eq!(
        world.put(&session, "bytes 0-2/3", b"new").await.ok(),
        json!({"id": id, "fileSize": "3"})
    );
    world
        .control("POST", "uploads", json!({"condition": "end"}))
        .await;
    let session = session_of(&begin_v2(&world, &id, "\"old\"").await);
    let late = world.put(&session, "bytes 0-2/3", b"new").await;
    assert_eq!(late.refused(), (412, "conditionNotMet".to_owned()));
}

#[tokio::test]
async fn an_upload_refuses_a_used_id_at_the_beginning_and_at_completion() {
    let world = World::new();
    let path = "/upload/drive/v3/files?uploadType=resumable&fields=id";
    let file = json!({"id": "given-out", "name": "a"});
    let first = world.begin("POST", path, file.clone()).await;
    let second = world.begin("POST", path, file.clone()).await;
    world.put(&first, "bytes */0", b"").await.ok();
    let in_use = (409, "fileIdInUse".to_owned());
    assert_eq!(world.put(&second, "bytes */0", b"").await.refused(), in_use);
    assert_eq!(world.call("POST", path, file).await.refused(), in_use);
    assert_eq!(world.simulator.totals().files, 1);
}

#[tokio::test]
async fn chunks_are_taken_as_post_too_in_both_versions() {
    let world = World::new();
    let id = world.file("a");
    let file_v3 = format!("/upload/drive/v3/files/{id}");
    let file_v2 = format!("/upload/drive/v2/files/{id}");
    for (method, path) in [
        ("POST", "/upload/drive/v3/files"),
        ("PATCH", &file_v3),
        ("POST", "/upload/drive/v2/files"),
        ("PUT", &file_v2),
    ] {
        let begun = world
            .call(method, &format!("{path}?uploadType=resumable"), json!({}))
            .await;
        let location = begun.headers["location"].to_str().expect("a URL");
        let (_, session) = location.split_once("/upload/").expect("a session");
        let request = Request::post(format!("/upload/{session}"))
            .header("content-range", "bytes 0-4/5")
            .body(Body::from("12345"));
        let done = world.send(request.expect("a request")).await.ok();
        let id = done["id"].as_str().expect("an id").to_owned();
        assert_eq!(
            world.simulator.file(&id).expect("there").size,
            Some(5),
            "{path}"
        );
    }
    let nothing = world
        .call("PUT", "/upload/drive/v3/files", Value::Null)
        .await;
    assert_eq!(nothing.status.as_u16(), 404);
}
