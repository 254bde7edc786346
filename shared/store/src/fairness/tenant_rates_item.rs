//! The rates of a tenant, shared by all workers: one small item.

use domain::rate_limit::{OwedAllowance, TenantRates};
use domain::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::connection::stored_rate_limit::{BucketItem, nonce_text};
use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::{Nonce, Store, StoreError, Written};

/// The rates of a tenant as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTenantRates {
    /// The revision: the condition of the next write. 0 before it is stored.
    pub revision: u64,
    /// The rates.
    pub rates: TenantRates,
}

/// The item expires after this time without a request, in milliseconds.
const TTL_MILLIS: i64 = 24 * 3_600 * 1_000;

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    nonce: String,
    requests: BucketItem,
    reads: BucketItem,
    live: BucketItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edits: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_at: Option<i64>,
    expires: i64,
}

impl Store {
    /// Reads a tenant's rates consistently; `None` if it has used nothing lately.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_tenant_rates(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<StoredTenantRates>, StoreError> {
        let item = self.get(&Key::tenant_rates(tenant)).await?;
        item.map(decode_tenant_rates).transpose()
    }

    /// Replaces a tenant's rates on condition of the revision that they were computed from (0: that
    /// there are none); `Done` carries the next one. `nonce` is drawn anew for each write.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_tenant_rates(
        &self,
        tenant: &TenantId,
        before: u64,
        rates: &TenantRates,
        nonce: Nonce,
    ) -> Result<Written<StoredTenantRates>, StoreError> {
        let next = StoredTenantRates {
            revision: before + 1,
            rates: *rates,
        };
        let item = encode_tenant_rates(tenant, &next, nonce)?;
        self.put_shared(item, before, next, nonce, decode_tenant_rates)
            .await
    }
}

pub(crate) fn encode_tenant_rates(
    tenant: &TenantId,
    stored: &StoredTenantRates,
    nonce: Nonce,
) -> Result<Encoded, StoreError> {
    let rates = stored.rates;
    let touched: Timestamp = rates.requests.at.max(rates.reads.at).max(rates.live.at);
    let body = Body {
        revision: stored.revision,
        nonce: nonce_text(nonce),
        requests: rates.requests.into(),
        reads: rates.reads.into(),
        live: rates.live.into(),
        edits: rates.owed.map(|owed| owed.edits),
        counted_at: rates.owed.map(|owed| owed.counted_at.as_millis()),
        expires: touched.plus_millis(TTL_MILLIS).as_seconds(),
    };
    encode(&Key::tenant_rates(tenant), &body)
}

pub(crate) fn decode_tenant_rates(item: Item) -> Result<StoredTenantRates, StoreError> {
    let (_, body) = decode::<Body>(item)?;
    let owed = |(edits, counted)| OwedAllowance {
        edits,
        counted_at: at(counted),
    };
    Ok(StoredTenantRates {
        revision: body.revision,
        rates: TenantRates {
            requests: body.requests.into(),
            reads: body.reads.into(),
            live: body.live.into(),
            owed: body.edits.zip(body.counted_at).map(owed),
        },
    })
}
