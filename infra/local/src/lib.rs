#![doc = include_str!("../README.md")]

pub mod aws;
pub mod gateway;
pub mod private;
pub mod sources;
pub mod system;
