#![doc = include_str!("../README.md")]

pub mod batch;
pub mod clock;
pub mod disposition;
pub mod env;
pub mod message;
pub mod queue;
pub mod telemetry;

pub use batch::{Delivery, Group, Verdict};
pub use clock::{Clock, Deadline, Entropy};
pub use disposition::Disposition;
pub use env::{Settings, SettingsError};
pub use message::{Cause, LogWake, PushWake, SnapshotMessage, Unreadable};
pub use queue::{Queue, QueueError, Snapshots, Wakes};
