//! What the description says by rule, and not type by type.
//!
//! - An object of a request is closed: the API refuses members that it does not know. It states no
//!   defaults, since the API applies them: clients would send them, or require what has one.
//! - A variant and any other object has a name of its own, and a union whose variants state their
//!   kind has a discriminator: generators of clients make a type of each.
//! - A schema that is another one under a name of its own is written out: some generators would
//!   drop its name.
//! - A merge patch is described by what it changes (RFC 7396).
//! - A parameter is given or absent, never null.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

/// The pointer of the schemas.
const SCHEMAS: &str = "/components/schemas";
/// The prefix of a reference to a schema.
const REFERENCE: &str = "#/components/schemas/";

/// Schemas by name.
pub(crate) type Schemas = Map<String, Json>;

/// A merge patch that the API accepts: the schema of the patch, that of what it changes, and the
/// members of the latter that can't be changed.
struct MergePatch {
    patch: &'static str,
    of: &'static str,
    fixed: &'static [&'static str],
}

/// The merge patches whose description follows from what they change.
const PATCHES: [MergePatch; 2] = [
    MergePatch {
        patch: "ConnectionPatch",
        of: "NewConnection",
        fixed: &["scope"],
    },
    MergePatch {
        patch: "WebhookPatch",
        of: "NewWebhook",
        fixed: &[],
    },
];

/// Completes the description.
pub(crate) fn complete(document: &mut Json) {
    let mut requested = BTreeSet::new();
    for operation in operations(document) {
        references(&operation["requestBody"], &mut requested);
    }
    if let Some(Json::Object(schemas)) = document.pointer_mut(SCHEMAS) {
        complete_schemas(schemas, &PATCHES, requested);
    }
    for parameter in parameters(document) {
        if let Some(schema) = parameter.get_mut("schema") {
            drop_null(schema);
        }
    }
}

/// Returns the completed schemas of a type that is requested, with those that it refers to.
pub(crate) fn of<T: ToSchema>() -> Schemas {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    // The types of a description always have a form in JSON.
    let json = |schema| serde_json::to_value(schema).unwrap_or_default();
    let all = all.into_iter().map(|(name, schema)| (name, json(schema)));
    let mut schemas: Schemas = all.collect();
    complete_schemas(
        &mut schemas,
        &PATCHES,
        BTreeSet::from([T::name().into_owned()]),
    );
    schemas
}

fn complete_schemas(schemas: &mut Schemas, patches: &[MergePatch], requested: BTreeSet<String>) {
    for patch in patches {
        describe_patch(schemas, patch);
    }
    write_out(schemas);
    name_objects(schemas);
    close_requests(requested, schemas);
}

/// Returns every operation.
pub(crate) fn operations(document: &Json) -> impl Iterator<Item = &Json> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(_, methods)| methods.as_object().into_iter().flatten().map(|(_, o)| o))
}

fn parameters(document: &mut Json) -> impl Iterator<Item = &mut Json> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let operations = paths.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten());
    operations.flat_map(|(_, operation)| {
        operation
            .get_mut("parameters")
            .and_then(Json::as_array_mut)
            .into_iter()
            .flatten()
    })
}

fn set(json: &mut Json, member: &str, value: Json) {
    if let Some(members) = json.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}

/// Removes a member and returns it; null if it is absent.
fn removed(json: &mut Json, member: &str) -> Json {
    let members = json.as_object_mut();
    members
        .and_then(|members| members.remove(member))
        .unwrap_or_default()
}

fn members_mut<'j>(json: &'j mut Json, member: &str) -> Option<&'j mut Map<String, Json>> {
    json.get_mut(member)?.as_object_mut()
}

fn drop_null(schema: &mut Json) {
    let Some(types) = schema.get_mut("type").and_then(Json::as_array_mut) else {
        return;
    };
    types.retain(|name| name != "null");
    if let [only] = types.as_slice() {
        schema["type"] = only.clone();
    }
}

fn named(name: &str) -> Json {
    json!({"$ref": format!("{REFERENCE}{name}")})
}

fn name_of(reference: &Json) -> Option<&str> {
    reference["$ref"].as_str()?.strip_prefix(REFERENCE)
}

