//! Entries that tell of nothing that we keep.
