//! The invocations in progress, which can be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError};

/// The time that a killed invocation that was waited for has run: long enough for its first calls,
/// too short for its last.
const DOOMED_AFTER: Duration = Duration::from_millis(5);

/// The functions that event sources invoke.
pub const FUNCTIONS: [&str; 8] = [
    "fetch-changes",
    "apply-snapshots",
    "push-intents",
    "mirror-content",
    "run-operations",
    "publish-events",
    "live",
    "sweep",
];

/// Runs invocations, each in a task of its own: if it panics or is killed, its event is delivered
/// again, as after a crash on AWS.
#[derive(Debug, Clone, Default)]
pub struct Invocations(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<&'static str, Vec<AbortHandle>>,
    /// The functions whose next invocation is killed.
    doomed: BTreeSet<&'static str>,
}

impl Invocations {
    /// Runs an invocation of a function to its end.
    ///
    /// # Errors
    /// [`JoinError`] if it panicked or was killed.
    pub async fn run<T: Send + 'static>(
        &self,
        function: &'static str,
        invocation: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let task = tokio::spawn(invocation);
        let doomed = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let running = state.running.entry(function).or_default();
            running.retain(|earlier| !earlier.is_finished());
            running.push(task.abort_handle());
            state.doomed.remove(function)
        };
        if doomed {
            tokio::time::sleep(DOOMED_AFTER).await;
            task.abort();
        }
        task.await
    }

    /// Returns the number of invocations in progress, for each function.
    #[must_use]
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |function: &'static str| {
            let running = state.running.get(function).into_iter().flatten();
            running.filter(|task| !task.is_finished()).count()
        };
        FUNCTIONS.map(|name| (name, count(name))).into()
    }

    /// Kills the invocations of a function that are in progress and returns their number. If there
    /// are none, the next one is killed.
    #[must_use]
    pub fn kill(&self, function: &'static str) -> usize {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = state.running.remove(function).unwrap_or_default();
        running.retain(|task| !task.is_finished());
        for task in &running {
            task.abort();
        }
        if running.is_empty() {
            state.doomed.insert(function);
        }
        running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_invocation_ends_and_the_next_one_runs() {
        let invocations = Invocations::default();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let runner = invocations.clone();
        let first = tokio::spawn(async move {
            let work = async move {
                let _ = begun.send(());
                std::future::pending::<()>().await;
            };
            runner.run("live", work).await
        });
        has_begun.await.unwrap();
        assert_eq!(invocations.running()["live"], 1);
        assert_eq!(invocations.kill("live"), 1);
        assert!(first.await.unwrap().unwrap_err().is_cancelled());
        assert_eq!(invocations.running()["live"], 0);
        assert_eq!(invocations.run("live", async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn without_an_invocation_in_progress_the_next_one_is_killed() {
        let invocations = Invocations::default();
        assert_eq!(invocations.kill("sweep"), 0);
        assert_eq!(invocations.run("live", async { 7 }).await.unwrap(), 7);
        let killed = invocations.run("sweep", std::future::pending::<()>()).await;
        assert!(killed.unwrap_err().is_cancelled());
        assert_eq!(invocations.run("sweep", async { 7 }).await.unwrap(), 7);
    }
}
