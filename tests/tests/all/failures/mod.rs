//! Failures of Drive and of the system itself.

mod drive_failures;
mod killed_process;
mod passing_trouble;
