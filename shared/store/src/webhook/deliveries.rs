//! What was delivered to a webhook endpoint, for some days.

use domain::event::EventCursor;
use domain::webhook::{DELIVERY_DAYS, Delivery, DeliveryKind, DeliveryOutcome};
use domain::{ConnectionId, DAY_MILLIS, EndpointId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::table::item::{Encoded, decode, encode, has_expired};
use crate::table::key::{Item, Key, millis_13};
use crate::table::range::Range;
use crate::table::update::Replaces;
use crate::webhook::endpoint_item::endpoint_pk;
use crate::{Nonce, Page, PageRequest, Store, StoreError};

/// The prefix of the sort key, before the time.
const SENT: &str = "SENT#";

impl Store {
    /// Records an attempt to deliver something. It expires after [`DELIVERY_DAYS`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_delivery(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
        delivery: &Delivery,
        nonce: Nonce,
    ) -> Result<(), StoreError> {
        let item = encode_delivery(tenant, id, delivery, nonce)?;
        self.put(item, Replaces::Whatever).await.map(drop)
    }

    /// Lists the attempts to deliver something, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_deliveries(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<Page<Delivery>, StoreError> {
        let all = Range::prefix(None, endpoint_pk(tenant, id), SENT).descending();
        let decode = |item: Item| match has_expired(&item, now) {
            true => Ok(None),
            false => decode_delivery(item).map(Some),
        };
        let found = self.list_range("deliveries", all, page, decode).await?;
        Ok(Page {
            items: found.items.into_iter().flatten().collect(),
            next_cursor: found.next_cursor,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    at: i64,
    message: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    events: u32,
    attempt: u32,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    millis: u32,
}

pub(crate) fn encode_delivery(
    tenant: &TenantId,
    id: &EndpointId,
    delivery: &Delivery,
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let body = Body {
        at: delivery.at.as_millis(),
        message: delivery.message.clone(),
        kind: delivery.kind.label().to_owned(),
        connection: delivery.connection.as_ref().map(ToString::to_string),
        head: delivery.head.map(|head| head.to_string()),
        events: delivery.events,
        attempt: delivery.attempt,
        outcome: delivery.outcome.label().to_owned(),
        status: delivery.status,
        millis: delivery.millis,
    };
    let place = format!("{SENT}{}#{:016x}", millis_13(delivery.at), nonce.0);
    let mut item = encode(&Key::new(endpoint_pk(tenant, id), place), &body)?;
    item.expire(delivery.at.plus_millis(DELIVERY_DAYS * DAY_MILLIS));
    Ok(item)
}

pub(crate) fn decode_delivery(item: Item) -> Result<Delivery, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let connection = body.connection.as_deref().map(ConnectionId::parse);
    let head = body.head.as_deref().map(EventCursor::parse);
    let words = (
        DeliveryKind::from_label(&body.kind),
        DeliveryOutcome::from_label(&body.outcome),
    );
    let (Ok(connection), Ok(head), (Some(kind), Some(outcome))) =
        (connection.transpose(), head.transpose(), words)
    else {
        return Err(place.corrupt("its connection, cursor, kind or outcome is invalid"));
    };
    Ok(Delivery {
        at: crate::file::value_item::at(body.at),
        message: body.message,
        kind,
        connection,
        head,
        events: body.events,
        attempt: body.attempt,
        outcome,
        status: body.status,
        millis: body.millis,
    })
}
