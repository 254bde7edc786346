//! What an instance remembers from one batch to the next. It may be lost at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::event::{Event, EventType, Subject};
use domain::{ConnectionKey, OperationId, Timestamp};

/// The most operations that are remembered.
const OPERATIONS_MAX: usize = 1_000;

/// When the progress of each operation was last told.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<(ConnectionKey, OperationId), Timestamp>>>);

impl Memory {
    /// Returns whether an event is reported: the progress of an operation is, once a second.
    pub(crate) fn admits(&self, key: &ConnectionKey, event: &Event) -> bool {
        let (EventType::SyncProgress, Subject::Operation(operation)) = (event.kind, &event.subject)
        else {
            return true;
        };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= OPERATIONS_MAX {
            told.clear();
        }
        let last = told.entry((key.clone(), operation.clone()));
        let mut is_reported = false;
        last.and_modify(|last| {
            is_reported = event.at >= last.plus_millis(1_000);
            if is_reported {
                *last = event.at;
            }
        })
        .or_insert_with(|| {
            is_reported = true;
            event.at
        });
        is_reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::{Author, Details};
    use worker_testing::World;

    #[test]
    fn progress_is_reported_once_a_second_and_everything_else_always() {
        let (memory, key) = (Memory::default(), World::key());
        let admits = |kind, operation: &str, millis| {
            let event = Event {
                kind,
                subject: Subject::Operation(OperationId::parse(operation).unwrap()),
                state: "1".to_owned(),
                at: Timestamp::from_millis(millis),
                by: Author::App,
                cause: None,
                details: Details::default(),
            };
            memory.admits(&key, &event)
        };
        assert!(admits(EventType::SyncProgress, "op1", 1_000));
        assert!(!admits(EventType::SyncProgress, "op1", 1_999));
        assert!(admits(EventType::SyncProgress, "op2", 1_999));
        assert!(admits(EventType::SyncProgress, "op1", 2_000));
        for kind in [EventType::SyncStarted, EventType::SyncCompleted] {
            assert!(admits(kind, "op1", 2_000));
            assert!(admits(kind, "op1", 2_000));
        }
    }
}
