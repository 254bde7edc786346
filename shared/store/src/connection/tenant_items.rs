//! What is stored of a tenant beside its connections.

use std::collections::BTreeSet;

use domain::operation::ErasedCounts;
use domain::{ConnectionKey, TenantId};

use crate::erase::{kind_of, text};
use crate::table::key::{Item, Key, connection_pk, tenant_pk};
use crate::{Store, StoreError};

/// What is done with the items of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantItems {
    /// They are counted.
    Count,
    /// They are deleted.
    Delete,
}

/// Returns whether an item of a tenant stays after the erasure of the tenant: what is left of its
/// connections, the acts with the ends of their chains, and the certificates. None of them can tell
/// who a person in an act was.
fn stays(tenant: &TenantId, place: &Key) -> bool {
    let own = tenant_pk(tenant);
    let certificates = [
        ConnectionKey::of_persons(tenant.clone()),
        ConnectionKey::of_tenant(tenant.clone()),
    ];
    let is_trail = place.pk == format!("{own}#TRAIL");
    (place.pk == own && place.sk.starts_with("CONN#"))
        || place.pk.starts_with(&format!("{own}#AUDIT#"))
        || (is_trail && (place.sk.starts_with("CHAIN#") || place.sk == "EXPORT"))
        || certificates
            .iter()
            .any(|key| place.pk == connection_pk(key))
}

/// Returns whether an item is the tenant's, whatever it is.
fn is_of(tenant: &TenantId, place: &Key, item: &Item) -> bool {
    let own = tenant_pk(tenant);
    let is_channel = place.pk.starts_with("CHANNEL#");
    place.pk == own
        || place.pk.starts_with(&format!("{own}#"))
        || (is_channel && text(item, "tenant") == Some(tenant.as_str()))
}

impl Store {
    /// Reads one part of the table, whatever is in it, and counts or deletes the items of a tenant
    /// that do not stay. Returns their number by kind, and the position after which the next part
    /// begins; `None` at the end of the table.
    ///
    /// # Errors
    /// [`StoreError`]; a repeat finds what is left.
    pub async fn erase_tenant_items(
        &self,
        tenant: &TenantId,
        what: TenantItems,
        after: Option<&str>,
    ) -> Result<(ErasedCounts, Option<String>), StoreError> {
        let (items, next) = self.scan_part(after).await?;
        let mut counts = ErasedCounts::new();
        let mut found = BTreeSet::new();
        for item in items {
            let place = Key::of(&item)?;
            if is_of(tenant, &place, &item) && !stays(tenant, &place) {
                *counts.entry(kind_of(&place.sk)).or_default() += 1;
                found.insert(place);
            }
        }
        if what == TenantItems::Delete {
            self.delete_many(found).await?;
        }
        Ok((counts, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_tombstones_and_chains_stay_and_everything_else_goes() {
        let tenant = TenantId::parse("acme").unwrap();
        for (pk, sk, kept) in [
            ("T#acme", "CONN#c_01", true),
            ("T#acme", "SLOTS", false),
            ("T#acme", "RATES", false),
            ("T#acme#AUDIT#202611#03", "0001#000000000001", true),
            ("T#acme#TRAIL", "CHAIN#03", true),
            ("T#acme#TRAIL", "EXPORT", true),
            ("T#acme#TRAIL", "KEY", false),
            ("T#acme#TRAIL", "ERASED", false),
            ("T#acme#WHO#p_x", "WHO", false),
            ("T#acme#K#00", "ANSWER", false),
            ("T#acme#C#exports", "OP#1", false),
            ("T#acme#C#persons", "OP#1", true),
            ("T#acme#C#tenant", "OP#1", true),
            ("T#acme#O#00", "OBJECT", false),
            ("T#acme#F#c_01#1abc", "HEAD", false),
            ("T#acme#HOOKS", "HOOK#w_01", false),
            ("T#acme#HOOK#w_01", "PLACE#c_01", false),
        ] {
            let place = Key::new(pk, sk);
            assert!(is_of(&tenant, &place, &Item::new()), "{pk} {sk}");
            assert_eq!(stays(&tenant, &place), kept, "{pk} {sk}");
        }
        for (pk, sk) in [
            ("T#acme2", "SLOTS"),
            ("CHANNEL#1", "META"),
            ("CLIENT#1", "META"),
        ] {
            assert!(
                !is_of(&tenant, &Key::new(pk, sk), &Item::new()),
                "{pk} {sk}"
            );
        }
    }
}
