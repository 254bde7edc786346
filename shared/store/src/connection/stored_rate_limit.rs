//! The rate limit of a connection's calls to Drive, shared by all of its workers: one small item.

use domain::rate_limit::{CircuitBreaker, Pause, RateLimit, TokenBucket, WritesRefused};
use domain::{ConnectionKey, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Nonce, Store, StoreError, Written};

/// A rate limit as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRateLimit {
    /// The revision: the condition of the next write. 0 before it is stored.
    pub revision: u64,
    /// The rate limit.
    pub rate_limit: RateLimit,
}

/// The item expires after this time without a call to Drive, in milliseconds.
const TTL_MILLIS: i64 = 24 * 3_600 * 1_000;

impl Store {
    /// Reads a connection's rate limit consistently; `None` if Drive was not called for it lately.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_rate_limit(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<StoredRateLimit>, StoreError> {
        let item = self.get(&place(key)).await?;
        item.map(decode_rate_limit).transpose()
    }

    /// Replaces a connection's rate limit on condition of the revision that it was computed from
    /// (0: that there is none); `Done` carries the next one. `nonce` is drawn anew for each write:
    /// two workers that lease the same units at the same time write equal rate limits, and only one
    /// of them may have the units.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_rate_limit(
        &self,
        key: &ConnectionKey,
        before: u64,
        limit: &RateLimit,
        nonce: Nonce,
    ) -> Result<Written<StoredRateLimit>, StoreError> {
        let next = StoredRateLimit {
            revision: before + 1,
            rate_limit: *limit,
        };
        let item = encode_rate_limit(key, &next, nonce)?;
        self.put_shared(item, before, next, nonce, decode_rate_limit)
            .await
    }

    /// Replaces an item that workers share by `next`, on condition of the revision that it was
    /// computed from (0: that there is none).
    pub(crate) async fn put_shared<T>(
        &self,
        item: Encoded,
        before: u64,
        next: T,
        nonce: Nonce,
        decode: impl Fn(Item) -> Result<T, StoreError>,
    ) -> Result<Written<T>, StoreError> {
        let replaces = match before {
            0 => Replaces::Nothing,
            before => Replaces::Revision(before),
        };
        let current = match self.put(item, replaces).await? {
            Applied::Done(_) => return Ok(Written::Done(next)),
            Applied::Refused(current) => current,
        };
        let Some(item) = current else {
            return Ok(Written::Stale(None));
        };
        // Our own write, whose response was lost before the SDK retried.
        let ours = has_nonce(&item, nonce);
        let current = decode(item)?;
        Ok(if ours {
            Written::Done(current)
        } else {
            Written::Stale(Some(current))
        })
    }
}

fn place(key: &ConnectionKey) -> Key {
    Key::rate_limit(key)
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes_breaker: Option<BreakerItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes_refused: Option<WritesRefusedItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uploads: Option<PauseItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharing: Option<PauseItem>,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
struct WritesRefusedItem {
    since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    subject: u32,
}

#[derive(Serialize, Deserialize)]
struct PauseItem {
    until: i64,
    times: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct BucketItem {
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

impl From<TokenBucket> for BucketItem {
    fn from(bucket: TokenBucket) -> Self {
        Self {
            level_micros: bucket.level_micros,
            at: bucket.at.as_millis(),
        }
    }
}

impl From<BucketItem> for TokenBucket {
    fn from(item: BucketItem) -> Self {
        Self {
            level_micros: item.level_micros,
            at: at(item.at),
        }
    }
}

impl From<CircuitBreaker> for BreakerItem {
    fn from(breaker: CircuitBreaker) -> Self {
        match breaker {
            CircuitBreaker::Closed { failures } => Self::Closed { failures },
            CircuitBreaker::Open { until } => Self::Open {
                until: until.as_millis(),
            },
            CircuitBreaker::HalfOpen { until } => Self::HalfOpen {
                until: until.as_millis(),
            },
        }
    }
}

impl From<BreakerItem> for CircuitBreaker {
    fn from(item: BreakerItem) -> Self {
        match item {
            BreakerItem::Closed { failures } => Self::Closed { failures },
            BreakerItem::Open { until } => Self::Open { until: at(until) },
            BreakerItem::HalfOpen { until } => Self::HalfOpen { until: at(until) },
        }
    }
}

impl From<WritesRefused> for WritesRefusedItem {
    fn from(refused: WritesRefused) -> Self {
        Self {
            since: refused.since.as_millis(),
            status: refused.status,
            subject: refused.subject,
        }
    }
}

impl From<WritesRefusedItem> for WritesRefused {
    fn from(item: WritesRefusedItem) -> Self {
        Self {
            since: at(item.since),
            status: item.status,
            subject: item.subject,
        }
    }
}

impl PauseItem {
    fn of(pause: Pause) -> Option<Self> {
        (pause != Pause::default()).then(|| Self {
            until: pause.until.as_millis(),
            times: pause.times,
        })
    }

    fn into_pause(item: Option<Self>) -> Pause {
        item.map_or_else(Pause::default, |item| Pause {
            until: at(item.until),
            times: item.times,
        })
    }
}

pub(crate) fn nonce_text(nonce: Nonce) -> String {
    format!("{:016x}", nonce.0)
}

fn has_nonce(item: &Item, nonce: Nonce) -> bool {
    let stored = item.get("nonce").and_then(|value| value.as_s().ok());
    stored.is_some_and(|stored| *stored == nonce_text(nonce))
}

pub(crate) fn encode_rate_limit(
    key: &ConnectionKey,
    stored: &StoredRateLimit,
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let limit = stored.rate_limit;
    let touched: Timestamp = limit
        .quota
        .at
        .max(limit.blocked_until)
        .max(limit.decreased_at)
        .max(limit.uploads.until)
        .max(limit.sharing.until);
    let writes_breaker = limit.writes_breaker;
    let body = Body {
        revision: stored.revision,
        nonce: nonce_text(nonce),
        quota: limit.quota.into(),
        writes: limit.writes.into(),
        writes_per_minute: limit.writes_per_minute,
        grown_at: limit.increased_at.as_millis(),
        slowed_at: limit.decreased_at.as_millis(),
        held_until: limit.blocked_until.as_millis(),
        breaker: limit.breaker.into(),
        writes_breaker: (writes_breaker != CircuitBreaker::CLOSED).then(|| writes_breaker.into()),
        writes_refused: limit.writes_refused.map(Into::into),
        uploads: PauseItem::of(limit.uploads),
        sharing: PauseItem::of(limit.sharing),
        expires: touched.plus_millis(TTL_MILLIS).as_seconds(),
    };
    encode(&place(key), &body)
}

pub(crate) fn decode_rate_limit(item: Item) -> Result<StoredRateLimit, StoreError> {
    let (_, body) = decode::<Body>(item)?;
    Ok(StoredRateLimit {
        revision: body.revision,
        rate_limit: RateLimit {
            quota: body.quota.into(),
            writes: body.writes.into(),
            writes_per_minute: body.writes_per_minute,
            increased_at: at(body.grown_at),
            decreased_at: at(body.slowed_at),
            blocked_until: at(body.held_until),
            breaker: body.breaker.into(),
            writes_breaker: body
                .writes_breaker
                .map_or(CircuitBreaker::CLOSED, Into::into),
            writes_refused: body.writes_refused.map(Into::into),
            uploads: PauseItem::into_pause(body.uploads),
            sharing: PauseItem::into_pause(body.sharing),
        },
    })
}
