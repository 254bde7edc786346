//! Erases a person, or counts what names the person, one part of the table at a time.

use domain::Operation;
use domain::operation::{ErasePerson, ErasedKind, PersonPart};
use store::PersonPass;
use worker::WorkError;

use crate::Deps;
use crate::export::write_export;

/// Looks at the items from a position on.
pub(crate) async fn look(
    part: PersonPart,
    position: Option<String>,
    operation: &Operation,
    erase: &ErasePerson,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let tenant = &operation.key.tenant;
    let store = &deps.store;
    let erased = store.load_erased_person(tenant, &erase.person, erase.number);
    let pass = PersonPass {
        tenant,
        erased: &erased.await?,
        number: erase.number,
        part,
    };
    let looked = store.look_for_person(&pass, position.as_deref()).await?;
    let (mut found, next) = looked;
    if part != PersonPart::Count && next.is_none() {
        let disabled = store.disable_orphaned_endpoints(tenant, deps.clock.now());
        let disabled = disabled.await?;
        if disabled > 0 {
            tracing::error!(
                operation = %operation.id, disabled, metric = "webhook_disabled",
                "webhook endpoints of a person who was erased were disabled; who makes them active \
                 answers for them"
            );
        }
    }
    if part == PersonPart::Verify && position.is_none() {
        // What was exported before may name the person.
        let deleted = write_export::erase_exports(tenant, None, deps).await?;
        if deleted > 0 {
            *found.counts.entry(ErasedKind::Objects).or_default() += deleted;
        }
    }
    let after = operation.on_looked(found, next, deps.clock.now());
    if after.has_ended() {
        tracing::info!(
            operation = %operation.id, number = erase.number, metric = "person_erased",
            items = erase.counts.values().sum::<u64>(), dry_run = erase.dry_run,
            "person erased, or counted"
        );
    }
    Ok(after)
}
