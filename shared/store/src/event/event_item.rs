//! The item of an event log: a number, and the events that were appended at once. The names of its
//! attributes are short, since an append costs a write unit for each kilobyte.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::event::{
    Author, Details, Epoch, Event, EventType, LogEnd, NextItem, Subject, TableMark,
};
use domain::trail::ErasedPersons;
use domain::{
    ConflictId, ConnectionKey, EndpointId, Field, FileId, OperationId, OperationKind, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::file::value_item::{ItemDefect, at};
use crate::table::item::{CauseItem, EXPIRES, Encoded, FORMAT_MAX, decode, encode};
use crate::table::key::{Item, Key, connection_pk};
use crate::{Nonce, StoreError};

/// The attribute of the events.
pub(crate) const EVENTS: &str = "events";
/// The prefix of the sort key.
pub(crate) const EVENT: &str = "EV#";

#[derive(Serialize, Deserialize)]
struct Body {
    epoch: u64,
    first: u64,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<u64>,
    nonce: u64,
    events: Vec<EventItem>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EventItem {
    #[serde(rename = "t")]
    kind: String,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    letter: Option<String>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    webhook: Option<String>,
    #[serde(rename = "n")]
    state: String,
    #[serde(rename = "a")]
    at: i64,
    #[serde(rename = "b")]
    by: String,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    folder_before: Option<String>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    conflict: Option<(String, u32)>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    operation_kind: Option<String>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    listed: Option<u64>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// An item as it was read.
#[derive(Debug, Clone)]
pub(crate) struct StoredBatch {
    pub(crate) end: LogEnd,
    pub(crate) nonce: Nonce,
    pub(crate) events: Vec<Event>,
}

/// The partition of a connection's log.
pub(crate) fn log_pk(key: &ConnectionKey) -> String {
    format!("{}#EV", connection_pk(key))
}

/// The sort key of an item.
pub(crate) fn event_sk(number: u64) -> String {
    format!("{EVENT}{number:019}")
}

pub(crate) fn encode_batch(
    key: &ConnectionKey,
    place: &NextItem,
    expires_at: Timestamp,
    events: &[EventItem],
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let stored = Key::new(log_pk(key), event_sk(place.number));
    let body = Body {
        epoch: place.epoch.0,
        first: place.first,
        at: place.at.as_millis(),
        table: place.table.map(|table| table.0),
        nonce: nonce.0,
        events: events.to_vec(),
    };
    let mut item = encode(&stored, &body)?;
    item.expire(expires_at);
    Ok(item)
}

/// Returns the number of the item with this key.
pub(crate) fn number_of(place: &Key) -> Result<u64, StoreError> {
    let number = place
        .sk
        .strip_prefix(EVENT)
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| place.clone().corrupt("its key is not that of events"))
}

/// Returns the events of an item with what stands in place of erased persons; `None` if they name
/// none.
pub(crate) fn events_without(item: &Item, erased: &ErasedPersons) -> Option<AttributeValue> {
    let (place, body) = decode::<Body>(item.clone()).ok()?;
    let events = body.events.into_iter();
    let body = Body {
        events: events.map(|event| event.without(erased)).collect(),
        ..body
    };
    let after = encode(&place, &body).ok()?.item.remove(EVENTS)?;
    (item.get(EVENTS) != Some(&after)).then_some(after)
}

/// Decodes an item of a log.
pub(crate) fn decode_batch(item: Item) -> Result<StoredBatch, StoreError> {
    let expires = item.get(EXPIRES).and_then(|value| value.as_n().ok());
    let expires = expires.and_then(|text| text.parse::<i64>().ok());
    let (place, body) = decode::<Body>(item)?;
    let number = number_of(&place)?;
    let Some(expires) = expires else {
        return Err(place.corrupt("it has no time to live"));
    };
    let last = u32::try_from(body.events.len()).unwrap_or(u32::MAX);
    let end = LogEnd {
        epoch: Epoch(body.epoch),
        first: body.first,
        number,
        last: last.saturating_sub(1),
        at: at(body.at),
        expires_at: at(expires.saturating_mul(1_000)),
        table: body.table.map(TableMark),
    };
    let mut events = Vec::with_capacity(body.events.len());
    for event in body.events {
        // A type that this build does not know was appended by newer code.
        let Some(kind) = EventType::from_label(&event.kind) else {
            return Err(StoreError::NewerItem {
                pk: place.pk,
                sk: place.sk,
                format: FORMAT_MAX + 1,
            });
        };
        let event = event.into_event(kind);
        events.push(event.map_err(|what| place.clone().corrupt(what))?);
    }
    let nonce = Nonce(body.nonce);
    Ok(StoredBatch { end, nonce, events })
}

impl EventItem {
    pub(crate) fn of(event: &Event) -> Self {
        let (mut file, mut operation, mut letter, mut webhook) = (None, None, None, None);
        match &event.subject {
            Subject::File(id) => file = Some(id.to_string()),
            Subject::Operation(id) => operation = Some(id.to_string()),
            Subject::DeadLetter(id) => letter = Some(id.clone()),
            Subject::Webhook(id) => webhook = Some(id.to_string()),
            Subject::Connection => {}
        }
        let details = &event.details;
        let conflict = details.conflict.as_ref();
        Self {
            kind: event.kind.label().to_owned(),
            file,
            operation,
            letter,
            webhook,
            state: event.state.clone(),
            at: event.at.as_millis(),
            by: event.by.to_string(),
            cause: event.cause.map(CauseItem),
            revision: details.revision,
            fields: details.fields.clone(),
            folder: details.folder.as_ref().map(FileId::to_string),
            folder_before: details.folder_before.as_ref().map(FileId::to_string),
            conflict: conflict.map(|id| (id.field.label(), id.number)),
            version: details.version,
            operation_kind: details.operation.map(|kind| kind.label().to_owned()),
            listed: details.listed,
            reason: details.reason.clone(),
        }
    }

    /// Returns it with what stands in place of erased persons: in its author, in the fields and in
    /// its conflict, which its state names too.
    pub(crate) fn without(mut self, erased: &ErasedPersons) -> Self {
        if erased.is_empty() {
            return self;
        }
        let author = self.by.strip_prefix("user:");
        if let Some(shown) = author.and_then(|author| erased.name(author)) {
            self.by = format!("user:{shown}");
        }
        for field in &mut self.fields {
            *field = erased.text(field).unwrap_or_else(|| std::mem::take(field));
        }
        if let Some((label, _)) = &mut self.conflict
            && let Some(shown) = erased.text(label)
        {
            self.state = self.state.replace(label.as_str(), &shown);
            *label = shown;
        }
        if let Some(reason) = &mut self.reason {
            *reason = erased
                .within(reason)
                .unwrap_or_else(|| std::mem::take(reason));
        }
        self
    }

    /// The bytes that it takes in its item, roughly: those of its texts and names.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [
            &self.file,
            &self.operation,
            &self.letter,
            &self.webhook,
            &self.folder,
            &self.folder_before,
            &self.operation_kind,
            &self.reason,
        ];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        let fields = self.fields.iter().map(|field| field.len() + 1);
        let conflict = self.conflict.as_ref().map_or(0, |(label, _)| label.len());
        let fixed = 96 + self.kind.len() + self.state.len() + self.by.len();
        fixed + texts + fields.sum::<usize>() + conflict
    }

    fn into_event(self, kind: EventType) -> Result<Event, ItemDefect> {
        let id = |text: Option<String>| {
            let parse = |text: String| FileId::parse(&text);
            text.map(parse)
                .transpose()
                .map_err(|_| "the id of a file is invalid")
        };
        let file = id(self.file)?;
        let operation = self.operation.map(|text| OperationId::parse(&text));
        let operation = operation.transpose();
        let operation = operation.map_err(|_| "the id of its operation is invalid")?;
        let conflict = match (self.conflict, &file) {
            (Some((label, number)), Some(file)) => Some(ConflictId {
                file: file.clone(),
                field: Field::from_label(&label).ok_or("its field is unknown")?,
                number,
            }),
            (Some(_), None) => return Err("its conflict is of no file"),
            (None, _) => None,
        };
        let details = Details {
            revision: self.revision,
            fields: self.fields,
            folder: id(self.folder)?,
            folder_before: id(self.folder_before)?,
            conflict,
            version: self.version,
            operation: match self.operation_kind {
                Some(label) => {
                    Some(OperationKind::from_label(&label).ok_or("its kind is unknown")?)
                }
                None => None,
            },
            listed: self.listed,
            reason: self.reason,
        };
        let webhook = self.webhook.map(|text| EndpointId::parse(&text));
        let webhook = webhook.transpose();
        let webhook = webhook.map_err(|_| "the id of its webhook is invalid")?;
        let subject = match (file, operation, self.letter, webhook) {
            (Some(file), ..) => Subject::File(file),
            (None, Some(operation), ..) => Subject::Operation(operation),
            (None, None, Some(letter), _) => Subject::DeadLetter(letter),
            (None, None, None, Some(webhook)) => Subject::Webhook(webhook),
            (None, None, None, None) => Subject::Connection,
        };
        Ok(Event {
            kind,
            subject,
            state: self.state,
            at: at(self.at),
            by: Author::parse(&self.by).ok_or("its author is unknown")?,
            cause: self.cause.map(|item| item.0),
            details,
        })
    }
}
