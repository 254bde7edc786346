//! Shared drives: their logs, members and files.

mod drive_logs;
mod drive_moves;
