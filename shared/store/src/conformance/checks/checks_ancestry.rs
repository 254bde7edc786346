//! The folders above files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{Field, FileRecord, Revision, Side, Transition, Value};

use super::super::support::{committed, edited, faulty, file, fresh, snapshot};
use super::super::transport::Fault;
use super::checks_connections::connection;
use crate::Store;

pub(crate) async fn the_ancestors_of_many_files_are_found(store: &Store) {
    let key = fresh();
    let connection = connection(&key);
    let mut files = Vec::new();
    for (id, name, parent) in [
        ("a", "A", "0root"),
        ("b", "B", "a"),
        ("f1", "one", "b"),
        ("f2", "two", "b"),
        ("f3", "three", "nowhere"),
    ] {
        let first = FileRecord::from_snapshot(&snapshot(id, 1, name, parent));
        let stored = committed(store, &key, Revision(0), &Transition::unchanged(first)).await;
        if id.starts_with('f') {
            files.push(stored);
        }
    }
    let ancestry = store.ancestry(&connection, &files).await.unwrap();
    let path = |id: &str| ancestry.lineage(&file(id), Side::App).path();
    assert_eq!(path("f1").as_deref(), Some("/A/B/one"));
    assert_eq!(path("f2").as_deref(), Some("/A/B/two"));
    assert_eq!(path("f3").as_deref(), Some("…/three"));
}

pub(crate) async fn a_change_to_a_folder_shows_below_it_at_once(store: &Store) {
    let key = fresh();
    let connection = connection(&key);
    let made = |id: &str, parent: &str| FileRecord::from_snapshot(&snapshot(id, 1, id, parent));
    let folder = Transition::unchanged(made("a", "0root"));
    let folder = committed(store, &key, Revision(0), &folder).await;
    let child = committed(
        store,
        &key,
        Revision(0),
        &Transition::unchanged(made("f", "a")),
    )
    .await;
    edited(store, &key, &folder, Field::Name, Value::text("A"), 5).await;
    let ancestry = store.ancestry(&connection, [&child]).await.unwrap();
    let path = ancestry.lineage(&file("f"), Side::App).path();
    assert_eq!(path.as_deref(), Some("/A/f"));
}

#[tokio::test(start_paused = true)]
async fn the_folders_above_many_files_cost_a_read_for_each_level() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let store = faulty(Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::None
    }))
    .await;
    let key = fresh();
    let connection = connection(&key);
    let mut files = Vec::new();
    for level in 0..10 {
        let parent = if level == 0 {
            "0root".to_owned()
        } else {
            format!("d{}", level - 1)
        };
        let first = FileRecord::from_snapshot(&snapshot(&format!("d{level}"), 1, "d", &parent));
        committed(&store, &key, Revision(0), &Transition::unchanged(first)).await;
    }
    for number in 0..50 {
        files.push(FileRecord::from_snapshot(&snapshot(
            &format!("f{number}"),
            1,
            "f",
            "d9",
        )));
    }
    let before = calls.load(Ordering::Relaxed);
    store.ancestry(&connection, &files).await.unwrap();
    assert_eq!(
        calls.load(Ordering::Relaxed) - before,
        11,
        "ten folders, and the root"
    );
}
