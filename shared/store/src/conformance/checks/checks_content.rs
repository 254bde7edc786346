//! Stored versions and the objects that they reference: counted once, collected only without
//! references.

use std::sync::Arc;

use domain::content::{
    ContentHash, ContentOrigin, ContentOutcome, ContentRetries, ContentState, Download, Encoding,
    Failure, ObjectKey, ObjectLocation, ObjectState, Progress, StoredObject, StoredVersion, Upload,
    UploadId, Verdict,
};
use domain::{AttemptId, ConnectionKey, DriveVersion, FileId, TenantId, Timestamp};
use tokio::task::JoinSet;

use super::super::support::{eventually, file, fresh, ms, nonce, page};
use crate::{
    Created, DUE_SHARDS, DueItem, GcStart, Linked, PageRequest, Released, Retained, Store, Updated,
    Written,
};

pub(crate) fn hash(byte: u8) -> ContentHash {
    ContentHash::from_bytes([byte; 32])
}

/// A new object of this content, under a key drawn from this nonce.
pub(crate) fn object(key: &ConnectionKey, content: u8, nonce: u64) -> StoredObject {
    let place = ObjectKey::content(&key.tenant, &hash(content), nonce);
    let place = ObjectLocation::plain(place, 12);
    StoredObject::new(hash(content), place, 12, ms(1_000), ms(5_000))
}

pub(crate) fn version(number: u32, object: &StoredObject) -> StoredVersion {
    StoredVersion::new(
        number,
        object,
        "text/plain",
        ContentOrigin::Drive,
        ms(2_000),
    )
}

/// Stores an object without references.
pub(crate) async fn put(store: &Store, key: &ConnectionKey, content: u8) -> StoredObject {
    let object = object(key, content, nonce().0);
    let created = store.put_object_if_absent(&key.tenant, &object).await;
    assert_eq!(created.unwrap(), Created::Created);
    object
}

async fn loaded(store: &Store, tenant: &TenantId, content: u8) -> StoredObject {
    let found = store.load_object(tenant, &hash(content)).await.unwrap();
    found.expect("the object")
}

/// Links a version.
async fn link(store: &Store, key: &ConnectionKey, id: &str, version: &StoredVersion) {
    let linked = store.link_version(key, &file(id), version).await;
    assert_eq!(linked.unwrap(), Linked::Done);
}

/// Lists what is due by then of this tenant's objects, and of this connection's content.
async fn due(store: &Store, key: &ConnectionKey, at: Timestamp) -> Vec<DueItem> {
    let mut found = Vec::new();
    for shard in 0..DUE_SHARDS {
        let due = store.due(shard, at, None, 1_000).await.unwrap();
        found.extend(due.items.into_iter().filter(|item| match item {
            DueItem::Object(tenant, _) => *tenant == key.tenant,
            DueItem::Content(of, _) => of == key,
            DueItem::File(..)
            | DueItem::Log(..)
            | DueItem::Channel(_)
            | DueItem::StrayChannel(_)
            | DueItem::Operation(..)
            | DueItem::Acts(_)
            | DueItem::DeadLetters(_)
            | DueItem::EventLog(_)
            | DueItem::Webhook(..)
            | DueItem::Conflict(..)
            | DueItem::Unknown { .. } => false,
        }));
    }
    found
}

