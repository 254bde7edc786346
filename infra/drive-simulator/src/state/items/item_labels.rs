//! Labels: their definitions, and the labels on items with the values of their fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

use crate::{
    errors::DriveError,
    ids::{FileId, UserId},
    state::{State, items::item_patch::Changed},
};

/// The type of a label's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LabelFieldType {
    Text,
    Integer,
    DateString,
    Selection,
    User,
}

impl LabelFieldType {
    /// Returns its name in the API, which is also that of the member with the values.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::DateString => "dateString",
            Self::Selection => "selection",
            Self::User => "user",
        }
    }
}

/// A field of a label, as its owner defined it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelField {
    #[serde(rename = "type")]
    pub(crate) kind: LabelFieldType,
    /// The ids of the choices of a selection.
    #[serde(default)]
    pub(crate) choices: BTreeSet<String>,
}

/// A label, as its owner defined it. Google has an API of its own for that; here it is the control
/// interface.
#[derive(Debug, Clone)]
pub(crate) struct LabelDefinition {
    pub(crate) fields: BTreeMap<String, LabelField>,
    /// The users who may not see it.
    pub(crate) hidden_from: BTreeSet<UserId>,
}

/// A label on an item.
#[derive(Debug, Clone)]
pub(crate) struct ItemLabel {
    pub(crate) definition: Arc<LabelDefinition>,
    /// Increases with each change.
    pub(crate) revision: u64,
    /// The values of the fields that are set.
    pub(crate) values: BTreeMap<String, Vec<String>>,
}

impl ItemLabel {
    /// Returns whether a user sees it.
    pub(crate) fn is_visible_to(&self, user: &UserId) -> bool {
        !self.definition.hidden_from.contains(user)
    }
}

/// The change of one label on an item.
#[derive(Debug, Clone)]
pub(crate) struct LabelModification {
    pub(crate) label: String,
    /// The values of fields; empty ones unset the field.
    pub(crate) fields: Vec<FieldModification>,
    pub(crate) remove: bool,
}

/// The change of one field: the values, with the type that the caller names.
#[derive(Debug, Clone)]
pub(crate) struct FieldModification {
    pub(crate) field: String,
    /// `None` unsets it.
    pub(crate) set: Option<(LabelFieldType, Vec<String>)>,
}

impl State {
    /// Changes labels of an item: all of them, or none if one change is refused. Returns the ids of
    /// the labels that were added or changed.
    ///
    /// # Errors
    /// 404 for an item or a label that the user does not see, 403 for a missing permission, 400 for
    /// a field that the label lacks and for a value that does not fit it.
    pub(crate) fn modify_labels(
        &mut self,
        user: &UserId,
        id: &str,
        modifications: &[LabelModification],
    ) -> Result<Vec<String>, DriveError> {
        let view = self.find(user, id, true)?;
        if !view.role.can_edit() {
            return Err(DriveError::insufficient_permissions(id));
        }
        let mut item = (*view.item).clone();
        let (mut shown, mut changed) = (Vec::new(), Changed::default());
        for modification in modifications {
            let name = &modification.label;
            let definition = self.label(user, name)?;
            let before = item.labels.get(name).map(|label| label.values.clone());
            if modification.remove {
                if item.labels.remove(name).is_some() {
                    changed.aspects.insert("labels");
                }
                continue;
            }
            let mut values = before.clone().unwrap_or_default();
            for change in &modification.fields {
                apply(&definition, change, &mut values)?;
            }
            shown.push(name.clone());
            if before.as_ref() == Some(&values) {
                continue;
            }
            changed.aspects.insert("labels");
            let revision = item.labels.get(name).map_or(1, |label| label.revision + 1);
            let label = ItemLabel {
                definition,
                revision,
                values,
            };
            item.labels.insert(name.clone(), label);
        }
        if changed.is_change() {
            item.version += self.rng().u64(1..=3);
            self.store(&view, item, &view.home, &changed, user);
        }
        shown.retain(|name| self.has_label(&view.item.id, name));
        Ok(shown)
    }

