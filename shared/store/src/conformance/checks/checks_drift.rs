//! The findings of an operation, and its transitions.

use domain::operation::ConnectionFacts;
use domain::{
    ConnectionKey, Difference, Drift, DriftCounts, DriveVersion, Gone, LogId, Operation,
    OperationId, OperationState, RemovalLimits, Run, Value,
};

use super::super::support::{eventually, file, fresh, listed as listed_page, ms, page};
use crate::operation::operation_item::page_key;
use crate::table::key::Key;
use crate::{
    CandidateReason, Created, DUE_SHARDS, DriftEntry, DueItem, Finding, PageRequest, Store, Written,
};

/// An audit whose own items are checked.
async fn audit(store: &Store, key: &ConnectionKey) -> Operation {
    let (id, run) = (OperationId::parse("op1").unwrap(), Run::audit(false));
    let operation = Operation::new(key.clone(), id, LogId::user(), "ann", ms(1_000), run);
    let operation = operation.on_self_check(None, ms(1_000));
    let made = store.create_operation(&operation).await.unwrap();
    assert_eq!(made, Created::Created);
    operation
}

async fn stored(store: &Store, operation: &Operation) -> Operation {
    let found = store.load_operation(&operation.key, &operation.id).await;
    found.unwrap().unwrap()
}

