//! What is left of an item once a person is erased: the item with `erased:<n>` in place of the
//! name, wherever an item says who someone is.
//!
//! The positions are those of all kinds of items at once, since no two of them use one for another
//! thing. What people write is not among them: names, descriptions, properties, contents. Nor are
//! the settings of a connection, which only people change.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::trail::{ErasedPersons, erased_name};
use serde_json::{Map, Value};

use crate::event::event_item::{EVENT, EVENTS, events_without};
use crate::table::key::{Item, Key};

/// An item without the person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Concealed {
    /// It names nobody.
    Same,
    /// It is nothing but a name.
    Deleted,
    /// It has these attributes, and its key may be another.
    Changed(Item),
}

/// Returns an item of a tenant without the persons.
pub(crate) fn conceal(item: &Item, erased: &ErasedPersons) -> Concealed {
    let Ok(key) = Key::of(item) else {
        return Concealed::Same;
    };
    if is_exempt(&key) {
        return Concealed::Same;
    }
    let named = item.get("s").and_then(|value| value.as_s().ok());
    if key.sk == "WHO" {
        return match named.is_some_and(|name| erased.name(name).is_some()) {
            true => Concealed::Deleted,
            false => Concealed::Same,
        };
    }
    let mut changed = item.clone();
    if key.sk.starts_with(EVENT) {
        return match events_without(item, erased) {
            Some(events) => {
                changed.insert(EVENTS.to_owned(), events);
                Concealed::Changed(changed)
            }
            None => Concealed::Same,
        };
    }
    for (name, value) in item {
        if let Some(after) = attribute(name, value, erased) {
            changed.insert(name.clone(), after);
        }
    }
    match changed == *item {
        true => Concealed::Same,
        false => Concealed::Changed(changed),
    }
}

/// Returns whether an item stays as it is: the acts, which name nobody, their chains, and the
/// persons that were erased.
fn is_exempt(key: &Key) -> bool {
    key.pk.contains("#AUDIT#") || key.pk.ends_with("#TRAIL")
}

/// Returns an attribute of an item without the persons; `None` if it names none.
pub(crate) fn attribute(
    name: &str,
    value: &AttributeValue,
    erased: &ErasedPersons,
) -> Option<AttributeValue> {
    if name == "SK" || name.ends_with("_sk") {
        let text = value.as_s().ok()?;
        return in_key(text, erased).map(AttributeValue::S);
    }
    conceal_value(&mut vec![name], value, erased)
}

/// Returns a sort key that names a person in the label of a permission's field: that of a conflict
/// or of an inconsistency. What follows the label is the number of the conflict.
fn in_key(text: &str, erased: &ErasedPersons) -> Option<String> {
    let (before, rest) = text.split_once("#permissions.")?;
    let (principal, number) = rest.rsplit_once('#')?;
    let principal = erased.principal(principal)?;
    Some(format!("{before}#permissions.{principal}#{number}"))
}

/// Returns whether the text at a path says who someone is.
fn is_name(path: &[&str]) -> bool {
    matches!(
        path,
        [.., "by"]
            | [.., "by", "person"]
            | ["e", _, "b"]
            | ["decided_by" | "created_by"]
            | ["export", "scope", "person"]
            | ["m", "b" | "o"]
            | ["m", "p", "l", "p"]
            | ["fields", "f" | "o" | "d"]
            | ["subject", "conflict", "field"]
    )
}

/// Returns whether the text at a path is for people, and may contain an address.
fn is_prose(path: &[&str]) -> bool {
    matches!(
        path,
        ["reason"] | ["p", "x", _] | ["p", "t", "r"] | ["l" | "p"] | ["detail"] | [.., "reason"]
    )
}

