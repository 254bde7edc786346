//! How far a list in Drive was followed, in the form that the items of logs and operations store.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::operation::{PageWalk, Stop, StopReason};
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use crate::StoreError;
use crate::file::value_item::at as time;

/// A walk along pages: [`PageWalk::to_parts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WalkItem(Vec<u64>);

impl WalkItem {
    /// Returns the item of a walk that has begun.
    pub(crate) fn of(walk: PageWalk) -> Option<Self> {
        (walk != PageWalk::default()).then(|| Self(walk.to_parts()))
    }

    /// Returns it as the value of an attribute.
    pub(crate) fn value(&self) -> Result<AttributeValue, StoreError> {
        to_attribute_value(self).map_err(|why| StoreError::Refused(Box::new(why)))
    }
}

impl From<WalkItem> for PageWalk {
    fn from(item: WalkItem) -> Self {
        Self::from_parts(&item.0)
    }
}

/// A stop of a walk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StopItem {
    reason: String,
    since: i64,
    attempts: u32,
    until: i64,
}

impl From<Stop> for StopItem {
    fn from(stop: Stop) -> Self {
        Self {
            reason: stop.reason.label().to_owned(),
            since: stop.since.as_millis(),
            attempts: stop.attempts,
            until: stop.until.as_millis(),
        }
    }
}

impl StopItem {
    /// Returns it as the value of an attribute.
    pub(crate) fn value(&self) -> Result<AttributeValue, StoreError> {
        to_attribute_value(self).map_err(|why| StoreError::Refused(Box::new(why)))
    }

    /// Returns the stop; `None` if only newer code knows the reason, which ends the wait.
    pub(crate) fn into_stop(self) -> Option<Stop> {
        Some(Stop {
            reason: StopReason::from_label(&self.reason)?,
            since: time(self.since),
            attempts: self.attempts,
            until: time(self.until),
        })
    }
}
