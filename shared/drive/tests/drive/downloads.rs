//! Downloads from the simulated Drive, with interruptions and changes.

use bytes::Bytes;
use domain::FileId;
use drive::{BadContent, ContentSource, Expected, Kind, Unavailable};
use drive_simulator::{Edit, GeneratedFile};
use serde_json::json;

use crate::simulated::{Simulated, drained, random_bytes, whole};

fn sized(size_bytes: usize) -> Expected<'static> {
    Expected {
        mime_type: None,
        size_bytes: Some(size_bytes as u64),
    }
}

const ANY: Expected<'static> = Expected {
    mime_type: None,
    size_bytes: None,
};

#[tokio::test]
async fn content_of_any_size_is_downloaded_from_any_byte_on() {
    let drive = Simulated::start().await;
    let mut rng = fastrand::Rng::with_seed(11);
    let step = 256 * 1024;
    let mut sizes = vec![0, 1, 2, step - 1, step, step + 1];
    sizes.extend((0..6).map(|_| rng.usize(3..1_500_000)));
    for size in sizes {
        let content = random_bytes(&mut rng, size);
        let file = drive.file("a.bin", content.clone());
        let facts = drive.client.content_facts(&file).await.unwrap();
        assert_eq!(facts.size_bytes, Some(size as u64));
        let all = drive.client.download(&file, 0, facts.expected()).await;
        assert_eq!(all.as_ref().unwrap().total_bytes(), Some(size as u64));
        assert_eq!(whole(all).await, content, "{size} bytes");
        for from in [1, size / 2, size.saturating_sub(1), size] {
            let from = from.min(size);
            let rest = drive.client.download(&file, from as u64, sized(size)).await;
            assert_eq!(rest.as_ref().unwrap().next_byte(), from as u64);
            assert_eq!(whole(rest).await, content[from..], "{size} from {from}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_download_is_detected_and_resumed() {
    let drive = Simulated::start().await;
    let content = random_bytes(&mut fastrand::Rng::with_seed(3), 100_000);
    let file = drive.file("a.bin", content.clone());
    drive.spoil_downloads(3, json!({"cut_after": 30_000})).await;
    let (mut got, mut broke_off) = (Vec::new(), 0);
    while got.len() < content.len() {
        let expected = sized(content.len());
        let download = drive
            .client
            .download(&file, got.len() as u64, expected)
            .await;
        let mut download = download.unwrap();
        let (more, outcome) = drained(&mut download).await;
        got.extend(more);
        assert_eq!(download.next_byte(), got.len() as u64);
        if let Err(error) = outcome {
            assert_eq!(*error.kind(), Kind::BadContent(BadContent::Interrupted));
            let again = download.chunk().await.unwrap_err();
            assert_eq!(again.kind(), error.kind(), "never an end after an error");
            broke_off += 1;
        }
    }
    assert_eq!(broke_off, 3);
    assert_eq!(got, content);
}

#[tokio::test]
async fn a_truncated_or_overlong_body_is_rejected() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", vec![7; 1_000]);
    // The response has no length: only the expected size reveals the defect.
    drive.spoil_downloads(1, json!({"end_after": 600})).await;
    let mut short = drive.client.download(&file, 0, sized(1_000)).await.unwrap();
    let (bytes, outcome) = drained(&mut short).await;
    assert_eq!(bytes, [7; 600]);
    let bad = Kind::BadContent(BadContent::Interrupted);
    assert_eq!(*outcome.unwrap_err().kind(), bad);

    drive.spoil_downloads(1, json!({"append_bytes": 5})).await;
    let mut long = drive.client.download(&file, 0, sized(1_000)).await.unwrap();
    let (bytes, outcome) = drained(&mut long).await;
    assert!(bytes.len() <= 1_000);
    let bad = Kind::BadContent(BadContent::TooLong);
    assert_eq!(*outcome.unwrap_err().kind(), bad);
}

#[tokio::test]
async fn an_error_page_with_status_200_is_rejected() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "content");
    let expected = Expected {
        mime_type: Some("text/plain"),
        size_bytes: Some(7),
    };
    let answers = [
        json!({"status": 200, "html": true}),
        json!({"status": 200, "reason": "backendError"}),
    ];
    for respond in answers {
        for expected in [
            expected,
            Expected {
                size_bytes: None,
                ..expected
            },
        ] {
            let fault = json!({"match": "GET /drive/v3/files/*", "respond": respond});
            drive.control("faults", fault).await;
            let error = drive.client.download(&file, 0, expected).await.unwrap_err();
            let bad = Kind::BadContent(BadContent::UnexpectedBody);
            assert_eq!(*error.kind(), bad, "{respond}");
            assert_eq!(error.content_unavailable(), None, "a retry may succeed");
        }
    }
    assert_eq!(
        whole(drive.client.download(&file, 0, expected).await).await,
        b"content"
    );
}

