//! Text that is stored compressed takes less space and is the same for every reader.

use std::time::Duration;

use bytes::Bytes;
use domain::content::{Encoding, ObjectKey, StoredVersion};
use domain::{ConnectionId, ConnectionKey, StorageClass};
use drive_simulator::GeneratedFile;
use http::Method;
use objects::{ContentHasher, Encoded};
use serde_json::{Value, json};
use store::PageRequest;

use super::content_conflicts::open_conflict;
use super::content_wakes::{apply, mirror, mirrored};
use super::over_http::{sha256, upload_ok};
use super::{bucket, bytes_of, id, in_drive, intact, object, record, versions};
use crate::support::{ByHand, World, own};

/// Returns a repetitive text that names its purpose.
fn text(what: &str) -> String {
    (0..200)
        .map(|line| format!("{line}: this is {what}\n"))
        .collect()
}

/// Runs a test by hand with a connection that stores text compressed.
fn compressing(test: impl AsyncFnOnce(&ByHand)) {
    mirrored(1, async |hand| {
        mirror(hand, json!({"compress": true})).await;
        pump(hand).await;
        Box::pin(test(hand)).await;
    });
}

/// Creates a file of this type in Drive, with this content.
fn create(hand: &ByHand, mime_type: &str, content: impl Into<Bytes>) -> String {
    let file = GeneratedFile {
        name: "made".to_owned(),
        mime_type: mime_type.to_owned(),
        seed: 1,
        size_bytes: 1,
    };
    let file = hand
        .simulator
        .create_generated("owner", None, file)
        .unwrap();
    replace(hand, &file, content);
    file
}

fn replace(hand: &ByHand, file: &str, content: impl Into<Bytes>) {
    let replaced = hand
        .simulator
        .replace_content("owner", file, content.into());
    replaced.unwrap();
}

// Boxed, like those below: otherwise the futures of a test exceed the thread's stack.
async fn process_changes(hand: &ByHand) {
    Box::pin(apply(hand)).await;
    pump(hand).await;
}

async fn pump(hand: &ByHand) {
    Box::pin(hand.pump()).await;
}

async fn turn(hand: &ByHand) {
    Box::pin(hand.sweep_and_pump()).await;
}

async fn newest(hand: &ByHand, file: &str) -> StoredVersion {
    let mut stored = versions(hand, file).await;
    assert!(!stored.is_empty(), "nothing is stored of {file}");
    stored.swap_remove(0)
}

/// Restores a stored version.
async fn restore(hand: &ByHand, file: &str, version: u32) {
    let (path, wanted) = (
        format!("/files/{file}/restore"),
        json!({ "version": version }),
    );
    let answer = hand
        .api(Method::POST, &path, &[("if-match", "*")], Some(wanted))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Returns the bytes of an object, as stored.
async fn stored_bytes(hand: &ByHand, key: &ObjectKey) -> Bytes {
    let body = bucket(hand).get(key, None).await.unwrap().unwrap();
    body.collect(1 << 30).await.unwrap()
}

async fn overwrite(hand: &ByHand, key: &ObjectKey, bytes: Bytes) {
    let sum = ContentHasher::sha256(&bytes);
    let put = bucket(hand).put(key, Encoded::plain(bytes, sum), StorageClass::Standard);
    put.await.unwrap();
}

#[test]
fn only_text_up_to_the_part_size_is_stored_compressed() {
    compressing(async |hand| {
        let long = text("a note");
        let note = create(hand, "text/plain", long.clone());
        let drawing = create(hand, "image/svg+xml", text("a drawing"));
        let picture = create(hand, "image/png", text("a picture, by its type"));
        let short = create(hand, "text/plain", "short");
        let in_parts = create(hand, "text/plain", vec![b' '; (8 << 20) + 1]);
        process_changes(hand).await;
        for (file, encoding) in [
            (&note, Encoding::Zstd),
            (&drawing, Encoding::Zstd),
            (&picture, Encoding::None),
            (&short, Encoding::None),
            (&in_parts, Encoding::None),
        ] {
            let stored = newest(hand, file).await;
            assert_eq!(stored.encoding, encoding, "{stored:?}");
            let object = object(hand, &stored).await.unwrap();
            assert_eq!(object.encoding, encoding);
            let facts = bucket(hand).head(&object.key).await.unwrap().unwrap();
            assert_eq!(facts.size_bytes, object.stored_bytes);
            match encoding {
                Encoding::None => assert_eq!(object.stored_bytes, object.size_bytes),
                Encoding::Zstd => assert!(object.stored_bytes * 5 < object.size_bytes),
            }
            intact(hand, file).await;
        }
        let stored = newest(hand, &note).await;
        assert_eq!(bytes_of(hand, &stored).await.as_ref(), long.as_bytes());
        let raw = stored_bytes(hand, &stored.object).await;
        assert_eq!(zstd::decode_all(&*raw).unwrap(), long.as_bytes());
    });
}

#[test]
fn compressed_text_is_restored_into_drive_byte_for_byte() {
    compressing(async |hand| {
        let (first, second) = (text("the first"), text("the second"));
        let file = create(hand, "text/plain", first.clone());
        process_changes(hand).await;
        let before = newest(hand, &file).await;
        replace(hand, &file, second.clone());
        process_changes(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), second.as_bytes());

        restore(hand, &file, before.number).await;
        pump(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), first.as_bytes());
        process_changes(hand).await;
        assert!(!record(hand, &file).await.content_owed());
        let now = newest(hand, &file).await;
        assert_eq!(
            (now.encoding, &now.object),
            (Encoding::Zstd, &before.object)
        );
        intact(hand, &file).await;
    });
}

