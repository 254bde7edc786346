//! Single operations on a record.

mod content;
mod deciding;
mod drifting;
mod editing;
mod existence;
mod inconsistencies;
mod permissions;
mod presence;
mod pushing;
