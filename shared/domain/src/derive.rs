//! What a file's state means, seen from the folders above it: its path, whether it lies in the trash,
//! whom it is open to, whether the rules take it in.
//!
//! Nothing of this is stored. A folder that moves, or goes into the trash, is one record that changes;
//! what lies below it, be it ten thousand files, is right as soon as that record is.

mod path;
mod permissions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::merge::Sides;
use crate::{Field, FileId, FileRecord, Value};

pub use path::{PATH_BYTES_MAX, path_names};
pub use permissions::{Grant, Origin};

/// Folders that are followed upwards. Drive allows 100 levels ("My Drive" error
/// `myDriveHierarchyDepthLimitExceeded`, "shared drive limits" guide); a move that we have seen half may
/// show some more.
pub const LEVELS_MAX: usize = 128;

/// Which side of a file's name and parent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The application's: what it sees and may have changed already.
    App,
    /// Drive's, as last observed.
    Drive,
}

impl FileRecord {
    /// Whether the file has another name or lies in another folder in Drive than it did `before`: what rules go by.
    #[must_use]
    pub fn moved_in_drive_since(&self, before: &Self) -> bool {
        [Field::Name, Field::Parent]
            .iter()
            .any(|field| text(self, field, Side::Drive) != text(before, field, Side::Drive))
    }
}

/// What the folders above need to tell of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    present: bool,
    app: Place,
    drive: Place,
    trashed: bool,
    mime_type: String,
    drive_id: Option<FileId>,
    /// By principal: the role on the item itself, as the application has it.
    direct: Vec<(String, String)>,
    /// What Drive shows that comes from above: principal, role, and where from.
    inherited: Vec<(String, String, Option<String>)>,
    /// Nothing comes down from above but to owners and organizers.
    limited: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    parent: Option<FileId>,
}

impl Node {
    fn of(record: &FileRecord) -> Self {
        let place = |side| Place {
            name: text(record, &Field::Name, side).unwrap_or_default(),
            parent: text(record, &Field::Parent, side).and_then(|id| FileId::parse(&id).ok()),
        };
        let drive_id = record.mirror.drive_id.as_deref();
        Self {
            present: !record.is_gone(),
            app: place(Side::App),
            drive: place(Side::Drive),
            trashed: record.app(&Field::Trashed) == Value::Flag(true),
            mime_type: record.mirror.mime_type.clone(),
            drive_id: drive_id.and_then(|id| FileId::parse(id).ok()),
            direct: direct(record),
            inherited: inherited(record),
            limited: record.mirror.inherited_permissions_disabled,
        }
    }

    fn place(&self, side: Side) -> &Place {
        match side {
            Side::App => &self.app,
            Side::Drive => &self.drive,
        }
    }
}

/// The roles on an item itself. What opens only a view of it gives none.
fn direct(record: &FileRecord) -> Vec<(String, String)> {
    let role = |(field, sides): (&Field, &Sides<Value>)| match (field, &sides.app) {
        (Field::Permission(principal), Value::Text(role)) => {
            Some((principal.clone(), role.clone()))
        }
        (_, Value::Null | Value::Flag(_) | Value::Text(_)) => None,
    };
    record.fields.iter().filter_map(role).collect()
}

fn inherited(record: &FileRecord) -> Vec<(String, String, Option<String>)> {
    let all = record.mirror.permissions.iter();
    all.filter(|shown| shown.inherited && !shown.direct && shown.view.is_none())
        .map(|shown| {
            let from = shown.inherited_from.clone();
            (shown.principal.clone(), shown.role.clone(), from)
        })
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

/// The items that a reader has come across, and the folders above them.
///
/// To be filled level by level: [`Ancestry::missing`] names what is to be looked up next, for all files
/// at once, so that a list of a hundred files costs as many reads as the deepest has folders above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ancestry {
    /// The root of the connection's My Drive, where it is known.
    root: Option<FileId>,
    /// By id; `None` where we hold no record.
    known: BTreeMap<FileId, Option<Node>>,
    wanted: BTreeSet<FileId>,
}

impl Ancestry {
    /// Nothing yet, but for where the user's My Drive begins. (A shared drive's root has the drive's id.)
    #[must_use]
    pub fn below(root: Option<FileId>) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// Takes a record in; later ones of the same file change nothing.
    pub fn add(&mut self, record: &FileRecord) {
        if !matches!(self.known.get(&record.file), None | Some(None)) {
            return;
        }
        let node = Node::of(record);
        let parents = [&node.app.parent, &node.drive.parent];
        self.wanted.extend(parents.into_iter().flatten().cloned());
        self.known.insert(record.file.clone(), Some(node));
    }

