//! When the dead letters of a connection are sent again by themselves: one item a connection.

use domain::{ConnectionKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{decode, encode};
use crate::table::key::{Index, Key, due_place};
use crate::table::update::Replaces;
use crate::{Store, StoreError};

/// The next time at which the dead letters of a connection are looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveSchedule {
    /// The time.
    pub at: Timestamp,
    /// Send all that were set aside for a reason that can pass, whatever their own times: the
    /// connection works again.
    pub all: bool,
    /// The cursor of the next page, if the last look ended before all letters were seen.
    pub cursor: Option<String>,
    /// The earliest time of a letter that was seen so far and is not due.
    pub next_at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    at: i64,
    #[serde(default)]
    all: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_at: Option<i64>,
}

pub(crate) const REDRIVE: &str = "REDRIVE";

fn place(key: &ConnectionKey) -> Key {
    Key::of_connection(key, REDRIVE, "letters")
}

impl RedriveSchedule {
    /// A first look at this time.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self {
            at,
            all: false,
            cursor: None,
            next_at: None,
        }
    }
}

impl Store {
    /// Reads when the dead letters of a connection are sent again; `None` if none waits for that.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_redrive_schedule(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<RedriveSchedule>, StoreError> {
        let Some(item) = self.get(&place(key)).await? else {
            return Ok(None);
        };
        let (_, body) = decode::<Body>(item)?;
        Ok(Some(RedriveSchedule {
            at: at(body.at),
            all: body.all,
            cursor: body.cursor,
            next_at: body.next_at.map(at),
        }))
    }

    /// Saves when the dead letters of a connection are sent again; `None` removes it. Of two
    /// concurrent writes the last one stands: the look itself decides about each letter.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_redrive_schedule(
        &self,
        key: &ConnectionKey,
        schedule: Option<&RedriveSchedule>,
    ) -> Result<(), StoreError> {
        let place = place(key);
        let Some(schedule) = schedule else {
            return self.delete(&place).await;
        };
        let body = Body {
            at: schedule.at.as_millis(),
            all: schedule.all,
            cursor: schedule.cursor.clone(),
            next_at: schedule.next_at.map(Timestamp::as_millis),
        };
        let mut item = encode(&place, &body)?;
        item.place(Index::Due, due_place(&place, schedule.at));
        self.put(item, Replaces::Whatever).await.map(drop)
    }

    /// Sends all dead letters of a connection that were set aside for a reason that can pass again
    /// at the next sweep.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn hasten_redrive(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let all = RedriveSchedule {
            all: true,
            ..RedriveSchedule::at(now)
        };
        self.save_redrive_schedule(key, Some(&all)).await
    }
}
