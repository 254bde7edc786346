//! Everything that is due at a time, in one sparse index with a fixed number of shards.

use domain::content::ContentHash;
use domain::{
    ChannelId, ConflictId, ConnectionId, ConnectionKey, EndpointId, FileId, LogId, OperationId,
    TenantId, Timestamp,
};

use crate::dead_letter::redrive_schedule::REDRIVE;
use crate::event::log_state::EVENT_LOG;
use crate::file::conflict_item::id_of;
use crate::log::stray_channels::STRAY;
use crate::table::key::{CONTENT, HEAD, Index, Item, Key, META, OBJECT, due_pk, millis_13};
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::Update;
use crate::trail::export_item::EXPORT;
use crate::{Store, StoreError};

/// The number of shards of the index `due`; they are `0..DUE_SHARDS`.
pub const DUE_SHARDS: u8 = 16;

/// Something that is due. The index lags: load it consistently before acting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueItem {
    /// A file with something to push, and the time at which it is due.
    File(ConnectionKey, FileId, Timestamp),
    /// A file whose content is to be processed.
    Content(ConnectionKey, FileId),
    /// An object without references, to be garbage collected.
    Object(TenantId, ContentHash),
    /// A log to poll.
    Log(ConnectionKey, LogId),
    /// A channel to renew or stop.
    Channel(ChannelId),
    /// A channel that no item names, to be stopped.
    StrayChannel(ChannelId),
    /// An operation to continue.
    Operation(ConnectionKey, OperationId),
    /// Acts of a tenant to be exported.
    Acts(TenantId),
    /// Dead letters to be sent again.
    DeadLetters(ConnectionKey),
    /// An event log that needs an item although nothing happens.
    EventLog(ConnectionKey),
    /// A webhook endpoint to be looked at, or delivered to again.
    Webhook(TenantId, EndpointId),
    /// A conflict whose resolver is to be asked.
    Conflict(ConnectionKey, ConflictId),
    /// An item of a kind that this build does not know: newer code wrote it.
    Unknown {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
    },
}

/// One page of the due items of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The items, earliest first.
    pub items: Vec<DueItem>,
    /// The position after which the next page starts; `None` at the end.
    pub next: Option<String>,
}

impl Store {
    /// Lists up to `limit` items of one shard that are due at `now`, earliest first, starting after
    /// the position that the previous page returned.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due(
        &self,
        shard: u8,
        now: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Due, StoreError> {
        let mut due = Range::until(Index::Due, due_pk(shard), "", &millis_13(now));
        if let Some(after) = after {
            due = due.after(after)?;
        }
        let slice = self.slice(&due, limit).await?;
        let last = slice.items.last().and_then(|item| item.get("due_sk"));
        let next = last.and_then(|sort_key| sort_key.as_s().ok()).cloned();
        let item = |item: &Item| Key::of(item).map(|key| due_item(key, due_at(item)));
        Ok(Due {
            items: slice.items.iter().map(item).collect::<Result<_, _>>()?,
            next: next.filter(|_| slice.more),
        })
    }
}

impl Store {
    /// Removes a file of a connection that was deleted from the index of due items: nothing is
    /// pushed for it any more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn remove_due_place(
        &self,
        key: &ConnectionKey,
        file: &FileId,
    ) -> Result<(), StoreError> {
        let update = Update::of(Key::head(key, file)).due(None);
        match self.update(update).await? {
            Applied::Done(_) | Applied::Refused(_) => Ok(()),
        }
    }
}

/// Returns the time at the start of an item's place in the index.
fn due_at(item: &Item) -> Timestamp {
    let place = item
        .get(Index::Due.sk())
        .and_then(|place| place.as_s().ok());
    let time = place.and_then(|place| place.split('#').next());
    Timestamp::from_millis(time.and_then(|time| time.parse().ok()).unwrap_or_default())
}

/// Determines the kind of an item from its key alone.
fn due_item(key: Key, at: Timestamp) -> DueItem {
    known(&key, at).unwrap_or(DueItem::Unknown {
        pk: key.pk,
        sk: key.sk,
    })
}

fn known(key: &Key, at: Timestamp) -> Option<DueItem> {
    let pk: Vec<&str> = key.pk.split('#').collect();
    let sk: Vec<&str> = key.sk.split('#').collect();
    let connection = |tenant: &str, connection: &str| {
        Some(ConnectionKey {
            tenant: TenantId::parse(tenant).ok()?,
            connection: ConnectionId::parse(connection).ok()?,
        })
    };
    match (pk.as_slice(), sk.as_slice()) {
        (["T", t, "F", c, file], [HEAD]) => Some(DueItem::File(
            connection(t, c)?,
            FileId::parse(file).ok()?,
            at,
        )),
        (["T", t, "F", c, file], [CONTENT]) => Some(DueItem::Content(
            connection(t, c)?,
            FileId::parse(file).ok()?,
        )),
        (["T", t, "F", c, _], ["CONFLICT", ..]) => {
            let connection = connection(t, c)?;
            let id = id_of(&connection, key).ok()?;
            Some(DueItem::Conflict(connection, id))
        }
        (["T", t, "O", hash], [OBJECT]) => {
            let hash = ContentHash::parse(hash).ok()?;
            Some(DueItem::Object(TenantId::parse(t).ok()?, hash))
        }
        (["T", t, "C", c], ["LOG", log]) => {
            Some(DueItem::Log(connection(t, c)?, LogId::parse(log).ok()?))
        }
        (["T", t, "C", c], ["OP", id]) => {
            let id = OperationId::parse(id).ok()?;
            Some(DueItem::Operation(connection(t, c)?, id))
        }
        (["T", t, "C", c], [REDRIVE, _]) => Some(DueItem::DeadLetters(connection(t, c)?)),
        (["T", t, "C", c], [EVENT_LOG]) => Some(DueItem::EventLog(connection(t, c)?)),
        (["T", t, "HOOKS"], ["HOOK", id]) => {
            let id = EndpointId::parse(id).ok()?;
            Some(DueItem::Webhook(TenantId::parse(t).ok()?, id))
        }
        (["T", t, "TRAIL"], [EXPORT]) => TenantId::parse(t).ok().map(DueItem::Acts),
        (["CHANNEL", id], [META]) => ChannelId::parse(id).ok().map(DueItem::Channel),
        (["CHANNEL", id], [STRAY]) => ChannelId::parse(id).ok().map(DueItem::StrayChannel),
        _ => None,
    }
}
