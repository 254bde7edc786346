//! An event as readers see it.

use domain::event::{Event, EventCursor, Subject};
use domain::{ConnectionKey, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::conflict_id;

/// What a committed change of a connection means to others: CloudEvents 1.0.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Always `1.0`.
    #[serde(rename = "specversion")]
    spec_version: &'static str,
    /// The same for the same change, however often it is reported: a reader skips what it has seen.
    id: String,
    /// The connection: `/v1/connections/<id>`.
    source: String,
    /// The type: `file:modified`, `conflict:detected`, ...
    #[serde(rename = "type")]
    kind: &'static str,
    /// What it is about: `files/<id>`, `operations/<id>`, `dead-letters/<id>` or `webhooks/<id>`.
    /// Absent for the connection itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The time of the change, in whole seconds.
    #[schema(format = DateTime)]
    time: String,
    /// Its place in the connection's log, and the cursor of a reader that has read up to it. A
    /// reader applies an event only if it knows the one before it, and else reads the log.
    sequence: String,
    /// What led to the change: the same in history, conflicts and log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Always `application/json`.
    #[serde(rename = "datacontenttype")]
    data_content_type: &'static str,
    /// The details. Each type has its own.
    data: EventDataView,
}

/// The details of an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EventData)]
pub struct EventDataView {
    /// Who made the change: `drive`, `app`, `policy` or `user:<subject>`.
    by: String,
    /// The file's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// The names of the fields that have changed. All roles are `permissions`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    /// The id of the folder that the file is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    /// The id of the folder that it was in before.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder_before: Option<String>,
    /// The conflict's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<String>,
    /// The number of the content's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// The kind of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    /// The number of files that were listed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<u64>,
    /// Why: the reason of a deletion, a failure or a suspension.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl EventView {
    /// Returns an event of a connection's log as readers see it.
    #[must_use]
    pub fn of(key: &ConnectionKey, at: &EventCursor, event: &Event) -> Self {
        let Event {
            kind,
            subject,
            at: time,
            cause,
            ..
        } = event;
        Self {
            spec_version: "1.0",
            id: event.id(),
            source: format!("/v1/connections/{}", key.connection),
            kind: kind.label(),
            subject: match subject {
                Subject::File(id) => Some(format!("files/{id}")),
                Subject::Operation(id) => Some(format!("operations/{id}")),
                Subject::DeadLetter(id) => Some(format!("dead-letters/{id}")),
                Subject::Webhook(id) => Some(format!("webhooks/{id}")),
                Subject::Connection => None,
            },
            time: Timestamp::to_string(time),
            sequence: at.to_string(),
            cause: cause.map(|cause| cause.to_string()),
            data_content_type: "application/json",
            data: EventDataView::of(event),
        }
    }
}

impl EventDataView {
    fn of(event: &Event) -> Self {
        let details = &event.details;
        Self {
            by: event.by.to_string(),
            revision: details.revision,
            fields: details.fields.clone(),
            folder: details.folder.as_ref().map(ToString::to_string),
            folder_before: details.folder_before.as_ref().map(ToString::to_string),
            conflict: details.conflict.as_ref().map(conflict_id::encode),
            version: details.version,
            operation: details.operation.map(|kind| kind.label()),
            listed: details.listed,
            reason: details.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::{Author, Details, Epoch, EventType};
    use domain::{Cause, ConnectionId, FileId, TenantId};
    use serde_json::json;

    #[test]
    fn an_event_is_a_cloud_event() {
        let key = ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        };
        let event = Event {
            kind: EventType::FileMoved,
            subject: Subject::File(FileId::parse("1VEQ").unwrap()),
            state: "12".to_owned(),
            at: Timestamp::from_millis(1_790_000_000_000),
            by: Author::User("ann".to_owned()),
            cause: Some(Cause::fresh(1, 2)),
            details: Details {
                revision: Some(12),
                fields: vec!["parent".to_owned()],
                folder: Some(FileId::parse("d2").unwrap()),
                folder_before: Some(FileId::parse("d1").unwrap()),
                ..Details::default()
            },
        };
        let cursor = EventCursor {
            epoch: Epoch(0xab),
            number: 4,
            index: 1,
        };
        let view = serde_json::to_value(EventView::of(&key, &cursor, &event)).unwrap();
        let expected = json!({
            "specversion": "1.0",
            "id": "1VEQ.12.file:moved",
            "source": "/v1/connections/c_01",
            "type": "file:moved",
            "subject": "files/1VEQ",
            "time": event.at.to_string(),
            "sequence": "00000000000000ab.4.1",
            "cause": Cause::fresh(1, 2).to_string(),
            "datacontenttype": "application/json",
            "data": {
                "by": "user:ann", "revision": 12, "fields": ["parent"],
                "folder": "d2", "folder_before": "d1",
            },
        });
        assert_eq!(view, expected);
    }
}
