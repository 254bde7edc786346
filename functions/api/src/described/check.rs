//! Requests are checked against the description of the API: what it says is what is accepted, and
//! a problem speaks of the request in its words.
//!
//! Checked are types, members, words, ranges, lengths and numbers of items. Patterns, and what no
//! schema can say, are checked where the value is used.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use serde_path_to_error::Segment;
use utoipa::ToSchema;

use crate::described::passes::{self, Schemas};
use crate::http::{Kind, Problem, pointer_part};

/// Reads JSON into a type that is described. `pointer` is where the JSON stands in the body.
///
/// # Errors
/// The problem of the first difference from the description, which points at it.
pub(crate) fn typed<T: ToSchema + DeserializeOwned>(
    json: Json,
    pointer: &str,
) -> Result<T, Problem> {
    check::<T>(&json, pointer)?;
    checked(json, pointer)
}

/// Reads JSON that has been checked.
///
/// # Errors
/// A problem without details: what the type refuses, the description should have refused.
pub(crate) fn checked<T: DeserializeOwned>(json: Json, pointer: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let mut at = pointer.to_owned();
        for segment in error.path() {
            // Writing to a text always succeeds.
            let _written = match segment {
                Segment::Seq { index } => write!(at, "/{index}"),
                Segment::Map { key } => write!(at, "/{}", pointer_part(key)),
                // A variant is not a member, and an unknown segment has no name.
                Segment::Enum { .. } | Segment::Unknown => Ok(()),
            };
        }
        let detail = "the value does not have the form that the description states";
        Problem::new(Kind::ValueNotAllowed, detail).at(at)
    })
}

/// Checks JSON against the description of a type. `pointer` is where the JSON stands in the body.
///
/// # Errors
/// The problem of the first difference, which points at it.
pub(crate) fn check<T: ToSchema>(json: &Json, pointer: &str) -> Result<(), Problem> {
    let described = Described::of::<T>();
    let name = pointer.rsplit('/').next().filter(|name| !name.is_empty());
    let name = name.unwrap_or("the body");
    let schema = described.schema(&T::name());
    described
        .value(schema, json, pointer, name)
        .map_err(|fault| {
            let kind = match fault.kind {
                FaultKind::Member => Kind::MemberNotAllowed,
                FaultKind::Value => Kind::ValueNotAllowed,
            };
            Problem::new(kind, fault.detail).at(fault.pointer)
        })
}

/// A difference between JSON and its description.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: FaultKind,
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

#[derive(Debug, PartialEq, Eq)]
enum FaultKind {
    /// A member is missing or unknown.
    Member,
    Value,
}

impl Fault {
    fn value(pointer: &str, detail: String) -> Self {
        let pointer = pointer.to_owned();
        Self {
            kind: FaultKind::Value,
            pointer,
            detail,
        }
    }

    fn member(pointer: String, detail: String) -> Self {
        Self {
            kind: FaultKind::Member,
            pointer,
            detail,
        }
    }
}

/// The schemas that values are checked against, by name.
#[derive(Debug, Default)]
pub(crate) struct Described(Schemas);

/// What has been asked for in this process: a description never changes.
static KNOWN: LazyLock<Mutex<BTreeMap<String, Arc<Described>>>> = LazyLock::new(Mutex::default);

