//! How far the acts of a tenant have been exported, day by day.

use domain::content::ContentHash;
use domain::{DAY_MILLIS, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Store, StoreError, Written};

/// The delay after the end of a day, in milliseconds: an act that was begun within the day is
/// stored by then.
const SETTLED_MILLIS: i64 = 10 * 60_000;
/// The sort key of the item.
pub(crate) const EXPORT: &str = "EXPORT";

/// The next file of a tenant's exported acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportState {
    /// The tenant.
    pub tenant: TenantId,
    /// The revision: the condition of the next write.
    pub revision: u64,
    /// The first day that is exported, counted from 1970-01-01: no act is earlier.
    pub first_day: i64,
    /// The day, counted from 1970-01-01.
    pub day: i64,
    /// The number of the file within the day, from 1.
    pub file: u32,
    /// The position in the list of acts where the file continues; `None` at the day's beginning.
    pub cursor: Option<String>,
    /// The name and the hash of the file before; `None` for the first one.
    pub previous: Option<(String, ContentHash)>,
    /// The time at which the file can be made.
    pub due_at: Timestamp,
}

impl ExportState {
    /// Returns the state of a tenant whose first act is about this time: the clocks of its writers
    /// may differ.
    #[must_use]
    pub fn first(tenant: &TenantId, at: Timestamp) -> Self {
        let day = (at.as_millis() - SETTLED_MILLIS).div_euclid(DAY_MILLIS);
        Self {
            tenant: tenant.clone(),
            revision: 1,
            first_day: day,
            day,
            file: 1,
            cursor: None,
            previous: None,
            due_at: end_of(day),
        }
    }

    /// Returns the time before which there is no act.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        Timestamp::from_millis(self.first_day * DAY_MILLIS)
    }

    /// Returns the first and the last millisecond of the day.
    #[must_use]
    pub fn bounds(&self) -> (Timestamp, Timestamp) {
        let from = Timestamp::from_millis(self.day * DAY_MILLIS);
        (from, from.plus_millis(DAY_MILLIS - 1))
    }

    /// Returns the state after this file with this name and hash, which continues at `cursor` if
    /// the day has more acts.
    #[must_use]
    pub fn after(&self, name: String, hash: ContentHash, cursor: Option<String>) -> Self {
        let (day, file) = match cursor {
            Some(_) => (self.day, self.file + 1),
            None => (self.day + 1, 1),
        };
        Self {
            day,
            file,
            cursor,
            previous: Some((name, hash)),
            due_at: end_of(day),
            ..self.clone()
        }
    }

    /// Returns the state after a day without acts.
    #[must_use]
    pub fn without_file(&self) -> Self {
        Self {
            day: self.day + 1,
            file: 1,
            cursor: None,
            due_at: end_of(self.day + 1),
            ..self.clone()
        }
    }

    /// Returns the day as `2026-11-30`.
    #[must_use]
    pub fn day(&self) -> String {
        let (from, _) = self.bounds();
        from.to_string().chars().take(10).collect()
    }

    /// Returns the state of a deployment that exports nothing: it is looked at again in a day.
    #[must_use]
    pub fn postponed(&self, now: Timestamp) -> Self {
        Self {
            due_at: now.plus_millis(DAY_MILLIS),
            ..self.clone()
        }
    }
}

fn end_of(day: i64) -> Timestamp {
    Timestamp::from_millis((day + 1) * DAY_MILLIS + SETTLED_MILLIS)
}

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    first_day: i64,
    day: i64,
    file: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_hash: Option<String>,
    due_at: i64,
}

fn place(tenant: &TenantId) -> Key {
    Key::new(format!("T#{tenant}#TRAIL"), EXPORT)
}

pub(crate) fn encode_export(state: &ExportState) -> Result<Encoded, StoreError> {
    let body = Body {
        revision: state.revision,
        first_day: state.first_day,
        day: state.day,
        file: state.file,
        cursor: state.cursor.clone(),
        previous_name: state.previous.as_ref().map(|(name, _)| name.clone()),
        previous_hash: state.previous.as_ref().map(|(_, hash)| hash.to_string()),
        due_at: state.due_at.as_millis(),
    };
    let key = place(&state.tenant);
    let mut item = encode(&key, &body)?;
    item.place(Index::Due, due_place(&key, state.due_at));
    Ok(item)
}

pub(crate) fn decode_export(tenant: &TenantId, item: Item) -> Result<ExportState, StoreError> {
    let (key, body) = decode::<Body>(item)?;
    let previous = match (body.previous_name, body.previous_hash) {
        (Some(name), Some(hash)) => {
            let hash = ContentHash::parse(&hash);
            Some((name, hash.map_err(|_| key.corrupt("its hash is invalid"))?))
        }
        (Some(_) | None, Some(_) | None) => None,
    };
    Ok(ExportState {
        tenant: tenant.clone(),
        revision: body.revision,
        first_day: body.first_day,
        day: body.day,
        file: body.file,
        cursor: body.cursor,
        previous,
        due_at: at(body.due_at),
    })
}

impl Store {
    /// Begins the exports of a tenant, unless they have begun.
    pub(crate) async fn begin_exports(&self, first: &ExportState) -> Result<(), StoreError> {
        let item = encode_export(first)?;
        self.put(item, Replaces::Nothing).await.map(drop)
    }

    /// Reads how far the acts of a tenant are exported; `None` if it has none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_export(&self, tenant: &TenantId) -> Result<Option<ExportState>, StoreError> {
        let item = self.get(&place(tenant)).await?;
        item.map(|item| decode_export(tenant, item)).transpose()
    }

    /// Saves the next state on condition of its `revision`; `Done` carries the next one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_export(
        &self,
        state: &ExportState,
    ) -> Result<Written<ExportState>, StoreError> {
        let next = ExportState {
            revision: state.revision + 1,
            ..state.clone()
        };
        let replaces = Replaces::Revision(state.revision);
        Ok(match self.put(encode_export(&next)?, replaces).await? {
            Applied::Done(_) => Written::Done(next),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_export(&state.tenant, item));
                match current.transpose()? {
                    // Our own write, whose response was lost.
                    Some(current) if current == next => Written::Done(next),
                    current => Written::Stale(current),
                }
            }
        })
    }
}
