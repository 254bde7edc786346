//! Rolls a file's fields back to a version of its history.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use axum::response::Response;
use domain::{DriveVersion, Field, FileRecord, Snapshot, Value};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::edits::{ConditionalEdit, Precondition};
use crate::files::edit_problems::refused;
use crate::files::sharing::Sharing;
use crate::http::{
    ConditionallyEditedFile, EditHeaders, FilePath, IfMatch, JsonBody, Keyed, Kind, Problem, reason,
};
use crate::{App, lookups};

/// The state that a file's fields are set back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The `version` of an entry of the file's history.
    #[schema(
        example = "42",
        min_length = 1,
        max_length = 20,
        pattern = "^[0-9]{1,20}$"
    )]
    history_version: String,
    /// Only these fields. The default is all except `permissions`, which grant access and must be
    /// named.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 7)]
    fields: Option<BTreeSet<RollbackField>>,
    /// The reason, which is logged: one line.
    #[serde(default)]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// A field that can be set back. Content is set back by `restore`.
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
    /// The fields that are set back by default.
    const DEFAULT: [Self; 6] = [
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

/// Returns the edit that sets a record's application side back to a snapshot: the fields that
/// differ and no others.
fn edit(
    record: &FileRecord,
    then: &Snapshot,
    wanted: &BTreeSet<RollbackField>,
) -> BTreeMap<Field, Value> {
    let mut values = BTreeMap::new();
    for field in record.fields.keys().chain(then.fields.keys()) {
        let known = match field {
            Field::Permission(_) => then.metadata.permissions_known,
            // A snapshot without a property says that the file had none of this key. It lacks other
            // fields only if they were not known.
            Field::Property(_) => true,
            Field::Existence
            | Field::Name
            | Field::Description
            | Field::Starred
            | Field::Trashed
            | Field::Parent
            | Field::Content => then.fields.contains_key(field),
        };
        let requested = RollbackField::of(field).is_some_and(|part| wanted.contains(&part));
        let value = then.value(field);
        if known && requested && value != record.app(field) {
            values.insert(field.clone(), value);
        }
    }
    values
}

/// Sets a file's writable fields back to a version of its history.
///
/// It is one edit like any other: all of it or none, and owed to Drive from then on.
#[utoipa::path(
    post, path = "/v1/connections/{connection}/files/{file}/rollback", tag = "files",
    params(FilePath, EditHeaders),
    request_body(content = Rollback),
    responses(ConditionallyEditedFile)
)]
pub(crate) async fn roll_back_file(
    deps: App,
    at: FilePath,
    keyed: Keyed,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let if_match = IfMatch::required(&headers)?;
    let rollback: Rollback = body.read()?;
    let reason = reason(rollback.reason)?;
    let connection = lookups::connection(&deps, &at.key).await?;
    let wanted = rollback
        .fields
        .unwrap_or_else(|| BTreeSet::from(RollbackField::DEFAULT));
    lookups::file(&deps, &at.key, &at.file).await?;
    let version = rollback.history_version.parse().map(DriveVersion);
    let version = version.map_err(|_| {
        let detail = "history_version must consist of digits";
        Problem::new(Kind::ValueNotAllowed, detail).at("/history_version")
    })?;
    let then = deps
        .store
        .load_history_entry(&at.key, &at.file, version, deps.clock.now())
        .await?;
    let then = then.ok_or_else(|| Problem::not_found("this version of the file's history"))?;
    keyed.tell("history_version", version.to_string());
    let by = at.caller.subject.as_str();
    let parent = wanted
        .contains(&RollbackField::Parent)
        .then(|| then.snapshot.value(&Field::Parent));
    let sharing = Sharing::of(&deps, &connection, &at.caller, &at.file, parent.as_ref()).await?;
    let conditional = ConditionalEdit::new(
        &deps,
        &connection,
        &at.file,
        &keyed,
        Precondition::FileTag(if_match),
    );
    let edited = conditional.run(|record, context| {
        let values = edit(record, &then.snapshot, &wanted);
        sharing.check_edit(record, &values)?;
        let transition = record.edit(&values, by, context);
        transition.map_err(|why| refused(record, why))
    });
    let response = edited.await?.respond(&deps, &connection).await?;
    let reason = reason.as_deref().unwrap_or("none");
    tracing::info!(
        connection = %at.key, file = %at.file, %version, by, reason, metric = "rolled_back",
        "file rolled back to a version of its history"
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{DriveMetadata, FieldSetVersion, FileId};

    fn snapshot(fields: &[(Field, Value)], permissions_known: bool) -> Snapshot {
        Snapshot {
            file: FileId::parse("1abc").unwrap(),
            version: DriveVersion(1),
            field_set: FieldSetVersion::CURRENT,
            fields: fields.iter().cloned().collect(),
            metadata: DriveMetadata {
                permissions_known,
                ..DriveMetadata::default()
            },
        }
    }

    fn property(key: &str) -> Field {
        Field::Property(key.to_owned())
    }

    #[test]
    fn known_fields_that_differ_are_set_back_and_unknown_ones_are_not() {
        let anyone = Field::Permission("anyone".to_owned());
        let now = FileRecord::from_snapshot(&snapshot(
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
        let default = BTreeSet::from(RollbackField::DEFAULT);
        let values = edit(&now, &snapshot(&old, true), &default);
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
