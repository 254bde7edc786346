//! Erasures of persons: begun, listed, cancelled.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use domain::{ConnectionKey, LogId, Operation, OperationId, Run};
use serde::Serialize;
use store::PageRequest;
use utoipa::ToSchema;

use crate::described::query::Params;
use crate::erasures::person_erasure_view::{ErasePersonBody, PersonErasureView};
use crate::http::acts::fresh_key;
use crate::http::{
    Caller, JsonBody, JsonResult, Keyed, PageQuery, PathParams, Problem, accepted, describe_path,
    page_that_fits,
};
use crate::operations::confirmation::decide;
use crate::operations::new_operation;
use crate::{App, Deps};

/// The erasure of a person of the caller's tenant. It may not exist.
pub(crate) struct PersonErasurePath {
    caller: Caller,
    key: ConnectionKey,
    id: OperationId,
}

impl FromRequestParts<Arc<Deps>> for PersonErasurePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, deps).await?;
        let params = PathParams::read(parts, deps).await?;
        let id = OperationId::parse(params.get("id")).map_err(|_| not_found())?;
        let key = ConnectionKey::of_persons(caller.tenant.clone());
        Ok(Self { caller, key, id })
    }
}

describe_path!(PersonErasurePath, "id": String);

fn not_found() -> Problem {
    Problem::not_found("the erasure")
}

/// A page of erasures of persons.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonErasureList {
    /// Newest first.
    items: Vec<PersonErasureView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Erases a person: `erased:<n>` stands in place of the name from now on.
///
/// That is so wherever something says who someone is: owners, who changed a file last, permissions,
/// the authors of edits and decisions, exports, and the audit trail, whose chains stay as they are.
/// What arrives from Drive later is treated the same. What people write (names, descriptions,
/// properties, contents) stays, and so does what Drive has: the erasure says where. Erasing a
/// person again gives the same number.
#[utoipa::path(
    post, path = "/v1/people/erase", tag = "people",
    request_body(content = ErasePersonBody),
    responses((status = 202, description = "The erasure has been begun, or is running already.",
        body = PersonErasureView, headers(("Location" = String))))
)]
pub(crate) async fn erase_person(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    body: JsonBody,
) -> Result<Response, Problem> {
    let body: ErasePersonBody = body.read()?;
    let person = body.person()?;
    let (tenant, now, store) = (&caller.tenant, deps.clock.now(), &deps.store);
    keyed.tell("person", format!("user:{person}"));
    let run = if body.dry_run {
        let known = store.person_to_erase(tenant, &person, fresh_key(&deps));
        Run::count_person(known.await?.pseudonym.as_str().to_owned(), now)
    } else {
        let replaced = store.replace_person(tenant, &person, fresh_key(&deps));
        let (pseudonym, number) = replaced.await?;
        Run::erase_person(pseudonym.as_str().to_owned(), number, now)
    };
    let key = ConnectionKey::of_persons(tenant.clone());
    if let Some(running) = running(&deps, &key, &run).await? {
        return Ok(accepted(
            shown(&running)?.into_response(),
            &location(&running),
        ));
    }
    let id = deps.entropy.operation(now);
    keyed.tell("id", id.as_str());
    let operation = Operation {
        cause: deps.store.cause(),
        ..Operation::new(key, id, LogId::user(), &caller.subject, now, run)
    };
    let location = location(&operation);
    keyed.accepts(&location);
    new_operation::begin(&deps, &keyed.store(&deps), &operation).await?;
    Ok(accepted(shown(&operation)?.into_response(), &location))
}

fn location(operation: &Operation) -> String {
    format!("/v1/people/erasures/{}", operation.id)
}

/// Returns the erasure of the same person that is running.
async fn running(
    deps: &Deps,
    key: &ConnectionKey,
    wanted: &Run,
) -> Result<Option<Operation>, Problem> {
    let Run::ErasePerson(wanted) = wanted else {
        return Ok(None);
    };
    let is_same = |operation: &Operation| {
        let erase = operation
            .person_erasure()
            .filter(|_| !operation.has_ended());
        erase
            .is_some_and(|erase| !erase.dry_run && !wanted.dry_run && erase.person == wanted.person)
    };
    let recent = deps.store.recent_operations(key).await?;
    Ok(recent.into_iter().find(is_same))
}

fn shown(operation: &Operation) -> JsonResult<PersonErasureView> {
    let view = PersonErasureView::new(operation);
    view.map(Json).ok_or_else(not_found)
}

/// Lists the erasures of persons, with their certificates.
#[utoipa::path(
    get, path = "/v1/people/erasures", tag = "people", params(PageQuery),
    responses((status = 200, description = "A page.", body = PersonErasureList))
)]
pub(crate) async fn list_person_erasures(
    deps: App,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> JsonResult<PersonErasureList> {
    let key = &ConnectionKey::of_persons(caller.tenant.clone());
    let deps = &deps;
    let read = |request: PageRequest| async move {
        let page = deps.store.list_operations(key, &request).await?;
        let items = page.items.iter().filter_map(PersonErasureView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(query.page(), read).await?;
    Ok(Json(PersonErasureList { items, next_cursor }))
}

/// Returns the erasure of a person: how far it is, and once it is done, its certificate.
#[utoipa::path(
    get, path = "/v1/people/erasures/{id}", tag = "people", params(PersonErasurePath),
    responses((status = 200, description = "The erasure.", body = PersonErasureView))
)]
pub(crate) async fn get_person_erasure(
    deps: App,
    at: PersonErasurePath,
) -> JsonResult<PersonErasureView> {
    shown(&load(&deps, &at).await?)
}

/// Cancels the erasure of a person.
///
/// What was replaced stays replaced, and so does what arrives later: the number stands in place of
/// the name from then on. Erasing the person again goes on with the rest. Idempotent.
#[utoipa::path(
    post, path = "/v1/people/erasures/{id}/cancel", tag = "people", params(PersonErasurePath),
    responses(
        (status = 200, description = "The erasure.", body = PersonErasureView),
        (status = 409, description = "It is done."),
    )
)]
pub(crate) async fn cancel_person_erasure(
    deps: App,
    at: PersonErasurePath,
    keyed: Keyed,
) -> JsonResult<PersonErasureView> {
    let operation = load(&deps, &at).await?;
    let cancelled = decide(&deps, operation, &at.caller.subject, &keyed, false).await?;
    shown(&cancelled)
}

async fn load(deps: &Deps, at: &PersonErasurePath) -> Result<Operation, Problem> {
    let found = deps.store.load_operation(&at.key, &at.id).await?;
    found.ok_or_else(not_found)
}
