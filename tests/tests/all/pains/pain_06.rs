//! Later pages of a log get dropped, or the cursor jumps past what was not delivered.
