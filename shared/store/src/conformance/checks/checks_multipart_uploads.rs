//! Content from applications: multipart uploads, and versions with their reasons.

use domain::content::{ObjectKey, UploadId};

use super::super::support::{file, fresh, ms};
use super::checks_content::{hash, object, version};
use crate::{Created, Linked, MultipartUpload, Store, Updated};

pub(crate) async fn an_upload_is_kept_until_it_is_deleted_or_expires(store: &Store) {
    let (key, other) = (fresh(), fresh());
    let upload = MultipartUpload {
        id: "00ff".to_owned(),
        file: file("f1"),
        hash: hash(1),
        size_bytes: 20_000_000,
        expected_version: 3,
        object: ObjectKey::content(&key.tenant, &hash(1), 7),
        upload: UploadId::new("an upload"),
        part_bytes: 8_388_608,
        expires_at: ms(5_000),
    };
    let saved = store.save_multipart_upload(&key, &upload).await.unwrap();
    assert_eq!(saved, Created::Created);
    let again = store.save_multipart_upload(&key, &upload).await.unwrap();
    assert_eq!(again, Created::Created, "it is the caller's own");
    let changed = MultipartUpload {
        size_bytes: 1,
        ..upload.clone()
    };
    let refused = store.save_multipart_upload(&key, &changed).await.unwrap();
    assert_eq!(refused, Created::Exists(upload.clone()));

    let at = async |key, now| {
        store
            .load_multipart_upload(key, "00ff", ms(now))
            .await
            .unwrap()
    };
    assert_eq!(at(&key, 4_999).await, Some(upload.clone()));
    assert_eq!(at(&key, 5_000).await, None, "it has expired");
    assert_eq!(at(&other, 0).await, None, "another connection has none");
    store.delete_multipart_upload(&key, "00ff").await.unwrap();
    store.delete_multipart_upload(&key, "00ff").await.unwrap();
    assert_eq!(at(&key, 0).await, None);
}

pub(crate) async fn a_restored_version_records_who_and_why(store: &Store) {
    let key = fresh();
    let stored = object(&key, 1, 1);
    let put = store.put_object_if_absent(&key.tenant, &stored).await;
    assert_eq!(put.unwrap(), Created::Created);
    let linked = store
        .link_version(&key, &file("f1"), &version(1, &stored))
        .await;
    assert_eq!(linked.unwrap(), Linked::Done);
    let f1 = file("f1");
    let explain = async |number| {
        let annotated = store.annotate_version(&key, &f1, number, "ann", "by mistake");
        annotated.await.unwrap()
    };
    assert_eq!(explain(2).await, Updated::Absent);
    assert_eq!(explain(1).await, Updated::Done);
    let found = store
        .load_version(&key, &file("f1"), 1)
        .await
        .unwrap()
        .unwrap();
    let annotated = (found.by.as_deref(), found.reason.as_deref());
    assert_eq!(annotated, (Some("ann"), Some("by mistake")));
}
