//! The loop around conditional writes of items that others write concurrently.

use super::outcome::Written;

/// The most attempts of [`compare_and_swap`].
pub const ATTEMPTS_MAX: usize = 16;

/// The result of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt<S, T> {
    /// The write is done, or none is necessary.
    Done(T),
    /// Another writer was faster: this is the state now.
    Stale(S),
}

impl<T> From<Written<T>> for Attempt<Option<T>, T> {
    fn from(written: Written<T>) -> Self {
        match written {
            Written::Done(now) => Self::Done(now),
            Written::Stale(now) => Self::Stale(now),
        }
    }
}

/// The result of all attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped<S, T> {
    /// An attempt succeeded.
    Done(T),
    /// Other writers were faster [`ATTEMPTS_MAX`] times: this is the last known state.
    Contended(S),
}

/// Repeats `attempt` (decide on the given state, then write on condition of it) while other writers
/// are faster. The first attempt receives `state`, each further one the state that the attempt
/// before it ended with.
///
/// # Errors
/// The first error of an attempt.
pub async fn compare_and_swap<S, T, E, F>(
    state: S,
    mut attempt: impl FnMut(S) -> F,
) -> Result<Swapped<S, T>, E>
where
    F: Future<Output = Result<Attempt<S, T>, E>>,
{
    let mut state = state;
    for _ in 0..ATTEMPTS_MAX {
        match attempt(state).await? {
            Attempt::Done(done) => return Ok(Swapped::Done(done)),
            Attempt::Stale(now) => state = now,
        }
    }
    Ok(Swapped::Contended(state))
}
