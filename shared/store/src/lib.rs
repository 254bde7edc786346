#![doc = include_str!("../README.md")]

mod batch;
mod channels;
mod conflict_item;
#[cfg(test)]
mod conformance;
mod connections;
mod due;
mod error;
mod file_item;
mod files;
mod history;
mod item;
mod key;
mod letter;
mod limits_item;
mod lists;
mod logs;
mod operation_item;
mod operations;
mod outcome;
mod pace;
mod page;
mod parked;
mod permission_item;
mod range;
mod store;
mod suspension;
mod table;
mod update;
mod value_item;

pub use channels::{Channel, ChannelState};
pub use connections::{Connection, ConnectionState, Scope};
pub use due::{DUE_SHARDS, Due, DueItem};
pub use error::StoreError;
pub use files::{Committed, Nonce};
pub use history::HistoryEntry;
pub use letter::Letter;
pub use lists::{Attention, ConflictFilter, ConflictState, IntentStatus, Tombstones};
pub use logs::{Log, Position, Progress};
pub use operations::{Operation, OperationKind, OperationState, Verified};
pub use outcome::{Created, Updated, Written};
pub use pace::Paced;
pub use page::{Page, PageRequest};
pub use parked::Parked;
pub use store::Store;
pub use table::create_table;
