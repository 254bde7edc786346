//! What single operations do to a record.

mod content;
mod deciding;
mod drifting;
mod editing;
mod existence;
mod flaws;
mod permissions;
mod presence;
mod pushing;
