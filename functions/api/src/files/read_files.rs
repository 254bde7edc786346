//! The list of a connection's files, with filters that no index serves; one file; its history.

use axum::Json;
use axum::response::Response;
use domain::{Field, FileId, FileRecord, NameSearch, Value};
use serde::{Deserialize, Serialize};
use store::{Connection, PageRequest, Tombstones};
use utoipa::{IntoParams, ToSchema};

use crate::described::query::Params;
use crate::files::derived::DerivedView;
use crate::files::file_view::{self, FileView, HistoryView};
use crate::http::{
    ConnectionPath, FilePath, FilteredCursor, JsonResult, Kind, ListPage, PageQuery, Problem,
    cursor, page, page_that_fits,
};
use crate::{App, Deps, lookups};

/// Records on a page of the store if most of them may be filtered out.
const SCAN_PAGE: u32 = 500;
/// The most such pages in one request. The rest is behind `next_cursor`.
const SCAN_PAGES_MAX: usize = 4;

/// The filters and the page of a list of files.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FilesQuery {
    /// Only the files in the folder with this id.
    #[param(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._-]+$")]
    parent: Option<String>,
    /// Only files whose name contains this text. Case and Unicode spelling do not count.
    q: Option<String>,
    /// Only files that are (`true`) or are not (`false`) in the trash, by themselves or in a folder
    /// that is.
    trashed: Option<bool>,
    /// Only files that the connection's rules leave out (`true`) or include (`false`, the default).
    excluded: Option<bool>,
    /// Whether to derive `path`, `effective` and `shortcut`, which costs reads.
    path: Option<bool>,
    /// 1 to 1,000; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// In no particular order; with `parent`, by id. A page before the last one may have fewer than
    /// `limit` items, or none.
    items: Vec<FileView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Lists the files of a connection that are present and in scope.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files", tag = "files",
    params(ConnectionPath, FilesQuery),
    responses((status = 200, description = "A page.", body = FileList))
)]
pub(crate) async fn list_files(
    deps: App,
    at: ConnectionPath,
    Params(query): Params<FilesQuery>,
) -> JsonResult<FileList> {
    let parent = query.parent.as_deref().map(|id| {
        let invalid = |_| {
            let detail = "parent must be the id of a folder";
            Problem::new(Kind::MalformedRequest, detail).parameter("parent")
        };
        FileId::parse(id).map_err(invalid)
    });
    let parent = parent.transpose()?;
    let request = page(query.limit, None);
    let from: FilteredCursor = match &query.cursor {
        None => FilteredCursor::default(),
        Some(cursor) => cursor::decode(cursor)?,
    };
    let connection = lookups::connection(&deps, &at.key).await?;
    let filter = Filter::new(&query, &connection);
    let search = |limit: u32| Search {
        deps: &deps,
        connection: &connection,
        parent: parent.as_ref(),
        filter: &filter,
        limit: limit as usize,
    };
    let complete = query.path == Some(true);
    let read = |request: PageRequest| search(request.limit).views(from.clone(), complete);
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(FileList { items, next_cursor }))
}

/// The filters that are applied here because no index serves them.
struct Filter {
    name: Option<NameSearch>,
    trashed: Option<bool>,
    /// `None` if everything is in scope and that is what is requested.
    in_scope: Option<bool>,
}

impl Filter {
    fn new(query: &FilesQuery, connection: &Connection) -> Self {
        let in_scope = !query.excluded.unwrap_or(false);
        Self {
            name: query.q.as_deref().map(NameSearch::new),
            trashed: query.trashed,
            in_scope: (!connection.rules.is_empty() || !in_scope).then_some(in_scope),
        }
    }

    fn accepts_all(&self) -> bool {
        self.name.is_none() && !self.needs_ancestors()
    }

    fn needs_ancestors(&self) -> bool {
        self.trashed.is_some() || self.in_scope.is_some()
    }

    /// Checks what the record alone decides.
    fn accepts_name(&self, record: &FileRecord) -> bool {
        self.name
            .as_ref()
            .is_none_or(|search| match record.app(&Field::Name) {
                Value::Text(name) => search.finds(&name),
                Value::Null | Value::Flag(_) => false,
            })
    }

    /// Checks what the folders above the file decide.
    fn accepts_place(&self, record: &FileRecord, derived: &DerivedView<'_>) -> bool {
        let trashed = |wanted: bool| wanted == derived.is_trashed(record);
        let in_scope = |wanted: bool| wanted == derived.in_scope(record);
        self.trashed.is_none_or(trashed) && self.in_scope.is_none_or(in_scope)
    }
}

/// A search in the store's pages for files that a filter accepts.
struct Search<'a> {
    deps: &'a Deps,
    connection: &'a Connection,
    parent: Option<&'a FileId>,
    filter: &'a Filter,
    limit: usize,
}

