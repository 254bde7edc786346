//! Dead letters that are sent again, or dropped.
//!
//! Invariants:
//! - A letter is sent first and recorded then: a crash in between sends it twice, never not at all. What a message does
//!   is the same however often it is delivered.
//! - Each stay in the dead letters has a number of its own in the deduplication id. So of two redrives at once one is
//!   swallowed, and the redrive of what came back is not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{ConnectionId, ConnectionKey};
use runtime::queue::{Again, send_again};
use runtime::{Cause, ContentWake, Lane, SnapshotMessage};
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use store::{PageRequest, Parked, ParkedStatus, ParkedStep, Written};
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::dead_letters::{DeadLetterView, LetterPath, load, parse_id};
use crate::extract::{JsonBody, typed};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, record};

/// Letters that one request sends again.
const LETTERS_MAX: usize = 100;
/// Rounds against others who decide on the same letter.
const ROUNDS_MAX: usize = 8;
/// The longest reason that is taken, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// Which letters are sent again: those of `ids`, or with `all` those of a connection that wait.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveBody {
    /// Up to 100.
    ids: Option<Vec<String>>,
    /// True: all that wait in `connection`, up to 100 at a time.
    all: Option<bool>,
    /// With `all`.
    connection: Option<String>,
    /// With `all`: the `next_cursor` of the answer before.
    cursor: Option<String>,
}

/// What became of each letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveResults {
    /// In the order of `ids`; with `all`, by id.
    results: Vec<RedriveResult>,
    /// With `all`: where the next request goes on; null at the end.
    next_cursor: Option<String>,
}

/// What became of one letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RedriveResult {
    id: String,
    /// The HTTP status that it would have had on its own.
    status: u16,
    /// The letter, sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<DeadLetterView>,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// Why a letter is dropped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DropBody {
    /// 1 to 1,000 characters. It is kept with the letter, with who decided and when.
    reason: String,
}

/// Sends dead letters again, each on its own: one that can't be sent stops no other. Doing it twice is doing it once,
/// and a letter that fails again is back with its history grown.
#[utoipa::path(
    post, operation_id = "redrive_dead_letters", path = "/v1/dead-letters/redrive", tag = "service",
    request_body(content = RedriveBody),
    responses((status = 200, description = "What became of each.", body = RedriveResults))
)]
pub(crate) async fn redrive(
    State(deps): State<Arc<Deps>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<RedriveResults>, Problem> {
    let body: RedriveBody = typed(JsonValue::Object(body.members), "")?;
    match (&body.ids, body.all, &body.connection) {
        (Some(ids), None, None) if body.cursor.is_none() => named(&deps, &caller, ids).await,
        (None, Some(true), Some(connection)) => {
            waiting(&deps, &caller, connection, body.cursor.clone()).await
        }
        (_, _, _) => {
            let detail = "either ids, or all (true) with connection";
            Err(Problem::new(Kind::MemberNotAllowed, detail).at(""))
        }
    }
}

async fn named(
    deps: &Deps,
    caller: &Caller,
    ids: &[String],
) -> Result<Json<RedriveResults>, Problem> {
    if ids.is_empty() || ids.len() > LETTERS_MAX {
        let detail = format!("ids must be 1 to {LETTERS_MAX}");
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/ids"));
    }
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let sent = async {
            let (key, name) = parse_id(&caller.tenant, id)?;
            let letter = load(deps, &key, &name).await?;
            send(deps, caller, letter).await
        };
        results.push(result(id.clone(), sent.await));
    }
    Ok(Json(RedriveResults {
        results,
        next_cursor: None,
    }))
}

async fn waiting(
    deps: &Deps,
    caller: &Caller,
    connection: &str,
    cursor: Option<String>,
) -> Result<Json<RedriveResults>, Problem> {
    let connection = ConnectionId::parse(connection).map_err(|_| {
        Problem::new(Kind::ValueNotAllowed, "connection is no id").at("/connection")
    })?;
    let key = ConnectionKey {
        tenant: caller.tenant.clone(),
        connection,
    };
    record::connection(deps, &key).await?;
    let request = PageRequest {
        limit: u32::try_from(LETTERS_MAX).unwrap_or(1),
        cursor,
    };
    let page = deps.store.list_parked(&key, &request).await?;
    let waits = |letter: &Parked| letter.status == ParkedStatus::Parked;
    let mut results = Vec::new();
    for letter in page.items.into_iter().filter(waits) {
        let id = DeadLetterView::id_of(&letter);
        results.push(result(id, send(deps, caller, letter).await));
    }
    Ok(Json(RedriveResults {
        results,
        next_cursor: page.next_cursor,
    }))
}

fn result(id: String, sent: Result<Parked, Problem>) -> RedriveResult {
    match sent {
        Ok(letter) => RedriveResult {
            id,
            status: 200,
            letter: Some(DeadLetterView::new(&letter)),
            problem: None,
        },
        Err(problem) => RedriveResult {
            id,
            status: problem.status(),
            letter: None,
            problem: Some(problem.into_body()),
        },
    }
}

