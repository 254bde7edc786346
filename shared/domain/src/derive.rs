//! Derived state of a file, from the folders above it: its path, whether it is in the trash, its
//! effective permissions, and whether the rules include it.
//!
//! Nothing of this is stored. A folder that is moved or trashed is one record that changes, and the
//! derived state of everything below it, be it ten thousand files, is right immediately.

mod path;
mod permissions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::Sides;
use crate::{Field, FileId, FileRecord, ObservedPermission, Timestamp, Value};

pub use path::{PATH_BYTES_MAX, path_names};
pub use permissions::{Grant, RoleOrigin};

/// The most folders that are followed upwards. Drive allows 100 levels ("My Drive" error
/// `myDriveHierarchyDepthLimitExceeded`, "shared drive limits" guide). A move of which only one
/// half was observed may show a few more.
pub const LEVELS_MAX: usize = 128;

/// The side whose name and parent count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The application's: its view, including its own edits.
    App,
    /// Drive's, as last observed.
    Drive,
}

impl FileRecord {
    /// Returns whether the file's name or parent in Drive differs from `before`. Rules are matched
    /// against these.
    #[must_use]
    pub fn moved_in_drive_since(&self, before: &Self) -> bool {
        [Field::Name, Field::Parent]
            .iter()
            .any(|field| text(self, field, Side::Drive) != text(before, field, Side::Drive))
    }
}

/// The state of one item that matters to the files below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    present: bool,
    app: NameAndParent,
    drive: NameAndParent,
    trashed: bool,
    mime_type: String,
    drive_id: Option<FileId>,
    /// The roles on the item itself, as the application has them.
    direct: Vec<Role>,
    /// The inherited roles that Drive shows.
    inherited: Vec<Role>,
    /// True if only owners and organizers inherit permissions from above.
    limited: bool,
}

/// A role on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Role {
    principal: String,
    role: String,
    /// The source, of an inherited one.
    from: Option<String>,
    /// The time at which it ends by itself. Drive reports the end late, or not at all, so the time
    /// itself counts.
    ends_at: Option<Timestamp>,
}

impl Role {
    fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NameAndParent {
    name: String,
    parent: Option<FileId>,
}

impl Node {
    fn of(record: &FileRecord) -> Self {
        let place = |side| NameAndParent {
            name: text(record, &Field::Name, side).unwrap_or_default(),
            parent: text(record, &Field::Parent, side).and_then(|id| FileId::parse(&id).ok()),
        };
        let drive_id = record.metadata.drive_id.as_deref();
        Self {
            present: !record.is_gone(),
            app: place(Side::App),
            drive: place(Side::Drive),
            trashed: record.app(&Field::Trashed) == Value::Flag(true),
            mime_type: record.metadata.mime_type.clone(),
            drive_id: drive_id.and_then(|id| FileId::parse(id).ok()),
            direct: direct(record),
            inherited: inherited(record),
            limited: record.metadata.inherited_permissions_disabled,
        }
    }

    fn place(&self, side: Side) -> &NameAndParent {
        match side {
            Side::App => &self.app,
            Side::Drive => &self.drive,
        }
    }
}

/// Returns the roles on an item itself. A permission limited to a view grants none. Drive's end of
/// a permission applies to the role that Drive shows, and not to another one that the application
/// wants.
fn direct(record: &FileRecord) -> Vec<Role> {
    let shown = |principal: &str| record.metadata.permission(principal);
    let role = |(field, sides): (&Field, &Sides<Value>)| match (field, &sides.app) {
        (Field::Permission(principal), Value::Text(role)) => Some(Role {
            principal: principal.clone(),
            role: role.clone(),
            from: None,
            ends_at: shown(principal)
                .filter(|_| sides.app == *sides.drive())
                .and_then(|shown| shown.expires_at),
        }),
        (_, Value::Null | Value::Flag(_) | Value::Text(_)) => None,
    };
    record.fields.iter().filter_map(role).collect()
}

fn inherited(record: &FileRecord) -> Vec<Role> {
    let role = |shown: &ObservedPermission| Role {
        principal: shown.principal.clone(),
        role: shown.role.clone(),
        from: shown.inherited_from.clone(),
        ends_at: shown.expires_at,
    };
    let all = record.metadata.permissions.iter();
    all.filter(|shown| shown.inherited && !shown.direct && shown.view.is_none())
        .map(role)
        .collect()
}

fn text(record: &FileRecord, field: &Field, side: Side) -> Option<String> {
    let sides = record.fields.get(field)?;
    let value = match side {
        Side::App => &sides.app,
        Side::Drive => sides.drive(),
    };
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null | Value::Flag(_) => None,
    }
}

