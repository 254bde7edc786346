//! The query of a request, read as its parameters are described. A parameter that is unknown or
//! given twice is refused, since it is a mistake that would go unnoticed.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use utoipa::IntoParams;
use utoipa::openapi::path::Parameter;

use crate::Deps;
use crate::described::check::{Described, checked, listed, types};
use crate::http::{Kind, Problem};

/// The parameters of a query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: IntoParams + DeserializeOwned> FromRequestParts<Arc<Deps>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Deps>) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or("")).map(Self)
    }
}

fn malformed(detail: String, parameter: &str) -> Problem {
    Problem::new(Kind::MalformedRequest, detail).parameter(parameter)
}

/// Reads a query.
pub(crate) fn read<T: IntoParams + DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let described = T::into_params(|| None);
    let mut members = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name, "the query")?;
        let text = decoded(text, &name)?;
        let parameter = described.iter().find(|parameter| parameter.name == name);
        let parameter = parameter.ok_or_else(|| unknown(&name, &described))?;
        let schema = serde_json::to_value(&parameter.schema).unwrap_or_default();
        let json = json_of(&schema, &text);
        let checked = Described::default().value(&schema, &json, "", &name);
        checked.map_err(|fault| malformed(fault.detail, &name))?;
        if members.insert(name.clone(), json).is_some() {
            return Err(malformed(format!("{name} is given twice"), &name));
        }
    }
    checked(Json::Object(members), "")
}

/// Decodes a name or a value.
fn decoded(text: &str, name: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(malformed(format!("{name} is not UTF-8"), name)),
    }
}

fn unknown(name: &str, described: &[Parameter]) -> Problem {
    let names: Vec<String> = described.iter().map(|p| p.name.clone()).collect();
    let possible = match names.as_slice() {
        [] => "none is possible".to_owned(),
        names => format!("possible are {}", listed(names, "and")),
    };
    malformed(format!("there is no parameter `{name}`; {possible}"), name)
}

/// Returns the value that a text stands for. One of another type stays a text, and is refused as
/// such.
fn json_of(schema: &Json, text: &str) -> Json {
    let is = |name: &str| types(schema).contains(&name);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "true" if is("boolean") => Json::Bool(true),
        "false" if is("boolean") => Json::Bool(false),
        _ if is("integer") && digits => text.parse::<u64>().map_or(Json::from(text), Json::from),
        _ => Json::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    struct Sample {
        #[param(minimum = 1, maximum = 9)]
        number: Option<u32>,
        text: Option<String>,
        flag: Option<bool>,
    }

    #[test]
    fn a_query_is_read_as_its_parameters_are_described() {
        let sample = |number, text: Option<&str>, flag| Sample {
            number,
            text: text.map(str::to_owned),
            flag,
        };
        for (query, wanted) in [
            ("", sample(None, None, None)),
            ("number=7&", sample(Some(7), None, None)),
            ("text=7&flag=true", sample(None, Some("7"), Some(true))),
            ("t%65xt=%C3%BC+%2B%zz", sample(None, Some("ü +%zz"), None)),
            ("text", sample(None, Some(""), None)),
        ] {
            assert_eq!(read::<Sample>(query).unwrap(), wanted, "{query}");
        }
    }

    #[test]
    fn a_problem_names_the_parameter_and_says_what_it_must_be() {
        for (query, parameter, words) in [
            ("number=0", "number", "a whole number from 1 to 9"),
            ("number=x", "number", "a whole number from 1 to 9"),
            ("number=", "number", "a whole number from 1 to 9"),
            ("number=-1", "number", "a whole number from 1 to 9"),
            ("number=99999999999999999999", "number", "a whole number"),
            ("flag=1", "flag", "true or false"),
            ("colour=red", "colour", "possible are number, text and flag"),
            ("number=1&number=1", "number", "twice"),
            ("text=%ff", "text", "not UTF-8"),
            ("%ff=1", "the query", "not UTF-8"),
        ] {
            let problem = read::<Sample>(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            let body = serde_json::to_value(problem.into_body()).unwrap();
            assert_eq!(body["parameter"], parameter, "{query}: {body}");
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{query}: {detail}");
        }
    }
}
