//! How fast a connection may call Drive, shared by all of its workers: one small item.

use domain::pace::{Breaker, Bucket, Pace};
use domain::{ConnectionKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::item::{decode, encode};
use crate::key::{Item, Key};
use crate::store::Applied;
use crate::update::Replaces;
use crate::value_item::at;
use crate::{Nonce, Store, StoreError, Written};

/// A pace as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paced {
    /// The condition of the next write; 0 has never been stored.
    pub revision: u64,
    /// The pace.
    pub pace: Pace,
}

/// Nobody has called Drive for this connection in so long: the item goes by itself, in milliseconds.
const KEPT_MILLIS: i64 = 24 * 3_600 * 1_000;

impl Store {
    /// A connection's pace, read consistently; `None` where nobody has called Drive for it lately.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_pace(&self, key: &ConnectionKey) -> Result<Option<Paced>, StoreError> {
        let item = self.get(&place(key)).await?;
        item.map(decode_pace).transpose()
    }

    /// Replaces a connection's pace on condition of the revision that it was worked out from (0: that there is
    /// none); `Done` has the next one. `nonce` is drawn anew for each write: two workers that take the same at the
    /// same moment write the same pace, and only one of them may have it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_pace(
        &self,
        key: &ConnectionKey,
        before: u64,
        pace: &Pace,
        nonce: Nonce,
    ) -> Result<Written<Paced>, StoreError> {
        let next = Paced {
            revision: before + 1,
            pace: *pace,
        };
        let replaces = match before {
            0 => Replaces::Nothing,
            before => Replaces::Revision(before),
        };
        let item = encode_pace(key, &next, nonce)?;
        let current = match self.put(item, replaces).await? {
            Applied::Done(_) => return Ok(Written::Done(next)),
            Applied::Refused(current) => current,
        };
        let Some(item) = current else {
            return Ok(Written::Stale(None));
        };
        // Our own write, whose answer was lost before the SDK tried again.
        let ours = written_by(&item, nonce);
        let current = decode_pace(item)?;
        Ok(if ours {
            Written::Done(current)
        } else {
            Written::Stale(Some(current))
        })
    }
}

fn place(key: &ConnectionKey) -> Key {
    Key::pace(key)
}

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    nonce: String,
    quota: BucketItem,
    writes: BucketItem,
    writes_per_minute: u32,
    grown_at: i64,
    slowed_at: i64,
    held_until: i64,
    breaker: BreakerItem,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
struct BucketItem {
    level_micros: i64,
    at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BreakerItem {
    Closed { failures: u32 },
    Open { until: i64 },
    HalfOpen { until: i64 },
}

impl From<Bucket> for BucketItem {
    fn from(bucket: Bucket) -> Self {
        Self {
            level_micros: bucket.level_micros,
            at: bucket.at.as_millis(),
        }
    }
}

impl From<BucketItem> for Bucket {
    fn from(item: BucketItem) -> Self {
        Self {
            level_micros: item.level_micros,
            at: at(item.at),
        }
    }
}

impl From<Breaker> for BreakerItem {
    fn from(breaker: Breaker) -> Self {
        match breaker {
            Breaker::Closed { failures } => Self::Closed { failures },
            Breaker::Open { until } => Self::Open {
                until: until.as_millis(),
            },
            Breaker::HalfOpen { until } => Self::HalfOpen {
                until: until.as_millis(),
            },
        }
    }
}

impl From<BreakerItem> for Breaker {
    fn from(item: BreakerItem) -> Self {
        match item {
            BreakerItem::Closed { failures } => Self::Closed { failures },
            BreakerItem::Open { until } => Self::Open { until: at(until) },
            BreakerItem::HalfOpen { until } => Self::HalfOpen { until: at(until) },
        }
    }
}

fn nonce_text(nonce: Nonce) -> String {
    format!("{:016x}", nonce.0)
}

fn written_by(item: &Item, nonce: Nonce) -> bool {
    let written = item.get("nonce").and_then(|value| value.as_s().ok());
    written.is_some_and(|written| *written == nonce_text(nonce))
}

fn encode_pace(key: &ConnectionKey, paced: &Paced, nonce: Nonce) -> Result<Item, StoreError> {
    let pace = paced.pace;
    let touched: Timestamp = pace.quota.at.max(pace.held_until).max(pace.slowed_at);
    let body = Body {
        revision: paced.revision,
        nonce: nonce_text(nonce),
        quota: pace.quota.into(),
        writes: pace.writes.into(),
        writes_per_minute: pace.writes_per_minute,
        grown_at: pace.grown_at.as_millis(),
        slowed_at: pace.slowed_at.as_millis(),
        held_until: pace.held_until.as_millis(),
        breaker: pace.breaker.into(),
        expires: touched.plus_millis(KEPT_MILLIS).as_seconds(),
    };
    encode(&place(key), &body)
}

fn decode_pace(item: Item) -> Result<Paced, StoreError> {
    let (_, body) = decode::<Body>(item)?;
    Ok(Paced {
        revision: body.revision,
        pace: Pace {
            quota: body.quota.into(),
            writes: body.writes.into(),
            writes_per_minute: body.writes_per_minute,
            grown_at: at(body.grown_at),
            slowed_at: at(body.slowed_at),
            held_until: at(body.held_until),
            breaker: body.breaker.into(),
        },
    })
}
