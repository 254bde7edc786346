//! What a restore finds and does, as callers see it.

use std::collections::BTreeMap;

use domain::operation::Restore;
use domain::restore::{LeftReason, RestoreField};
use serde::Serialize;
use serde_json::Value as JsonValue;
use utoipa::ToSchema;

use crate::files::field_value::{self, ValueBody};
use crate::http::view_enum;

/// A restore to a point in time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoreProgress)]
pub(crate) struct RestoreView {
    /// The folder; null for the whole connection.
    folder: Option<String>,
    /// The time whose state is restored.
    at: String,
    /// Files that are in the folder now, or were at that time, as far as they have been compared.
    files: u64,
    /// Those of which something is to be set back.
    to_restore: u64,
    /// Those of which something has been set back.
    restored: u64,
    /// Those of which something is left as it is, by the reason.
    left: BTreeMap<String, u64>,
}

impl RestoreView {
    pub(crate) fn new(restore: &Restore) -> Self {
        let counts = &restore.counts;
        let left = counts.left.iter();
        Self {
            folder: restore.folder.as_ref().map(ToString::to_string),
            at: restore.at.to_string(),
            files: counts.files,
            to_restore: counts.to_restore,
            restored: counts.restored,
            left: left
                .map(|(reason, files)| (reason.label().to_owned(), *files))
                .collect(),
        }
    }
}

view_enum! {
    /// Why something is left as it is. `made_since`: the file was made after the time.
    /// `state_not_known`: the history has no state of that time. `purged`: the file was deleted for
    /// good. `access_lost`, `moved_away`: the file is out of reach. `out_of_scope`: the
    /// connection's rules leave it out. `deleting`: the application is deleting it. `conflict`: an
    /// open conflict holds it. `changed_meanwhile`: it was changed after it was listed.
    /// `widens_sharing`: somebody would get more access. `permissions_not_known`: Drive does not
    /// show them. `content_not_held`: the content of that time is not stored.
    /// `content_not_mirrored`: the connection does not mirror content. `document`: the content of a
    /// document of Google's editors can't be written. `folder_gone`: the folder that it was in is
    /// gone. `not_writable`: Drive would refuse the value.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = LeftReason)]
    pub(crate) enum LeftReasonView = LeftReason {
        MadeSince,
        StateNotKnown,
        Purged,
        AccessLost,
        MovedAway,
        OutOfScope,
        Deleting,
        Conflict,
        ChangedMeanwhile,
        WidensSharing,
        PermissionsNotKnown,
        ContentNotHeld,
        ContentNotMirrored,
        Document,
        FolderGone,
        NotWritable,
    }
}

/// A field that differs from the time of a restore.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoreField)]
pub(crate) struct RestoreFieldView {
    field: String,
    /// The application's value when the file was listed; at most 200 characters.
    #[schema(value_type = Option<ValueBody>)]
    from: JsonValue,
    /// The value at the time; at most 200 characters. Of a content, its SHA-256.
    #[schema(value_type = Option<ValueBody>)]
    to: JsonValue,
    /// The reason why the field is left as it is; absent if it is set back.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<LeftReasonView>,
}

impl RestoreFieldView {
    pub(crate) fn new(field: &RestoreField) -> Self {
        Self {
            field: field.field.label(),
            from: field_value::to_json(&field.from),
            to: field_value::to_json(&field.to),
            left: field.left.map(Into::into),
        }
    }
}
