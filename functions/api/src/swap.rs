//! Conditional writes of items that others write concurrently.

use store::{Attempt, Swapped, Written, compare_and_swap};

use crate::http::Problem;

/// Repeats `attempt`, from the state that the caller loaded, while other writers are faster.
/// `what` names the item.
///
/// # Errors
/// The first error of an attempt; 503 if other writers keep being faster.
pub(crate) async fn swap<S, T, E, F>(
    what: &str,
    state: S,
    attempt: impl FnMut(S) -> F,
) -> Result<T, E>
where
    E: From<Problem>,
    F: Future<Output = Result<Attempt<S, T>, E>>,
{
    match compare_and_swap(state, attempt).await? {
        Swapped::Done(done) => Ok(done),
        Swapped::Contended(_) => {
            let detail = format!("other writers keep changing {what}");
            Err(Problem::busy(detail, 1).into())
        }
    }
}

/// Returns the outcome of a write as an attempt.
///
/// # Errors
/// 404 if there is no such item any more.
pub(crate) fn attempt<S>(what: &str, written: Written<S>) -> Result<Attempt<S, S>, Problem> {
    match written {
        Written::Done(after) => Ok(Attempt::Done(after)),
        Written::Stale(Some(current)) => Ok(Attempt::Stale(current)),
        Written::Stale(None) => Err(Problem::not_found(what)),
    }
}
