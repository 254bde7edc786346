//! Hostile input: arbitrary JSON, and real JSON with members dropped, repeated or of another type.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// The prefix of a repeated member's name until the JSON is serialised.
const TWICE: &str = "__twice__";
/// Deeper than any parser should follow.
const DEEP: usize = 5_000;

/// A change of one node of a JSON value.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// The member or item is removed.
    Drop,
    /// It is repeated, with this value.
    Double(Value),
    /// It is replaced.
    Become(Value),
    /// It is nested in this many lists: together with its surroundings, deeper than a parser should
    /// follow.
    Bury(usize),
    /// Its text is truncated, or extended by this.
    Grow(String),
}

/// The places and the changes.
pub type Mutations = Vec<(Index, Mutation)>;

/// Draws up to four mutations.
pub fn mutations() -> impl Strategy<Value = Mutations> {
    let mutation = prop_oneof![
        Just(Mutation::Drop),
        json().prop_map(Mutation::Double),
        json().prop_map(Mutation::Become),
        prop_oneof![Just(1), Just(127)].prop_map(Mutation::Bury),
        text().prop_map(Mutation::Grow),
    ];
    vec((any::<Index>(), mutation), 1..5)
}

/// Draws texts that are known to break parsers.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => ".{0,20}",
        1 => "\\PC{0,20}",
        1 => prop::sample::select(vec![
            String::new(), "\u{0}".to_owned(), "\n".to_owned(), "\u{feff}".to_owned(),
                "\u{202e}txt.exe".to_owned(),
            "\u{fffe}".to_owned(), "\u{ffff}".to_owned(), "../..".to_owned(), "a/b".to_owned(),
                "#".to_owned(),
            "T#x#C#y".to_owned(), "-1".to_owned(), "NaN".to_owned(), "1e999".to_owned(),
                "null".to_owned(),
            "18446744073709551615".to_owned(), "18446744073709551616".to_owned(),
            "0000-00-00T00:00:00Z".to_owned(), "9999-12-31T23:59:59.999Z".to_owned(),
                "%00".to_owned(),
            "%zz".to_owned(), "'\"<>&;".to_owned(), "x".repeat(5_000), "\u{1f600}".repeat(700),
        ]),
    ]
}

/// Draws any JSON value of limited size.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1e300)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4)
                .prop_map(|members| { Value::Object(members.into_iter().collect()) }),
        ]
    })
}

/// Draws any bytes, including almost valid JSON.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => vec(any::<u8>(), 0..200),
        1 => json().prop_map(|value| value.to_string().into_bytes()),
        1 => (json(), any::<Index>()).prop_map(|(value, at)| {
            let mut bytes = value.to_string().into_bytes();
            bytes.truncate(at.index(bytes.len().max(1)));
            bytes
        }),
        1 => Just("[".repeat(DEEP).into_bytes()),
        1 => Just("{\"a\":".repeat(DEEP).into_bytes()),
    ]
}

/// Returns a real value with all mutations, as text.
pub fn mutated(real: &Value, mutations: &Mutations) -> String {
    let mut value = real.clone();
    for (place, mutation) in mutations {
        let nodes = count(&value);
        // The root is not mutated: arbitrary JSON is drawn separately.
        let mut at = if nodes > 1 {
            1 + place.index(nodes - 1)
        } else {
            0
        };
        apply(&mut value, &mut at, mutation);
    }
    value.to_string().replace(&format!("\"{TWICE}"), "\"")
}

/// Returns text with bytes flipped, removed or repeated.
pub fn damaged(real: &[u8], damage: &[(Index, u8)]) -> Vec<u8> {
    let mut bytes = real.to_vec();
    for (place, how) in damage {
        if bytes.is_empty() {
            return bytes;
        }
        let at = place.index(bytes.len());
        match how % 4 {
            0 => bytes[at] ^= how | 1,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, *how),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Draws the changes of [`damaged`].
pub fn damage() -> impl Strategy<Value = Vec<(Index, u8)>> {
    vec((any::<Index>(), any::<u8>()), 1..4)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Mutates the node number `at`, counted from the root. Returns whether it was found.
fn apply(value: &mut Value, at: &mut usize, mutation: &Mutation) -> bool {
    if *at == 0 {
        become_other(value, mutation);
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => {
            for number in 0..items.len() {
                if *at == 0 {
                    match mutation {
                        Mutation::Drop => drop(items.remove(number)),
                        Mutation::Double(other) => items.insert(number, other.clone()),
                        Mutation::Become(_) | Mutation::Bury(_) | Mutation::Grow(_) => {
                            become_other(&mut items[number], mutation);
                        }
                    }
                    return true;
                }
                if apply(&mut items[number], at, mutation) {
                    return true;
                }
            }
        }
        Value::Object(members) => {
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                if *at == 0 {
                    match mutation {
                        Mutation::Drop => drop(members.remove(&name)),
                        Mutation::Double(other) => {
                            members.insert(format!("{TWICE}{name}"), other.clone());
                        }
                        Mutation::Become(_) | Mutation::Bury(_) | Mutation::Grow(_) => {
                            become_other(members.get_mut(&name).unwrap(), mutation);
                        }
                    }
                    return true;
                }
                if apply(members.get_mut(&name).unwrap(), at, mutation) {
                    return true;
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    false
}

fn become_other(value: &mut Value, mutation: &Mutation) {
    match mutation {
        Mutation::Drop => *value = Value::Null,
        Mutation::Double(other) | Mutation::Become(other) => *value = other.clone(),
        Mutation::Bury(depth) => {
            for _ in 0..*depth {
                *value = json!([value.take()]);
            }
        }
        Mutation::Grow(more) => match value {
            Value::String(text) if more.is_empty() => {
                text.pop();
            }
            Value::String(text) => text.push_str(more),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                *value = json!(more);
            }
        },
    }
}
