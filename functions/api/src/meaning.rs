//! What files mean, derived when they are read: a folder that moves is one write, not one for every
//! descendant. The folders of one request are read once, a level in one call.

use std::collections::{BTreeMap, BTreeSet};

use domain::derive::{Grant, Origin, TargetState};
use domain::{Ancestry, FileId, FileRecord, Lineage, Side};
use serde::Serialize;
use store::{Connection, Store, StoreError};
use utoipa::ToSchema;

use crate::Deps;
use crate::problem::{Kind, Problem};

/// The folders above the files of one request, and what shortcuts among them point to.
pub(crate) struct Meaning<'a> {
    store: &'a Store,
    connection: &'a Connection,
    ancestry: Ancestry,
    targets: BTreeMap<FileId, FileRecord>,
}

/// What follows from the folders above a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Effective)]
pub(crate) struct EffectiveView {
    /// Whether it is in the trash, by itself or since a folder above it is.
    trashed: bool,
    /// By principal: the role that each has, on the file itself or from above, whichever is higher.
    permissions: BTreeMap<String, GrantView>,
    /// Whether every folder above it is known. Where it is not, the path begins with `…`, and what
    /// would come down from above is missing here.
    complete: bool,
}

/// The role that somebody has in effect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
struct GrantView {
    /// In Drive's word.
    role: String,
    /// Whether it comes from above.
    inherited: bool,
    /// The folder, or the root of the shared drive, that it comes from; null where it is on the file
    /// itself, or from further above than we can look.
    inherited_from: Option<String>,
}

impl From<Grant> for GrantView {
    fn from(grant: Grant) -> Self {
        let (inherited, inherited_from) = match grant.origin {
            Origin::Own => (false, None),
            Origin::Folder(id) => (true, Some(id.to_string())),
            Origin::Beyond(from) => (true, from),
        };
        Self {
            role: grant.role,
            inherited,
            inherited_from,
        }
    }
}

/// Where a shortcut points.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shortcut)]
pub(crate) struct ShortcutView {
    target_id: String,
    /// The target's own type where we hold it, else what the shortcut says.
    target_mime_type: Option<String>,
    state: TargetStateView,
    /// The target as it is now, whatever the shortcut's own name says; null where we hold none.
    target: Option<TargetView>,
}

/// `broken`: the target is gone. `unknown`: we hold nothing of it, as it lies where we can't look.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TargetState)]
enum TargetStateView {
    Ok,
    Trashed,
    Broken,
    Unknown,
}

/// What a shortcut points to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
struct TargetView {
    name: String,
    path: Option<String>,
}

impl<'a> Meaning<'a> {
    /// Nothing is known yet.
    pub(crate) fn of(deps: &'a Deps, connection: &'a Connection) -> Self {
        Self {
            store: &deps.store,
            connection,
            ancestry: Ancestry::below(connection.my_drive.clone()),
            targets: BTreeMap::new(),
        }
    }

    /// Everything about these files.
    pub(crate) async fn whole(
        deps: &'a Deps,
        connection: &'a Connection,
        records: &[&FileRecord],
    ) -> Result<Self, StoreError> {
        let mut meaning = Self::of(deps, connection);
        meaning.point(records).await?;
        meaning.climb(records.iter().copied()).await?;
        Ok(meaning)
    }

    /// Whether these files are in scope, which costs nothing where there are no rules.
    pub(crate) async fn scope(
        deps: &'a Deps,
        connection: &'a Connection,
        records: &[FileRecord],
    ) -> Result<Self, StoreError> {
        let mut meaning = Self::of(deps, connection);
        if !connection.rules.is_empty() {
            meaning.climb(records).await?;
        }
        Ok(meaning)
    }

