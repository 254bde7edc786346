//! What a tenant has begun and not ended: one item, replaced in the transaction that begins more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::rate_limit::{Slot, SlotKind, Slots};
use domain::{ConnectionId, ConnectionKey, LogId, OperationId, TenantId};
use serde::{Deserialize, Serialize};

use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::{Replaces, Write};
use crate::{ATTEMPTS_MAX, Store, StoreError};

/// What a tenant has begun, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredSlots {
    /// The revision: the condition of the next write. 0 before it is stored.
    pub revision: u64,
    /// The slots.
    pub slots: Slots,
}

/// Slots to be stored in the transaction of the next write, on condition that nobody else has begun
/// anything since they were read. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Admission {
    tenant: TenantId,
    before: u64,
    slots: Slots,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    stored: AtomicBool,
    stale: AtomicBool,
}

impl Admission {
    /// Creates the admission that takes the place of what was read.
    #[must_use]
    pub fn new(tenant: TenantId, before: &StoredSlots, slots: Slots) -> Self {
        Self {
            tenant,
            before: before.revision,
            slots,
            state: Arc::default(),
        }
    }

    /// Returns whether a write failed because somebody else began something meanwhile.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.state.stale.load(Ordering::Acquire)
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.state.stored.load(Ordering::Acquire)
    }

    pub(crate) fn stored(&self) {
        self.state.stored.store(true, Ordering::Release);
    }

    pub(crate) fn refused(&self) {
        self.state.stale.store(true, Ordering::Release);
    }

    pub(crate) fn write(&self) -> Result<Write, StoreError> {
        let replaces = match self.before {
            0 => Replaces::Nothing,
            before => Replaces::Revision(before),
        };
        let next = StoredSlots {
            revision: self.before + 1,
            slots: self.slots.clone(),
        };
        Ok(Write::Put(encode_slots(&self.tenant, &next)?, replaces))
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    slots: Vec<SlotItem>,
}

#[derive(Serialize, Deserialize)]
struct SlotItem {
    /// The connection.
    c: String,
    /// The id of an operation or of an upload.
    id: String,
    /// The bytes of an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The log of an audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

impl Store {
    /// Reads consistently what a tenant has begun.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_slots(&self, tenant: &TenantId) -> Result<StoredSlots, StoreError> {
        let item = self.get(&Key::slots(tenant)).await?;
        Ok(item.map(decode_slots).transpose()?.unwrap_or_default())
    }

    /// Returns the same table, whose next write stores the admission as well, or fails with
    /// [`Admission::is_stale`].
    #[must_use]
    pub fn admitting(&self, admission: &Admission) -> Self {
        Self {
            admission: Some(admission.clone()),
            ..self.clone()
        }
    }

    /// Takes the slots of a connection out: nothing of it is counted any more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn remove_slots_of(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.load_slots(&key.tenant).await?;
            let own = |slot: &&Slot| slot.connection == key.connection;
            let ended: Vec<Slot> = before.slots.0.iter().filter(own).cloned().collect();
            if ended.is_empty() {
                return Ok(());
            }
            let left = StoredSlots {
                revision: before.revision + 1,
                slots: before.slots.without(&ended),
            };
            let left = encode_slots(&key.tenant, &left)?;
            match self.put(left, Replaces::Revision(before.revision)).await? {
                Applied::Done(_) => return Ok(()),
                Applied::Refused(_) => {}
            }
        }
        Err(StoreError::busy("the tenant keeps beginning something"))
    }
}

pub(crate) fn encode_slots(tenant: &TenantId, stored: &StoredSlots) -> Result<Encoded, StoreError> {
    let slot = |slot: &Slot| {
        let c = slot.connection.to_string();
        match &slot.kind {
            SlotKind::Upload { id, bytes } => SlotItem {
                c,
                id: id.clone(),
                bytes: Some(*bytes),
                log: None,
            },
            SlotKind::Operation { id, audits } => SlotItem {
                c,
                id: id.to_string(),
                bytes: None,
                log: audits.as_ref().map(LogId::to_string),
            },
        }
    };
    let body = Body {
        revision: stored.revision,
        slots: stored.slots.0.iter().map(slot).collect(),
    };
    encode(&Key::slots(tenant), &body)
}

pub(crate) fn decode_slots(item: Item) -> Result<StoredSlots, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let slot = |item: SlotItem| {
        let connection = ConnectionId::parse(&item.c).ok()?;
        let kind = match item.bytes {
            Some(bytes) => SlotKind::Upload { id: item.id, bytes },
            None => SlotKind::Operation {
                id: OperationId::parse(&item.id).ok()?,
                audits: match item.log {
                    Some(log) => Some(LogId::parse(&log).ok()?),
                    None => None,
                },
            },
        };
        Some(Slot { connection, kind })
    };
    let slots: Option<Vec<Slot>> = body.slots.into_iter().map(slot).collect();
    match slots {
        Some(slots) => Ok(StoredSlots {
            revision: body.revision,
            slots: Slots(slots),
        }),
        None => Err(place.corrupt("a slot's ids are invalid")),
    }
}
