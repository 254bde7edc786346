//! Our own writes come back as changes.
