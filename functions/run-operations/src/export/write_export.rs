//! Writes an export to the bucket, one file a step, and deletes it.

use std::collections::BTreeSet;

use bytes::Bytes;
use domain::content::ObjectKey;
use domain::operation::{
    Export, ExportFile, ExportPlace, ExportScope, ExportSource, ExportedCounts, ExportedKind,
    MANIFEST_NAME,
};
use domain::trail::names_person;
use domain::{ConnectionId, ConnectionKey, FileId, Operation, StorageClass, TenantId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use objects::{ContentHasher, Encoded};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use store::{ActFilter, Exported, PageRequest, Pseudonym, Written, act_line};
use worker::WorkError;

use crate::Deps;
use crate::export::export_lines::{self, Line};

/// The number of lines at which a file ends.
const LINES_MAX: u64 = 50_000;
/// The size at which a file ends, in bytes: it is built in memory.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The time after which a file ends, in milliseconds: a step is not to be cut off.
const FILL_MILLIS: i64 = 8_000;
/// The files whose items are read at a time, and the versions that are deleted.
const AT_ONCE: usize = 16;
/// The acts of one page.
const ACTS_PER_PAGE: u32 = 500;

/// Writes what follows a place to the next file.
pub(crate) async fn write_file(
    place: ExportPlace,
    operation: &Operation,
    export: &Export,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let reading = Reading::new(operation, export, deps).await?;
    let until = deps.clock.now().plus_millis(FILL_MILLIS);
    let mut text = Text::default();
    let mut at = Some(place);
    while let Some(place) = &at {
        let (lines, next) = Box::pin(reading.page(place)).await?;
        for (kind, line) in lines {
            text.add(kind, place.connection.as_ref(), line, &reading);
        }
        at = next;
        if text.is_full() || deps.clock.now() >= until {
            break;
        }
    }
    let file = text.file();
    if file.lines == 0 {
        return Ok(operation.on_exported(at, None, &text.counts, deps.clock.now()));
    }
    let name = ExportFile::name(export.files.len() + 1);
    put(operation, &name, text.bytes, deps).await?;
    Ok(operation.on_exported(at, Some(file), &text.counts, deps.clock.now()))
}

/// Writes the manifest, which completes the export.
pub(crate) async fn write_manifest(
    operation: &Operation,
    export: &Export,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let files = export.files.iter().enumerate().map(|(index, file)| {
        json!({
            "name": ExportFile::name(index + 1),
            "lines": file.lines,
            "bytes": file.bytes,
            "sha256": file.sha256.to_string(),
        })
    });
    let scope = match &export.scope {
        ExportScope::Tenant => json!({"tenant": true}),
        ExportScope::Connection(id) => json!({"connection": id.as_str()}),
        ExportScope::Person(person) => json!({"person": person}),
    };
    let counts = export.counts.iter();
    let counts = counts.map(|(kind, count)| (kind.label().to_owned(), Json::from(*count)));
    let manifest = json!({
        "export": operation.id.as_str(),
        "tenant": operation.key.tenant.as_str(),
        "scope": scope,
        "started_at": operation.started_at.to_string(),
        "read_until": export.progressed_at.map(|at| at.to_string()),
        "counts": counts.collect::<Map<_, _>>(),
        "files": files.collect::<Vec<_>>(),
    });
    put(
        operation,
        MANIFEST_NAME,
        format!("{manifest}\n").into_bytes(),
        deps,
    )
    .await?;
    tracing::info!(
        export = %operation.id, files = export.files.len(), metric = "export_ready",
        lines = export.counts.values().sum::<u64>(), "export complete"
    );
    Ok(operation.on_closed(deps.clock.now()))
}

async fn put(
    operation: &Operation,
    name: &str,
    bytes: Vec<u8>,
    deps: &Deps,
) -> Result<(), WorkError> {
    let key = ObjectKey::export(&operation.key.tenant, &operation.id, name);
    let bytes = Bytes::from(bytes);
    let hash = ContentHasher::sha256(&bytes);
    let content = Encoded::plain(bytes, hash);
    deps.objects
        .put(&key, content, StorageClass::Standard)
        .await?;
    Ok(())
}

/// Deletes the files of an export with all versions, here and in the copy of the bucket, and
/// returns their number.
pub(crate) async fn delete_files(operation: &Operation, deps: &Deps) -> Result<u64, WorkError> {
    let folder = ObjectKey::export(&operation.key.tenant, &operation.id, "");
    let mut deleted = 0;
    for bucket in std::iter::once(&deps.objects).chain(&deps.replica) {
        loop {
            let (versions, more) = bucket.list_versions_below(&folder).await?;
            deleted += u64::try_from(versions.len()).unwrap_or(u64::MAX);
            stream::iter(versions)
                .map(|version| async move { Box::pin(bucket.delete_version(&version)).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
            if !more {
                break;
            }
        }
    }
    Ok(deleted)
}

/// Cancels the exports that may hold something of a connection (`None`: all), deletes their files,
/// and returns the number of these.
pub(crate) async fn erase_exports(
    tenant: &TenantId,
    of: Option<&ConnectionId>,
    deps: &Deps,
) -> Result<u64, WorkError> {
    let exports = ConnectionKey::of_exports(tenant.clone());
    let mut request = PageRequest::first(100);
    let mut deleted = 0;
    loop {
        let page = deps.store.list_operations(&exports, &request).await?;
        for operation in page.items {
            let export = operation.export().filter(|_| !operation.has_ended());
            let includes = |export: &Export| of.is_none_or(|of| export.scope.includes(of));
            if export.is_some_and(includes) {
                // A step that is under way finds it cancelled, and the next one deletes again.
                cancel(operation.clone(), deps).await?;
                deleted += delete_files(&operation, deps).await?;
            }
        }
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return Ok(deleted);
        }
    }
}

async fn cancel(mut operation: Operation, deps: &Deps) -> Result<(), WorkError> {
    while let Ok(after) = operation.decide(false, "drivesync", deps.clock.now()) {
        if after == operation {
            break;
        }
        match deps.store.advance_operation(&operation, &after).await? {
            Written::Stale(Some(current)) => operation = current,
            Written::Done(_) | Written::Stale(None) => break,
        }
    }
    Ok(())
}

/// The file that is being built.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    lines: u64,
    counts: ExportedCounts,
}

impl Text {
    fn add(
        &mut self,
        kind: ExportedKind,
        connection: Option<&ConnectionId>,
        members: Map<String, Json>,
        reading: &Reading<'_>,
    ) {
        let mut line = Map::from_iter([("kind".to_owned(), Json::from(kind.label()))]);
        if let Some(connection) = connection {
            line.insert("connection".to_owned(), connection.as_str().into());
        }
        line.extend(members);
        let line = Json::Object(line);
        if !reading.takes(&line) {
            return;
        }
        self.bytes.extend(act_line::line(&line).into_bytes());
        self.bytes.push(b'\n');
        self.lines += 1;
        *self.counts.entry(kind).or_default() += 1;
    }

    fn is_full(&self) -> bool {
        self.lines >= LINES_MAX || self.bytes.len() >= BYTES_MAX
    }

    fn file(&self) -> ExportFile {
        ExportFile {
            lines: self.lines,
            bytes: u64::try_from(self.bytes.len()).unwrap_or(u64::MAX),
            sha256: ContentHasher::sha256(&self.bytes),
        }
    }
}

/// The position among the files of a connection.
#[derive(Default, Serialize, Deserialize)]
struct FilesPosition {
    /// Files of which more is to be read, and the position in each.
    open: Vec<(String, String)>,
    /// The cursor of the next page of files.
    cursor: Option<String>,
    /// There is no next page.
    last: bool,
}

type Page = (Vec<Line>, Option<ExportPlace>);

struct Reading<'a> {
    operation: &'a Operation,
    export: &'a Export,
    /// The names of the person whose export it is, those in the audit trail included.
    persons: Vec<String>,
    deps: &'a Deps,
}