/// A set of items and of the folders above them.
///
/// Filled level by level: [`Ancestry::missing`] returns the ids to load next for all files at once,
/// so that a list of a hundred files costs as many reads as the deepest one has folders above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ancestry {
    /// The root of the connection's My Drive, if known.
    root: Option<FileId>,
    /// The items by id; `None` for an item without a record.
    known: BTreeMap<FileId, Option<Node>>,
    wanted: BTreeSet<FileId>,
}

impl Ancestry {
    /// Creates an empty set, with the root of the user's My Drive if known. (A shared drive's root
    /// has the drive's id.)
    #[must_use]
    pub fn below(root: Option<FileId>) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// Adds a record. A second record of the same file is ignored.
    pub fn add(&mut self, record: &FileRecord) {
        if !matches!(self.known.get(&record.file), None | Some(None)) {
            return;
        }
        let node = Node::of(record);
        let parents = [&node.app.parent, &node.drive.parent];
        self.wanted.extend(parents.into_iter().flatten().cloned());
        self.known.insert(record.file.clone(), Some(node));
    }

    /// Adds the folders that a record names on any side: all of its places.
    pub fn want_places(&mut self, record: &FileRecord) {
        self.wanted.extend(record.places().into_iter().flatten());
    }

    /// Records that there is no record of an item.
    pub fn add_unknown(&mut self, file: FileId) {
        self.known.entry(file).or_insert(None);
    }

    /// Returns the parents that were not loaded yet: the next level.
    pub fn missing(&mut self) -> Vec<FileId> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted
            .into_iter()
            .filter(|id| !self.known.contains_key(id))
            .collect()
    }

    /// Returns the state of a shortcut's target.
    #[must_use]
    pub fn target(&self, item: &FileId) -> TargetState {
        match self.known.get(item).and_then(Option::as_ref) {
            None => TargetState::Unknown,
            Some(node) if !node.present => TargetState::Broken,
            Some(_) => match self.lineage(item, Side::App).trashed_by() {
                Some(_) => TargetState::Trashed,
                None => TargetState::There,
            },
        }
    }

    /// Returns a file and the folders above it, up to the drive's root or as far as known.
    #[must_use]
    pub fn lineage(&self, file: &FileId, side: Side) -> Lineage<'_> {
        self.walk(file, side, true)
    }

    /// Returns a folder that a file is in, and the folders above it. Unlike a file that is looked
    /// at, a folder that is gone is not known as one that something is in.
    pub(crate) fn place(&self, folder: &FileId, side: Side) -> Lineage<'_> {
        self.walk(folder, side, false)
    }

    fn walk(&self, file: &FileId, side: Side, may_be_gone: bool) -> Lineage<'_> {
        let mut nodes: Vec<(&FileId, &Node)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut root = None;
        let mut next = Some(file.clone());
        let top = loop {
            let Some(id) = next else {
                break LineageTop::Hidden;
            };
            let below = nodes.last().map(|(_, node)| *node);
            let found = self.known.get_key_value(&id);
            let found = found.and_then(|(id, node)| Some((id, node.as_ref()?)));
            let is_first = below.is_none() && may_be_gone;
            let found = found.filter(|(_, node)| node.present || is_first);
            let drive_id = found.map_or(below, |(_, node)| Some(node));
            let drive_id = drive_id.and_then(|node| node.drive_id.as_ref());
            if self.root.as_ref() == Some(&id) || drive_id == Some(&id) {
                root = found;
                break LineageTop::Root(id);
            }
            if seen.contains(&id) {
                break LineageTop::Circle(id);
            }
            let Some((id, node)) = found else {
                break LineageTop::Unknown(id);
            };
            if nodes.len() == LEVELS_MAX {
                break LineageTop::TooDeep(id.clone());
            }
            seen.insert(id.clone());
            nodes.push((id, node));
            next = node.place(side).parent.clone();
        };
        Lineage {
            nodes,
            root,
            top,
            side,
        }
    }
}