    /// Reads the folders above more files.
    pub(crate) async fn climb<'r>(
        &mut self,
        records: impl IntoIterator<Item = &'r FileRecord>,
    ) -> Result<(), StoreError> {
        let ancestry = &mut self.ancestry;
        self.store
            .extend_ancestry(self.connection, ancestry, records)
            .await
    }

    /// Reads what shortcuts point to, and the folders above that. One step: a shortcut to a shortcut shows
    /// the shortcut.
    pub(crate) async fn point(&mut self, records: &[&FileRecord]) -> Result<(), StoreError> {
        let targets: Vec<FileId> = records.iter().filter_map(|r| target(r)).collect();
        if targets.is_empty() {
            return Ok(());
        }
        let key = &self.connection.key;
        self.targets = self.store.load_files_now(key, &targets).await?;
        let ancestry = &mut self.ancestry;
        self.store
            .extend_ancestry(self.connection, ancestry, self.targets.values())
            .await
    }

    fn lineage(&self, record: &FileRecord, side: Side) -> Lineage<'_> {
        self.ancestry.lineage(&record.file, side)
    }

    /// Whether the rules take a file in.
    pub(crate) fn in_scope(&self, record: &FileRecord) -> bool {
        let rules = &self.connection.rules;
        rules.is_empty() || rules.take(&self.lineage(record, Side::Drive))
    }

    pub(crate) fn is_trashed(&self, record: &FileRecord) -> bool {
        self.lineage(record, Side::App).trashed_by().is_some()
    }

    pub(crate) fn path(&self, record: &FileRecord) -> Option<String> {
        self.lineage(record, Side::App).path()
    }

    /// Who has access to a file, by principal.
    pub(crate) fn permissions(&self, record: &FileRecord) -> BTreeMap<String, Grant> {
        self.lineage(record, Side::App).permissions()
    }

    pub(crate) fn effective(&self, record: &FileRecord) -> EffectiveView {
        let lineage = self.lineage(record, Side::App);
        EffectiveView {
            trashed: lineage.trashed_by().is_some(),
            permissions: lineage
                .permissions()
                .into_iter()
                .map(|(principal, grant)| (principal, grant.into()))
                .collect(),
            complete: lineage.is_whole(),
        }
    }

    /// Where a shortcut points; `None` for what is none.
    pub(crate) fn shortcut(&self, record: &FileRecord) -> Option<ShortcutView> {
        let target_id = record.mirror.shortcut_target.clone()?;
        let id = target(record);
        let state = id.as_ref().map(|id| self.ancestry.target(id));
        let held = id.and_then(|id| self.targets.get(&id));
        let held_type = held.map(|held| held.mirror.mime_type.clone());
        let held_type = held_type.filter(|kind| !kind.is_empty());
        Some(ShortcutView {
            target_id,
            target_mime_type: held_type.or_else(|| record.mirror.shortcut_mime_type.clone()),
            state: match state {
                Some(TargetState::There) => TargetStateView::Ok,
                Some(TargetState::Trashed) => TargetStateView::Trashed,
                Some(TargetState::Broken) => TargetStateView::Broken,
                Some(TargetState::Unknown) | None => TargetStateView::Unknown,
            },
            target: held.map(|held| TargetView {
                name: name(held),
                path: self.path(held),
            }),
        })
    }
}

fn name(record: &FileRecord) -> String {
    match record.app(&domain::Field::Name) {
        domain::Value::Text(name) => name,
        domain::Value::Null | domain::Value::Flag(_) => String::new(),
    }
}

fn target(record: &FileRecord) -> Option<FileId> {
    FileId::parse(record.mirror.shortcut_target.as_deref()?).ok()
}

/// Which of these files are out of scope. Reads nothing where there are no rules.
pub(crate) async fn out_of_scope(
    deps: &Deps,
    connection: &Connection,
    files: &[FileId],
) -> Result<BTreeSet<FileId>, StoreError> {
    if connection.rules.is_empty() || files.is_empty() {
        return Ok(BTreeSet::new());
    }
    let records = deps.store.load_files_now(&connection.key, files).await?;
    let mut meaning = Meaning::of(deps, connection);
    meaning.climb(records.values()).await?;
    let out = records.values().filter(|record| !meaning.in_scope(record));
    Ok(out.map(|record| record.file.clone()).collect())
}

/// What is said to who writes on a file that is out of scope.
pub(crate) fn refused() -> Problem {
    let detail = "the connection's rules leave the file out: it can be written when they, or its place \
        in Drive, have changed";
    Problem::new(Kind::OutOfScope, detail)
}
