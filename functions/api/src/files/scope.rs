//! Files that a connection's rules leave out: they can't be edited, and what is owed to Drive
//! waits.

use std::collections::BTreeSet;

use domain::FileId;
use store::{Connection, StoreError};

use crate::Deps;
use crate::files::derived::DerivedView;
use crate::http::{Kind, Problem};

/// Returns those of the files that are out of scope. Reads nothing if there are no rules.
pub(crate) async fn out_of_scope(
    deps: &Deps,
    connection: &Connection,
    files: &[FileId],
) -> Result<BTreeSet<FileId>, StoreError> {
    if connection.rules.is_empty() || files.is_empty() {
        return Ok(BTreeSet::new());
    }
    let records = deps
        .store
        .load_files_consistent(&connection.key, files)
        .await?;
    let mut derived = DerivedView::new(deps, connection);
    derived.load_ancestors(records.values()).await?;
    let out = records.values().filter(|record| !derived.in_scope(record));
    Ok(out.map(|record| record.file.clone()).collect())
}

/// Returns whether a file is out of scope.
pub(crate) async fn is_out_of_scope(
    deps: &Deps,
    connection: &Connection,
    file: &FileId,
) -> Result<bool, Problem> {
    let out = out_of_scope(deps, connection, std::slice::from_ref(file)).await?;
    Ok(!out.is_empty())
}

/// The problem of an edit of a file that is out of scope.
pub(crate) fn refusal() -> Problem {
    let detail = "the connection's rules leave the file out; it can be edited once the rules or \
                  its place in Drive have changed";
    Problem::new(Kind::OutOfScope, detail)
}
