//! Uploads with lost responses, ended sessions and restarted senders.

use bytes::Bytes;
use drive::{Kind, UploadProgress};
use serde_json::{Value, json};

use crate::simulated::{Simulated, random_bytes};
use crate::uploads::{STEP, begun, chunk, content_of, done, named, replacement, send, start_new};

const AT_THE_START: UploadProgress = UploadProgress::Stored { next_byte: 0 };

/// Injects a fault into a PUT to a session.
async fn lose(drive: &Simulated, after: u64, how: Value) {
    let mut fault = json!({"match": "PUT /upload/*?*upload_id*", "after": after});
    fault
        .as_object_mut()
        .unwrap()
        .extend(how.as_object().unwrap().clone());
    drive.control("faults", fault).await;
}

#[tokio::test]
async fn a_lost_response_to_any_chunk_loses_and_repeats_no_byte() {
    let drive = Simulated::start().await;
    let content = random_bytes(&mut fastrand::Rng::with_seed(6), 2 * STEP + 500);
    let total = content.len() as u64;
    let lost = [
        json!({"drop": true, "applied": true}),
        json!({"drop": true}),
        json!({"respond": {"status": 503}, "applied": true}),
        json!({"respond": {"status": 500}}),
    ];
    for how in lost {
        for at in 0..3 {
            let file = drive.file("a.bin", "before");
            let session = replacement(&drive, &file, &content).await.unwrap();
            lose(&drive, at, how.clone()).await;
            let (mut errors, mut progress) = (0, AT_THE_START);
            while let UploadProgress::Stored { next_byte } = progress {
                let bytes = chunk(&content, next_byte, STEP);
                let sent = drive.client.upload_chunk(&session, next_byte, total, bytes);
                progress = match sent.await {
                    Ok(progress) => progress,
                    Err(error) => {
                        let unclear = matches!(error.kind(), Kind::Unanswered | Kind::Transient);
                        assert!(unclear, "{error}");
                        errors += 1;
                        drive.client.upload_state(&session, total).await.unwrap()
                    }
                };
            }
            assert_eq!(errors, 1, "{how} at {at}");
            let after = done(progress);
            assert_eq!(after, drive.client.read_file(&file).await.unwrap().snapshot);
            assert_eq!(content_of(&drive, &file).await, content);
            let revisions = drive.client.list_revisions(&file, None).await.unwrap();
            assert_eq!(revisions.revisions.len(), 2, "written once");
        }
    }
}

#[tokio::test]
async fn a_completed_upload_reports_its_completion_repeatedly() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", "before");
    let session = replacement(&drive, &file, b"ours").await.unwrap();
    let first = done(send(&drive.client, &session, b"ours").await.unwrap());
    for _ in 0..2 {
        let again = drive.client.upload_state(&session, 4).await.unwrap();
        assert_eq!(done(again), first);
    }
    let resent = drive
        .client
        .upload_chunk(&session, 0, 4, "ours".into())
        .await;
    assert_eq!(done(resent.unwrap()), first);
}

#[tokio::test]
async fn a_restarted_sender_resumes_from_the_stored_session() {
    let drive = Simulated::start().await;
    let content = random_bytes(&mut fastrand::Rng::with_seed(8), 3 * STEP);
    let total = content.len() as u64;
    let id = drive.client.generate_id("text/plain").await.unwrap();
    let patch = named("new.bin");
    let session = begun(start_new(&drive, &id, &patch, &content).await.unwrap());
    let state = drive.client.upload_state(&session, total).await.unwrap();
    assert_eq!(state, AT_THE_START);
    let sent = drive
        .client
        .upload_chunk(&session, 0, total, chunk(&content, 0, 2 * STEP));
    let next_byte = 2 * STEP as u64;
    assert_eq!(sent.await.unwrap(), UploadProgress::Stored { next_byte });

    let stored = drive.client.seal_session(&session).await.unwrap();
    assert!(!stored.contains("upload_id"), "readable: {stored}");
    drop(session);
    // Other credentials open nothing.
    let stranger = drive.client_of("alice");
    let closed = stranger.open_session(id.clone(), &stored).await.unwrap();
    let state = stranger.upload_state(&closed, total).await.unwrap();
    assert_eq!(state, UploadProgress::SessionGone);
    let other_process = drive.client_of("owner");
    let session = other_process.open_session(id.clone(), &stored).await;
    let session = session.unwrap();
    let state = other_process.upload_state(&session, total).await.unwrap();
    assert_eq!(state, UploadProgress::Stored { next_byte });
    done(send(&other_process, &session, &content).await.unwrap());
    assert_eq!(content_of(&drive, &id).await, content);
}

#[tokio::test]
async fn an_ended_session_is_distinguished_from_a_failing_one() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", "before");
    let old = replacement(&drive, &file, b"ours").await.unwrap();
    drive.simulator.advance_clock(7 * 24 * 3_600 + 60);
    let state = drive.client.upload_state(&old, 4).await.unwrap();
    assert_eq!(state, UploadProgress::SessionGone);
    let sent = drive.client.upload_chunk(&old, 0, 4, "ours".into()).await;
    assert_eq!(sent.unwrap(), UploadProgress::SessionGone);

    let given_up = replacement(&drive, &file, b"ours").await.unwrap();
    for _ in 0..2 {
        drive.client.cancel_upload(&given_up).await.unwrap();
    }
    let state = drive.client.upload_state(&given_up, 4).await.unwrap();
    assert_eq!(state, UploadProgress::SessionGone);
    assert_eq!(content_of(&drive, &file).await, b"before");

    let gone = json!({"respond": {"status": 410, "reason": "gone"}});
    let busy = json!({"respond": {"status": 403, "reason": "userRateLimitExceeded"}});
    let lost = json!({"respond": {"status": 401, "reason": "authError"}});
    let live = replacement(&drive, &file, b"ours").await.unwrap();
    lose(&drive, 0, gone).await;
    let state = drive.client.upload_state(&live, 4).await.unwrap();
    assert_eq!(state, UploadProgress::SessionGone);
    lose(&drive, 0, busy).await;
    let error = drive.client.upload_state(&live, 4).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::RateLimited { .. }), "{error}");
    // A session needs no credentials, so the error is not about ours.
    lose(&drive, 0, lost).await;
    let error = drive.client.upload_state(&live, 4).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Transient);
    done(send(&drive.client, &live, b"ours").await.unwrap());
}

#[tokio::test]
async fn an_incomplete_final_response_leads_to_a_read() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", "before");
    let session = replacement(&drive, &file, b"ours").await.unwrap();
    lose(
        &drive,
        0,
        json!({"replace": {"\"version\"": "\"unknown\""}}),
    )
    .await;
    let sent = drive
        .client
        .upload_chunk(&session, 0, 4, Bytes::from_static(b"ours"));
    let after = done(sent.await.unwrap());
    assert_eq!(after, drive.client.read_file(&file).await.unwrap().snapshot);
    assert_eq!(content_of(&drive, &file).await, b"ours");
}