pub(crate) async fn versions_are_read_back_equal_newest_first(store: &Store) {
    let key = fresh();
    let zipped = StoredObject {
        stored_bytes: 5,
        encoding: Encoding::Zstd,
        ..object(&key, 2, 2)
    };
    let created = store.put_object_if_absent(&key.tenant, &zipped).await;
    assert_eq!(created.unwrap(), Created::Created);
    let plain = put(store, &key, 1).await;
    let versions = [
        version(1, &plain),
        StoredVersion {
            revision_id: Some("0B1x".to_owned()),
            origin: ContentOrigin::Export {
                format: "application/pdf".to_owned(),
            },
            pinned: true,
            ..version(4, &zipped)
        },
        StoredVersion {
            origin: ContentOrigin::Application,
            by: Some("ada".to_owned()),
            reason: Some("the figures were right".to_owned()),
            ..version(10, &plain)
        },
    ];
    for version in &versions {
        let linked = store.link_version(&key, &file("f1"), version).await;
        assert_eq!(linked.unwrap(), Linked::Done);
    }
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 2);
    let zipped = StoredObject {
        refs: 1,
        collect_at: None,
        ..zipped
    };
    assert_eq!(loaded(store, &key.tenant, 2).await, zipped);

    let [oldest, middle, newest] = versions;
    let first = store.list_versions(&key, &file("f1"), &page(2)).await;
    let first = first.unwrap();
    assert_eq!(first.items, [newest, middle.clone()]);
    let rest = PageRequest {
        limit: 2,
        cursor: first.next_cursor,
    };
    let rest = store.list_versions(&key, &file("f1"), &rest).await.unwrap();
    assert_eq!(rest.items, [oldest]);
    let one = store.load_version(&key, &file("f1"), 4).await.unwrap();
    assert_eq!(one, Some(middle));
    assert_eq!(
        store.load_version(&key, &file("f1"), 5).await.unwrap(),
        None
    );
    let other = store.list_versions(&key, &file("f"), &page(9)).await;
    assert!(other.unwrap().items.is_empty());
}

pub(crate) async fn of_two_uploads_of_one_content_the_first_wins(store: &Store) {
    let key = fresh();
    let (first, second) = (object(&key, 1, 1), object(&key, 1, 2));
    for _ in 0..2 {
        let created = store.put_object_if_absent(&key.tenant, &first).await;
        assert_eq!(
            created.unwrap(),
            Created::Created,
            "a repetition is the same"
        );
    }
    let Created::Exists(stands) = store
        .put_object_if_absent(&key.tenant, &second)
        .await
        .unwrap()
    else {
        panic!("the first key is stored");
    };
    assert_eq!(stands, first);
    let named = version(1, &second);
    let Linked::NotStored(Some(stands)) =
        store.link_version(&key, &file("f1"), &named).await.unwrap()
    else {
        panic!("no version references the key that the second worker will delete");
    };
    assert_eq!(stands.key, first.key);
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 0);
    link(store, &key, "f1", &version(1, &stands)).await;
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 1);
}

pub(crate) async fn a_version_is_counted_once_however_often_it_is_linked(store: &Store) {
    let (key, f1) = (fresh(), file("f1"));
    let one = put(store, &key, 1).await;
    let other = put(store, &key, 2).await;
    for _ in 0..3 {
        let linked = store.link_version(&key, &f1, &version(1, &one)).await;
        assert_eq!(linked.unwrap(), Linked::Done);
    }
    let taken = store.link_version(&key, &f1, &version(1, &other)).await;
    assert_eq!(taken.unwrap(), Linked::Taken(Box::new(version(1, &one))));
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 1);
    assert_eq!(loaded(store, &key.tenant, 2).await.refs, 0);
    let absent = object(&key, 3, 3);
    let linked = store.link_version(&key, &f1, &version(2, &absent)).await;
    assert_eq!(linked.unwrap(), Linked::NotStored(None));
    assert_eq!(store.load_version(&key, &f1, 2).await.unwrap(), None);

    for last in [Released::Done { last: true }, Released::Absent] {
        let released = store.release_version(&key, &f1, 1, ms(9_000)).await;
        assert_eq!(released.unwrap(), last);
    }
    let freed = loaded(store, &key.tenant, 1).await;
    assert_eq!((freed.refs, freed.collect_at), (0, Some(ms(9_000))));
}

