//! Connections that are deleted, restored and erased.

use domain::operation::{ErasedCounts, ErasedKind};
use domain::{
    ChannelId, ConnectionId, ConnectionKey, FileId, LogId, Operation, OperationId, Revision, Run,
    Transition,
};

use super::checks::checks_connections::{channel, connection};
use super::support::{fresh, ms, nonce, page, snapshot};
use crate::{
    Channel, Connection, ConnectionState, Created, Deletion, Erased, HistoryEntry, Log, Store,
    Written,
};

/// Returns a connection as it is after its deletion, and the operation that erases it.
pub(crate) fn deleted(before: &Connection) -> (Connection, Operation) {
    let generation = before.generation + 1;
    let id = OperationId::parse("op_erase").unwrap();
    let run = Run::erase(generation, ms(50), ms(90));
    let key = before.key.clone();
    let erasure = Operation::new(key, id.clone(), LogId::user(), "ann", ms(50), run);
    let deleted = Connection {
        state: ConnectionState::Deleting,
        generation,
        deletion: Some(Deletion {
            at: ms(50),
            by: "ann".to_owned(),
            operation: id,
            erased: None,
        }),
        ..before.clone()
    };
    (deleted, erasure)
}

fn saved(written: Written<Connection>) -> Connection {
    match written {
        Written::Done(saved) => saved,
        Written::Stale(current) => panic!("stale: {current:?}"),
    }
}

pub(crate) async fn a_deleted_connection_is_restored_or_leaves_a_tombstone(store: &Store) {
    let key = fresh();
    let made = connection(&key);
    store.create_connection(&made, None).await.unwrap();
    let existing = store.load_connection(&key).await.unwrap().unwrap();
    let (gone, erasure) = deleted(&existing);
    let gone = saved(store.delete_connection(&gone, &erasure).await.unwrap());
    assert_eq!(store.load_connection(&key).await.unwrap(), None);
    assert_eq!(
        store.load_any_connection(&key).await.unwrap(),
        Some(gone.clone())
    );
    let listed = async |deleted: bool| {
        let page = page(9);
        let listed = match deleted {
            true => store.list_deleted_connections(&key.tenant, &page).await,
            false => store.list_connections(&key.tenant, &page, |_| true).await,
        };
        listed.unwrap().items
    };
    assert_eq!(listed(false).await, []);
    assert_eq!(listed(true).await, std::slice::from_ref(&gone));

    // Once the erasure has begun, it is too late.
    let log = Log::new(key.clone(), LogId::user(), ms(60));
    let back = Connection {
        state: ConnectionState::Active,
        deletion: None,
        owed_held: true,
        ..gone.clone()
    };
    let cancelled = erasure.restored(ms(60)).unwrap();
    let restore = async |back: &Connection, erasure: &Operation| {
        let restored = store.restore_connection(back, &log, erasure, &cancelled);
        restored.await.unwrap()
    };
    let back = saved(restore(&back, &erasure).await);
    assert_eq!(
        store.load_log(&key, &log.log).await.unwrap(),
        Some(log.clone())
    );
    assert_eq!(
        store.load_connection(&key).await.unwrap(),
        Some(back.clone())
    );
    assert!(matches!(restore(&back, &erasure).await, Written::Stale(_)));

    // What is left in the end keeps the id.
    let erased = Erased {
        at: ms(95),
        counts: ErasedCounts::from([(ErasedKind::Records, 7)]),
    };
    let (gone, _) = deleted(&back);
    let gone = saved(store.save_connection(&gone).await.unwrap());
    let tombstone = gone.tombstone(erased.clone());
    let again = Operation {
        id: OperationId::parse("op_again").unwrap(),
        ..erasure
    };
    store.create_operation(&again).await.unwrap();
    let left = saved(store.finish_erasure(&tombstone, &again).await.unwrap());
    assert_eq!(left.deletion.as_ref().unwrap().erased, Some(erased));
    assert_eq!((left.generation, left.name.as_str()), (2, ""));
    assert_eq!(store.load_operation(&key, &again.id).await.unwrap(), None);
    let reused = store.create_connection(&made, None).await.unwrap();
    assert_eq!(reused, Created::Exists(left.clone()));
    assert_eq!(store.load_any_connection(&key).await.unwrap(), Some(left));
}

