//! The rules of two-way sync. Pure: no I/O, no clock, no async; cannot fail.
