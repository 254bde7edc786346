//! Redrive of dead letters, and their removal by a person.
//!
//! Invariants:
//! - A dead letter is sent before it is recorded as sent: a crash in between sends it twice, never
//!   not at all. Messages are idempotent.
//! - The deduplication id contains the revision of the dead letter. Of two concurrent redrives, the
//!   queue drops one; a redrive of a message that was set aside again is not dropped.

use axum::Json;
use domain::{ConnectionId, ConnectionKey, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Answer, Attempt, DeadLetter, DeadLetterAction, DeadLetterStatus, PageRequest};
use utoipa::ToSchema;
use worker::queue::{self, Redrive};

use crate::dead_letters::dead_letter_id::{self, DeadLetterPath};
use crate::dead_letters::dead_letter_view::DeadLetterView;
use crate::described::texts::IdText;
use crate::http::{Caller, JsonBody, JsonResult, Keyed, Kind, Problem, ProblemBody, Room};
use crate::swap::{attempt, swap};
use crate::{App, Deps, lookups};

/// The most dead letters that one request sends again.
const LETTERS_MAX: usize = 100;
/// The name of the item in problems.
const WHAT: &str = "the dead letter";

/// The dead letters to send again: those of `ids`, or with `all` the waiting ones of a connection.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveBody {
    /// Up to 100.
    #[schema(min_items = 1, max_items = 100)]
    ids: Option<Vec<String>>,
    /// True: all that wait in `connection`, up to 100 in one request.
    all: Option<bool>,
    /// Required with `all`.
    #[schema(value_type = Option<IdText>)]
    connection: Option<String>,
    /// With `all`: the `next_cursor` of the previous response.
    cursor: Option<String>,
}

/// The result of each dead letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveResults {
    /// In the order of `ids`; with `all`, by id.
    results: Vec<RedriveResult>,
    /// With `all`: the `cursor` of the next request; null at the end.
    next_cursor: Option<String>,
}

/// The result of one dead letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveResult {
    id: String,
    /// The HTTP status of the redrive on its own.
    status: u16,
    /// The dead letter after it was sent again; absent if the response has no room for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<DeadLetterView>,
    /// The reason why it was not sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// The decision to drop a dead letter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DropBody {
    /// The reason, which is stored with its author and time: 1 to 1,000 characters.
    #[schema(min_length = 1, max_length = 1_000)]
    reason: String,
}

/// Sends dead letters again, each on its own: a failure does not affect the others.
///
/// Idempotent. A message that fails again is set aside again, and its history continues.
#[utoipa::path(
    post, path = "/v1/dead-letters/redrive", tag = "service",
    request_body(content = RedriveBody),
    responses((status = 200, description = "The result of each.", body = RedriveResults))
)]
pub(crate) async fn redrive_dead_letters(
    deps: App,
    caller: Caller,
    keyed: Keyed,
    body: JsonBody,
) -> JsonResult<RedriveResults> {
    let body: RedriveBody = body.read()?;
    if let Some(first) = keyed.first_answer() {
        return repeated(&deps, &caller, first).await;
    }
    let answer = match (&body.ids, body.all, &body.connection) {
        (Some(ids), None, None) if body.cursor.is_none() => {
            redrive_named(&deps, &caller, &keyed, ids).await
        }
        (None, Some(true), Some(connection)) => {
            redrive_waiting(&deps, &caller, &keyed, connection, body.cursor.clone()).await
        }
        (_, _, _) => {
            let detail = "send either ids, or all (true) with connection";
            Err(Problem::new(Kind::MemberNotAllowed, detail).at(""))
        }
    };
    // Stored afterwards: a letter that was sent is not sent again in any case.
    if let Ok(Json(results)) = &answer {
        let letters = results.results.iter().map(|result| result.id.clone());
        keyed.shows(letters.collect(), results.next_cursor.clone());
    }
    answer
}

