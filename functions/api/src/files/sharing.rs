//! What an edit shares beyond the tenant's own domains: that is for an operator to decide.

use std::collections::{BTreeMap, BTreeSet};

use domain::derive::Grant;
use domain::{
    Field, FileId, FileRecord, Role, Value, move_shares_outside, own_domains, shares_outside,
};
use store::Connection;

use crate::files::derived::DerivedView;
use crate::files::file_patch::pointer_of;
use crate::http::{Caller, Problem};
use crate::{Deps, lookups};

/// Decides whether a caller may share a file as an edit does.
pub(crate) struct Sharing<'a> {
    caller: &'a Caller,
    own: BTreeSet<String>,
    moved: Move,
}

/// What a move to another folder shares.
enum Move {
    /// The file stays in its folder, or the caller may share it.
    None,
    /// The folder is not known here, so neither is who can see it.
    Unknown,
    /// The roles on the file now, and those that it gets in the new folder.
    Known {
        now: BTreeMap<String, Grant>,
        then: BTreeMap<String, Grant>,
    },
}

impl<'a> Sharing<'a> {
    /// Prepares the decision about an edit that moves the file to `parent`, if it moves it. Nothing
    /// is read for a caller who may share everything.
    pub(crate) async fn of(
        deps: &Deps,
        connection: &Connection,
        caller: &'a Caller,
        file: &FileId,
        parent: Option<&Value>,
    ) -> Result<Self, Problem> {
        let moved = match parent {
            Some(Value::Text(parent)) if caller.role < Role::Operator => {
                movement(deps, connection, file, parent).await?
            }
            Some(_) | None => Move::None,
        };
        Ok(Self {
            caller,
            own: own_domains(
                connection.own_domains.as_ref(),
                connection.subject.as_deref(),
            ),
            moved,
        })
    }

    /// Requires the role `operator` for a value that shares the file outside.
    ///
    /// # Errors
    /// 403, with the pointer of the value.
    pub(crate) fn check(
        &self,
        field: &Field,
        before: &Value,
        after: &Value,
    ) -> Result<(), Problem> {
        let shares = if *field == Field::Parent {
            self.move_shares()
        } else {
            shares_outside(field, before, after, &self.own)
        };
        if !shares {
            return Ok(());
        }
        let what = "sharing a file beyond the own domains of its connection";
        let allowed = self.caller.needs(Role::Operator, what);
        allowed.map_err(|problem| problem.at(pointer_of(field)))
    }

    /// Checks an edit of a record.
    ///
    /// # Errors
    /// As [`Sharing::check`].
    pub(crate) fn check_edit(
        &self,
        record: &FileRecord,
        values: &BTreeMap<Field, Value>,
    ) -> Result<(), Problem> {
        let mut values = values.iter();
        values.try_for_each(|(field, value)| self.check(field, &record.app(field), value))
    }

    fn move_shares(&self) -> bool {
        match &self.moved {
            Move::None => false,
            Move::Unknown => true,
            Move::Known { now, then } => move_shares_outside(now, then, &self.own),
        }
    }
}

/// Returns what a move to a folder means for the roles on a file.
async fn movement(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
    parent: &str,
) -> Result<Move, Problem> {
    let is_root = connection.my_drive.as_ref().map(FileId::as_str) == Some(parent);
    let Ok(parent) = FileId::parse(parent) else {
        return Ok(Move::None);
    };
    let record = lookups::file(deps, &connection.key, file).await?;
    let Some(folder) = deps.store.load_file(&connection.key, &parent).await? else {
        return Ok(if is_root { Move::None } else { Move::Unknown });
    };
    let mut derived = DerivedView::new(deps, connection);
    derived.load_ancestors([&record, &folder]).await?;
    Ok(Move::Known {
        now: derived.permissions(&record),
        then: derived.permissions(&folder),
    })
}
