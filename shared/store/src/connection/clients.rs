//! Clients: machines that call the API in the name of a tenant. An operator writes their items;
//! nothing here does.

use domain::{ClientId, Role, TenantId, role_of_claim};
use serde::{Deserialize, Serialize};

use crate::table::item::decode;
use crate::table::key::{Item, Key};
use crate::{Store, StoreError};

/// A machine that calls the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The tenant whose data it may access.
    pub tenant: TenantId,
    /// The highest role that it may have.
    pub role: Role,
}

impl Store {
    /// Reads a client consistently. Its tenant is part of the value, because its token names only
    /// the id. A role that this build does not know is the lowest one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        let item = self.get(&Key::client(id)).await?;
        item.map(decode_client).transpose()
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    role: String,
}

fn decode_client(item: Item) -> Result<Client, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let tenant = TenantId::parse(&body.tenant);
    Ok(Client {
        tenant: tenant.map_err(|_| place.corrupt("its tenant is invalid"))?,
        role: role_of_claim(Some(&body.role)),
    })
}
