//! What others rely on stays as it was: names that an earlier build had are still there.
//!
//! Items and messages of an earlier build are read in the crates that own their codecs.

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use crate::support::{shared, sources, top};

/// Returns what a recorded list has and the present one lacks.
fn missing<'r>(recorded: &'r str, present: &BTreeSet<String>) -> Vec<&'r str> {
    let names = recorded.lines();
    names.filter(|name| !present.contains(*name)).collect()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a line for each parameter, answer, member and word that a description has.
fn lines_of(description: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (path, methods) in members(&description["paths"]) {
        for (method, operation) in members(methods).filter(|(_, o)| o.get("responses").is_some()) {
            let id = operation["operationId"].as_str().unwrap();
            let of = format!("{method} {path} {id}");
            let parameters = items(&operation["parameters"]).chain(items(&methods["parameters"]));
            for parameter in parameters {
                let (place, name) = (&parameter["in"], &parameter["name"]);
                let (place, name) = (place.as_str().unwrap(), name.as_str().unwrap());
                lines.insert(format!("{of} {place} {name}"));
            }
            let answers = members(&operation["responses"]);
            lines.extend(answers.map(|(status, _)| format!("{of} {status}")));
        }
    }
    let schemas = &description["components"]["schemas"];
    // A variant may have a name of its own.
    let variant_of = |variant: &Value| match variant["$ref"].as_str() {
        Some(reference) => schemas[reference.rsplit('/').next().unwrap()].clone(),
        None => variant.clone(),
    };
    for (name, schema) in members(schemas) {
        let parts = std::iter::once(schema).chain(items(&schema["allOf"]));
        let own = parts.flat_map(|part| members(&part["properties"]));
        lines.extend(own.map(|(member, _)| format!("{name}.{member}")));
        let word = |word: &Value| format!("{name}={}", word.as_str().unwrap_or("None"));
        lines.extend(items(&schema["enum"]).map(word));
        for variant in items(&schema["oneOf"]).map(variant_of) {
            let own = members(&variant["properties"]);
            lines.extend(own.map(|(member, _)| format!("{name}|{member}")));
            lines.extend(items(&variant["enum"]).map(word));
        }
    }
    lines
}

#[test]
fn the_description_of_the_api_has_all_that_it_had() {
    shared(async |world| {
        let description = world
            .call(None, Method::GET, "/openapi.json", &[], None)
            .await;
        let missing = missing(include_str!("openapi.txt"), &lines_of(&description.body));
        assert!(missing.is_empty(), "{missing:#?}");
    });
}

#[test]
fn every_metric_and_setting_has_the_name_that_it_had() {
    let sources = ["functions", "shared"].map(|folder| sources(&top().join(folder)));
    let texts = sources
        .iter()
        .flatten()
        .map(|file| std::fs::read_to_string(file).unwrap());
    let quoted = |text: String| -> Vec<String> {
        text.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let present: BTreeSet<String> = texts.flat_map(quoted).collect();
    let metrics = missing(include_str!("metrics.txt"), &present);
    assert!(metrics.is_empty(), "{metrics:?}");
    let template = std::fs::read_to_string(top().join("template.yaml")).unwrap();
    let words = template.split(|c: char| !c.is_alphanumeric() && c != '_');
    let settings = missing(
        include_str!("settings.txt"),
        &words.map(str::to_owned).collect(),
    );
    assert!(settings.is_empty(), "{settings:?}");
}

#[test]
fn what_is_missing_is_found() {
    assert_eq!(missing("a\nb", &BTreeSet::from(["a".to_owned()])), ["b"]);
}