impl Search<'_> {
    /// Returns the views of the files, with everything that is derived if `complete`.
    async fn views(
        self,
        from: FilteredCursor,
        complete: bool,
    ) -> Result<ListPage<FileView>, Problem> {
        let mut derived = DerivedView::new(self.deps, self.connection);
        let (records, next) = self.run(from, &mut derived).await?;
        if complete {
            let all: Vec<&FileRecord> = records.iter().collect();
            derived.load_targets(&all).await?;
            derived.load_ancestors(&records).await?;
        }
        let view = |record: &FileRecord| match complete {
            true => FileView::complete(record, &derived),
            false => FileView::with_scope(record, &derived),
        };
        let next = next.map(|next| cursor::encode(&next));
        Ok((records.iter().map(view).collect(), next))
    }

    /// Collects up to `limit` files that the filter accepts, from a bounded number of the store's
    /// pages. Returns them with the position where the list continues.
    async fn run(
        &self,
        from: FilteredCursor,
        derived: &mut DerivedView<'_>,
    ) -> Result<(Vec<FileRecord>, Option<FilteredCursor>), Problem> {
        let mut accepted = Vec::new();
        let mut at = from;
        let store = &self.deps.store;
        for _ in 0..SCAN_PAGES_MAX {
            let request = PageRequest {
                limit: match self.filter.accepts_all() {
                    true => u32::try_from(self.limit).unwrap_or(SCAN_PAGE),
                    false => SCAN_PAGE,
                },
                cursor: at.page.clone(),
            };
            let page = store.list_files(
                &self.connection.key,
                self.parent,
                Tombstones::Skip,
                &request,
            );
            let page = page.await?;
            let named: Vec<(u32, FileRecord)> = (0_u32..)
                .zip(page.items)
                .filter(|(number, record)| *number >= at.skip && self.filter.accepts_name(record))
                .collect();
            if self.filter.needs_ancestors() {
                let records = named.iter().map(|(_, record)| record);
                derived.load_ancestors(records).await?;
            }
            for (number, record) in named {
                if !self.filter.accepts_place(&record, derived) {
                    continue;
                }
                if accepted.len() == self.limit {
                    at.skip = number;
                    return Ok((accepted, Some(at)));
                }
                accepted.push(record);
            }
            if page.next_cursor.is_none() {
                return Ok((accepted, None));
            }
            at = FilteredCursor {
                page: page.next_cursor,
                skip: 0,
            };
            if accepted.len() == self.limit {
                break;
            }
        }
        Ok((accepted, Some(at)))
    }
}

/// Returns one file.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}", tag = "files",
    params(FilePath),
    responses((status = 200, description = "The file. Edits take its `ETag` as `If-Match`.",
        body = FileView, headers(("ETag" = String))))
)]
pub(crate) async fn get_file(deps: App, at: FilePath) -> Result<Response, Problem> {
    let (connection, record) = lookups::connection_and_file(&deps, &at).await?;
    file_view::respond(&deps, &connection, &record).await
}

/// A page of a file's history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryList {
    /// Newest version first.
    items: Vec<HistoryView>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// Lists the versions of a file in Drive, as far back as they are stored.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/history", tag = "files",
    params(FilePath, PageQuery),
    responses((status = 200, description = "A page.", body = HistoryList))
)]
pub(crate) async fn get_file_history(
    deps: App,
    at: FilePath,
    Params(query): Params<PageQuery>,
) -> JsonResult<HistoryList> {
    let request = query.page();
    lookups::connection_and_file(&deps, &at).await?;
    let (deps, at) = (&deps, &at);
    let read = |request: PageRequest| async move {
        let page = deps
            .store
            .history(&at.key, &at.file, &request, deps.clock.now());
        let page = page.await?;
        let items = page.items.iter().map(HistoryView::new);
        Ok((items.collect(), page.next_cursor))
    };
    let (items, next_cursor) = page_that_fits(request, read).await?;
    Ok(Json(HistoryList { items, next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::merge::Sides;
    use domain::{Gone, Timestamp};

    fn named(name: &str) -> FileRecord {
        let file = FileId::parse("1abc").unwrap();
        let mut record = FileRecord::tombstone(file, Gone::Removed, Timestamp::from_millis(0));
        let name = Sides::agreed(Value::text(name));
        record.fields.insert(Field::Name, name);
        record
    }

    #[test]
    fn the_case_and_the_spelling_of_a_name_do_not_count() {
        let filter = Filter {
            name: Some(NameSearch::new("plän")),
            trashed: None,
            in_scope: None,
        };
        assert!(filter.accepts_name(&named("Der PLÄN.md")));
        assert!(filter.accepts_name(&named("Der Pla\u{308}n.md")));
        assert!(!filter.accepts_name(&named("Plan.md")));
    }
}
