//! An act as a line of JSON: what its hash is computed of, in the table, the API and the exports.

use domain::content::ContentHash;
use domain::trail::{ActPlace, Link};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The members that are not part of what the hash is computed of: the hash itself, and the subject
/// that the API shows for a person.
const OUTSIDE: [&str; 2] = ["hash", "subject"];

/// A line that is not an act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an act of the audit trail: {0}")]
pub struct NotAnAct(&'static str);

/// Returns the text that the hash of an act is computed of: its members by name, without white
/// space, as `jq -cS 'del(.hash, .subject)'` prints it.
#[must_use]
pub fn hashed_text(act: &Map<String, Value>) -> String {
    let mut act = act.clone();
    for name in OUTSIDE {
        act.remove(name);
    }
    sorted(&Value::Object(act))
}

/// Returns an act as a line of an export: its members by name, without white space.
#[must_use]
pub fn line(act: &Value) -> String {
    sorted(act)
}

/// Returns the hash of a text.
#[must_use]
pub fn hash_of(text: &str) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(text).into())
}

/// Reads what the chain knows of an act.
///
/// # Errors
/// [`NotAnAct`] if a member of the chain is missing or malformed.
pub fn link(act: &Map<String, Value>) -> Result<Link, NotAnAct> {
    let number = |name| act.get(name).and_then(Value::as_u64);
    let hash = |name: &str| {
        let text = act.get(name).and_then(Value::as_str);
        text.and_then(|text| ContentHash::parse(text).ok())
    };
    let chain = number("chain").and_then(|chain| u8::try_from(chain).ok());
    Ok(Link {
        place: ActPlace {
            chain: chain.ok_or(NotAnAct("`chain` must be a number of a chain"))?,
            number: number("number").ok_or(NotAnAct("`number` must be a number"))?,
        },
        previous: hash("previous").ok_or(NotAnAct("`previous` must be a hash"))?,
        hash: hash("hash").ok_or(NotAnAct("`hash` must be a hash"))?,
        computed: hash_of(&hashed_text(act)),
    })
}

/// Writes JSON with the members of each object by name, whatever order they are held in.
fn sorted(json: &Value) -> String {
    match json {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            let members = names.into_iter().map(|name| {
                let value = members.get(name).map_or_else(String::new, sorted);
                format!("{}:{value}", Value::from(name.as_str()))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(sorted).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => json.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(json: Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn the_hash_covers_everything_but_itself_and_the_subject() {
        let act = |what: &str| json!({"what": what, "b": {"d": 1, "c": ["x", null]}, "a": true});
        let text = r#"{"a":true,"b":{"c":["x",null],"d":1},"what":"edit"}"#;
        let mut shown = members(act("edit"));
        assert_eq!(hashed_text(&shown), text);
        shown.insert("hash".to_owned(), json!("00"));
        shown.insert("subject".to_owned(), json!("ann"));
        assert_eq!(hashed_text(&shown), text);
        assert_ne!(hashed_text(&members(act("other"))), text);
    }

    #[test]
    fn a_line_without_its_chain_is_no_act() {
        let mut act = members(json!({
            "chain": 3, "number": 1, "previous": "0".repeat(64), "hash": "1".repeat(64),
        }));
        let found = link(&act).unwrap();
        assert_eq!((found.place.chain, found.place.number), (3, 1));
        assert_ne!(found.hash, found.computed);
        for name in ["chain", "number", "previous", "hash"] {
            let mut without = act.clone();
            without.remove(name);
            assert!(link(&without).is_err(), "{name}");
        }
        act.insert("chain".to_owned(), json!(300));
        assert!(link(&act).is_err());
    }
}