#[test]
fn corrupt_compressed_text_reaches_drive_only_once_it_is_repaired() {
    compressing(async |hand| {
        let (first, second) = (text("ours"), text("theirs"));
        let file = create(hand, "text/plain", first.clone());
        process_changes(hand).await;
        let before = newest(hand, &file).await;
        replace(hand, &file, second.clone());
        process_changes(hand).await;

        let right = stored_bytes(hand, &before.object).await;
        let bomb = zstd::encode_all(&vec![0; 1 << 24][..], 3).unwrap();
        overwrite(hand, &before.object, bomb.into()).await;
        restore(hand, &file, before.number).await;
        let (from, to) = (before.number, before.number + 1);
        let compared = format!("/files/{file}/versions/compare?from={from}&to={to}");
        let uncompressed = Bytes::from(first.clone());
        let another = zstd::encode_all(text("others").as_bytes(), 3).unwrap();
        for wrong in [right.slice(..right.len() / 2), uncompressed, another.into()] {
            pump(hand).await;
            assert_eq!(in_drive(hand, &file).await.as_ref(), second.as_bytes());
            assert!(record(hand, &file).await.content_owed(), "it is still owed");
            let answer = hand.api(Method::GET, &compared, &[], None).await;
            assert_eq!(answer.status, 500, "{}", answer.body);
            overwrite(hand, &before.object, wrong).await;
            hand.advance_clock(Duration::from_secs(1_000));
        }
        pump(hand).await;
        assert_eq!(in_drive(hand, &file).await.as_ref(), second.as_bytes());
        overwrite(hand, &before.object, right).await;
        for _ in 0..30 {
            turn(hand).await;
            if !record(hand, &file).await.content_owed() {
                break;
            }
            hand.advance_clock(Duration::from_secs(1_000));
        }
        assert_eq!(in_drive(hand, &file).await.as_ref(), first.as_bytes());
        assert!(!record(hand, &file).await.content_owed());
    });
}

/// Creates a second connection of the tenant, with these content settings.
async fn second(hand: &ByHand, settings: Value) -> ConnectionKey {
    let body = json!({"name": "Second", "scope": {"type": "user"}, "secret": "drive",
        "content": settings});
    let (token, body) = (Some(hand.token.as_str()), body.to_string());
    let made = hand
        .call(token, Method::POST, "/v1/connections", &[], Some(&body))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    ConnectionKey {
        tenant: hand.key.tenant.clone(),
        connection: ConnectionId::parse(made.body["id"].as_str().unwrap()).unwrap(),
    }
}

async fn newest_of(hand: &ByHand, key: &ConnectionKey, file: &str) -> Option<StoredVersion> {
    let page = PageRequest::first(1);
    let listed = hand.store().list_versions(key, &id(file), &page).await;
    listed.unwrap().items.pop()
}