/// Describes a merge patch, whose own members stay. Every member is optional; null for one that
/// what is changed may lack sets the default.
fn describe_patch(schemas: &mut Schemas, patch: &MergePatch) {
    let Some(mut whole) = schemas.get(patch.of).cloned() else {
        return;
    };
    if let Some(properties) = members_mut(&mut whole, "properties") {
        properties.retain(|name, _| !patch.fixed.contains(&name.as_str()));
    }
    let mut whole = patched(schemas, whole);
    let own = schemas.get(patch.patch);
    if let Some(described) = own.and_then(|own| own.get("description")) {
        set(&mut whole, "description", described.clone());
    }
    let only = own.and_then(|own| own["properties"].as_object()).cloned();
    if let Some(properties) = members_mut(&mut whole, "properties") {
        properties.extend(only.unwrap_or_default());
    }
    schemas.insert(patch.patch.to_owned(), whole);
}

/// Returns the schema of a merge patch of an object.
fn patched(schemas: &mut Schemas, mut object: Json) -> Json {
    let required = removed(&mut object, "required");
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
    };
    let properties = members_mut(&mut object, "properties");
    for (name, schema) in properties.into_iter().flatten() {
        let mut changed = patched_member(schemas, schema.take());
        if let Some(values) = changed.get_mut("additionalProperties")
            && values.is_object()
        {
            *values = nullable(values.take());
        }
        *schema = match is_required(name) {
            true => changed,
            false => nullable(changed),
        };
    }
    object
}

/// Returns the schema of a member in a merge patch: an object is patched in turn, anything else is
/// replaced.
fn patched_member(schemas: &mut Schemas, schema: Json) -> Json {
    let Some(name) = name_of(&schema).map(str::to_owned) else {
        return schema;
    };
    let Some(object) = schemas.get(&name).cloned() else {
        return schema;
    };
    if !is_object(&object) {
        return schema;
    }
    let patch = format!("{name}Patch");
    if !schemas.contains_key(&patch) {
        let object = patched(schemas, object);
        schemas.insert(patch.clone(), object);
    }
    let mut reference = schema;
    set(&mut reference, "$ref", json!(format!("{REFERENCE}{patch}")));
    reference
}

fn nullable(mut schema: Json) -> Json {
    if name_of(&schema).is_some() {
        let described = removed(&mut schema, "description");
        let mut union = json!({"oneOf": [{"type": "null"}, schema]});
        if !described.is_null() {
            set(&mut union, "description", described);
        }
        return union;
    }
    if let Some(variants) = schema.get_mut("oneOf").and_then(Json::as_array_mut) {
        let null = json!({"type": "null"});
        if !variants.contains(&null) {
            variants.insert(0, null);
        }
        return schema;
    }
    if let Some(name) = schema.get_mut("type").filter(|name| name.is_string()) {
        *name = json!([name.take(), "null"]);
    }
    schema
}

/// Replaces schemas that only refer to another one by a copy of it.
fn write_out(schemas: &mut Schemas) {
    let target = |schema: &Json| schemas.get(name_of(schema)?).cloned();
    let copies = schemas.iter().filter_map(|(name, schema)| {
        let mut copy = target(schema)?;
        if let Some(described) = schema.get("description") {
            set(&mut copy, "description", described.clone());
        }
        Some((name.clone(), copy))
    });
    let copies: Vec<(String, Json)> = copies.collect();
    schemas.extend(copies);
}

/// Gives every object a name that stands inside of another schema.
fn name_objects(schemas: &mut Schemas) {
    let mut pending: Vec<String> = schemas.keys().cloned().collect();
    while let Some(name) = pending.pop() {
        let Some(mut schema) = schemas.get(&name).cloned() else {
            continue;
        };
        let mut inner = BTreeMap::new();
        name_variants(&name, &mut schema, &mut inner);
        name_members(&name, &mut schema, schemas, &mut inner);
        schemas.insert(name, schema);
        for (name, schema) in inner {
            schemas.insert(name.clone(), schema);
            pending.push(name);
        }
    }
}

/// Returns whether a schema is an object with members of its own.
fn is_object(schema: &Json) -> bool {
    schema["properties"].is_object()
}

fn pascal(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            format!("{}{rest}", first.to_ascii_uppercase())
        })
        .collect()
}

/// Returns the member of a variant that states its kind, and the word that it states.
fn tag(variant: &Json) -> Option<(&str, &str)> {
    let mut members = variant["properties"].as_object()?.iter();
    members.find_map(
        |(name, schema)| match schema["enum"].as_array()?.as_slice() {
            [word] => Some((name.as_str(), word.as_str()?)),
            _ => None,
        },
    )
}

