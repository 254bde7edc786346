//! The audit trail of a tenant: who did what, and when.

use std::collections::BTreeSet;

use axum::Json;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{ActFilter, PageRequest, Pseudonym};
use utoipa::{IntoParams, ToSchema};

use crate::described::query::Params;
use crate::http::{Caller, JsonResult, Kind, ListPage, Problem, page, page_that_fits};
use crate::{App, Deps};

/// The acts to list, and the page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only acts after this time (RFC 3339).
    after: Option<String>,
    /// Only acts of this person (a token's subject, or a person as the trail shows it), or of
    /// `policy`.
    #[param(min_length = 1, max_length = 255)]
    by: Option<String>,
    /// Only acts of this operation, by its `operationId`; `decide_by_policy` for policies.
    #[param(min_length = 1, max_length = 255)]
    what: Option<String>,
    /// Only acts that concern this connection.
    #[param(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._-]+$")]
    connection: Option<String>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A page of acts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActList {
    /// Oldest first. A page before the last one may have fewer than `limit` items, or none.
    #[schema(value_type = Vec<ActView>)]
    items: Vec<Value>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// An act: an accepted request that changed something, a link that was given, or a decision of a
/// policy. It has further members: the ids in its path, and what else it concerned.
#[derive(ToSchema)]
#[schema(as = Act)]
#[expect(dead_code, reason = "describes what `list_acts` shows")]
pub(crate) struct ActView {
    /// The time.
    at: String,
    /// Who acted: the HMAC of the token's subject under a key of the tenant, or `policy`.
    by: String,
    /// The subject behind `by`; null for a policy, and once the person is erased. The hash does
    /// not cover it.
    subject: Option<String>,
    /// The role that the act was allowed by.
    #[schema(nullable = false)]
    role: Option<String>,
    /// The HMAC of the network address that the request came from.
    #[schema(nullable = false)]
    from: Option<String>,
    /// The `operationId`, or `decide_by_policy`.
    what: String,
    /// The cause of everything that the act led to.
    #[schema(nullable = false)]
    cause: Option<String>,
    tenant: String,
    #[schema(nullable = false)]
    connection: Option<String>,
    /// The chain.
    chain: u8,
    /// The number within the chain, without gaps.
    number: u64,
    /// The hash of the act before it in the chain.
    previous: String,
    /// The SHA-256 of the other members, sorted by name and without white space.
    hash: String,
}

/// Lists the audit trail, oldest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "service", params(AuditQuery),
    responses((status = 200, description = "A page.", body = ActList))
)]
pub(crate) async fn list_acts(
    deps: App,
    caller: Caller,
    Params(query): Params<AuditQuery>,
) -> JsonResult<ActList> {
    let request = page(query.limit, query.cursor);
    let now = deps.clock.now();
    let from = match &query.after {
        None => Timestamp::from_millis(0),
        Some(text) => {
            let after = Timestamp::parse_rfc3339(text).ok_or_else(|| {
                let detail = "after must be a time like 2026-11-30T09:00:00Z";
                Problem::new(Kind::MalformedRequest, detail).parameter("after")
            })?;
            after.plus_millis(1)
        }
    };
    let by = match &query.by {
        None => None,
        Some(by) if by == "policy" || Pseudonym::parse(by).is_some() => Some(by.clone()),
        Some(subject) => {
            let erased = deps.store.load_erased_persons(&caller.tenant).await?;
            let subject = erased.shown(subject.clone());
            match deps.store.pseudonym(&caller.tenant, &subject).await? {
                Some(person) => Some(person.as_str().to_owned()),
                None => {
                    return Ok(Json(ActList {
                        items: Vec::new(),
                        next_cursor: None,
                    }));
                }
            }
        }
    };
    let filter = ActFilter {
        by,
        what: query.what,
        connection: query.connection,
        ..ActFilter::between(from, now)
    };
    let (deps, caller, filter) = (&deps, &caller, &filter);
    let read = |request: PageRequest| read(deps, caller, filter, request);
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(ActList { items, next_cursor }))
}

async fn read(
    deps: &Deps,
    caller: &Caller,
    filter: &ActFilter,
    request: PageRequest,
) -> Result<ListPage<Value>, Problem> {
    let (store, tenant) = (&deps.store, &caller.tenant);
    let page = store.list_acts(tenant, filter, deps.clock.now(), &request);
    let page = page.await?;
    let by = page.items.iter().filter_map(|act| act.text("by"));
    let persons: BTreeSet<Pseudonym> = by.filter_map(Pseudonym::parse).collect();
    let subjects = store.subjects_of(tenant, &persons).await?;
    let view = |mut members: Map<String, Value>| {
        let by = members.get("by").and_then(Value::as_str);
        let subject = by
            .and_then(Pseudonym::parse)
            .and_then(|person| subjects.get(&person));
        let subject = subject.map_or(Value::Null, |subject| Value::from(subject.as_str()));
        members.insert("subject".to_owned(), subject);
        Value::Object(members)
    };
    let items = page.items.into_iter().map(|act| view(act.members));
    Ok((items.collect(), page.next_cursor))
}
