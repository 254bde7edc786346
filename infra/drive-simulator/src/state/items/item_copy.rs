//! Copying items.

use std::collections::BTreeMap;

use crate::{
    errors::DriveError,
    ids::{FileId, UserId},
    state::{
        State,
        items::{
            item_edits::NewItem,
            item_patch::{Patch, PropertyPatch},
        },
    },
};

impl State {
    /// Copies an item other than a folder; `fields` overrides values of the source.
    ///
    /// # Errors
    /// 404 for an inaccessible item, 403 `cannotCopyFile` for a folder, and the errors of
    /// [`State::create`].
    pub(crate) fn copy(
        &mut self,
        user: &UserId,
        id: &str,
        new: NewItem,
        all_drives: bool,
    ) -> Result<FileId, DriveError> {
        let view = self.find(user, id, all_drives)?;
        if view.item.is_folder() {
            return Err(DriveError::new(
                403,
                "cannotCopyFile",
                "This file cannot be copied by the user.",
            ));
        }
        let source = &view.item;
        let inherited = |map: &BTreeMap<String, String>, over: PropertyPatch| {
            let mut all: PropertyPatch = map
                .iter()
                .map(|(key, value)| (key.clone(), Some(value.clone())))
                .collect();
            all.extend(over);
            all
        };
        let own_parent = source
            .parent
            .iter()
            .filter(|_| view.role.can_edit())
            .map(ToString::to_string)
            .collect();
        let fields = Patch {
            name: new
                .fields
                .name
                .or_else(|| Some(format!("Copy of {}", source.name))),
            mime_type: new
                .fields
                .mime_type
                .or_else(|| Some(source.mime_type.to_string())),
            description: new
                .fields
                .description
                .or_else(|| source.description.clone()),
            properties: inherited(&source.properties, new.fields.properties),
            app_properties: inherited(&source.app_properties, new.fields.app_properties),
            content: source.content.clone(),
            ..new.fields
        };
        let parents = if new.parents.is_empty() {
            own_parent
        } else {
            new.parents
        };
        let shortcut_target = source
            .shortcut
            .as_ref()
            .map(|shortcut| shortcut.target.to_string());
        self.create(
            user,
            NewItem {
                parents,
                shortcut_target,
                fields,
                ..new
            },
            all_drives,
        )
    }
}
