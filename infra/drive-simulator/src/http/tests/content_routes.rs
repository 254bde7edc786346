//! Revisions, exports, long-running downloads and content that cannot be downloaded.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::World;

const DOCUMENT: &str = "application/vnd.google-apps.document";

impl World {
    /// Replaces a file's content.
    async fn upload(&self, id: &str, content: &str, query: &str) -> Value {
        let request = Request::patch(format!(
            "/upload/drive/v3/files/{id}?uploadType=media&fields=*&{query}"
        ))
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::CONTENT_TYPE, "text/plain");
        self.send(
            request
                .body(Body::from(content.to_owned()))
                .expect("a request"),
        )
        .await
        .ok()
    }

    async fn revisions(&self, id: &str) -> Vec<Value> {
        let list = self
            .get(&format!("/drive/v3/files/{id}/revisions?fields=*"))
            .await
            .ok();
        list["revisions"].as_array().expect("revisions").clone()
    }

    async fn document(&self, kind: &str) -> String {
        let made = self
            .call(
                "POST",
                "/drive/v3/files",
                json!({"name": "minutes", "mimeType": kind}),
            )
            .await
            .ok();
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn set_content(&self, command: Value) {
        self.control("POST", "content", command).await;
    }
}

#[tokio::test]
async fn an_upload_creates_a_revision_and_only_kept_ones_are_downloadable() {
    let world = World::new();
    let id = world.file("a");
    let after = world.upload(&id, "second", "").await;
    world.upload(&id, "third", "").await;
    let all = world.revisions(&id).await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[1]["id"], after["headRevisionId"]);
    assert_eq!(
        (&all[1]["size"], &all[1]["md5Checksum"]),
        (&json!("6"), &json!("a9f0e61a137d86aa9db53465e0801612"))
    );
    let path = format!(
        "/drive/v3/files/{id}/revisions/{}",
        all[1]["id"].as_str().expect("an id")
    );
    assert_eq!(
        world.get(&path).await.ok(),
        json!({"kind": "drive#revision", "id": all[1]["id"], "mimeType": "text/plain",
            "modifiedTime": all[1]["modifiedTime"]})
    );
    let media = format!("{path}?alt=media");
    assert_eq!(
        world.get(&media).await.refused(),
        (403, "fileNotDownloadable".to_owned())
    );
    let kept = world
        .call(
            "PATCH",
            &format!("{path}?fields=keepForever"),
            json!({"keepForever": true}),
        )
        .await
        .ok();
    assert_eq!(kept, json!({"keepForever": true}));
    assert_eq!(world.get(&media).await.bytes, "second");
    let head = format!("/drive/v3/files/{id}/revisions/head");
    assert_eq!(world.get(&format!("{head}?alt=media")).await.bytes, "third");
    assert_eq!(
        world.call("DELETE", &head, Value::Null).await.refused(),
        (400, "invalid".to_owned())
    );
    assert_eq!(
        world.call("DELETE", &path, Value::Null).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        world.get(&path).await.refused(),
        (404, "notFound".to_owned())
    );
}

#[tokio::test]
async fn superseded_revisions_are_purged_after_thirty_days_unless_kept_forever() {
    let world = World::new();
    let id = world.file("a");
    world.upload(&id, "kept", "keepRevisionForever=true").await;
    world.upload(&id, "dropped", "").await;
    world.upload(&id, "head", "").await;
    world.simulator.advance_clock(29 * 24 * 3_600);
    assert_eq!(world.revisions(&id).await.len(), 4);
    world.simulator.advance_clock(2 * 24 * 3_600);
    let kept: Vec<Value> = world
        .revisions(&id)
        .await
        .iter()
        .map(|revision| revision["size"].clone())
        .collect();
    assert_eq!(kept, ["4", "4"], "the revision kept forever and the head");
}

