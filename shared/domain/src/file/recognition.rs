//! Recognises in a snapshot what a record knows: permissions by their id, parents as a set.
//!
//! Drive may name the same person otherwise from one day to the next (an address changed, a role
//! was given to an alias, an account was deleted), and lists several parents in any order. Neither
//! is a change of the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::trail::erased_principal;
use crate::{Field, FileRecord, ObservedPermission, PERMISSIONS_MAX, Snapshot, Value};

impl FileRecord {
    /// Returns the snapshot in the terms of the record:
    /// - A permission that the record knows by its id keeps its principal while the application's
    ///   edit of it is pending or in conflict. Otherwise the record follows Drive's name for it,
    ///   and so it does if the known one is only inherited and the file has one of its own.
    /// - The parent is the one that the record has, if it is still among the parents; else the one
    ///   that the application moves the file to, or moved it to; else a new one.
    pub(crate) fn recognise<'s>(&self, snapshot: &'s Snapshot) -> Cow<'s, Snapshot> {
        let mut known = Cow::Borrowed(snapshot);
        if let Some(parent) = self.parent_among(snapshot)
            && snapshot.fields.get(&Field::Parent) != Some(&parent)
        {
            known.to_mut().fields.insert(Field::Parent, parent);
        }
        for (id, principal) in self.pending_principals() {
            let shown = known.permission_to_edit(&id, &principal);
            let Some(shown) = shown.map(|shown| shown.principal.clone()) else {
                // It is gone. Whose address that is now is another question.
                known.to_mut().name_others_by_id(&id, &principal);
                continue;
            };
            if shown == principal {
                continue;
            }
            if self.sides(&Field::Permission(shown.clone())).pending() {
                // Both names are edited; the one that Drive uses counts.
                continue;
            }
            known.to_mut().rename_permission(&id, &shown, &principal);
        }
        known
    }

    /// Returns which of several parents is the file's, as far as the record is concerned.
    fn parent_among(&self, snapshot: &Snapshot) -> Option<Value> {
        let parents = &snapshot.metadata.parents;
        if parents.len() < 2 {
            return None;
        }
        let sides = self.sides(&Field::Parent);
        let is_one = |value: &&Value| match value {
            Value::Text(id) => parents.contains(id),
            Value::Null | Value::Flag(_) => false,
        };
        let sent = sides.sent.iter().map(|sent| &sent.value);
        let mut known = [sides.drive(), &sides.app].into_iter().chain(sent);
        if let Some(known) = known.find(is_one) {
            return Some(known.clone());
        }
        let new = parents.difference(&self.metadata.parents).next();
        new.or_else(|| parents.first()).cloned().map(Value::Text)
    }

    /// Returns the ids of permissions with the principals under which the application's edits of
    /// them are pending or in conflict.
    fn pending_principals(&self) -> Vec<(String, String)> {
        let pending = self.fields.iter();
        let pending = pending.filter(|(_, sides)| sides.pending() || sides.conflict.is_some());
        let pending = pending.filter_map(|(field, _)| {
            let principal = field.principal()?;
            Some((
                self.permission_id(principal)?.to_owned(),
                principal.to_owned(),
            ))
        });
        pending.collect()
    }

    /// Returns the id of the permission that a principal has, or had under this name.
    fn permission_id(&self, principal: &str) -> Option<&str> {
        match self.metadata.permission(principal) {
            Some(shown) => Some(&shown.id),
            None => self.former_principals.get(principal).map(String::as_str),
        }
    }

    /// Returns the direct permission of a principal in a state that was just read, by its id if
    /// the record knows it.
    #[must_use]
    pub fn permission_in<'s>(
        &self,
        principal: &str,
        read: &'s Snapshot,
    ) -> Option<&'s ObservedPermission> {
        let shown = match self.permission_id(principal) {
            Some(id) => read.permission_to_edit(id, principal),
            None => read.metadata.permission(principal),
        };
        shown.filter(|shown| shown.direct)
    }

    /// Returns the present name of a principal: a former address leads to the permission that it
    /// named.
    #[must_use]
    pub fn present_principal<'p>(&'p self, principal: &'p str) -> &'p str {
        let field = Field::Permission(principal.to_owned());
        if self.fields.contains_key(&field) || self.metadata.permission(principal).is_some() {
            return principal;
        }
        let id = self.former_principals.get(principal);
        let shown = self.metadata.permissions.iter();
        let shown = shown.filter(|shown| Some(&shown.id) == id);
        shown
            .map(|shown| shown.principal.as_str())
            .next()
            .unwrap_or(principal)
    }

    /// Returns the values of an edit under the present names of their principals.
    pub(crate) fn with_present_principals<'v>(
        &self,
        values: &'v BTreeMap<Field, Value>,
    ) -> Cow<'v, BTreeMap<Field, Value>> {
        if self.former_principals.is_empty() {
            return Cow::Borrowed(values);
        }
        let mut present = BTreeMap::new();
        for (field, value) in values {
            let field = match field.principal() {
                Some(principal) => {
                    let now = self.present_principal(principal);
                    let renamed = Field::Permission(now.to_owned());
                    // The present name, if both are edited.
                    if now != principal && values.contains_key(&renamed) {
                        continue;
                    }
                    renamed
                }
                None => field.clone(),
            };
            present.insert(field, value.clone());
        }
        Cow::Owned(present)
    }

    /// Remembers the names that permissions had before this record's metadata was replaced by the
    /// present one, as long as Drive shows the permission.
    pub(crate) fn remember_principals(&mut self, before: &[ObservedPermission]) {
        let shown = &self.metadata.permissions;
        // The name of a person that was erased is not remembered.
        let erased = shown
            .iter()
            .filter(|shown| erased_principal(&shown.principal).is_some());
        let erased: BTreeSet<String> = erased.map(|shown| shown.id.clone()).collect();
        for old in before {
            let renamed = shown
                .iter()
                .any(|new| new.id == old.id && new.principal != old.principal);
            if renamed && !old.principal.starts_with("id:") && !erased.contains(&old.id) {
                self.former_principals
                    .insert(old.principal.clone(), old.id.clone());
            }
        }
        if self.former_principals.is_empty() {
            return;
        }
        let ids: BTreeSet<&str> = shown.iter().map(|shown| shown.id.as_str()).collect();
        let names: BTreeSet<&str> = shown.iter().map(|shown| shown.principal.as_str()).collect();
        self.former_principals.retain(|name, id| {
            let is_former = ids.contains(id.as_str()) && !names.contains(name.as_str());
            is_former && !erased.contains(id)
        });
        while self.former_principals.len() > PERMISSIONS_MAX {
            self.former_principals.pop_first();
        }
    }
}

