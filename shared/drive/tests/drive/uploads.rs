//! Uploads to the simulated Drive: conditional, in chunks, with pregenerated ids.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{AttemptId, Field, FileId, Patch, Snapshot, Value};
use drive::{
    Creation, DriveClient, DriveError, Expected, Kind, UPLOAD_STEP_BYTES, UploadContent,
    UploadProgress, UploadSession, UploadStart,
};
use drive_simulator::{Edit, UploadCondition};
use serde_json::json;

use crate::simulated::{Simulated, random_bytes, whole};

pub(crate) const STEP: usize = 256 * 1024;
const _: () = assert!(STEP as u64 == UPLOAD_STEP_BYTES);

pub(crate) fn outgoing(content: &[u8]) -> UploadContent<'static> {
    UploadContent {
        mime_type: "text/plain",
        total_bytes: content.len() as u64,
    }
}

/// Returns the next chunk from a position on.
pub(crate) fn chunk(content: &[u8], from: u64, bytes: usize) -> Bytes {
    let from = usize::try_from(from).unwrap();
    Bytes::copy_from_slice(&content[from..content.len().min(from + bytes)])
}

/// Sends the content in chunks of one step.
pub(crate) async fn send(
    client: &DriveClient,
    session: &UploadSession,
    content: &[u8],
) -> Result<UploadProgress, DriveError> {
    let total = content.len() as u64;
    let mut progress = client.upload_state(session, total).await?;
    while let UploadProgress::Stored { next_byte } = progress {
        let bytes = chunk(content, next_byte, STEP);
        progress = client
            .upload_chunk(session, next_byte, total, bytes)
            .await?;
    }
    Ok(progress)
}

pub(crate) fn done(progress: UploadProgress) -> Snapshot {
    let UploadProgress::Done(snapshot) = progress else {
        panic!("{progress:?}");
    };
    snapshot
}

pub(crate) fn begun(start: UploadStart) -> UploadSession {
    match start {
        UploadStart::Started(session) => session,
        UploadStart::Exists => panic!("nothing has this id"),
    }
}

pub(crate) async fn replacement(
    drive: &Simulated,
    file: &FileId,
    content: &[u8],
) -> Result<UploadSession, DriveError> {
    let read = drive.client.read_file(file).await.unwrap();
    drive
        .client
        .start_replacement(&read, outgoing(content))
        .await
}

pub(crate) async fn content_of(drive: &Simulated, file: &FileId) -> Vec<u8> {
    whole(drive.client.download(file, 0, Expected::default()).await).await
}

/// The fields of a new file.
pub(crate) fn named(name: &str) -> Patch {
    Patch {
        attempt: AttemptId(1),
        values: BTreeMap::from([
            (Field::Name, Value::text(name)),
            (Field::Property("project".to_owned()), Value::text("north")),
        ]),
    }
}

/// Starts the upload of a new file.
pub(crate) async fn start_new(
    drive: &Simulated,
    file: &FileId,
    patch: &Patch,
    content: &[u8],
) -> Result<UploadStart, DriveError> {
    let creation = Creation {
        file,
        mime_type: "text/plain",
        shortcut_target: None,
        patch,
    };
    drive
        .client
        .start_new_file(&creation, outgoing(content))
        .await
}

#[tokio::test]
async fn content_of_any_size_is_replaced_and_nothing_else() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "before");
    let edit = Edit::Property("project".to_owned(), Some("north".to_owned()));
    drive.simulator.apply("owner", file.as_str(), edit).unwrap();
    let mut rng = fastrand::Rng::with_seed(2);
    for size in [0, 1, STEP - 1, STEP, STEP + 1, rng.usize(..4 * STEP), 0] {
        let content = random_bytes(&mut rng, size);
        let before = drive.client.read_file(&file).await.unwrap().snapshot;
        let session = replacement(&drive, &file, &content).await.unwrap();
        assert_eq!(*session.file(), file);
        let after = done(send(&drive.client, &session, &content).await.unwrap());
        assert_eq!(after, drive.client.read_file(&file).await.unwrap().snapshot);
        assert_eq!(after.metadata.size_bytes, Some(size as u64));
        assert_eq!(after.fields, before.fields);
        assert!(after.version > before.version);
        assert_eq!(content_of(&drive, &file).await, content, "{size} bytes");
    }
    assert_eq!(drive.calls("v2.files.update"), 7, "each started once");
}

#[tokio::test]
async fn a_replacement_of_a_changed_file_does_not_start() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "before");
    let read = drive.client.read_file(&file).await.unwrap();
    let edit = Edit::Rename("b.txt".to_owned());
    drive.simulator.apply("alice", file.as_str(), edit).unwrap();
    let refused = drive
        .client
        .start_replacement(&read, outgoing(b"ours"))
        .await;
    let error = refused.unwrap_err();
    assert_eq!((error.kind(), error.status()), (&Kind::Stale, Some(412)));
    assert_eq!(error.refusal(), domain::Refusal::Stale);
    assert_eq!(content_of(&drive, &file).await, b"before");
}

