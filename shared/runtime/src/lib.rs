//! What every function does around its work.
