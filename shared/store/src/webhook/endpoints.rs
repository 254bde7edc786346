//! The webhook endpoints of a tenant.

use std::collections::BTreeSet;

use domain::webhook::Endpoint;
use domain::{ConnectionKey, EndpointId, TenantId, Timestamp};

use crate::table::key::Key;
use crate::table::range::Range;
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::table::whole_range::readable;
use crate::webhook::endpoint_item::{
    HOOK, decode_endpoint, encode_endpoint, endpoint_key, endpoint_pk, endpoints_pk,
};
use crate::{Attempt, Created, Store, StoreError, Swapped, Written, compare_and_swap};

/// The items of one query.
const PAGE: u32 = 200;

/// A webhook endpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEndpoint {
    /// The tenant.
    pub tenant: TenantId,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The revision: the condition of the next write.
    pub revision: u64,
}

impl Store {
    /// Creates an endpoint, with revision 1.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &Endpoint,
    ) -> Result<Created<StoredEndpoint>, StoreError> {
        let item = encode_endpoint(tenant, endpoint, 1)?;
        let stored = match self.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => return Ok(Created::Created),
            Applied::Refused(Some(stored)) => decode_endpoint(tenant, stored)?,
            Applied::Refused(None) => match self.load_endpoint(tenant, &endpoint.id).await? {
                Some(stored) => stored,
                None => return Err(StoreError::busy("the endpoint came and went")),
            },
        };
        // The answer of our own write was lost.
        Ok(match stored.endpoint == *endpoint {
            true => Created::Created,
            false => Created::Exists(stored),
        })
    }

    /// Reads an endpoint consistently; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_endpoint(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
    ) -> Result<Option<StoredEndpoint>, StoreError> {
        let item = self.get(&endpoint_key(tenant, id)).await?;
        item.map(|item| decode_endpoint(tenant, item)).transpose()
    }

    /// Reads all endpoints of a tenant, consistently, by id. One that can't be read is counted, and
    /// holds up no others.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_endpoints(
        &self,
        tenant: &TenantId,
    ) -> Result<(Vec<StoredEndpoint>, usize), StoreError> {
        let range = Range::prefix(None, endpoints_pk(tenant), HOOK);
        let items = self.whole_range(range, PAGE).await?;
        readable(items, |item| decode_endpoint(tenant, item))
    }

    /// Replaces an endpoint by `next` on condition of its revision, and moves it to its place in
    /// the index of due items.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_endpoint(
        &self,
        before: &StoredEndpoint,
        next: &Endpoint,
    ) -> Result<Written<StoredEndpoint>, StoreError> {
        let StoredEndpoint {
            tenant, revision, ..
        } = before;
        let next = StoredEndpoint {
            tenant: tenant.clone(),
            endpoint: next.clone(),
            revision: revision + 1,
        };
        let item = encode_endpoint(tenant, &next.endpoint, next.revision)?;
        let stored = match self.put(item, Replaces::Revision(*revision)).await? {
            Applied::Done(_) => return Ok(Written::Done(next)),
            Applied::Refused(Some(stored)) => Some(decode_endpoint(tenant, stored)?),
            Applied::Refused(None) => self.load_endpoint(tenant, &next.endpoint.id).await?,
        };
        // The answer of our own write was lost.
        Ok(match stored.as_ref() == Some(&next) {
            true => Written::Done(next),
            false => Written::Stale(stored),
        })
    }

    /// Changes an endpoint as `change` says, again if others write at the same time. Returns it as
    /// it is then; `None` if there is none, or if `change` returns `None` for the state that it is
    /// in.
    ///
    /// # Errors
    /// [`StoreError`], also if others keep changing it.
    pub async fn change_endpoint(
        &self,
        stored: StoredEndpoint,
        change: impl Fn(&Endpoint) -> Option<Endpoint>,
    ) -> Result<Option<StoredEndpoint>, StoreError> {
        let change = &change;
        let changed = compare_and_swap(stored, |stored| async move {
            let Some(next) = change(&stored.endpoint) else {
                return Ok::<_, StoreError>(Attempt::Done(None));
            };
            if next == stored.endpoint {
                return Ok(Attempt::Done(Some(stored)));
            }
            Ok(match self.save_endpoint(&stored, &next).await? {
                Written::Done(next) => Attempt::Done(Some(next)),
                Written::Stale(Some(current)) => Attempt::Stale(current),
                Written::Stale(None) => Attempt::Done(None),
            })
        });
        match changed.await? {
            Swapped::Done(changed) => Ok(changed),
            Swapped::Contended(_) => Err(StoreError::busy("concurrent writes of the endpoint")),
        }
    }

    /// Deletes an endpoint, and then its places and what was delivered to it.
    ///
    /// # Errors
    /// [`StoreError`]; what is left of it is deleted by a repeat.
    pub async fn delete_endpoint(
        &self,
        tenant: &TenantId,
        id: &EndpointId,
    ) -> Result<(), StoreError> {
        self.delete(&endpoint_key(tenant, id)).await?;
        let mut range = Range::partition(endpoint_pk(tenant, id));
        loop {
            let slice = self.slice(&range, PAGE).await?;
            let last = slice.last_sk()?;
            let keys = slice.items.iter().map(Key::of);
            let keys: BTreeSet<Key> = keys.collect::<Result<_, _>>()?;
            self.delete_many(keys).await?;
            match last {
                Some(last) if slice.more => range = range.after(&last)?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Disables the endpoints of a tenant whose makers were erased. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`]; a repeat does what is left.
    pub async fn disable_orphaned_endpoints(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut disabled = 0;
        let (all, _) = self.list_endpoints(tenant).await?;
        for stored in all {
            let orphaned = |endpoint: &Endpoint| endpoint.without_maker(now);
            let changed = self.change_endpoint(stored, orphaned).await?;
            disabled += usize::from(changed.is_some());
        }
        Ok(disabled)
    }

    /// Takes a connection that was erased out of the endpoints of its tenant.
    ///
    /// # Errors
    /// [`StoreError`]; a repeat does what is left.
    pub async fn take_from_endpoints(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (all, _) = self.list_endpoints(&key.tenant).await?;
        for stored in all {
            let narrowed = |endpoint: &Endpoint| endpoint.without(&key.connection, now);
            self.change_endpoint(stored, narrowed).await?;
        }
        Ok(())
    }
}
