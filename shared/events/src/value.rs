//! Values of fields to and from JSON: null, a boolean or a text.

use domain::{Field, Value, ValueRefused};
use serde_json::Value as Json;

/// Returns a value as callers see it.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Flag(flag) => Json::Bool(*flag),
        Value::Text(text) => Json::String(text.clone()),
    }
}

/// Reads a value for a field, and checks it against the field's rules. `null` clears a description,
/// as a merge patch means it.
///
/// # Errors
/// [`ValueRefused`]
pub fn from_json(field: &Field, json: &Json) -> Result<Value, ValueRefused> {
    let value = match json {
        Json::Null if *field == Field::Description => Value::text(""),
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::String(text) => Value::text(text.as_str()),
        Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            return Err(ValueRefused::Kind {
                wanted: expected(field),
            });
        }
    };
    field.check(&value)?;
    Ok(value)
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
