//! A connection's removal limits in the form that its item stores.

use domain::RemovalLimits;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RemovalLimitsItem {
    share_percent_max: u8,
    unasked_max: u32,
}

/// The limits of an item that has none.
impl Default for RemovalLimitsItem {
    fn default() -> Self {
        RemovalLimits::default().into()
    }
}

impl From<RemovalLimits> for RemovalLimitsItem {
    fn from(limits: RemovalLimits) -> Self {
        Self {
            share_percent_max: limits.share_percent_max,
            unasked_max: limits.unasked_max,
        }
    }
}

impl From<RemovalLimitsItem> for RemovalLimits {
    fn from(item: RemovalLimitsItem) -> Self {
        Self {
            share_percent_max: item.share_percent_max,
            unasked_max: item.unasked_max,
        }
    }
}
