//! Files: list, look, change.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use domain::{ConnectionKey, EditRefused, Field, FileId, FileRecord, Moment, Request, Step, Value};
use serde::{Deserialize, Serialize};
use store::{Connection, PageRequest, Tombstones};
use utoipa::{IntoParams, ToSchema};

use crate::cursor::{self, Scan};
use crate::etag::{IfMatch, tag};
use crate::extract::{
    ConnectionPath, FilePath, JsonBody, Params, Repeat, idempotency, page, repeat,
};
use crate::file_patch::{FilePatch, parse, pointer_of};
use crate::file_view::{FileView, HistoryView};
use crate::meaning::{self, Meaning};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, conflict_id, permission_view, record};

/// Says that a request with an `Idempotency-Key` had been done before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Records looked at in one go where most may be filtered out.
const SCAN_PAGE: u32 = 500;
/// Such goes in one request: what is left is behind `next_cursor`.
const SCAN_PAGES_MAX: usize = 4;

/// Which files are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilesQuery {
    /// Only what lies in this folder, by its id.
    parent: Option<String>,
    /// Only what has this in its name, whatever the case.
    q: Option<String>,
    /// Only what is in the trash (`true`), by itself or in a folder that is, or is not (`false`).
    trashed: Option<bool>,
    /// Only what the connection's rules leave out (`true`), or what they take in (`false`, and where left
    /// out).
    excluded: Option<bool>,
    /// Whether to derive `path`, `effective` and `shortcut`; they cost reads.
    path: Option<bool>,
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// In no meaningful order; with `parent`, by id. May be fewer than `limit`, even none, before the end.
    items: Vec<FileView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// The files of a connection that are present and in scope.
#[utoipa::path(
    get, operation_id = "list_files", path = "/v1/connections/{connection}/files", tag = "files",
    params(("connection" = String, Path), FilesQuery),
    responses((status = 200, description = "A page.", body = FileList))
)]
pub(crate) async fn list(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
    Params(query): Params<FilesQuery>,
) -> Result<Json<FileList>, Problem> {
    let parent = query.parent.as_deref().map(|id| {
        FileId::parse(id).map_err(|_| Problem::new(Kind::MalformedRequest, "parent is no id"))
    });
    let parent = parent.transpose()?;
    let limit = page(query.limit, None)?.limit;
    let from: Scan = match &query.cursor {
        None => Scan::default(),
        Some(cursor) => cursor::decode(cursor)?,
    };
    let connection = record::connection(&deps, &at.key).await?;
    let filter = Filter::of(&query, &connection);
    let mut meaning = Meaning::of(&deps, &connection);
    let search = Search {
        deps: &deps,
        key: &at.key,
        parent: parent.as_ref(),
        filter: &filter,
        limit: limit as usize,
    };
    let (records, next) = search.scan(from, &mut meaning).await?;
    let whole = query.path == Some(true);
    if whole {
        let all: Vec<&FileRecord> = records.iter().collect();
        meaning.point(&all).await?;
        meaning.climb(&records).await?;
    }
    let view = |record: &FileRecord| match whole {
        true => FileView::whole(record, &meaning),
        false => FileView::scoped(record, &meaning),
    };
    Ok(Json(FileList {
        items: records.iter().map(view).collect(),
        next_cursor: next.map(|next| cursor::encode(&next)),
    }))
}

/// What is looked at here, since no index knows it.
struct Filter {
    name: Option<String>,
    trashed: Option<bool>,
    /// `None` where everything is in scope and no one asks for the rest.
    in_scope: Option<bool>,
}

impl Filter {
    fn of(query: &FilesQuery, connection: &Connection) -> Self {
        let in_scope = !query.excluded.unwrap_or(false);
        Self {
            name: query.q.as_ref().map(|q| q.to_lowercase()),
            trashed: query.trashed,
            in_scope: (!connection.rules.is_empty() || !in_scope).then_some(in_scope),
        }
    }

    fn takes_all(&self) -> bool {
        self.name.is_none() && !self.looks_up()
    }

    /// Whether the folders above a file decide.
    fn looks_up(&self) -> bool {
        self.trashed.is_some() || self.in_scope.is_some()
    }

    /// What the record itself tells.
    fn takes_name(&self, record: &FileRecord) -> bool {
        self.name
            .as_ref()
            .is_none_or(|part| match record.app(&Field::Name) {
                Value::Text(name) => name.to_lowercase().contains(part),
                Value::Null | Value::Flag(_) => false,
            })
    }

    /// What the folders above it tell.
    fn takes_place(&self, record: &FileRecord, meaning: &Meaning<'_>) -> bool {
        let trashed = |wanted: bool| wanted == meaning.is_trashed(record);
        let in_scope = |wanted: bool| wanted == meaning.in_scope(record);
        self.trashed.is_none_or(trashed) && self.in_scope.is_none_or(in_scope)
    }
}

/// A look through the store's pages for what a filter takes.
struct Search<'a> {
    deps: &'a Deps,
    key: &'a ConnectionKey,
    parent: Option<&'a FileId>,
    filter: &'a Filter,
    limit: usize,
}

