//! The resolution of conflicts by a person.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::ConflictRecord;
use serde::Serialize;
use serde_json::Value as JsonValue;
use store::Connection;
use utoipa::ToSchema;

use crate::conflicts::conflict_body::{self, ChooseBody, ConflictView, ResolutionBody, choice};
use crate::conflicts::conflict_decision::ConflictDecision;
use crate::conflicts::conflict_id::{self, ConflictPath};
use crate::conflicts::keep_both::RequestedResolution;
use crate::described::check::check;
use crate::files::field_value::ValueBody;
use crate::http::acts;
use crate::http::{Caller, ConnectionPath, IfMatch, JsonBody, Keyed, Problem, ProblemBody, Room};
use crate::{App, Deps, lookups, wakes};

/// Resolves a conflict.
///
/// With `If-Match`, only if its sides are still those that were read.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/conflicts/{conflict}/resolution", tag = "conflicts",
    params(
        ConflictPath,
        ("If-Match" = Option<String>, Header, description = "The conflict's `ETag`."),
    ),
    request_body(content = ResolutionBody),
    responses(
        (status = 200, description = "The resolved conflict.", body = ConflictView,
            headers(("Idempotent-Replayed" = String))),
        (status = 409, description = "The conflict has ended, or its sides have moved; `current` \
            is the conflict now. Or its file is out of scope."),
    )
)]
pub(crate) async fn resolve_conflict(
    deps: App,
    at: ConflictPath,
    keyed: Keyed,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let members = body.members::<ResolutionBody>()?;
    let resolution = RequestedResolution::read(&members, &at.id.field)?;
    let if_match = IfMatch::optional(&headers)?;
    if let Some(choose) = members.get("choose") {
        keyed.tell("choose", choose.clone());
    }
    let connection = lookups::connection(&deps, &at.key).await?;
    let choice = resolution.prepare(&deps, &connection, &at.caller, &at.id, if_match.as_ref());
    let choice = choice.await?;
    let decision = ConflictDecision {
        deps: &deps,
        connection: &connection,
        caller: &at.caller,
        id: &at.id,
        choice,
        keyed: &keyed,
        if_match,
        pointer: "",
    };
    let conflict = decision.apply().await?;
    wakes::wake_push(&deps, &at.key).await;
    Ok(conflict_body::respond(&conflict, false))
}

/// Decisions of many conflicts.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `resolve_conflicts` reads")]
pub(crate) struct ResolutionsBody {
    /// 1 to 100.
    #[schema(min_items = 1, max_items = 100)]
    resolutions: Vec<NamedResolution>,
}

/// A decision of the conflict that it names.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `resolve_conflicts` reads")]
struct NamedResolution {
    /// The conflict's id.
    id: String,
    /// The side whose value is chosen.
    #[schema(nullable = false)]
    choose: Option<ChooseBody>,
    /// Another value; null removes a property.
    #[schema(value_type = Option<ValueBody>)]
    value: Option<JsonValue>,
}

/// The result of each decision, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionResults {
    results: Vec<ResolutionResult>,
}

/// The result of one decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionResult {
    /// The conflict that the decision names; null if it names none.
    id: Option<String>,
    /// The HTTP status of the decision on its own.
    status: u16,
    /// The resolved conflict; absent if the response has no room for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<ConflictView>,
    /// The reason why the decision was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// Resolves many conflicts, each on its own: a refused decision does not affect the others.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/conflicts/resolutions", tag = "conflicts",
    params(ConnectionPath),
    request_body(content = ResolutionsBody),
    responses((status = 200, description = "The result of each.", body = ResolutionResults))
)]
pub(crate) async fn resolve_conflicts(
    deps: App,
    at: ConnectionPath,
    keyed: Keyed,
    body: JsonBody,
) -> Result<(StatusCode, Json<ResolutionResults>), Problem> {
    let items = resolutions(body)?;
    let connection = lookups::connection(&deps, &at.key).await?;
    keyed.begin_parts(&deps).await?;
    let ids = items.iter().filter_map(|item| item["id"].as_str());
    keyed.tell("ids", ids.map(acts::conflict).collect::<Vec<_>>());
    keyed.tell("count", items.len());
    let mut results = Vec::with_capacity(items.len());
    let mut room = Room::new();
    for (number, item) in items.iter().enumerate() {
        let pointer = format!("/resolutions/{number}");
        let decided = decide_item(&deps, &connection, &at.caller, item, &keyed, &pointer).await;
        let id = item.get("id").and_then(JsonValue::as_str);
        let id = id.map(str::to_owned);
        results.push(match decided {
            Ok(conflict) => ResolutionResult {
                id,
                status: 200,
                conflict: room.keep(ConflictView::new(&conflict, false)),
                problem: None,
            },
            Err(problem) => ResolutionResult {
                id,
                status: problem.status(),
                conflict: None,
                problem: Some(room.keep_problem(problem)),
            },
        });
    }
    wakes::wake_push(&deps, &at.key).await;
    Ok((StatusCode::OK, Json(ResolutionResults { results })))
}

/// Decides one item, which is a request of its own: two items may concern the same file. One that
/// was decided before by the same request shows the conflict as it is now.
async fn decide_item(
    deps: &Deps,
    connection: &Connection,
    caller: &Caller,
    item: &JsonValue,
    keyed: &Keyed,
    pointer: &str,
) -> Result<ConflictRecord, Problem> {
    check::<NamedResolution>(item, pointer)?;
    let id = item["id"].as_str().unwrap_or_default();
    let location = format!(
        "/v1/connections/{}/conflicts/{id}",
        connection.key.connection
    );
    let part = keyed.part(deps, id, &item.to_string(), &location);
    let id = conflict_id::parse(id).ok_or_else(|| Problem::not_found("the conflict"))?;
    let members = item.as_object().cloned().unwrap_or_default();
    let choice = choice(&members, &id.field, pointer)?;
    let decision = ConflictDecision {
        deps,
        connection,
        caller,
        id: &id,
        choice,
        keyed: &part,
        if_match: None,
        pointer,
    };
    if part.was_carried_out(deps).await? {
        return decision.load().await;
    }
    match decision.apply().await {
        // The same request may have decided it meanwhile.
        Err(_) if part.was_carried_out(deps).await? => decision.load().await,
        decided => decided,
    }
}

/// Returns the items of a body of resolutions. Each is checked on its own, so that one that is
/// refused does not affect the others.
fn resolutions(body: JsonBody) -> Result<Vec<JsonValue>, Problem> {
    let items = match body.unchecked("resolutions") {
        Some(JsonValue::Array(items)) => items.clone(),
        Some(_) | None => Vec::new(),
    };
    match body.members::<ResolutionsBody>() {
        Err(problem) if !problem.is_within("/resolutions/") => Err(problem),
        Ok(_) | Err(_) => Ok(items),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_of_resolutions_is_an_array_of_1_to_100_items() {
        let read = |json: JsonValue| {
            resolutions(JsonBody::of(json))
                .map(|items| items.len())
                .map_err(|problem| problem.body().pointer().unwrap().to_owned())
        };
        assert_eq!(read(json!({"resolutions": [{}, {}]})), Ok(2));
        assert_eq!(read(json!({"resolutions": [1]})), Ok(1));
        assert_eq!(read(json!({"resolutions": vec![json!({}); 100]})), Ok(100));
        for bad in [
            json!({}),
            json!({"resolutions": []}),
            json!({"resolutions": {}}),
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