#[tokio::test]
async fn html_and_json_files_of_users_are_content() {
    let drive = Simulated::start().await;
    let content = r#"{"error": {"code": 403}}"#;
    for mime_type in ["application/json", "text/html"] {
        let file = drive.file("a", content);
        let path = format!("/drive/v3/files/{file}");
        // The owner's type counts, whatever the name is.
        let id = drive.client.generate_id(mime_type).await.unwrap();
        drive
            .post(
                &format!("{path}/copy"),
                json!({"id": id.as_str(), "mimeType": mime_type}),
            )
            .await;
        let facts = drive.client.content_facts(&id).await.unwrap();
        assert_eq!(facts.mime_type, mime_type);
        let download = drive.client.download(&id, 0, facts.expected()).await;
        assert_eq!(whole(download).await, content.as_bytes());
    }
    // An error instead of such a file is detected by its size.
    let file = drive.file("b", content);
    let fault = json!({"match": "GET /drive/v3/files/*", "respond": {"status": 200}});
    drive.control("faults", fault).await;
    let expected = Expected {
        mime_type: Some("application/json"),
        size_bytes: Some(content.len() as u64),
    };
    let error = drive.client.download(&file, 0, expected).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::BadContent(BadContent::WrongSize));
}

#[tokio::test]
async fn a_change_before_or_during_a_download_is_detected() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", vec![1; 600_000]);
    let before = drive.client.content_facts(&file).await.unwrap();

    drive
        .simulator
        .apply("owner", file.as_str(), Edit::Rename("b.bin".to_owned()))
        .unwrap();
    let renamed = drive.client.content_facts(&file).await.unwrap();
    assert!(renamed.version > before.version && renamed.same_content(&before));

    let mut download = drive
        .client
        .download(&file, 0, before.expected())
        .await
        .unwrap();
    let first = download.chunk().await.unwrap().unwrap();
    drive
        .simulator
        .replace_content("owner", file.as_str(), Bytes::from(vec![2; 600_000]))
        .unwrap();
    let (rest, outcome) = drained(&mut download).await;
    outcome.unwrap();
    // The bytes are the complete old content: only the metadata shows that it was replaced.
    assert_eq!(first.len() + rest.len(), 600_000);
    let after = drive.client.content_facts(&file).await.unwrap();
    assert!(!after.same_content(&before));
    assert_ne!(after.head_revision_id, before.head_revision_id);

    drive
        .simulator
        .replace_content("owner", file.as_str(), Bytes::from_static(b"short"))
        .unwrap();
    let stale = drive.client.download(&file, 0, before.expected()).await;
    let bad = Kind::BadContent(BadContent::WrongSize);
    assert_eq!(*stale.unwrap_err().kind(), bad);
    let past = drive.client.download(&file, 1_000, ANY).await.unwrap_err();
    assert_eq!((past.kind(), past.status()), (&bad, Some(416)));
}

#[tokio::test]
async fn a_complete_download_sends_no_request() {
    let drive = Simulated::start().await;
    let file = drive.file("a.bin", "1234");
    drive.simulator.zero_counters();
    let rest = drive.client.download(&file, 4, sized(4)).await;
    assert_eq!(whole(rest).await, b"");
    assert_eq!(drive.calls("files.get"), 0);
}

#[tokio::test]
async fn unavailable_content_has_a_reason_and_current_facts() {
    let drive = Simulated::start().await;
    let refused = async |file: &FileId| {
        let error = drive.client.download(file, 0, ANY).await.unwrap_err();
        drive.client.content_facts(file).await.unwrap();
        error.content_unavailable()
    };
    let malware = drive.file("a.exe", "x");
    let order = json!({"id": malware.as_str(), "abusive": true});
    drive.control("content", order).await;
    assert_eq!(refused(&malware).await, Some(Unavailable::Abusive));

    let closed = drive.file("b.txt", "x");
    let order = json!({"id": closed.as_str(), "downloadable": false});
    drive.control("content", order).await;
    assert_eq!(refused(&closed).await, Some(Unavailable::NotDownloadable));
    assert!(
        !drive
            .client
            .content_facts(&closed)
            .await
            .unwrap()
            .can_download
    );

    let document = drive.document(10).await;
    assert_eq!(refused(&document).await, Some(Unavailable::NotDownloadable));
}

