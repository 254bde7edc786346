#![doc = include_str!("../README.md")]

pub mod aws;
pub mod clock;
pub mod env;
pub mod invocation;
pub mod metrics;
pub mod telemetry;

pub use clock::{Clock, Deadline, Entropy};
pub use env::{Settings, SettingsError};
pub use invocation::VersionCheck;
