//! Notification channels: found by their id alone, since that is all that a notification brings.

use domain::{ChannelId, ConnectionKey, LogId, Timestamp};

use crate::{Created, Store, StoreError, Updated};

/// A push-notification channel on a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id: ours, unguessable.
    pub id: ChannelId,
    /// The connection.
    pub key: ConnectionKey,
    /// The log that it watches.
    pub log: LogId,
    /// SHA-256 of the token that every notification must bring.
    pub token_hash: [u8; 32],
    /// Drive's id of the watched resource; `None` until `watch` was answered.
    pub resource_id: Option<String>,
    /// Whether it is in use.
    pub state: ChannelState,
    /// When Drive lets it lapse.
    pub expires_at: Timestamp,
    /// When the sweep must look at it: to renew it, or to stop it.
    pub due_at: Timestamp,
}

/// Whether a channel is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// Asked for; `watch` was not answered yet. Notifications count already.
    Pending,
    /// In use.
    Active,
    /// Another has taken its place; to be stopped.
    Replaced,
}

/// Without the token's hash.
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
    /// Makes a channel; before Drive is asked for it, so that no notification comes unknown.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_channel(&self, channel: &Channel) -> Result<Created<Channel>, StoreError> {
        let _ = channel;
        Ok(Created::Created)
    }

    /// One channel, read consistently. Its tenant is in the value: whoever asks has only the id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_channel(&self, id: &ChannelId) -> Result<Option<Channel>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// Records Drive's answer to `watch`. `Absent` where the channel is gone or was replaced meanwhile.
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
        let _ = (id, resource_id, expires_at, due_at);
        Ok(Updated::Absent)
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
        let _ = (id, due_at);
        Ok(Updated::Absent)
    }

    /// Sets when the sweep must look at the channel again, whatever its state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_channel(
        &self,
        id: &ChannelId,
        due_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let _ = (id, due_at);
        Ok(Updated::Absent)
    }

    /// Forgets a channel.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_channel(&self, id: &ChannelId) -> Result<(), StoreError> {
        let _ = id;
        Ok(())
    }
}
