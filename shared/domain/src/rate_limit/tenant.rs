//! What one tenant may use, so that no tenant takes what the others need. The deployment sets it.

use std::fmt;

use crate::Timestamp;
use crate::rate_limit::{BucketSize, Limits, QuotaModel, TokenBucket};

/// The limits of every tenant of a deployment. The largest number of a limit means that there is
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantLimits {
    /// Requests to the API, per second, and the longest burst.
    pub requests_per_second: u32,
    /// What requests read, per minute, in records and in KiB of text that is compared; half of it
    /// may be read in a burst.
    pub reads_per_minute: u32,
    /// Changes from Drive that are applied before those of listings, per second; ten seconds' worth
    /// may come at once.
    pub live_changes_per_second: u32,
    /// Connections.
    pub connections: u32,
    /// Webhook endpoints.
    pub webhooks: u32,
    /// Operations begun by requests that have not ended.
    pub operations: u32,
    /// Files that owe something to Drive.
    pub owed_files: u32,
    /// Uploads in parts that are not committed.
    pub uploads: u32,
    /// The bytes that those uploads announce.
    pub upload_bytes: u64,
    /// Google's quota that a connection may ask for, in units per minute.
    pub drive_units_per_minute: u32,
    /// The same in queries per minute.
    pub drive_queries_per_minute: u32,
    /// The writes to Drive that a connection may ask for, per minute.
    pub drive_writes_per_minute: u32,
}

/// The limits of a deployment that sets none.
impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            reads_per_minute: 120_000,
            live_changes_per_second: 20,
            connections: 100,
            webhooks: 20,
            operations: 100,
            owed_files: 100_000,
            uploads: 20,
            upload_bytes: 20 * 1024 * 1024 * 1024,
            drive_units_per_minute: Limits::UNITS_PER_MINUTE,
            drive_queries_per_minute: Limits::QUERIES_PER_MINUTE,
            drive_writes_per_minute: Limits::of(QuotaModel::Units).writes_max_per_minute,
        }
    }
}

impl TenantLimits {
    /// Returns limits that nothing reaches.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            requests_per_second: u32::MAX,
            reads_per_minute: u32::MAX,
            live_changes_per_second: u32::MAX,
            connections: u32::MAX,
            webhooks: u32::MAX,
            operations: u32::MAX,
            owed_files: u32::MAX,
            uploads: u32::MAX,
            upload_bytes: u64::MAX,
            drive_units_per_minute: u32::MAX,
            drive_queries_per_minute: u32::MAX,
            drive_writes_per_minute: u32::MAX,
        }
    }
}

/// A limit that a request has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TenantLimit {
    /// [`TenantLimits::requests_per_second`]
    Requests,
    /// [`TenantLimits::reads_per_minute`]
    Reads,
    /// [`TenantLimits::connections`]
    Connections,
    /// [`TenantLimits::webhooks`]
    Webhooks,
    /// [`TenantLimits::operations`]
    Operations,
    /// [`TenantLimits::owed_files`]
    OwedFiles,
    /// [`TenantLimits::uploads`]
    Uploads,
    /// [`TenantLimits::upload_bytes`]
    UploadBytes,
}

impl TenantLimit {
    /// All limits.
    pub const ALL: [Self; 8] = [
        Self::Requests,
        Self::Reads,
        Self::Connections,
        Self::Webhooks,
        Self::Operations,
        Self::OwedFiles,
        Self::Uploads,
        Self::UploadBytes,
    ];

    /// Returns the name of the limit, which is also that of its setting.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::Reads => "reads_per_minute",
            Self::Connections => "connections",
            Self::Webhooks => "webhooks",
            Self::Operations => "operations",
            Self::OwedFiles => "owed_files",
            Self::Uploads => "uploads",
            Self::UploadBytes => "upload_bytes",
        }
    }
}

/// A text names no limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsRefused(String);

impl fmt::Display for LimitsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LimitsRefused {}

/// All limits, as [`TenantLimits::with`] reads them.
impl fmt::Display for TenantLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests_per_second,
            reads_per_minute,
            live_changes_per_second,
            connections,
            webhooks,
            operations,
            owed_files,
            uploads,
            upload_bytes,
            drive_units_per_minute,
            drive_queries_per_minute,
            drive_writes_per_minute,
        } = self;
        write!(
            f,
            "requests_per_second={requests_per_second},reads_per_minute={reads_per_minute},\
             live_changes_per_second={live_changes_per_second},connections={connections},\
             webhooks={webhooks},operations={operations},owed_files={owed_files},\
             uploads={uploads},upload_bytes={upload_bytes},\
             drive_units_per_minute={drive_units_per_minute},\
             drive_queries_per_minute={drive_queries_per_minute},\
             drive_writes_per_minute={drive_writes_per_minute}"
        )
    }
}

