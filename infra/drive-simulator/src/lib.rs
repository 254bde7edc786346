#![doc = include_str!("../README.md")]

mod clock;
mod errors;
mod fault_injection;
mod fields;
mod http;
mod ids;
mod multipart;
mod notify;
mod query;
mod quota;
mod simulator;
mod state;

pub use clock::TimeSource;
pub use errors::{DriveError, Location};
pub use fault_injection::{CorruptBody, Fault, FaultResponse, FaultScope};
pub use http::{media::upload_sessions::UploadCondition, serve::hosts::Hosts};
pub use notify::{NotificationPolicy, SendNotification};
pub use quota::{Counters, QuotaLimits};
pub use simulator::{
    Edit, FileSnapshot, Options, Simulator, Totals,
    generated_files::GeneratedFile,
    library::{IGNORED_DIRECTORIES, LoadError, LoadReport},
};
pub use state::{
    change_logs::watch_limits::WatchLimits, items::breaches::Breach, sharing::permission::Role,
};
