//! Dead letters: messages that can never succeed, with their history.

pub(crate) mod arrival;
pub(crate) mod dead_letter_item;
pub(crate) mod dead_letters;
pub(crate) mod redrive_schedule;
