use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use drive_simulator::Hosts;
use futures_util::stream;
use sdk_in_process::InProcess;

use super::*;
use crate::aws::clients;
use crate::aws::scratch::Scratch;
use crate::aws::serve::serve;

/// Opens buckets in a folder, and returns a client of them.
fn client(folder: &std::path::Path, buckets: &[&str]) -> aws_sdk_s3::Client {
    let keys = Keys::random().unwrap();
    let service = open(folder, buckets, &keys).unwrap();
    clients::s3("http://s3.local", &keys, InProcess::new(handler(service)))
}

#[tokio::test]
async fn an_object_is_stored_and_an_absent_one_is_a_typed_error() {
    let folder = Scratch::new().unwrap();
    let s3 = client(folder.path(), &["bucket"]);
    let put = s3
        .put_object()
        .bucket("bucket")
        .key("a/b.txt")
        .content_type("text/plain");
    put.body(b"content".to_vec().into()).send().await.unwrap();
    let get = s3
        .get_object()
        .bucket("bucket")
        .key("a/b.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(
        get.body.collect().await.unwrap().into_bytes().as_ref(),
        b"content"
    );
    let absent = s3
        .get_object()
        .bucket("bucket")
        .key("absent")
        .send()
        .await
        .unwrap_err();
    assert!(absent.into_service_error().is_no_such_key());

    let deleted = s3.delete_object().bucket("bucket").key("a/b.txt");
    deleted.send().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["bucket"], "no sidecar file is left");
}

#[tokio::test]
async fn a_response_starts_before_the_whole_object_is_read() {
    let folder = Scratch::new().unwrap();
    let s3 = client(folder.path(), &["bucket"]);
    // A sparse file of 64 GB.
    let file = std::fs::File::create(folder.path().join("bucket/huge")).unwrap();
    file.set_len(64 * 1024 * 1024 * 1024).unwrap();
    // Without a stored ETag the server would compute one from all bytes.
    let about = r#"{"e_tag":"0"}"#;
    let sidecar = ".bucket-YnVja2V0.object-aHVnZQ.internal.json";
    std::fs::write(folder.path().join(sidecar), about).unwrap();
    let get = s3.get_object().bucket("bucket").key("huge");
    let mut body = get.send().await.unwrap().body;
    let first = body.next().await.unwrap().unwrap();
    assert!(!first.is_empty() && first.len() < 1024 * 1024);
}

/// Serves the bucket on a socket and returns its address and its keys.
async fn serve_bucket(folder: &Path) -> (String, Keys) {
    let keys = Keys::random().unwrap();
    let service = open(folder, &["bucket"], &keys).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (hosts, forever) = (Hosts::default(), std::future::pending());
    tokio::spawn(serve(listener, router(service), hosts, forever));
    (address, keys)
}

/// Returns presigned URLs that get the object `huge` and put the object `new`.
async fn presigned(address: &str, keys: &Keys) -> [String; 2] {
    let nowhere = InProcess::new(sdk_in_process::router(BTreeMap::new()));
    let s3 = clients::s3(address, keys, nowhere);
    let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = s3.get_object().bucket("bucket").key("huge");
    let put = s3.put_object().bucket("bucket").key("new");
    let get = get.presigned(config.clone()).await.unwrap();
    let put = put.presigned(config).await.unwrap();
    [get.uri().to_owned(), put.uri().to_owned()]
}

