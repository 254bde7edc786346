#![doc = include_str!("../README.md")]

pub mod aws;
pub mod clock;
pub mod env;
pub mod telemetry;

pub use clock::{Clock, Deadline, Entropy};
pub use env::{Settings, SettingsError};
