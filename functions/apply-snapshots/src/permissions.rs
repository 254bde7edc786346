//! The permissions of shared-drive items, which no change and no listing of files carries.
//!
//! A page of them (v3 `permissions.list`) costs 100 quota units, as much as twenty reads of files, whatever is
//! on it. So they are asked for only where something speaks for a change: `domain::Snapshot::wants_permissions` says where. At most one for a file in one
//! delivery, whatever the number of its messages, and one page for every hundred permissions. What is
//! missed by this (a role that changed together with something else, in one entry of the log) is seen by
//! the next change without another explanation, by the next push of a permission, or by the next resync.

use std::collections::BTreeMap;

use domain::pace::CallKind;
use domain::{ConnectionKey, FileId, FileRecord, Snapshot};
use futures_util::future::join_all;
use gate::{GateError, Pass, Patience};
use runtime::{Cause, SnapshotMessage};
use store::Connection;

use crate::{Deps, Work};

/// Lists the permissions of the files that want it, and puts them into the newest of each file's snapshots,
/// so that the history has them too. Where Drive did not answer, the file's messages come back.
pub(crate) async fn complete(
    works: &mut [Work],
    connections: &BTreeMap<ConnectionKey, Connection>,
    records: &BTreeMap<(ConnectionKey, FileId), FileRecord>,
    patience: Patience,
    deps: &Deps,
) {
    let wanting = works.iter_mut().filter_map(|work| {
        let newest = newest(&work.messages)?;
        let message = work.messages.get(newest)?;
        let snapshot = message.snapshot.as_ref()?;
        let connection = connections.get(&message.key)?;
        let record = records.get(&(message.key.clone(), message.file.clone()));
        let thorough = message.cause != Cause::Live;
        snapshot
            .wants_permissions(record, thorough)
            .then_some((work, newest, connection))
    });
    let listings = wanting.map(|(work, newest, connection)| async move {
        let Some(message) = work.messages.get_mut(newest) else {
            return;
        };
        let Some(snapshot) = message.snapshot.clone() else {
            return;
        };
        match list(connection, snapshot, patience, deps).await {
            Ok(snapshot) => {
                work.listed = true;
                message.snapshot = Some(snapshot);
            }
            Err(error) => work.unlisted = Some(error),
        }
    });
    join_all(listings).await;
}

/// Which of a file's messages has the latest snapshot.
fn newest(messages: &[SnapshotMessage]) -> Option<usize> {
    let versions = messages.iter().enumerate();
    let versions =
        versions.filter_map(|(at, message)| Some((message.snapshot.as_ref()?.version, at)));
    versions.max().map(|(_, at)| at)
}

async fn list(
    connection: &Connection,
    snapshot: Snapshot,
    patience: Patience,
    deps: &Deps,
) -> Result<Snapshot, GateError> {
    let pass = deps.gate.pass(connection, patience).await?;
    let listing = || pass.drive().with_permissions(snapshot.clone());
    let with = pass.ask(CallKind::List, listing).await?;
    let known = with.mirror.permissions_known;
    tracing::info!(
        connection = %connection.key, file = %with.file, known, left_out = with.mirror.permissions_left_out,
        metric = "permissions_listed", "listed permissions"
    );
    Ok(with)
}

/// What Drive answered about a file, with its permissions where they have to be listed and something speaks
/// for it: an answer to a direct question is as good as a resync's.
pub(crate) async fn of_answer(
    pass: &Pass,
    snapshot: Snapshot,
    record: Option<&FileRecord>,
) -> Result<Snapshot, GateError> {
    if snapshot.wants_permissions(record, true) {
        let listing = || pass.drive().with_permissions(snapshot.clone());
        pass.ask(CallKind::List, listing).await
    } else {
        Ok(snapshot)
    }
}
