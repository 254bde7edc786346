#![doc = include_str!("../README.md")]

pub mod aws;
pub mod batch;
mod cause;
pub mod clock;
pub mod content;
pub mod env;
pub mod message;
mod permissions_body;
pub mod queue;
pub mod telemetry;
pub mod visibility;

pub use batch::{Delivery, Group, Verdict};
pub use clock::{Clock, Deadline, Entropy};
pub use content::{ContentQueues, ContentWake, Lane, WakeCause};
pub use env::{Settings, SettingsError};
pub use message::{Cause, LogWake, PushWake, SnapshotMessage, Unreadable};
pub use queue::{Queue, QueueError, Snapshots, Wakes};
