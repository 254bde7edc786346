//! The deletion of a connection, its restoration, and what is left of it after its erasure.

use domain::rate_limit::Limits;
use domain::{
    Account, ConnectionKey, ContentSettings, Operation, OperationId, Policies, RemovalLimits,
    Rules, TenantId, Timestamp,
};

use crate::connection::deletion_item::{Deletion, Erased};
use crate::log::logs::encode_log;
use crate::operation::operation_item::encode_operation;
use crate::operation::operations::if_standing;
use crate::table::update::{Replaces, Write};
use crate::{
    Connection, ConnectionState, Log, Page, PageRequest, Scope, Store, StoreError, Written,
};

impl Connection {
    /// Returns whether it was not deleted.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state != ConnectionState::Deleting
    }

    /// Returns whether it was erased: this is what is left of it.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        let deletion = self.deletion.as_ref();
        deletion.is_some_and(|deletion| deletion.erased.is_some())
    }

    /// Returns it as one that was deleted by this person, with this operation to erase it: now,
    /// unless it was deleted before.
    #[must_use]
    pub fn deleted(&self, by: &str, erasure: OperationId, now: Timestamp) -> Self {
        let (generation, at, by) = match &self.deletion {
            Some(deletion) => (self.generation, deletion.at, deletion.by.clone()),
            None => (self.generation + 1, now, by.to_owned()),
        };
        Self {
            state: ConnectionState::Deleting,
            generation,
            deletion: Some(Deletion {
                at,
                by,
                operation: erasure,
                erased: None,
            }),
            ..self.clone()
        }
    }

    /// Returns what is left of it after its erasure: the id, which is never used again, the
    /// generation, and the certificate.
    #[must_use]
    pub fn tombstone(&self, erased: Erased) -> Self {
        let deletion = self.deletion.clone().map(|deletion| Deletion {
            erased: Some(erased),
            ..deletion
        });
        Self {
            key: self.key.clone(),
            revision: self.revision,
            name: String::new(),
            scope: Scope::User,
            secret_id: String::new(),
            subject: None,
            quota_user: None,
            limits: Limits::default(),
            policies: Policies::default(),
            rules: Rules::default(),
            content: ContentSettings::default(),
            account: Account::default(),
            my_drive: None,
            access: None,
            own_domains: None,
            removals: RemovalLimits::default(),
            comparison_interval: self.comparison_interval,
            state: ConnectionState::Deleting,
            generation: self.generation,
            deletion,
            owed_held: false,
            created_at: self.created_at,
            created_by: String::new(),
            last_request: None,
        }
    }
}

impl Store {
    /// Returns whether a connection was deleted; false of one that was never stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn was_deleted(&self, key: &ConnectionKey) -> Result<bool, StoreError> {
        let found = self.load_any_connection(key).await?;
        Ok(found.is_some_and(|connection| !connection.exists()))
    }

    /// Lists a tenant's connections that were deleted, by id: those that can be restored, and what
    /// is left of the others. Every page but the last is full.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_deleted_connections(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<Connection>, StoreError> {
        let deleted = |connection: &Connection| !connection.exists();
        self.list_any_connections(tenant, page, deleted).await
    }

    /// Replaces a connection by `deleted`, which has a deletion, and creates the operation that
    /// erases it, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_connection(
        &self,
        deleted: &Connection,
        erasure: &Operation,
    ) -> Result<Written<Connection>, StoreError> {
        let operation = encode_operation(&self.with_cause(erasure))?;
        let creation = Write::Put(operation, Replaces::Nothing);
        self.save_with(deleted, vec![creation]).await
    }

    /// Replaces a deleted connection by `restored`, with a log of which nothing was read, on
    /// condition that its erasure still stands where `before` has it; that one becomes `after`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn restore_connection(
        &self,
        restored: &Connection,
        log: &Log,
        before: &Operation,
        after: &Operation,
    ) -> Result<Written<Connection>, StoreError> {
        let writes = vec![
            Write::Update(self.operation_update(before, after)?),
            Write::Put(encode_log(log)?, Replaces::Nothing),
        ];
        self.save_with(restored, writes).await
    }

    /// Replaces a deleted connection by its tombstone and deletes the item of its erasure, on
    /// condition that it still stands where `erasure` has it: the last write of an erasure.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish_erasure(
        &self,
        tombstone: &Connection,
        erasure: &Operation,
    ) -> Result<Written<Connection>, StoreError> {
        let end = Write::Delete(if_standing(erasure));
        self.save_with(tombstone, vec![end]).await
    }
}