#[tokio::test]
async fn over_a_socket_bodies_stream_in_both_directions() {
    let folder = Scratch::new().unwrap();
    let (address, keys) = serve_bucket(folder.path()).await;
    let file = std::fs::File::create(folder.path().join("bucket/huge")).unwrap();
    file.set_len(64 * 1024 * 1024 * 1024).unwrap();
    let sidecar = ".bucket-YnVja2V0.object-aHVnZQ.internal.json";
    std::fs::write(folder.path().join(sidecar), r#"{"e_tag":"0"}"#).unwrap();
    let [get, put] = presigned(&address, &keys).await;
    let client = reqwest::Client::new();
    let mut answer = client.get(get).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(64 * 1024 * 1024 * 1024));
    assert!(!answer.chunk().await.unwrap().unwrap().is_empty());
    drop(answer);

    // The first half of the request is on disk before the second is sent.
    let (halves, body) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let body = stream::unfold(body, async |mut body| {
        body.recv()
            .await
            .map(|half| (Ok::<_, std::io::Error>(half), body))
    });
    let half = vec![7; 3 * 1024 * 1024];
    halves.send(half.clone()).await.unwrap();
    let put = client
        .put(put)
        .header("content-length", 2 * half.len())
        .body(reqwest::Body::wrap_stream(body));
    let put = tokio::spawn(put.send());
    let bytes_on_disk = || {
        let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
        let part = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp."));
        part.filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .max()
            .unwrap_or(0)
    };
    let mut attempts = 0;
    while bytes_on_disk() == 0 {
        attempts += 1;
        assert!(attempts < 1_000, "nothing is written before the body ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!folder.path().join("bucket/new").exists());
    halves.send(half.clone()).await.unwrap();
    drop(halves);
    assert!(put.await.unwrap().unwrap().status().is_success());
    let stored = std::fs::metadata(folder.path().join("bucket/new")).unwrap();
    assert_eq!(stored.len(), 6 * 1024 * 1024);
}

#[tokio::test]
async fn an_interrupted_completion_of_an_upload_can_be_repeated() {
    let folder = Scratch::new().unwrap();
    let s3 = client(folder.path(), &["bucket"]);
    let begun = s3.create_multipart_upload().bucket("bucket").key("a/b");
    let begun = begun.content_type("text/plain").send().await.unwrap();
    let upload = begun.upload_id.unwrap();
    let part = s3
        .upload_part()
        .bucket("bucket")
        .key("a/b")
        .upload_id(&upload);
    let part = part.part_number(1).body(b"content".to_vec().into());
    let etag = part.send().await.unwrap().e_tag.unwrap();
    let complete = async || {
        let part = CompletedPart::builder().part_number(1).e_tag(&etag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let call = s3.complete_multipart_upload().bucket("bucket").key("a/b");
        call.upload_id(&upload).multipart_upload(parts).send().await
    };
    // The state after a kill before the upload was removed: both the object and the upload exist.
    let upload_file = |kind: &str| folder.path().join(format!(".upload{kind}"));
    let left = [
        upload_file(&format!("-{upload}.json")),
        upload_file(&format!("_id-{upload}.part-1")),
    ];
    let contents: Vec<_> = left
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    complete().await.unwrap();
    for (file, bytes) in left.iter().zip(contents) {
        std::fs::write(file, bytes).unwrap();
    }
    complete().await.unwrap();
    let gone = complete().await.unwrap_err();
    assert_eq!(gone.code(), Some("NoSuchUpload"));
    let get = s3
        .get_object()
        .bucket("bucket")
        .key("a/b")
        .send()
        .await
        .unwrap();
    assert_eq!(get.content_type.as_deref(), Some("text/plain"));
    let bytes = get.body.collect().await.unwrap().into_bytes();
    assert_eq!(bytes.as_ref(), b"content");
}

#[tokio::test]
async fn parts_are_copied_from_objects_and_open_uploads_are_listed() {
    let folder = Scratch::new().unwrap();
    let s3 = client(folder.path(), &["bucket", "other"]);
    let part = 5 * 1024 * 1024;
    let bytes: Vec<u8> = (0..part + 7)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let put = s3.put_object().bucket("other").key("a source");
    put.body(bytes.clone().into()).send().await.unwrap();
    let begin = async |key: &str| {
        let begun = s3.create_multipart_upload().bucket("bucket").key(key);
        begun.send().await.unwrap().upload_id.unwrap()
    };
    let (upload, left) = (begin("copy").await, begin("a/b").await);
    let copy = async |number: i32, source: &str, range: Option<String>| {
        let copy = s3.upload_part_copy().bucket("bucket").key("copy");
        let copy = copy
            .upload_id(&upload)
            .part_number(number)
            .copy_source(source);
        copy.set_copy_source_range(range).send().await
    };
    let refused = [
        (1, "other/absent", None, "NoSuchKey"),
        (
            1,
            "other/a%20source",
            Some("bytes=0-9999999"),
            "InvalidRange",
        ),
        (1, "other/a%20source", Some("0-1"), "InvalidArgument"),
        (10_001, "other/a%20source", None, "InvalidArgument"),
    ];
    for (number, source, range, code) in refused {
        let error = copy(number, source, range.map(str::to_owned)).await;
        assert_eq!(
            error.unwrap_err().code(),
            Some(code),
            "{number} {source} {range:?}"
        );
    }
    let mut parts = Vec::new();
    for (number, range) in [(1, Some(format!("bytes=7-{}", part + 6))), (2, None)] {
        let copied = copy(number, "other/a%20source", range).await.unwrap();
        let etag = copied.copy_part_result.unwrap().e_tag.unwrap();
        parts.push(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(etag)
                .build(),
        );
    }
    let open_uploads = async |bucket: &str| {
        let list = s3.list_multipart_uploads().bucket(bucket);
        list.send().await.unwrap()
    };
    let listed = open_uploads("bucket").await;
    let found: Vec<_> = listed
        .uploads()
        .iter()
        .map(|u| (u.key(), u.upload_id()))
        .collect();
    let wanted = [("a/b", &left), ("copy", &upload)];
    assert_eq!(
        found,
        wanted.map(|(key, id)| (Some(key), Some(id.as_str())))
    );
    assert!(listed.uploads()[0].initiated().is_some());
    assert!(open_uploads("other").await.uploads().is_empty());

    let complete = s3.complete_multipart_upload().bucket("bucket").key("copy");
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(parts))
        .build();
    let complete = complete.upload_id(&upload).multipart_upload(parts).send();
    complete.await.unwrap();
    let get = s3
        .get_object()
        .bucket("bucket")
        .key("copy")
        .send()
        .await
        .unwrap();
    let copied = get.body.collect().await.unwrap().into_bytes();
    assert_eq!(copied, [&bytes[7..], &bytes].concat());
    let abort = s3.abort_multipart_upload().bucket("bucket").key("a/b");
    abort.upload_id(&left).send().await.unwrap();
    assert!(open_uploads("bucket").await.uploads().is_empty());
}
