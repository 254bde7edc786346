//! Conflicts: list, look, settle.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{
    Choice, ConflictId, ConflictRecord, ConflictStatus, ConnectionKey, Decider, Field, FileId,
    ResolveRefused, Value,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as JsonValue};
use store::{ConflictFilter, ConflictState, Connection};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::both::{self, How};
use crate::conflict_body::{ChooseBody, ConflictView, ResolutionBody, choice};
use crate::etag::{IfMatch, tag};
use crate::extract::{
    ConflictPath, ConnectionPath, JsonBody, Params, Repeat, idempotency, page, repeat,
};
use crate::files::REPLAYED;
use crate::meaning::{self, out_of_scope};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::value::ValueBody;
use crate::{Deps, conflict_id, record};

/// Decisions in one request.
const RESOLUTIONS_MAX: usize = 100;

/// Which conflicts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConflictsQuery {
    /// `open` where left out.
    #[param(inline)]
    status: Option<StatusQuery>,
    /// Only those on this field: `name`, `properties.KEY`...
    field: Option<String>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Whether the conflicts stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusQuery {
    /// They do.
    #[default]
    Open,
    /// Somebody or a policy decided them.
    Resolved,
    /// Their sides came together by themselves.
    Closed,
    /// Whether or not.
    All,
}

impl StatusQuery {
    fn state(self) -> Option<ConflictState> {
        match self {
            Self::Open => Some(ConflictState::Open),
            Self::Resolved | Self::Closed => Some(ConflictState::Ended),
            Self::All => None,
        }
    }