impl<'a> Reading<'a> {
    async fn new(
        operation: &'a Operation,
        export: &'a Export,
        deps: &'a Deps,
    ) -> Result<Self, WorkError> {
        let mut persons = Vec::new();
        if let ExportScope::Person(person) = &export.scope {
            persons.push(person.clone());
            for name in BTreeSet::from([person.clone(), person.to_lowercase()]) {
                let concealed = deps.store.pseudonym(&operation.key.tenant, &name).await?;
                persons.extend(concealed.map(|person| person.as_str().to_owned()));
            }
        }
        Ok(Self {
            operation,
            export,
            persons,
            deps,
        })
    }

    /// Returns whether a line belongs to the export.
    fn takes(&self, line: &Json) -> bool {
        let named = |text: &str| self.persons.iter().any(|person| names_person(text, person));
        match &self.export.scope {
            ExportScope::Tenant | ExportScope::Connection(_) => true,
            ExportScope::Person(_) => any_text(line, &named),
        }
    }

    fn key(&self, connection: &ConnectionId) -> ConnectionKey {
        ConnectionKey {
            connection: connection.clone(),
            ..self.operation.key.clone()
        }
    }

    async fn page(&self, place: &ExportPlace) -> Result<Page, WorkError> {
        let position = place.position.as_deref();
        match (place.source, &place.connection) {
            (ExportSource::Connections, last) => self.connection(place, last.as_ref()).await,
            (ExportSource::Files, Some(connection)) => {
                let (lines, next) = self.files(&self.key(connection), position).await?;
                Ok((lines, place.on_page(next)))
            }
            (ExportSource::Items, Some(connection)) => {
                let (store, now) = (&self.deps.store, self.deps.clock.now());
                let key = self.key(connection);
                let (items, next) = store.export_connection(&key, position, now).await?;
                let lines = items.iter().map(export_lines::exported).collect();
                Ok((lines, place.on_page(next)))
            }
            (ExportSource::Acts, _) => {
                let (lines, next) = self.acts(position).await?;
                Ok((lines, place.on_page(next)))
            }
            (ExportSource::Files | ExportSource::Items, None) => {
                Ok((Vec::new(), Some(place.on_connection(None))))
            }
        }
    }