pub(crate) async fn a_pinned_version_stays(store: &Store) {
    let (key, f1) = (fresh(), file("f1"));
    let one = put(store, &key, 1).await;
    link(store, &key, "f1", &version(1, &one)).await;
    let pin = async |pinned| store.pin_version(&key, &f1, 1, pinned).await.unwrap();
    let release = async || store.release_version(&key, &f1, 1, ms(9)).await.unwrap();
    assert_eq!(pin(true).await, Updated::Done);
    assert_eq!(release().await, Released::Pinned);
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 1);
    assert_eq!(pin(false).await, Updated::Done);
    assert_eq!(release().await, Released::Done { last: true });
    assert_eq!(pin(true).await, Updated::Absent);
}

pub(crate) async fn an_unreferenced_object_is_due_and_collected_in_its_time(store: &Store) {
    let (key, f1) = (fresh(), file("f1"));
    let one = put(store, &key, 1).await;
    let about = DueItem::Object(key.tenant.clone(), one.hash);
    eventually(vec![about.clone()], async || {
        due(store, &key, ms(5_000)).await
    })
    .await;
    assert_eq!(due(store, &key, ms(4_999)).await, []);
    link(store, &key, "f1", &version(1, &one)).await;
    eventually(vec![], async || due(store, &key, ms(5_000)).await).await;
    let begin = async |at| {
        let begun = store.begin_gc(&key.tenant, &one.hash, ms(at)).await;
        begun.unwrap()
    };
    assert!(matches!(begin(i64::MAX).await, GcStart::NotYet(_)));
    let released = store.release_version(&key, &f1, 1, ms(7_000)).await;
    assert_eq!(released.unwrap(), Released::Done { last: true });
    eventually(vec![about], async || due(store, &key, ms(7_000)).await).await;
    assert!(matches!(begin(6_999).await, GcStart::NotYet(_)));
    for _ in 0..2 {
        let GcStart::Begun(collected) = begin(7_000).await else {
            panic!("it is due");
        };
        assert_eq!(collected.key, one.key);
        assert_eq!(collected.state, ObjectState::Collecting);
    }
    for _ in 0..2 {
        store.finish_gc(&key.tenant, &one).await.unwrap();
    }
    assert_eq!(begin(7_000).await, GcStart::Absent);
    eventually(vec![], async || due(store, &key, ms(7_000)).await).await;
}

pub(crate) async fn an_object_in_collection_is_not_linked(store: &Store) {
    let (key, f1) = (fresh(), file("f1"));
    let one = put(store, &key, 1).await;
    let begun = store.begin_gc(&key.tenant, &one.hash, ms(5_000)).await;
    let GcStart::Begun(collected) = begun.unwrap() else {
        panic!("it is due");
    };
    let linked = store.link_version(&key, &f1, &version(1, &one)).await;
    let Linked::NotStored(Some(stands)) = linked.unwrap() else {
        panic!("it is being collected");
    };
    assert_eq!(stands.state, ObjectState::Collecting);
    assert_eq!(store.load_version(&key, &f1, 1).await.unwrap(), None);
    let retained = store.retain_object(&key.tenant, &one.hash, ms(9_000)).await;
    assert_eq!(retained.unwrap(), Retained::Collecting);
    // A worker that brings the content again waits until the object is gone, and stores it anew. A
    // late end of the collection does not delete the new one.
    let anew = object(&key, 1, nonce().0);
    let created = store.put_object_if_absent(&key.tenant, &anew).await;
    assert!(matches!(created.unwrap(), Created::Exists(_)));
    store.finish_gc(&key.tenant, &collected).await.unwrap();
    let created = store.put_object_if_absent(&key.tenant, &anew).await;
    assert_eq!(created.unwrap(), Created::Created);
    store.finish_gc(&key.tenant, &collected).await.unwrap();
    assert_eq!(loaded(store, &key.tenant, 1).await, anew);
}

