//! What is stored of an event log besides its items: whether readers must be told to reload, and
//! when it needs the next item although nothing happens.

use domain::event::{EventLogState, LogEnd, Upkeep, upkeep};
use domain::{ConnectionKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::table::item::{decode, encode};
use crate::table::key::{Index, Item, Key, connection_pk, due_place};
use crate::table::store::{Applied, ROUNDS_MAX, pause};
use crate::table::update::Replaces;
use crate::{Store, StoreError};

/// The sort key.
pub(crate) const EVENT_LOG: &str = "EVENTLOG";

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    #[serde(default)]
    reset_owed: bool,
    due_at: i64,
}

/// The state of an event log, to be replaced on condition of its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLogState {
    /// The state.
    pub state: EventLogState,
    revision: u64,
}

fn place(key: &ConnectionKey) -> Key {
    Key::new(connection_pk(key), EVENT_LOG)
}

fn decode_state(item: Item) -> Result<StoredLogState, StoreError> {
    let (_, body) = decode::<Body>(item)?;
    Ok(StoredLogState {
        state: EventLogState {
            reset_owed: body.reset_owed,
        },
        revision: body.revision,
    })
}

impl Store {
    /// Reads the state of an event log; `None` if the log has not begun.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn event_log_state(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<StoredLogState>, StoreError> {
        let item = self.get(&place(key)).await?;
        item.map(decode_state).transpose()
    }

    /// Saves the state of an event log, which is due at this time, if it still is what was read
    /// (`None`: there was none). Returns whether it was saved.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_event_log_state(
        &self,
        key: &ConnectionKey,
        read: Option<&StoredLogState>,
        state: EventLogState,
        due_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let revision = read.map_or(0, |read| read.revision);
        let body = Body {
            revision: revision + 1,
            reset_owed: state.reset_owed,
            due_at: due_at.as_millis(),
        };
        let place = place(key);
        let mut item = encode(&place, &body)?;
        item.place(Index::Due, due_place(&place, due_at));
        let replaces = match read {
            Some(_) => Replaces::Revision(revision),
            None => Replaces::Nothing,
        };
        match self.put(item, replaces).await? {
            Applied::Done(_) => Ok(true),
            Applied::Refused(_) => Ok(false),
        }
    }

    /// Saves the state of a log that is about to begin, due before this end of it expires. One that
    /// is stored already stays as it is.
    pub(crate) async fn begin_event_log(
        &self,
        key: &ConnectionKey,
        end: &LogEnd,
    ) -> Result<(), StoreError> {
        let calm = EventLogState::default();
        match upkeep(calm, Some(end), self.event_days(), end.at) {
            Upkeep::Wait(due_at) => self
                .save_event_log_state(key, None, calm, due_at)
                .await
                .map(drop),
            Upkeep::Reset | Upkeep::Heartbeat => Ok(()),
        }
    }

    /// Records that events could not be appended: the next sweep tells readers to reload.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn owe_reset(&self, key: &ConnectionKey, now: Timestamp) -> Result<(), StoreError> {
        let owed = EventLogState { reset_owed: true };
        for round in 0..ROUNDS_MAX {
            let read = self.event_log_state(key).await?;
            // Again, if it is owed already: the sweep may have told it before these events.
            if self
                .save_event_log_state(key, read.as_ref(), owed, now)
                .await?
            {
                return Ok(());
            }
            pause(round).await;
        }
        Err(StoreError::busy(
            "concurrent writes of the event log's state",
        ))
    }

    /// Removes the state of an event log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_event_log(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        self.delete(&place(key)).await
    }
}