/// Gives the variants of a union names.
fn name_variants(union: &str, schema: &mut Json, inner: &mut BTreeMap<String, Json>) {
    let Some(variants) = schema.get_mut("oneOf").and_then(Json::as_array_mut) else {
        return;
    };
    let mut mapping = Map::new();
    let mut tags = BTreeSet::new();
    let words = name_words(union, variants, inner);
    for variant in variants.iter_mut().filter(|variant| is_object(variant)) {
        let kind = tag(variant).map(|(tag, word)| (tag.to_owned(), word.to_owned()));
        let member = variant["properties"]
            .as_object()
            .and_then(|own| own.keys().next());
        let suffix = kind.as_ref().map(|(_, word)| word).or(member);
        let name = format!("{union}{}", pascal(suffix.map_or("", String::as_str)));
        if let Some((tag, word)) = kind {
            mapping.insert(word, json!(format!("{REFERENCE}{name}")));
            tags.insert(tag);
        }
        inner.insert(name.clone(), std::mem::replace(variant, named(&name)));
    }
    if let Some(words) = words {
        variants.insert(0, words);
    }
    let is_tagged = mapping.len() == variants.len() && tags.len() == 1;
    if let Some(tag) = tags.pop_first().filter(|_| is_tagged) {
        schema["discriminator"] = json!({"propertyName": tag, "mapping": mapping});
    }
}

/// Removes the variants of a union that are single words, and returns a reference to all of them
/// together. `None` if there are not several.
fn name_words(
    union: &str,
    variants: &mut Vec<Json>,
    inner: &mut BTreeMap<String, Json>,
) -> Option<Json> {
    let word = |variant: &Json| match variant["enum"].as_array()?.as_slice() {
        [word] => Some(word.clone()),
        _ => None,
    };
    let words: Vec<Json> = variants.iter().filter_map(word).collect();
    if words.len() < 2 {
        return None;
    }
    let lines = variants.iter().filter(|variant| word(variant).is_some());
    let lines = lines.map(|variant| {
        let word = word(variant).unwrap_or_default();
        let described = variant["description"].as_str().unwrap_or_default();
        format!("`{}`: {described}", word.as_str().unwrap_or_default())
    });
    let described = lines.collect::<Vec<_>>().join("\n\n");
    variants.retain(|variant| word(variant).is_none());
    let name = format!("{union}Word");
    let all = json!({"type": "string", "enum": words, "description": described});
    inner.insert(name.clone(), all);
    Some(named(&name))
}

/// Gives names to the objects that are members of another one, or the items or values of them.
fn name_members(
    of: &str,
    schema: &mut Json,
    schemas: &Schemas,
    inner: &mut BTreeMap<String, Json>,
) {
    let properties = members_mut(schema, "properties");
    for (member, schema) in properties.into_iter().flatten() {
        let name = pascal(member);
        let name = match schemas.contains_key(&name) || inner.contains_key(&name) {
            false => name,
            true => format!("{of}{name}"),
        };
        for place in ["items", "additionalProperties"] {
            if schema.get(place).is_some_and(is_object) {
                inner.insert(name.clone(), schema[place].take());
                schema[place] = named(&name);
            }
        }
        if is_object(schema) {
            inner.insert(name.clone(), schema.take());
            *schema = named(&name);
        }
    }
}

/// Closes every object that a request can contain.
fn close_requests(mut pending: BTreeSet<String>, schemas: &mut Schemas) {
    let mut seen = BTreeSet::new();
    while let Some(name) = pending.pop_first() {
        if let Some(schema) = schemas.get_mut(&name)
            && seen.insert(name)
        {
            references(schema, &mut pending);
            for (_, member) in members_mut(schema, "properties").into_iter().flatten() {
                removed(member, "default");
            }
            if is_object(schema) && schema["additionalProperties"].is_null() {
                schema["additionalProperties"] = json!(false);
            }
        }
    }
}

