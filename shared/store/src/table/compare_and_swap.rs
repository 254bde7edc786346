//! The loop around conditional writes of items that others write concurrently.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_continues_from_the_state_that_was_faster() {
        let swapped = compare_and_swap(1, async |state| match state {
            3 => Ok::<_, ()>(Attempt::Done("written")),
            stale => Ok(Attempt::Stale(stale + 1)),
        });
        assert_eq!(swapped.await, Ok(Swapped::Done("written")));
    }

    #[tokio::test]
    async fn the_attempts_are_bounded_and_an_error_ends_them() {
        let stale = async |state| Ok::<_, ()>(Attempt::<_, ()>::Stale(state + 1));
        let contended = compare_and_swap(0, stale).await;
        assert_eq!(contended, Ok(Swapped::Contended(ATTEMPTS_MAX)));
        let failed = compare_and_swap(0, async |_| Err::<Attempt<_, ()>, _>("failed")).await;
        assert_eq!(failed, Err("failed"));
    }
}
