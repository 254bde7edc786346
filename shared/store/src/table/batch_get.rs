//! Reads, writes and deletions of many items in one call, with retries of those that DynamoDB left
//! unprocessed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;
use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};

use crate::table::key::{Item, Key};
use crate::table::store::{ROUNDS_MAX, pause, sent};
use crate::{Store, StoreError};

/// The most keys of one `BatchGetItem`.
const GETS_MAX: usize = 100;
/// The most requests of one `BatchWriteItem`.
const WRITES_MAX: usize = 25;

impl Store {
    /// Reads the items that exist, in no order, with eventual consistency. `attributes` limits the
    /// attributes that are returned (DynamoDB reads and charges the whole item all the same).
    pub(crate) async fn get_many(
        &self,
        keys: BTreeSet<Key>,
        attributes: Option<&'static str>,
    ) -> Result<Vec<Item>, StoreError> {
        let attributes = attributes.map(str::to_owned);
        let wanted = KeysAndAttributes::builder().set_projection_expression(attributes);
        self.get_chunks(&keys, wanted).await
    }

    /// Reads the items that exist, in no order, consistently.
    pub(crate) async fn get_many_now(&self, keys: BTreeSet<Key>) -> Result<Vec<Item>, StoreError> {
        let wanted = KeysAndAttributes::builder().consistent_read(true);
        self.get_chunks(&keys, wanted).await
    }

    async fn get_chunks(
        &self,
        keys: &BTreeSet<Key>,
        wanted: KeysAndAttributesBuilder,
    ) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(Key::to_item).collect();
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(GETS_MAX) {
            let wanted = wanted.clone().set_keys(Some(chunk.to_vec())).build()?;
            self.get_chunk(wanted, &mut found).await?;
        }
        Ok(found)
    }

    async fn get_chunk(
        &self,
        mut wanted: KeysAndAttributes,
        found: &mut Vec<Item>,
    ) -> Result<(), StoreError> {
        for round in 0..ROUNDS_MAX {
            let call = self.client.batch_get_item();
            let mut output = sent(call.request_items(&self.table, wanted).send()).await?;
            let items = output
                .responses
                .as_mut()
                .and_then(|all| all.remove(&self.table));
            let items = items.unwrap_or_default();
            self.count_read(items.len() as u64);
            found.extend(items);
            let rest = output
                .unprocessed_keys
                .as_mut()
                .and_then(|all| all.remove(&self.table));
            match rest {
                Some(rest) if !rest.keys().is_empty() => wanted = rest,
                Some(_) | None => return Ok(()),
            }
            pause(round).await;
        }
        Err(StoreError::busy("some keys stayed unprocessed"))
    }

    /// Writes items unconditionally; all of them or an error. Of two with the same key the later
    /// one is written (DynamoDB refuses a batch that names a key twice).
    pub(crate) async fn put_many(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let mut by_key = BTreeMap::new();
        for item in items {
            by_key.insert(Key::of(&item)?, item);
        }
        let mut requests = Vec::with_capacity(by_key.len());
        for item in by_key.into_values() {
            let put = PutRequest::builder().set_item(Some(item)).build()?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        self.write_chunks(&requests).await
    }

    /// Deletes items, whatever they are; all of them or an error.
    pub(crate) async fn delete_many(&self, keys: BTreeSet<Key>) -> Result<(), StoreError> {
        let mut requests = Vec::with_capacity(keys.len());
        for key in keys {
            let delete = DeleteRequest::builder()
                .set_key(Some(key.to_item()))
                .build()?;
            requests.push(WriteRequest::builder().delete_request(delete).build());
        }
        self.write_chunks(&requests).await
    }

    async fn write_chunks(&self, requests: &[WriteRequest]) -> Result<(), StoreError> {
        for chunk in requests.chunks(WRITES_MAX) {
            self.write_chunk(chunk.to_vec()).await?;
        }
        Ok(())
    }

    async fn write_chunk(&self, mut requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        for round in 0..ROUNDS_MAX {
            let call = self.client.batch_write_item();
            let mut output = sent(call.request_items(&self.table, requests).send()).await?;
            let rest = output
                .unprocessed_items
                .as_mut()
                .and_then(|all| all.remove(&self.table));
            match rest {
                Some(rest) if !rest.is_empty() => requests = rest,
                Some(_) | None => return Ok(()),
            }
            pause(round).await;
        }
        Err(StoreError::busy("some items stayed unprocessed"))
    }
}
