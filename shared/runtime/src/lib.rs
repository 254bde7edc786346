#![doc = include_str!("../README.md")]

pub mod aws;
pub mod batch;
pub mod clock;
pub mod content;
pub mod env;
pub mod message;
mod origin;
mod permissions_body;
pub mod queue;
pub mod telemetry;
pub mod visibility;

pub use batch::{GroupResult, MessageGroup, ReceivedMessage};
pub use clock::{Clock, Deadline, Entropy};
pub use content::{ContentQueues, ContentWake, DedupKey, Priority};
pub use env::{Settings, SettingsError};
pub use message::{LogWake, Origin, PushWake, SnapshotMessage, Unreadable};
pub use queue::{Queue, QueueError, SnapshotQueues, WakeQueues};
