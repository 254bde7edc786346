//! Shortcuts go stale, break, and run in circles.