pub(crate) async fn a_page_of_connections_is_full_whatever_was_deleted(store: &Store) {
    let first = fresh();
    for number in 0..9 {
        let key = ConnectionKey {
            connection: ConnectionId::parse(&format!("c{number}")).unwrap(),
            ..first.clone()
        };
        let made = connection(&key);
        store.create_connection(&made, None).await.unwrap();
        if number % 3 != 0 {
            let (gone, erasure) = deleted(&made);
            store.delete_connection(&gone, &erasure).await.unwrap();
        }
    }
    let mut request = page(2);
    let mut pages = Vec::new();
    loop {
        let found = store
            .list_connections(&first.tenant, &request, |_| true)
            .await;
        let found = found.unwrap();
        let ids = found.items.iter().map(|c| c.key.connection.to_string());
        pages.push(ids.collect::<Vec<_>>());
        match found.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(pages, [vec!["c0", "c3"], vec!["c6"]]);
}

/// Returns all files and items that are left of a connection anywhere in the table.
async fn remains(
    store: &Store,
    key: &ConnectionKey,
    except: &OperationId,
) -> (usize, ErasedCounts) {
    let (mut files, mut counts, mut after) = (0, ErasedCounts::new(), None);
    loop {
        let found = store.find_remains(key, except, after.as_deref()).await;
        let found = found.unwrap();
        files += found.files.len();
        for (kind, count) in found.belongings.counts {
            *counts.entry(kind).or_default() += count;
        }
        after = found.next;
        if after.is_none() {
            return (files, counts);
        }
    }
}

pub(crate) async fn everything_of_a_connection_is_found_and_erased(store: &Store) {
    let key = fresh();
    let beside = ConnectionKey {
        connection: ConnectionId::parse("beside").unwrap(),
        ..key.clone()
    };
    for key in [&key, &beside] {
        store
            .create_connection(&connection(key), None)
            .await
            .unwrap();
        let record = domain::FileRecord::from_snapshot(&snapshot("f1", 1, "a", "root"));
        let step = Transition::unchanged(record);
        store
            .commit(key, Revision(0), &step, nonce())
            .await
            .unwrap();
        let log = Log::new(key.clone(), LogId::user(), ms(1));
        store.create_log(&log).await.unwrap();
        let id = format!("{}x{}", key.tenant, key.connection);
        let channel = Channel {
            id: ChannelId::parse(&id).unwrap(),
            ..channel(key)
        };
        store.create_channel(&channel).await.unwrap();
        // History of a file whose record was never written: no index has it.
        let entry = HistoryEntry {
            snapshot: snapshot("f2", 3, "b", "root"),
            at: ms(3),
            cause: None,
        };
        store.save_history(key, &[entry], None).await.unwrap();
    }
    let (_, erasure) = deleted(&connection(&key));
    store.create_operation(&erasure).await.unwrap();
    let own = &erasure.id;

    let ids = store.list_file_ids(&key, &page(9)).await.unwrap().items;
    assert_eq!(ids, [FileId::parse("f1").unwrap()]);
    let found = store.belongings_of_file(&key, &ids[0]).await.unwrap();
    assert_eq!(found.counts, ErasedCounts::from([(ErasedKind::Records, 1)]));
    store
        .erase_file(&key, &ids[0], &found, ms(9))
        .await
        .unwrap();
    let (found, next) = store
        .belongings_of_connection(&key, own, None)
        .await
        .unwrap();
    assert_eq!(next, None);
    assert_eq!(found.counts, ErasedCounts::from([(ErasedKind::Logs, 1)]));
    store.erase_items(&found).await.unwrap();

    let (files, counts) = remains(store, &key, own).await;
    assert_eq!(files, 1, "the file that no index has");
    assert_eq!(
        counts,
        ErasedCounts::from([(ErasedKind::Logs, 1)]),
        "the channel"
    );
    let mut after = None;
    loop {
        let found = store
            .find_remains(&key, own, after.as_deref())
            .await
            .unwrap();
        store.erase_items(&found.belongings).await.unwrap();
        for file in &found.files {
            let of_file = store.belongings_of_file(&key, file).await.unwrap();
            store.erase_file(&key, file, &of_file, ms(9)).await.unwrap();
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(remains(store, &key, own).await, (0, ErasedCounts::new()));
    let (files, counts) = remains(store, &beside, own).await;
    assert_eq!((files, counts[&ErasedKind::Logs]), (2, 2), "untouched");
}