/// Shows again the dead letters of a request that was carried out, as they are now.
async fn repeated(deps: &Deps, caller: &Caller, first: &Answer) -> JsonResult<RedriveResults> {
    let mut results = Vec::with_capacity(first.parts.len());
    let mut room = Room::new();
    for id in &first.parts {
        let shown = async {
            let (key, name) = dead_letter_id::parse(&caller.tenant, id)?;
            lookups::dead_letter(deps, caller, &key, &name).await
        };
        results.push(result(id.clone(), shown.await, &mut room));
    }
    Ok(Json(RedriveResults {
        results,
        next_cursor: first.next_cursor.clone(),
    }))
}

async fn redrive_named(
    deps: &Deps,
    caller: &Caller,
    keyed: &Keyed,
    ids: &[String],
) -> JsonResult<RedriveResults> {
    keyed.tell("ids", ids);
    keyed.tell("count", ids.len());
    let mut results = Vec::with_capacity(ids.len());
    let mut room = Room::new();
    for id in ids {
        let sent = async {
            let (key, name) = dead_letter_id::parse(&caller.tenant, id)?;
            let letter = lookups::dead_letter(deps, caller, &key, &name).await?;
            send(deps, caller, keyed, letter).await
        };
        results.push(result(id.clone(), sent.await, &mut room));
    }
    Ok(Json(RedriveResults {
        results,
        next_cursor: None,
    }))
}

async fn redrive_waiting(
    deps: &Deps,
    caller: &Caller,
    keyed: &Keyed,
    connection: &str,
    cursor: Option<String>,
) -> JsonResult<RedriveResults> {
    let connection = ConnectionId::parse(connection).map_err(|_| {
        Problem::new(Kind::ValueNotAllowed, "connection must be an id").at("/connection")
    })?;
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection,
    };
    caller.admitted(&lookups::connection(deps, &key).await?, "the connection")?;
    let request = PageRequest {
        limit: u32::try_from(LETTERS_MAX).unwrap_or(1),
        cursor,
    };
    let page = deps.store.list_dead_letters(&key, &request).await?;
    let waits = |letter: &DeadLetter| letter.status == DeadLetterStatus::Parked;
    let mut results = Vec::new();
    let mut room = Room::new();
    let waiting: Vec<DeadLetter> = page.items.into_iter().filter(waits).collect();
    let ids = waiting.iter().map(DeadLetterView::id_of);
    keyed.tell("connection", key.connection.as_str());
    keyed.tell("ids", ids.collect::<Vec<_>>());
    keyed.tell("count", waiting.len());
    for letter in waiting {
        let id = DeadLetterView::id_of(&letter);
        let sent = send(deps, caller, keyed, letter).await;
        results.push(result(id, sent, &mut room));
    }
    Ok(Json(RedriveResults {
        results,
        next_cursor: page.next_cursor,
    }))
}

fn result(id: String, sent: Result<DeadLetter, Problem>, room: &mut Room) -> RedriveResult {
    match sent {
        Ok(letter) => RedriveResult {
            id,
            status: 200,
            letter: room.keep(DeadLetterView::new(&letter)),
            problem: None,
        },
        Err(problem) => RedriveResult {
            id,
            status: problem.status(),
            letter: None,
            problem: Some(room.keep_problem(problem)),
        },
    }
}

/// Sends a dead letter again, then records it. One that was sent and has not been set aside since
/// is not sent again.
async fn send(
    deps: &Deps,
    caller: &Caller,
    keyed: &Keyed,
    letter: DeadLetter,
) -> Result<DeadLetter, Problem> {
    // Only the whole request has an answer.
    let store = keyed.act_only().store(deps);
    let store = &store;
    swap(WHAT, letter, |letter| async move {
        match letter.status {
            DeadLetterStatus::Parked => {}
            DeadLetterStatus::Redriven => return Ok(Attempt::Done(letter)),
            DeadLetterStatus::Dropped => return Err(closed(&letter, "it has been dropped")),
        }
        let message = message(&letter, deps.clock.now())?;
        let attempt_key = format!("redrive/{}/{}/{}", letter.key, letter.id, letter.revision);
        queue::redrive(
            &deps.wakes,
            &deps.snapshots,
            &deps.contents,
            &message,
            &attempt_key,
        )
        .await?;
        let after = letter.redriven(&caller.subject, deps.clock.now());
        let saved = attempt(WHAT, store.save_dead_letter(&after).await?)?;
        if let Attempt::Done(after) = &saved {
            let (redrives, metric) = (after.redrives, "dead_letter_redriven");
            tracing::info!(connection = %after.key, redrives, metric, "dead letter redriven");
        }
        Ok(saved)
    })
    .await
}

