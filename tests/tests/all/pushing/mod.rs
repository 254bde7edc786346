//! Edits of the application, and how they reach Drive.

mod broken_assumptions;
mod bulk_writes;
mod concurrent_edits;
mod scope_rules;
mod single_edits;
