//! Changes in Drive, and how they are recorded and shown.

mod arrivals;
mod first_listing;
mod folder_changes;
mod hostile_names;
mod ordering;
mod oversized;
mod several_parents;
mod shortcut_targets;
mod unknown_values;
mod version_only;