/// Collects the names of the schemas that a part of the description refers to.
pub(crate) fn references(part: &Json, names: &mut BTreeSet<String>) {
    match part {
        Json::Object(members) => {
            names.extend(name_of(part).map(str::to_owned));
            members.values().for_each(|part| references(part, names));
        }
        Json::Array(items) => items.iter().for_each(|part| references(part, names)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(mut schemas: Json, patches: &[MergePatch]) -> Json {
        let all = schemas.as_object_mut().unwrap();
        complete_schemas(all, patches, BTreeSet::from(["Body".to_owned()]));
        schemas
    }

    #[test]
    fn a_parameter_is_never_null() {
        let optional = json!({"name": "q", "schema": {"type": ["string", "null"]}});
        let mut document = json!({"paths": {"/x": {"get": {"parameters": [optional]}}}});
        complete(&mut document);
        let parameter = document.pointer("/paths/~1x/get/parameters/0/schema/type");
        assert_eq!(parameter, Some(&json!("string")));
    }

    #[test]
    fn variants_and_inner_objects_get_names_and_requests_are_closed() {
        let tagged = |word: &str, more: Json| {
            let mut own = json!({"kind": {"type": "string", "enum": [word]}});
            if !more.is_null() {
                own["more"] = more;
            }
            json!({"type": "object", "properties": own})
        };
        let schemas = completed(
            json!({
                "Body": {"type": "object", "properties": {
                    "shape": named("Shape"),
                    "rule": named("Rule"),
                    "inner": {"type": "object", "properties": {
                        "a": {"type": "string", "default": "x"}}},
                }},
                "Shape": {"oneOf": [
                    tagged("flat", Json::Null),
                    tagged("not_flat", json!({"type": "string"})),
                ]},
                "Rule": {"oneOf": [
                    {"type": "string", "enum": ["all"], "description": "Everything."},
                    {"type": "string", "enum": ["none"], "description": "Nothing."},
                    {"type": "object", "properties": {"some": {
                        "type": "object", "properties": {"share": {"type": "integer"}}}}},
                ]},
                "Answer": {"type": "object", "properties": {"a": {"type": "string"}}},
                "Other": {"$ref": format!("{REFERENCE}Answer"), "description": "Another."},
            }),
            &[],
        );
        assert_eq!(schemas["Body"]["properties"]["inner"], named("Inner"));
        assert_eq!(
            schemas["Inner"],
            json!({"type": "object", "properties": {"a": {"type": "string"}},
                "additionalProperties": false})
        );
        assert_eq!(
            schemas["Shape"],
            json!({
                "oneOf": [named("ShapeFlat"), named("ShapeNotFlat")],
                "discriminator": {"propertyName": "kind", "mapping": {
                    "flat": format!("{REFERENCE}ShapeFlat"),
                    "not_flat": format!("{REFERENCE}ShapeNotFlat"),
                }},
            })
        );
        assert_eq!(schemas["ShapeNotFlat"]["additionalProperties"], false);
        assert_eq!(
            schemas["Rule"],
            json!({"oneOf": [named("RuleWord"), named("RuleSome")]})
        );
        assert_eq!(schemas["RuleWord"]["enum"], json!(["all", "none"]));
        assert_eq!(schemas["RuleSome"]["properties"]["some"], named("Some"));
        assert_eq!(schemas["Some"]["additionalProperties"], false);
        assert!(schemas["Answer"].get("additionalProperties").is_none());
        assert_eq!(
            schemas["Other"]["properties"],
            schemas["Answer"]["properties"]
        );
        assert_eq!(schemas["Other"]["description"], "Another.");
    }

    #[test]
    fn a_merge_patch_follows_from_what_it_changes() {
        let schemas = completed(
            json!({
                "Body": {"description": "A patch.", "properties": {"only": {"type": "null"}}},
                "Thing": {"type": "object", "required": ["name", "id"], "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "size": {"type": "integer"},
                    "parts": named("Parts"),
                    "form": named("Form"),
                }},
                "Parts": {"type": "object", "properties": {
                    "by_key": {"type": "object", "additionalProperties": {"type": "string"}},
                }},
                "Form": {"type": "string", "enum": ["a"]},
            }),
            &[MergePatch {
                patch: "Body",
                of: "Thing",
                fixed: &["id"],
            }],
        );
        assert_eq!(
            schemas["Body"],
            json!({"type": "object", "description": "A patch.", "additionalProperties": false,
            "properties": {
                "name": {"type": "string"},
                "only": {"type": "null"},
                "size": {"type": ["integer", "null"]},
                "parts": {"oneOf": [{"type": "null"}, named("PartsPatch")]},
                "form": {"oneOf": [{"type": "null"}, named("Form")]},
            }})
        );
        assert_eq!(
            schemas["PartsPatch"]["properties"]["by_key"],
            json!({"type": ["object", "null"],
                "additionalProperties": {"type": ["string", "null"]}})
        );
        assert_eq!(schemas["Thing"]["required"], json!(["name", "id"]));
    }
}