/// The state of a shortcut's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// It exists.
    There,
    /// It is in the trash, itself or through a folder above.
    Trashed,
    /// It is gone or inaccessible.
    Broken,
    /// There is no record of it.
    Unknown,
}

/// The end of a lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageTop {
    /// The root of My Drive or of a shared drive: everything above the file is known.
    Root(FileId),
    /// An item for which Drive shows no parent: it was shared with the user.
    Hidden,
    /// A folder without a record, or one that is gone.
    Unknown(FileId),
    /// A folder that occurs twice: only one of two moves was observed.
    Circle(FileId),
    /// The folder at which the limit of levels was reached.
    TooDeep(FileId),
}

/// A file and the folders above it, on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage<'a> {
    /// The nodes, the file first, without the drive's root.
    nodes: Vec<(&'a FileId, &'a Node)>,
    /// The drive's root, if there is a record of it.
    root: Option<(&'a FileId, &'a Node)>,
    top: LineageTop,
    side: Side,
}

impl Lineage<'_> {
    /// Returns the end of the lineage.
    #[must_use]
    pub fn top(&self) -> &LineageTop {
        &self.top
    }

    /// Returns whether every folder above the file is known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self.top {
            LineageTop::Root(_) => true,
            LineageTop::Hidden
            | LineageTop::Unknown(_)
            | LineageTop::Circle(_)
            | LineageTop::TooDeep(_) => false,
        }
    }

    /// Returns the nearest item, the file itself or a folder above it, that was put into the trash.
    #[must_use]
    pub fn trashed_by(&self) -> Option<&FileId> {
        let trashed = self.nodes.iter().find(|(_, node)| node.trashed);
        trashed.map(|(id, _)| *id)
    }

    /// Returns the escaped path: `/Folder/name` below the drive's root, `…/Folder/name` if the
    /// folders above are not known. Returns `None` if the file itself is unknown.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let names = self.names();
        match &self.top {
            LineageTop::Root(_) => Some(path::joined(&names, true)),
            LineageTop::Hidden
            | LineageTop::Unknown(_)
            | LineageTop::Circle(_)
            | LineageTop::TooDeep(_) => (!names.is_empty()).then(|| path::joined(&names, false)),
        }
    }

    /// Returns the names of the file and the folders above it, the file's first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let nodes = self.nodes.iter();
        nodes
            .map(|(_, node)| node.place(self.side).name.as_str())
            .collect()
    }

    /// Returns the ids of the file and the known folders above it, up to the drive's root.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &FileId> {
        let root = match &self.top {
            LineageTop::Root(id) => Some(id),
            LineageTop::Hidden
            | LineageTop::Unknown(_)
            | LineageTop::Circle(_)
            | LineageTop::TooDeep(_) => None,
        };
        self.nodes.iter().map(|(id, _)| *id).chain(root)
    }

    /// Returns whether an item is the file itself or a known folder above it.
    #[must_use]
    pub fn contains(&self, item: &FileId) -> bool {
        let top = match &self.top {
            LineageTop::Root(id)
            | LineageTop::Unknown(id)
            | LineageTop::Circle(id)
            | LineageTop::TooDeep(id) => Some(id),
            LineageTop::Hidden => None,
        };
        top == Some(item) || self.nodes.iter().any(|(id, _)| *id == item)
    }

    /// Returns the file's MIME type; empty if unknown.
    pub(crate) fn mime_type(&self) -> &str {
        let file = self.nodes.first();
        file.map_or("", |(_, node)| node.mime_type.as_str())
    }
}
