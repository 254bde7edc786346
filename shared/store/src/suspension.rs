//! Suspending a connection that nothing can succeed for.

use domain::{ConnectionKey, Timestamp};

use crate::{ConnectionState, Store, StoreError, Written};

/// Rounds against others who write the same connection.
const ROUNDS_MAX: usize = 8;

impl Store {
    /// Suspends an active connection, with the reason that a person must mend. A connection that is not
    /// active, or not there, is left as it is.
    ///
    /// # Errors
    /// [`StoreError`] where the table did not do it.
    pub async fn suspend(
        &self,
        key: &ConnectionKey,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut current = self.load_connection(key).await?;
        for _ in 0..ROUNDS_MAX {
            let Some(connection) = current.filter(|c| c.state == ConnectionState::Active) else {
                return Ok(());
            };
            let suspended = ConnectionState::Suspended {
                reason: reason.to_owned(),
                at: now,
            };
            match self.set_connection_state(&connection, suspended).await? {
                Written::Done(_) => return Ok(()),
                Written::Stale(newer) => current = newer,
            }
        }
        Err(StoreError::busy(
            "the connection is written by others all the time",
        ))
    }
}
