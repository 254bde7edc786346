#![doc = include_str!("../README.md")]

pub mod aws;
pub mod front;
pub mod functions;
pub mod identity;
pub mod sources;
pub mod system;
