//! Suspending a connection for which nothing can succeed.

use domain::{ConnectionKey, Timestamp};

use crate::{Attempt, ConnectionState, Store, StoreError, Swapped, Written, compare_and_swap};

impl Store {
    /// Suspends an active connection, with the cause that a person must remove. A connection that
    /// is not active, or does not exist, is left unchanged.
    ///
    /// # Errors
    /// [`StoreError`] if DynamoDB failed.
    pub async fn suspend(
        &self,
        key: &ConnectionKey,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let current = self.load_connection(key).await?;
        let suspended = compare_and_swap(current, |current| async {
            let Some(connection) = current.filter(|c| c.state == ConnectionState::Active) else {
                return Ok::<_, StoreError>(Attempt::Done(()));
            };
            let suspended = ConnectionState::Suspended {
                reason: reason.to_owned(),
                at: now,
            };
            match self.set_connection_state(&connection, suspended).await? {
                Written::Done(_) => Ok(Attempt::Done(())),
                Written::Stale(newer) => Ok(Attempt::Stale(newer)),
            }
        });
        match suspended.await? {
            Swapped::Done(()) => Ok(()),
            Swapped::Contended(_) => Err(StoreError::busy("concurrent writes of the connection")),
        }
    }
}