impl Described {
    /// Returns the schemas of a type that is requested.
    fn of<T: ToSchema>() -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let described = known.entry(T::name().into_owned());
        Arc::clone(described.or_insert_with(|| Arc::new(Self(passes::of::<T>()))))
    }

    fn schema(&self, name: &str) -> &Json {
        self.0.get(name).unwrap_or(&Json::Null)
    }

    /// Returns a schema, or the one that it refers to.
    fn resolved<'s>(&'s self, schema: &'s Json) -> &'s Json {
        match schema["$ref"].as_str() {
            None => schema,
            Some(path) => self.schema(path.rsplit('/').next().unwrap_or(path)),
        }
    }

    /// Checks a value with this name at this pointer.
    pub(crate) fn value(
        &self,
        schema: &Json,
        json: &Json,
        at: &str,
        name: &str,
    ) -> Result<(), Fault> {
        let schema = self.resolved(schema);
        if let Some(variants) = schema["oneOf"].as_array() {
            return self.one_of(schema, variants, json, at, name);
        }
        if !self.fits(schema, json) {
            return Err(self.must_be(schema, at, name));
        }
        match json {
            Json::Object(members) => self.object(schema, members, at),
            Json::Array(items) => items.iter().enumerate().try_for_each(|(number, item)| {
                let at = format!("{at}/{number}");
                self.value(&schema["items"], item, &at, &format!("each item of {name}"))
            }),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
        }
    }

    fn must_be(&self, schema: &Json, at: &str, name: &str) -> Fault {
        Fault::value(at, format!("{name} must be {}", self.wanted(schema)))
    }

    fn one_of(
        &self,
        schema: &Json,
        variants: &[Json],
        json: &Json,
        at: &str,
        name: &str,
    ) -> Result<(), Fault> {
        let of_type = |variant: &&Json| self.has_type(variant, json);
        let possible: Vec<&Json> = variants.iter().filter(of_type).collect();
        match (possible.as_slice(), json) {
            ([], _) => Err(self.must_be(schema, at, name)),
            ([only], _) => self.value(only, json, at, name),
            (_, Json::Object(members)) => {
                let variant = self.variant_of(schema, &possible, members, at, name)?;
                self.value(variant, json, at, name)
            }
            (_, _) if possible.iter().any(|variant| self.fits(variant, json)) => Ok(()),
            (_, _) => Err(self.must_be(schema, at, name)),
        }
    }

    /// Returns the variant that an object claims to be: by its discriminator, or by any member that
    /// the variant has.
    fn variant_of<'s>(
        &'s self,
        schema: &Json,
        variants: &[&'s Json],
        members: &Map<String, Json>,
        at: &str,
        name: &str,
    ) -> Result<&'s Json, Fault> {
        let discriminator = &schema["discriminator"];
        if let Some(tag) = discriminator["propertyName"].as_str() {
            let at = format!("{at}/{}", pointer_part(tag));
            let word = members
                .get(tag)
                .ok_or_else(|| Fault::member(at.clone(), format!("{tag} is required")))?;
            let named = |variant: &&&Json| {
                let member = self.properties(variant).and_then(|own| own.get(tag));
                let words = member.and_then(|member| member["enum"].as_array());
                words.is_some_and(|words| words.contains(word))
            };
            return variants.iter().find(named).copied().ok_or_else(|| {
                let mapping = discriminator["mapping"].as_object();
                let words = mapping.into_iter().flat_map(Map::keys);
                let words = listed(&words.cloned().collect::<Vec<_>>(), "or");
                Fault::value(&at, format!("{tag} must be {words}"))
            });
        }
        let has_one = |variant: &&&Json| {
            self.properties(variant)
                .is_some_and(|own| own.keys().any(|name| members.contains_key(name)))
        };
        variants.iter().find(has_one).copied().ok_or_else(|| {
            let own = variants
                .iter()
                .filter_map(|variant| self.properties(variant));
            let names: Vec<String> = own.flat_map(Map::keys).cloned().collect();
            let detail = format!("{name} must have exactly one of {}", listed(&names, "and"));
            match members.keys().next() {
                None => Fault::member(at.to_owned(), detail),
                Some(other) => Fault::member(format!("{at}/{}", pointer_part(other)), detail),
            }
        })
    }

    fn properties<'s>(&'s self, schema: &'s Json) -> Option<&'s Map<String, Json>> {
        self.resolved(schema)["properties"].as_object()
    }

    fn object(&self, schema: &Json, members: &Map<String, Json>, at: &str) -> Result<(), Fault> {
        let (properties, other) = (&schema["properties"], &schema["additionalProperties"]);
        let below = |name: &str| format!("{at}/{}", pointer_part(name));
        let known = |name: &str| {
            properties
                .get(name)
                .or(Some(other).filter(|o| o.is_object()))
        };
        if *other == Json::Bool(false)
            && let Some(name) = members.keys().find(|name| known(name).is_none())
        {
            let names = properties.as_object().into_iter().flat_map(Map::keys);
            let names = listed(&names.cloned().collect::<Vec<_>>(), "and");
            let detail = format!("`{name}` can't be set here; possible are {names}");
            return Err(Fault::member(below(name), detail));
        }
        for (name, json) in members {
            if let Some(schema) = known(name) {
                self.value(schema, json, &below(name), name)?;
            }
        }
        let mut required = schema["required"].as_array().into_iter().flatten();
        let missing = |name: &&Json| {
            name.as_str()
                .is_some_and(|name| !members.contains_key(name))
        };
        match required.find(missing).and_then(Json::as_str) {
            None => Ok(()),
            Some(name) => Err(Fault::member(below(name), format!("{name} is required"))),
        }
    }

    /// Returns whether a schema allows values of the type of this one.
    fn has_type(&self, schema: &Json, json: &Json) -> bool {
        let schema = self.resolved(schema);
        if let Some(variants) = schema["oneOf"].as_array() {
            return variants.iter().any(|variant| self.has_type(variant, json));
        }
        let own: &[&str] = match json {
            Json::Null => &["null"],
            Json::Bool(_) => &["boolean"],
            Json::Number(number) if number.is_f64() => &["number"],
            Json::Number(_) => &["integer", "number"],
            Json::String(_) => &["string"],
            Json::Array(_) => &["array"],
            Json::Object(_) => &["object"],
        };
        let types = types(schema);
        types.is_empty() || types.iter().any(|name| own.contains(name))
    }

    /// Returns whether a value has the type, the range, the length and the words of a schema.
    fn fits(&self, schema: &Json, json: &Json) -> bool {
        let schema = self.resolved(schema);
        let limit = |name: &str| schema[name].as_u64();
        let within = |count: usize, least: &str, most: &str| {
            let count = count as u64;
            limit(least).is_none_or(|least| count >= least)
                && limit(most).is_none_or(|most| count <= most)
        };
        self.has_type(schema, json)
            && match json {
                Json::Null => true,
                Json::Bool(_) => is_word(schema, json),
                Json::Number(number) => {
                    let bound = |name: &str| bound(schema, name);
                    number.as_i128().is_none_or(|number| {
                        bound("minimum").is_none_or(|least| number >= least)
                            && bound("maximum").is_none_or(|most| number <= most)
                    })
                }
                Json::String(text) => {
                    is_word(schema, json) && within(text.chars().count(), "minLength", "maxLength")
                }
                Json::Array(items) => within(items.len(), "minItems", "maxItems"),
                Json::Object(members) => within(members.len(), "minProperties", "maxProperties"),
            }
    }

    /// Says what a schema allows.
    fn wanted(&self, schema: &Json) -> String {
        let schema = self.resolved(schema);
        if let Some(variants) = schema["oneOf"].as_array() {
            // `null` last, as in "a text or null".
            let mut variants: Vec<String> = variants
                .iter()
                .map(|variant| self.wanted(variant))
                .collect();
            variants.sort_by_key(|wanted| wanted == "null");
            return listed(&variants, "or");
        }
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().filter_map(Json::as_str).map(str::to_owned);
            return listed(&words.collect::<Vec<_>>(), "or");
        }
        let types: Vec<String> = types(schema)
            .into_iter()
            .map(|name| match name {
                "string" => format!("a text{}", counted(schema, "Length", "of", "characters")),
                "integer" => format!("a whole number{}", range(schema)),
                "number" => format!("a number{}", range(schema)),
                "boolean" => "true or false".to_owned(),
                "array" => format!("an array{}", counted(schema, "Items", "of", "items")),
                "object" => format!(
                    "an object{}",
                    counted(schema, "Properties", "with", "members")
                ),
                other => other.to_owned(),
            })
            .collect();
        listed(&types, "or")
    }
}