#[tokio::test]
async fn a_shortcut_has_no_content_of_its_own() {
    let drive = Simulated::start().await;
    let target = drive.file("a.txt", "the target's");
    let id = drive.client.generate_id(drive::SHORTCUT).await.unwrap();
    let body = json!({"id": id.as_str(), "mimeType": drive::SHORTCUT,
        "shortcutDetails": {"targetId": target.as_str()}});
    drive.post("/drive/v3/files", body).await;
    let facts = drive.client.content_facts(&id).await.unwrap();
    let source = ContentSource::of(&facts.mime_type);
    assert_eq!(source, ContentSource::NoContent);
    let error = drive
        .client
        .download(&id, 0, facts.expected())
        .await
        .unwrap_err();
    assert_eq!(
        error.content_unavailable(),
        Some(Unavailable::NotDownloadable)
    );
}

#[tokio::test]
async fn a_gone_or_inaccessible_file_is_reported_as_for_a_read() {
    let drive = Simulated::start().await;
    let missing = FileId::parse("nowhere").unwrap();
    let error = drive.client.download(&missing, 0, ANY).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::NotFound);
    let error = drive.client.content_facts(&missing).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::NotFound);
    let busy = json!({"match": "GET /drive/v3/files/*",
        "respond": {"status": 403, "reason": "userRateLimitExceeded"}});
    drive.control("faults", busy).await;
    let file = drive.file("a", "x");
    let error = drive.client.download(&file, 0, ANY).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::RateLimited { .. }), "{error}");
}

#[tokio::test]
async fn a_file_larger_than_memory_can_be_downloaded() {
    let drive = Simulated::start().await;
    let size = 5 * 1024 * 1024 * 1024 * 1024_u64;
    let made = GeneratedFile {
        name: "large.txt".to_owned(),
        mime_type: "text/plain".to_owned(),
        seed: 9,
        size_bytes: size,
    };
    let id = drive
        .simulator
        .create_generated("owner", None, made)
        .unwrap();
    let file = FileId::parse(&id).unwrap();
    let expected = Expected {
        mime_type: Some("text/plain"),
        size_bytes: Some(size),
    };
    let mut download = drive.client.download(&file, 0, expected).await.unwrap();
    let first = download.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"synthetic content 0000000000000009\n"));
    assert_eq!(download.total_bytes(), Some(size));
    drop(download);
    let end = drive.client.download(&file, size - 1_000, expected).await;
    assert_eq!(whole(end).await.len(), 1_000);
}

#[tokio::test]
async fn revisions_are_listed_and_kept_ones_can_be_downloaded() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "first");
    let head = drive.client.content_facts(&file).await.unwrap();
    let head = drive::RevisionId::parse(&head.head_revision_id.unwrap()).unwrap();
    let kept = drive
        .client
        .keep_revision(&file, &head, true)
        .await
        .unwrap();
    assert!(kept.kept_forever);
    for content in ["second", "third"] {
        let content = Bytes::from_static(content.as_bytes());
        drive
            .simulator
            .replace_content("alice", file.as_str(), content)
            .unwrap();
    }
    let page = drive.client.list_revisions(&file, None).await.unwrap();
    assert_eq!(
        (page.revisions.len(), page.skipped, page.next),
        (3, 0, None)
    );
    let sizes: Vec<_> = page.revisions.iter().map(|one| one.size_bytes).collect();
    assert_eq!(sizes, [Some(5), Some(6), Some(5)]);
    let [first, second, third] = page.revisions.as_slice() else {
        panic!("three");
    };
    assert_eq!(
        first.md5.as_deref(),
        Some("8b04d5e3775d298e78455efc5ca404d5")
    );
    assert!(first.kept_forever && !second.kept_forever);
    assert_eq!(second.modified_by.as_deref(), Some("alice@example.com"));
    assert!(second.modified_at.is_some());
    assert_eq!(
        drive.client.get_revision(&file, &first.id).await.unwrap(),
        *first
    );

    let of = async |id, from| drive.client.download_revision(&file, id, from, ANY).await;
    assert_eq!(whole(of(&first.id, 0).await).await, b"first");
    assert_eq!(whole(of(&first.id, 3).await).await, b"st");
    assert_eq!(whole(of(&third.id, 0).await).await, b"third");
    let error = of(&second.id, 0).await.unwrap_err();
    assert_eq!(
        error.content_unavailable(),
        Some(Unavailable::NotDownloadable)
    );
    let gone = drive::RevisionId::parse("nowhere").unwrap();
    let error = drive.client.get_revision(&file, &gone).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_reader_cannot_list_revisions() {
    let drive = Simulated::start().await;
    let team = drive.simulator.create_drive(
        "Team",
        &[
            ("owner", drive_simulator::Role::Organizer),
            ("bob", drive_simulator::Role::Reader),
        ],
    );
    let id = drive
        .simulator
        .create_file("owner", "a", Some(&team), "x".into());
    let file = FileId::parse(&id.unwrap()).unwrap();
    let bob = drive.client_of("bob");
    let error = bob.list_revisions(&file, None).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AccessDenied { .. }), "{error}");
    assert_eq!(whole(bob.download(&file, 0, ANY).await).await, b"x");
}