impl TenantLimits {
    /// Returns these limits with those that a text names: `connections=5,uploads=2`.
    ///
    /// # Errors
    /// Says which part is no limit, or is not 1 to its largest value.
    pub fn with(mut self, text: &str) -> Result<Self, LimitsRefused> {
        let parts = text.split(',').map(str::trim);
        for part in parts.filter(|part| !part.is_empty()) {
            let refused = |why: &str| LimitsRefused(format!("{part:?} {why}"));
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| refused("is not a name, `=` and a number"))?;
            let value: u64 = value
                .trim()
                .parse()
                .ok()
                .filter(|value| *value > 0)
                .ok_or_else(|| refused("has no positive number"))?;
            if name.trim() == TenantLimit::UploadBytes.label() {
                self.upload_bytes = value;
                continue;
            }
            let limit = self
                .named(name.trim())
                .ok_or_else(|| refused("is not the name of a limit"))?;
            *limit = u32::try_from(value).map_err(|_| refused("is too large"))?;
        }
        Ok(self)
    }

    fn named(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "requests_per_second" => &mut self.requests_per_second,
            "reads_per_minute" => &mut self.reads_per_minute,
            "live_changes_per_second" => &mut self.live_changes_per_second,
            "connections" => &mut self.connections,
            "webhooks" => &mut self.webhooks,
            "operations" => &mut self.operations,
            "owed_files" => &mut self.owed_files,
            "uploads" => &mut self.uploads,
            "drive_units_per_minute" => &mut self.drive_units_per_minute,
            "drive_queries_per_minute" => &mut self.drive_queries_per_minute,
            "drive_writes_per_minute" => &mut self.drive_writes_per_minute,
            _ => return None,
        })
    }

    /// Returns the largest quota that a connection may ask for, per minute.
    #[must_use]
    pub const fn drive_quota(&self, model: QuotaModel) -> u32 {
        match model {
            QuotaModel::Units => self.drive_units_per_minute,
            QuotaModel::Queries => self.drive_queries_per_minute,
        }
    }

    /// Returns a connection's limits, none of them above what the deployment allows. A connection
    /// keeps what it was given before, and uses no more than this.
    #[must_use]
    pub fn bound(&self, limits: Limits) -> Limits {
        let writes = |wanted: u32| wanted.min(self.drive_writes_per_minute);
        Limits {
            quota_per_minute: limits.quota_per_minute.min(self.drive_quota(limits.model)),
            writes_base_per_minute: writes(limits.writes_base_per_minute),
            writes_min_per_minute: writes(limits.writes_min_per_minute),
            writes_max_per_minute: writes(limits.writes_max_per_minute),
            breaker_failures: limits.breaker_failures.min(Limits::BREAKER_FAILURES_MAX),
            ..limits
        }
    }

    fn requests(&self) -> BucketSize {
        per_second(self.requests_per_second, 1)
    }

    fn reads(&self) -> BucketSize {
        BucketSize {
            capacity: (self.reads_per_minute / 2).max(1),
            per_minute: self.reads_per_minute,
        }
    }

    fn live(&self) -> BucketSize {
        per_second(self.live_changes_per_second, 10)
    }
}

/// Returns a bucket that holds what flows in during this many seconds.
fn per_second(rate: u32, seconds: u32) -> BucketSize {
    BucketSize {
        capacity: rate.saturating_mul(seconds),
        per_minute: rate.saturating_mul(60),
    }
}

/// The rates of one tenant at a time, which all workers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRates {
    /// Requests that may be made.
    pub requests: TokenBucket,
    /// What may be read. Negative after requests that read more: they are charged once it is known.
    pub reads: TokenBucket,
    /// Changes that may be applied before those of listings.
    pub live: TokenBucket,
    /// Edits that may make another file owe something, and when the files that do were last
    /// counted; `None` before that.
    pub owed: Option<OwedAllowance>,
}

/// The edits that are allowed until the files that owe something are counted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedAllowance {
    /// The edits that are left.
    pub edits: u32,
    /// When the files were counted.
    pub counted_at: Timestamp,
}

