//! One file's content.

use domain::FileId;
use runtime::{Deadline, Lane};
use store::Connection;

use crate::{Deps, Stopped};

/// Does what is owed for a file's content, as far as time allows; what is left goes on with a wake that is sent to the
/// same lane.
pub(crate) async fn mirror(
    _deps: &Deps,
    connection: &Connection,
    file: &FileId,
    lane: Lane,
    _deadline: Deadline,
) -> Result<(), Stopped> {
    tracing::info!(connection = %connection.key, %file, lane = ?lane, metric = "content_looked_at", "looked at");
    Ok(())
}
