//! An export as callers see it, and what one is asked for.

use std::collections::BTreeMap;

use domain::content::ObjectKey;
use domain::operation::{Export, ExportFile, ExportScope, MANIFEST_NAME};
use domain::{ConnectionId, ConnectionKey, Operation, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Deps;
use crate::content::direct_content::{URL_SECONDS, url_expires_at};
use crate::described::texts::IdText;
use crate::erasures::person_erasure_view::person as read_person;
use crate::http::{Kind, Problem};
use crate::operations::operation_view::OperationStateView;

/// What to export: one of the members.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportBody {
    /// Everything of this connection, also of one that was deleted.
    #[serde(default)]
    #[schema(value_type = Option<IdText>)]
    connection: Option<String>,
    /// What names this person, in all of the tenant: an address, or the subject of a token.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 255)]
    person: Option<String>,
    /// True: everything of the tenant.
    #[serde(default)]
    tenant: Option<bool>,
}

impl ExportBody {
    /// Reads what is asked for. A connection must be one of the tenant's.
    pub(crate) async fn scope(
        self,
        deps: &Deps,
        tenant: &TenantId,
    ) -> Result<ExportScope, Problem> {
        match (self.connection, self.person, self.tenant) {
            (Some(id), None, None) => {
                let unknown = || {
                    let detail = "there is no such connection";
                    Problem::new(Kind::ValueNotAllowed, detail).at("/connection")
                };
                let connection = ConnectionId::parse(&id).map_err(|_| unknown())?;
                let key = ConnectionKey {
                    tenant: tenant.clone(),
                    connection,
                };
                let found = deps.store.load_any_connection(&key).await?;
                let found = found.ok_or_else(unknown)?;
                Ok(ExportScope::Connection(found.key.connection))
            }
            (None, Some(person), None) => {
                let erased = deps.store.load_erased_persons(tenant).await?;
                Ok(ExportScope::Person(erased.shown(read_person(&person)?)))
            }
            (None, None, Some(true)) => Ok(ExportScope::Tenant),
            (None, None, Some(false) | None) => {
                let detail = "send connection, person or tenant (true)";
                Err(Problem::new(Kind::MemberNotAllowed, detail).at(""))
            }
            (Some(_), _, _) | (_, Some(_), _) => {
                let detail = "connection, person and tenant exclude each other";
                Err(Problem::new(Kind::MemberNotAllowed, detail).at(""))
            }
        }
    }
}

/// An export: files of JSON lines, and a manifest of their hashes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub(crate) struct ExportView {
    id: String,
    scope: ExportScopeView,
    /// `exporting`: what is stored is being read. `ready`: it is complete, until `expires_at`.
    /// `cancelling`: its files are being deleted. `done`: its time is over, and its files are
    /// deleted. `cancelled`: it was cancelled, or a connection that it may hold was erased, and its
    /// files are deleted. `failed`: for this `reason`.
    state: OperationStateView,
    /// The reason of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The lines so far, by kind.
    counts: BTreeMap<String, u64>,
    /// The files so far.
    files: u64,
    /// Their size in bytes.
    bytes: u64,
    started_at: String,
    /// When it ended.
    finished_at: Option<String>,
    by: String,
    /// The time from which its files are deleted; null unless it is `ready`.
    expires_at: Option<String>,
    /// Where to download it, while it is `ready`; only if a single export was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<ExportLinksView>,
    /// The cause of all that it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// What is exported: one of the members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportScope)]
pub(crate) struct ExportScopeView {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<bool>,
}

/// Links to the files of an export. Each is valid for any holder until it expires.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportLinks)]
pub(crate) struct ExportLinksView {
    /// When these links expire; a new request gives new ones.
    expires_at: String,
    /// The manifest.
    manifest: String,
    files: Vec<ExportFileView>,
}

/// A file of an export.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportFile)]
pub(crate) struct ExportFileView {
    /// As the manifest names it.
    name: String,
    url: String,
    lines: u64,
    bytes: u64,
    sha256: String,
}

impl ExportScopeView {
    fn new(scope: &ExportScope) -> Self {
        let (connection, person, tenant) = match scope {
            ExportScope::Tenant => (None, None, Some(true)),
            ExportScope::Connection(id) => (Some(id.to_string()), None, None),
            ExportScope::Person(person) => (None, Some(person.clone()), None),
        };
        Self {
            connection,
            person,
            tenant,
        }
    }
}

impl ExportView {
    /// Returns the view without links; `None` of another operation.
    pub(crate) fn new(operation: &Operation) -> Option<Self> {
        let export = operation.export()?;
        let form = operation.form();
        let counts = export.counts.iter();
        Some(Self {
            id: operation.id.to_string(),
            scope: ExportScopeView::new(&export.scope),
            state: form.state.into(),
            reason: form.reason,
            counts: counts
                .map(|(kind, count)| (kind.label().to_owned(), *count))
                .collect(),
            files: u64::try_from(export.files.len()).unwrap_or(u64::MAX),
            bytes: export.files.iter().map(|file| file.bytes).sum(),
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
            expires_at: export.ready_until().map(|until| until.to_string()),
            links: None,
            cause: operation.cause.map(|cause| cause.to_string()),
        })
    }

    pub(crate) fn with_links(self, links: Option<ExportLinksView>) -> Self {
        Self { links, ..self }
    }
}

/// Makes links to the files of an export; `None` unless it is complete and its time is not over.
pub(crate) async fn links(
    deps: &Deps,
    operation: &Operation,
    export: &Export,
) -> Result<Option<ExportLinksView>, Problem> {
    let now: Timestamp = deps.clock.now();
    if export.ready_until().is_none_or(|until| until <= now) {
        return Ok(None);
    }
    let manifest = link(deps, operation, MANIFEST_NAME, "application/json").await?;
    let mut files = Vec::new();
    for (index, file) in export.files.iter().enumerate() {
        let name = ExportFile::name(index + 1);
        files.push(ExportFileView {
            url: link(deps, operation, &name, "application/jsonl").await?,
            name,
            lines: file.lines,
            bytes: file.bytes,
            sha256: file.sha256.to_string(),
        });
    }
    Ok(Some(ExportLinksView {
        expires_at: url_expires_at(now).to_string(),
        manifest,
        files,
    }))
}

async fn link(
    deps: &Deps,
    operation: &Operation,
    name: &str,
    mime_type: &str,
) -> Result<String, Problem> {
    let key = ObjectKey::export(&operation.key.tenant, &operation.id, name);
    let signed = deps.objects.presign_get(&key, name, mime_type, URL_SECONDS);
    Ok(signed.await?.as_str().to_owned())
}
