//! The items of operations and of their pages.

use std::collections::BTreeMap;

use domain::operation::{Comparison, Decision, ErasureForm, OperationForm, SecondLook};
use domain::{
    ConnectionKey, DriftCounts, FileId, InconsistencyCount, InconsistencyKind, LogId, Operation,
    OperationId, OperationKind, OperationState, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::connection::deletion_item::{counts_item, counts_of};
use crate::file::value_item::at as time;
use crate::operation::export_form_item::ExportItem;
use crate::operation::page_walk_item::{StopItem, WalkItem};
use crate::operation::person_form_item::PersonItem;
use crate::operation::restore_form_item::RestoreItem;
use crate::table::item::{CauseItem, Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};

/// The time that the pages of a listing are kept, from its start.
const PAGE_MILLIS: i64 = 30 * 24 * 3_600 * 1_000;

pub(crate) fn operation_key(key: &ConnectionKey, id: &OperationId) -> Key {
    Key::of_connection(key, "OP", id.as_str())
}

/// Pages have a prefix of their own, so that a list of operations does not read through them.
pub(crate) fn page_key(key: &ConnectionKey, id: &OperationId, number: u32) -> Key {
    Key::of_connection(key, "PAGE", &format!("{id}#{number:08}"))
}

/// The prefix of the sort keys of a listing's pages.
pub(crate) fn pages_prefix(id: &OperationId) -> String {
    format!("PAGE#{id}#")
}

#[derive(Serialize, Deserialize)]
struct Body {
    log: String,
    kind: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    holds_log: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    pages: u32,
    listed: u64,
    pages_verified: u32,
    verified: u64,
    errors: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second_pages: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second_listed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    walk: Option<WalkItem>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<StopItem>,
    #[serde(default)]
    held: u64,
    #[serde(default)]
    missing_here: u64,
    #[serde(default)]
    missing_there: u64,
    #[serde(default)]
    stale: u64,
    #[serde(default)]
    differing: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    flaws: BTreeMap<String, (u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progressed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decided_at: Option<i64>,
    started_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begins_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet_at: Option<i64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    erased: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    export: Option<ExportItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<PersonItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<BTreeMap<String, u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restore: Option<RestoreItem>,
}

#[derive(Serialize, Deserialize)]
struct PageBody {
    ids: Vec<String>,
    expires: i64,
}

pub(crate) fn encode_page(
    operation: &Operation,
    place: Key,
    ids: &[FileId],
) -> Result<Encoded, StoreError> {
    let body = PageBody {
        ids: ids.iter().map(|id| id.as_str().to_owned()).collect(),
        expires: operation.started_at.plus_millis(PAGE_MILLIS).as_seconds(),
    };
    encode(&place, &body)
}

pub(crate) fn encode_operation(operation: &Operation) -> Result<Encoded, StoreError> {
    let place = operation_key(&operation.key, &operation.id);
    let mut encoded = encode(&place, &body(operation))?;
    if let Some(due_at) = operation.due_at {
        encoded.place(Index::Due, due_place(&place, due_at));
    }
    Ok(encoded)
}

/// Returns the attributes of an operation's item without its place in the index `due`.
pub(crate) fn operation_attributes(operation: &Operation) -> Result<Item, StoreError> {
    let place = operation_key(&operation.key, &operation.id);
    Ok(encode(&place, &body(operation))?.item)
}

fn body(operation: &Operation) -> Body {
    let form = operation.form();
    let Comparison {
        counts,
        compared_at,
        decision,
    } = form.comparison;
    let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
    Body {
        log: operation.log.as_str().to_owned(),
        kind: form.kind.label().to_owned(),
        state: form.state.label().to_owned(),
        reason: form.reason,
        since: millis(form.since),
        holds_log: operation.blocks_log(),
        dry_run: form.dry_run,
        page_token: form.page_token,
        position: form.position,
        pages: form.pages,
        listed: form.listed,
        pages_verified: form.pages_verified,
        verified: form.verified,
        errors: form.errors,
        second_pages: form.second_look.map(|second| second.pages),
        second_listed: form.second_look.map(|second| second.listed),
        walk: WalkItem::of(form.walk),
        incomplete: form.incomplete,
        stop: form.stop.map(Into::into),
        held: counts.present,
        missing_here: counts.missing_here,
        missing_there: counts.missing_there,
        stale: counts.stale,
        differing: counts.differing,
        flaws: form
            .inconsistencies
            .iter()
            .map(inconsistency_item)
            .collect(),
        progressed_at: millis(form.progressed_at),
        compared_at: millis(compared_at),
        confirmed: decision.as_ref().map(|decision| decision.confirmed),
        decided_at: decision.as_ref().map(|decision| decision.at.as_millis()),
        decided_by: decision.map(|decision| decision.by),
        started_at: operation.started_at.as_millis(),
        finished_at: millis(operation.finished_at),
        due_at: millis(operation.due_at),
        by: operation.by.clone(),
        cause: operation.cause.map(CauseItem),
        generation: form.erasure.as_ref().map(|erasure| erasure.generation),
        begins_at: millis(form.erasure.as_ref().map(|erasure| erasure.begins_at)),
        quiet_at: millis(form.erasure.as_ref().map(|erasure| erasure.quiet_at)),
        erased: form
            .erasure
            .map(|erasure| counts_item(&erasure.counts))
            .unwrap_or_default(),
        export: form.export.map(ExportItem::of),
        person: form.person.map(PersonItem::of),
        tenant: form.tenant.as_ref().map(counts_item),
        restore: form.restore.map(RestoreItem::of),
    }
}

pub(crate) fn decode_operation(key: &ConnectionKey, item: Item) -> Result<Operation, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place
        .sk
        .strip_prefix("OP#")
        .and_then(|id| OperationId::parse(id).ok());
    let log = LogId::parse(&body.log).ok();
    let (started_at, by) = (time(body.started_at), body.by.clone());
    let (finished_at, due_at) = (body.finished_at.map(time), body.due_at.map(time));
    let cause = body.cause.map(|item| item.0);
    let run = form(body).and_then(OperationForm::into_run);
    let (Some(id), Some(log), Some(run)) = (id, log, run) else {
        return Err(place.corrupt("the id, the kind or the state is not valid"));
    };
    Ok(Operation {
        key: key.clone(),
        id,
        log,
        by,
        started_at,
        finished_at,
        due_at,
        cause,
        run,
    })
}

fn form(body: Body) -> Option<OperationForm> {
    let decision = match (body.confirmed, body.decided_by, body.decided_at) {
        (Some(confirmed), Some(by), Some(at)) => Some(Decision {
            confirmed,
            by,
            at: time(at),
        }),
        _ => None,
    };
    let erasure = match (body.generation, body.begins_at, body.quiet_at) {
        (Some(generation), Some(begins_at), Some(quiet_at)) => Some(ErasureForm {
            generation,
            begins_at: time(begins_at),
            quiet_at: time(quiet_at),
            counts: counts_of(body.erased),
        }),
        _ => None,
    };
    let counts = DriftCounts {
        present: body.held,
        missing_here: body.missing_here,
        missing_there: body.missing_there,
        stale: body.stale,
        differing: body.differing,
    };
    Some(OperationForm {
        kind: OperationKind::from_label(&body.kind)?,
        state: OperationState::from_label(&body.state)?,
        reason: body.reason,
        since: body.since.map(time),
        dry_run: body.dry_run,
        page_token: body.page_token,
        position: body.position,
        pages: body.pages,
        listed: body.listed,
        pages_verified: body.pages_verified,
        verified: body.verified,
        errors: body.errors,
        second_look: body.second_pages.map(|pages| SecondLook {
            pages,
            listed: body.second_listed.unwrap_or_default(),
        }),
        walk: body.walk.map(Into::into).unwrap_or_default(),
        incomplete: body.incomplete,
        stop: body.stop.and_then(StopItem::into_stop),
        comparison: Comparison {
            counts,
            compared_at: body.compared_at.map(time),
            decision,
        },
        inconsistencies: body
            .flaws
            .into_iter()
            .filter_map(inconsistency_count)
            .collect(),
        progressed_at: body.progressed_at.map(time),
        erasure,
        export: body.export.and_then(ExportItem::into_form),
        person: body.person.and_then(PersonItem::into_form),
        tenant: body.tenant.map(counts_of),
        restore: body.restore.and_then(RestoreItem::into_form),
    })
}

pub(crate) fn decode_page(item: Item) -> Result<Vec<FileId>, StoreError> {
    let (place, page) = decode::<PageBody>(item)?;
    let ids = page.ids.iter().map(|id| FileId::parse(id));
    let ids: Result<_, _> = ids.collect();
    ids.map_err(|_| place.corrupt("one of its file ids is invalid"))
}

fn inconsistency_item(
    (kind, count): (&InconsistencyKind, &InconsistencyCount),
) -> (String, (u64, u64)) {
    (kind.label().to_owned(), (count.found, count.repaired))
}

/// Leaves out a kind that only newer code knows: it is in the inconsistencies' own items.
fn inconsistency_count(
    (label, (found, repaired)): (String, (u64, u64)),
) -> Option<(InconsistencyKind, InconsistencyCount)> {
    Some((
        InconsistencyKind::from_label(&label)?,
        InconsistencyCount { found, repaired },
    ))
}

#[cfg(test)]
mod tests {
    use domain::{ConnectionId, TenantId};

    use super::*;
    use crate::operation::export_form_item::ScopeItem;

    fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    /// An item as builds have written it since operations exist.
    fn body(kind: &str, state: &str) -> Body {
        Body {
            log: "user".to_owned(),
            kind: kind.to_owned(),
            state: state.to_owned(),
            reason: None,
            since: None,
            holds_log: false,
            dry_run: false,
            page_token: None,
            position: None,
            pages: 2,
            listed: 7,
            pages_verified: 0,
            verified: 0,
            errors: 0,
            second_pages: None,
            second_listed: None,
            walk: None,
            incomplete: false,
            stop: None,
            held: 0,
            missing_here: 0,
            missing_there: 0,
            stale: 0,
            differing: 0,
            flaws: BTreeMap::new(),
            progressed_at: None,
            compared_at: None,
            confirmed: None,
            decided_by: None,
            decided_at: None,
            started_at: 1_000,
            finished_at: None,
            due_at: Some(2_000),
            by: "ann".to_owned(),
            cause: None,
            generation: None,
            begins_at: None,
            quiet_at: None,
            erased: BTreeMap::new(),
            export: None,
            person: None,
            tenant: None,
            restore: None,
        }
    }

    fn at(state: &str, position: &str) -> Body {
        Body {
            position: Some(position.to_owned()),
            pages_verified: 2,
            verified: 7,
            progressed_at: Some(1_500),
            ..body("resync", state)
        }
    }

    fn bodies() -> Vec<Body> {
        let listing = |kind| Body {
            holds_log: true,
            page_token: Some("t3".to_owned()),
            progressed_at: Some(1_500),
            due_at: None,
            ..body(kind, "listing")
        };
        let audit = |body: Body| Body {
            kind: "audit".to_owned(),
            dry_run: true,
            pages_verified: 0,
            verified: 0,
            flaws: BTreeMap::from([("log_not_due".to_owned(), (2, 1))]),
            ..body
        };
        let ended = |body: Body, state: &str| Body {
            state: state.to_owned(),
            finished_at: Some(3_000),
            due_at: None,
            ..body
        };
        let verifying = || Body {
            held: 9,
            missing_here: 1,
            missing_there: 2,
            stale: 3,
            differing: 4,
            compared_at: Some(1_700),
            ..at("verifying", "f7")
        };
        let decided = |confirmed, body: Body| Body {
            position: None,
            confirmed: Some(confirmed),
            decided_by: Some("bob".to_owned()),
            decided_at: Some(2_500),
            ..body
        };
        let repairing = || Body {
            state: "repairing".to_owned(),
            ..verifying()
        };
        let erase = |state: &str, position: Option<&str>| Body {
            position: position.map(str::to_owned),
            generation: Some(3),
            begins_at: Some(1_200),
            quiet_at: Some(1_300),
            erased: BTreeMap::from([("records".to_owned(), 7)]),
            ..body("erase", state)
        };
        let export = |state: &str, position: Option<&str>, scope: ScopeItem| Body {
            position: position.map(str::to_owned),
            export: Some(ExportItem {
                scope,
                files: vec![(7, 900, "ab".repeat(32))],
                lines: BTreeMap::from([("file".to_owned(), 7)]),
            }),
            ..body("export", state)
        };
        let person = |state: &str, position: Option<&str>| Body {
            position: position.map(str::to_owned),
            person: Some(PersonItem::sample()),
            ..body("erase_person", state)
        };
        let tenant = |state: &str, position: Option<&str>| Body {
            position: position.map(str::to_owned),
            tenant: Some(BTreeMap::from([("records".to_owned(), 7)])),
            ..body("erase_tenant", state)
        };
        let restore = |state: &str, position: Option<&str>| Body {
            position: position.map(str::to_owned),
            listed: 9,
            progressed_at: Some(1_500),
            restore: Some(RestoreItem::sample()),
            ..body("restore", state)
        };
        let scan = |progressed_at: Option<i64>| Body {
            position: progressed_at.map(|_| "0#f9".to_owned()),
            pages_verified: 2,
            verified: 7,
            progressed_at,
            ..body("mirror", "listed")
        };
        vec![
            listing("initial_sync"),
            listing("delta"),
            listing("resync"),
            Body {
                pages_verified: 1,
                verified: 3,
                progressed_at: Some(1_500),
                ..body("initial_sync", "listed")
            },
            ended(body("initial_sync", "listed"), "done"),
            at("comparing", "0#f9"),
            verifying(),
            Body {
                since: Some(1_900),
                position: None,
                state: "awaiting_confirmation".to_owned(),
                ..verifying()
            },
            decided(true, repairing()),
            repairing(),
            decided(false, ended(verifying(), "cancelled")),
            audit(body("audit", "examining")),
            audit(Body {
                position: Some("files#0#f9".to_owned()),
                ..body("audit", "examining")
            }),
            audit(Body {
                position: Some("conflicts#".to_owned()),
                ..body("audit", "examining")
            }),
            audit(Body {
                page_token: Some("t3".to_owned()),
                ..body("audit", "listing")
            }),
            audit(body("audit", "listed")),
            audit(at("comparing", "0#f9")),
            audit(verifying()),
            audit(repairing()),
            Body {
                page_token: Some("0#f9".to_owned()),
                verified: 5,
                ..body("leave", "listed")
            },
            scan(None),
            scan(Some(1_500)),
            erase("waiting", None),
            erase("erasing", Some("files#")),
            erase("erasing", Some("remains#[\"T#acme\",\"CONN#c\"]")),
            erase("erasing", Some("certificate#")),
            erase("draining", None),
            ended(erase("", None), "done"),
            export("exporting", Some("connections##"), ScopeItem::Tenant),
            export(
                "exporting",
                Some("files#c_02#{}"),
                ScopeItem::Person("ann".to_owned()),
            ),
            export("exporting", None, ScopeItem::Tenant),
            export(
                "ready",
                Some("604800000"),
                ScopeItem::Connection("c_01".to_owned()),
            ),
            export("cancelling", None, ScopeItem::Tenant),
            ended(export("", None, ScopeItem::Tenant), "cancelled"),
            person("erasing", Some("count#")),
            person("erasing", Some("verify#[\"T#acme\",\"CONN#c\"]")),
            person("draining", None),
            tenant("erasing", Some("count#")),
            tenant("erasing", Some("connections#")),
            tenant("draining", Some("1300")),
            ended(tenant("", None), "done"),
            restore("comparing", Some("0#f9")),
            Body {
                since: Some(1_900),
                ..restore("awaiting_confirmation", None)
            },
            decided(true, restore("restoring", None)),
            restore("restoring", Some("f9")),
            ended(restore("", None), "done"),
            decided(false, ended(restore("", None), "cancelled")),
            ended(person("", None), "done"),
            Body {
                reason: Some("the shared drive is followed again".to_owned()),
                ..ended(body("leave", "listed"), "failed")
            },
        ]
    }

    #[test]
    fn an_item_of_an_earlier_build_is_read_and_written_as_it_was() {
        let place = operation_key(&key(), &OperationId::parse("op1").unwrap());
        for body in bodies() {
            let item = encode(&place, &body).unwrap().item;
            let operation = decode_operation(&key(), item.clone()).unwrap();
            assert_eq!(operation_attributes(&operation).unwrap(), item);
        }
    }

    #[test]
    fn a_state_that_its_kind_does_not_have_is_corrupt() {
        let place = operation_key(&key(), &OperationId::parse("op1").unwrap());
        for (kind, state) in [
            ("delta", "comparing"),
            ("initial_sync", "examining"),
            ("leave", "listing"),
            ("mirror", "verifying"),
            ("audit", "sleeping"),
        ] {
            let item = encode(&place, &body(kind, state)).unwrap().item;
            assert!(decode_operation(&key(), item).is_err(), "{kind} {state}");
        }
    }
}
