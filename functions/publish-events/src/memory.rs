//! What an instance remembers from one batch to the next. It may be lost at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::event::{Event, EventType, Subject};
use domain::webhook::EndpointScope;
use domain::{ConnectionId, ConnectionKey, EndpointId, OperationId, TenantId, Timestamp};

/// The most operations that are remembered.
const OPERATIONS_MAX: usize = 1_000;

/// The most tenants whose endpoints are remembered.
const TENANTS_MAX: usize = 1_000;
/// How long the endpoints of a tenant are remembered, in milliseconds. One that is made meanwhile
/// is looked at later than this.
const ENDPOINTS_MILLIS: i64 = 1_000;

/// The active webhook endpoints of each tenant, so that appending costs no read a time.
#[derive(Debug, Clone, Default)]
pub struct EndpointMemory(Arc<Mutex<BTreeMap<TenantId, Endpoints>>>);

#[derive(Debug)]
struct Endpoints {
    read_at: Timestamp,
    active: Vec<(EndpointId, EndpointScope)>,
}

impl EndpointMemory {
    /// Returns the endpoints that receive the events of a connection; `None` if nothing is
    /// remembered.
    pub(crate) fn of(&self, key: &ConnectionKey, now: Timestamp) -> Option<Vec<EndpointId>> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = remembered.get(&key.tenant)?;
        let age = now.millis_since(endpoints.read_at);
        (0..ENDPOINTS_MILLIS)
            .contains(&age)
            .then(|| receiving(&endpoints.active, &key.connection))
    }

    /// Remembers the active endpoints of a connection's tenant, and returns those that receive the
    /// events of the connection.
    pub(crate) fn remember(
        &self,
        key: &ConnectionKey,
        active: Vec<(EndpointId, EndpointScope)>,
        now: Timestamp,
    ) -> Vec<EndpointId> {
        let told = receiving(&active, &key.connection);
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= TENANTS_MAX {
            remembered.clear();
        }
        let read_at = now;
        remembered.insert(key.tenant.clone(), Endpoints { read_at, active });
        told
    }
}

fn receiving(active: &[(EndpointId, EndpointScope)], connection: &ConnectionId) -> Vec<EndpointId> {
    let told = active
        .iter()
        .filter(|(_, scope)| scope.includes(connection));
    told.map(|(id, _)| id.clone()).collect()
}

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
    fn endpoints_are_remembered_for_a_second() {
        let (memory, key) = (EndpointMemory::default(), World::key());
        let at = |millis| Timestamp::from_millis(millis);
        assert_eq!(memory.of(&key, at(0)), None);
        let (all, other) = (EndpointId::fresh(1), EndpointId::fresh(2));
        let elsewhere = ConnectionId::parse("c_99").unwrap();
        let active = vec![
            (all.clone(), EndpointScope::All),
            (other, EndpointScope::Connections([elsewhere].into())),
        ];
        assert_eq!(
            memory.remember(&key, active, at(10)),
            std::slice::from_ref(&all)
        );
        assert_eq!(memory.of(&key, at(1_009)), Some(vec![all]));
        assert_eq!(memory.of(&key, at(1_010)), None);
        assert_eq!(memory.of(&key, at(9)), None);
        assert!(memory.remember(&key, Vec::new(), at(2_000)).is_empty());
        assert_eq!(memory.of(&key, at(2_000)), Some(Vec::new()));
    }

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