    fn takes(self, conflict: &ConflictRecord) -> bool {
        match &conflict.status {
            ConflictStatus::Open => matches!(self, Self::Open | Self::All),
            ConflictStatus::Resolved(_) => matches!(self, Self::Resolved | Self::All),
            ConflictStatus::Closed { .. } => matches!(self, Self::Closed | Self::All),
        }
    }
}

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictList {
    /// Open ones first, the oldest first. May be fewer than `limit`, even none, before the end.
    items: Vec<ConflictView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// The conflicts of a connection.
#[utoipa::path(
    get, operation_id = "list_conflicts", path = "/v1/connections/{connection}/conflicts", tag = "conflicts",
    params(("connection" = String, Path), ConflictsQuery),
    responses((status = 200, description = "A page.", body = ConflictList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    Params(query): Params<ConflictsQuery>,
) -> Result<Json<ConflictList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    let status = query.status.unwrap_or_default();
    let field = query.field.as_deref().map(|label| {
        let detail = format!("there is no field {label}");
        Field::from_label(label).ok_or_else(|| Problem::new(Kind::MalformedRequest, detail))
    });
    let filter = ConflictFilter {
        status: status.state(),
        field: field.transpose()?,
    };
    let connection = record::connection(&deps, &at.key).await?;
    let page = deps
        .store
        .list_conflicts(&at.key, &filter, &request)
        .await?;
    let files: Vec<FileId> = page.items.iter().map(|c| c.id.file.clone()).collect();
    let out = out_of_scope(&deps, &connection, &files).await?;
    let wanted = page.items.iter().filter(|conflict| status.takes(conflict));
    let view = |c: &ConflictRecord| ConflictView::new(c).held_if(out.contains(&c.id.file));
    Ok(Json(ConflictList {
        items: wanted.map(view).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One conflict.
#[utoipa::path(
    get, operation_id = "get_conflict", path = "/v1/connections/{connection}/conflicts/{conflict}", tag = "conflicts",
    params(("connection" = String, Path), ("conflict" = String, Path)),
    responses((status = 200, description = "The conflict; `ETag` moves with its sides.",
        body = ConflictView, headers(("ETag" = String))))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: ConflictPath,
) -> Result<Response, Problem> {
    let (connection, conflict) = tokio::try_join!(
        record::connection(&deps, &at.key),
        load(&deps, &at.key, &at.id)
    )?;
    let file = std::slice::from_ref(&at.id.file);
    let held = !out_of_scope(&deps, &connection, file).await?.is_empty();
    Ok(answer(&conflict, held))
}

async fn load(
    deps: &Deps,
    key: &ConnectionKey,
    id: &ConflictId,
) -> Result<ConflictRecord, Problem> {
    let found = deps.store.load_conflict(key, id).await?;
    found.ok_or_else(|| Problem::not_found("the conflict"))
}

fn answer(conflict: &ConflictRecord, held: bool) -> Response {
    let etag = tag(u64::from(conflict.moves));
    let view = ConflictView::new(conflict).held_if(held);
    ([(header::ETAG, etag)], Json(view)).into_response()
}

/// Settles one conflict. With `If-Match`, only if its sides are still those that were looked at.
#[utoipa::path(
    post, operation_id = "resolve_conflict", path = "/v1/connections/{connection}/conflicts/{conflict}/resolution", tag = "conflicts",
    params(
        ("connection" = String, Path), ("conflict" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The conflict's `ETag`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = ResolutionBody),
    responses(
        (status = 200, description = "The conflict, settled.", body = ConflictView,
            headers(("Idempotent-Replayed" = String))),
        (status = 409, description = "It has ended already, or its sides have moved; `current` is the conflict now. \
            Or its file is out of scope.",
            body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn resolve(
    State(deps): State<Arc<Deps>>,
    at: ConflictPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let asked = match How::of(&body.members, &at.id.field)? {
        Some(how) => Asked::Prepared(how),
        None => Asked::Chosen(choice(&body.members, &[], &at.id.field, "")?),
    };
    let moves = IfMatch::of(&headers)?;
    let route = format!("resolve {}/{}", at.key, conflict_id::encode(&at.id));
    let request = idempotency(&headers, &at.caller, &[&route, &body.digest])?;
    let connection = record::connection(&deps, &at.key).await?;
    let choice = match asked {
        Asked::Chosen(choice) => choice,
        Asked::Prepared(how) => {
            let how = (how, moves.as_ref());
            both::prepare(&deps, &connection, &at.caller, &at.id, how).await?
        }
    };
    let settling = Settling {
        connection: &connection,
        caller: &at.caller,
        request,
        moves,
        pointer: "",
    };
    let settled = settling.settle(&deps, &at.id, &choice).await?;
    record::wake_pushes(&deps, &at.key).await;
    let mut response = answer(&settled.conflict, false);
    if settled.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What a request asks of a conflict.
enum Asked {
    /// A side or a value.
    Chosen(Choice),
    /// What has to be made first.
    Prepared(How),
}

/// How conflicts of one connection are settled on behalf of one request.
struct Settling<'a> {
    connection: &'a Connection,
    caller: &'a Caller,
    request: Option<domain::Request>,
    moves: Option<IfMatch>,
    pointer: &'a str,
}

struct Settled {
    conflict: ConflictRecord,
    replayed: bool,
}

impl Settling<'_> {
    async fn settle(
        &self,
        deps: &Deps,
        id: &ConflictId,
        choice: &Choice,
    ) -> Result<Settled, Problem> {
        let key = &self.connection.key;
        self.has_bytes(deps, id, choice).await?;
        let file = std::slice::from_ref(&id.file);
        let held = !out_of_scope(deps, self.connection, file).await?.is_empty();
        let now = deps.clock.now();
        let mut replayed = false;
        let mut refused = None;
        let written = record::write(deps, key, &id.file, |record| {
            replayed =
                repeat(self.request.as_ref(), record.last_request.as_ref())? == Repeat::Replayed;
            refused = None;
            if replayed {
                return Ok(None);
            }
            if held && record.is_present() {
                return Err(meaning::refused());
            }
            let standing = record
                .open
                .get(&id.field)
                .filter(|open| open.number == id.number);
            let moves = standing.map(|open| u64::from(open.moves));
            if let (Some(seen), Some(moves)) = (&self.moves, moves)
                && !seen.allows(moves)
            {
                refused = Some(ResolveRefused::Moved);
                return Ok(None);
            }
            let moment = record::moment(now, &self.connection.policies);
            match record.resolve(id, None, choice, &self.caller.subject, moment) {
                Ok(mut step) => {
                    record::remember(&mut step, record, self.request.clone());
                    Ok(Some(step))
                }
                Err(why) => {
                    refused = Some(why);
                    Ok(None)
                }
            }
        })
        .await?;
        if let Some(why) = refused {
            return self.explain(deps, id, choice, why).await;
        }
        let conflict = match written.step.conflicts.get(id) {
            Some(conflict) => conflict.clone(),
            None => load(deps, key, id).await?,
        };
        Ok(Settled { conflict, replayed })
    }

    /// Content can be decided for only where somebody has its bytes: the application's and Drive's are somewhere, any other
    /// must be stored here.
    async fn has_bytes(
        &self,
        deps: &Deps,
        id: &ConflictId,
        choice: &Choice,
    ) -> Result<(), Problem> {
        let value = match (choice, id.field == Field::Content) {
            (Choice::Value(value), true) => value.clone(),
            (Choice::Base, true) => load(deps, &self.connection.key, id).await?.base,
            (Choice::App | Choice::Drive | Choice::Both(_), true) | (_, false) => return Ok(()),
        };
        if value == Value::Null || both::is_stored(deps, self.connection, &value).await? {
            return Ok(());
        }
        let detail = "nobody has the bytes of that content: it is not stored here";
        Err(Problem::new(Kind::ValueNotAllowed, detail).at(self.pointer))
    }

    /// What a refusal is: a repeat of what was done, or a problem with the conflict as it is now.
    async fn explain(
        &self,
        deps: &Deps,
        id: &ConflictId,
        choice: &Choice,
        why: ResolveRefused,
    ) -> Result<Settled, Problem> {
        let (kind, detail) = match why {
            ResolveRefused::NotOpen => (
                Kind::ConflictEnded,
                "the conflict has ended; `current` says how",
            ),
            ResolveRefused::Moved => (
                Kind::ConflictMoved,
                "the sides have moved; `current` has them",
            ),
            ResolveRefused::StillGone => {
                let detail = "the file is gone: only drive can be chosen until it is back";
                let problem = Problem::new(Kind::FileGone, detail);
                return Err(problem.at(format!("{}/choose", self.pointer)));
            }
            ResolveRefused::Value(why) => {
                return Err(Problem::value(
                    &id.field,
                    &why,
                    format!("{}/value", self.pointer),
                ));
            }
        };
        let conflict = load(deps, &self.connection.key, id).await?;
        if self.request.is_some() && self.decided(&conflict, choice) {
            return Ok(Settled {
                conflict,
                replayed: true,
            });
        }
        Err(Problem::new(kind, detail)
            .current(&ConflictView::new(&conflict))
            .header(header::ETAG, tag(u64::from(conflict.moves))))
    }

    /// Whether this person made this very decision. A file remembers its last request only, so a repeat
    /// that comes after another request on the same file is recognised by what it did.
    fn decided(&self, conflict: &ConflictRecord, choice: &Choice) -> bool {
        match &conflict.status {
            ConflictStatus::Resolved(made) => {
                made.by == Decider::Person(self.caller.subject.clone()) && made.choice == *choice
            }
            ConflictStatus::Open | ConflictStatus::Closed { .. } => false,
        }
    }
}

/// Decisions about many conflicts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `resolve_many` takes")]
pub(crate) struct ResolutionsBody {
    /// 1 to 100.
    #[schema(min_items = 1, max_items = 100)]
    resolutions: Vec<NamedResolution>,
}

/// A decision about the conflict that it names.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `resolve_many` takes")]
struct NamedResolution {
    id: String,
    choose: Option<ChooseBody>,
    #[schema(value_type = Option<ValueBody>)]
    value: Option<JsonValue>,
}

/// What became of each decision, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionResults {
    results: Vec<ResolutionResult>,
}

/// What became of one decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionResult {
    /// The conflict that it named; null where it named none.
    id: Option<String>,
    /// The HTTP status that it would have had on its own.
    status: u16,
    /// The conflict, settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<ConflictView>,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// Settles many conflicts, each on its own: one that can't be settled stops no other.
#[utoipa::path(
    post, operation_id = "resolve_conflicts", path = "/v1/connections/{connection}/conflicts/resolutions", tag = "conflicts",
    params(
        ("connection" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = ResolutionsBody),
    responses((status = 200, description = "What became of each.", body = ResolutionResults))
)]
pub(crate) async fn resolve_many(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<(StatusCode, Json<ResolutionResults>), Problem> {
    let items = resolutions(&body.members)?;
    let request = idempotency(&headers, &at.caller, &["resolve many"])?;
    let connection = record::connection(&deps, &at.key).await?;
    let mut results = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        let pointer = format!("/resolutions/{number}");
        let settling = Settling {
            connection: &connection,
            caller: &at.caller,
            request: request.as_ref().map(|request| of_item(request, item)),
            moves: None,
            pointer: &pointer,
        };
        let settled = settle_item(&deps, &settling, item).await;
        let id = item
            .get("id")
            .and_then(JsonValue::as_str)
            .map(str::to_owned);
        results.push(match settled {
            Ok(settled) => ResolutionResult {
                id,
                status: 200,
                conflict: Some(ConflictView::new(&settled.conflict)),
                problem: None,
            },
            Err(problem) => ResolutionResult {
                id,
                status: problem.status(),
                conflict: None,
                problem: Some(problem.into_body()),
            },
        });
    }
    record::wake_pushes(&deps, &at.key).await;
    Ok((StatusCode::OK, Json(ResolutionResults { results })))
}

/// The request of one item: two items of one request may concern the same file, and each is its own.
fn of_item(request: &domain::Request, item: &Map<String, JsonValue>) -> domain::Request {
    let text = JsonValue::Object(item.clone()).to_string();
    let id = item.get("id").and_then(JsonValue::as_str).unwrap_or("");
    domain::Request {
        key: crate::extract::digest(&[request.key.as_bytes(), id.as_bytes()]),
        digest: crate::extract::digest(&[request.digest.as_bytes(), text.as_bytes()]),
    }
}

async fn settle_item(
    deps: &Deps,
    settling: &Settling<'_>,
    item: &Map<String, JsonValue>,
) -> Result<Settled, Problem> {
    let Some(id) = item.get("id").and_then(JsonValue::as_str) else {
        let problem = Problem::new(Kind::MemberNotAllowed, "id must be a conflict's id");
        return Err(problem.at(format!("{}/id", settling.pointer)));
    };
    let id = conflict_id::parse(id).ok_or_else(|| Problem::not_found("the conflict"))?;
    let choice = choice(item, &["id"], &id.field, settling.pointer)?;
    settling.settle(deps, &id, &choice).await
}

/// The items of a body of many.
fn resolutions(members: &Map<String, JsonValue>) -> Result<Vec<Map<String, JsonValue>>, Problem> {
    if let Some(other) = members.keys().find(|member| *member != "resolutions") {
        let at = format!("/{}", crate::problem::pointer_part(other));
        return Err(Problem::new(Kind::MemberNotAllowed, "there is no such member").at(at));
    }
    let items: Option<Vec<_>> = members
        .get("resolutions")
        .and_then(JsonValue::as_array)
        .and_then(|items| items.iter().map(|item| item.as_object().cloned()).collect());
    items
        .filter(|items| (1..=RESOLUTIONS_MAX).contains(&items.len()))
        .ok_or_else(|| {
            let detail = format!("resolutions must be an array of 1 to {RESOLUTIONS_MAX} objects");
            Problem::new(Kind::MemberNotAllowed, detail).at("/resolutions")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_of_many_is_an_array_of_a_hundred_objects_at_most() {
        let read = |json: JsonValue| {
            resolutions(json.as_object().unwrap())
                .map(|items| items.len())
                .map_err(|problem| problem.body().pointer().unwrap().to_owned())
        };
        assert_eq!(read(json!({"resolutions": [{}, {}]})), Ok(2));
        assert_eq!(read(json!({"resolutions": vec![json!({}); 100]})), Ok(100));
        for bad in [
            json!({}),
            json!({"resolutions": []}),
            json!({"resolutions": [1]}),
            json!({"resolutions": vec![json!({}); 101]}),
        ] {
            assert_eq!(read(bad), Err("/resolutions".to_owned()));
        }
        assert_eq!(
            read(json!({"resolutions": [], "x": 1})),
            Err("/x".to_owned())
        );
    }
}
