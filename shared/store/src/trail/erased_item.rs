//! The persons of a tenant that were erased: the HMAC of each name, and the number that stands in
//! its place. The item has a key of its own, so it names nobody, and the trail is not needed to
//! read it.

use std::collections::BTreeMap;

use domain::TenantId;
use domain::trail::{ErasedPersons, person_name};
use serde::{Deserialize, Serialize};

use crate::table::item::{Checksum, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::trail::persons::{Pseudonym, TrailKey};
use crate::{Attempt, Store, StoreError, Swapped, compare_and_swap};

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    #[serde(rename = "k")]
    key: Checksum,
    #[serde(rename = "n", default)]
    numbers: BTreeMap<String, u32>,
}

/// The persons of a tenant that were erased, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Erased {
    revision: u64,
    key: TrailKey,
    numbers: BTreeMap<String, u32>,
}

/// A person as the erasure knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedPerson {
    /// The HMAC of the name.
    pub pseudonym: Pseudonym,
    /// The number that stands in place of the name; `None` if the person was not erased.
    pub number: Option<u32>,
}

pub(crate) fn erased_place(tenant: &TenantId) -> Key {
    Key::new(format!("T#{tenant}#TRAIL"), "ERASED")
}

fn decode_erased(item: Item) -> Result<Erased, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    match body.key {
        Checksum::Bytes(bytes) => Ok(Erased {
            revision: body.revision,
            key: TrailKey::new(bytes),
            numbers: body.numbers,
        }),
        Checksum::Text(_) => Err(place.corrupt("its key is not binary")),
    }
}

impl Erased {
    fn new(fresh_key: [u8; 32]) -> Self {
        Self {
            revision: 0,
            key: TrailKey::new(fresh_key.to_vec()),
            numbers: BTreeMap::new(),
        }
    }

    fn person(&self, name: &str) -> Result<ErasedPerson, StoreError> {
        let pseudonym = self.key.pseudonym(&person_name(name))?;
        let number = self.numbers.get(pseudonym.as_str()).copied();
        Ok(ErasedPerson { pseudonym, number })
    }

    /// Returns the persons of which `number` accepts the pseudonym.
    fn persons(
        self,
        number: impl Fn(&Self, &Pseudonym) -> Option<u32> + Send + Sync + 'static,
    ) -> ErasedPersons {
        ErasedPersons::new(move |name| {
            let pseudonym = self.key.pseudonym(name).ok()?;
            number(&self, &pseudonym)
        })
    }
}

impl Store {
    /// Reads which persons of a tenant were erased.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_erased_persons(
        &self,
        tenant: &TenantId,
    ) -> Result<ErasedPersons, StoreError> {
        let erased = self.load_erased(tenant).await?;
        let erased = erased.filter(|erased| !erased.numbers.is_empty());
        Ok(erased.map_or_else(ErasedPersons::default, |erased| {
            erased.persons(|erased, pseudonym| erased.numbers.get(pseudonym.as_str()).copied())
        }))
    }

    /// Reads the erased persons as if there were one only: the one with this HMAC, whose names the
    /// number stands for.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_erased_person(
        &self,
        tenant: &TenantId,
        pseudonym: &str,
        number: u32,
    ) -> Result<ErasedPersons, StoreError> {
        let wanted = Pseudonym::parse(pseudonym);
        let erased = self.load_erased(tenant).await?;
        Ok(match (erased, wanted) {
            (Some(erased), Some(wanted)) => {
                erased.persons(move |_, named| (*named == wanted).then_some(number))
            }
            _ => ErasedPersons::default(),
        })
    }

    async fn load_erased(&self, tenant: &TenantId) -> Result<Option<Erased>, StoreError> {
        let item = self.get(&erased_place(tenant)).await?;
        item.map(decode_erased).transpose()
    }

    /// Returns a person without erasing it. `fresh_key` are random bytes: the key of the names, if
    /// the tenant has none yet.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn person_to_erase(
        &self,
        tenant: &TenantId,
        name: &str,
        fresh_key: [u8; 32],
    ) -> Result<ErasedPerson, StoreError> {
        let with_key = |erased: &Erased| (erased.revision == 0).then(|| erased.clone());
        let (_, person) = self.change(tenant, name, fresh_key, with_key).await?;
        Ok(person)
    }

    /// Has a number stand in place of a person's name from now on: the same one, if the person was
    /// erased before. The trail names the person no more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_person(
        &self,
        tenant: &TenantId,
        name: &str,
        fresh_key: [u8; 32],
    ) -> Result<(Pseudonym, u32), StoreError> {
        let numbered = |erased: &Erased| {
            let person = erased.person(name).ok()?;
            let next = erased.numbers.values().max().map_or(1, |last| last + 1);
            let mut after = erased.clone();
            let key = person.pseudonym.as_str().to_owned();
            person.number.is_none().then(|| {
                after.numbers.insert(key, next);
                after
            })
        };
        let (erased, person) = self.change(tenant, name, fresh_key, numbered).await?;
        for name in [name.trim(), &person_name(name)] {
            self.without_riders().forget_person(tenant, name).await?;
        }
        let number = erased.numbers.get(person.pseudonym.as_str()).copied();
        let number = number.ok_or_else(|| StoreError::busy("the person was not numbered"))?;
        Ok((person.pseudonym, number))
    }

    /// Stores what `change` makes of the erased persons, if it makes anything.
    async fn change(
        &self,
        tenant: &TenantId,
        name: &str,
        fresh_key: [u8; 32],
        change: impl Fn(&Erased) -> Option<Erased>,
    ) -> Result<(Erased, ErasedPerson), StoreError> {
        let alone = &self.without_riders();
        let first = alone.load_erased(tenant).await?;
        let first = first.unwrap_or_else(|| Erased::new(fresh_key));
        let change = &change;
        let changed = compare_and_swap(first, |before| async move {
            let Some(after) = change(&before) else {
                return Ok::<_, StoreError>(Attempt::Done(before));
            };
            let replaces = match before.revision {
                0 => Replaces::Nothing,
                revision => Replaces::Revision(revision),
            };
            let after = Erased {
                revision: before.revision + 1,
                ..after
            };
            let body = Body {
                revision: after.revision,
                key: Checksum::Bytes(after.key.bytes().to_vec()),
                numbers: after.numbers.clone(),
            };
            let item = encode(&erased_place(tenant), &body)?;
            Ok(match alone.put(item, replaces).await? {
                Applied::Done(_) => Attempt::Done(after),
                Applied::Refused(Some(current)) => Attempt::Stale(decode_erased(current)?),
                Applied::Refused(None) => Attempt::Stale(Erased::new(fresh_key)),
            })
        });
        match changed.await? {
            Swapped::Done(erased) => {
                let person = erased.person(name)?;
                Ok((erased, person))
            }
            Swapped::Contended(_) => Err(StoreError::busy("other persons are being erased")),
        }
    }

    /// Forgets which persons of a tenant were erased, and with them the key of their names.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_erased_persons(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.delete(&erased_place(tenant)).await
    }
}
