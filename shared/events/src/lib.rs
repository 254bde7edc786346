#![doc = include_str!("../README.md")]

pub mod conflict_id;
mod event_view;
mod question;
pub mod value;

pub use event_view::{EventDataView, EventView};
pub use question::{ANSWER_BYTES_MAX, DECISION_REQUESTED, QuestionView, read_answer};
