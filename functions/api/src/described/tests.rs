//! What the API accepts and refuses is what it describes, for every body and every query.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use crate::described::passes;
use crate::handle;
use crate::http::openapi;
use crate::tests::{deps, json, request};

/// Words that only the code knows, and no caller.
const FOREIGN_WORDS: [&str; 21] = [
    "struct ",
    "expected ",
    "invalid type",
    "invalid value",
    "missing field",
    "unknown field",
    "unknown variant",
    "u8",
    "u32",
    "u64",
    "i64",
    "usize",
    "Option",
    "Some(",
    "enum ",
    "sequence",
    "tuple",
    "newtype",
    "at line",
    "serde",
    "EOF",
];

fn assert_in_words_of_the_request(problem: &Value) {
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.is_empty(), "{problem}");
    for word in FOREIGN_WORDS {
        assert!(!detail.contains(word), "{word}: {problem}");
    }
}

/// Every operation with its method, and its path with valid ids in it.
fn calls() -> impl Iterator<Item = (Method, String, &'static Value)> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, methods)| {
        let letter = "Y18wMQpmLjFhYmM";
        let conflict = "MXNhbXBsZUZpbGVJZEJCQkJCQkJCQkJCQkJCQkJCQkJCQgoxCm5hbWU";
        let path = path
            .replace("{connection}", "c_01")
            .replace("{file}", "1abc")
            .replace("{conflict}", conflict)
            .replace("{operation}", "x")
            .replace("{version}", "1")
            .replace("{letter}", letter)
            .replace("{upload}", "x")
            .replace("{webhook}", "w_01");
        methods
            .as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                (method, path.clone(), operation)
            })
    })
}

/// Returns the schema of an operation's JSON body.
fn body_schema(operation: &Value) -> Option<&Value> {
    let content = operation["requestBody"]["content"].as_object()?;
    let json = content.iter().find(|(kind, _)| kind.ends_with("json"))?;
    Some(followed(&json.1["schema"]))
}

fn followed(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        None => schema,
        Some(reference) => openapi::schema(reference.rsplit('/').next().unwrap()),
    }
}

/// Returns the schemas that one value may have: itself, or its variants.
fn variants(schema: &Value) -> Vec<&Value> {
    let schema = followed(schema);
    match schema["oneOf"].as_array() {
        None => vec![schema],
        Some(several) => several.iter().flat_map(variants).collect(),
    }
}

fn types_of(schema: &Value) -> BTreeSet<&str> {
    let types = variants(schema).into_iter().map(|schema| &schema["type"]);
    let one = types.clone().filter_map(Value::as_str);
    let several = types.filter_map(Value::as_array).flatten();
    one.chain(several.filter_map(Value::as_str)).collect()
}

/// Returns a value that a schema allows, with every member that it may have.
fn sample(schema: &Value) -> Value {
    let variants = variants(schema);
    let is_null = |schema: &&&Value| schema["type"] == "null";
    // The last variant has the most members: words and null are first.
    let schema = variants.iter().rfind(|schema| !is_null(schema)).unwrap();
    let types = types_of(schema);
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    match types.into_iter().find(|name| *name != "null").unwrap() {
        "boolean" => json!(false),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "array" => json!([sample(&schema["items"])]),
        "string" => match (schema["pattern"].as_str(), schema["minLength"].as_u64()) {
            (Some(pattern), _) if pattern.contains('/') => json!("text/plain"),
            (Some(pattern), Some(64)) if pattern.contains("{64}") => json!("00".repeat(32)),
            (Some(pattern), _) if pattern.contains("[0-9]{") => json!("42"),
            _ => json!("x"),
        },
        _ => {
            let own = schema["properties"].as_object().into_iter().flatten();
            let mut value: serde_json::Map<String, Value> = own
                .map(|(name, schema)| (name.clone(), sample(schema)))
                .collect();
            if schema["additionalProperties"].is_object() {
                value.insert("text/x".to_owned(), sample(&schema["additionalProperties"]));
            }
            Value::Object(value)
        }
    }
}

/// A part of a body: its pointer, its schema, and the part itself.
type Part<'s> = (String, &'s Value, Value);

/// Returns every part of a sample, outermost first.
fn parts<'s>(schema: &'s Value, value: &Value, at: &str, found: &mut Vec<Part<'s>>) {
    found.push((at.to_owned(), schema, value.clone()));
    let variants = variants(schema);
    for (name, value) in value.as_object().into_iter().flatten() {
        let below = format!("{at}/{}", name.replace('/', "~1"));
        let member = variants.iter().find_map(|schema| {
            let other = Some(&schema["additionalProperties"]).filter(|other| other.is_object());
            schema["properties"].get(name).or(other)
        });
        parts(member.unwrap(), value, &below, found);
    }
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        let items = variants
            .iter()
            .find(|schema| schema["items"].is_object())
            .unwrap();
        parts(&items["items"], value, &format!("{at}/{number}"), found);
    }
}

