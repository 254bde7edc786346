//! Single operations on a record.

mod content_actions;
mod content_fields;
mod deciding;
mod drifting;
mod editing;
mod existence;
mod inconsistencies;
mod permission_fields;
mod presence;
mod pushing;
mod recognising;