    async fn connection(
        &self,
        place: &ExportPlace,
        last: Option<&ConnectionId>,
    ) -> Result<Page, WorkError> {
        let store = &self.deps.store;
        let found = match (&self.export.scope, last) {
            (ExportScope::Connection(only), None) => {
                store.load_any_connection(&self.key(only)).await?
            }
            (ExportScope::Connection(_), Some(_)) => None,
            (ExportScope::Tenant | ExportScope::Person(_), last) => {
                let after = last.map(|last| self.key(last));
                let tenant = &self.operation.key.tenant;
                store.next_connection(tenant, after.as_ref()).await?
            }
        };
        let lines = found.iter().map(export_lines::connection).collect();
        let next = place.on_connection(found.map(|found| found.key.connection));
        Ok((lines, Some(next)))
    }

    async fn files(
        &self,
        key: &ConnectionKey,
        position: Option<&str>,
    ) -> Result<(Vec<Line>, Option<String>), WorkError> {
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        let mut at: FilesPosition = match position {
            Some(text) => {
                serde_json::from_str(text).map_err(|_| store::StoreError::InvalidCursor)?
            }
            None => FilesPosition::default(),
        };
        let mut found = Vec::new();
        if let Some((file, after)) = at.open.pop() {
            let file = FileId::parse(&file).map_err(|_| store::StoreError::InvalidCursor)?;
            let (items, next) = store.export_file(key, &file, Some(&after), now).await?;
            found.extend(items);
            at.open.extend(next.map(|next| (file.to_string(), next)));
        } else if !at.last {
            let request = PageRequest {
                limit: u32::try_from(AT_ONCE).unwrap_or(u32::MAX),
                cursor: at.cursor.take(),
            };
            let page = store.list_file_ids(key, &request).await?;
            let pages: Vec<_> = stream::iter(page.items)
                .map(|file| async move { Box::pin(self.first_items(key, file)).await })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            for (file, items, next) in pages {
                found.extend(items);
                at.open.extend(next.map(|next| (file.to_string(), next)));
            }
            at.last = page.next_cursor.is_none();
            at.cursor = page.next_cursor;
        }
        let lines = found.iter().map(export_lines::exported).collect();
        let done = at.last && at.open.is_empty();
        Ok((lines, (!done).then(|| json!(at).to_string())))
    }

    /// Reads the first items of a file, and the position of the next ones.
    async fn first_items(
        &self,
        key: &ConnectionKey,
        file: FileId,
    ) -> Result<(FileId, Vec<Exported>, Option<String>), WorkError> {
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        let (items, next) = store.export_file(key, &file, None, now).await?;
        Ok((file, items, next))
    }

    async fn acts(&self, cursor: Option<&str>) -> Result<(Vec<Line>, Option<String>), WorkError> {
        let (store, tenant) = (&self.deps.store, &self.operation.key.tenant);
        let began = domain::Timestamp::from_millis(0);
        let filter = ActFilter {
            connection: match &self.export.scope {
                ExportScope::Connection(only) => Some(only.to_string()),
                ExportScope::Tenant | ExportScope::Person(_) => None,
            },
            // What comes later is not awaited.
            ..ActFilter::between(began, self.operation.started_at)
        };
        let request = PageRequest {
            limit: ACTS_PER_PAGE,
            cursor: cursor.map(str::to_owned),
        };
        let page = store.list_acts(tenant, &filter, self.deps.clock.now(), &request);
        let page = page.await?;
        let by = page.items.iter().filter_map(|act| act.text("by"));
        let persons: BTreeSet<Pseudonym> = by.filter_map(Pseudonym::parse).collect();
        let subjects = store.subjects_of(tenant, &persons).await?;
        // The request for the export is no part of it.
        let own = self.operation.cause.map(|cause| cause.to_string());
        let acts = page.items.into_iter();
        let acts = acts.filter(|act| own.is_none() || act.text("cause") != own.as_deref());
        let lines = acts.map(|act| {
            let by = act.text("by").and_then(Pseudonym::parse);
            let subject = by.and_then(|by| subjects.get(&by)).cloned();
            let mut members = act.members;
            members.insert("subject".to_owned(), subject.into());
            (ExportedKind::Act, members)
        });
        Ok((lines.collect(), page.next_cursor))
    }
}

/// Returns whether any text of a value, or the name of a member, is accepted.
fn any_text(json: &Json, accepts: &impl Fn(&str) -> bool) -> bool {
    match json {
        Json::String(text) => accepts(text),
        Json::Array(items) => items.iter().any(|item| any_text(item, accepts)),
        Json::Object(members) => members
            .iter()
            .any(|(name, member)| accepts(name) || any_text(member, accepts)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}
