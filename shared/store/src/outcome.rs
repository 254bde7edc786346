//! What becomes of a write. All of these are expected; none is an error.

/// The outcome of making something that may exist already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<T> {
    /// It did not exist; now it does.
    Created,
    /// It exists already, in this state, and was left alone.
    Exists(T),
}

/// The outcome of a write on condition of the state that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written<T> {
    /// Done; this is the state now.
    Done(T),
    /// The state that was read is not the current one: this is, or nothing is there any more. Nothing was written.
    Stale(Option<T>),
}

/// The outcome of an update of something that must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// Done.
    Done,
    /// It is not there, or not in a state that can be updated so. Nothing was written.
    Absent,
}