    /// Returns the definition of a label that a user sees.
    fn label(&self, user: &UserId, name: &str) -> Result<Arc<LabelDefinition>, DriveError> {
        let found = self.labels.get(name);
        let found = found.filter(|label| !label.hidden_from.contains(user));
        found
            .cloned()
            .ok_or_else(|| DriveError::label_not_found(name))
    }

    fn has_label(&self, id: &FileId, name: &str) -> bool {
        let item = self.items.get(id);
        item.is_some_and(|item| item.labels.contains_key(name))
    }

    /// Defines a label, or replaces its definition; items keep the one that they were given.
    pub(crate) fn define_label(&mut self, name: String, label: LabelDefinition) {
        self.labels.insert(name, Arc::new(label));
    }
}

/// Applies the change of one field to the values of a label.
fn apply(
    definition: &LabelDefinition,
    change: &FieldModification,
    values: &mut BTreeMap<String, Vec<String>>,
) -> Result<(), DriveError> {
    let name = &change.field;
    let Some(field) = definition.fields.get(name) else {
        let message = format!("The label has no field {name}.");
        return Err(DriveError::invalid_because("fieldId", message));
    };
    let Some((kind, given)) = &change.set else {
        values.remove(name);
        return Ok(());
    };
    if *kind != field.kind {
        let message = format!("The field {name} is of the type {}.", field.kind.name());
        return Err(DriveError::invalid_because("fieldModifications", message));
    }
    if let Some(bad) = given.iter().find(|value| !fits(field, value)) {
        let message = format!("{bad} is no value of the field {name}.");
        return Err(DriveError::invalid_because("fieldModifications", message));
    }
    if given.is_empty() {
        values.remove(name);
    } else {
        values.insert(name.clone(), given.clone());
    }
    Ok(())
}

fn fits(field: &LabelField, value: &str) -> bool {
    match field.kind {
        LabelFieldType::Text => !value.is_empty(),
        LabelFieldType::Integer => value.parse::<i64>().is_ok(),
        LabelFieldType::DateString => is_date(value),
        LabelFieldType::Selection => field.choices.contains(value),
        LabelFieldType::User => value.contains('@'),
    }
}

/// Returns whether a text is a date, `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let digits = |part: Option<&str>, length: usize| {
        part.filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|part| part.parse::<u32>().ok())
    };
    let mut parts = text.split('-');
    let date = (
        digits(parts.next(), 4),
        digits(parts.next(), 2),
        digits(parts.next(), 2),
        parts.next(),
    );
    let (Some(year), Some(month), Some(day), None) = date else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, real) in [
            ("2026-12-01", true),
            ("2024-02-29", true),
            ("2026-02-29", false),
            ("2000-02-29", true),
            ("1900-02-29", false),
            ("2026-04-31", false),
            ("2026-13-01", false),
            ("2026-00-10", false),
            ("2026-1-1", false),
            ("2026-12-01T00:00:00Z", false),
            ("+026-12-01", false),
            ("", false),
        ] {
            assert_eq!(is_date(text), real, "{text}");
        }
    }

    #[test]
    fn a_value_fits_the_type_of_its_field() {
        let field = |kind| LabelField {
            kind,
            choices: BTreeSet::from(["red".to_owned()]),
        };
        for (kind, good, bad) in [
            (LabelFieldType::Text, "any", ""),
            (LabelFieldType::Integer, "-7", "7.5"),
            (LabelFieldType::DateString, "2026-12-01", "today"),
            (LabelFieldType::Selection, "red", "blue"),
            (LabelFieldType::User, "ann@example.com", "ann"),
        ] {
            assert!(fits(&field(kind), good), "{kind:?}");
            assert!(!fits(&field(kind), bad), "{kind:?}");
        }
    }
}