/// Returns the types that a schema names; none if it allows any.
pub(crate) fn types(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(one) => vec![one],
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => Vec::new(),
    }
}

fn is_word(schema: &Json, json: &Json) -> bool {
    schema["enum"]
        .as_array()
        .is_none_or(|words| words.contains(json))
}

fn bound(schema: &Json, name: &str) -> Option<i128> {
    schema[name]
        .as_number()
        .and_then(serde_json::Number::as_i128)
}

fn range(schema: &Json) -> String {
    match (bound(schema, "minimum"), bound(schema, "maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least}"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    }
}

fn counted(schema: &Json, of: &str, with: &str, what: &str) -> String {
    let (least, most) = (&schema[format!("min{of}")], &schema[format!("max{of}")]);
    match (least.as_u64(), most.as_u64()) {
        (Some(least), Some(most)) if least == most => format!(" {with} {most} {what}"),
        (Some(least), Some(most)) => format!(" {with} {least} to {most} {what}"),
        (None, Some(most)) => format!(" {with} at most {most} {what}"),
        (Some(least), None) => format!(" {with} at least {least} {what}"),
        (None, None) => String::new(),
    }
}

/// Returns texts as a list in words: `a, b or c`.
pub(crate) fn listed(texts: &[String], last: &str) -> String {
    match texts {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [before @ .., end] => format!("{} {last} {end}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(schema: &Json, json: &Json) -> Result<(), Fault> {
        Described::default().value(schema, json, "", "it")
    }

    fn fault(schema: Json, json: Json) -> (String, String) {
        let fault = value(&schema, &json).unwrap_err();
        (fault.pointer, fault.detail)
    }

    #[test]
    fn a_difference_is_explained_in_words_of_the_description() {
        let number = json!({"type": ["integer", "null"], "minimum": 1, "maximum": 9});
        let range = "it must be a whole number from 1 to 9 or null";
        for bad in [
            json!(0),
            json!(10),
            json!("5"),
            json!(1.5),
            json!([1]),
            json!(u64::MAX),
        ] {
            assert_eq!(
                fault(number.clone(), bad),
                (String::new(), range.to_owned())
            );
        }
        assert_eq!(value(&number, &json!(9)), Ok(()));
        assert_eq!(value(&number, &Json::Null), Ok(()));
        let text = json!({"type": "string", "minLength": 1, "maxLength": 2});
        assert_eq!(value(&text, &json!("üü")), Ok(()));
        let (_, detail) = fault(text, json!(""));
        assert_eq!(detail, "it must be a text of 1 to 2 characters");
        let (_, detail) = fault(
            json!({"type": "string", "enum": ["a", "b", "c"]}),
            json!("d"),
        );
        assert_eq!(detail, "it must be a, b or c");
        let (_, detail) = fault(json!({"type": "boolean"}), json!("true"));
        assert_eq!(detail, "it must be true or false");
    }

    #[test]
    fn a_difference_is_pointed_at_in_every_depth() {
        let inner = json!({"type": "object", "properties": {"a/b": {"type": "boolean"}},
            "required": ["a/b"], "additionalProperties": false});
        let map = json!({"type": "object", "additionalProperties": inner});
        let schema = json!({"type": "array", "items": map, "maxItems": 2});
        for (json, pointer) in [
            (json!({}), ""),
            (json!([{}, {}, {}]), ""),
            (json!([{}, 1]), "/1"),
            (json!([{"x~": 1}]), "/0/x~0"),
            (json!([{"x": {"a/b": 1}}]), "/0/x/a~1b"),
            (json!([{"x": {}}]), "/0/x/a~1b"),
            (json!([{"x": {"a/b": true, "c": 1}}]), "/0/x/c"),
        ] {
            assert_eq!(fault(schema.clone(), json.clone()).0, pointer, "{json}");
        }
    }

    #[test]
    fn of_several_variants_the_one_that_is_meant_is_checked() {
        let tagged = |tag: &str, member: &str| {
            json!({"type": "object", "required": ["t", member], "additionalProperties": false,
                "properties": {"t": {"type": "string", "enum": [tag]}, member: {"type": "string"}}})
        };
        let by_tag = json!({"oneOf": [tagged("a", "x"), tagged("b", "y")],
            "discriminator": {"propertyName": "t", "mapping": {"a": "", "b": ""}}});
        for (json, pointer) in [
            (json!({"t": "b"}), "/y"),
            (json!({"t": "b", "x": ""}), "/x"),
            (json!({"t": "c"}), "/t"),
            (json!({"t": 1}), "/t"),
            (json!({}), "/t"),
            (json!("a"), ""),
        ] {
            assert_eq!(fault(by_tag.clone(), json.clone()).0, pointer, "{json}");
        }
        let single = |member: &str| {
            json!({"type": "object", "required": [member], "additionalProperties": false,
                "properties": {member: {"type": "boolean"}}})
        };
        let by_member = json!({"oneOf": [{"type": "string", "enum": ["w"]}, single("x"),
            single("y")]});
        for (json, pointer) in [
            (json!({"y": 1}), "/y"),
            (json!({"z": 1}), "/z"),
            (json!({"x": true, "y": true}), "/y"),
            (json!({}), ""),
            (json!("v"), ""),
            (json!(1), ""),
        ] {
            assert_eq!(fault(by_member.clone(), json.clone()).0, pointer, "{json}");
        }
        for good in [json!("w"), json!({"x": true}), json!({"y": false})] {
            assert_eq!(value(&by_member, &good), Ok(()), "{good}");
        }
    }
}
