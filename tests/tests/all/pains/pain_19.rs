//! Snapshots and writes come out of order.