fn conceal_value<'a>(
    path: &mut Vec<&'a str>,
    value: &'a AttributeValue,
    erased: &ErasedPersons,
) -> Option<AttributeValue> {
    match value {
        AttributeValue::S(text) => {
            let shown = match path.as_slice() {
                ["body"] => in_body(text, erased),
                path if is_name(path) => erased.text(text),
                path if is_prose(path) => erased.within(text),
                _ => None,
            };
            shown.map(AttributeValue::S)
        }
        AttributeValue::L(items) => {
            let after: Vec<_> = items
                .iter()
                .map(|item| conceal_value(path, item, erased))
                .collect();
            let changed = after.iter().any(Option::is_some);
            let all = after.into_iter().zip(items);
            let all = all.map(|(after, before)| after.unwrap_or_else(|| before.clone()));
            changed.then(|| AttributeValue::L(all.collect()))
        }
        AttributeValue::M(members) => {
            let mut after = HashMap::with_capacity(members.len());
            let mut renamed = Vec::new();
            let mut changed = false;
            for (name, member) in members {
                path.push(name);
                let concealed = conceal_value(path, member, erased);
                path.pop();
                changed |= concealed.is_some();
                let member = concealed.unwrap_or_else(|| member.clone());
                // A field: the principal of its permission follows the `@`.
                let field = name
                    .strip_prefix('@')
                    .and_then(|name| erased.principal(name));
                match field {
                    Some(principal) => renamed.push((format!("@{principal}"), member)),
                    // The former name of a principal is not remembered.
                    None if *path == ["fp"] && erased.principal(name).is_some() => changed = true,
                    None => {
                        after.insert(name.clone(), member);
                    }
                }
            }
            changed |= !renamed.is_empty();
            for (name, member) in renamed {
                after.entry(name).or_insert(member);
            }
            changed.then_some(AttributeValue::M(after))
        }
        AttributeValue::B(_)
        | AttributeValue::Bool(_)
        | AttributeValue::Bs(_)
        | AttributeValue::N(_)
        | AttributeValue::Ns(_)
        | AttributeValue::Null(_)
        | AttributeValue::Ss(_)
        | _ => None,
    }
}

/// Returns the body of a dead letter: a message of ours, or what Drive answered.
pub(crate) fn in_body(text: &str, erased: &ErasedPersons) -> Option<String> {
    if erased.is_empty() {
        return None;
    }
    let mut body: Value = serde_json::from_str(text).ok()?;
    in_json(&mut body, erased).then(|| body.to_string())
}

fn in_json(value: &mut Value, erased: &ErasedPersons) -> bool {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |changed, item| in_json(item, erased) | changed),
        Value::Object(members) => in_object(members, erased),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn in_object(members: &mut Map<String, Value>, erased: &ErasedPersons) -> bool {
    let mut changed = false;
    let address = members.get("emailAddress").and_then(Value::as_str);
    // What Drive says of a user: who it is stands in several members.
    if let Some(number) = address.and_then(|address| erased.number_of(address)) {
        for name in ["emailAddress", "displayName"] {
            if let Some(member) = members.get_mut(name) {
                *member = Value::from(erased_name(number));
            }
        }
        members.remove("photoLink");
        changed = true;
    }
    for name in ["owner", "modified_by", "principal", "by"] {
        if let Some(Value::String(text)) = members.get_mut(name)
            && let Some(shown) = erased.text(text)
        {
            *text = shown;
            changed = true;
        }
    }
    if let Some(Value::Object(permissions)) = members.get_mut("permissions") {
        let names: Vec<String> = permissions.keys().cloned().collect();
        for name in names {
            if let Some(principal) = erased.principal(&name)
                && let Some(role) = permissions.remove(&name)
            {
                permissions.insert(principal, role);
                changed = true;
            }
        }
    }
    for member in members.values_mut() {
        changed |= in_json(member, erased);
    }
    changed
}

/// Returns whether Drive shows a file with the person, by its record: present, and with
/// `erased:<n>` as the owner, as who changed it last, or in a permission.
pub(crate) fn is_in_drive(record: &Item, number: u32) -> bool {
    let shown = erased_name(number);
    let map = |value: &AttributeValue, name: &str| value.as_m().ok()?.get(name).cloned();
    let Some(mirror) = record.get("m").filter(|_| !record.contains_key("g")) else {
        return false;
    };
    let is_shown = |value: AttributeValue| value.as_s().is_ok_and(|text| *text == shown);
    let is_user = ["b", "o"]
        .iter()
        .filter_map(|name| map(mirror, name))
        .any(is_shown);
    let permissions = map(mirror, "p").and_then(|all| map(&all, "l"));
    let permissions = permissions.and_then(|list| list.as_l().ok().cloned());
    let mut principals = permissions
        .into_iter()
        .flatten()
        .filter_map(|permission| map(&permission, "p"));
    let ends = format!(":{shown}");
    is_user || principals.any(|value| value.as_s().is_ok_and(|text| text.ends_with(&ends)))
}

