//! Acts that are being carried out: each is written by the transaction of what it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::trail::{CHAINS, ErasedPersons};
use domain::{Cause, ConflictRecord, ConflictStatus, ConnectionKey, Decider, TenantId, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::table::item::Encoded;
use crate::table::key::{Key, shard_of};
use crate::table::store::{Boxed, Transacted};
use crate::table::update::{Replaces, Write};
use crate::trail::act_item::{ChainEnd, decode_end, encode_act, encode_end, end_place};
use crate::trail::concealment::{Concealed, attribute, conceal};
use crate::trail::export_item::ExportState;
use crate::trail::persons::{encode_person, person_place};
use crate::{Store, StoreError};

/// A person who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The subject of the token.
    pub subject: String,
    /// The role that the act was allowed by, if roles are known.
    pub role: Option<String>,
    /// The network address that the request came from, if it is known.
    pub address: Option<String>,
}

/// What is known of an act before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) tenant: TenantId,
    pub(crate) now: Timestamp,
    /// The members besides those that every act has.
    pub(crate) members: Map<String, Value>,
}

/// The acts that one transaction writes beside what was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Riders<'a> {
    /// The act of the request.
    pub(crate) pending: Option<&'a PendingAct>,
    /// The decision of a policy.
    pub(crate) policy: Option<&'a Draft>,
}

impl Riders<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_none() && self.policy.is_none()
    }

    /// Says that the acts are stored.
    pub(crate) fn stored(&self) {
        if let Some(pending) = self.pending {
            pending.mark_stored();
        }
    }
}

/// The act of a request that is being carried out, to be written with its first change. Clones are
/// the same act.
#[derive(Debug, Clone)]
pub struct PendingAct {
    by: Arc<Actor>,
    draft: Arc<Mutex<Draft>>,
    fresh_key: [u8; 32],
    stored: Arc<AtomicBool>,
    erased: Arc<OnceCell<ErasedPersons>>,
}

impl PendingAct {
    /// Creates the act of a person. `what` is the operation. `fresh_key` are random bytes: the key
    /// of the tenant's persons, if it has none yet.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        by: Actor,
        what: &str,
        now: Timestamp,
        fresh_key: [u8; 32],
    ) -> Self {
        let members = Map::from_iter([("what".to_owned(), what.into())]);
        let draft = Draft {
            tenant,
            now,
            members,
        };
        Self {
            by: Arc::new(by),
            draft: Arc::new(Mutex::new(draft)),
            fresh_key,
            stored: Arc::default(),
            erased: Arc::default(),
        }
    }

    /// Reads once which persons of the tenant were erased: who acts may be one of them.
    async fn erased(&self, store: &Store) -> Result<&ErasedPersons, StoreError> {
        let tenant = self.draft().tenant;
        let read = || async move { store.load_erased_persons(&tenant).await };
        self.erased.get_or_try_init(read).await
    }

    /// Adds a member: an id, the members that were changed. Persons in it are concealed when it is
    /// written. Does nothing once the act is stored.
    pub fn tell(&self, name: &str, value: impl Into<Value>) {
        let draft = self.draft.lock();
        let mut draft = draft.unwrap_or_else(PoisonError::into_inner);
        draft.members.insert(name.to_owned(), value.into());
    }

    /// Returns whether it is stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.stored.load(Ordering::Acquire)
    }

    /// Says that it is stored: by an earlier call that was interrupted.
    pub fn mark_stored(&self) {
        self.stored.store(true, Ordering::Release);
    }

    pub(crate) fn draft(&self) -> Draft {
        let draft = self.draft.lock();
        draft.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the act of the connection's policies, if they have decided any of these conflicts. It
/// names no person: the field of a permission stands without its principal.
pub(crate) fn policy_act<'a>(
    key: &ConnectionKey,
    conflicts: impl Iterator<Item = &'a ConflictRecord>,
) -> Option<Draft> {
    let mut decided: Vec<(&ConflictRecord, Timestamp)> = Vec::new();
    for conflict in conflicts {
        match &conflict.status {
            ConflictStatus::Resolved(resolution) if resolution.by == Decider::Policy => {
                decided.push((conflict, resolution.at));
            }
            ConflictStatus::Resolved(_) | ConflictStatus::Open | ConflictStatus::Closed { .. } => {}
        }
    }
    let (first, now) = *decided.first()?;
    let ids = decided.iter().map(|(conflict, _)| {
        let label = conflict.id.field.label();
        let label = match label.split_once(':') {
            Some((principal, _)) if label.starts_with("permissions.") => principal,
            Some(_) | None => label.as_str(),
        };
        Value::from(format!("{label}#{}", conflict.id.number))
    });
    let mut members = Map::from_iter([
        ("what".to_owned(), "decide_by_policy".into()),
        ("by".to_owned(), "policy".into()),
        ("connection".to_owned(), key.connection.as_str().into()),
        ("file".to_owned(), first.id.file.as_str().into()),
        ("count".to_owned(), decided.len().into()),
        ("ids".to_owned(), ids.collect::<Vec<_>>().into()),
    ]);
    if let Some(asked) = &first.asked {
        let endpoint = &asked.question.resolver.endpoint;
        members.insert("webhook".to_owned(), endpoint.as_str().into());
    }
    Some(Draft {
        tenant: key.tenant.clone(),
        now,
        members,
    })
}

