#![doc = include_str!("../README.md")]

#[cfg(test)]
mod conformance;
mod connection;
mod content;
mod dead_letter;
mod due;
mod erase;
mod event;
mod exported;
mod fairness;
mod file;
mod live;
mod log;
mod operation;
pub mod stream;
mod table;
mod trail;

pub use connection::answers::{ANSWER_MILLIS, Answer, PendingAnswer};
pub use connection::clients::Client;
pub use connection::connections::{Connection, ConnectionState, Scope};
pub use connection::deletion_item::{Deletion, Erased};
pub use connection::idempotency::IdempotencyRecord;
pub use connection::stored_rate_limit::StoredRateLimit;
pub use connection::tenant_items::TenantItems;
pub use content::multipart_uploads::MultipartUpload;
pub use content::objects::{GcStart, Retained};
pub use content::versions::{Linked, Released};
pub use dead_letter::arrival::Arrival;
pub use dead_letter::dead_letters::{
    DeadLetter, DeadLetterAction, DeadLetterEvent, DeadLetterStatus, FailedMessage,
};
pub use dead_letter::redrive_schedule::RedriveSchedule;
pub use due::{DUE_SHARDS, Due, DueItem};
pub use erase::{Belongings, Remains};
pub use event::event_log::{Appending, EventsRead};
pub use event::log_state::StoredLogState;
pub use exported::{Exported, ExportedPage};
pub use fairness::read_meter::ReadMeter;
pub use fairness::slots_item::{Admission, StoredSlots};
pub use fairness::tenant_rates_item::StoredTenantRates;
pub use file::commit::{Committed, Nonce};
pub use file::history::HistoryEntry;
pub use file::index_state::{IndexDefect, Indexed};
pub use file::lists::{Attention, ConflictFilter, ConflictState, IntentStatus, Tombstones};
pub use live::sockets::Socket;
pub use live::subscriptions::Subscription;
pub use live::tickets::Ticket;
pub use log::channels::{Channel, ChannelState};
pub use log::logs::{Log, LogPosition, LogProgress};
pub use operation::drift_entries::{CandidateReason, DriftEntry, Finding};
pub use operation::inconsistencies::{Inconsistency, Subject};
pub use table::compare_and_swap::{ATTEMPTS_MAX, Attempt, Swapped, compare_and_swap};
pub use table::outcome::{Created, Updated, Written};
pub use table::page::{Page, PageRequest};
pub use table::schema::create_table;
pub use table::store::Store;
pub use table::store_error::StoreError;
pub use trail::act_item::Act;
pub use trail::acts::{Actor, PendingAct};
pub use trail::erased_item::ErasedPerson;
pub use trail::export_item::ExportState;
pub use trail::line as act_line;
pub use trail::list::ActFilter;
pub use trail::person_pass::PersonPass;
pub use trail::persons::Pseudonym;
