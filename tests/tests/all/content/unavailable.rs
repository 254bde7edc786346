//! Content that can't be exported or downloaded.

use std::time::Duration;

use drive::Unavailable;
use http::Method;
use serde_json::{Value, json};

use crate::support::{ByHand, by_hand};

async fn document(hand: &ByHand) -> String {
    let body = json!({"name": "Minutes", "mimeType": "application/vnd.google-apps.document"});
    let made = hand
        .owner()
        .call(Method::POST, "/drive/v3/files", Some(body))
        .await;
    let id = made.1["id"].as_str().unwrap().to_owned();
    let size = json!({"id": id, "export_bytes": 12 * 1024 * 1024});
    hand.control(Method::POST, "content", size).await;
    id
}

#[test]
fn pain_14_a_document_too_large_to_export_stays_current_and_delays_no_other_file() {
    by_hand(4, async |hand| {
        let (file, owner) = (hand.take(), hand.owner());
        let (large, locked) = (
            document(hand).await,
            owner.create("locked.bin", false).await,
        );
        let closed = json!({"id": locked, "downloadable": false});
        hand.control(Method::POST, "content", closed).await;
        let export = format!("/drive/v3/files/{large}/export?mimeType=application/pdf");
        let (status, refused) = owner.call(Method::GET, &export, None).await;
        let reason = &refused["error"]["errors"][0]["reason"];
        assert_eq!((status, reason), (403, &json!("exportSizeLimitExceeded")));
        hand.simulator.zero_counters();
        for (id, name) in [(&large, "Minutes 2"), (&file, "a.txt"), (&locked, "b.bin")] {
            owner.rename(id, name).await;
        }
        hand.wait_for_wake().await;
        hand.pump().await;
        hand.edit_ok(&large, json!({"description": "from here"}))
            .await;
        for _ in 0..5 {
            hand.advance_clock(Duration::from_secs(60));
            hand.sweep_and_pump().await;
        }
        assert_eq!(hand.differences().await, Vec::<String>::new());
        assert_eq!(hand.file(&large).await["fields"]["name"], "Minutes 2");
        // Content that is not mirrored is never read.
        for method in ["files.export", "files.download", "files.get"] {
            assert_eq!(hand.calls(method), 0, "{method}");
        }
        assert_eq!(owner.get(&large).await["description"], "from here");
        let status = hand.get("/status").await;
        assert_eq!(status["attention"]["failed"], 0, "{status}");
    });
}

#[test]
fn pain_14_a_long_running_download_delivers_large_content() {
    by_hand(4, async |hand| {
        let (large, owner) = (document(hand).await, hand.owner());
        let begin = format!("/drive/v3/files/{large}/download?mimeType=text/plain");
        let (status, mut operation) = owner.call(Method::POST, &begin, None).await;
        assert_eq!(status, 200, "{operation}");
        let poll = format!(
            "/drive/v3/operations/{}",
            operation["name"].as_str().unwrap()
        );
        for _ in 0..3 {
            operation = owner.call(Method::GET, &poll, None).await.1;
        }
        assert_eq!(operation["done"], true);
        let address = operation["response"]["downloadUri"].as_str().unwrap();
        let content = hand
            .http
            .get(address)
            .bearer_auth("user:owner")
            .send()
            .await;
        let content = content.unwrap().bytes().await.unwrap();
        assert_eq!(content.len(), 12 * 1024 * 1024);
    });
}

#[test]
fn pain_14_every_rejection_of_content_is_classified() {
    by_hand(4, async |hand| {
        let file = domain::FileId::parse(&hand.take()).unwrap();
        let connection = hand.store().load_connection(&hand.key).await.unwrap();
        let drive = hand
            .functions
            .sweep
            .drives
            .unthrottled(&connection.unwrap())
            .await
            .unwrap();
        for (status, reason, expected) in [
            (403, "exportSizeLimitExceeded", Some(Unavailable::TooLarge)),
            (403, "fileNotExportable", Some(Unavailable::NotExportable)),
            (403, "cannotExportFile", Some(Unavailable::Forbidden)),
            (
                403,
                "fileNotDownloadable",
                Some(Unavailable::NotDownloadable),
            ),
            (403, "cannotDownloadAbusiveFile", Some(Unavailable::Abusive)),
            (403, "insufficientFilePermissions", None),
            (403, "userRateLimitExceeded", None),
            (503, "exportSizeLimitExceeded", None),
        ] {
            let answer: Value = json!({"status": status, "reason": reason});
            hand.fault(json!({"match": "GET /drive/v2/files/*", "respond": answer}));
            let error = drive.read_file(&file).await.unwrap_err();
            assert_eq!(error.content_unavailable(), expected, "{status} {reason}");
        }
    });
}
