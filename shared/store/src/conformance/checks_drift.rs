//! What an operation finds, and how it goes from step to step.

use domain::{ConnectionKey, Difference, Drift, DriveVersion, Gone, LogId, OperationId, Value};

use super::support::{eventually, file, fresh, ms, page};
use crate::{
    Created, DUE_SHARDS, Decision, DriftCounts, DriftEntry, DueItem, Finding, Operation,
    OperationKind, OperationState, PageRequest, Store, Suspicion, Written,
};

async fn audit(store: &Store, key: &ConnectionKey) -> Operation {
    let id = OperationId::parse("op1").unwrap();
    let operation = Operation {
        dry_run: true,
        due_at: Some(ms(1_000)),
        ..Operation::new(
            key.clone(),
            id,
            LogId::user(),
            OperationKind::Audit,
            "ann",
            ms(1_000),
        )
    };
    let made = store.create_operation(&operation).await.unwrap();
    assert_eq!(made, Created::Created);
    operation
}

async fn stored(store: &Store, operation: &Operation) -> Operation {
    let found = store.load_operation(&operation.key, &operation.id).await;
    found.unwrap().unwrap()
}

fn suspected(id: &str, suspicion: Suspicion) -> DriftEntry {
    DriftEntry {
        file: file(id),
        name: format!("{id}.txt"),
        suspicion,
        finding: None,
    }
}

fn difference(label: &str, ours: Value, drive: Value) -> Difference {
    Difference {
        label: label.to_owned(),
        ours,
        drive,
    }
}

pub(super) async fn an_operation_goes_from_step_to_step_and_who_is_late_moves_nothing(
    store: &Store,
) {
    let begun = audit(store, &fresh()).await;
    let listed = match store.record_page(&begun, &[], None, ms(2)).await.unwrap() {
        Written::Done(listed) => listed,
        Written::Stale(current) => panic!("stale: {current:?}"),
    };
    let steps = [
        (OperationState::Comparing, None, Some(ms(5))),
        (OperationState::Comparing, Some("a"), Some(ms(6))),
        (OperationState::Comparing, Some("b"), Some(ms(7))),
        (OperationState::Verifying, None, Some(ms(8))),
        (OperationState::Verifying, Some("x"), Some(ms(9))),
        (
            OperationState::AwaitingConfirmation { since: ms(9) },
            None,
            Some(ms(60_000)),
        ),
        (OperationState::Repairing, None, Some(ms(10))),
        (OperationState::Repairing, Some("y"), Some(ms(11))),
        (OperationState::Done, None, None),
    ];
    let mut before = listed;
    for (number, (state, position, due_at)) in steps.into_iter().enumerate() {
        let decision = (state == OperationState::Repairing).then(|| Decision {
            confirmed: true,
            by: "bob".to_owned(),
            at: ms(10),
        });
        let count = u64::try_from(number).unwrap() + 1;
        let after = Operation {
            finished_at: state.has_ended().then_some(ms(12)),
            state,
            position: position.map(str::to_owned),
            due_at,
            compared_at: Some(ms(8)),
            drift: DriftCounts {
                held: 10 * count,
                missing_here: count,
                missing_there: 2 * count,
                stale: 3 * count,
                differing: 4 * count,
            },
            decision: decision.or(before.decision.clone()),
            ..before.clone()
        };
        let moved = store.move_operation(&before, &after).await.unwrap();
        assert_eq!(moved, Written::Done(after.clone()));
        assert_eq!(stored(store, &after).await, after);
        let again = store.move_operation(&before, &after).await.unwrap();
        assert_eq!(again, Written::Done(after.clone()), "it is so already");
        let other = Operation {
            drift: DriftCounts::default(),
            ..after.clone()
        };
        let late = store.move_operation(&before, &other).await.unwrap();
        assert_eq!(late, Written::Stale(Some(after.clone())));
        before = after;
    }
    let wanted = DueItem::Operation(before.key.clone(), before.id.clone());
    eventually(false, async || {
        for shard in 0..DUE_SHARDS {
            let due = store.due(shard, ms(90_000), None, 1_000).await.unwrap();
            if due.items.contains(&wanted) {
                return true;
            }
        }
        false
    })
    .await;
}

pub(super) async fn a_suspicion_is_written_once_and_settled_once(store: &Store) {
    let operation = audit(store, &fresh()).await;
    let first = suspected("f1", Suspicion::NotListed);
    store.suspect(&operation, &first).await.unwrap();
    let other = DriftEntry {
        suspicion: Suspicion::Newer(DriveVersion(7)),
        ..first.clone()
    };
    store.suspect(&operation, &other).await.unwrap();
    let found = async || {
        let all = page(10);
        let list = store.list_drift(&operation.key, &operation.id, &all);
        list.await.unwrap().items
    };
    let one = std::slice::from_ref(&first);
    assert_eq!(found().await, one, "the first one stands");

    let settled = DriftEntry {
        finding: Some(Finding::of(Some(Drift::MissingThere(Gone::MovedAway)))),
        ..first.clone()
    };
    let stands = store.settle(&operation, &settled).await.unwrap();
    assert_eq!(stands, settled.finding);
    let late = DriftEntry {
        finding: Some(Finding::Cleared),
        ..first.clone()
    };
    let stands = store.settle(&operation, &late).await.unwrap();
    assert_eq!(stands, settled.finding, "what was said first stands");
    store.suspect(&operation, &first).await.unwrap();
    assert_eq!(
        found().await,
        [settled],
        "a late suspicion takes nothing back"
    );
    let unknown = suspected("f9", Suspicion::Differs);
    assert_eq!(store.settle(&operation, &unknown).await.unwrap(), None);
}

