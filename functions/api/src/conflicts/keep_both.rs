//! Resolutions of conflicts on content that create something first: a copy of the file to keep both
//! contents, or a merged text.

use bytes::Bytes;
use domain::content::ContentHash;
use domain::{Choice, ConflictId, Field, FileId, FileRecord, Request, Value};
use objects::ContentHasher;
use serde_json::{Map, Value as Json};
use store::Connection;

use crate::Deps;
use crate::conflicts::conflict_body::choice;
use crate::conflicts::conflict_id;
use crate::content::text_merge::{self, Merged};
use crate::content::{content_writes, stored_versions};
use crate::edits;
use crate::files::edit_problems::refused;
use crate::files::{new_id, scope};
use crate::http::{Caller, IfMatch, Keyed, Kind, Problem, digest};
use crate::lookups;

/// The resolution that a request asks for.
#[derive(Debug)]
pub(crate) enum RequestedResolution {
    /// A side or a value.
    Choice(Choice),
    /// Drive's content, with the application's in a copy of the file.
    KeepBoth,
    /// The text with the changes of both sides.
    Merge,
}

impl RequestedResolution {
    /// Reads the members of a `ResolutionBody`.
    pub(crate) fn read(members: &Map<String, Json>, field: &Field) -> Result<Self, Problem> {
        let resolution = match members.get("choose").and_then(Json::as_str) {
            Some("both") => Self::KeepBoth,
            Some("merge") => Self::Merge,
            Some(_) | None => return choice(members, field, "").map(Self::Choice),
        };
        if *field != Field::Content {
            let detail = "only a conflict on content can be resolved in this way";
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/choose"));
        }
        if let Some(other) = members.keys().find(|member| *member != "choose") {
            let detail = "this choice takes no other member";
            return Err(Problem::new(Kind::MemberNotAllowed, detail).at(format!("/{other}")));
        }
        Ok(resolution)
    }

    /// Creates the copy or stores the merged text, and returns the choice that names it. If the
    /// conflict has ended or moved by the time of the decision, the decision is refused and what
    /// was created is not used.
    pub(crate) async fn prepare(
        self,
        deps: &Deps,
        connection: &Connection,
        caller: &Caller,
        id: &ConflictId,
        if_match: Option<&IfMatch>,
    ) -> Result<Choice, Problem> {
        let keep_both = match self {
            Self::Choice(choice) => return Ok(choice),
            Self::KeepBoth => true,
            Self::Merge => false,
        };
        // The copy is brought to Drive by the content mirror.
        content_writes::require_enabled(connection)?;
        let record = lookups::file(deps, &connection.key, &id.file).await?;
        let out_of_scope = scope::is_out_of_scope(deps, connection, &id.file).await?;
        if record.is_present() && out_of_scope {
            return Err(scope::refusal());
        }
        let can_be_decided = record.open.get(&id.field).is_some_and(|open| {
            let moves = u64::from(open.moves);
            open.number == id.number && if_match.is_none_or(|tags| tags.allows(moves))
        });
        if keep_both {
            let copy = copy_id(deps, connection, &record, id, can_be_decided).await?;
            if can_be_decided {
                create_copy(deps, connection, caller, &record, &copy).await?;
            }
            return Ok(Choice::Both(copy));
        }
        if !can_be_decided {
            // Any choice is refused, because the conflict is not open or its sides have moved.
            return Ok(Choice::Value(Value::Null));
        }
        merge(deps, connection, &record).await
    }
}

/// Returns the id of the copy: the same for every request on the conflict within a day.
async fn copy_id(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
    id: &ConflictId,
    can_be_decided: bool,
) -> Result<FileId, Problem> {
    let decided = record.open.get(&id.field).filter(|_| can_be_decided);
    if let Some(keeping) = decided.and_then(|open| open.keeping.as_ref()) {
        return Ok(keeping.copy.clone());
    }
    let name = conflict_id::encode(id);
    let reason = Request {
        key: digest(&[b"the copy of a conflict", name.as_bytes()]),
        digest: "copy".to_owned(),
    };
    if can_be_decided {
        let mime_type = &record.metadata.mime_type;
        return new_id::once_for(deps, connection, mime_type, &reason).await;
    }
    match deps
        .store
        .load_idempotency_record(&connection.key, &reason)
        .await?
    {
        Some(made) => Ok(made.file),
        None => new_id::placeholder(),
    }
}

