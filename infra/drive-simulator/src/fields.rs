//! Partial responses: the `fields` parameter, and JSON objects with only the selected members.
//!
//! A selection is checked against the resource's [`Shape`] before the call is executed, and it is
//! applied while the response is built, so that members that are not selected (a checksum, say) are
//! never computed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::errors::DriveError;

/// The member names of a resource, from Google's discovery document.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Members without selectable members of their own (scalars, maps, and objects that the
    /// simulator never fills), separated by spaces.
    pub(crate) leaves: &'static str,
    /// Members that are objects, or arrays of objects.
    pub(crate) parts: &'static [(&'static str, &'static Shape)],
}

/// The members of a response that the caller selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Every member.
    Everything,
    /// These members; `*` stands for every member that is not named.
    Members(BTreeMap<String, Selection>),
}

impl Selection {
    /// Selects no member, as an empty `fields` does.
    pub(crate) fn nothing() -> Self {
        Self::Members(BTreeMap::new())
    }

    /// Parses `a,b(c,d/e),*`.
    ///
    /// # Errors
    /// 400 `invalidParameter` for text that is not a selection.
    pub(crate) fn parse(text: &str) -> Result<Self, DriveError> {
        let mut parser = Parser { text, rest: text };
        let selection = parser.list()?;
        if parser.rest.is_empty() {
            Ok(selection)
        } else {
            Err(invalid_selection(text))
        }
    }

    /// Checks every name against the resource.
    ///
    /// # Errors
    /// 400 `invalidParameter` "Invalid field selection x" for the first name that the resource
    /// lacks.
    pub(crate) fn check(&self, shape: &Shape) -> Result<(), DriveError> {
        let Self::Members(members) = self else {
            return Ok(());
        };
        for (name, inner) in members {
            if name == "*" {
                // The selection below a star must fit at least one part; a resource without parts
                // has none.
                if *inner != Self::Everything
                    && !shape
                        .parts
                        .iter()
                        .any(|(_, part)| inner.check(part).is_ok())
                {
                    return Err(invalid_selection(name));
                }
            } else if let Some((_, part)) = shape.parts.iter().find(|(part, _)| part == name) {
                inner.check(part)?;
            } else if !shape
                .leaves
                .split_ascii_whitespace()
                .any(|leaf| leaf == name)
            {
                return Err(invalid_selection(name));
            }
        }
        Ok(())
    }

    /// Returns the selection within the member `name`, or `None` if the member is not selected.
    pub(crate) fn member(&self, name: &str) -> Option<&Selection> {
        match self {
            Self::Everything => Some(self),
            Self::Members(members) => members.get(name).or_else(|| members.get("*")),
        }
    }

    /// Returns the selected part of a value. An array is filtered element by element.
    pub(crate) fn filter(&self, value: Value) -> Value {
        match (self, value) {
            (Self::Everything, value) => value,
            (Self::Members(_), Value::Array(elements)) => Value::Array(
                elements
                    .into_iter()
                    .map(|element| self.filter(element))
                    .collect(),
            ),
            (Self::Members(_), Value::Object(members)) => Value::Object(
                members
                    .into_iter()
                    .filter_map(|(name, value)| {
                        self.member(&name)
                            .map(|inner| (name.clone(), inner.filter(value)))
                    })
                    .collect(),
            ),
            (Self::Members(_), value) => value,
        }
    }

    fn merge(&mut self, other: Selection) {
        match (&mut *self, other) {
            (Self::Everything, _) => {}
            (slot, Self::Everything) => *slot = Self::Everything,
            (Self::Members(mine), Self::Members(theirs)) => {
                for (name, inner) in theirs {
                    insert(mine, name, inner);
                }
            }
        }
    }
}

fn insert(members: &mut BTreeMap<String, Selection>, name: String, inner: Selection) {
    match members.get_mut(&name) {
        Some(present) => present.merge(inner),
        None => {
            members.insert(name, inner);
        }
    }
}

fn invalid_selection(name: &str) -> DriveError {
    DriveError::invalid_parameter("fields", format!("Invalid field selection {name}"))
}

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
}

