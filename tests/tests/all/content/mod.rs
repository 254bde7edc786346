//! Content between Drive and the bucket, in both directions.

mod compressed;
mod content_conflicts;
mod content_scans;
mod content_wakes;
mod from_drive;
mod garbage_collection;
mod over_http;
mod to_drive;
mod unavailable;
mod uploads_in_parts;

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::content::{ObjectKey, StoredObject, StoredVersion};
use domain::{Context, Field, FileId, FileRecord, Policies, Value};
use drive_simulator::GeneratedFile;
use objects::{ContentHasher, Encoded, Objects};
use store::{Committed, Nonce, PageRequest};

use crate::support::ByHand;

pub fn id(file: &str) -> FileId {
    FileId::parse(file).unwrap()
}

pub fn bucket(hand: &ByHand) -> &Objects {
    &hand.functions.mirror_content.objects
}

/// The stored versions of a file, newest first.
pub async fn versions(hand: &ByHand, file: &str) -> Vec<StoredVersion> {
    let page = PageRequest {
        limit: 100,
        cursor: None,
    };
    let file = id(file);
    let listed = hand.store().list_versions(&hand.key, &file, &page);
    listed.await.unwrap().items
}

/// The bytes of a stored version.
pub async fn bytes_of(hand: &ByHand, version: &StoredVersion) -> Bytes {
    let content = bucket(hand).read_content(version, 1 << 30).await.unwrap();
    content.expect("no pointer dangles")
}

/// Every stored version of a file has the bytes that it names.
pub async fn intact(hand: &ByHand, file: &str) {
    for version in versions(hand, file).await {
        let bytes = bytes_of(hand, &version).await;
        let digest = ContentHasher::of(&bytes);
        assert_eq!(
            (digest.sha256, digest.size_bytes),
            (version.hash, version.size_bytes)
        );
        let object = object(hand, &version).await.unwrap();
        assert_eq!(object.key, version.object);
    }
}

pub async fn object(hand: &ByHand, version: &StoredVersion) -> Option<StoredObject> {
    let tenant = &hand.key.tenant;
    let loaded = hand.store().load_object(tenant, &version.hash);
    loaded.await.unwrap()
}

pub async fn record(hand: &ByHand, file: &str) -> FileRecord {
    let loaded = hand.store().load_file(&hand.key, &id(file)).await;
    loaded.unwrap().unwrap()
}

/// What Drive holds of a file.
pub async fn in_drive(hand: &ByHand, file: &str) -> Bytes {
    let url = format!("{}/drive/v3/files/{file}?alt=media", hand.drive_url);
    let request = reqwest::Client::new().get(url);
    let request = request.header("authorization", "Bearer user:owner");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.bytes().await.unwrap()
}

/// A file of made-up bytes in Drive.
pub fn generated(hand: &ByHand, seed: u64, size_bytes: u64) -> String {
    let file = GeneratedFile {
        name: format!("made up {seed}.bin"),
        mime_type: "application/octet-stream".to_owned(),
        seed,
        size_bytes,
    };
    hand.simulator
        .create_generated("owner", None, file)
        .unwrap()
}

/// An application uploads: the bytes are stored, and then owed, as one edit of the record.
pub async fn upload(hand: &ByHand, file: &str, content: &'static [u8]) {
    let digest = ContentHasher::of(content);
    let tenant = &hand.key.tenant;
    let key = ObjectKey::content(tenant, &digest.sha256, rand_of(content));
    let put = bucket(hand).put(
        &key,
        Encoded::plain(Bytes::from_static(content), digest.sha256),
        "text/plain",
        domain::StorageClass::Standard,
    );
    let place = put.await.unwrap();
    let now = hand.now();
    let day = now.plus_millis(86_400_000);
    let object = StoredObject::new(digest.sha256, place, digest.size_bytes, now, day);
    let put = hand.store().put_object_if_absent(tenant, &object);
    put.await.unwrap();
    let value = Value::Text(digest.sha256.to_string());
    let policies = Policies::default();
    loop {
        let record = record(hand, file).await;
        let context = Context {
            now: hand.now(),
            drive_at: None,
            policies: &policies,
        };
        let edit = BTreeMap::from([(Field::Content, value.clone())]);
        let step = record.edit(&edit, "ann", context).unwrap();
        let nonce = Nonce(rand_of(content) ^ record.revision.0);
        let committed = hand
            .store()
            .commit(&hand.key, record.revision, &step, nonce)
            .await;
        if matches!(committed.unwrap(), Committed::Done) {
            return;
        }
    }
}

fn rand_of(content: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *ContentHasher::sha256(content).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
