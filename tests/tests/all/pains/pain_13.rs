//! Drive limits rates, and says so with many statuses.
