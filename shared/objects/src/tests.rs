//! All operations against the local S3, in the process and over a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use domain::content::Encoding;
use domain::{ContentSettings, TenantId};
use http::StatusCode;
use local::aws::in_process::{Fault, fault_layer};
use local::aws::{self, Aws, CONTENT_BUCKET};

use crate::{
    ContentHash, ContentHasher, ContentRef, Encoded, ObjectKey, Objects, ObjectsError,
    PART_BYTES_MIN, PartPlan, StorageClass, UploadId,
};

/// A bucket that loses the responses to the next `lost` requests of a method.
struct Bucket {
    _aws: Aws,
    objects: Objects,
    lost: Arc<AtomicU64>,
}

fn bucket(method: &'static str) -> Bucket {
    let lost = Arc::new(AtomicU64::new(0));
    let left = Arc::clone(&lost);
    let hook = Arc::new(move |request: &http::Request<Bytes>| {
        let strikes = request.method() == method
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
        if strikes {
            Fault::AnswerLost
        } else {
            Fault::None
        }
    });
    let aws = Aws::open(aws::Options {
        layer: Some(fault_layer(hook)),
        ..aws::Options::memory(aws::system_clock())
    });
    let aws = aws.unwrap();
    Bucket {
        objects: Objects::new(aws.s3_client(), CONTENT_BUCKET),
        _aws: aws,
        lost,
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn key(nonce: u64) -> ObjectKey {
    ObjectKey::content(&tenant(), &ContentHash::from_bytes([9; 32]), nonce)
}

/// Bytes with different values.
fn bytes(size: u64, seed: u8) -> Bytes {
    let byte = |n: u64| (n % 251) as u8 ^ seed;
    (0..size).map(byte).collect()
}

const TEXT: &str = "text/plain";

async fn create_upload(objects: &Objects, key: &ObjectKey) -> UploadId {
    let upload = objects.create_upload(key, StorageClass::GlacierIr);
    upload.await.unwrap()
}

async fn read(objects: &Objects, key: &ObjectKey) -> Option<Bytes> {
    let body = objects.get(key, None).await.unwrap()?;
    Some(body.collect(u64::MAX).await.unwrap())
}

#[tokio::test]
async fn small_content_is_stored_read_by_ranges_and_deleted() {
    let Bucket { objects, _aws, .. } = bucket("");
    let (key, content) = (key(1), bytes(1_000, 0));
    let sha256 = ContentHasher::sha256(&content);
    let class = StorageClass::StandardIa;
    let put = objects.put(&key, Encoded::plain(content.clone(), sha256), class);
    put.await.unwrap();
    let metadata = objects.head(&key).await.unwrap().unwrap();
    assert_eq!(
        (
            metadata.size_bytes,
            metadata.sha256,
            metadata.mime_type.as_deref()
        ),
        (1_000, Some(sha256), Some("application/octet-stream"))
    );
    assert_eq!(read(&objects, &key).await, Some(content.clone()));
    for range in [0..1, 10..20, 999..1_000, 990..5_000] {
        let end = usize::try_from(range.end).unwrap().min(1_000);
        let wanted = content.slice(usize::try_from(range.start).unwrap()..end);
        let part = objects.get(&key, Some(range)).await.unwrap().unwrap();
        assert_eq!(part.collect(u64::MAX).await.unwrap(), wanted);
    }
    let none = objects.get(&key, Some(7..7)).await.unwrap().unwrap();
    assert_eq!(none.collect(0).await.unwrap(), Bytes::new());
    let behind = objects.get(&key, Some(1_000..1_001)).await;
    assert!(
        matches!(behind, Err(ObjectsError::Refused(_))),
        "{behind:?}"
    );
    let whole = objects.get(&key, None).await.unwrap().unwrap();
    assert!(whole.collect(999).await.is_err(), "exceeds the limit");

    let copy = ObjectKey::staging(&tenant(), 1, 1);
    objects.copy(&key, &copy, class).await.unwrap();
    for _ in 0..2 {
        objects.delete(&key).await.unwrap();
    }
    assert_eq!(read(&objects, &key).await, None);
    assert_eq!(objects.head(&key).await.unwrap(), None);
    assert_eq!(read(&objects, &copy).await, Some(content));
}

#[tokio::test]
async fn empty_content_is_stored() {
    let Bucket { objects, _aws, .. } = bucket("");
    let empty = ContentHasher::of(b"");
    let (class, first) = (StorageClass::Standard, key(1));
    let put = objects.put(&first, Encoded::plain(Bytes::new(), empty.sha256), class);
    put.await.unwrap();
    assert_eq!(read(&objects, &key(1)).await, Some(Bytes::new()));
    let upload = create_upload(&objects, &key(2)).await;
    let part = objects.upload_part(&key(2), &upload, 1, Bytes::new()).await;
    let metadata = objects
        .complete_upload(&key(2), &upload, &[part.unwrap()])
        .await;
    assert_eq!(metadata.unwrap().size_bytes, 0);
    assert_eq!(read(&objects, &key(2)).await, Some(Bytes::new()));
}

fn compressing() -> ContentSettings {
    ContentSettings {
        compress: true,
        ..ContentSettings::default()
    }
}

#[tokio::test]
async fn compressed_content_is_decoded_and_verified() {
    let Bucket { objects, _aws, .. } = bucket("");
    let content = Bytes::from("a line that is there again\n".repeat(1_000));
    let (digest, key) = (ContentHasher::of(&content), key(1));
    let put = Encoded::with_settings(content.clone(), &digest, TEXT, &compressing());
    let location = objects
        .put(&key, put, StorageClass::Standard)
        .await
        .unwrap();
    assert_eq!((&location.key, location.encoding), (&key, Encoding::Zstd));
    let metadata = objects.head(&key).await.unwrap().unwrap();
    assert_eq!(metadata.size_bytes, location.stored_bytes);
    assert!(metadata.size_bytes * 5 < digest.size_bytes);
    let content_ref = ContentRef {
        key: &location.key,
        encoding: location.encoding,
        size_bytes: digest.size_bytes,
        hash: &digest.sha256,
    };
    let whole = objects
        .read_content(content_ref, digest.size_bytes)
        .await
        .unwrap();
    assert_eq!(whole, Some(content));
    let too_large = objects
        .read_content(content_ref, digest.size_bytes - 1)
        .await;
    assert!(
        matches!(too_large, Err(ObjectsError::Refused(_))),
        "{too_large:?}"
    );

    let other = ContentHasher::sha256(b"other");
    for wrong in [
        ContentRef {
            hash: &other,
            ..content_ref
        },
        ContentRef {
            encoding: Encoding::None,
            ..content_ref
        },
        ContentRef {
            size_bytes: digest.size_bytes - 1,
            ..content_ref
        },
        ContentRef {
            size_bytes: metadata.size_bytes - 1,
            ..content_ref
        },
    ] {
        let read = objects.read_content(wrong, digest.size_bytes).await;
        assert!(
            matches!(read, Err(ObjectsError::CorruptObject { .. })),
            "{read:?}"
        );
    }
    objects.delete(&key).await.unwrap();
    let gone = objects
        .read_content(content_ref, digest.size_bytes)
        .await
        .unwrap();
    assert_eq!(gone, None);
}

#[tokio::test]
async fn bytes_with_a_wrong_hash_are_rejected() {
    let Bucket { objects, _aws, .. } = bucket("");
    let wrong = ContentHasher::sha256(b"other");
    let content = Bytes::from_static(b"content");
    let (class, key) = (StorageClass::Standard, key(1));
    let put = objects.put(&key, Encoded::plain(content, wrong), class);
    let error = put.await.unwrap_err();
    assert!(matches!(error, ObjectsError::Corrupted(_)), "{error:?}");
}

#[tokio::test]
async fn an_upload_resumes_from_the_stored_parts() {
    let Bucket { objects, _aws, .. } = bucket("");
    let (key, content) = (key(1), bytes(2 * PART_BYTES_MIN + 17, 3));
    let plan = PartPlan::resume(2 * PART_BYTES_MIN + 17, PART_BYTES_MIN).unwrap();
    let piece = |number| {
        let range = plan.range(number).unwrap();
        content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
    };
    let upload = create_upload(&objects, &key).await;
    let mut hashes = ContentHasher::new();
    let mut parts = Vec::new();
    for number in [1, 2] {
        hashes.update(&piece(number));
        parts.push(
            objects
                .upload_part(&key, &upload, number, piece(number))
                .await
                .unwrap(),
        );
    }
    let saved = hashes.save();
    // Another worker resumes with the upload id, the number of parts and the hash state.
    let mut listed = objects.list_parts(&key, &upload).await.unwrap();
    let marks = |parts: &[crate::Part]| -> Vec<(u32, String, u64)> {
        let mark = |part: &crate::Part| (part.number, part.etag.clone(), part.size_bytes);
        parts.iter().map(mark).collect()
    };
    assert_eq!(marks(&listed), marks(&parts));
    let mut hashes = ContentHasher::restore(&saved).unwrap();
    // The last part is uploaded twice: the second upload counts.
    objects
        .upload_part(&key, &upload, 3, bytes(17, 99))
        .await
        .unwrap();
    hashes.update(&piece(3));
    listed.push(
        objects
            .upload_part(&key, &upload, 3, piece(3))
            .await
            .unwrap(),
    );
    let metadata = objects
        .complete_upload(&key, &upload, &listed)
        .await
        .unwrap();
    assert_eq!(metadata.size_bytes, plan.size_bytes());
    let stored = read(&objects, &key).await.unwrap();
    assert!(stored == content, "the stored bytes are the content");
    assert_eq!(ContentHasher::of(&stored), hashes.finish());
    // Completed again, after a lost response.
    let again = objects
        .complete_upload(&key, &upload, &listed)
        .await
        .unwrap();
    assert_eq!(again.size_bytes, plan.size_bytes());
    let gone = objects.list_parts(&key, &upload).await.unwrap_err();
    assert!(matches!(gone, ObjectsError::UploadGone(_)), "{gone:?}");
}

#[tokio::test]
async fn an_aborted_upload_is_gone_and_can_be_aborted_again() {
    let Bucket { objects, _aws, .. } = bucket("");
    let upload = create_upload(&objects, &key(1)).await;
    let part = objects
        .upload_part(&key(1), &upload, 1, bytes(5, 0))
        .await
        .unwrap();
    for _ in 0..2 {
        objects.abort_upload(&key(1), &upload).await.unwrap();
    }
    let late = objects.upload_part(&key(1), &upload, 2, bytes(5, 0)).await;
    assert!(matches!(late, Err(ObjectsError::UploadGone(_))), "{late:?}");
    let complete = objects.complete_upload(&key(1), &upload, &[part]).await;
    assert!(matches!(complete, Err(ObjectsError::UploadGone(_))));
    assert_eq!(read(&objects, &key(1)).await, None);
}

#[tokio::test]
async fn a_lost_response_is_retried_without_effect() {
    let Bucket {
        objects,
        _aws,
        lost,
    } = bucket("POST");
    let upload = create_upload(&objects, &key(1)).await;
    let part = objects
        .upload_part(&key(1), &upload, 1, bytes(5, 0))
        .await
        .unwrap();
    lost.store(1, Ordering::SeqCst);
    let metadata = objects
        .complete_upload(&key(1), &upload, &[part])
        .await
        .unwrap();
    assert_eq!((metadata.size_bytes, lost.load(Ordering::SeqCst)), (5, 0));
    assert_eq!(read(&objects, &key(1)).await, Some(bytes(5, 0)));
}

/// A bucket that is reachable in the process and over a socket.
async fn behind_a_socket() -> (Aws, Objects) {
    let aws = Aws::open(aws::Options::memory(aws::system_clock())).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = aws.served(aws::Service::S3);
    let forever = std::future::pending();
    tokio::spawn(aws::serve::serve(
        listener,
        served,
        Default::default(),
        forever,
    ));
    let objects = Objects::new(aws.s3_client(), CONTENT_BUCKET);
    let objects = objects.with_signer(aws.s3_client_at(&address));
    (aws, objects)
}

#[tokio::test]
async fn a_presigned_url_downloads_with_a_file_name_and_supports_ranges() {
    let (_aws, objects) = behind_a_socket().await;
    let content = bytes(100_000, 1);
    let sha256 = ContentHasher::sha256(&content);
    let (class, key) = (StorageClass::Standard, key(1));
    let put = objects.put(&key, Encoded::plain(content.clone(), sha256), class);
    put.await.unwrap();
    let name = "Menü \"1\".txt";
    let url = objects
        .presign_get(&key, name, "text/html", 60)
        .await
        .unwrap();
    assert!(!format!("{url:?}").contains("acme"), "{url:?}");
    let client = reqwest::Client::new();
    let response = client.get(url.as_str()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        header("content-disposition"),
        crate::content_disposition(name)
    );
    assert_eq!(header("content-type"), "text/html");
    assert_eq!(response.bytes().await.unwrap(), content);
    let part = client.get(url.as_str()).header("range", "bytes=5-9");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), content.slice(5..10));

    let text = Bytes::from("a line that is there again\n".repeat(100));
    let put = Encoded::with_settings(
        text.clone(),
        &ContentHasher::of(&text),
        TEXT,
        &compressing(),
    );
    let stored = put.bytes.clone();
    objects.put(&key, put, class).await.unwrap();
    let response = client.get(url.as_str()).send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert_eq!(
        response.bytes().await.unwrap(),
        stored,
        "the client does not decode it"
    );

    let other = url.as_str().replace("/acme/", "/beta/");
    let refused = client.get(other).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn parts_are_uploaded_by_presigned_urls_and_completed() {
    let (_aws, objects) = behind_a_socket().await;
    let key = ObjectKey::staging(&tenant(), 1, 2);
    let content = bytes(PART_BYTES_MIN + 5, 1);
    let plan = PartPlan::resume(PART_BYTES_MIN + 5, PART_BYTES_MIN).unwrap();
    let class = StorageClass::IntelligentTiering;
    let upload = objects.create_presigned_upload(&key, class).await.unwrap();
    let signed = objects.presign_parts(&key, &upload, plan, 1..=9, 60);
    let signed = signed.await.unwrap();
    assert_eq!(signed.len(), 2, "there are no more parts");
    let client = reqwest::Client::new();
    for part in &signed {
        let range = plan.range(part.number).unwrap();
        let (start, end) = (range.start as usize, range.end as usize);
        assert_eq!(part.size_bytes, range.end - range.start);
        let longer = client.put(part.url.as_str()).body(vec![0; end - start + 1]);
        assert_eq!(longer.send().await.unwrap().status(), StatusCode::FORBIDDEN);
        let put = client
            .put(part.url.as_str())
            .body(content.slice(start..end));
        let put = put.send().await.unwrap();
        let (status, text) = (put.status(), put.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{text} {:?}", part.url.as_str());
    }
    let parts = objects.list_parts(&key, &upload).await.unwrap();
    let metadata = objects
        .complete_upload(&key, &upload, &parts)
        .await
        .unwrap();
    assert_eq!(metadata.size_bytes, PART_BYTES_MIN + 5);
    assert!(read(&objects, &key).await.unwrap() == content);
}