/// The minimum interval between two counts of the files that owe something, in milliseconds.
pub const COUNT_INTERVAL_MILLIS: i64 = 10_000;

/// A request that is refused by a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateReached {
    /// The limit.
    pub limit: TenantLimit,
    /// When the request may be made, in milliseconds from now.
    pub wait_millis: i64,
}

/// What a worker may use next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwedLease {
    /// This many edits.
    Granted(u32),
    /// None before the files that owe something are counted.
    Count,
    /// None for this many milliseconds.
    Wait(i64),
}

impl TenantRates {
    /// Creates the rates of a tenant that has used nothing.
    #[must_use]
    pub fn new(limits: &TenantLimits, now: Timestamp) -> Self {
        Self {
            requests: TokenBucket::full(limits.requests(), now),
            reads: TokenBucket::full(limits.reads(), now),
            live: TokenBucket::full(limits.live(), now),
            owed: None,
        }
    }

    /// Charges what earlier requests have read.
    #[must_use]
    pub fn charged(self, read: u32, limits: &TenantLimits, now: Timestamp) -> Self {
        Self {
            reads: self.reads.charged(read, limits.reads(), now),
            ..self
        }
    }

    /// Takes at least one request and at most `want`. Returns their number.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn take_requests(
        self,
        want: u32,
        limits: &TenantLimits,
        now: Timestamp,
    ) -> Result<(Self, u32), RateReached> {
        let reached = |limit| move |wait_millis| RateReached { limit, wait_millis };
        self.reads
            .take(1, 1, limits.reads(), now)
            .map_err(reached(TenantLimit::Reads))?;
        let (requests, taken) = self
            .requests
            .take(1, want, limits.requests(), now)
            .map_err(reached(TenantLimit::Requests))?;
        Ok((Self { requests, ..self }, taken))
    }

    /// Takes up to `want` changes that are applied before those of listings. Returns their number,
    /// which may be 0.
    #[must_use]
    pub fn take_live(self, want: u32, limits: &TenantLimits, now: Timestamp) -> (Self, u32) {
        match self.live.take(1, want, limits.live(), now) {
            Ok((live, taken)) => (Self { live, ..self }, taken),
            Err(_) => (self, 0),
        }
    }

    /// Takes up to `want` edits that may make another file owe something.
    #[must_use]
    pub fn take_edits(self, want: u32, now: Timestamp) -> (Self, OwedLease) {
        let Some(owed) = self.owed else {
            return (self, OwedLease::Count);
        };
        if owed.edits > 0 {
            let taken = owed.edits.min(want);
            let owed = Some(OwedAllowance {
                edits: owed.edits - taken,
                ..owed
            });
            return (Self { owed, ..self }, OwedLease::Granted(taken));
        }
        let wait = COUNT_INTERVAL_MILLIS - now.millis_since(owed.counted_at);
        // A longer one would be that of a clock that has gone back.
        if (1..=COUNT_INTERVAL_MILLIS).contains(&wait) {
            (self, OwedLease::Wait(wait))
        } else {
            (self, OwedLease::Count)
        }
    }

    /// Records how many files owe something: as many edits are allowed as are left to the limit.
    #[must_use]
    pub fn counted(self, files: u64, limits: &TenantLimits, now: Timestamp) -> Self {
        let left = u64::from(limits.owed_files).saturating_sub(files);
        Self {
            owed: Some(OwedAllowance {
                edits: u32::try_from(left).unwrap_or(u32::MAX),
                counted_at: now,
            }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_251_600_000 + millis)
    }

    #[test]
    fn a_text_sets_limits_by_name_and_a_wrong_one_is_named() {
        let limits = TenantLimits::default();
        let set = limits
            .with(" connections=5, upload_bytes=99999999999,")
            .unwrap();
        assert_eq!((set.connections, set.upload_bytes), (5, 99_999_999_999));
        assert_eq!(set.uploads, limits.uploads);
        assert_eq!(limits.with(""), Ok(limits));
        for wrong in [
            "connections",
            "connections=",
            "connections=0",
            "connections=-1",
            "people=3",
            "connections=4294967296",
            "=1",
        ] {
            let refused = limits.with(wrong).unwrap_err().to_string();
            assert!(refused.contains(&format!("{wrong:?}")), "{refused}");
        }
    }

    #[test]
    fn every_limit_of_a_request_has_a_setting_of_its_name() {
        for limit in TenantLimit::ALL {
            let text = format!("{}=7", limit.label());
            assert_ne!(
                TenantLimits::default().with(&text),
                Ok(TenantLimits::default())
            );
        }
    }

    #[test]
    fn no_second_sees_more_than_two_seconds_worth_of_requests() {
        let limits = TenantLimits {
            requests_per_second: 50,
            ..TenantLimits::default()
        };
        let mut rates = TenantRates::new(&limits, ms(0));
        let mut taken = Vec::new();
        for millis in (0..10_000).step_by(3) {
            if let Ok((after, count)) = rates.take_requests(1, &limits, ms(millis)) {
                rates = after;
                taken.push((millis, count));
            }
        }
        for begin in 0..9_000 {
            let within = taken
                .iter()
                .filter(|(at, _)| (begin..begin + 1_000).contains(at));
            let sum: u32 = within.map(|(_, count)| count).sum();
            assert!(sum <= 101, "{sum} from {begin}");
        }
        let all: u32 = taken.iter().map(|(_, count)| count).sum();
        assert!((540..=560).contains(&all), "{all}");
    }

    #[test]
    fn who_has_read_too_much_waits_until_it_is_paid() {
        let limits = TenantLimits {
            reads_per_minute: 6_000,
            ..TenantLimits::default()
        };
        let rates = TenantRates::new(&limits, ms(0)).charged(5_000, &limits, ms(0));
        let reached = rates.take_requests(1, &limits, ms(0)).unwrap_err();
        assert_eq!(reached.limit, TenantLimit::Reads);
        // 2,000 more than the burst of 3,000, at 100 a second.
        assert!(
            (20_000..20_100).contains(&reached.wait_millis),
            "{reached:?}"
        );
        assert!(rates.take_requests(1, &limits, ms(19_900)).is_err());
        assert!(rates.take_requests(1, &limits, ms(20_100)).is_ok());
    }

    #[test]
    fn what_is_above_the_live_rate_is_left_to_the_listings() {
        let limits = TenantLimits {
            live_changes_per_second: 20,
            ..TenantLimits::default()
        };
        let rates = TenantRates::new(&limits, ms(0));
        let (rates, first) = rates.take_live(1_000, &limits, ms(0));
        let (rates, second) = rates.take_live(1_000, &limits, ms(0));
        let (_, third) = rates.take_live(1_000, &limits, ms(1_000));
        assert_eq!((first, second, third), (200, 0, 20));
    }

    #[test]
    fn edits_are_allowed_up_to_the_limit_as_counted() {
        let limits = TenantLimits {
            owed_files: 10,
            ..TenantLimits::default()
        };
        let rates = TenantRates::new(&limits, ms(0));
        assert_eq!(rates.take_edits(5, ms(0)).1, OwedLease::Count);
        let rates = rates.counted(3, &limits, ms(0));
        let (rates, first) = rates.take_edits(5, ms(0));
        let (rates, second) = rates.take_edits(5, ms(0));
        assert_eq!(
            (first, second),
            (OwedLease::Granted(5), OwedLease::Granted(2))
        );
        assert_eq!(rates.take_edits(5, ms(4_000)).1, OwedLease::Wait(6_000));
        assert_eq!(rates.take_edits(5, ms(10_000)).1, OwedLease::Count);
        let full = rates.counted(12, &limits, ms(10_000));
        assert_eq!(full.take_edits(1, ms(10_000)).1, OwedLease::Wait(10_000));
        assert_eq!(full.take_edits(1, ms(9_999)).1, OwedLease::Count);
    }

    #[test]
    fn a_connection_uses_no_more_than_the_deployment_allows() {
        let limits = TenantLimits::default();
        let greedy = Limits {
            quota_per_minute: 100_000_000,
            writes_base_per_minute: 1_000_000,
            writes_min_per_minute: 1_000_000,
            writes_max_per_minute: 1_000_000,
            ..Limits::default()
        };
        let bound = limits.bound(greedy);
        assert_eq!(bound.quota_per_minute, 325_000);
        assert_eq!(
            (bound.writes_min_per_minute, bound.writes_max_per_minute),
            (1_000, 1_000)
        );
        assert_eq!(limits.bound(Limits::default()), Limits::default());
        let queries = Limits {
            model: QuotaModel::Queries,
            ..greedy
        };
        assert_eq!(limits.bound(queries).quota_per_minute, 12_000);
    }
}
