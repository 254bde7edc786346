//! Files that disappear from Drive.

mod batched_lookups;
mod mass_removal;
mod presence;
