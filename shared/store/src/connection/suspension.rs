//! Suspending a connection for which nothing can succeed.

use domain::{ConnectionKey, Timestamp};

use crate::{ConnectionState, Store, StoreError, Written};

/// The most attempts against concurrent writers of the same connection.
const ROUNDS_MAX: usize = 8;

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
        Err(StoreError::busy("concurrent writes of the connection"))
    }
}