#[tokio::test]
async fn a_replacement_is_rejected_at_its_last_byte_after_a_change() {
    let drive = Simulated::start().await;
    for condition in [UploadCondition::Both, UploadCondition::End] {
        drive.simulator.set_upload_condition(condition);
        let file = drive.file("a.txt", "before");
        let session = replacement(&drive, &file, b"ours").await.unwrap();
        let theirs = Bytes::from_static(b"theirs");
        drive
            .simulator
            .replace_content("alice", file.as_str(), theirs)
            .unwrap();
        let error = send(&drive.client, &session, b"ours").await.unwrap_err();
        assert_eq!(*error.kind(), Kind::Stale);
        assert_eq!(content_of(&drive, &file).await, b"theirs");
        let after = drive.client.upload_state(&session, 4).await.unwrap();
        assert_eq!(after, UploadProgress::SessionGone);
    }
}

#[tokio::test]
async fn without_a_final_etag_check_revisions_keep_the_other_content() {
    let drive = Simulated::start().await;
    drive
        .control("uploads", json!({"condition": "begin"}))
        .await;
    let file = drive.file("a.txt", "before");
    let read = drive.client.read_file(&file).await.unwrap();
    let session = drive
        .client
        .start_replacement(&read, outgoing(b"ours"))
        .await
        .unwrap();
    let theirs = Bytes::from_static(b"theirs");
    drive
        .simulator
        .replace_content("alice", file.as_str(), theirs)
        .unwrap();
    done(send(&drive.client, &session, b"ours").await.unwrap());
    let page = drive.client.list_revisions(&file, None).await.unwrap();
    let ids: Vec<_> = page.revisions.iter().map(|one| one.id.as_str()).collect();
    let ours_was_decided_on = read.snapshot.metadata.head_revision_id.as_deref();
    let at = ids
        .iter()
        .position(|id| Some(*id) == ours_was_decided_on)
        .unwrap();
    assert_eq!(
        ids.len() - at,
        3,
        "the original content, the person's and ours"
    );
    let theirs = &page.revisions[at + 1];
    assert_eq!(theirs.modified_by.as_deref(), Some("alice@example.com"));
    let kept = drive
        .client
        .keep_revision(&file, &theirs.id, true)
        .await
        .unwrap();
    let download = drive
        .client
        .download_revision(&file, &kept.id, 0, Expected::default());
    assert_eq!(whole(download.await).await, b"theirs");
}

#[tokio::test]
async fn a_new_file_is_created_with_content_fields_and_given_id() {
    let drive = Simulated::start().await;
    let mut rng = fastrand::Rng::with_seed(4);
    for size in [0, 10, 2 * STEP + 7] {
        let content = random_bytes(&mut rng, size);
        let id = drive.client.generate_id("text/plain").await.unwrap();
        let patch = named("new.txt");
        let session = begun(start_new(&drive, &id, &patch, &content).await.unwrap());
        let gone = drive.client.get_or_gone(&id).await.unwrap();
        assert_eq!(gone, domain::Observation::Gone(domain::Gone::Removed));
        let made = done(send(&drive.client, &session, &content).await.unwrap());
        assert_eq!(made, drive.client.read_file(&id).await.unwrap().snapshot);
        assert_eq!(made.fields[&Field::Name], Value::text("new.txt"));
        let project = Field::Property("project".to_owned());
        assert_eq!(made.fields[&project], Value::text("north"));
        assert_eq!(made.metadata.mime_type, "text/plain");
        assert_eq!(content_of(&drive, &id).await, content);
    }
}

#[tokio::test]
async fn a_repeated_upload_of_a_new_file_creates_one_file() {
    let drive = Simulated::start().await;
    let id = drive.client.generate_id("text/plain").await.unwrap();
    let patch = named("new.txt");
    let start = async || start_new(&drive, &id, &patch, b"one").await.unwrap();
    let (first, second) = (begun(start().await), begun(start().await));
    done(send(&drive.client, &first, b"one").await.unwrap());
    let late = send(&drive.client, &second, b"two").await.unwrap();
    assert_eq!(late, UploadProgress::Exists);
    assert_eq!(start().await, UploadStart::Exists);
    assert_eq!(content_of(&drive, &id).await, b"one");
    assert_eq!(drive.simulator.totals().files, 1);
}

#[tokio::test]
async fn a_rejected_upload_fails_before_any_byte_is_sent() {
    let drive = Simulated::start().await;
    let id = drive.client.generate_id("text/plain").await.unwrap();
    let mut patch = named("new.txt");
    patch.values.insert(Field::Parent, Value::text("nowhere"));
    let refused = start_new(&drive, &id, &patch, b"x").await;
    assert_eq!(*refused.unwrap_err().kind(), Kind::NotFound);

    let full = json!({"match": "PUT /upload/drive/v2/files/*",
        "respond": {"status": 403, "reason": "storageQuotaExceeded"}});
    drive.control("faults", full).await;
    let file = drive.file("a.txt", "before");
    let error = replacement(&drive, &file, b"ours").await.unwrap_err();
    let reason = "storageQuotaExceeded".to_owned();
    assert_eq!(*error.kind(), Kind::Permanent { reason });
}

#[tokio::test]
async fn an_invalid_chunk_is_not_sent() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "before");
    let session = replacement(&drive, &file, &[0; STEP + 10]).await.unwrap();
    let total = STEP as u64 + 10;
    for (from, bytes) in [(0, 100), (0, STEP + 11), (total, 1), (0, 0)] {
        let chunk = Bytes::from(vec![0; bytes]);
        let sent = drive
            .client
            .upload_chunk(&session, from, total, chunk)
            .await;
        let reason = "notARequest".to_owned();
        assert_eq!(*sent.unwrap_err().kind(), Kind::Permanent { reason });
    }
    assert_eq!(drive.calls("uploads.put"), 0);
}