impl Parser<'_> {
    fn list(&mut self) -> Result<Selection, DriveError> {
        let mut members = BTreeMap::new();
        loop {
            let (name, inner) = self.path()?;
            insert(&mut members, name, inner);
            if !self.take(',') {
                return Ok(Selection::Members(members));
            }
        }
    }

    fn path(&mut self) -> Result<(String, Selection), DriveError> {
        let name = self.name()?;
        if self.take('/') {
            let (inner_name, inner) = self.path()?;
            return Ok((
                name,
                Selection::Members(BTreeMap::from([(inner_name, inner)])),
            ));
        }
        if self.take('(') {
            let inner = self.list()?;
            return if self.take(')') {
                Ok((name, inner))
            } else {
                Err(invalid_selection(self.text))
            };
        }
        Ok((name, Selection::Everything))
    }

    fn name(&mut self) -> Result<String, DriveError> {
        let rest = self.rest.trim_start();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*')))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() || (name.contains('*') && name != "*") {
            return Err(invalid_selection(self.text));
        }
        self.rest = after.trim_start();
        Ok(name.to_owned())
    }

    fn take(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(after) => {
                self.rest = after.trim_start();
                true
            }
            None => false,
        }
    }
}

/// A JSON object that is built with only the selected members.
#[derive(Debug)]
pub(crate) struct Object<'s> {
    selection: &'s Selection,
    members: Map<String, Value>,
}

impl<'s> Object<'s> {
    /// Creates an empty object for a selection.
    pub(crate) fn new(selection: &'s Selection) -> Self {
        Self {
            selection,
            members: Map::new(),
        }
    }

    /// Adds a member if it is selected; `value` is not called otherwise.
    pub(crate) fn put<V: Into<Value>>(&mut self, name: &str, value: impl FnOnce() -> V) {
        if let Some(inner) = self.selection.member(name) {
            self.members
                .insert(name.to_owned(), inner.filter(value().into()));
        }
    }

    /// Adds an optional member if it is selected.
    pub(crate) fn put_some<V: Into<Value>>(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Option<V>,
    ) {
        if let Some(inner) = self.selection.member(name)
            && let Some(value) = value()
        {
            self.members
                .insert(name.to_owned(), inner.filter(value.into()));
        }
    }

    /// Adds a member whose value depends on the selection within it.
    pub(crate) fn put_built(
        &mut self,
        name: &str,
        build: impl FnOnce(&Selection) -> Option<Value>,
    ) {
        if let Some(inner) = self.selection.member(name)
            && let Some(value) = build(inner)
        {
            self.members.insert(name.to_owned(), value);
        }
    }

    /// Returns the finished object.
    pub(crate) fn finish(self) -> Value {
        Value::Object(self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static USER: Shape = Shape {
        leaves: "me name",
        parts: &[],
    };
    static FILE: Shape = Shape {
        leaves: "id name size",
        parts: &[("owners", &USER)],
    };
    static LIST: Shape = Shape {
        leaves: "kind nextPageToken",
        parts: &[("files", &FILE)],
    };

    fn select(text: &str) -> Selection {
        let selection = Selection::parse(text).expect("parses");
        selection.check(&LIST).expect("fits");
        selection
    }

    #[test]
    fn a_selection_keeps_what_it_names_and_nothing_else() {
        let value = json!({
            "kind": "k",
            "files": [{"id": "1", "name": "a", "size": "3", "owners": [{"me": true, "name": "o"}]}],
        });
        assert_eq!(
            select("files(id, owners/me)").filter(value.clone()),
            json!({"files": [{"id": "1", "owners": [{"me": true}]}]})
        );
        assert_eq!(
            select("files/id,files/name,kind").filter(value.clone()),
            json!({"kind": "k", "files": [{"id": "1", "name": "a"}]})
        );
        assert_eq!(select("*").filter(value.clone()), value);
        assert_eq!(
            select("*,files(id)").filter(value),
            json!({"kind": "k", "files": [{"id": "1"}]})
        );
    }

    #[test]
    fn an_unknown_name_is_refused_with_googles_error() {
        let error = Selection::parse("files(id,etag)")
            .expect("parses")
            .check(&LIST)
            .expect_err("no such field");
        assert_eq!(
            (error.status, error.reason.as_ref(), error.message.as_str()),
            (400, "invalidParameter", "Invalid field selection etag")
        );
    }

    #[test]
    fn a_selection_below_a_star_needs_a_matching_part() {
        assert!(
            Selection::parse("*/id")
                .expect("parses")
                .check(&LIST)
                .is_ok()
        );
        assert!(
            Selection::parse("*/nothing")
                .expect("parses")
                .check(&LIST)
                .is_err()
        );
    }

    #[test]
    fn invalid_selections_are_refused() {
        for text in ["", ",", "a,", "a(b", "a)b", "a//b", "a*", "(a)"] {
            assert!(Selection::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unselected_members_are_not_computed() {
        let selection = select("kind");
        let mut object = Object::new(&selection);
        object.put("kind", || "drive#fileList");
        object.put("nextPageToken", || -> String {
            panic!("must not be computed")
        });
        assert_eq!(object.finish(), json!({"kind": "drive#fileList"}));
    }
}
