//! How fast a connection may call Drive, as JSON, both ways; and how fast it does now.

use domain::Timestamp;
use domain::pace::{Breaker, Limits, Pace, QuotaModel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};

/// Below this the dearest call, 200 units, would not fit into the eighth that may go at once.
const UNITS_MIN: u32 = 2_000;
const QUERIES_MIN: u32 = 20;
const PER_MINUTE_MAX: u32 = 100_000_000;
const WRITES_MAX: u32 = 1_000_000;
const FAILURES_MAX: u32 = 1_000;
const OPEN_SECONDS_MAX: u32 = 3_600;

/// How much of Google's quota a connection may use, how fast it writes, and when it leaves Drive alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Limits)]
pub(crate) struct LimitsBody {
    /// How Google counts: `units` (projects made since May 2026), or `queries`.
    #[serde(default)]
    model: ModelBody,
    /// Units or queries that may be used in any minute; without it all that Google grants one user: 325,000 units,
    /// or 12,000 queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_per_minute: Option<u32>,
    /// Writes a minute to begin with, and how many go at once after a quiet time: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes_base_per_minute: Option<u32>,
    /// Rate limits slow writes down to this: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes_min_per_minute: Option<u32>,
    /// Success speeds writes up to this: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes_max_per_minute: Option<u32>,
    /// Failures of Drive in a row after which it is left alone: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker_failures: Option<u32>,
    /// For how long it is left alone: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker_open_seconds: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QuotaModel)]
enum ModelBody {
    #[default]
    Units,
    Queries,
}

impl From<ModelBody> for QuotaModel {
    fn from(model: ModelBody) -> Self {
        match model {
            ModelBody::Units => Self::Units,
            ModelBody::Queries => Self::Queries,
        }
    }
}

impl From<QuotaModel> for ModelBody {
    fn from(model: QuotaModel) -> Self {
        match model {
            QuotaModel::Units => Self::Units,
            QuotaModel::Queries => Self::Queries,
        }
    }
}

impl LimitsBody {
    /// All of the limits, defaults too: for showing.
    pub(crate) fn shown(limits: &Limits) -> Self {
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

    /// What was set of the limits, so that the rest follows the defaults when a patch changes the model.
    pub(crate) fn set(limits: &Limits) -> Self {
        let usual = Limits::of(limits.model);
        let unusual = |value: u32, usual: u32| (value != usual).then_some(value);
        Self {
            quota_per_minute: unusual(limits.quota_per_minute, usual.quota_per_minute),
            ..Self::shown(limits)
        }
    }

    /// The limits, if every one is sane.
    pub(crate) fn checked(&self) -> Result<Limits, Problem> {
        let model = QuotaModel::from(self.model);
        let usual = Limits::of(model);
        let least = match model {
            QuotaModel::Units => UNITS_MIN,
            QuotaModel::Queries => QUERIES_MIN,
        };
        let within = |name: &str, value: Option<u32>, usual: u32, low: u32, high: u32| {
            let value = value.unwrap_or(usual);
            if (low..=high).contains(&value) {
                return Ok(value);
            }
            let detail = format!("{name} must be {low} to {high}");
            Err(Problem::new(Kind::ValueNotAllowed, detail).at(format!("/limits/{name}")))
        };
        let base = within(
            "writes_base_per_minute",
            self.writes_base_per_minute,
            usual.writes_base_per_minute,
            1,
            WRITES_MAX,
        )?;
        // Whoever moves the base alone moves the bound that it would cross.
        let limits = Limits {
            model,
            quota_per_minute: within(
                "quota_per_minute",
                self.quota_per_minute,
                usual.quota_per_minute,
                least,
                PER_MINUTE_MAX,
            )?,
            writes_base_per_minute: base,
            writes_min_per_minute: within(
                "writes_min_per_minute",
                self.writes_min_per_minute,
                usual.writes_min_per_minute.min(base),
                1,
                base,
            )?,
            writes_max_per_minute: within(
                "writes_max_per_minute",
                self.writes_max_per_minute,
                usual.writes_max_per_minute.max(base),
                base,
                WRITES_MAX,
            )?,
            breaker_failures: within(
                "breaker_failures",
                self.breaker_failures,
                usual.breaker_failures,
                1,
                FAILURES_MAX,
            )?,
            breaker_open_millis: within(
                "breaker_open_seconds",
                self.breaker_open_seconds,
                usual.breaker_open_millis / 1_000,
                1,
                OPEN_SECONDS_MAX,
            )? * 1_000,
        };
        Ok(limits)
    }
}

/// How fast a connection may call Drive now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pace)]
pub(crate) struct PaceView {
    /// What is left of the quota for this moment, in units or queries; less than nothing is being paid back.
    quota_left: i64,
    /// Writes a minute, as fast as Drive has let them be lately.
    writes_per_minute: u32,
    /// Drive asked to be left alone until then.
    held_until: Option<String>,
    breaker: BreakerView,
}

/// Where Drive fails and fails, it is left alone (`open`), then tried with one call at a time (`half_open`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
struct BreakerView {
    state: BreakerStateView,
    /// Failures since Drive last answered; while it is open, those that opened it are not counted on.
    failures: u32,
    /// When Drive is tried again.
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

impl PaceView {
    /// The pace at `now`; one that nobody has used lately is as it begins.
    pub(crate) fn new(pace: Option<&Pace>, limits: &Limits, now: Timestamp) -> Self {
        let pace = pace.map_or_else(|| Pace::fresh(limits, now), |pace| *pace);
        let (state, failures, until) = match pace.breaker {
            Breaker::Closed { failures } => (BreakerStateView::Closed, failures, None),
            Breaker::Open { until } => (BreakerStateView::Open, 0, Some(until)),
            Breaker::HalfOpen { until } => (BreakerStateView::HalfOpen, 0, Some(until)),
        };
        let quota = pace.quota.filled(limits.quota_size(), now);
        Self {
            quota_left: quota.level_micros / 1_000_000,
            writes_per_minute: limits.bounded(pace.writes_per_minute),
            held_until: (pace.held_until > now).then(|| pace.held_until.to_string()),
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
    fn without_a_word_the_limits_are_googles_and_the_projects() {
        assert_eq!(checked(json!({})), Ok(Limits::default()));
        let queries = checked(json!({"model": "queries"})).unwrap();
        assert_eq!(queries, Limits::of(QuotaModel::Queries));
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_pointed_at() {
        for (member, value) in [
            ("quota_per_minute", 1_999),
            ("writes_base_per_minute", 0),
            ("writes_min_per_minute", 101),
            ("writes_max_per_minute", 99),
            ("breaker_failures", 0),
            ("breaker_open_seconds", 3_601),
        ] {
            let said = checked(json!({ member: value })).unwrap_err();
            assert_eq!(said, format!("/limits/{member}"));
        }
    }

    #[test]
    fn a_base_beyond_the_usual_bounds_moves_them() {
        let fast = checked(json!({"writes_base_per_minute": 5_000})).unwrap();
        assert_eq!(fast.writes_max_per_minute, 5_000);
        let slow = checked(json!({"writes_base_per_minute": 3})).unwrap();
        assert_eq!(slow.writes_min_per_minute, 3);
    }

    #[test]
    fn the_quota_follows_the_model_unless_it_was_set() {
        let mut body = LimitsBody::set(&Limits::default());
        body.model = ModelBody::Queries;
        assert_eq!(body.checked().unwrap().quota_per_minute, 12_000);
        let mut body = LimitsBody::set(&Limits {
            quota_per_minute: 5_000,
            ..Limits::default()
        });
        body.model = ModelBody::Queries;
        assert_eq!(body.checked().unwrap().quota_per_minute, 5_000);
    }
}
