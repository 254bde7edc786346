//! The cursor in a change log.

mod change_pages;
mod lost_cursor;
