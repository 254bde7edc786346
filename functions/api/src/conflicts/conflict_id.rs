//! A conflict of the caller, by the id in the path.

use domain::{ConflictId, ConnectionKey};
pub(crate) use events::conflict_id::{encode, parse};

use crate::http::{Caller, ConnectionPath, PathParams, Problem, path_extractor};

/// A conflict in a connection of the caller, from the path.
pub(crate) struct ConflictPath {
    pub(crate) caller: Caller,
    pub(crate) key: ConnectionKey,
    pub(crate) id: ConflictId,
}

path_extractor!(ConflictPath, conflict_path, "connection": String, "conflict": String);

fn conflict_path(at: ConnectionPath, params: &PathParams) -> Result<ConflictPath, Problem> {
    let ConnectionPath { caller, key } = at;
    let id = parse(params.get("conflict")).ok_or_else(|| Problem::not_found("the conflict"))?;
    Ok(ConflictPath { caller, key, id })
}