/// Returns whether the settings of a connection name a person.
pub(crate) fn is_in_settings(connection: &Item, erased: &ErasedPersons) -> bool {
    let text = |name: &str| connection.get(name).and_then(|value| value.as_s().ok());
    let named = |text: &String| erased.text(text).is_some();
    let members = |name: &str| connection.get(name).and_then(|value| value.as_m().ok());
    let folders = members("folder_policies").into_iter();
    let of_folders = folders.flat_map(HashMap::values);
    let of_folders = of_folders.filter_map(|folder| folder.as_m().ok()?.get("policies"));
    let of_folders = of_folders.filter_map(|policies| policies.as_m().ok());
    let mut keys = ["access", "policies"]
        .into_iter()
        .filter_map(members)
        .chain(of_folders)
        .flat_map(HashMap::keys);
    let user = |key: &String| {
        let subject = key.strip_prefix("user:");
        subject.is_some_and(|subject| erased.name(subject).is_some())
    };
    ["subject", "quota_user"]
        .into_iter()
        .filter_map(text)
        .any(named)
        || keys.any(|key| named(key) || user(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> ErasedPersons {
        ErasedPersons::new(|name| match name {
            "ann@x.y" => Some(1),
            "writer" | "done" | "HEAD" => Some(2),
            _ => None,
        })
    }

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn m(members: &[(&str, AttributeValue)]) -> AttributeValue {
        let members = members.iter();
        AttributeValue::M(
            members
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    fn item(members: &[(&str, AttributeValue)]) -> Item {
        m(members).as_m().unwrap().clone()
    }

    #[test]
    fn a_record_shows_the_number_where_it_says_who_someone_is() {
        let record = |name: &str, principal: &str, former: &[(&str, AttributeValue)]| {
            let field = format!("@{principal}");
            item(&[
                ("PK", s("T#t#F#c#1abc")),
                ("SK", s("HEAD")),
                ("state", s("done")),
                (
                    "b",
                    m(&[
                        (&field, s("writer")),
                        ("n", s("ann@x.y")),
                        ("d", s("Ask ann@x.y")),
                        (".owner", s("ann@x.y")),
                        (".by", s("bob")),
                    ]),
                ),
                ("e", m(&[(&field, m(&[("b", s(name))]))])),
                ("fp", m(former)),
                (
                    "m",
                    m(&[
                        ("b", s(name)),
                        ("o", s(name)),
                        (
                            "p",
                            m(&[(
                                "l",
                                AttributeValue::L(vec![m(&[
                                    ("p", s(principal)),
                                    ("i", s("0123")),
                                    ("r", s("writer")),
                                ])]),
                            )]),
                        ),
                    ]),
                ),
            ])
        };
        let former = [("user:ann@x.y", s("0123"))];
        let before = record("Ann@x.y", "user:ann@x.y", &former);
        let after = record("erased:1", "user:erased:1", &[]);
        assert_eq!(conceal(&before, &ann()), Concealed::Changed(after.clone()));
        assert_eq!(conceal(&after, &ann()), Concealed::Same);
        assert!(is_in_drive(&after, 1) && !is_in_drive(&after, 2));
    }

    #[test]
    fn a_conflict_moves_to_the_key_with_the_number() {
        let conflict = |label: &str, by: &str| {
            item(&[
                ("PK", s("T#t#F#c#1abc")),
                ("SK", s(&format!("CONFLICT#{label}#3"))),
                ("attention_sk", s(&format!("ended#0001#1abc#{label}#3"))),
                ("base", s("writer")),
                (
                    "status",
                    m(&[("resolved", m(&[("by", m(&[("person", s(by))]))]))]),
                ),
            ])
        };
        assert_eq!(
            conceal(&conflict("permissions.user:ann@x.y", "ann@x.y"), &ann()),
            Concealed::Changed(conflict("permissions.user:erased:1", "erased:1"))
        );
        let other = conflict("properties.user:ann@x.y", "bob");
        assert_eq!(conceal(&other, &ann()), Concealed::Same);
    }

    #[test]
    fn acts_stay_and_the_mapping_of_a_name_goes() {
        let act = item(&[
            ("PK", s("T#t#AUDIT#202611#03")),
            ("SK", s("1#1")),
            ("by", s("ann@x.y")),
        ]);
        assert_eq!(conceal(&act, &ann()), Concealed::Same);
        let who = |name: &str| item(&[("PK", s("T#t#WHO#p_x")), ("SK", s("WHO")), ("s", s(name))]);
        assert_eq!(conceal(&who("ann@x.y"), &ann()), Concealed::Deleted);
        assert_eq!(conceal(&who("bob"), &ann()), Concealed::Same);
    }

    #[test]
    fn the_events_of_a_log_name_fields_and_authors_by_the_number() {
        let log = |author: &str, label: &str, state: &str| {
            let event = m(&[
                ("t", s("conflict.opened")),
                ("f", s("1abc")),
                ("n", s(state)),
                ("a", AttributeValue::N("0".to_owned())),
                ("b", s(author)),
                ("d", AttributeValue::L(vec![s(label)])),
                (
                    "x",
                    AttributeValue::L(vec![s(label), AttributeValue::N("1".to_owned())]),
                ),
            ]);
            let number = |text: &str| AttributeValue::N(text.to_owned());
            item(&[
                ("PK", s("T#t#C#c#EV")),
                ("SK", s("EV#0000000000000000001")),
                ("format", number("1")),
                ("epoch", number("1")),
                ("first", number("0")),
                ("at", number("0")),
                ("nonce", number("7")),
                ("expires", number("9")),
                ("events", AttributeValue::L(vec![event])),
            ])
        };
        let before = log(
            "user:ann@x.y",
            "permissions.user:ann@x.y",
            "permissions.user:ann@x.y-1-0",
        );
        let after = log(
            "user:erased:1",
            "permissions.user:erased:1",
            "permissions.user:erased:1-1-0",
        );
        assert_eq!(conceal(&before, &ann()), Concealed::Changed(after.clone()));
        assert_eq!(conceal(&after, &ann()), Concealed::Same);
    }

    #[test]
    fn the_body_of_a_dead_letter_stays_readable() {
        for (body, shown) in [
            (
                r#"{"snapshot":{"fields":{"permissions":{"user:ann@x.y":"owner"}}}}"#,
                Some(r#"{"snapshot":{"fields":{"permissions":{"user:erased:1":"owner"}}}}"#),
            ),
            (
                r#"{"snapshot":{"fields":{"name":"ann@x.y"},"mirror":{"owner":"ann@x.y"}}}"#,
                Some(r#"{"snapshot":{"fields":{"name":"ann@x.y"},"mirror":{"owner":"erased:1"}}}"#),
            ),
            (
                r#"{"owners":[{"displayName":"Ann","emailAddress":"Ann@X.Y"}],"title":"ann@x.y"}"#,
                Some(
                    r#"{"owners":[{"displayName":"erased:1","emailAddress":"erased:1"}],
                        "title":"ann@x.y"}"#,
                ),
            ),
            (r#"{"by":"bob"}"#, None),
            ("not JSON, from ann@x.y", None),
        ] {
            let shown = shown.map(|text| serde_json::from_str::<Value>(text).unwrap());
            let found = in_body(body, &ann());
            let found = found.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            assert_eq!(found, shown, "{body}");
        }
    }

    #[test]
    fn the_settings_of_a_connection_are_reported_and_stay() {
        let of = |subject: &str, by: &str| {
            item(&[
                ("PK", s("T#t")),
                ("SK", s("CONN#c")),
                ("subject", s(subject)),
                ("created_by", s(by)),
            ])
        };
        let before = of("ann@x.y", "ann@x.y");
        assert!(is_in_settings(&before, &ann()));
        assert_eq!(
            conceal(&before, &ann()),
            Concealed::Changed(of("ann@x.y", "erased:1"))
        );
        assert!(!is_in_settings(&of("bob@x.y", "ann@x.y"), &ann()));
    }
}
