#![doc = include_str!("../README.md")]

mod clock;
mod errors;
mod faults;
mod fields;
mod http;
mod ids;
mod load;
mod multipart;
mod notify;
mod query;
mod quota;
mod reasons;
mod serve;
mod sharing;
mod simulator;
mod state;

pub use clock::Now;
pub use errors::{DriveError, Location};
pub use faults::{Fault, FaultAnswer, Spoil};
pub use http::UploadCondition;
pub use load::{LEFT_OUT, LoadError, LoadReport};
pub use notify::{Deliver, NotificationPolicy};
pub use quota::{Counters, QuotaLimits};
pub use simulator::{Edit, FileSnapshot, Generated, Options, Simulator, Totals};
pub use state::{item::Role, throttle::WatchLimits};
