//! Field values to and from JSON.

use domain::{Field, Value, ValueRefused};
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

/// Returns a value as callers see it: null, a boolean or a text.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Flag(flag) => Json::Bool(*flag),
        Value::Text(text) => Json::String(text.clone()),
    }
}

/// Reads a value for a field, and checks it against the field's rules. `null` clears a description,
/// as a merge patch means it.
pub(crate) fn from_json(field: &Field, json: &Json, pointer: &str) -> Result<Value, Problem> {
    let value = match json {
        Json::Null if *field == Field::Description => Value::text(""),
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::String(text) => Value::text(text.as_str()),
        Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            let why = ValueRefused::Kind {
                wanted: expected(field),
            };
            return Err(Problem::value(field, &why, pointer.to_owned()));
        }
    };
    match field.check(&value) {
        Ok(()) => Ok(value),
        Err(why) => Err(Problem::value(field, &why, pointer.to_owned())),
    }
}

fn expected(field: &Field) -> &'static str {
    match field {
        Field::Existence => "left alone",
        Field::Name | Field::Description => "a text",
        Field::Starred | Field::Trashed => "true or false",
        Field::Parent => "the id of one folder",
        Field::Property(_) => "a text, or null to remove it",
        Field::Content => "the SHA-256 of stored content",
        Field::Permission(_) => "a role, or null to remove it",
    }
}
