//! Persons in the trail: the HMAC of a name under the tenant's key, and the name behind it for as
//! long as the person is not erased.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::trail::person_in;
use domain::{TenantId, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::table::item::{Checksum, Encoded, decode, encode};
use crate::table::key::{Item, Key};
use crate::table::store::Applied;
use crate::table::update::Replaces;
use crate::{Store, StoreError};

/// The members of an act whose texts are persons, whatever they look like.
const PERSONAL: [&str; 5] = ["access", "account", "created_by", "quota_user", "subject"];

/// A person in the trail: `p_` and 128 bits of the HMAC of the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// Parses a person as the trail shows it; `None` if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("p_")?;
        let bytes = URL_SAFE_NO_PAD.decode(digits).ok()?;
        (bytes.len() == 16).then(|| Self(text.to_owned()))
    }

    /// Returns it as the trail shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key of a tenant, under which persons stand in its trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrailKey {
    bytes: Vec<u8>,
}

impl TrailKey {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn pseudonym(&self, name: &str) -> Result<Pseudonym, StoreError> {
        let keyed = Hmac::<Sha256>::new_from_slice(&self.bytes);
        let mut keyed = keyed.map_err(|why| StoreError::Refused(Box::new(why)))?;
        keyed.update(name.as_bytes());
        let digest = keyed.finalize().into_bytes();
        let short = digest.get(..16).unwrap_or(&digest);
        Ok(Pseudonym(format!("p_{}", URL_SAFE_NO_PAD.encode(short))))
    }

