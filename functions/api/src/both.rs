//! Settling conflicts on content in the two ways that need more than a choice: keeping both, and merging texts.

use bytes::Bytes;
use domain::content::ContentHash;
use domain::{Choice, ConflictId, Field, FileId, FileRecord, Request, Revision, Value};
use objects::ContentHasher;
use serde_json::{Map, Value as Json};
use store::{Committed, Connection, Nonce};

use crate::auth::Caller;
use crate::content::{self, link, version_of};
use crate::etag::IfMatch;
use crate::extract::digest;
use crate::make::{MADE_MILLIS, given_id};
use crate::problem::{Kind, Problem};
use crate::{Deps, conflict_id, meaning, record};

/// What is asked of a conflict on content beyond a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Both,
    Merge,
}

impl How {
    /// Reads a body's members; `None` where they ask for something else.
    pub(crate) fn of(members: &Map<String, Json>, field: &Field) -> Result<Option<Self>, Problem> {
        let how = match members.get("choose").and_then(Json::as_str) {
            Some("both") => Self::Both,
            Some("merge") => Self::Merge,
            Some(_) | None => return Ok(None),
        };
        if *field != Field::Content {
            let detail = "only a conflict on content can be settled so";
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/choose"));
        }
        if let Some(other) = members.keys().find(|member| *member != "choose") {
            let detail = "a resolution has no such member beside this choice";
            return Err(Problem::new(Kind::MemberNotAllowed, detail).at(format!("/{other}")));
        }
        Ok(Some(how))
    }
}

/// Prepares what the choice names, and gives the choice: the copy is made, or the merged text is stored, before the
/// conflict is decided. What is prepared for a conflict that has ended or moved meanwhile is prepared in vain, and refused
/// when it is decided.
pub(crate) async fn prepare(
    deps: &Deps,
    connection: &Connection,
    caller: &Caller,
    id: &ConflictId,
    (how, moves): (How, Option<&IfMatch>),
) -> Result<Choice, Problem> {
    let key = &connection.key;
    let file = std::slice::from_ref(&id.file);
    let record = record::file(deps, key, &id.file).await?;
    let out = meaning::out_of_scope(deps, connection, file).await?;
    if record.is_present() && !out.is_empty() {
        return Err(meaning::refused());
    }
    let open = record.open.get(&id.field);
    let standing = open.is_some_and(|open| {
        let seen = moves.is_none_or(|moves| moves.allows(u64::from(open.moves)));
        open.number == id.number && seen
    });
    match how {
        How::Both => {
            let copy = copy_id(deps, connection, &record, id, standing).await?;
            if standing {
                make_copy(deps, connection, caller, &record, &copy).await?;
            }
            Ok(Choice::Both(copy))
        }
        How::Merge if standing => merge(deps, connection, &record).await,
        // It is refused for not being open, or for its moves, whatever the choice.
        How::Merge => Ok(Choice::Value(Value::Null)),
    }
}

/// The id of the copy: one for each conflict, however often and by whomever it is asked for within a day.
async fn copy_id(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
    id: &ConflictId,
    standing: bool,
) -> Result<FileId, Problem> {
    let key = &connection.key;
    let name = conflict_id::encode(id);
    let request = Request {
        key: digest(&[b"the copy of a conflict", name.as_bytes()]),
        digest: "copy".to_owned(),
    };
    if let Some(made) = deps.store.load_made(key, &request).await? {
        return Ok(made.file);
    }
    if !standing {
        // No copy was made for it here: this names none.
        return FileId::parse("none")
            .map_err(|_| Problem::new(Kind::Internal, "no id could be made"));
    }
    let file = given_id(deps, connection, &record.mirror.mime_type).await?;
    let expires = deps.clock.now().plus_millis(MADE_MILLIS);
    let made = deps.store.keep_made(key, &request, &file, expires).await?;
    Ok(made.file)
}

async fn make_copy(
    deps: &Deps,
    connection: &Connection,
    caller: &Caller,
    record: &FileRecord,
    copy: &FileId,
) -> Result<(), Problem> {
    let key = &connection.key;
    let now = deps.clock.now();
    let Some(new) = record.conflicted_copy(copy.clone(), now) else {
        let detail = "the application's side holds nothing that could be kept beside Drive's";
        return Err(Problem::new(Kind::StateNotAllowed, detail).at("/choose"));
    };
    let edit = record.edits.get(&Field::Content);
    let by = edit.map_or(caller.subject.as_str(), |edit| edit.by.as_str());
    let moment = record::moment(now, &connection.policies);
    let step =
        FileRecord::creating(&new, by, moment).map_err(|why| crate::files::refused(record, why))?;
    let nonce = Nonce(deps.entropy.next());
    match deps.store.commit(key, Revision(0), &step, nonce).await? {
        Committed::Done => {}
        // It was made before: by a request that died, or by somebody else who decides the same.
        Committed::Stale(_) => return Ok(()),
    }
    let made = step.record;
    if let Some(hash) = hash_of(&made.app(&Field::Content))
        && let Some(object) = content::held(deps, key, &hash).await?
    {
        let version = version_of(deps, &made, &object, made.content_version, by);
        link(deps, key, &made, version, None).await;
    }
    Ok(())
}

fn hash_of(value: &Value) -> Option<ContentHash> {
    match value {
        Value::Text(text) => ContentHash::parse(text).ok(),
        Value::Null | Value::Flag(_) => None,
    }
}

/// The merged text, stored.
async fn merge(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
) -> Result<Choice, Problem> {
    let sides = record.sides(&Field::Content);
    let base = text(deps, connection, "base", &sides.base).await?;
    let app = text(deps, connection, "app", &sides.app).await?;
    let drive = text(deps, connection, "drive", sides.drive()).await?;
    let merged = diffy::merge(&base, &app, &drive).map_err(|marked| {
        let clashes = marked.lines().filter(|line| line.starts_with("<<<<<<<")).count();
        let detail = "both sides changed the same lines; choose one, keep both, or bring a merge of your own";
        Problem::new(Kind::MergeClashes, detail).clashes(clashes)
    })?;
    let bytes = Bytes::from(merged);
    let digest = ContentHasher::of(&bytes);
    let mime_type = &record.mirror.mime_type;
    content::store(deps, connection, bytes, &digest, mime_type).await?;
    Ok(Choice::Value(content::value(&digest.sha256)))
}

/// One side's text, where it is stored here.
async fn text(
    deps: &Deps,
    connection: &Connection,
    side: &str,
    value: &Value,
) -> Result<String, Problem> {
    let cannot = |why: &str| {
        let detail = format!("the content of {side} {why}, so it can't be merged");
        Problem::new(Kind::StateNotAllowed, detail).at("/choose")
    };
    let hash = hash_of(value).ok_or_else(|| cannot("is not known"))?;
    let object = content::held(deps, &connection.key, &hash).await?;
    let object = object.ok_or_else(|| cannot("is not stored here"))?;
    content::text(deps, &object).await?.map_err(cannot)
}

/// Whether the tenant has the bytes of a content that is to be decided for.
pub(crate) async fn is_stored(
    deps: &Deps,
    connection: &Connection,
    value: &Value,
) -> Result<bool, Problem> {
    match hash_of(value) {
        None => Ok(false),
        Some(hash) => Ok(content::held(deps, &connection.key, &hash).await?.is_some()),
    }
}
