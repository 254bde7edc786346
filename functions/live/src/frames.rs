//! The frames that are sent, in JSON.

use domain::event::EventCursor;
use domain::{ConnectionId, Timestamp};
use events::EventView;
use serde_json::json;

use crate::requests::Refusal;

/// The version of the frames' form.
const PROTOCOL: u32 = 1;

fn text(cursor: Option<EventCursor>) -> Option<String> {
    cursor.map(|cursor| cursor.to_string())
}

/// Returns the first frame of a subscription: from `head` on, frames follow, until the time at
/// which the socket ends.
pub(crate) fn hello(
    connection: &ConnectionId,
    head: Option<EventCursor>,
    expires_at: Timestamp,
) -> String {
    json!({
        "type": "hello",
        "connection": connection.as_str(),
        "head": text(head),
        "protocol": PROTOCOL,
        "expires_at": expires_at.to_string(),
    })
    .to_string()
}

/// Returns a frame with all events of a filter after `after` and up to `head`.
pub(crate) fn events(
    connection: &ConnectionId,
    (after, head): (Option<EventCursor>, EventCursor),
    events: &[&EventView],
) -> String {
    json!({
        "type": "events",
        "connection": connection.as_str(),
        "after": text(after),
        "head": head.to_string(),
        "events": events,
    })
    .to_string()
}

/// Returns a frame in place of events: the reader reads the log.
pub(crate) fn behind(connection: &ConnectionId, head: Option<EventCursor>) -> String {
    json!({"type": "behind", "connection": connection.as_str(), "head": text(head)}).to_string()
}

/// Returns the answer to a request to unsubscribe.
pub(crate) fn unsubscribed(connection: &str) -> String {
    json!({"type": "unsubscribed", "connection": connection}).to_string()
}

/// Returns a frame that says why something is not done.
pub(crate) fn error(refusal: &Refusal) -> String {
    let mut frame = json!({
        "type": "error",
        "reason": refusal.reason,
        "detail": refusal.detail,
    });
    if let (Some(connection), Some(frame)) = (&refusal.connection, frame.as_object_mut()) {
        frame.insert("connection".to_owned(), json!(connection));
    }
    frame.to_string()
}