pub(crate) async fn an_object_is_retained_for_a_caller_about_to_link_it(store: &Store) {
    let key = fresh();
    let one = put(store, &key, 1).await;
    let retain = async |until| {
        let retained = store.retain_object(&key.tenant, &one.hash, ms(until)).await;
        match retained.unwrap() {
            Retained::Done(object) => object.collect_at,
            Retained::Collecting | Retained::Absent => panic!("it is stored"),
        }
    };
    assert_eq!(retain(9_000).await, Some(ms(9_000)));
    assert_eq!(retain(6_000).await, Some(ms(9_000)), "it only lengthens");
    let early = store.begin_gc(&key.tenant, &one.hash, ms(8_999)).await;
    assert!(matches!(early.unwrap(), GcStart::NotYet(_)));
    link(store, &key, "f1", &version(1, &one)).await;
    assert_eq!(retain(20_000).await, None, "a version references it");
    let absent = store.retain_object(&key.tenant, &hash(9), ms(1)).await;
    assert_eq!(absent.unwrap(), Retained::Absent);
}

pub(crate) async fn another_tenants_same_content_is_another_object(store: &Store) {
    let (key, other) = (fresh(), fresh());
    let one = put(store, &key, 1).await;
    assert_eq!(
        store.load_object(&other.tenant, &one.hash).await.unwrap(),
        None
    );
    let two = put(store, &other, 1).await;
    assert_ne!(one.key, two.key);
    link(store, &other, "f1", &version(1, &two)).await;
    assert_eq!(loaded(store, &key.tenant, 1).await.refs, 0);
    // Another tenant's object can't be referenced by its key.
    let stolen = version(2, &one);
    let linked = store.link_version(&other, &file("f1"), &stolen).await;
    assert!(matches!(linked.unwrap(), Linked::NotStored(Some(_))));
}

/// Links and releases one file's version, round after round.
async fn come_and_go(store: Arc<Store>, key: ConnectionKey, id: FileId, rounds: u32) {
    for number in 1..=rounds {
        let object = object(&key, 1, nonce().0);
        let mut turns = 0;
        let object = loop {
            turns += 1;
            assert!(turns < 10_000, "a collection never ends");
            let put = store.put_object_if_absent(&key.tenant, &object).await;
            let stands = match put.unwrap() {
                Created::Created => object.clone(),
                Created::Exists(stands) => stands,
            };
            let version = version(number, &stands);
            match store.link_version(&key, &id, &version).await.unwrap() {
                Linked::Done => break stands,
                // Collected by the other task meanwhile.
                Linked::NotStored(_) => tokio::task::yield_now().await,
                Linked::Taken(other) => panic!("{other:?}"),
            }
        };
        let retained = loaded(&store, &key.tenant, 1).await;
        assert_eq!(
            (retained.key, retained.state),
            (object.key, ObjectState::Stored),
            "a referenced object stays"
        );
        if number < rounds {
            let released = store.release_version(&key, &id, number, ms(0)).await;
            assert!(matches!(released.unwrap(), Released::Done { .. }));
        }
    }
}

