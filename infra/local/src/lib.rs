#![doc = include_str!("../README.md")]

pub mod aws;
pub mod canary;
pub mod gateway;
pub mod google_check;
pub mod private;
#[expect(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rehearsal that can't go on must end at once: it is no part of the system"
)]
pub mod rehearsal;
pub mod sources;
pub mod system;
