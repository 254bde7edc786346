//! What the functions say in their logs, and what is measured from it.

mod causes;
mod log_privacy;
mod measurements;
