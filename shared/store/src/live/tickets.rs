//! Tickets: each opens one socket, once. They are found by their hash alone, since a client
//! that opens a socket has nothing else to show.

use std::collections::BTreeSet;

use domain::live::Holder;
use domain::{Role, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::file::value_item::at;
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::{Replaces, Update};
use crate::{Store, StoreError};

/// A ticket for one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The tenant of the holder.
    pub tenant: TenantId,
    /// The holder.
    pub holder: Holder,
    /// The time from which it opens nothing.
    pub expires_at: Timestamp,
}

impl Store {
    /// Stores a ticket by the SHA-256 of its text.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_ticket(&self, hash: &[u8; 32], ticket: &Ticket) -> Result<(), StoreError> {
        match self
            .put(encode_ticket(hash, ticket)?, Replaces::Nothing)
            .await?
        {
            Applied::Done(_) => Ok(()),
            Applied::Refused(_) => Err(StoreError::busy("there is a ticket with this hash")),
        }
    }

    /// Takes a ticket: of all that ask, one gets it. `None` if there is none, or if its time has
    /// passed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn take_ticket(
        &self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Ticket>, StoreError> {
        let key = Key::ticket(hash);
        let Some(item) = self.get(&key).await? else {
            return Ok(None);
        };
        let ticket = decode_ticket(item)?;
        match self.delete_when(Update::of(key)).await? {
            Applied::Done(_) => Ok(Some(ticket).filter(|ticket| ticket.expires_at > now)),
            Applied::Refused(_) => Ok(None),
        }
    }
}

/// A holder, as tickets, sockets and subscriptions store it.
#[derive(Serialize, Deserialize)]
pub(crate) struct HolderItem {
    subject: String,
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    expires_at: i64,
}

impl HolderItem {
    pub(crate) fn of(holder: &Holder) -> Self {
        Self {
            subject: holder.subject.clone(),
            role: holder.role.as_str().to_owned(),
            groups: holder.groups.iter().cloned().collect(),
            expires_at: holder.expires_at.as_millis(),
        }
    }

    /// A role that this build does not know is the lowest one.
    pub(crate) fn into_holder(self) -> Holder {
        Holder {
            subject: self.subject,
            role: Role::parse(&self.role).unwrap_or(Role::Viewer),
            groups: BTreeSet::from_iter(self.groups),
            expires_at: at(self.expires_at),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    tenant: String,
    holder: HolderItem,
    expires_at: i64,
}

fn encode_ticket(hash: &[u8; 32], ticket: &Ticket) -> Result<Encoded, StoreError> {
    let body = Body {
        tenant: ticket.tenant.as_str().to_owned(),
        holder: HolderItem::of(&ticket.holder),
        expires_at: ticket.expires_at.as_millis(),
    };
    let mut item = encode(&Key::ticket(hash), &body)?;
    item.expire(ticket.expires_at);
    Ok(item)
}

fn decode_ticket(item: Item) -> Result<Ticket, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let tenant = TenantId::parse(&body.tenant);
    Ok(Ticket {
        tenant: tenant.map_err(|_| place.corrupt("its tenant is invalid"))?,
        holder: body.holder.into_holder(),
        expires_at: at(body.expires_at),
    })
}
