//! Messages that can't be processed.

mod poison;
mod redriven;
