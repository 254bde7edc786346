//! What events cost, and how late live viewers are told.

pub mod event_cost;
pub mod live;
