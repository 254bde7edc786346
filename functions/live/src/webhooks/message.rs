//! What is posted to endpoints.

use bytes::Bytes;
use domain::event::{Author, Details, Event, EventCursor, EventType, Subject};
use domain::webhook::OwedTest;
use domain::{ConflictRecord, ConnectionId, ConnectionKey, EndpointId, Timestamp};
use events::{EventView, QuestionView};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The bytes of a message's id.
const ID_BYTES: usize = 16;

/// A message: a batch of CloudEvents, with an id that all attempts at it have.
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    pub(crate) events: usize,
}

fn id_of(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let hex = digest
        .iter()
        .take(ID_BYTES)
        .map(|byte| format!("{byte:02x}"));
    format!("msg_{}", hex.collect::<String>())
}

fn place(cursor: Option<&EventCursor>) -> String {
    cursor.map_or_else(String::new, ToString::to_string)
}

/// Returns a message with events of a connection's log: those after one place and up to another
/// that the endpoint selects. Their ids are in the message's, since what is selected may change.
pub(crate) fn of_events(
    (endpoint, connection): (&EndpointId, &ConnectionId),
    (after, head): (Option<&EventCursor>, &EventCursor),
    events: &[(&Event, &EventView)],
) -> serde_json::Result<Message> {
    let views: Vec<&EventView> = events.iter().map(|(_, view)| *view).collect();
    let ids: Vec<String> = events.iter().map(|(event, _)| event.id()).collect();
    let (after, head) = (place(after), place(Some(head)));
    let mut parts = vec![endpoint.as_str(), connection.as_str(), &after, &head];
    parts.extend(ids.iter().map(String::as_str));
    Ok(Message {
        id: id_of(&parts),
        body: serde_json::to_vec(&views)?.into(),
        events: views.len(),
    })
}

/// Returns the notice that events after a place are missing, up to the log's end.
pub(crate) fn of_reset(
    endpoint: &EndpointId,
    key: &ConnectionKey,
    (after, head): (Option<&EventCursor>, Option<&EventCursor>),
    now: Timestamp,
) -> serde_json::Result<Message> {
    let (from, to) = (place(after), place(head));
    let event = Event {
        kind: EventType::SyncReset,
        subject: Subject::Connection,
        state: format!("{endpoint}.{from}.{to}"),
        at: now,
        by: Author::App,
        cause: None,
        details: Details::default(),
    };
    let mut view = Vec::new();
    // A log that is empty has no cursor: what the endpoint knows is the next best.
    if let Some(at) = head.or(after) {
        view.push(EventView::of(key, at, &event));
    }
    Ok(Message {
        id: id_of(&[
            "reset",
            endpoint.as_str(),
            key.connection.as_str(),
            &from,
            &to,
        ]),
        body: serde_json::to_vec(&view)?.into(),
        events: view.len(),
    })
}

/// Returns the message that asks the resolver of a conflict: the same for the same state of its
/// sides.
pub(crate) fn of_question(
    (endpoint, connection): (&EndpointId, &ConnectionId),
    conflict: &ConflictRecord,
    view: &QuestionView,
) -> serde_json::Result<Message> {
    let id = &conflict.id;
    let (number, moves) = (id.number.to_string(), conflict.moves.to_string());
    let field = id.field.label();
    let parts = [
        "question",
        endpoint.as_str(),
        connection.as_str(),
        id.file.as_str(),
        &field,
        &number,
        &moves,
    ];
    Ok(Message {
        id: id_of(&parts),
        body: serde_json::to_vec(view)?.into(),
        events: 1,
    })
}

/// Returns a test message.
pub(crate) fn of_test(endpoint: &EndpointId, test: OwedTest) -> serde_json::Result<Message> {
    let number = format!("{:016x}", test.id);
    let event = json!({
        "specversion": "1.0",
        "id": format!("{endpoint}.{number}.webhook:test"),
        "source": "/v1/webhooks",
        "type": "webhook:test",
        "subject": format!("webhooks/{endpoint}"),
        "time": test.at.to_string(),
        "datacontenttype": "application/json",
        "data": {},
    });
    Ok(Message {
        id: id_of(&["test", endpoint.as_str(), &number]),
        body: serde_json::to_vec(&[event])?.into(),
        events: 1,
    })
}
