//! Subscriptions: which socket reads a connection's log, with which filter, and how far it is. They
//! are in the connection's partition, and so erased with it.

use domain::event::{EventCursor, EventFilter, EventType};
use domain::live::{Holder, Progress, SocketId};
use domain::{ConnectionKey, FileId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::{ItemDefect, at};
use crate::live::tickets::HolderItem;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, connection_pk};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::table::whole_range::readable;
use crate::{Store, StoreError, Updated};

/// The prefix of the sort key.
const LIVE: &str = "LIVE#";
/// The subscriptions that one query reads.
const PAGE: u32 = 500;

/// A socket's subscription to the log of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The connection.
    pub key: ConnectionKey,
    /// The socket.
    pub socket: SocketId,
    /// The holder of the socket.
    pub holder: Holder,
    /// The events that it is for.
    pub filter: EventFilter,
    /// How far it is.
    pub progress: Progress,
    /// The time from which the socket is closed at the latest.
    pub expires_at: Timestamp,
}

impl Store {
    /// Stores a subscription, in place of an earlier one of the same socket to the same connection.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_subscription(&self, subscription: &Subscription) -> Result<(), StoreError> {
        let item = encode_subscription(subscription)?;
        self.put(item, Replaces::Whatever).await.map(drop)
    }

    /// Reads the subscriptions to a connection, consistently. One that can't be read is counted,
    /// and holds up no others: it ends with its socket.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn subscriptions(
        &self,
        key: &ConnectionKey,
    ) -> Result<(Vec<Subscription>, usize), StoreError> {
        let range = Range::prefix(None, connection_pk(key), LIVE);
        let items = self.whole_range(range, PAGE).await?;
        readable(items, |item| decode_subscription(key, item))
    }

    /// Records how far a reader is, if it still is where it was. `Absent` if it is elsewhere by
    /// now, or gone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn advance_subscription(
        &self,
        before: &Subscription,
        after: &Progress,
    ) -> Result<Updated, StoreError> {
        let text = |cursor: &Option<EventCursor>| cursor.as_ref().map(ToString::to_string);
        let update = Update::of(subscription_key(&before.key, &before.socket))
            .when_text("told", &text(&before.progress.told).unwrap_or_default())
            .when_text(
                "examined",
                &text(&before.progress.examined).unwrap_or_default(),
            )
            .set_text("told", text(&after.told).unwrap_or_default())
            .set_text("examined", text(&after.examined).unwrap_or_default());
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_subscription(
        &self,
        key: &ConnectionKey,
        socket: &SocketId,
    ) -> Result<(), StoreError> {
        self.delete(&subscription_key(key, socket)).await
    }
}

fn subscription_key(key: &ConnectionKey, socket: &SocketId) -> Key {
    Key::of_connection(key, "LIVE", socket.as_str())
}

#[derive(Serialize, Deserialize)]
struct Body {
    holder: HolderItem,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Empty for the beginning of the log.
    told: String,
    /// The same.
    examined: String,
    expires_at: i64,
}

fn encode_subscription(subscription: &Subscription) -> Result<Encoded, StoreError> {
    let Subscription {
        filter, progress, ..
    } = subscription;
    let text = |cursor: Option<EventCursor>| cursor.map_or_else(String::new, |c| c.to_string());
    let body = Body {
        holder: HolderItem::of(&subscription.holder),
        types: filter.types.iter().map(ToString::to_string).collect(),
        files: filter.files.iter().map(ToString::to_string).collect(),
        folder: filter.folder.as_ref().map(ToString::to_string),
        actor: filter.actor.clone(),
        told: text(progress.told),
        examined: text(progress.examined),
        expires_at: subscription.expires_at.as_millis(),
    };
    let place = subscription_key(&subscription.key, &subscription.socket);
    let mut item = encode(&place, &body)?;
    item.expire(subscription.expires_at);
    Ok(item)
}

fn decode_subscription(key: &ConnectionKey, item: Item) -> Result<Subscription, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let socket = place.sk.strip_prefix(LIVE).and_then(SocketId::parse);
    let Some(socket) = socket else {
        return Err(place.corrupt("its socket is invalid"));
    };
    let expires_at = at(body.expires_at);
    let holder = body.holder.into_holder();
    let read = || -> Result<(EventFilter, Progress), ItemDefect> {
        let file = |text: &String| FileId::parse(text).map_err(|_| "a file is invalid");
        // A type of a later build is left out: this build reads no event of it.
        let types = body.types.iter();
        let types = types.filter_map(|label| EventType::from_label(label));
        let filter = EventFilter {
            types: types.collect(),
            files: body.files.iter().map(file).collect::<Result<_, _>>()?,
            folder: body.folder.as_ref().map(file).transpose()?,
            actor: body.actor,
        };
        let cursor = |text: &str| match text {
            "" => Ok(None),
            text => EventCursor::parse(text).map(Some),
        };
        let cursors = (cursor(&body.told), cursor(&body.examined));
        let (Ok(told), Ok(examined)) = cursors else {
            return Err("a cursor is invalid");
        };
        Ok((filter, Progress { told, examined }))
    };
    let (filter, progress) = read().map_err(|defect| place.corrupt(defect))?;
    Ok(Subscription {
        key: key.clone(),
        socket,
        holder,
        filter,
        progress,
        expires_at,
    })
}
