#![doc = include_str!("../README.md")]

pub mod batch;
mod consume;
mod content_wakes;
mod dead_letters;
mod file_updater;
mod linked_version;
pub mod message;
mod origin;
pub mod queue;
mod scans;
mod services;
mod suspend;
pub mod visibility;
mod work_error;

pub use batch::{GroupResult, MessageGroup, ReceivedMessage};
pub use consume::{Consumer, Failure, Wake};
pub use content_wakes::{ContentQueues, ContentWake, DedupKey, Priority};
pub use dead_letters::{NotRedrivable, log_of_deleted, park, redrive_message};
pub use file_updater::{FileUpdater, UpdateOutcome};
pub use linked_version::link_version;
pub use message::{
    DeliveryWake, LiveWake, LogWake, OperationWake, Origin, PushWake, SnapshotMessage, Unreadable,
};
pub use queue::{Queue, QueueError, SnapshotQueues, WakeQueues};
pub use scans::{needs_scan_by_current_rules, record_scan_by_current_rules, schedule_scan};
pub use services::{ConnectError, Services, version_check};
pub use suspend::suspend;
pub use work_error::WorkError;