/// Creates the copy with the application's content. It may exist already: from a request that was
/// interrupted, or from another one with the same decision.
async fn create_copy(
    deps: &Deps,
    connection: &Connection,
    caller: &Caller,
    record: &FileRecord,
    copy: &FileId,
) -> Result<(), Problem> {
    let key = &connection.key;
    let now = deps.clock.now();
    let Some(new) = record.conflicted_copy(copy.clone(), now) else {
        let detail = "the application has no content that a copy could keep";
        return Err(Problem::new(Kind::StateNotAllowed, detail).at("/choose"));
    };
    let edit = record.edits.get(&Field::Content);
    let by = edit.map_or(caller.subject.as_str(), |edit| edit.by.as_str());
    let context = edits::context(now, &connection.policies);
    let transition = FileRecord::creating(&new, by, context);
    let transition = transition.map_err(|why| refused(record, why))?;
    let object = match hash_of(&transition.record.app(&Field::Content)) {
        Some(hash) => content_writes::retain(deps, key, &hash).await?,
        None => None,
    };
    let unkeyed = Keyed::default();
    edits::create(deps, &unkeyed, key, transition, object.as_ref(), by).await?;
    Ok(())
}

fn hash_of(value: &Value) -> Option<ContentHash> {
    match value {
        Value::Text(text) => ContentHash::parse(text).ok(),
        Value::Null | Value::Flag(_) => None,
    }
}

/// Stores the merged text.
async fn merge(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
) -> Result<Choice, Problem> {
    let sides = record.sides(&Field::Content);
    let base = text(deps, connection, record, "base", &sides.base).await?;
    let app = text(deps, connection, record, "app", &sides.app).await?;
    let drive = text(deps, connection, record, DRIVE, sides.drive()).await?;
    let merged = match text_merge::merge(base, app, drive).await? {
        Merged::Clean(merged) => merged,
        Merged::Clashes(clashes) => {
            let detail =
                "both sides have changed the same lines; choose one, keep both, or upload a merge";
            return Err(Problem::new(Kind::MergeClashes, detail).clashes(clashes));
        }
        Merged::TooDifferent => {
            let detail = "the contents are too different to be merged line by line; choose one, \
                          keep both, or upload a merge";
            return Err(Problem::new(Kind::MergeClashes, detail));
        }
    };
    let bytes = Bytes::from(merged);
    let digest = ContentHasher::of(&bytes);
    let mime_type = &record.metadata.mime_type;
    content_writes::store(deps, connection, bytes, &digest, mime_type).await?;
    deps.store
        .hold_object(&connection.key, &digest.sha256)
        .await?;
    Ok(Choice::Value(content_writes::value(&digest.sha256)))
}

/// Loads the text of one side, which must be stored here.
async fn text(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
    side: &str,
    value: &Value,
) -> Result<String, Problem> {
    let cannot = |why: &str| {
        let detail = format!("the content of {side} can't be merged: it {why}");
        Problem::new(Kind::StateNotAllowed, detail).at("/choose")
    };
    let object = match hash_of(value) {
        Some(hash) => content_writes::retain(deps, &connection.key, &hash).await?,
        None => None,
    };
    match object {
        Some(object) => stored_versions::text(deps, &object).await?.map_err(cannot),
        None if side == DRIVE => Err(not_here_yet(deps, connection, record, cannot).await?),
        None => Err(cannot("is not stored here")),
    }
}

/// The problem of a merge whose content of Drive's side is not stored here. It is brought here when
/// the conflict opens.
async fn not_here_yet(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
    cannot: impl Fn(&str) -> Problem,
) -> Result<Problem, Problem> {
    if record.metadata.size_bytes > Some(connection.content.size_bytes_max) {
        return Ok(cannot("is larger than the connection's size_bytes_max"));
    }
    let key = &connection.key;
    let state = deps.store.load_content(key, &record.file).await?;
    Ok(match (&state.trouble, state.due_at) {
        (Some(trouble), Some(due)) => {
            let why = format!(
                "could not be had: {}; next attempt at {due}",
                trouble.reason
            );
            cannot(&why)
        }
        (Some(_) | None, _) => Problem::busy("Drive's content is on its way; try again", 2),
    })
}

/// The name of Drive's side.
const DRIVE: &str = "drive";

/// Returns whether the connection holds a content, whose bytes are stored.
pub(crate) async fn is_held(
    deps: &Deps,
    connection: &Connection,
    value: &Value,
) -> Result<bool, Problem> {
    let Some(hash) = hash_of(value) else {
        return Ok(false);
    };
    let held = deps.store.holds_object(&connection.key, &hash).await?;
    Ok(held && is_stored(deps, connection, value).await?)
}

/// Returns whether the tenant has stored the bytes of a content.
pub(crate) async fn is_stored(
    deps: &Deps,
    connection: &Connection,
    value: &Value,
) -> Result<bool, Problem> {
    match hash_of(value) {
        None => Ok(false),
        Some(hash) => {
            let object = content_writes::retain(deps, &connection.key, &hash).await?;
            Ok(object.is_some())
        }
    }
}
