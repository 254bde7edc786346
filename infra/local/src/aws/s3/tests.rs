use super::*;
use crate::aws::clients;
use crate::aws::in_process::InProcess;
use crate::aws::scratch::Scratch;

#[tokio::test]
async fn an_object_reads_back_and_an_absent_one_is_typed() {
    let folder = Scratch::new().unwrap();
    let service = open(folder.path(), &["bucket"]).unwrap();
    let s3 = clients::s3("http://s3.local", InProcess::new(handler(service)));
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
    assert_eq!(left, ["bucket"], "nothing of it is left beside the bucket");
}

#[tokio::test]
async fn an_answer_begins_before_its_object_is_read_to_the_end() {
    let folder = Scratch::new().unwrap();
    let service = open(folder.path(), &["bucket"]).unwrap();
    // Sparse: 64 GB that are nowhere.
    let file = std::fs::File::create(folder.path().join("bucket/huge")).unwrap();
    file.set_len(64 * 1024 * 1024 * 1024).unwrap();
    // Its mark is stored with it, or the server would compute one from all of its bytes.
    let about = r#"{"e_tag":"0"}"#;
    let sidecar = ".bucket-YnVja2V0.object-aHVnZQ.internal.json";
    std::fs::write(folder.path().join(sidecar), about).unwrap();
    let s3 = clients::s3("http://s3.local", InProcess::new(handler(service)));
    let get = s3.get_object().bucket("bucket").key("huge");
    let mut body = get.send().await.unwrap().body;
    let first = body.next().await.unwrap().unwrap();
    assert!(!first.is_empty() && first.len() < 1024 * 1024);
}