    /// Replaces the persons that are named anywhere in a value.
    pub(crate) fn conceal(&self, value: &mut Value, is_personal: bool) -> Result<(), StoreError> {
        match value {
            Value::String(text) => {
                let found = match person_in(text) {
                    None if is_personal && !text.is_empty() => Some(("", text.as_str())),
                    found => found,
                };
                if let Some((before, name)) = found {
                    let concealed = self.pseudonym(name)?;
                    *text = format!("{before}{}", concealed.as_str());
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.conceal(item, is_personal)?;
                }
            }
            Value::Object(members) => self.conceal_members(members, is_personal)?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }

    /// Replaces the persons that are named anywhere in the members of a value.
    pub(crate) fn conceal_members(
        &self,
        members: &mut Map<String, Value>,
        is_personal: bool,
    ) -> Result<(), StoreError> {
        for (name, member) in members.iter_mut() {
            // A role beside a principal is no person.
            let is_role = name == "role";
            let personal = (is_personal && !is_role) || PERSONAL.contains(&name.as_str());
            self.conceal(member, personal)?;
        }
        // A name may be that of a member as well.
        let names: Vec<String> = members.keys().cloned().collect();
        for name in names {
            if let Some((before, person)) = person_in(&name)
                && let Some(member) = members.remove(&name)
            {
                let concealed = self.pseudonym(person)?;
                members.insert(format!("{before}{}", concealed.as_str()), member);
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct KeyBody {
    #[serde(rename = "k")]
    key: Checksum,
    since: i64,
}

#[derive(Serialize, Deserialize)]
struct PersonBody {
    #[serde(rename = "s")]
    subject: String,
}

/// The key of the tenant's key.
pub(crate) fn key_place(tenant: &TenantId) -> Key {
    Key::new(format!("T#{tenant}#TRAIL"), "KEY")
}

/// The key of the item that names a person.
pub(crate) fn person_place(tenant: &TenantId, person: &Pseudonym) -> Key {
    Key::new(format!("T#{tenant}#WHO#{}", person.as_str()), "WHO")
}

pub(crate) fn decode_key(item: Item) -> Result<TrailKey, StoreError> {
    let (place, body) = decode::<KeyBody>(item)?;
    match body.key {
        Checksum::Bytes(bytes) => Ok(TrailKey { bytes }),
        Checksum::Text(_) => Err(place.corrupt("its key is not binary")),
    }
}

pub(crate) fn decode_person(item: Item) -> Result<(Pseudonym, String), StoreError> {
    let (place, body) = decode::<PersonBody>(item)?;
    let person = place.pk.rsplit('#').next().and_then(Pseudonym::parse);
    match person {
        Some(person) => Ok((person, body.subject)),
        None => Err(place.corrupt("its key names no person")),
    }
}

pub(crate) fn encode_person(
    tenant: &TenantId,
    person: &Pseudonym,
    subject: &str,
) -> Result<Encoded, StoreError> {
    let body = PersonBody {
        subject: subject.to_owned(),
    };
    encode(&person_place(tenant, person), &body)
}

impl Store {
    pub(crate) async fn load_trail_key(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<TrailKey>, StoreError> {
        let item = self.get(&key_place(tenant)).await?;
        item.map(decode_key).transpose()
    }

    /// Returns the tenant's key: `fresh`, if there is none yet.
    pub(crate) async fn ensure_trail_key(
        &self,
        tenant: &TenantId,
        fresh: [u8; 32],
        now: Timestamp,
    ) -> Result<TrailKey, StoreError> {
        if let Some(key) = self.load_trail_key(tenant).await? {
            return Ok(key);
        }
        let alone = self.without_riders();
        let body = KeyBody {
            key: Checksum::Bytes(fresh.to_vec()),
            since: now.as_millis(),
        };
        let item = encode(&key_place(tenant), &body)?;
        match alone.put(item, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(TrailKey {
                bytes: fresh.to_vec(),
            }),
            Applied::Refused(_) => {
                let key = self.load_trail_key(tenant).await?;
                key.ok_or_else(|| StoreError::busy("the tenant's key was made and erased"))
            }
        }
    }

    /// Returns the person of the trail that a subject is; `None` if the tenant has no key, and so
    /// no act of a person.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn pseudonym(
        &self,
        tenant: &TenantId,
        subject: &str,
    ) -> Result<Option<Pseudonym>, StoreError> {
        let key = self.load_trail_key(tenant).await?;
        key.map(|key| key.pseudonym(subject)).transpose()
    }

    /// Returns the subject of a person in the trail; `None` if the person has been erased.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn subject_of(
        &self,
        tenant: &TenantId,
        person: &Pseudonym,
    ) -> Result<Option<String>, StoreError> {
        let item = self.get(&person_place(tenant, person)).await?;
        let subject = item.map(|item| decode_person(item).map(|(_, subject)| subject));
        subject.transpose()
    }

    /// Returns the subjects of persons in the trail, without those that have been erased.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn subjects_of(
        &self,
        tenant: &TenantId,
        persons: &BTreeSet<Pseudonym>,
    ) -> Result<BTreeMap<Pseudonym, String>, StoreError> {
        let places = persons.iter().map(|person| person_place(tenant, person));
        let mut subjects = BTreeMap::new();
        for item in self.get_many_now(places.collect()).await? {
            let (person, subject) = decode_person(item)?;
            subjects.insert(person, subject);
        }
        Ok(subjects)
    }

    /// Erases a person from the trail: what was done stays, and who did it is not told any more.
    /// Returns whether the trail named the person.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_person(
        &self,
        tenant: &TenantId,
        subject: &str,
    ) -> Result<bool, StoreError> {
        let Some(person) = self.pseudonym(tenant, subject).await? else {
            return Ok(false);
        };
        let was_named = self.subject_of(tenant, &person).await?.is_some();
        self.delete(&person_place(tenant, &person)).await?;
        Ok(was_named)
    }

    /// Erases the tenant's key: nobody can tell any more whether a person is in the trail. The
    /// chains can be verified as before. The items that name persons are erased by
    /// [`Store::forget_person`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn forget_trail_key(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.delete(&key_place(tenant)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(of: u8) -> TrailKey {
        TrailKey {
            bytes: vec![of; 32],
        }
    }

    #[test]
    fn a_person_is_the_same_under_one_key_and_another_under_another() {
        let ann = |of| key(of).pseudonym("ann@example.com").unwrap();
        assert_eq!(ann(1), ann(1));
        assert_ne!(ann(1), ann(2));
        assert_eq!(Pseudonym::parse(ann(1).as_str()), Some(ann(1)));
        for other in ["ann@example.com", "p_", "p_abc", ""] {
            assert_eq!(Pseudonym::parse(other), None, "{other}");
        }
    }

    #[test]
    fn no_person_is_left_in_a_value() {
        let key = key(1);
        let ann = key.pseudonym("ann@example.com").unwrap();
        let ann = ann.as_str();
        let sub = key.pseudonym("0f8c-12").unwrap();
        let mut value = json!({
            "fields": ["name", "permissions.user:ann@example.com"],
            "changes": {
                "subject": {"before": null, "after": "ann@example.com"},
                "access": {"after": [{"principal": "user:0f8c-12", "role": "viewer"}]},
                "policies": {"after": {"permissions.user:ann@example.com": "app_wins"}},
            },
            "count": 2,
        });
        key.conceal(&mut value, false).unwrap();
        let wanted = json!({
            "fields": ["name", format!("permissions.{ann}")],
            "changes": {
                "subject": {"before": null, "after": ann},
                "access": {"after": [{"principal": sub.as_str(), "role": "viewer"}]},
                "policies": {"after": {format!("permissions.{ann}"): "app_wins"}},
            },
            "count": 2,
        });
        assert_eq!(value, wanted);
    }
}