/// Sends a letter again, then records it. One that was sent already and has not come back is left as it is.
async fn send(deps: &Deps, caller: &Caller, letter: Parked) -> Result<Parked, Problem> {
    let mut letter = letter;
    for _ in 0..ROUNDS_MAX {
        match letter.status {
            ParkedStatus::Parked => {}
            ParkedStatus::Redriven => return Ok(letter),
            ParkedStatus::Dropped => return Err(closed(&letter, "it was dropped")),
        }
        let again = message(&letter)?;
        let cause = format!("redrive/{}/{}/{}", letter.key, letter.id, letter.revision);
        send_again(&deps.wakes, &deps.snapshots, &deps.contents, &again, &cause).await?;
        let after = letter.redriven(&caller.subject, deps.clock.now());
        letter = match deps.store.save_parked(&after).await? {
            Written::Done(after) => {
                tracing::info!(
                    connection = %after.key, redrives = after.redrives, metric = "dead_letter_redriven",
                    "sent a dead letter again"
                );
                return Ok(after);
            }
            Written::Stale(Some(current)) => current,
            Written::Stale(None) => return Err(Problem::not_found("the dead letter")),
        };
    }
    Err(Problem::busy("others decide on the same dead letter", 1))
}

/// What is sent for a letter.
fn message(letter: &Parked) -> Result<Again, Problem> {
    let unsendable = |why: &str| {
        let detail = format!("it can't be sent again: {why}");
        Problem::new(Kind::StateNotAllowed, detail)
    };
    if letter.queue == "drive" {
        // What Drive said can't be read, so Drive is asked about the file as it is now.
        let Some(file) = letter.file.clone() else {
            return Err(unsendable("Drive named no file that could be asked about"));
        };
        let prefix = Parked::snapshot_id(&file, "");
        let name = letter.id.strip_prefix(&prefix).unwrap_or(&letter.id);
        let message = Box::new(SnapshotMessage {
            key: letter.key.clone(),
            cause: Cause::letter(name),
            file,
            at: letter.first_seen_at,
            snapshot: None,
        });
        return Ok(Again::Snapshot {
            message,
            bulk: false,
        });
    }
    if letter.queue == "stream" {
        // What the record said then can't be read, so what it says now is looked at.
        let Some(file) = letter.file.clone() else {
            return Err(unsendable("it names no file that could be looked at"));
        };
        let wake = ContentWake {
            key: letter.key.clone(),
            file,
        };
        let lane = Lane::Prompt;
        return Ok(Again::Content { wake, lane });
    }
    let bulk = letter.queue.contains("-bulk");
    let again = Again::from_body(&letter.body, bulk).map_err(|why| unsendable(&why.to_string()))?;
    // The tenant is in the key, and nothing that a body says leads out of it.
    if *again.key() != letter.key {
        return Err(unsendable("it is about another connection"));
    }
    Ok(again)
}

/// Drops a dead letter: a decision that is recorded with who, when and why. Doing it twice is doing it once.
#[utoipa::path(
    post, operation_id = "drop_dead_letter", path = "/v1/dead-letters/{letter}/drop", tag = "service",
    params(("letter" = String, Path)), request_body(content = DropBody),
    responses(
        (status = 200, description = "The dead letter.", body = DeadLetterView),
        (status = 409, description = "It does not wait any more.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn drop(
    State(deps): State<Arc<Deps>>,
    at: LetterPath,
    body: JsonBody,
) -> Result<Json<DeadLetterView>, Problem> {
    let DropBody { reason } = typed(JsonValue::Object(body.members), "")?;
    if reason.trim().is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        let detail = format!("reason must be 1 to {REASON_CHARS_MAX} characters");
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/reason"));
    }
    let by = at.caller.subject.as_str();
    let mut letter = load(&deps, &at.key, &at.id).await?;
    for _ in 0..ROUNDS_MAX {
        match letter.status {
            ParkedStatus::Parked => {}
            ParkedStatus::Redriven => return Err(closed(&letter, "it was sent again")),
            ParkedStatus::Dropped if is_decision(&letter, by, &reason) => {
                return Ok(Json(DeadLetterView::new(&letter)));
            }
            ParkedStatus::Dropped => return Err(closed(&letter, "it was dropped already")),
        }
        let after = letter.dropped(by, &reason, deps.clock.now());
        letter = match deps.store.save_parked(&after).await? {
            Written::Done(after) => {
                tracing::info!(
                    connection = %after.key, metric = "dead_letter_dropped", "a person dropped a dead letter"
                );
                return Ok(Json(DeadLetterView::new(&after)));
            }
            Written::Stale(Some(current)) => current,
            Written::Stale(None) => return Err(Problem::not_found("the dead letter")),
        };
    }
    Err(Problem::busy("others decide on the same dead letter", 1))
}

fn closed(letter: &Parked, why: &str) -> Problem {
    Problem::new(Kind::StateNotAllowed, why).current(&DeadLetterView::new(letter))
}

/// Whether the letter was dropped by this very decision.
fn is_decision(letter: &Parked, by: &str, reason: &str) -> bool {
    match letter.history.last().map(|last| &last.step) {
        Some(ParkedStep::Dropped {
            by: who,
            reason: why,
        }) => who == by && why == reason,
        Some(ParkedStep::Parked { .. } | ParkedStep::Redriven { .. }) | None => false,
    }
}
