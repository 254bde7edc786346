//! What a restore does to each file: one item for each that it changes or leaves, completed once
//! the file was edited.
//!
//! A file is listed first and edited later, on condition of what was listed. So an interrupted
//! restore edits nothing twice, and the list says what became of each file.

use std::collections::BTreeSet;

use domain::restore::{LeftReason, RestoreField, RestorePlan};
use domain::{ConnectionKey, Field, FileId, Operation, OperationId, Revision, Timestamp, Value};
use serde::{Deserialize, Serialize};

use crate::file::value_item::{ValueItem, at};
use crate::operation::drift_entries::{TTL_MILLIS, shorten};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, connection_pk};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Page, PageRequest, Store, StoreError};

/// One file of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreEntry {
    /// The file.
    pub file: FileId,
    /// The application's name of the file when it was listed; for display.
    pub name: String,
    /// What was visible of the file when it was listed: it is edited if that is unchanged.
    pub seen: Revision,
    /// What is set back and what is left. Long values are cut.
    pub plan: RestorePlan,
    /// The time at which it was listed.
    pub found_at: Timestamp,
    /// The time at which it was edited, or left after all; `None` before, and in a dry run.
    pub done_at: Option<Timestamp>,
    /// The reasons why something is left that was to be set back.
    pub left_later: BTreeSet<LeftReason>,
}

impl Store {
    /// Lists a file. Does nothing if the operation has listed it already.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_restore_entry(
        &self,
        operation: &Operation,
        entry: &RestoreEntry,
    ) -> Result<(), StoreError> {
        let item = encode_restore_entry(operation, entry, LISTED)?;
        match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) | Applied::Refused(_) => Ok(()),
        }
    }

    /// Records what became of a file, unless that is recorded already.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn complete_restore_entry(
        &self,
        operation: &Operation,
        entry: &RestoreEntry,
    ) -> Result<(), StoreError> {
        let item = encode_restore_entry(operation, entry, COMPLETE)?;
        match self.put(item, Replaces::Revision(LISTED)).await? {
            Applied::Done(_) | Applied::Refused(_) => Ok(()),
        }
    }

    /// Lists the files of a restore by id, consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_restore_entries(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        page: &PageRequest,
    ) -> Result<Page<RestoreEntry>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), &format!("{PREFIX}#{id}#"));
        let decode = |item| decode_restore_entry(key, id, item);
        self.list_range("restore", all, page, decode).await
    }
}

/// Entries have a prefix of their own, so that a list of operations does not read through them.
const PREFIX: &str = "RESTORE";
/// The revision of a listed entry.
const LISTED: u64 = 1;
/// The revision of a complete entry: the last one.
const COMPLETE: u64 = 2;

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    seen: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldItem>,
    found_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_later: Vec<String>,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
struct FieldItem {
    #[serde(rename = "f")]
    label: String,
    #[serde(rename = "o")]
    from: ValueItem,
    #[serde(rename = "d")]
    to: ValueItem,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
}

pub(crate) fn encode_restore_entry(
    operation: &Operation,
    entry: &RestoreEntry,
    revision: u64,
) -> Result<Encoded, StoreError> {
    let label = |left: Option<LeftReason>| left.map(|reason| reason.label().to_owned());
    let value = |value: &Value| match value {
        Value::Text(text) => ValueItem::Text(shorten(text)),
        Value::Null | Value::Flag(_) => value.into(),
    };
    let fields = entry.plan.fields.iter().map(|field| FieldItem {
        label: field.field.label(),
        from: value(&field.from),
        to: value(&field.to),
        left: label(field.left),
    });
    let body = Body {
        revision,
        name: shorten(&entry.name),
        seen: entry.seen.0,
        left: label(entry.plan.left),
        fields: fields.collect(),
        found_at: entry.found_at.as_millis(),
        done_at: entry.done_at.map(Timestamp::as_millis),
        left_later: entry
            .left_later
            .iter()
            .map(|reason| reason.label().to_owned())
            .collect(),
        expires: operation.started_at.plus_millis(TTL_MILLIS).as_seconds(),
    };
    let place = format!("{}#{}", operation.id, entry.file);
    encode(&Key::of_connection(&operation.key, PREFIX, &place), &body)
}

pub(crate) fn decode_restore_entry(
    key: &ConnectionKey,
    id: &OperationId,
    item: Item,
) -> Result<RestoreEntry, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let file = place.sk.strip_prefix(&format!("{PREFIX}#{id}#"));
    let file = file.and_then(|file| FileId::parse(file).ok());
    let Some(file) = file.filter(|_| place.pk == connection_pk(key)) else {
        return Err(place.corrupt("it names no file"));
    };
    let reason = |label: Option<String>| match label {
        None => Some(None),
        Some(label) => LeftReason::from_label(&label).map(Some),
    };
    let field = |item: FieldItem| {
        Some(RestoreField {
            field: Field::from_label(&item.label)?,
            from: item.from.into(),
            to: item.to.into(),
            left: reason(item.left)?,
        })
    };
    let fields: Option<Vec<RestoreField>> = body.fields.into_iter().map(field).collect();
    let later = body.left_later.iter();
    let later: Option<BTreeSet<LeftReason>> =
        later.map(|label| LeftReason::from_label(label)).collect();
    let (Some(fields), Some(left), Some(left_later)) = (fields, reason(body.left), later) else {
        return Err(place.corrupt("it names an unknown field or reason"));
    };
    Ok(RestoreEntry {
        file,
        name: body.name,
        seen: Revision(body.seen),
        plan: RestorePlan { left, fields },
        found_at: at(body.found_at),
        done_at: body.done_at.map(at),
        left_later,
    })
}