#[tokio::test]
async fn the_latest_hundred_superseded_revisions_are_kept() {
    let world = World::new();
    let id = world.file("a");
    for number in 0..105 {
        world.upload(&id, &number.to_string(), "").await;
    }
    let all = world.revisions(&id).await;
    assert_eq!(all.len(), 101);
    let first = world
        .get(&format!("/drive/v3/files/{id}/revisions?pageSize=100"))
        .await
        .ok();
    assert_eq!(first["revisions"].as_array().expect("a page").len(), 100);
    let rest = world
        .get(&format!(
            "/drive/v3/files/{id}/revisions?pageSize=100&pageToken={}",
            first["nextPageToken"].as_str().expect("a token")
        ))
        .await
        .ok();
    assert_eq!(rest["revisions"].as_array().expect("a page").len(), 1);
    assert!(rest.get("nextPageToken").is_none());
    assert_eq!(
        world
            .get(&format!("/drive/v3/files/{id}/revisions?pageToken=x"))
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
}

#[tokio::test]
async fn folders_have_no_revisions_and_readers_cannot_list_them() {
    let world = World::new();
    let folder = world.folder("f", None);
    assert_eq!(
        world
            .get(&format!("/drive/v3/files/{folder}/revisions"))
            .await
            .refused(),
        (403, "revisionsNotSupported".to_owned())
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
    let path = format!("/drive/v3/files/{file}/revisions");
    assert_eq!(
        world
            .call_as("bob", "GET", &path, Value::Null)
            .await
            .refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
}

#[tokio::test]
async fn a_document_can_be_exported_up_to_ten_megabytes() {
    let world = World::new();
    let id = world.document(DOCUMENT).await;
    let export = |format: &str| format!("/drive/v3/files/{id}/export?mimeType={format}");
    let limit = 10 * 1024 * 1024;
    world
        .set_content(json!({"id": id, "export_bytes": limit}))
        .await;
    let reply = world.get(&export("application/pdf")).await;
    assert_eq!(reply.bytes.len(), limit);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/pdf");
    world
        .set_content(json!({"id": id, "export_bytes": limit + 1}))
        .await;
    assert_eq!(
        world.get(&export("application/pdf")).await.refused(),
        (403, "exportSizeLimitExceeded".to_owned())
    );
    assert_eq!(
        world.get(&export("image/png")).await.refused(),
        (400, "badRequest".to_owned())
    );
    assert_eq!(
        world
            .get(&format!("/drive/v3/files/{id}/export"))
            .await
            .refused(),
        (400, "required".to_owned())
    );
    world
        .set_content(json!({"id": id, "downloadable": false}))
        .await;
    assert_eq!(
        world.get(&export("application/pdf")).await.refused(),
        (403, "cannotExportFile".to_owned())
    );
    let blob = world.file("a");
    assert_eq!(
        world
            .get(&format!(
                "/drive/v3/files/{blob}/export?mimeType=text/plain"
            ))
            .await
            .refused(),
        (403, "fileNotExportable".to_owned())
    );
    let links = world
        .get(&format!("/drive/v3/files/{id}?fields=exportLinks"))
        .await
        .ok();
    assert!(links["exportLinks"]["text/markdown"].is_string(), "{links}");
    assert_eq!(world.simulator.counters().calls["files.export"], 6);
}

#[tokio::test]
async fn a_long_running_download_succeeds_above_the_export_limit() {
    let world = World::new();
    let id = world.document(DOCUMENT).await;
    world
        .set_content(json!({"id": id, "export_bytes": 12_000_000}))
        .await;
    world
        .control("POST", "operations", json!({"seconds": 30}))
        .await;
    let begun = world
        .call(
            "POST",
            &format!("/drive/v3/files/{id}/download?mimeType=text/plain"),
            Value::Null,
        )
        .await
        .ok();
    assert_eq!(begun["done"], false);
    let path = format!(
        "/drive/v3/operations/{}",
        begun["name"].as_str().expect("a name")
    );
    let pending = world.get(&path).await.ok();
    assert_eq!(
        (&pending["done"], pending.get("response")),
        (&json!(false), None)
    );
    world.simulator.advance_clock(30);
    let done = world.get(&path).await.ok();
    let uri = done["response"]["downloadUri"]
        .as_str()
        .expect("an address");
    let local = uri.strip_prefix("http://127.0.0.1").expect("this machine");
    let reply = world.get(local).await;
    assert_eq!(reply.bytes.len(), 12_000_000);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/plain");
    assert_eq!(
        world
            .call_as("alice", "GET", &path, Value::Null)
            .await
            .refused(),
        (404, "notFound".to_owned())
    );
    world.simulator.advance_clock(25 * 3_600);
    assert_eq!(
        world.get(&path).await.refused(),
        (404, "notFound".to_owned())
    );
}

#[tokio::test]
async fn a_video_can_be_downloaded_but_not_exported_and_a_folder_neither() {
    let world = World::new();
    let video = world.document("application/vnd.google-apps.vid").await;
    assert_eq!(
        world
            .get(&format!(
                "/drive/v3/files/{video}/export?mimeType=video/mp4"
            ))
            .await
            .refused(),
        (403, "fileNotExportable".to_owned())
    );
    let begun = world
        .call(
            "POST",
            &format!("/drive/v3/files/{video}/download"),
            Value::Null,
        )
        .await;
    assert_eq!(begun.ok()["done"], false);
    let folder = world.folder("f", None);
    assert_eq!(
        world
            .call(
                "POST",
                &format!("/drive/v3/files/{folder}/download"),
                Value::Null
            )
            .await
            .refused(),
        (403, "fileNotDownloadable".to_owned())
    );
    let blob = world.file("a");
    let begun = world
        .call(
            "POST",
            &format!("/drive/v3/files/{blob}/download"),
            Value::Null,
        )
        .await
        .ok();
    let name = begun["name"].as_str().expect("a name");
    let fetched = world
        .get(&format!("/download/drive/v3/operations/{name}?alt=media"))
        .await;
    assert_eq!(fetched.bytes, "content");
}

#[tokio::test]
async fn malware_needs_acknowledgement_and_blocked_content_is_never_sent() {
    let world = World::new();
    let id = world.file("a");
    world.set_content(json!({"id": id, "abusive": true})).await;
    let media = format!("/drive/v3/files/{id}?alt=media");
    let abusive = (403, "cannotDownloadAbusiveFile".to_owned());
    assert_eq!(world.get(&media).await.refused(), abusive);
    let acknowledged = format!("{media}&acknowledgeAbuse=true");
    assert_eq!(world.get(&acknowledged).await.bytes, "content");
    assert_eq!(
        world
            .call_as("alice", "GET", &acknowledged, Value::Null)
            .await
            .refused(),
        abusive
    );
    world
        .set_content(json!({"id": id, "abusive": false, "downloadable": false}))
        .await;
    assert_eq!(
        world.get(&media).await.refused(),
        (403, "fileNotDownloadable".to_owned())
    );
    let able = world
        .get(&format!(
            "/drive/v3/files/{id}?fields=capabilities/canDownload"
        ))
        .await
        .ok();
    assert_eq!(able, json!({"capabilities": {"canDownload": false}}));
    let unknown = world
        .call("POST", "/_control/content", json!({"id": "nobody"}))
        .await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn generated_content_has_the_requested_size_and_depends_on_the_seed() {
    let world = World::new();
    let command = json!({"name": "large.bin", "mime_type": "application/x-large", "seed": 7,
        "size_bytes": 1_000_000_000_000_000_u64});
    let made = world.control("POST", "generated", command).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let facts = world
        .get(&format!("/drive/v3/files/{id}?fields=size,mimeType"))
        .await
        .ok();
    assert_eq!(
        facts,
        json!({"size": "1000000000000000", "mimeType": "application/x-large"})
    );
    let part = async |range: &str| {
        let request = Request::get(format!("/drive/v3/files/{id}?alt=media"))
            .header(header::AUTHORIZATION, "Bearer user:owner")
            .header(header::RANGE, range);
        world
            .send(request.body(Body::empty()).expect("a request"))
            .await
    };
    let first = part("bytes=0-34").await;
    assert_eq!(&first.bytes[..], b"synthetic content 0000000000000007\n");
    let last = part("bytes=999999999999990-").await;
    assert_eq!(
        (last.status, last.bytes.len()),
        (StatusCode::PARTIAL_CONTENT, 10)
    );
    let beyond = part("bytes=1000000000000000-").await;
    assert_eq!(beyond.refused().0, 416);
    assert_eq!(
        beyond.headers[header::CONTENT_RANGE],
        "bytes */1000000000000000"
    );

    let command = json!({"id": id, "seed": 8, "size_bytes": 40});
    world.control("POST", "generated", command).await;
    let media = world.get(&format!("/drive/v3/files/{id}?alt=media")).await;
    assert_eq!(
        &media.bytes[..],
        b"synthetic content 0000000000000008\nsynth"
    );
    // The checksums of so many bytes are never requested.
    let list = format!("/drive/v3/files/{id}/revisions?fields=revisions(size)");
    assert_eq!(
        world.get(&list).await.ok(),
        json!({"revisions": [{"size": "1000000000000000"}, {"size": "40"}]})
    );
}

#[tokio::test]
async fn concurrent_requests_for_checksums_all_succeed() {
    let world = World::new();
    let command = json!({"seed": 7, "size_bytes": 3_000_000});
    let made = world.control("POST", "generated", command).await;
    let id = made["id"].as_str().expect("an id");
    let path = format!("/drive/v3/files/{id}?fields=md5Checksum,sha256Checksum");
    let (one, two, three) = tokio::join!(world.get(&path), world.get(&path), world.get(&path));
    assert_eq!(
        one.ok()["sha256Checksum"].as_str().expect("a sum").len(),
        64
    );
    assert_eq!((one.ok(), one.ok()), (two.ok(), three.ok()));
}

#[tokio::test]
async fn a_fault_corrupts_the_body_as_specified() {
    let world = World::new();
    let id = world.file("a");
    let media = format!("/drive/v3/files/{id}?alt=media");
    let whole = world.get(&media).await;
    let spoiled = async |spoil: Value| {
        let fault = json!({"match": "GET /drive/v3/files/*", "spoil": spoil});
        world.control("POST", "faults", fault).await;
        world.get(&media).await
    };
    let flipped = spoiled(json!({"flip_at": 1})).await.bytes;
    assert_eq!(flipped[1], !whole.bytes[1]);
    assert_eq!(
        (flipped[0], &flipped[2..]),
        (whole.bytes[0], &whole.bytes[2..])
    );
    let longer = spoiled(json!({"append_bytes": 2})).await;
    assert_eq!(longer.bytes, [&whole.bytes[..], b"++"].concat());
    assert!(!longer.headers.contains_key(header::CONTENT_LENGTH));
    let shorter = spoiled(json!({"end_after": 2})).await;
    assert_eq!(shorter.bytes, whole.bytes[..2]);
    assert!(!shorter.headers.contains_key(header::CONTENT_LENGTH));

    let fault = json!({"match": "GET /drive/v3/files/*", "respond": {"status": 200, "html": true}});
    world.control("POST", "faults", fault).await;
    let page = world.get(&media).await;
    assert_eq!(
        page.headers[header::CONTENT_TYPE],
        "text/html; charset=UTF-8"
    );
    assert!(page.bytes.starts_with(b"<!DOCTYPE html>"));
}
