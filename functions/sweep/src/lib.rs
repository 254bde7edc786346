//! The function sweep.
