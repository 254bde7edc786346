#![doc = include_str!("../README.md")]

pub mod aws;
pub mod canary;
pub mod gateway;
pub mod google_check;
pub mod private;
pub mod sources;
pub mod system;
