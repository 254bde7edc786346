//! The item of a stored object: under 500 bytes, so that it costs one write unit.

use domain::TenantId;
use domain::Timestamp;
use domain::content::{ContentHash, ObjectState, StoredObject};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::content::version_item::{EncodingText, object_key};
use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};

/// The stored texts of the states.
pub(crate) const STORED: &str = "stored";
pub(crate) const COLLECTING: &str = "collecting";

#[derive(Serialize, Deserialize)]
struct Body {
    key: String,
    size: u64,
    /// Only present if the bytes are stored in another encoding than the content's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored_size: Option<u64>,
    #[serde(default, skip_serializing_if = "EncodingText::is_none")]
    encoding: EncodingText,
    refs: u64,
    state: String,
    stored_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collect_at: Option<i64>,
}

pub(crate) fn encode_object(
    tenant: &TenantId,
    object: &StoredObject,
) -> Result<Encoded, StoreError> {
    let body = Body {
        key: object.key.to_string(),
        size: object.size_bytes,
        stored_size: Some(object.stored_bytes).filter(|stored| *stored != object.size_bytes),
        encoding: object.encoding.into(),
        refs: object.refs,
        state: match object.state {
            ObjectState::Stored => STORED.to_owned(),
            ObjectState::Collecting => COLLECTING.to_owned(),
        },
        stored_at: object.stored_at.as_millis(),
        collect_at: object.collect_at.map(Timestamp::as_millis),
    };
    let place = Key::object(tenant, &object.hash);
    let mut item = encode(&place, &body)?;
    if let Some(due) = object.collect_at {
        item.place(Index::Due, due_place(&place, due));
    }
    Ok(item)
}

pub(crate) fn decode_object(tenant: &TenantId, item: Item) -> Result<StoredObject, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let prefix = Key::object_prefix(tenant);
    let hash = place.pk.strip_prefix(&prefix).map(ContentHash::parse);
    let state = match body.state.as_str() {
        STORED => Some(ObjectState::Stored),
        COLLECTING => Some(ObjectState::Collecting),
        _ => None,
    };
    let (Some(Ok(hash)), Some(state)) = (hash, state) else {
        return Err(place.corrupt("its hash or its state is invalid"));
    };
    let key = object_key(tenant, &body.key, &place)?;
    Ok(StoredObject {
        hash,
        key,
        size_bytes: body.size,
        stored_bytes: body.stored_size.unwrap_or(body.size),
        encoding: body.encoding.into(),
        refs: body.refs,
        state,
        stored_at: at(body.stored_at),
        collect_at: body.collect_at.map(at),
    })
}