pub(crate) async fn concurrent_versions_keep_the_count_right_and_no_referenced_object_is_collected(
    store: &Store,
) {
    let key = fresh();
    let store = Arc::new(store.clone());
    let mut files = JoinSet::new();
    for n in 0..4 {
        let id = file(&format!("f{n}"));
        files.spawn(come_and_go(Arc::clone(&store), key.clone(), id, 5));
    }
    let (collector, tenant) = (Arc::clone(&store), key.tenant.clone());
    let collecting = tokio::spawn(async move {
        loop {
            let begun = collector.begin_gc(&tenant, &hash(1), ms(1)).await;
            if let Ok(GcStart::Begun(object)) = begun {
                assert_eq!(object.refs, 0);
                collector.finish_gc(&tenant, &object).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    while let Some(done) = files.join_next().await {
        done.unwrap();
    }
    collecting.abort();
    let left = loaded(&store, &key.tenant, 1).await;
    assert_eq!((left.refs, left.collect_at), (4, None));
}

pub(crate) async fn a_content_state_is_saved_on_its_revision(store: &Store) {
    let (key, f1) = (fresh(), file("f1"));
    let none = store.load_content(&key, &f1).await.unwrap();
    assert_eq!(none, ContentState::default());
    let download = Download {
        number: 3,
        hash: hash(1),
        object: ObjectKey::content(&key.tenant, &hash(1), 9),
        upload: UploadId::new("2~abc"),
        part_bytes: 8 << 20,
        parts: 2,
        done_bytes: 16 << 20,
        hash_state: vec![0, 1, 255],
        began_at: ms(5),
    };
    let upload = Upload {
        number: 4,
        hash: hash(2),
        attempt: AttemptId(u64::MAX),
        session_uri: "https://www.googleapis.com/upload?upload_id=x".to_owned(),
        done_bytes: 1 << 40,
        began_at: ms(6),
        base_revision: Some("r1".to_owned()),
        kept: Some(file("kept")),
    };
    let copy = Progress::Copy {
        number: 2,
        file: file("copy"),
    };
    let mut state = none;
    for next in [
        state.with_progress(Progress::Download(download)),
        state.with_progress(Progress::Upload(upload)),
        state.with_progress(copy),
        state.with_outcome(4, ContentOutcome::Stored),
        state.with_outcome(
            5,
            ContentOutcome::Unavailable {
                reason: "too large to export".to_owned(),
            },
        ),
        state.with_outcome(4, ContentOutcome::Released),
        state.with_trouble(
            Failure {
                of: "the content".to_owned(),
                reason: "abusive".to_owned(),
                verdict: Verdict::Forbidden,
            },
            ms(9_000),
            ms(8_000),
        ),
        ContentState {
            failures: 3,
            exported: Some(ms(6_000)),
            due_at: Some(ms(7_000)),
            exported_version: DriveVersion(9),
            drive_side: Some(hash(3)),
            copy_of: Some(file("original")),
            ..state.with_outcome(
                6,
                ContentOutcome::Skipped {
                    rule: "size".to_owned(),
                },
            )
        },
    ] {
        let next = ContentState {
            revision: state.revision,
            ..next
        };
        let saved = store.save_content(&key, &f1, &next, nonce()).await.unwrap();
        let expected = ContentState {
            revision: next.revision + 1,
            ..next.clone()
        };
        assert_eq!(saved, Written::Done(expected.clone()));
        assert_eq!(store.load_content(&key, &f1).await.unwrap(), expected);
        let late = store.save_content(&key, &f1, &next, nonce()).await.unwrap();
        assert_eq!(late, Written::Stale(Some(expected.clone())));
        let listed: Vec<FileId> = expected.trouble.iter().map(|_| f1.clone()).collect();
        let troubled = async || {
            let page = store.list_content_trouble(&key, &page(10)).await;
            page.unwrap().items
        };
        eventually(listed, troubled).await;
        state = expected;
    }
    let about = DueItem::Content(key.clone(), f1.clone());
    eventually(vec![about], async || due(store, &key, ms(7_000)).await).await;
    assert_eq!(due(store, &key, ms(6_999)).await, []);
    let gone = ContentState {
        revision: 9,
        ..ContentState::default()
    };
    let saved = store.save_content(&key, &file("f2"), &gone, nonce()).await;
    assert_eq!(saved.unwrap(), Written::Stale(None));
}

pub(crate) async fn two_workers_never_take_the_same_slot_of_the_retries(store: &Store) {
    let key = fresh();
    let none = store.load_content_retries(&key).await.unwrap();
    assert_eq!(none, ContentRetries::default());
    let taken = ContentRetries {
        slot_at: ms(7_500),
        asked_at: ms(3),
        scanned: 1,
        ..none
    };
    let saved = store.save_content_retries(&key, &taken, nonce()).await;
    let stored = ContentRetries {
        revision: 1,
        ..taken
    };
    assert_eq!(saved.unwrap(), Written::Done(stored));
    let late = store.save_content_retries(&key, &taken, nonce()).await;
    assert_eq!(late.unwrap(), Written::Stale(Some(stored)));
    let loaded = store.load_content_retries(&key).await.unwrap();
    assert_eq!(loaded, stored);
}
