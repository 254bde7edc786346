#![doc = include_str!("../README.md")]

pub mod conflict_id;
mod event_view;

pub use event_view::{EventDataView, EventView};
