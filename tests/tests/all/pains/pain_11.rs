//! Removed, trashed and unshared look alike, and a restored file moves no time.
