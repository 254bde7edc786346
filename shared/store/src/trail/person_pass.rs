//! One look at the items of a tenant for what names a person.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::operation::{PersonFound, PersonPart};
use domain::trail::ErasedPersons;
use domain::{ConnectionId, FileId, TenantId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::erase::kind_of;
use crate::table::item::Encoded;
use crate::table::key::{HEAD, Item, Key, tenant_pk};
use crate::table::store::{Applied, ROUNDS_MAX, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::trail::concealment::{Concealed, conceal, is_in_drive, is_in_settings};
use crate::{Store, StoreError};

/// The items that are written at a time.
const AT_ONCE: usize = 16;

/// The look at a person's items.
#[derive(Debug, Clone)]
pub struct PersonPass<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The person alone ([`Store::load_erased_person`]).
    pub erased: &'a ErasedPersons,
    /// The number that stands in place of the name.
    pub number: u32,
    /// What is done with the items.
    pub part: PersonPart,
}

impl Store {
    /// Reads one part of the table, whatever is in it, for the items of a tenant that name a
    /// person, and replaces the name in them unless they are only counted. Returns what it has
    /// found, and the position after which the next part begins; `None` at the end of the table.
    ///
    /// # Errors
    /// [`StoreError`]; a repeat finds what is left.
    pub async fn look_for_person(
        &self,
        pass: &PersonPass<'_>,
        after: Option<&str>,
    ) -> Result<(PersonFound, Option<String>), StoreError> {
        let (items, next) = self.scan_part(after).await?;
        let own = tenant_pk(pass.tenant);
        let of_tenant = format!("{own}#");
        let mut found = PersonFound::default();
        let mut named = Vec::new();
        for item in items {
            let place = Key::of(&item)?;
            if place.pk != own && !place.pk.starts_with(&of_tenant) {
                continue;
            }
            let concealed = conceal(&item, pass.erased);
            if concealed != Concealed::Same {
                *found.counts.entry(kind_of(&place.sk)).or_default() += 1;
            }
            if pass.part == PersonPart::Verify {
                let seen = match &concealed {
                    Concealed::Changed(after) => after,
                    Concealed::Same | Concealed::Deleted => &item,
                };
                note(&mut found, pass, &place, seen);
            }
            if concealed != Concealed::Same {
                named.push(item);
            }
        }
        if pass.part != PersonPart::Count {
            stream::iter(named)
                .map(|item| async move { Box::pin(self.replace_in(item, pass.erased)).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
        }
        Ok((found, next))
    }

    /// Replaces the person in an item, as it is now: others may write it at the same time.
    async fn replace_in(&self, item: Item, erased: &ErasedPersons) -> Result<(), StoreError> {
        let mut current = Some(item);
        for _ in 0..ROUNDS_MAX {
            let Some(before) = current else {
                return Ok(());
            };
            let place = Key::of(&before)?;
            let done = match conceal(&before, erased) {
                Concealed::Same => return Ok(()),
                Concealed::Deleted => return self.delete(&place).await,
                Concealed::Changed(after) if Key::of(&after)? == place => {
                    let update = changes(&before, &after, unchanged(&before, &after));
                    matches!(self.update(update).await?, Applied::Done(_))
                }
                Concealed::Changed(after) => self.move_item(&before, after).await?,
            };
            if done {
                return Ok(());
            }
            current = self.get(&place).await?;
        }
        Err(StoreError::busy(
            "an item that names the person keeps changing",
        ))
    }

    /// Moves an item to another key. What is there already was written later.
    async fn move_item(&self, before: &Item, after: Item) -> Result<bool, StoreError> {
        let key = Key::of(&after)?;
        let guard = unchanged(before, &after);
        if self.get(&key).await?.is_some() {
            return Ok(matches!(self.delete_when(guard).await?, Applied::Done(_)));
        }
        let moved = Encoded {
            item: after,
            key,
            known: &[],
        };
        let writes = vec![Write::Delete(guard), Write::Put(moved, Replaces::Nothing)];
        Ok(matches!(self.transact(writes).await?, Transacted::Done))
    }
}

fn revision(item: &Item) -> Option<u64> {
    item.get("revision")?.as_n().ok()?.parse().ok()
}

/// Starts an update on condition that an item is as it was read: by its revision, if it has one.
fn unchanged(before: &Item, after: &Item) -> Update {
    let update = Update::of(Key {
        pk: text(before, "PK"),
        sk: text(before, "SK"),
    });
    match revision(before) {
        Some(revision) => update.when_number("revision", revision),
        None => differing(before, after).fold(update, |update, (name, _)| {
            update.when(name, before.get(name).cloned())
        }),
    }
}

fn text(item: &Item, name: &str) -> String {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.cloned().unwrap_or_default()
}

/// Returns the attributes that differ, without the key.
fn differing<'a>(
    before: &'a Item,
    after: &'a Item,
) -> impl Iterator<Item = (&'a str, &'a AttributeValue)> {
    let is_key = |name: &str| name == "PK" || name == "SK";
    after
        .iter()
        .filter(move |(name, value)| !is_key(name) && before.get(*name) != Some(*value))
        .map(|(name, value)| (name.as_str(), value))
}

/// Adds what differs to an update, and the next revision: what was read before is not written any
/// more.
fn changes(before: &Item, after: &Item, update: Update) -> Update {
    let update = differing(before, after).fold(update, |update, (name, value)| {
        update.set(name, value.clone())
    });
    match revision(before) {
        Some(revision) => update.set_number("revision", revision + 1),
        None => update,
    }
}

/// Notes where the person still is, by an item that names it no more.
fn note(found: &mut PersonFound, pass: &PersonPass<'_>, place: &Key, item: &Item) {
    if let Some(id) = place.sk.strip_prefix("CONN#")
        && is_in_settings(item, pass.erased)
    {
        found.in_settings.extend(ConnectionId::parse(id).ok());
    }
    let files = format!("{}#F#", tenant_pk(pass.tenant));
    let file = place.pk.strip_prefix(&files).filter(|_| place.sk == HEAD);
    if let Some((connection, file)) = file.and_then(|file| file.split_once('#'))
        && is_in_drive(item, pass.number)
        && let Ok(connection) = ConnectionId::parse(connection)
        && let Ok(file) = FileId::parse(file)
    {
        found.in_drive.push((connection, file));
    }
}