impl Search<'_> {
    /// Collects up to `limit` files that the filter takes, over a bounded number of the store's pages, and
    /// says where the list goes on.
    async fn scan(
        &self,
        from: Scan,
        meaning: &mut Meaning<'_>,
    ) -> Result<(Vec<FileRecord>, Option<Scan>), Problem> {
        let mut taken = Vec::new();
        let mut at = from;
        for _ in 0..SCAN_PAGES_MAX {
            let request = PageRequest {
                limit: if self.filter.takes_all() {
                    u32::try_from(self.limit).unwrap_or(SCAN_PAGE)
                } else {
                    SCAN_PAGE
                },
                cursor: at.page.clone(),
            };
            let page = self
                .deps
                .store
                .list_files(self.key, self.parent, Tombstones::Skip, &request)
                .await?;
            let skip = at.skip;
            let numbered = (0_u32..).zip(page.items);
            let named: Vec<(u32, FileRecord)> = numbered
                .filter(|(number, record)| *number >= skip && self.filter.takes_name(record))
                .collect();
            if self.filter.looks_up() {
                meaning
                    .climb(named.iter().map(|(_, record)| record))
                    .await?;
            }
            for (number, record) in named {
                if !self.filter.takes_place(&record, meaning) {
                    continue;
                }
                if taken.len() == self.limit {
                    at.skip = number;
                    return Ok((taken, Some(at)));
                }
                taken.push(record);
            }
            match page.next_cursor {
                None => return Ok((taken, None)),
                next @ Some(_) => {
                    at = Scan {
                        page: next,
                        skip: 0,
                    }
                }
            }
            if taken.len() == self.limit {
                break;
            }
        }
        Ok((taken, Some(at)))
    }
}

/// One file, as it is now.
#[utoipa::path(
    get, operation_id = "get_file", path = "/v1/connections/{connection}/files/{file}", tag = "files",
    params(("connection" = String, Path), ("file" = String, Path)),
    responses((status = 200, description = "The file; `ETag` is what `If-Match` wants.", body = FileView,
        headers(("ETag" = String))))
)]
pub(crate) async fn get(State(deps): State<Arc<Deps>>, at: FilePath) -> Result<Response, Problem> {
    let (connection, record) = record::found(&deps, &at).await?;
    answer(&deps, &connection, &record).await
}

/// A file with all that is derived, and its tag.
pub(crate) async fn answer(
    deps: &Deps,
    connection: &Connection,
    record: &FileRecord,
) -> Result<Response, Problem> {
    let meaning = Meaning::whole(deps, connection, &[record]).await?;
    let view = FileView::whole(record, &meaning);
    Ok(([(header::ETAG, tag(record.visible.0))], Json(view)).into_response())
}

/// Which page of a history is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// 1 to 1,000; 100 where left out.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
    /// The `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// A page of a file's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryList {
    /// Newest version first.
    items: Vec<HistoryView>,
    /// The `cursor` of the next page; null at the end.
    next_cursor: Option<String>,
}

