//! What a connection may use, as its owner sets it.

use crate::pace::{Ask, Size};

/// How Google counts a project's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaModel {
    /// By cost: 325,000 units per minute for each user of a project (Drive guide "Usage limits", projects made since
    /// May 2026).
    Units,
    /// By number: 12,000 queries in 60 seconds for each user (the older projects).
    Queries,
}

/// What a call is to Google's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// One thing is read: 5 units.
    Read,
    /// A page of a list: 100 units.
    List,
    /// Something is written: 50 units.
    Edit,
    /// Content is downloaded: 200 units.
    Download,
    /// Anything else: 5 units.
    Other,
}

/// The dearest call, in units: a bucket that held less would never let it through.
const DEAREST: u32 = 200;

impl CallKind {
    /// What `count` calls of this kind cost.
    #[must_use]
    pub fn cost(self, count: u32, model: QuotaModel) -> Ask {
        let (units, writes) = match self {
            Self::Read | Self::Other => (5, 0),
            Self::List => (100, 0),
            Self::Edit => (50, count),
            Self::Download => (DEAREST, 0),
        };
        let each = match model {
            QuotaModel::Units => units,
            QuotaModel::Queries => 1,
        };
        Ask {
            quota: count.saturating_mul(each),
            writes,
        }
    }
}

/// What a connection may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How the quota is counted.
    pub model: QuotaModel,
    /// The connection's share, in units or queries a minute: never more is used in any minute.
    pub quota_per_minute: u32,
    /// Writes a minute to begin with, and the most that go at once after a quiet time.
    pub writes_base_per_minute: u32,
    /// No rate limit slows them down further, in writes a minute.
    pub writes_min_per_minute: u32,
    /// No success speeds them up further, in writes a minute.
    pub writes_max_per_minute: u32,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// For how long, in milliseconds.
    pub breaker_open_millis: u32,
}

impl Limits {
    /// The quota of a user where calls cost units.
    pub const UNITS_PER_MINUTE: u32 = 325_000;
    /// The quota of a user where calls are counted.
    pub const QUERIES_PER_MINUTE: u32 = 12_000;

    /// The whole quota of one user, and the project's pace for writes: 100 a minute, within 10 and 1,000.
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

    /// The bucket of the quota. It holds an eighth and fills with seven tenths: a minute sees at most what it held,
    /// what flowed in during the minute, and what flowed in during the ten seconds before, taken then and used now
    /// ([`crate::pace::TAKEN_LASTS_MILLIS`]). That is 94 % of the quota.
    #[must_use]
    pub fn quota_size(&self) -> Size {
        let dearest = match self.model {
            QuotaModel::Units => DEAREST,
            QuotaModel::Queries => 1,
        };
        let share = u64::from(self.quota_per_minute).saturating_mul(7) / 10;
        Size {
            capacity: (self.quota_per_minute / 8).max(dearest),
            per_minute: u32::try_from(share).unwrap_or(u32::MAX).max(1),
        }
    }

    /// The bucket of writes at a pace: after a quiet time a minute of the base goes at once.
    #[must_use]
    pub fn writes_size(&self, per_minute: u32) -> Size {
        Size {
            capacity: self.writes_base_per_minute.max(1),
            per_minute: per_minute.max(1),
        }
    }

    /// A pace of writes, within the bounds.
    #[must_use]
    pub fn bounded(&self, per_minute: u32) -> u32 {
        per_minute
            .min(self.writes_max_per_minute)
            .max(self.writes_min_per_minute)
            .max(1)
    }
}

/// As [`QuotaModel::Units`] has it.
impl Default for Limits {
    fn default() -> Self {
        Self::of(QuotaModel::Units)
    }
}
