#![doc = include_str!("../README.md")]

mod address;
mod client;
mod signature;
mod target;

pub use address::is_public;
pub use client::{Answer, Client, Lookup, PostError, SECONDS_MAX, Transport, system_lookup};
pub use signature::{RootKey, SigningSecret, sign, signing_secret};
pub use target::{Refused, Rules, URL_BYTES_MAX};
