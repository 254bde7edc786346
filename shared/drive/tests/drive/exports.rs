//! Exports and prepared downloads.

use drive::{Expected, Kind, Preparation, PreparationId, PreparedContent, Unavailable};
use serde_json::json;

use crate::simulated::{Simulated, drained, whole};

const PDF: &str = "application/pdf";
const AS_PDF: Expected<'static> = Expected {
    mime_type: Some(PDF),
    size_bytes: None,
};

async fn ready(drive: &Simulated, id: &PreparationId) -> PreparedContent {
    match drive.client.get_preparation(id).await.unwrap() {
        Preparation::Ready(content) => content,
        Preparation::Pending(_) => panic!("it is not ready"),
    }
}

fn pending(preparation: Preparation) -> PreparationId {
    match preparation {
        Preparation::Pending(id) => id,
        Preparation::Ready(_) => panic!("it is ready at once"),
    }
}

#[tokio::test]
async fn a_document_is_exported_in_the_requested_format() {
    let drive = Simulated::start().await;
    let document = drive.document(70_000).await;
    let download = drive.client.export(&document, PDF).await.unwrap();
    assert_eq!(download.mime_type(), Some(PDF));
    assert_eq!(whole(Ok(download)).await.len(), 70_000);
    let error = drive
        .client
        .export(&document, "image/tiff")
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), Kind::Permanent { .. }), "{error}");
    let plain = drive.file("a.txt", "x");
    let error = drive.client.export(&plain, PDF).await.unwrap_err();
    assert_eq!(
        error.content_unavailable(),
        Some(Unavailable::NotExportable)
    );
}

#[tokio::test]
async fn a_document_of_12_mb_is_prepared_instead_of_exported() {
    let drive = Simulated::start().await;
    let size = 12_000_000;
    let document = drive.document(size).await;
    drive.control("operations", json!({"seconds": 30})).await;
    let error = drive.client.export(&document, PDF).await.unwrap_err();
    assert_eq!(error.content_unavailable(), Some(Unavailable::TooLarge));

    let begun = drive
        .client
        .prepare_download(&document, Some(PDF), None)
        .await;
    let id = pending(begun.unwrap());
    // The id is stored as text.
    let id = PreparationId::parse(id.as_str()).unwrap();
    assert_eq!(
        pending(drive.client.get_preparation(&id).await.unwrap()),
        id
    );
    drive.simulator.advance_clock(31);
    let content = ready(&drive, &id).await;
    assert!(content.supports_ranges);
    assert!(
        !format!("{content:?}").contains("http"),
        "the address is secret"
    );
    let download = drive.client.download_prepared(&content, 0, AS_PDF).await;
    let all = whole(download).await;
    assert_eq!(all.len() as u64, size);
    let rest = drive
        .client
        .download_prepared(&content, size - 50, AS_PDF)
        .await;
    assert_eq!(whole(rest).await, all[all.len() - 50..]);

    drive.simulator.advance_clock(2 * 24 * 3_600);
    let error = drive.client.get_preparation(&id).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::NotFound);
}

#[tokio::test]
async fn an_interrupted_export_is_rejected() {
    let drive = Simulated::start().await;
    let document = drive.document(50_000).await;
    let fault = json!({"match": "GET /drive/v3/files/*/export", "spoil": {"cut_after": 20_000}});
    drive.control("faults", fault).await;
    let mut download = drive.client.export(&document, PDF).await.unwrap();
    let (_, outcome) = drained(&mut download).await;
    assert!(matches!(outcome.unwrap_err().kind(), Kind::BadContent(_)));
    let page =
        json!({"match": "GET /drive/v3/files/*/export", "respond": {"status": 200, "html": true}});
    drive.control("faults", page).await;
    let error = drive.client.export(&document, PDF).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::BadContent(_)), "{error}");
}

#[tokio::test]
async fn a_file_with_bytes_can_be_prepared_but_malware_cannot() {
    let drive = Simulated::start().await;
    let file = drive.file("a.txt", "content");
    let begun = drive.client.prepare_download(&file, None, None).await;
    let id = pending(begun.unwrap());
    let content = ready(&drive, &id).await;
    let download = drive
        .client
        .download_prepared(&content, 0, Expected::default());
    assert_eq!(whole(download.await).await, b"content");

    let order = json!({"id": file.as_str(), "abusive": true});
    drive.control("content", order).await;
    let refused = drive.client.prepare_download(&file, None, None).await;
    let refused = refused.unwrap_err().content_unavailable();
    assert_eq!(refused, Some(Unavailable::Abusive));
}
