//! A connection's rate limits in the form that its item stores.

use domain::rate_limit::{Limits, QuotaModel};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct LimitsItem {
    model: ModelItem,
    quota_per_minute: u32,
    writes_base_per_minute: u32,
    writes_min_per_minute: u32,
    writes_max_per_minute: u32,
    breaker_failures: u32,
    breaker_open_millis: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModelItem {
    Units,
    Queries,
}

/// The limits of an item that has none.
impl Default for LimitsItem {
    fn default() -> Self {
        (&Limits::default()).into()
    }
}

impl From<&Limits> for LimitsItem {
    fn from(limits: &Limits) -> Self {
        Self {
            model: match limits.model {
                QuotaModel::Units => ModelItem::Units,
                QuotaModel::Queries => ModelItem::Queries,
            },
            quota_per_minute: limits.quota_per_minute,
            writes_base_per_minute: limits.writes_base_per_minute,
            writes_min_per_minute: limits.writes_min_per_minute,
            writes_max_per_minute: limits.writes_max_per_minute,
            breaker_failures: limits.breaker_failures,
            breaker_open_millis: limits.breaker_open_millis,
        }
    }
}

impl From<LimitsItem> for Limits {
    fn from(item: LimitsItem) -> Self {
        Self {
            model: match item.model {
                ModelItem::Units => QuotaModel::Units,
                ModelItem::Queries => QuotaModel::Queries,
            },
            quota_per_minute: item.quota_per_minute,
            writes_base_per_minute: item.writes_base_per_minute,
            writes_min_per_minute: item.writes_min_per_minute,
            writes_max_per_minute: item.writes_max_per_minute,
            breaker_failures: item.breaker_failures,
            breaker_open_millis: item.breaker_open_millis,
        }
    }
}