impl Snapshot {
    /// Returns the permission that an edit of a principal is of, given the id under which the
    /// principal is known: the one with this id, unless that is only inherited and the principal
    /// has one on the file itself.
    fn permission_to_edit(&self, id: &str, principal: &str) -> Option<&ObservedPermission> {
        let known = self.metadata.permissions.iter().find(|p| p.id == id)?;
        let own = self.metadata.permission(principal);
        let own = own.filter(|own| own.direct && !known.direct);
        Some(own.unwrap_or(known))
    }

    /// Shows a permission under another principal. A permission of somebody else that has this
    /// principal now is shown by its id.
    fn rename_permission(&mut self, id: &str, from: &str, to: &str) {
        self.name_others_by_id(id, to);
        for permission in &mut self.metadata.permissions {
            if permission.id == id {
                to.clone_into(&mut permission.principal);
            }
        }
        self.metadata.permissions.sort();
        if let Some(role) = self.fields.remove(&Field::Permission(from.to_owned())) {
            self.fields.insert(Field::Permission(to.to_owned()), role);
        }
    }

    /// Shows a permission that has this principal by its id, unless its id is this one.
    fn name_others_by_id(&mut self, id: &str, principal: &str) {
        let all = &mut self.metadata.permissions;
        let mut others = all.iter_mut().filter(|other| other.id != id);
        if let Some(other) = others.find(|other| other.principal == principal) {
            other.principal = format!("id:{}", other.id);
            let named = Field::Permission(other.principal.clone());
            if let Some(role) = self.fields.remove(&Field::Permission(principal.to_owned())) {
                self.fields.insert(named, role);
            }
        }
    }
}
