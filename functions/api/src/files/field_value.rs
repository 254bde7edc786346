//! Field values to and from JSON.

use domain::{Field, Value};
pub(crate) use events::value::to_json;
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use crate::http::Problem;

/// A field's value.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FieldValue)]
#[expect(
    dead_code,
    reason = "describes what `to_json` writes and `from_json` reads"
)]
pub(crate) enum ValueBody {
    /// Most fields.
    Text(String),
    /// `starred` and `trashed`.
    Flag(bool),
}

/// Reads a value for a field, and checks it against the field's rules. `null` clears a description,
/// as a merge patch means it.
pub(crate) fn from_json(field: &Field, json: &Json, pointer: &str) -> Result<Value, Problem> {
    let read = events::value::from_json(field, json);
    read.map_err(|why| Problem::value(field, &why, pointer.to_owned()))
}