/// The age from which the snapshot of a dead letter is too old to be applied, in milliseconds: the
/// retention of the queues. The record that says that the file is gone may have expired since.
const SNAPSHOT_AGE_MILLIS_MAX: i64 = 14 * 24 * 3_600 * 1_000;

/// Returns the message to send for a dead letter.
fn message(letter: &DeadLetter, now: Timestamp) -> Result<Redrive, Problem> {
    let message = worker::redrive_message(letter);
    let mut message = message.map_err(|why| {
        let detail = format!("it can't be sent again: {why}");
        Problem::new(Kind::StateNotAllowed, detail)
    })?;
    if let Redrive::Snapshot { message, .. } = &mut message
        && let Some(snapshot) = message.snapshot.as_ref().filter(|_| is_old(letter, now))
    {
        **message = message.by_reference(snapshot.version);
    }
    Ok(message)
}

fn is_old(letter: &DeadLetter, now: Timestamp) -> bool {
    now.millis_since(letter.first_seen_at) > SNAPSHOT_AGE_MILLIS_MAX
}

/// Drops a dead letter, and records the author, time and reason of the decision. Idempotent.
#[utoipa::path(
    post, path = "/v1/dead-letters/{letter}/drop", tag = "service",
    params(DeadLetterPath), request_body(content = DropBody),
    responses(
        (status = 200, description = "The dead letter.", body = DeadLetterView),
        (status = 409, description = "The dead letter is not waiting any more."),
    )
)]
pub(crate) async fn drop_dead_letter(
    deps: App,
    at: DeadLetterPath,
    keyed: Keyed,
    body: JsonBody,
) -> JsonResult<DeadLetterView> {
    let DropBody { reason } = body.read()?;
    if reason.trim().is_empty() {
        let detail = "reason must not be blank";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/reason"));
    }
    let (by, reason) = (at.caller.subject.as_str(), reason.as_str());
    let letter = lookups::dead_letter(&deps, &at.caller, &at.key, &at.id).await?;
    let (deps, keyed) = (&deps, &keyed);
    let dropped = swap(WHAT, letter, |letter| async move {
        match letter.status {
            DeadLetterStatus::Parked => {}
            DeadLetterStatus::Redriven => return Err(closed(&letter, "it has been sent again")),
            DeadLetterStatus::Dropped if is_decision(&letter, by, reason) => {
                return Ok(Attempt::Done(letter));
            }
            DeadLetterStatus::Dropped => return Err(closed(&letter, "it has been dropped")),
        }
        let after = letter.dropped(by, reason, deps.clock.now());
        let saved = keyed.store(deps).save_dead_letter(&after).await?;
        let saved = attempt(WHAT, saved)?;
        if let Attempt::Done(after) = &saved {
            let metric = "dead_letter_dropped";
            tracing::info!(connection = %after.key, metric, "dead letter dropped");
        }
        Ok(saved)
    });
    Ok(Json(DeadLetterView::new(&dropped.await?)))
}

fn closed(letter: &DeadLetter, why: &str) -> Problem {
    Problem::new(Kind::StateNotAllowed, why).current(&DeadLetterView::new(letter))
}

/// Returns whether the dead letter was dropped by this very decision.
fn is_decision(letter: &DeadLetter, by: &str, reason: &str) -> bool {
    match letter.history.last().map(|last| &last.action) {
        Some(DeadLetterAction::Dropped {
            by: who,
            reason: why,
        }) => who == by && why == reason,
        Some(DeadLetterAction::Parked { .. } | DeadLetterAction::Redriven { .. }) | None => false,
    }
}
