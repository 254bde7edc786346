//! The requests of all tenants that wait for an event: one item, which names tenants and nothing of
//! theirs.

use domain::rate_limit::{Wait, Waits};
use domain::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{ATTEMPTS_MAX, Store, StoreError};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    /// Tenant, id and end of each.
    waits: Vec<(String, u64, i64)>,
}

impl Store {
    /// Begins to wait; returns whether there is room.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_wait(
        &self,
        wait: &Wait,
        all_max: usize,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let admitted = self
            .change_waits(|waits| waits.admit(wait.clone(), all_max, now))
            .await?;
        Ok(admitted)
    }

    /// Ends a wait.
    ///
    /// # Errors
    /// [`StoreError`]: it counts until its time is over.
    pub async fn end_wait(&self, id: u64) -> Result<(), StoreError> {
        self.change_waits(|waits| waits.without(id)).await.map(drop)
    }

    /// Replaces the waits, and returns whether there was anything to replace.
    async fn change_waits(
        &self,
        change: impl Fn(&Waits) -> Option<Waits>,
    ) -> Result<bool, StoreError> {
        let store = self.without_riders();
        for _ in 0..ATTEMPTS_MAX {
            let stored = store.get(&Key::waits()).await?;
            let (revision, waits) = stored.map(decode_waits).transpose()?.unwrap_or_default();
            let Some(next) = change(&waits) else {
                return Ok(false);
            };
            let each = |wait: Wait| (wait.tenant.to_string(), wait.id, wait.until.as_millis());
            let body = Body {
                revision: revision + 1,
                waits: next.0.into_iter().map(each).collect(),
            };
            let replaces = match revision {
                0 => Replaces::Nothing,
                revision => Replaces::Revision(revision),
            };
            match store.put(encode(&Key::waits(), &body)?, replaces).await? {
                Applied::Done(_) => return Ok(true),
                Applied::Refused(_) => {}
            }
        }
        Err(StoreError::busy(
            "requests begin and end to wait all the time",
        ))
    }
}

fn decode_waits(item: Item) -> Result<(u64, Waits), StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let each = |(tenant, id, until): (String, u64, i64)| {
        let tenant = TenantId::parse(&tenant);
        let tenant = tenant.map_err(|_| place.clone().corrupt("the id of a tenant is invalid"))?;
        Ok(Wait {
            tenant,
            id,
            until: at(until),
        })
    };
    let waits: Result<Vec<Wait>, StoreError> = body.waits.into_iter().map(each).collect();
    Ok((body.revision, Waits(waits?)))
}
