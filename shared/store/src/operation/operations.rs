//! Operations: tracked runs, and the pages of file ids that a listing queued.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ConnectionKey, FileId, Operation, OperationId};

use crate::log::logs::{LogPosition, log_key};
use crate::operation::operation_item::{
    decode_operation, decode_page, encode_operation, encode_page, operation_attributes,
    operation_key, page_key, pages_prefix,
};
use crate::table::item::EXPIRES;
use crate::table::key::connection_pk;
use crate::table::range::Range;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{Created, Page, PageRequest, Store, StoreError, Written};

/// The number of operations, the newest, among which a pending scan is looked for.
const RECENT: u32 = 50;

impl Store {
    /// Creates an operation that no log waits for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_operation(
        &self,
        operation: &Operation,
    ) -> Result<Created<Operation>, StoreError> {
        let operation = &self.with_cause(operation);
        match self
            .put(encode_operation(operation)?, Replaces::Nothing)
            .await?
        {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let current = decode_operation(&operation.key, item)?;
                Ok(if current == *operation {
                    Created::Created
                } else {
                    Created::Exists(current)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("the existing item was not returned")),
        }
    }

    /// Returns an operation that is about to be stored, with the cause that it keeps from then on.
    pub(crate) fn with_cause(&self, operation: &Operation) -> Operation {
        Operation {
            cause: operation.cause.or(self.cause),
            ..operation.clone()
        }
    }

    /// Creates a content scan, unless one is pending already. Returns whether it was created. The
    /// records that the scan is for must be stored before the call: a scan that is pending during
    /// the call processes all of them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn schedule_scan(&self, scan: &Operation) -> Result<bool, StoreError> {
        let recent = self.recent_operations(&scan.key).await?;
        if recent.iter().any(Operation::is_pending_scan) {
            return Ok(false);
        }
        match self.create_operation(scan).await? {
            Created::Created => Ok(true),
            Created::Exists(_) => Err(StoreError::busy("the operation id is already in use")),
        }
    }

    /// Lists a connection's newest operations, up to fifty, consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn recent_operations(
        &self,
        key: &ConnectionKey,
    ) -> Result<Vec<Operation>, StoreError> {
        let newest = PageRequest {
            limit: RECENT,
            cursor: None,
        };
        Ok(self.list_operations(key, &newest).await?.items)
    }

    /// Reads one operation consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_operation(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        let item = self.get(&operation_key(key, id)).await?;
        item.map(|item| decode_operation(key, item)).transpose()
    }

    /// Lists a connection's operations, newest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_operations(
        &self,
        key: &ConnectionKey,
        page: &PageRequest,
    ) -> Result<Page<Operation>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), "OP#").descending();
        let decode = |item| decode_operation(key, item);
        self.list_range("operations", all, page, decode).await
    }

    /// Records that the next page of the listing is durably queued, if the operation still stands
    /// where `before` has it: the ids of the page, and `after`. The log that waits for the listing
    /// is followed from its last page on. A page that `after` does not count, since the listing
    /// stops at it, is not recorded.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_page(
        &self,
        before: &Operation,
        after: &Operation,
        ids: &[FileId],
    ) -> Result<Written<Operation>, StoreError> {
        let number = before.pages_recorded();
        if after.pages_recorded() == number {
            return self.advance_operation(before, after).await;
        }
        let place = page_key(&before.key, &before.id, number);
        let page = encode_page(before, place, ids)?;
        let mut writes = vec![
            Write::Put(page, Replaces::Whatever),
            Write::Update(self.operation_update(before, after)?),
        ];
        if before.blocks_log() && !after.blocks_log() {
            let waiting = LogPosition::Listing(before.id.clone());
            let log = Update::of(log_key(&before.key, &before.log))
                .when_text("position", &waiting.text())
                .set_text("position", LogPosition::Following.text());
            writes.push(Write::Update(log));
        }
        match self.transact(writes).await? {
            Transacted::Done => Ok(Written::Done(after.clone())),
            Transacted::Refused(_) => {
                let current = self.load_operation(&before.key, &before.id).await?;
                Ok(Written::Stale(current))
            }
        }
    }

    /// Reads the ids of the `number`-th page, counted from 0; `None` if it was never recorded or
    /// has expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_page(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        number: u32,
    ) -> Result<Option<Vec<FileId>>, StoreError> {
        let Some(item) = self.get(&page_key(key, id, number)).await? else {
            return Ok(None);
        };
        decode_page(item).map(Some)
    }

    /// Lists the ids of a listing's pages, from the `first`-th on, counted from 0, in order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_pages(
        &self,
        key: &ConnectionKey,
        id: &OperationId,
        first: u32,
        page: &PageRequest,
    ) -> Result<Page<Vec<FileId>>, StoreError> {
        let all = Range::prefix(None, connection_pk(key), &pages_prefix(id));
        let all = match first.checked_sub(1) {
            Some(before) => all.after(&page_key(key, id, before).sk)?,
            None => all,
        };
        self.list_range("pages", all, page, decode_page).await
    }

    /// Moves an operation from `before` to `after`, if it still stands where `before` has it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn advance_operation(
        &self,
        before: &Operation,
        after: &Operation,
    ) -> Result<Written<Operation>, StoreError> {
        let current = match self.update(self.operation_update(before, after)?).await? {
            Applied::Done(item) => return Ok(Written::Done(decode_operation(&after.key, item)?)),
            Applied::Refused(current) => current,
        };
        let current = current
            .map(|item| decode_operation(&after.key, item))
            .transpose()?;
        // The stored value is the one to be written: our own write, whose response was lost.
        Ok(if current.as_ref() == Some(after) {
            Written::Done(after.clone())
        } else {
            Written::Stale(current)
        })
    }

    /// Returns the update that makes `after` out of `before`, on condition of [`if_standing`].
    pub(crate) fn operation_update(
        &self,
        before: &Operation,
        after: &Operation,
    ) -> Result<Update, StoreError> {
        let mut update = if_standing(before);
        let (old, new) = (operation_attributes(before)?, operation_attributes(after)?);
        for (name, value) in &new {
            if old.get(name) != Some(value) {
                update = update.set(name, value.clone());
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            update = update.remove(name);
        }
        if let Some(expires) = self.retention.of_operation(after) {
            update = update.set_number(EXPIRES, expires.as_seconds());
        }
        Ok(update.due(after.due_at))
    }
}

/// Starts an update of an operation, on condition that it still stands where `before` has it
/// ([`Operation::stands_like`]).
pub(crate) fn if_standing(before: &Operation) -> Update {
    let form = before.form();
    let second_pages = form.second_look.map(|second| second.pages.to_string());
    Update::of(operation_key(&before.key, &before.id))
        .when_text("state", form.state.label())
        .when("position", form.position.map(AttributeValue::S))
        .when("page_token", form.page_token.map(AttributeValue::S))
        .when_number("pages", form.pages)
        .when("second_pages", second_pages.map(AttributeValue::N))
        .when_number("pages_verified", form.pages_verified)
}