#[test]
fn identical_content_is_linked_across_connections_in_any_encoding() {
    compressing(async |hand| {
        let content = text("in two connections");
        let file = create(hand, "text/plain", content.clone());
        process_changes(hand).await;
        let first = newest(hand, &file).await;
        assert_eq!(first.encoding, Encoding::Zstd);

        let plain = second(hand, json!({"enabled": true})).await;
        let mut linked = None;
        for _ in 0..30 {
            turn(hand).await;
            linked = newest_of(hand, &plain, &file).await;
            if linked.is_some() {
                break;
            }
            hand.advance_clock(Duration::from_secs(61));
        }
        let linked = linked.expect("the second connection has it stored");
        assert_eq!(
            (linked.encoding, &linked.object),
            (Encoding::Zstd, &first.object)
        );
        assert_eq!(object(hand, &first).await.unwrap().refs, 2);

        // The second connection stores text uncompressed; the first links that object.
        let other = text("of the second");
        let body = json!({
            "name": "second.txt", "mime_type": "text/plain",
            "content": {"text": other}, "content_hash": sha256(other.as_bytes()),
        });
        let (token, path) = (
            Some(hand.token.as_str()),
            format!("/v1/connections/{}/files", plain.connection),
        );
        let brought = hand
            .call(token, Method::POST, &path, &[], Some(&body.to_string()))
            .await;
        assert_eq!(brought.status, 201, "{}", brought.body);
        replace(hand, &file, other.clone());
        process_changes(hand).await;
        let now = newest(hand, &file).await;
        assert_eq!(bytes_of(hand, &now).await.as_ref(), other.as_bytes());
        assert_eq!(now.encoding, Encoding::None);
        let made = brought.body["id"].as_str().unwrap();
        assert_eq!(
            newest_of(hand, &plain, made).await.unwrap().object,
            now.object
        );
    });
}

/// Downloads a version without decompressing it: the bytes as sent, and their encoding.
async fn downloaded(world: &World, file: &str, version: &Value) -> (Vec<u8>, Option<String>) {
    let shown = world
        .get(&format!("/files/{file}/content?version={version}"))
        .await;
    let answer = world.http.get(shown["url"].as_str().unwrap()).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let encoding = answer.headers().get("content-encoding").cloned();
    let encoding = encoding.map(|encoding| encoding.to_str().unwrap().to_owned());
    assert_eq!(shown["encoding"], encoding.as_deref().unwrap_or("none"));
    let bytes = answer.bytes().await.unwrap().to_vec();
    let content = match encoding {
        Some(_) => zstd::decode_all(&*bytes).unwrap(),
        None => bytes.clone(),
    };
    assert_eq!(shown["sha256"], sha256(&content));
    assert_eq!(shown["size_bytes"], content.len());
    (bytes, encoding)
}

#[test]
fn compressed_text_is_downloaded_compared_and_merged_uncompressed() {
    own(async |world| {
        let wanted = json!({"content": {"enabled": true, "compress": true}});
        let turned = world
            .api(Method::PATCH, "", &[("if-match", "*")], Some(wanted))
            .await;
        assert_eq!(turned.status, 200, "{}", turned.body);
        assert_eq!(turned.body["content"]["compress"], true);

        let lines = text("unchanged lines");
        let of = |first: &str, last: &str| format!("{first}\n{lines}{last}\n");
        let (base, app, drive) = (of("1", "6"), of("one", "6"), of("1", "six"));
        let note = json!({
            "name": "note.md", "mime_type": "text/markdown",
            "content": {"text": base}, "content_hash": sha256(base.as_bytes()),
        });
        let note = world.post("/files", note).await;
        let note = note["id"].as_str().unwrap().to_owned();
        let (bytes, encoding) = downloaded(world, &note, &json!(1)).await;
        assert_eq!(encoding.as_deref(), Some("zstd"));
        assert!(bytes.len() * 5 < base.len(), "{} bytes", bytes.len());

        let second = upload_ok(world, &note, drive.as_bytes()).await;
        let path = format!("/files/{note}/versions/compare?from=1&to={second}");
        let compared = world.get(&path).await;
        let diff = compared["diff"].as_str().unwrap();
        assert!(diff.contains("\n-6\n+six\n"), "{diff}");

        // All three sides are stored; the base and Drive's are compressed.
        let (file, conflict) = open_conflict(world, &base, &app, &drive).await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        world.post(&path, json!({"choose": "merge"})).await;
        let whole = of("one", "six");
        let now = world.file(&file).await;
        assert_eq!(now["content"]["sha256"], sha256(whole.as_bytes()));
    });
}