/// Returns the text of a body in which the member at `pointer` is given twice.
fn with_repeated(body: &Value, pointer: &str, at: &str) -> String {
    match body {
        Value::Object(members) => {
            let written = members.iter().map(|(name, value)| {
                let below = format!("{at}/{}", name.replace('/', "~1"));
                let member = format!("{}:{}", json!(name), with_repeated(value, pointer, &below));
                if below == pointer {
                    format!("{member},{member}")
                } else {
                    member
                }
            });
            format!("{{{}}}", written.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let written = items
                .iter()
                .enumerate()
                .map(|(number, item)| with_repeated(item, pointer, &format!("{at}/{number}")));
            format!("[{}]", written.collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => body.to_string(),
    }
}

/// Returns values that a schema does not allow.
fn wrong_values(schema: &Value) -> Vec<Value> {
    let types = types_of(schema);
    let kinds = [
        (&["null"][..], Value::Null),
        (&["boolean"], json!(true)),
        (&["integer", "number"], json!(7)),
        (&["number"], json!(1.5)),
        (&["string"], json!("no such word")),
        (&["array"], json!([])),
        (&["object"], json!({})),
    ];
    let other_kind = kinds
        .into_iter()
        .filter(|(kinds, _)| kinds.iter().all(|k| !types.contains(k)));
    let mut wrong: Vec<Value> = other_kind.map(|(_, value)| value).collect();
    let variants = variants(schema);
    if variants
        .iter()
        .all(|schema| schema["enum"].is_array() || schema["type"] == "null")
    {
        wrong.push(json!("no such word"));
    }
    for schema in variants {
        let bound = |name: &str| schema[name].as_i64();
        let length = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
        wrong.extend(bound("minimum").map(|least| json!(least - 1)));
        wrong.extend(bound("maximum").map(|most| json!(most + 1)));
        wrong.extend(length("maxLength").map(|most| json!("x".repeat(most + 1))));
        wrong.extend(
            length("minLength")
                .filter(|n| *n > 0)
                .map(|n| json!("x".repeat(n - 1))),
        );
        wrong
            .extend(length("maxItems").map(|most| json!(vec![sample(&schema["items"]); most + 1])));
        wrong.extend(length("minItems").filter(|n| *n > 0).map(|_| json!([])));
    }
    wrong
}

#[tokio::test]
async fn every_wrong_value_of_every_body_is_pointed_at_in_words_of_the_request() {
    let deps = deps();
    let (mut bodies, mut sent) = (0, 0);
    for (method, uri, operation) in calls() {
        let Some(schema) = body_schema(operation) else {
            continue;
        };
        bodies += 1;
        let body = sample(schema);
        let mut found = Vec::new();
        parts(schema, &body, "", &mut found);
        let refused = async |text: &str, pointer: &str, statuses: &[u16]| {
            let request = request(method.clone(), &uri, text);
            let (status, problem) = json(handle(request, &deps).await).await;
            let short: String = text.chars().take(300).collect();
            assert!(
                statuses.contains(&status.as_u16()),
                "{uri} {short}: {problem}"
            );
            assert_eq!(problem["pointer"], pointer, "{uri} {short}: {problem}");
            assert_in_words_of_the_request(&problem);
        };
        for (pointer, schema, part) in &found {
            // Each resolution of several is answered on its own.
            if pointer.starts_with("/resolutions/") {
                continue;
            }
            let replaced = |value: Value| {
                let mut body = body.clone();
                *body.pointer_mut(pointer).unwrap() = value;
                body.to_string()
            };
            for wrong in wrong_values(schema) {
                let statuses: &[u16] = match (pointer.as_str(), operation["operationId"].as_str()) {
                    ("", _) if !wrong.is_object() => &[400],
                    ("/size_bytes", Some("begin_upload")) => &[413, 422],
                    _ => &[422],
                };
                refused(&replaced(wrong), pointer, statuses).await;
                sent += 1;
            }
            let Some(members) = part.as_object() else {
                continue;
            };
            let closed = variants(schema)
                .into_iter()
                .filter(|s| s["properties"].is_object());
            for schema in closed {
                let mut more = members.clone();
                more.insert("no/such".to_owned(), json!(1));
                refused(
                    &replaced(Value::Object(more)),
                    &format!("{pointer}/no~1such"),
                    &[422],
                )
                .await;
                for name in schema["required"].as_array().into_iter().flatten() {
                    let name = name.as_str().unwrap();
                    if variants(schema).len() == 1
                        && members.contains_key(name)
                        && members.len() > 1
                    {
                        let mut fewer = members.clone();
                        fewer.remove(name);
                        let at = format!("{pointer}/{name}");
                        refused(&replaced(Value::Object(fewer)), &at, &[422]).await;
                    }
                }
            }
            for name in members.keys() {
                let at = format!("{pointer}/{}", name.replace('/', "~1"));
                refused(&with_repeated(&body, &at, ""), &at, &[400]).await;
            }
        }
    }
    assert!(
        bodies > 12 && sent > 400,
        "{bodies} bodies, {sent} wrong values"
    );
}

#[tokio::test]
async fn every_wrong_parameter_of_every_query_is_named_in_words_of_the_request() {
    let deps = deps();
    let mut sent = 0;
    for (method, uri, operation) in calls() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let queries: Vec<&Value> = parameters.filter(|p| p["in"] == "query").collect();
        let refused = async |query: String, name: &str| {
            let request = request(method.clone(), &format!("{uri}?{query}"), "");
            let (status, problem) = json(handle(request, &deps).await).await;
            assert_eq!(status, 400, "{uri}?{query}: {problem}");
            assert_eq!(problem["parameter"], name, "{uri}?{query}: {problem}");
            assert_eq!(problem["pointer"], Value::Null, "{problem}");
            assert_in_words_of_the_request(&problem);
        };
        for parameter in &queries {
            let name = parameter["name"].as_str().unwrap();
            let good = sample(&parameter["schema"]);
            let good = good.as_str().map_or(good.to_string(), str::to_owned);
            refused(format!("{name}={good}&{name}={good}"), name).await;
            refused(format!("{name}=%ff"), name).await;
            let types = types_of(&parameter["schema"]);
            assert!(
                !types.contains("null"),
                "a parameter is given or absent: {parameter}"
            );
            for wrong in wrong_values(&parameter["schema"]) {
                // In a query, everything is text.
                let is_text = types.contains("string") && !wrong.is_string();
                let (Value::String(_) | Value::Number(_), false) = (&wrong, is_text) else {
                    continue;
                };
                let text = wrong.as_str().map_or(wrong.to_string(), str::to_owned);
                refused(format!("{name}={}", text.replace(' ', "+")), name).await;
                sent += 1;
            }
        }
        if !queries.is_empty() {
            refused("no-such=1".to_owned(), "no-such").await;
        }
    }
    assert!(sent > 60, "{sent}");
}

/// Calls `look` with every schema of a part of the description, and whether it has a name.
fn schemas_in(part: &Value, is_named: bool, look: &mut impl FnMut(&Value, bool)) {
    look(part, is_named);
    let inner = part["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, schema)| schema);
    let inner = inner.chain(part["oneOf"].as_array().into_iter().flatten());
    let inner = inner.chain([&part["items"], &part["additionalProperties"]]);
    for schema in inner.filter(|schema| schema.is_object()) {
        schemas_in(schema, false, look);
    }
}

#[test]
fn generators_of_clients_can_name_and_bound_everything() {
    let document = openapi::document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        schemas_in(schema, true, &mut |schema, is_named| {
            let is_object = schema["properties"].is_object();
            assert!(
                is_named || !is_object,
                "an object without a name in {name}: {schema}"
            );
        });
        let variants: Vec<&Value> = schema["oneOf"].as_array().into_iter().flatten().collect();
        let tags = variants.iter().filter(|variant| {
            let members = followed(variant)["properties"]
                .as_object()
                .into_iter()
                .flatten();
            members.into_iter().any(|(_, schema)| {
                schema["enum"]
                    .as_array()
                    .is_some_and(|words| words.len() == 1)
            })
        });
        let is_tagged = !variants.is_empty() && tags.count() == variants.len();
        assert_eq!(
            is_tagged,
            schema["discriminator"].is_object(),
            "{name}: {schema}"
        );
    }
    let mut requested = BTreeSet::new();
    for operation in passes::operations(document) {
        passes::references(&operation["requestBody"], &mut requested);
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = requested.pop_first() {
        if !seen.insert(name.clone()) {
            continue;
        }
        passes::references(&schemas[&name], &mut requested);
        schemas_in(&schemas[&name], true, &mut |schema, _| {
            if schema["properties"].is_object() {
                assert_eq!(schema["additionalProperties"], false, "{name}: {schema}");
            }
            let types = types_of(schema);
            let bounds: &[&str] = match () {
                () if types.contains("integer") => &["minimum", "maximum"],
                () if types.contains("array") => &["maxItems"],
                () => &[],
            };
            for bound in bounds {
                assert!(schema[*bound].is_number(), "{bound} in {name}: {schema}");
            }
        });
    }
    assert!(seen.len() > 25, "{seen:?}");
    let put = &document["paths"]["/v1/connections/{connection}/files/{file}/content"]["post"];
    let bytes = &put["requestBody"]["content"]["application/octet-stream"]["schema"];
    assert_eq!(followed(bytes)["format"], "binary", "{put}");
}

#[test]
fn a_patch_of_a_connection_requires_nothing_and_null_sets_the_default() {
    let patch = openapi::schema("ConnectionPatch");
    assert!(patch.get("required").is_none(), "{patch}");
    let nullable = |schema: &Value| types_of(schema).contains("null");
    for (name, schema) in patch["properties"].as_object().unwrap() {
        let wanted = !matches!(name.as_str(), "name" | "secret");
        assert_eq!(nullable(schema), wanted, "{name}: {schema}");
    }
    for name in [
        "LimitsPatch",
        "PoliciesPatch",
        "RulesPatch",
        "ContentSettingsPatch",
    ] {
        let schema = openapi::schema(name);
        for (member, schema) in schema["properties"].as_object().unwrap() {
            assert!(nullable(schema), "{name}.{member}: {schema}");
        }
    }
}
