//! What single operations do to a record.

mod content;
mod deciding;
mod drifting;
mod editing;
mod existence;
mod permissions;
mod presence;
mod pushing;
