//! The function apply-snapshots.
