//! What follows from a file's folders, derived when the file is read: moving a folder is one write,
//! not one for every descendant. The folders of one request are read once, each level in one call.

use std::collections::BTreeMap;

use domain::derive::{Grant, RoleOrigin, TargetState};
use domain::{Ancestry, FileId, FileRecord, Lineage, Side, Timestamp};
use serde::Serialize;
use store::{Connection, Store, StoreError};
use utoipa::ToSchema;

use crate::Deps;

/// The ancestors of the files of one request, and the targets of shortcuts among them.
pub(crate) struct DerivedView<'a> {
    store: &'a Store,
    connection: &'a Connection,
    ancestry: Ancestry,
    targets: BTreeMap<FileId, FileRecord>,
    /// The time at which it is judged what has ended by itself.
    now: Timestamp,
}

/// What follows from the folders above a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Effective)]
pub(crate) struct EffectiveView {
    /// Whether the file or a folder above it is in the trash.
    trashed: bool,
    /// By principal: the higher of the roles on the file itself and from above.
    permissions: BTreeMap<String, GrantView>,
    /// Whether every folder above it is known. If not, the path begins with `…`, and what is
    /// inherited from the unknown folders is missing.
    complete: bool,
}

/// The effective role of a principal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
struct GrantView {
    /// As Drive names it.
    role: String,
    /// Whether it is inherited.
    inherited: bool,
    /// The folder, or the root of the shared drive, that it is inherited from; null if it is on the
    /// file itself, or from a folder that can't be accessed.
    inherited_from: Option<String>,
}

impl From<Grant> for GrantView {
    fn from(grant: Grant) -> Self {
        let (inherited, inherited_from) = match grant.origin {
            RoleOrigin::Own => (false, None),
            RoleOrigin::Folder(id) => (true, Some(id.to_string())),
            RoleOrigin::Beyond(from) => (true, from),
        };
        Self {
            role: grant.role,
            inherited,
            inherited_from,
        }
    }
}

/// A shortcut's target.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shortcut)]
pub(crate) struct ShortcutView {
    target_id: String,
    /// The target's own type if the target is known, else the type that the shortcut states.
    target_mime_type: Option<String>,
    state: TargetStateView,
    /// The target as it is now, which may have another name than the shortcut; null if it is
    /// unknown.
    target: Option<TargetView>,
}

/// `broken`: the target is gone. `unknown`: the target is outside of what the connection can
/// access.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TargetState)]
enum TargetStateView {
    Ok,
    Trashed,
    Broken,
    Unknown,
}

/// The file that a shortcut points to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
struct TargetView {
    name: String,
    path: Option<String>,
}

impl<'a> DerivedView<'a> {
    /// A view without any ancestors or targets.
    pub(crate) fn new(deps: &'a Deps, connection: &'a Connection) -> Self {
        Self {
            store: &deps.store,
            connection,
            ancestry: Ancestry::below(connection.my_drive.clone()),
            targets: BTreeMap::new(),
            now: deps.clock.now(),
        }
    }

    /// Loads ancestors and targets of the files.
    pub(crate) async fn load(
        deps: &'a Deps,
        connection: &'a Connection,
        records: &[&FileRecord],
    ) -> Result<Self, StoreError> {
        let mut derived = Self::new(deps, connection);
        derived.load_targets(records).await?;
        derived.load_ancestors(records.iter().copied()).await?;
        Ok(derived)
    }

    /// Loads what decides whether the files are in scope: nothing if there are no rules.
    pub(crate) async fn load_scope(
        deps: &'a Deps,
        connection: &'a Connection,
        records: &[FileRecord],
    ) -> Result<Self, StoreError> {
        let mut derived = Self::new(deps, connection);
        if !connection.rules.is_empty() {
            derived.load_ancestors(records).await?;
        }
        Ok(derived)
    }

    /// Loads the folders above more files.
    pub(crate) async fn load_ancestors<'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r FileRecord>,
    ) -> Result<(), StoreError> {
        let ancestry = &mut self.ancestry;
        self.store
            .extend_ancestry(self.connection, ancestry, records)
            .await
    }

    /// Loads the targets of shortcuts, and their ancestors. A shortcut to a shortcut is not
    /// followed further.
    pub(crate) async fn load_targets(&mut self, records: &[&FileRecord]) -> Result<(), StoreError> {
        let targets: Vec<FileId> = records.iter().filter_map(|r| target(r)).collect();
        if targets.is_empty() {
            return Ok(());
        }
        let key = &self.connection.key;
        self.targets = self.store.load_files_consistent(key, &targets).await?;
        let ancestry = &mut self.ancestry;
        self.store
            .extend_ancestry(self.connection, ancestry, self.targets.values())
            .await
    }

    fn lineage(&self, record: &FileRecord, side: Side) -> Lineage<'_> {
        self.ancestry.lineage(&record.file, side)
    }

    /// Returns whether the rules include a file.
    pub(crate) fn in_scope(&self, record: &FileRecord) -> bool {
        let rules = &self.connection.rules;
        rules.is_empty() || rules.includes(&self.lineage(record, Side::Drive))
    }

    /// Returns whether a file or a folder above it is in the trash.
    pub(crate) fn is_trashed(&self, record: &FileRecord) -> bool {
        self.lineage(record, Side::App).trashed_by().is_some()
    }

    /// Returns a file's path by names.
    pub(crate) fn path(&self, record: &FileRecord) -> Option<String> {
        self.lineage(record, Side::App).path()
    }

    /// Returns the effective roles on a file by principal.
    pub(crate) fn permissions(&self, record: &FileRecord) -> BTreeMap<String, Grant> {
        self.lineage(record, Side::App).permissions(self.now)
    }

    /// Returns what follows from the folders above a file.
    pub(crate) fn effective(&self, record: &FileRecord) -> EffectiveView {
        let lineage = self.lineage(record, Side::App);
        EffectiveView {
            trashed: lineage.trashed_by().is_some(),
            permissions: lineage
                .permissions(self.now)
                .into_iter()
                .map(|(principal, grant)| (principal, grant.into()))
                .collect(),
            complete: lineage.is_whole(),
        }
    }

    /// Returns a shortcut's target; `None` for any other file.
    pub(crate) fn shortcut(&self, record: &FileRecord) -> Option<ShortcutView> {
        let target_id = record.metadata.shortcut_target.clone()?;
        let id = target(record);
        let state = id.as_ref().map(|id| self.ancestry.target(id));
        let known = id.and_then(|id| self.targets.get(&id));
        let known_type = known
            .map(|target| target.metadata.mime_type.clone())
            .filter(|mime_type| !mime_type.is_empty());
        Some(ShortcutView {
            target_id,
            target_mime_type: known_type.or_else(|| record.metadata.shortcut_mime_type.clone()),
            state: match state {
                Some(TargetState::There) => TargetStateView::Ok,
                Some(TargetState::Trashed) => TargetStateView::Trashed,
                Some(TargetState::Broken) => TargetStateView::Broken,
                Some(TargetState::Unknown) | None => TargetStateView::Unknown,
            },
            target: known.map(|target| TargetView {
                name: name(target),
                path: self.path(target),
            }),
        })
    }
}

/// Returns the application's name of a file.
pub(crate) fn name(record: &FileRecord) -> String {
    match record.app(&domain::Field::Name) {
        domain::Value::Text(name) => name,
        domain::Value::Null | domain::Value::Flag(_) => String::new(),
    }
}

fn target(record: &FileRecord) -> Option<FileId> {
    FileId::parse(record.metadata.shortcut_target.as_deref()?).ok()
}
