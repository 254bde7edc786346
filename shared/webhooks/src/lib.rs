#![doc = include_str!("../README.md")]

mod client;
mod root_secret;
mod signature;
mod target;

pub use client::{Answer, Client, Lookup, PostError, Reply, TIMEOUT, Transport, system_lookup};
pub use root_secret::{RootKeyError, RootSecret};
pub use signature::{RootKey, SigningSecret, sign, signing_secret};
pub use target::{Refused, Rules};
