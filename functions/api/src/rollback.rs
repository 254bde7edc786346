//! Setting a file's fields back to what its history holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::{DriveVersion, Field, FileRecord, Snapshot, Value};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::etag::IfMatch;
use crate::extract::{FilePath, JsonBody, idempotency, typed};
use crate::file_view::FileView;
use crate::files::{refused, write};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::{Deps, content, record};

/// To which state a file's fields are set back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The `version` of an entry of the file's history.
    #[schema(example = "42")]
    history_version: String,
    /// Only these; where left out, all of them but for `permissions`, which give access and must be named.
    #[serde(default)]
    #[schema(min_items = 1)]
    fields: Option<BTreeSet<RollbackField>>,
    /// Why: one line, for the log.
    #[serde(default)]
    reason: Option<String>,
}

/// What can be set back. Content is brought back by `restore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RollbackField {
    Name,
    Description,
    Starred,
    Trashed,
    Parent,
    Properties,
    Permissions,
}

impl RollbackField {
    /// What is set back where nothing is named.
    const USUAL: [Self; 6] = [
        Self::Name,
        Self::Description,
        Self::Starred,
        Self::Trashed,
        Self::Parent,
        Self::Properties,
    ];

    fn of(field: &Field) -> Option<Self> {
        match field {
            Field::Name => Some(Self::Name),
            Field::Description => Some(Self::Description),
            Field::Starred => Some(Self::Starred),
            Field::Trashed => Some(Self::Trashed),
            Field::Parent => Some(Self::Parent),
            Field::Property(_) => Some(Self::Properties),
            Field::Permission(_) => Some(Self::Permissions),
            Field::Existence | Field::Content => None,
        }
    }
}

/// What must be edited so that a record's application side is what the snapshot was: what differs, and nothing else.
fn edit(
    record: &FileRecord,
    then: &Snapshot,
    wanted: &BTreeSet<RollbackField>,
) -> BTreeMap<Field, Value> {
    let mut values = BTreeMap::new();
    for field in record.fields.keys().chain(then.fields.keys()) {
        let known = match field {
            Field::Permission(_) => then.mirror.permissions_known,
            // One that is of many is left out where it is not set; the others are left out where nobody knew them.
            Field::Property(_) => true,
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Content => then.fields.contains_key(field),
        };
        let asked = RollbackField::of(field).is_some_and(|part| wanted.contains(&part));
        let value = then.value(field);
        if known && asked && value != record.app(field) {
            values.insert(field.clone(), value);
        }
    }
    values
}

/// Sets a file's writable fields back to what Drive held at one version of its history. It is one edit, like any other:
/// all of it or nothing, and owed to Drive from then on.
#[utoipa::path(
    post, operation_id = "roll_back_file", path = "/v1/connections/{connection}/files/{file}/rollback", tag = "files",
    params(
        ("connection" = String, Path), ("file" = String, Path),
        ("If-Match" = String, Header, description = "The `ETag` of what was read, or `*`."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat is answered, not done again."),
    ),
    request_body(content = Rollback),
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
pub(crate) async fn roll_back(
    State(deps): State<Arc<Deps>>,
    at: FilePath,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let connection = record::connection(&deps, &at.key).await?;
    let route = format!("POST {}/{} rollback", at.key, at.file);
    let request = idempotency(&headers, &at.caller, &[&route, &body.digest])?;
    let asked: Rollback = typed(serde_json::Value::Object(body.members), "")?;
    let reason = content::reason(asked.reason)?;
    let wanted = asked
        .fields
        .unwrap_or_else(|| BTreeSet::from(RollbackField::USUAL));
    record::file(&deps, &at.key, &at.file).await?;
    let version = asked.history_version.parse().map(DriveVersion);
    let version = version.map_err(|_| {
        Problem::new(Kind::ValueNotAllowed, "a version is digits").at("/history_version")
    })?;
    let then = deps.store.history_at(&at.key, &at.file, version).await?;
    let then = then.ok_or_else(|| Problem::not_found("that version of the file's history"))?;
    let by = at.caller.subject.as_str();
    let answer = write(
        &deps,
        &at,
        &connection,
        if_match,
        request,
        |record, moment| {
            let values = edit(record, &then.snapshot, &wanted);
            let step = record.edit(&values, by, moment);
            step.map_err(|why| refused(record, why))
        },
    )
    .await?;
    tracing::info!(
        connection = %at.key, file = %at.file, %version, by, reason = reason.as_deref().unwrap_or("none"),
        metric = "rolled_back", "fields were set back to a version of the history"
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{FieldMask, FileId, Mirror};

    fn snapshot(fields: &[(Field, Value)], permissions_known: bool) -> Snapshot {
        Snapshot {
            file: FileId::parse("1abc").unwrap(),
            version: DriveVersion(1),
            mask: FieldMask::CURRENT,
            fields: fields.iter().cloned().collect(),
            mirror: Mirror {
                permissions_known,
                ..Mirror::default()
            },
        }
    }

    fn property(key: &str) -> Field {
        Field::Property(key.to_owned())
    }

    #[test]
    fn what_differs_is_set_back_and_what_nobody_knew_is_left_alone() {
        let anyone = Field::Permission("anyone".to_owned());
        let now = FileRecord::first_sight(&snapshot(
            &[
                (Field::Name, Value::text("new")),
                (Field::Starred, Value::Flag(true)),
                (Field::Parent, Value::text("1folder")),
                (property("added"), Value::text("x")),
                (anyone.clone(), Value::text("writer")),
            ],
            true,
        ));
        let old = [
            (Field::Name, Value::text("old")),
            (Field::Starred, Value::Flag(true)),
            (property("removed"), Value::text("y")),
        ];
        let usual = BTreeSet::from(RollbackField::USUAL);
        let values = edit(&now, &snapshot(&old, true), &usual);
        let wanted = BTreeMap::from([
            (Field::Name, Value::text("old")),
            (property("added"), Value::Null),
            (property("removed"), Value::text("y")),
        ]);
        assert_eq!(values, wanted, "the parent was not known then");

        let permissions = BTreeSet::from([RollbackField::Permissions]);
        let values = edit(&now, &snapshot(&old, true), &permissions);
        assert_eq!(values, BTreeMap::from([(anyone, Value::Null)]));
        assert!(edit(&now, &snapshot(&old, false), &permissions).is_empty());
    }
}
