//! Outcomes of writes. All of them are expected; none is an error.

/// The outcome of creating something that may already exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created<T> {
    /// It did not exist and was created.
    Created,
    /// It exists already, in this state, and was not changed.
    Exists(T),
}

/// The outcome of a write on condition of the state that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written<T> {
    /// The write is done; this is the state now.
    Done(T),
    /// The state that was read is not the current one: this is, or there is none any more. Nothing
    /// was written.
    Stale(Option<T>),
}

/// The outcome of an update of something that must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// The update is done.
    Done,
    /// It does not exist, or its state does not allow the update. Nothing was written.
    Absent,
}
