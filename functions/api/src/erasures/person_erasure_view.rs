//! The erasure of a person as callers see it, and whom one is asked for.

use std::collections::BTreeMap;

use domain::Operation;
use domain::trail::erased_name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::{Kind, Problem};
use crate::operations::operation_view::{OperationStateView, named};

/// Whom to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ErasePersonBody)]
pub(crate) struct ErasePersonBody {
    /// What names the person, in all of the tenant: an address, or the subject of a token.
    #[schema(min_length = 1, max_length = 255)]
    person: String,
    /// Count what names the person, and change nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

impl ErasePersonBody {
    /// Returns the name.
    pub(crate) fn person(&self) -> Result<String, Problem> {
        person(&self.person)
    }
}

/// Reads what names a person.
pub(crate) fn person(text: &str) -> Result<String, Problem> {
    let person = text.trim();
    if person.is_empty() || person.chars().any(char::is_control) {
        let detail = "person must be an address, or the subject of a token";
        return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/person"));
    }
    Ok(person.to_owned())
}

/// The erasure of a person; once `state` is `done`, its certificate. It names the person nowhere.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PersonErasure)]
pub(crate) struct PersonErasureView {
    id: String,
    /// What stands in place of the person's name from now on, like `erased:1`; null in a dry run.
    person: Option<String>,
    /// `erasing`: the stored items are being read. `draining`: work that began before may still
    /// name the person; what it leaves is looked for when all of it has ended. `done`, `cancelled`.
    state: OperationStateView,
    /// Whether it only counts.
    dry_run: bool,
    /// The items that named the person, and the files of exports that were deleted, by kind; in a
    /// dry run, the items that do.
    counts: BTreeMap<String, u64>,
    /// Where Drive itself still has the person: as the owner, as who changed a file last, or in a
    /// permission. Known once it is `done`.
    in_drive: Vec<InDriveView>,
    /// The connections whose settings name the person, as `subject`, `quota_user`, in `access` or
    /// in `policies`: these are changed by `PATCH /v1/connections/{connection}`.
    in_settings: Vec<String>,
    started_at: String,
    finished_at: Option<String>,
    by: String,
    /// The cause of all that it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    cause: Option<String>,
}

/// The files of a connection that Drive still has a person in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InDrive)]
pub(crate) struct InDriveView {
    connection: String,
    /// Their number.
    count: u64,
    /// The ids of some: at most 100.
    files: Vec<String>,
}

impl PersonErasureView {
    /// Returns the view; `None` of another operation.
    pub(crate) fn new(operation: &Operation) -> Option<Self> {
        let erase = operation.person_erasure()?;
        let in_drive = erase
            .in_drive
            .iter()
            .map(|(connection, named)| InDriveView {
                connection: connection.to_string(),
                count: named.count,
                files: named.files.iter().map(ToString::to_string).collect(),
            });
        Some(Self {
            id: operation.id.to_string(),
            person: (!erase.dry_run).then(|| erased_name(erase.number)),
            state: operation.state().into(),
            dry_run: erase.dry_run,
            counts: named(&erase.counts),
            in_drive: in_drive.collect(),
            in_settings: erase.in_settings.iter().map(ToString::to_string).collect(),
            started_at: operation.started_at.to_string(),
            finished_at: operation.finished_at.map(|at| at.to_string()),
            by: operation.by.clone(),
            cause: operation.cause.map(|cause| cause.to_string()),
        })
    }
}
