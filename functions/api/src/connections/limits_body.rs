//! A connection's rate limits to and from JSON, and their current state.

use domain::Timestamp;
use domain::rate_limit::{CircuitBreaker, Limits, QuotaModel, RateLimit, TenantLimits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{Kind, Problem, view_enum};

/// With fewer units, the most expensive call, 200 units, would exceed the burst: an eighth of the
/// quota.
const UNITS_MIN: u32 = 2_000;
const QUERIES_MIN: u32 = 20;
const PER_MINUTE_MAX: u32 = 100_000_000;
const WRITES_MAX: u32 = 1_000_000;
const FAILURES_MAX: u32 = Limits::BREAKER_FAILURES_MAX;
const OPEN_SECONDS_MAX: u32 = 3_600;

/// The share of Google's quota that a connection may use, its rate of writes, and its circuit
/// breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Limits)]
pub(crate) struct LimitsBody {
    /// Google's quota model: `units` (projects created since May 2026) or `queries`.
    #[serde(default)]
    model: ModelBody,
    /// Units or queries that may be used in any minute: at least 2,000 units or 20 queries. The
    /// default is Google's limit for one user: 325,000 units or 12,000 queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 20, maximum = 100_000_000)]
    quota_per_minute: Option<u32>,
    /// The initial number of writes a minute, and the burst after a quiet time. The default is 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    writes_base_per_minute: Option<u32>,
    /// The minimum to which rate limits reduce the writes a minute. The default is 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    writes_min_per_minute: Option<u32>,
    /// The maximum to which success increases the writes a minute. The default is 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    writes_max_per_minute: Option<u32>,
    /// The number of consecutive failures that open the circuit breaker. The default is 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    breaker_failures: Option<u32>,
    /// How long the circuit breaker stays open. The default is 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3_600)]
    breaker_open_seconds: Option<u32>,
}

view_enum! {
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = QuotaModel)]
    enum ModelBody = QuotaModel {
        #[default]
        Units,
        Queries,
    }
}

impl LimitsBody {
    /// All limits, including defaults.
    pub(crate) fn complete(limits: &Limits) -> Self {
        Self {
            model: limits.model.into(),
            quota_per_minute: Some(limits.quota_per_minute),
            writes_base_per_minute: Some(limits.writes_base_per_minute),
            writes_min_per_minute: Some(limits.writes_min_per_minute),
            writes_max_per_minute: Some(limits.writes_max_per_minute),
            breaker_failures: Some(limits.breaker_failures),
            breaker_open_seconds: Some(limits.breaker_open_millis / 1_000),
        }
    }

    /// The limits without a quota that equals the model's default, so that the quota follows the
    /// model if a patch changes it.
    pub(crate) fn explicit(limits: &Limits) -> Self {
        let quota = limits.quota_per_minute;
        let default = Limits::of(limits.model).quota_per_minute;
        Self {
            quota_per_minute: (quota != default).then_some(quota),
            // An earlier release accepted more.
            breaker_failures: Some(limits.breaker_failures.min(FAILURES_MAX)),
            ..Self::complete(limits)
        }
    }

    /// Checks that every limit is within its bounds.
    pub(crate) fn checked(&self) -> Result<Limits, Problem> {
        let model = QuotaModel::from(self.model);
        let default = Limits::of(model);
        let least = match model {
            QuotaModel::Units => UNITS_MIN,
            QuotaModel::Queries => QUERIES_MIN,
        };
        let within = |name: &str, value: Option<u32>, default: u32, low: u32, high: u32| {
            let value = value.unwrap_or(default);
            if (low..=high).contains(&value) {
                return Ok(value);
            }
            let detail = format!("{name} must be {low} to {high}");
            Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("/limits/{name}")))
        };
        let base = within(
            "writes_base_per_minute",
            self.writes_base_per_minute,
            default.writes_base_per_minute,
            1,
            WRITES_MAX,
        )?;
        // A base beyond the default of a bound moves this bound.
        Ok(Limits {
            model,
            quota_per_minute: within(
                "quota_per_minute",
                self.quota_per_minute,
                default.quota_per_minute,
                least,
                PER_MINUTE_MAX,
            )?,
            writes_base_per_minute: base,
            writes_min_per_minute: within(
                "writes_min_per_minute",
                self.writes_min_per_minute,
                default.writes_min_per_minute.min(base),
                1,
                base,
            )?,
            writes_max_per_minute: within(
                "writes_max_per_minute",
                self.writes_max_per_minute,
                default.writes_max_per_minute.max(base),
                base,
                WRITES_MAX,
            )?,
            breaker_failures: within(
                "breaker_failures",
                self.breaker_failures,
                default.breaker_failures,
                1,
                FAILURES_MAX,
            )?,
            breaker_open_millis: within(
                "breaker_open_seconds",
                self.breaker_open_seconds,
                default.breaker_open_millis / 1_000,
                1,
                OPEN_SECONDS_MAX,
            )? * 1_000,
        })
    }
}

/// Checks that a connection asks for no more than the deployment allows. It keeps what it was given
/// before, and a default; neither is used beyond what is allowed.
pub(crate) fn require_allowed(
    wanted: &Limits,
    stored: Option<&Limits>,
    allowed: &TenantLimits,
) -> Result<(), Problem> {
    let members = |limits: &Limits| {
        [
            ("quota_per_minute", limits.quota_per_minute),
            ("writes_base_per_minute", limits.writes_base_per_minute),
            ("writes_min_per_minute", limits.writes_min_per_minute),
            ("writes_max_per_minute", limits.writes_max_per_minute),
        ]
    };
    let default = members(&Limits::of(wanted.model));
    let stored = stored.map(members).unwrap_or(default);
    let bounds = members(&allowed.bound(*wanted)).into_iter();
    let kept = default.into_iter().zip(stored);
    for (((name, value), (_, bound)), kept) in members(wanted).into_iter().zip(bounds).zip(kept) {
        let ((_, default), (_, stored)) = kept;
        if value > bound && value != default && value != stored {
            let detail = format!("{name} may be at most {bound}, which the deployment sets");
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("/limits/{name}")));
        }
    }
    Ok(())
}