pub(super) async fn every_finding_comes_back_as_it_was_page_by_page(store: &Store) {
    let operation = audit(store, &fresh()).await;
    let fields = vec![
        difference("name", Value::text("a"), Value::text("b")),
        difference("properties.k", Value::Null, Value::Flag(true)),
    ];
    let drifts = [
        None,
        Some(Drift::MissingHere),
        Some(Drift::MissingThere(Gone::Removed)),
        Some(Drift::MissingThere(Gone::AccessLost)),
        Some(Drift::Stale(Vec::new())),
        Some(Drift::Differing(fields)),
    ];
    let mut wanted = Vec::new();
    for (number, drift) in drifts.into_iter().enumerate() {
        let suspicion = [
            Suspicion::NotListed,
            Suspicion::Newer(DriveVersion(3)),
            Suspicion::Differs,
        ][number % 3];
        let entry = suspected(&format!("f{number}"), suspicion);
        store.suspect(&operation, &entry).await.unwrap();
        let settled = DriftEntry {
            finding: Some(Finding::of(drift)),
            ..entry
        };
        store.settle(&operation, &settled).await.unwrap();
        wanted.push(settled);
    }
    // Another operation's are not among them.
    let other = Operation {
        id: OperationId::parse("op2").unwrap(),
        ..operation.clone()
    };
    let stranger = suspected("f3", Suspicion::Differs);
    store.suspect(&other, &stranger).await.unwrap();
    let mut found = Vec::new();
    let mut next = page(4);
    loop {
        let list = store.list_drift(&operation.key, &operation.id, &next);
        let list = list.await.unwrap();
        found.extend(list.items);
        match list.next_cursor {
            Some(cursor) => {
                next = PageRequest {
                    cursor: Some(cursor),
                    ..next
                }
            }
            None => break,
        }
    }
    assert_eq!(found, wanted);
}

pub(super) async fn of_a_large_finding_a_part_is_kept(store: &Store) {
    let operation = audit(store, &fresh()).await;
    let long = "\u{e4}".repeat(40_000);
    let fields = (0..30).map(|n| {
        difference(
            &format!("properties.{n:02}"),
            Value::Null,
            Value::text(long.clone()),
        )
    });
    let entry = DriftEntry {
        name: long.clone(),
        finding: Some(Finding::of(Some(Drift::Differing(fields.collect())))),
        ..suspected("f1", Suspicion::Differs)
    };
    store
        .suspect(&operation, &suspected("f1", Suspicion::Differs))
        .await
        .unwrap();
    store.settle(&operation, &entry).await.unwrap();
    let one = page(1);
    let list = store.list_drift(&operation.key, &operation.id, &one);
    let kept = list.await.unwrap().items.remove(0);
    assert_eq!(kept.name.chars().count(), 203);
    let Some(Finding::Drifted {
        drift: Drift::Differing(fields),
        fields_left_out,
    }) = kept.finding
    else {
        panic!("{kept:?}");
    };
    assert_eq!((fields.len(), fields_left_out), (20, 10));
    assert!(fields.iter().all(|field| match &field.drive {
        Value::Text(text) => text.ends_with("...") && text.chars().count() == 203,
        Value::Null | Value::Flag(_) => false,
    }));
}

pub(super) async fn the_pages_of_a_listing_are_read_in_order(store: &Store) {
    let mut operation = audit(store, &fresh()).await;
    for number in 0..5 {
        let ids = [file(&format!("f{number}")), file("again")];
        let next = (number < 4).then_some("t");
        let recorded = store.record_page(&operation, &ids, next, ms(2)).await;
        operation = match recorded.unwrap() {
            Written::Done(recorded) => recorded,
            Written::Stale(current) => panic!("stale: {current:?}"),
        };
    }
    let mut found = Vec::new();
    let mut next = page(2);
    loop {
        let list = store.list_pages(&operation.key, &operation.id, &next);
        let list = list.await.unwrap();
        found.extend(list.items);
        match list.next_cursor {
            Some(cursor) => next.cursor = Some(cursor),
            None => break,
        }
    }
    let firsts: Vec<&str> = found.iter().map(|ids| ids[0].as_str()).collect();
    assert_eq!(firsts, ["f0", "f1", "f2", "f3", "f4"]);
    assert!(found.iter().all(|ids| ids.len() == 2));
}
