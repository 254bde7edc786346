#![doc = include_str!("../README.md")]

use std::sync::Arc;

mod acknowledge;
mod admin;
mod engine;
mod error;
mod message;
mod protocol;
mod queue;
mod receive;
mod send;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod wire;

pub use self::engine::{BATCH_MAX, Counters, Deleted, Sqs};
pub use self::error::SqsError;
pub use self::message::{MessageAttribute, MessageAttributes, NewMessage, Received, Sent};
pub use self::protocol::respond;
pub use self::queue::Depth;
pub use self::receive::ReceiveOptions;
pub use self::settings::{ACCOUNT, Attributes, REGION, queue_arn};

/// A clock that returns milliseconds of Unix time.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
