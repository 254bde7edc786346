//! The places of a webhook endpoint in the logs of its connections.

use std::collections::{BTreeMap, BTreeSet};

use domain::event::EventCursor;
use domain::webhook::Place;
use domain::{ConnectionId, EndpointId, TenantId};
use serde::{Deserialize, Serialize};

use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::range::Range;
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::{Replaces, Update};
use crate::webhook::endpoint_item::endpoint_pk;
use crate::{Store, StoreError, Updated};

/// The prefix of the sort key.
pub(crate) const PLACE: &str = "PLACE#";
/// The items of one query.
const PAGE: u32 = 1_000;

impl Store {
    /// Reads the places of an endpoint, consistently. A connection without one is read from the
    /// beginning of its log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn endpoint_places(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
    ) -> Result<BTreeMap<ConnectionId, Place>, StoreError> {
        let range = Range::prefix(None, endpoint_pk(tenant, id), PLACE);
        let items = self.whole_range(range, PAGE).await?;
        items.into_iter().map(decode_place).collect()
    }

    /// Moves the place in a connection's log on, if it still is where it was. `Absent` if it is
    /// elsewhere by now: it was moved by another worker, or set back.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn move_place(
        &self,
        (tenant, id): (&TenantId, &EndpointId),
        connection: &ConnectionId,
        before: &Place,
        after: Option<&EventCursor>,
    ) -> Result<Updated, StoreError> {
        let next = Place {
            after: after.copied(),
            ..*before
        };
        if *before == Place::default() {
            let item = encode_place((tenant, id), connection, &next)?;
            if let Applied::Done(_) = self.put(item, Replaces::Nothing).await? {
                return Ok(Updated::Done);
            }
        }
        let update = Update::of(place_key((tenant, id), connection))
            .when_text("after", &text(before))
            .when_number("replays", before.replays)
            .set_text("after", text(&next));
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(Some(stored)) => match decode_place(stored)?.1 == next {
                true => Updated::Done,
                false => Updated::Absent,
            },
            Applied::Refused(None) => Updated::Absent,
        })
    }

    /// Sets the place in a connection's log, wherever it is: what is being delivered moves it no
    /// more.
    ///
    /// # Errors
    /// [`StoreError`], also if others keep moving it.
    pub async fn set_place(
        &self,
        (tenant, id): (&TenantId, &EndpointId),
        connection: &ConnectionId,
        after: Option<&EventCursor>,
    ) -> Result<(), StoreError> {
        let key = place_key((tenant, id), connection);
        for round in 0..ROUNDS_MAX {
            let stored = self.get(&key).await?.map(decode_place).transpose()?;
            let before = stored.map(|(_, place)| place);
            let next = Place {
                after: after.copied(),
                replays: before.map_or(0, |before| before.replays) + 1,
            };
            let applied = match before {
                None => {
                    let item = encode_place((tenant, id), connection, &next)?;
                    self.put(item, Replaces::Nothing).await?
                }
                Some(before) => {
                    let update = Update::of(key.clone())
                        .when_number("replays", before.replays)
                        .set_text("after", text(&next))
                        .set_number("replays", next.replays);
                    self.update(update).await?
                }
            };
            match applied {
                Applied::Done(_) => return Ok(()),
                Applied::Refused(_) => pause(round).await,
            }
        }
        Err(StoreError::busy(
            "concurrent writes of the endpoint's place",
        ))
    }

    /// Deletes the places in the logs of connections that an endpoint receives no more from.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_places(
        &self,
        (tenant, id): (&TenantId, &EndpointId),
        connections: &BTreeSet<ConnectionId>,
    ) -> Result<(), StoreError> {
        let key = |connection| place_key((tenant, id), connection);
        self.delete_many(connections.iter().map(key).collect())
            .await
    }
}

/// Empty for the beginning of the log.
fn text(place: &Place) -> String {
    place
        .after
        .map_or_else(String::new, |after| after.to_string())
}

fn place_key((tenant, id): (&TenantId, &EndpointId), connection: &ConnectionId) -> Key {
    Key::new(endpoint_pk(tenant, id), format!("{PLACE}{connection}"))
}

#[derive(Serialize, Deserialize)]
struct Body {
    after: String,
    replays: u32,
}

pub(crate) fn encode_place(
    of: (&TenantId, &EndpointId),
    connection: &ConnectionId,
    place: &Place,
) -> Result<Encoded, StoreError> {
    let body = Body {
        after: text(place),
        replays: place.replays,
    };
    encode(&place_key(of, connection), &body)
}

pub(crate) fn decode_place(item: Item) -> Result<(ConnectionId, Place), StoreError> {
    let (key, body) = decode::<Body>(item)?;
    let connection = key.sk.strip_prefix(PLACE).map(ConnectionId::parse);
    let after = match body.after.as_str() {
        "" => Ok(None),
        text => EventCursor::parse(text).map(Some),
    };
    let (Some(Ok(connection)), Ok(after)) = (connection, after) else {
        return Err(key.corrupt("its connection or cursor is invalid"));
    };
    let replays = body.replays;
    Ok((connection, Place { after, replays }))
}