    /// Takes note that there is no record of an item.
    pub fn add_unknown(&mut self, file: FileId) {
        self.known.entry(file).or_insert(None);
    }

    /// The folders that are named as parents and were not looked up yet: the next level.
    pub fn missing(&mut self) -> Vec<FileId> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted
            .into_iter()
            .filter(|id| !self.known.contains_key(id))
            .collect()
    }

    /// What became of an item that a shortcut points to.
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

    /// A file and the folders above it. Ends at the drive's root, and anywhere else where it can't go on.
    #[must_use]
    pub fn lineage(&self, file: &FileId, side: Side) -> Lineage<'_> {
        let mut nodes: Vec<(&FileId, &Node)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut root = None;
        let mut next = Some(file.clone());
        let top = loop {
            let Some(id) = next else {
                break Top::Hidden;
            };
            let below = nodes.last().map(|(_, node)| *node);
            let found = self.known.get_key_value(&id);
            let found = found.and_then(|(id, node)| Some((id, node.as_ref()?)));
            let found = found.filter(|(_, node)| node.present || below.is_none());
            let drive_id = found.map_or(below, |(_, node)| Some(node));
            let drive_id = drive_id.and_then(|node| node.drive_id.as_ref());
            if self.root.as_ref() == Some(&id) || drive_id == Some(&id) {
                root = found;
                break Top::Root(id);
            }
            if seen.contains(&id) {
                break Top::Circle(id);
            }
            let Some((id, node)) = found else {
                break Top::Unknown(id);
            };
            if nodes.len() == LEVELS_MAX {
                break Top::TooDeep(id.clone());
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

/// What became of an item that a shortcut points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// It is there.
    There,
    /// It is in the trash, by itself or since a folder above it is.
    Trashed,
    /// It is gone, or out of reach.
    Broken,
    /// We hold no record of it.
    Unknown,
}

/// Where the way up from a file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Top {
    /// At the root of My Drive or of a shared drive: everything above the file is known.
    Root(FileId),
    /// At an item that Drive shows us no folder of: it was shared with us.
    Hidden,
    /// At a folder that we hold no record of, or that is gone.
    Unknown(FileId),
    /// At a folder that was passed before: of two moves, one was seen.
    Circle(FileId),
    /// At a folder so high that we stop.
    TooDeep(FileId),
}

/// A file and the folders above it, as one side has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage<'a> {
    /// The file first. Drives' roots are not among them.
    nodes: Vec<(&'a FileId, &'a Node)>,
    /// The drive's root, where there is a record of it.
    root: Option<(&'a FileId, &'a Node)>,
    top: Top,
    side: Side,
}

impl Lineage<'_> {
    /// Where the way up ends.
    #[must_use]
    pub fn top(&self) -> &Top {
        &self.top
    }

    /// Whether every folder above the file is known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self.top {
            Top::Root(_) => true,
            Top::Hidden | Top::Unknown(_) | Top::Circle(_) | Top::TooDeep(_) => false,
        }
    }

    /// The nearest item, the file itself or a folder above it, that was put into the trash.
    #[must_use]
    pub fn trashed_by(&self) -> Option<&FileId> {
        let trashed = self.nodes.iter().find(|(_, node)| node.trashed);
        trashed.map(|(id, _)| *id)
    }

    /// The file's place by names, escaped: `/Folder/name` below its drive's root, `…/Folder/name` where
    /// what is above can't be told. `None` where the file itself is unknown.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let names = self.names();
        match &self.top {
            Top::Root(_) => Some(path::joined(&names, true)),
            Top::Hidden | Top::Unknown(_) | Top::Circle(_) | Top::TooDeep(_) => {
                (!names.is_empty()).then(|| path::joined(&names, false))
            }
        }
    }

    /// The names of the file and of the folders above it, the file's first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let nodes = self.nodes.iter();
        nodes
            .map(|(_, node)| node.place(self.side).name.as_str())
            .collect()
    }

    /// Whether the item is the file, or a folder that is known to be above it.
    pub(crate) fn has(&self, item: &FileId) -> bool {
        let top = match &self.top {
            Top::Root(id) | Top::Unknown(id) | Top::Circle(id) | Top::TooDeep(id) => Some(id),
            Top::Hidden => None,
        };
        top == Some(item) || self.nodes.iter().any(|(id, _)| *id == item)
    }

    /// The file's MIME type; empty where it is unknown.
    pub(crate) fn mime_type(&self) -> &str {
        let file = self.nodes.first();
        file.map_or("", |(_, node)| node.mime_type.as_str())
    }
}