/// The current state of a connection's rate limits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pace)]
pub(crate) struct RateLimitView {
    /// The remaining quota, in units or queries. Negative if it has been exceeded.
    quota_left: i64,
    /// Writes a minute that Drive has accepted lately.
    writes_per_minute: u32,
    /// The end of a pause that Drive has asked for.
    held_until: Option<String>,
    breaker: BreakerView,
}

/// The circuit breaker. After consecutive failures, Drive is not called (`open`), then tried with
/// one call at a time (`half_open`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
struct BreakerView {
    state: BreakerStateView,
    /// Consecutive failures; 0 unless it is closed.
    failures: u32,
    /// When Drive is called again.
    until: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BreakerState)]
enum BreakerStateView {
    Closed,
    Open,
    HalfOpen,
}

impl RateLimitView {
    /// The state at `now`; the initial one if it has not been used lately.
    pub(crate) fn new(rate_limit: Option<&RateLimit>, limits: &Limits, now: Timestamp) -> Self {
        let rate_limit =
            rate_limit.map_or_else(|| RateLimit::new(limits, now), |rate_limit| *rate_limit);
        let (state, failures, until) = match rate_limit.breaker {
            CircuitBreaker::Closed { failures } => (BreakerStateView::Closed, failures, None),
            CircuitBreaker::Open { until } => (BreakerStateView::Open, 0, Some(until)),
            CircuitBreaker::HalfOpen { until } => (BreakerStateView::HalfOpen, 0, Some(until)),
        };
        let quota = rate_limit.quota.filled(limits.quota_size(), now);
        Self {
            quota_left: quota.level_micros / 1_000_000,
            writes_per_minute: limits.bounded(rate_limit.writes_per_minute),
            held_until: (rate_limit.blocked_until > now)
                .then(|| rate_limit.blocked_until.to_string()),
            breaker: BreakerView {
                state,
                failures,
                until: until.map(|until| until.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(json: serde_json::Value) -> Result<Limits, String> {
        let body: LimitsBody = serde_json::from_value(json).unwrap();
        body.checked()
            .map_err(|problem| problem.body().pointer().unwrap_or("none").to_owned())
    }

    #[test]
    fn the_defaults_are_googles_limits() {
        assert_eq!(checked(json!({})), Ok(Limits::default()));
        let queries = checked(json!({"model": "queries"})).unwrap();
        assert_eq!(queries, Limits::of(QuotaModel::Queries));
    }

    #[test]
    fn the_problem_of_a_limit_points_at_it() {
        for (member, value) in [
            ("quota_per_minute", 1_999),
            ("writes_base_per_minute", 0),
            ("writes_min_per_minute", 101),
            ("writes_max_per_minute", 99),
            ("breaker_failures", 0),
            ("breaker_open_seconds", 3_601),
        ] {
            let pointer = checked(json!({ member: value })).unwrap_err();
            assert_eq!(pointer, format!("/limits/{member}"));
        }
    }

    #[test]
    fn regression_a_connection_asks_for_no_more_than_the_deployment_allows() {
        let allowed = TenantLimits {
            drive_units_per_minute: 50_000,
            drive_writes_per_minute: 500,
            ..TenantLimits::default()
        };
        let refused = |json, stored: Option<&Limits>| {
            let problem = require_allowed(&checked(json).unwrap(), stored, &allowed).err()?;
            Some(problem.body().pointer().unwrap().to_owned())
        };
        let more = json!({"quota_per_minute": 100_000_000});
        let before = checked(more.clone()).unwrap();
        assert_eq!(
            refused(more.clone(), None).as_deref(),
            Some("/limits/quota_per_minute")
        );
        assert_eq!(refused(more, Some(&before)), None, "it has that already");
        assert_eq!(
            refused(json!({}), None),
            None,
            "the default is only used in part"
        );
        assert_eq!(refused(json!({"quota_per_minute": 50_000}), None), None);
        let writes = json!({"writes_max_per_minute": 501});
        assert_eq!(
            refused(writes, None).as_deref(),
            Some("/limits/writes_max_per_minute")
        );
        assert!(checked(json!({"breaker_failures": 101})).is_err());
        let old = Limits {
            breaker_failures: 1_000,
            ..Limits::default()
        };
        assert!(LimitsBody::explicit(&old).checked().is_ok());
    }

    #[test]
    fn a_base_beyond_the_default_bounds_moves_them() {
        let fast = checked(json!({"writes_base_per_minute": 5_000})).unwrap();
        assert_eq!(fast.writes_max_per_minute, 5_000);
        let slow = checked(json!({"writes_base_per_minute": 3})).unwrap();
        assert_eq!(slow.writes_min_per_minute, 3);
    }

    #[test]
    fn the_quota_follows_the_model_unless_it_was_set() {
        let mut body = LimitsBody::explicit(&Limits::default());
        body.model = ModelBody::Queries;
        assert_eq!(body.checked().unwrap().quota_per_minute, 12_000);
        let mut body = LimitsBody::explicit(&Limits {
            quota_per_minute: 5_000,
            ..Limits::default()
        });
        body.model = ModelBody::Queries;
        assert_eq!(body.checked().unwrap().quota_per_minute, 5_000);
    }
}
