//! Notification channels. They are found by their id alone, since a notification carries nothing
//! else.

use domain::{ChannelId, ConnectionId, ConnectionKey, LogId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Checksum, Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{Created, Store, StoreError, Updated};

/// A push-notification channel on a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id: drawn by drivesync, unguessable.
    pub id: ChannelId,
    /// The connection that it belongs to.
    pub key: ConnectionKey,
    /// The log that it watches.
    pub log: LogId,
    /// SHA-256 of the token that every notification must carry.
    pub token_hash: [u8; 32],
    /// Drive's id of the watched resource; `None` until `watch` has been answered.
    pub resource_id: Option<String>,
    /// The stage of its life.
    pub state: ChannelState,
    /// The time at which Drive lets it expire.
    pub expires_at: Timestamp,
    /// The time at which the sweep renews or stops it.
    pub due_at: Timestamp,
}

/// The stage of a channel's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// Requested; `watch` has not been answered yet. Its notifications are accepted already.
    Pending,
    /// In use.
    Active,
    /// Replaced by another channel; to be stopped.
    Replaced,
}

/// Leaves out the token's hash.
impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("log", &self.log)
            .field("resource_id", &self.resource_id)
            .field("state", &self.state)
            .field("expires_at", &self.expires_at)
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Creates a channel. This happens before the `watch` request, so that no notification of it is
    /// unknown.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_channel(&self, channel: &Channel) -> Result<Created<Channel>, StoreError> {
        match self
            .put(encode_channel(channel)?, Replaces::Nothing)
            .await?
        {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let current = decode_channel(item)?;
                Ok(if current == *channel {
                    Created::Created
                } else {
                    Created::Exists(current)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("the existing item was not returned")),
        }
    }

    /// Reads one channel consistently. Its tenant is part of the value, because the caller knows
    /// only the id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_channel(&self, id: &ChannelId) -> Result<Option<Channel>, StoreError> {
        let item = self.get(&Key::channel(id)).await?;
        item.map(decode_channel).transpose()
    }

    /// Records Drive's response to `watch`. `Absent` if the channel is gone or was replaced
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn activate_channel(
        &self,
        id: &ChannelId,
        resource_id: &str,
        expires_at: Timestamp,
        due_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::channel(id))
            .unless_text("state", ChannelState::Replaced.text())
            .set_text("state", ChannelState::Active.text())
            .set_text("resource_id", resource_id)
            .set_number("expires_at", expires_at.as_millis())
            .set_number("expires", expires(expires_at))
            .set_number("due_at", due_at.as_millis())
            .due(Some(due_at));
        self.update_channel(update).await
    }

    /// Marks a channel as replaced, to be stopped at `due_at`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_channel(
        &self,
        id: &ChannelId,
        due_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::channel(id))
            .set_text("state", ChannelState::Replaced.text())
            .set_number("due_at", due_at.as_millis())
            .due(Some(due_at));
        self.update_channel(update).await
    }

    /// Sets the time at which the sweep processes the channel again, in any state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_channel(
        &self,
        id: &ChannelId,
        due_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::channel(id))
            .set_number("due_at", due_at.as_millis())
            .due(Some(due_at));
        self.update_channel(update).await
    }

    async fn update_channel(&self, update: Update) -> Result<Updated, StoreError> {
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Deletes a channel.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_channel(&self, id: &ChannelId) -> Result<(), StoreError> {
        self.delete(&Key::channel(id)).await
    }
}

/// A channel's item outlives the channel by a day, for late notifications.
const TTL_AFTER_EXPIRY_MILLIS: i64 = 24 * 3_600 * 1_000;

/// The item's time to live, in seconds.
fn expires(expires_at: Timestamp) -> i64 {
    expires_at.plus_millis(TTL_AFTER_EXPIRY_MILLIS).as_seconds()
}

impl ChannelState {
    fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Replaced => "replaced",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Active, Self::Replaced];
        all.into_iter().find(|state| state.text() == text)
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    connection: String,
    log: String,
    token_hash: Checksum,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    state: String,
    expires_at: i64,
    due_at: i64,
    expires: i64,
}

pub(crate) fn encode_channel(channel: &Channel) -> Result<Encoded, StoreError> {
    let body = Body {
        tenant: channel.key.tenant.as_str().to_owned(),
        connection: channel.key.connection.as_str().to_owned(),
        log: channel.log.as_str().to_owned(),
        token_hash: Checksum::Bytes(channel.token_hash.to_vec()),
        resource_id: channel.resource_id.clone(),
        state: channel.state.text().to_owned(),
        expires_at: channel.expires_at.as_millis(),
        due_at: channel.due_at.as_millis(),
        expires: expires(channel.expires_at),
    };
    let place = Key::channel(&channel.id);
    let mut item = encode(&place, &body)?;
    item.place(Index::Due, due_place(&place, channel.due_at));
    Ok(item)
}

pub(crate) fn decode_channel(item: Item) -> Result<Channel, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let hash = match body.token_hash {
        Checksum::Bytes(bytes) => <[u8; 32]>::try_from(bytes).ok(),
        Checksum::Text(_) => None,
    };
    let parts = (
        place
            .pk
            .strip_prefix("CHANNEL#")
            .and_then(|id| ChannelId::parse(id).ok()),
        TenantId::parse(&body.tenant).ok(),
        ConnectionId::parse(&body.connection).ok(),
        LogId::parse(&body.log).ok(),
        ChannelState::parse(&body.state),
        hash,
    );
    let (Some(id), Some(tenant), Some(connection), Some(log), Some(state), Some(token_hash)) =
        parts
    else {
        return Err(place.corrupt("an id, its state or its token hash is invalid"));
    };
    Ok(Channel {
        id,
        key: ConnectionKey { tenant, connection },
        log,
        token_hash,
        resource_id: body.resource_id,
        state,
        expires_at: at(body.expires_at),
        due_at: at(body.due_at),
    })
}