/// Returns the chain of an act: those at the same time are spread by their causes and files. The
/// next attempt tries the next chain.
fn chain_of(cause: Option<Cause>, file: &str, attempt: u8) -> u8 {
    let cause = cause.map(|cause| cause.to_string()).unwrap_or_default();
    shard_of(&format!("{cause}{file}"), CHAINS).wrapping_add(attempt) % CHAINS
}

/// Acts that are ready to be added to a chain.
#[derive(Debug)]
pub(crate) struct Ready {
    tenant: TenantId,
    now: Timestamp,
    acts: Vec<Map<String, Value>>,
    /// The item that names the person, if there is none yet.
    person: Option<Write>,
    file: String,
}

impl Store {
    /// Returns the same table, whose next write (one that may be refused for a condition, or a
    /// transaction) also writes the act: both or neither.
    #[must_use]
    pub fn acting(&self, act: &PendingAct) -> Self {
        Self {
            act: Some(act.clone()),
            ..self.clone()
        }
    }

    /// Keeps acts for this number of days. The default is 400.
    #[must_use]
    pub fn keeping_acts_for(self, days: u32) -> Self {
        Self {
            retention: self.retention.keeping_acts_for(days),
            ..self
        }
    }

    /// Writes the act by itself, unless it is stored: the request changes nothing in the table.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_act(&self, act: &PendingAct) -> Result<(), StoreError> {
        if act.is_stored() {
            return Ok(());
        }
        let alone = self.without_riders().acting(act);
        match alone.transact(Vec::new()).await? {
            Transacted::Done => Ok(()),
            Transacted::Refused(_) => Err(StoreError::busy("the act was not stored")),
        }
    }

    /// Returns the writes of a request with what stands in place of erased persons: who acts may be
    /// one.
    pub(crate) fn shown_writes(&self, writes: Vec<Write>) -> Boxed<'_, Vec<Write>> {
        Box::pin(async move {
            let Some(act) = &self.act else {
                return Ok(writes);
            };
            let erased = act.erased(self).await?;
            if erased.is_empty() {
                return Ok(writes);
            }
            let shown = writes
                .into_iter()
                .map(|write| without_erased(write, erased));
            shown.collect()
        })
    }

    /// Prepares acts: their persons are concealed.
    pub(crate) fn prepare<'a>(&'a self, riders: Riders<'a>) -> Boxed<'a, Option<Ready>> {
        Box::pin(self.prepare_all(riders))
    }

    async fn prepare_all(&self, riders: Riders<'_>) -> Result<Option<Ready>, StoreError> {
        let mut ready: Option<Ready> = None;
        if let Some(pending) = riders.pending {
            ready = Some(self.prepare_pending(pending).await?);
        }
        if let Some(policy) = riders.policy {
            let members = policy.members.clone();
            let file = members.get("file").and_then(Value::as_str);
            let file = file.unwrap_or_default().to_owned();
            let ready = ready.get_or_insert_with(|| Ready {
                tenant: policy.tenant.clone(),
                now: policy.now,
                acts: Vec::new(),
                person: None,
                file,
            });
            ready.acts.push(members);
        }
        Ok(ready)
    }

    async fn prepare_pending(&self, pending: &PendingAct) -> Result<Ready, StoreError> {
        let Draft {
            tenant,
            now,
            mut members,
        } = pending.draft();
        let actor = &pending.by;
        let key = self.ensure_trail_key(&tenant, pending.fresh_key, now);
        let key = key.await?;
        let subject = pending.erased(self).await?.shown(actor.subject.clone());
        let by = key.pseudonym(&subject)?;
        let mut person = None;
        if self.get(&person_place(&tenant, &by)).await?.is_none() {
            let item = encode_person(&tenant, &by, &subject)?;
            person = Some(Write::Put(item, Replaces::Whatever));
        }
        key.conceal_members(&mut members, false)?;
        members.insert("by".to_owned(), by.as_str().into());
        if let Some(role) = &actor.role {
            members.insert("role".to_owned(), role.as_str().into());
        }
        if let Some(address) = &actor.address {
            let from = key.pseudonym(address)?;
            members.insert("from".to_owned(), from.as_str().into());
        }
        Ok(Ready {
            tenant,
            now,
            acts: vec![members],
            person,
            file: String::new(),
        })
    }

    /// Returns the writes that add acts to a chain, after its end as it is now. The last one has
    /// the condition that this is still its end.
    pub(crate) fn chained<'a>(&'a self, ready: &'a Ready, attempt: u8) -> Boxed<'a, Vec<Write>> {
        Box::pin(self.chain_writes(ready, attempt))
    }

    async fn chain_writes(&self, ready: &Ready, attempt: u8) -> Result<Vec<Write>, StoreError> {
        let chain = chain_of(self.cause, &ready.file, attempt);
        let tenant = &ready.tenant;
        let stored = self.get(&end_place(tenant, chain)).await?;
        let mut end = stored.map_or(Ok(ChainEnd::NONE), decode_end)?;
        let replaces = match end.number {
            0 => Replaces::Nothing,
            number => Replaces::Revision(number),
        };
        if end.number == 0 {
            // First: a tenant with acts is one whose days are exported.
            let exports = ExportState::first(tenant, ready.now);
            self.without_riders().begin_exports(&exports).await?;
        }
        // By their times, the acts of a chain are in the order of their numbers.
        let at = ready.now.max(end.at);
        let mut writes: Vec<Write> = ready.person.iter().cloned().collect();
        for act in &ready.acts {
            let mut act = act.clone();
            act.insert("at".to_owned(), at.to_string().into());
            act.insert("tenant".to_owned(), tenant.as_str().into());
            if let Some(cause) = self.cause {
                act.insert("cause".to_owned(), cause.to_string().into());
            }
            let (mut item, next) = encode_act(tenant, chain, &end, at, act)?;
            item.expire(self.retention.of_act(at));
            writes.push(Write::Put(item, Replaces::Nothing));
            end = next;
        }
        writes.push(Write::Put(encode_end(tenant, chain, &end)?, replaces));
        Ok(writes)
    }

    /// Returns the same table, whose next write stores no answer, act or admission.
    pub(crate) fn without_riders(&self) -> Self {
        Self {
            keyed: None,
            act: None,
            admission: None,
            ..self.clone()
        }
    }
}

/// Returns a write with what stands in place of erased persons.
fn without_erased(write: Write, erased: &ErasedPersons) -> Result<Write, StoreError> {
    Ok(match write {
        Write::Put(encoded, replaces) => {
            let encoded = match conceal(&encoded.item, erased) {
                Concealed::Changed(item) => Encoded {
                    key: Key::of(&item)?,
                    item,
                    ..encoded
                },
                Concealed::Same | Concealed::Deleted => encoded,
            };
            Write::Put(encoded, replaces)
        }
        Write::Update(mut update) => {
            for (name, value) in &mut update.values {
                let name = name.strip_prefix(':').unwrap_or_default();
                if let Some(shown) = attribute(name, value, erased) {
                    *value = shown;
                }
            }
            Write::Update(update)
        }
        write @ (Write::Delete(_) | Write::Answer(..)) => write,
    })
}
