//! SQS FIFO queues: durable, in one process, over the JSON protocol or straight from Rust.
//!
//! What holds, after AWS's documentation: messages of one group are received in order, several in one receive, and none while
//! one of them is in flight; a second message with the same deduplication id within five minutes is answered like the first
//! and not delivered; a message received more often than the queue's redrive policy allows goes to the dead-letter queue with
//! its group, id and body. Standard queues are refused. What was acknowledged is committed; after a killed process the
//! messages in flight are visible at once, and receive counts and the deduplication window are kept.
//!
//! Where this differs from AWS: a move task has finished when its request returns; purging is immediate and may be repeated;
//! a group is received from in the order of its oldest message, where AWS promises no order among groups; quotas (120,000
//! messages in flight, requests per second) do not exist; tags and permissions are refused as unsupported.

mod acknowledge;
mod admin;
#[cfg(test)]
mod conformance;
mod engine;
mod error;
mod http;
mod message;
mod queue;
mod receive;
mod send;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod wire;

pub use self::admin::MoveTask;
pub use self::engine::{BATCH_MAX, Counters, Deleted, Sqs};
pub use self::error::SqsError;
pub use self::http::handler;
pub use self::message::{
    MessageAttribute, MessageAttributes, NewMessage, Received, Sent, md5_of_attributes, md5_of_text,
};
pub use self::queue::Depth;
pub use self::receive::ReceiveOptions;
pub use self::settings::{ACCOUNT, Attributes, REGION, queue_arn, queue_name_of_arn};
