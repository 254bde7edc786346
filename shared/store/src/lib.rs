#![doc = include_str!("../README.md")]

mod channels;
mod connections;
mod due;
mod error;
mod files;
mod history;
mod lists;
mod logs;
mod operations;
mod outcome;
mod page;
mod parked;
mod store;
mod table;

pub use channels::{Channel, ChannelState};
pub use connections::{Connection, ConnectionState, Scope};
pub use due::{DUE_SHARDS, DueItem};
pub use error::StoreError;
pub use files::{Committed, Nonce};
pub use history::HistoryEntry;
pub use lists::{Attention, ConflictFilter, ConflictState, IntentStatus, Tombstones};
pub use logs::{Log, Position, Progress};
pub use operations::{Operation, OperationKind, OperationState, Verified};
pub use outcome::{Created, Updated, Written};
pub use page::{Page, PageRequest};
pub use parked::Parked;
pub use store::Store;
pub use table::create_table;