/// What Drive held, version by version, as far back as it is kept.
#[utoipa::path(
    get, operation_id = "get_file_history", path = "/v1/connections/{connection}/files/{file}/history", tag = "files",
    params(("connection" = String, Path), ("file" = String, Path), PageQuery),
    responses((status = 200, description = "A page.", body = HistoryList))
)]
pub(crate) async fn history(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    Params(query): Params<PageQuery>,
) -> Result<Json<HistoryList>, Problem> {
    let request = page(query.limit, query.cursor)?;
    record::found(&deps, &at).await?;
    let page = deps.store.history(&at.key, &at.file, &request).await?;
    Ok(Json(HistoryList {
        items: page.items.iter().map(HistoryView::new).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// Changes fields of a file. All of them or none; what changed is owed to Drive from then on.
#[utoipa::path(
    patch, operation_id = "update_file", path = "/v1/connections/{connection}/files/{file}", tag = "files",
    params(
        ("connection" = String, Path), ("file" = String, Path),
        ("If-Match" = String, Header, description = "The `ETag` of what was read, or `*`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = FilePatch, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The file, and what is owed. `Idempotent-Replayed` where it had been done before.",
            body = FileView, headers(("ETag" = String), ("Idempotent-Replayed" = String))),
        (status = 409, description = "Open conflicts hold some of the fields; `conflicts` names them. Or the file is out of scope.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 410, description = "The file is gone.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "It has changed; `current` is the file now.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "No `If-Match`.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn update(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let values = parse(&body.members)?;
    let if_match = IfMatch::required(&headers)?;
    let route = format!("PATCH {}/{}", at.key, at.file);
    let request = idempotency(&headers, &at.caller, &[&route, &body.digest])?;
    let connection = record::connection(&deps, &at.key).await?;
    let above = permission_view::reaching(&deps, &connection, &at.file, &values).await?;
    write(
        &deps,
        &at,
        &connection,
        if_match,
        request,
        |record, moment| {
            permission_view::nothing_inherited_is_removed(record, &values, &above)?;
            let step = record.edit(&values, &at.caller.subject, moment);
            step.map_err(|why| refused(record, why))
        },
    )
    .await
}

/// Does once what a caller asks of a file, and answers with the file. `decide` is asked only where the caller's
/// conditions hold: the request was not done before, the file is what the caller saw, and it is in scope.
pub(crate) async fn write(
    deps: &Deps,
    at: &FilePath,
    connection: &Connection,
    if_match: IfMatch,
    request: Option<Request>,
    decide: impl Fn(&FileRecord, Moment<'_>) -> Result<Step, Problem>,
) -> Result<Response, Problem> {
    let seen = |record: &FileRecord| match if_match.allows(record.visible.0) {
        true => Ok(()),
        false => Err(stale(record)),
    };
    let done = write_once(deps, at, connection, request, seen, decide).await?;
    done.answer(deps, connection).await
}

/// What became of what a caller asked of a file.
pub(crate) struct Done {
    /// The record as it is since.
    pub(crate) record: FileRecord,
    /// Whether it had been done before.
    pub(crate) replayed: bool,
}

impl Done {
    /// The file, and whether this was a repeat.
    pub(crate) async fn answer(
        &self,
        deps: &Deps,
        connection: &Connection,
    ) -> Result<Response, Problem> {
        let mut response = answer(deps, connection, &self.record).await?;
        if self.replayed {
            let replayed = header::HeaderValue::from_static("true");
            response.headers_mut().insert(REPLAYED, replayed);
        }
        Ok(response)
    }
}

/// [`write`] without the answer, where `seen` judges whether the file is what the caller saw.
pub(crate) async fn write_once(
    deps: &Deps,
    at: &FilePath,
    connection: &Connection,
    request: Option<Request>,
    seen: impl Fn(&FileRecord) -> Result<(), Problem>,
    decide: impl Fn(&FileRecord, Moment<'_>) -> Result<Step, Problem>,
) -> Result<Done, Problem> {
    let out = meaning::out_of_scope(deps, connection, std::slice::from_ref(&at.file)).await?;
    let now = deps.clock.now();
    let mut replayed = false;
    let written = record::write(deps, &at.key, &at.file, |record| {
        replayed = repeat(request.as_ref(), record.last_request.as_ref())? == Repeat::Replayed;
        if replayed {
            return Ok(None);
        }
        seen(record)?;
        if record.is_present() && out.contains(&record.file) {
            return Err(meaning::refused());
        }
        let mut step = decide(record, record::moment(now, &connection.policies))?;
        record::remember(&mut step, record, request.clone());
        Ok(Some(step))
    })
    .await?;
    record::wake_push(deps, &at.key, written.record()).await;
    Ok(Done {
        record: written.step.record,
        replayed,
    })
}

pub(crate) fn stale(record: &FileRecord) -> Problem {
    Problem::new(
        Kind::Stale,
        "the file has changed; `current` is what it is now",
    )
    .current(&FileView::new(record))
    .header(header::ETAG, tag(record.visible.0))
}

pub(crate) fn refused(record: &FileRecord, why: EditRefused) -> Problem {
    match why {
        EditRefused::Gone => Problem::new(Kind::Gone, "the file is not there for us any more")
            .current(&FileView::new(record)),
        EditRefused::Deleting => Problem::new(
            Kind::StateNotAllowed,
            "the file is being deleted; cancel its intent first",
        )
        .current(&FileView::new(record)),
        EditRefused::Held(held) => {
            let fields: Vec<String> = held.iter().map(|id| id.field.label()).collect();
            let detail = format!("settle the conflicts on {} first", fields.join(", "));
            Problem::new(Kind::ConflictOpen, detail)
                .conflicts(held.iter().map(conflict_id::encode).collect())
        }
        EditRefused::Value(field, why) => Problem::value(&field, &why, pointer_of(&field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> FileRecord {
        let file = FileId::parse("1abc").unwrap();
        let mut record = FileRecord::never_seen(
            file,
            domain::Gone::Removed,
            domain::Timestamp::from_millis(0),
        );
        record
            .fields
            .insert(Field::Name, domain::merge::Sides::agreed(Value::text(name)));
        record
    }

    #[test]
    fn a_name_is_searched_whatever_its_case() {
        let filter = Filter {
            name: Some("plän".to_owned()),
            trashed: None,
            in_scope: None,
        };
        assert!(filter.takes_name(&named("Der PLÄN.md")));
        assert!(!filter.takes_name(&named("Plan.md")));
    }

    #[test]
    fn an_edit_that_open_conflicts_hold_names_them() {
        let held = vec![domain::ConflictId {
            file: FileId::parse("1abc").unwrap(),
            field: Field::Name,
            number: 1,
        }];
        let problem = refused(&named("a"), EditRefused::Held(held.clone()));
        assert_eq!(problem.status(), 409);
        let body = serde_json::to_value(problem.into_body()).unwrap();
        assert_eq!(
            body["conflicts"],
            serde_json::json!([conflict_id::encode(&held[0])])
        );
    }
}