pub(crate) fn suspected(id: &str, reason: CandidateReason) -> DriftEntry {
    DriftEntry {
        file: file(id),
        name: format!("{id}.txt"),
        reason,
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

/// Makes a step, twice.
async fn advanced(store: &Store, before: &Operation, after: &Operation) {
    let moved = store.advance_operation(before, after).await.unwrap();
    assert_eq!(moved, Written::Done(after.clone()));
    let again = store.advance_operation(before, after).await.unwrap();
    assert_eq!(again, Written::Done(after.clone()), "it is already done");
    stays(store, before, after).await;
}

/// Checks that `after` is stored, and that a writer that still sees `before` does not change it.
async fn stays(store: &Store, before: &Operation, after: &Operation) {
    assert_eq!(stored(store, after).await, *after);
    let other = before.failed("late", ms(13));
    let late = store.advance_operation(before, &other).await.unwrap();
    assert_eq!(late, Written::Stale(Some(after.clone())));
}

pub(crate) async fn an_operation_moves_state_by_state_and_late_writers_change_nothing(
    store: &Store,
) {
    let begun = audit(store, &fresh()).await;
    let listed = listed_page(&begun, 0, None, 2);
    let recorded = store.record_page(&begun, &listed, &[]).await.unwrap();
    assert_eq!(recorded, Written::Done(listed.clone()));
    let facts = ConnectionFacts {
        active: true,
        mirrors_content: false,
        has_rules: false,
        removals: RemovalLimits {
            share_percent_max: 0,
            unasked_max: 0,
        },
    };
    let found = DriftCounts {
        present: 0,
        missing_here: 1,
        missing_there: 2,
        stale: 3,
        differing: 4,
    };
    let at = |position: &str| Some(position.to_owned());
    let work = listed.next_work(&facts, ms(3));
    let domain::operation::Work::Advance(again) = work else {
        panic!("{work:?}")
    };
    advanced(store, &listed, &again).await;
    let looked_at = listed_page(&again, 2, None, 4);
    let ids = [file("f1"), file("f2")];
    let recorded = store.record_page(&again, &looked_at, &ids).await.unwrap();
    assert_eq!(recorded, Written::Done(looked_at.clone()));
    stays(store, &again, &looked_at).await;
    let mut steps = vec![looked_at];
    let mut then = |step: &dyn Fn(&Operation) -> Operation| {
        let next = step(steps.last().unwrap());
        steps.push(next);
    };
    then(&|operation| operation.on_compared(10, at("a"), ms(5)));
    then(&|operation| operation.on_compared(10, at("b"), ms(6)));
    then(&|operation| operation.on_compared(10, None, ms(7)));
    then(&|operation| operation.on_verified(&found, at("x"), &facts, ms(8)));
    then(&|operation| operation.on_verified(&found, None, &facts, ms(9)));
    then(&|operation| operation.decide(true, "bob", ms(10)).unwrap());
    then(&|operation| operation.on_repaired(at("y"), ms(11)));
    then(&|operation| operation.on_repaired(None, ms(12)));
    for step in steps.windows(2) {
        advanced(store, &step[0], &step[1]).await;
    }
    let done = &steps[steps.len() - 1];
    assert_eq!(done.state(), OperationState::Done);
    assert_eq!(done.form().comparison.counts.missing_there, 4);
    let wanted = DueItem::Operation(done.key.clone(), done.id.clone());
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

pub(crate) async fn a_candidate_is_recorded_once_and_verified_once(store: &Store) {
    let operation = audit(store, &fresh()).await;
    let first = suspected("f1", CandidateReason::NotListed);
    store.record_candidate(&operation, &first).await.unwrap();
    let other = DriftEntry {
        reason: CandidateReason::Newer(DriveVersion(7)),
        ..first.clone()
    };
    store.record_candidate(&operation, &other).await.unwrap();
    let found = async || {
        let all = page(10);
        let list = store.list_drift(&operation.key, &operation.id, &all);
        list.await.unwrap().items
    };
    let one = std::slice::from_ref(&first);
    assert_eq!(found().await, one, "the first candidate is kept");

    let verified = DriftEntry {
        finding: Some(Finding::of(Some(Drift::MissingThere(Gone::MovedAway)))),
        ..first.clone()
    };
    let stands = store.record_finding(&operation, &verified).await.unwrap();
    assert_eq!(stands, verified.finding);
    let late = DriftEntry {
        finding: Some(Finding::NoDrift),
        ..first.clone()
    };
    let stands = store.record_finding(&operation, &late).await.unwrap();
    assert_eq!(stands, verified.finding, "the first finding is kept");
    store.record_candidate(&operation, &first).await.unwrap();
    assert_eq!(
        found().await,
        [verified],
        "a late candidate changes no finding"
    );
    let unknown = suspected("f9", CandidateReason::Differs);
    assert_eq!(
        store.record_finding(&operation, &unknown).await.unwrap(),
        None
    );
}

pub(crate) async fn every_finding_is_read_back_equal_page_by_page(store: &Store) {
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
        let reason = [
            CandidateReason::NotListed,
            CandidateReason::Newer(DriveVersion(3)),
            CandidateReason::Differs,
        ][number % 3];
        let entry = suspected(&format!("f{number}"), reason);
        store.record_candidate(&operation, &entry).await.unwrap();
        let verified = DriftEntry {
            finding: Some(Finding::of(drift)),
            ..entry
        };
        store.record_finding(&operation, &verified).await.unwrap();
        wanted.push(verified);
    }
    let place = Key::of_connection(&operation.key, "DRIFT", &format!("{}#f0", operation.id));
    assert!(
        store
            .get(&place)
            .await
            .unwrap()
            .unwrap()
            .contains_key("expires")
    );
    // The entries of another operation are not listed.
    let other = Operation {
        id: OperationId::parse("op2").unwrap(),
        ..operation.clone()
    };
    let stranger = suspected("f3", CandidateReason::Differs);
    store.record_candidate(&other, &stranger).await.unwrap();
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

pub(crate) async fn a_large_finding_is_cut(store: &Store) {
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
        ..suspected("f1", CandidateReason::Differs)
    };
    store
        .record_candidate(&operation, &suspected("f1", CandidateReason::Differs))
        .await
        .unwrap();
    store.record_finding(&operation, &entry).await.unwrap();
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

pub(crate) async fn the_pages_of_a_listing_are_read_in_order(store: &Store) {
    let mut operation = audit(store, &fresh()).await;
    for number in 0..5 {
        let ids = [file(&format!("f{number}")), file("again")];
        let next = (number < 4).then(|| format!("t{number}"));
        let recorded = {
            let files = u64::try_from(ids.len()).unwrap();
            let after = listed_page(&operation, files, next.as_deref(), 2);
            store.record_page(&operation, &after, &ids).await
        };
        operation = match recorded.unwrap() {
            Written::Done(recorded) => recorded,
            Written::Stale(current) => panic!("stale: {current:?}"),
        };
    }
    let place = page_key(&operation.key, &operation.id, 0);
    assert!(
        store
            .get(&place)
            .await
            .unwrap()
            .unwrap()
            .contains_key("expires")
    );
    assert_eq!(
        first_ids(store, &operation, 0).await,
        ["f0", "f1", "f2", "f3", "f4"]
    );
    assert_eq!(first_ids(store, &operation, 3).await, ["f3", "f4"]);
    assert!(first_ids(store, &operation, 5).await.is_empty());
}

/// Returns the first id on each page from the `first`-th on.
async fn first_ids(store: &Store, operation: &Operation, first: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = page(2);
    loop {
        let list = store.list_pages(&operation.key, &operation.id, first, &next);
        let list = list.await.unwrap();
        found.extend(list.items);
        match list.next_cursor {
            Some(cursor) => next.cursor = Some(cursor),
            None => break,
        }
    }
    assert!(found.iter().all(|ids| ids.len() == 2));
    found.iter().map(|ids| ids[0].to_string()).collect()
}
