//! The limits of a connection, as set by its owner.

use crate::rate_limit::{BucketSize, Cost, WriteKind};

/// The way in which Google counts a project's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaModel {
    /// By cost: 325,000 units per minute for each user of a project (Drive guide "Usage limits",
    /// projects created since May 2026).
    Units,
    /// By number: 12,000 queries in 60 seconds for each user (older projects).
    Queries,
}

/// The kind of a call with regard to Google's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Reads one resource: 5 units.
    Read,
    /// Reads a page of a list: 100 units.
    List,
    /// Writes: 50 units.
    Edit,
    /// Begins an upload: 50 units.
    Upload,
    /// Writes a permission: 50 units.
    Share,
    /// Downloads content: 200 units.
    Download,
    /// Any other call: 5 units.
    Other,
}

/// The highest cost of one call, in units. A smaller bucket would never admit it.
const DEAREST: u32 = 200;

impl CallKind {
    /// Returns the kind of the write, if the call writes.
    #[must_use]
    pub const fn write(self) -> Option<WriteKind> {
        match self {
            Self::Edit => Some(WriteKind::Edit),
            Self::Upload => Some(WriteKind::Upload),
            Self::Share => Some(WriteKind::Share),
            Self::Read | Self::List | Self::Download | Self::Other => None,
        }
    }

    /// Returns the cost of `count` calls of this kind.
    #[must_use]
    pub fn cost(self, count: u32, model: QuotaModel) -> Cost {
        let (units, writes) = match self {
            Self::Read | Self::Other => (5, 0),
            Self::List => (100, 0),
            Self::Edit | Self::Upload | Self::Share => (50, count),
            Self::Download => (DEAREST, 0),
        };
        let each = match model {
            QuotaModel::Units => units,
            QuotaModel::Queries => 1,
        };
        Cost {
            quota: count.saturating_mul(each),
            writes,
        }
    }
}

/// The limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The quota model.
    pub model: QuotaModel,
    /// The connection's share of the quota, in units or queries per minute. No minute exceeds it.
    pub quota_per_minute: u32,
    /// The initial rate of writes per minute, and the longest burst after an idle time.
    pub writes_base_per_minute: u32,
    /// The lowest rate of writes, per minute, however many calls are rate-limited.
    pub writes_min_per_minute: u32,
    /// The highest rate of writes, per minute, however many succeed.
    pub writes_max_per_minute: u32,
    /// The number of consecutive failures that open the circuit breaker.
    pub breaker_failures: u32,
    /// The time for which the circuit breaker stays open, in milliseconds.
    pub breaker_open_millis: u32,
}

impl Limits {
    /// The quota of a user of a project that counts units.
    pub const UNITS_PER_MINUTE: u32 = 325_000;
    /// The quota of a user of a project that counts queries.
    pub const QUERIES_PER_MINUTE: u32 = 12_000;

    /// The most consecutive failures that a circuit breaker may wait for.
    pub const BREAKER_FAILURES_MAX: u32 = 100;

    /// Returns the default limits: the whole quota of one user, and 100 writes per minute, within
    /// 10 and 1,000.
    #[must_use]
    pub const fn of(model: QuotaModel) -> Self {
        Self {
            model,
            quota_per_minute: match model {
                QuotaModel::Units => Self::UNITS_PER_MINUTE,
                QuotaModel::Queries => Self::QUERIES_PER_MINUTE,
            },
            writes_base_per_minute: 100,
            writes_min_per_minute: 10,
            writes_max_per_minute: 1_000,
            breaker_failures: 5,
            breaker_open_millis: 60_000,
        }
    }

    /// Returns the size of the quota's bucket. Its capacity is an eighth of the quota and its rate
    /// seven tenths, so a minute sees at most the capacity, the inflow of that minute, and the
    /// inflow of the ten seconds before it, leased then and used now
    /// ([`crate::rate_limit::LEASE_MILLIS`]). That is 94 % of the quota.
    #[must_use]
    pub fn quota_size(&self) -> BucketSize {
        let dearest = match self.model {
            QuotaModel::Units => DEAREST,
            QuotaModel::Queries => 1,
        };
        let share = u64::from(self.quota_per_minute).saturating_mul(7) / 10;
        BucketSize {
            capacity: (self.quota_per_minute / 8).max(dearest),
            per_minute: u32::try_from(share).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Returns the size of the bucket of writes at a given rate. After an idle time, the base rate
    /// of one minute may be sent as a burst.
    #[must_use]
    pub fn writes_size(&self, per_minute: u32) -> BucketSize {
        BucketSize {
            capacity: self.writes_base_per_minute.max(1),
            per_minute: per_minute.max(1),
        }
    }

    /// Limits a rate of writes to the bounds.
    #[must_use]
    pub fn bounded(&self, per_minute: u32) -> u32 {
        per_minute
            .min(self.writes_max_per_minute)
            .max(self.writes_min_per_minute)
            .max(1)
    }
}

/// The limits under [`QuotaModel::Units`].
impl Default for Limits {
    fn default() -> Self {
        Self::of(QuotaModel::Units)
    }
}
