//! The permissions of shared-drive items, which neither changes nor listings of files contain.
//!
//! A page of them (v3 `permissions.list`) costs 100 quota units, as much as twenty reads of files,
//! whatever it contains. They are therefore listed only when `domain::Snapshot::needs_permissions`
//! finds a reason: at most once per file and delivery, whatever the number of messages, and one
//! page for every hundred permissions. A change missed by this (a role that changed together with
//! something else, in one entry of the log) is detected by the next change without another
//! explanation, by the next push of a permission, or by the next resync.

use std::collections::BTreeMap;

use domain::rate_limit::CallKind;
use domain::{ConnectionKey, FileId, FileRecord, Snapshot};
use futures_util::future::join_all;
use runtime::telemetry;
use store::Connection;
use throttle::{CallError, ThrottledDrive, WaitBudget};
use worker::{Origin, SnapshotMessage};

use crate::{Deps, Work};

/// Lists the permissions of the files that need it and adds them to each file's newest snapshot, so
/// that history contains them too. If the listing fails, the file's messages are retried.
pub(crate) async fn add_permissions(
    works: &mut [Work],
    connections: &BTreeMap<ConnectionKey, Connection>,
    records: &BTreeMap<(ConnectionKey, FileId), FileRecord>,
    wait_budget: WaitBudget,
    deps: &Deps,
) {
    let pending = works.iter_mut().filter_map(|work| {
        let newest = newest(&work.messages)?;
        let message = work.messages.get(newest)?;
        let snapshot = message.snapshot.as_ref()?;
        let connection = connections.get(&message.key)?;
        let record = records.get(&(message.key.clone(), message.file.clone()));
        let thorough = message.origin != Origin::Live;
        snapshot
            .needs_permissions(record, thorough)
            .then_some((work, newest, connection))
    });
    let listings = pending.map(|(work, newest, connection)| async move {
        let Some(message) = work.messages.get(newest) else {
            return;
        };
        let Some(snapshot) = message.snapshot.clone() else {
            return;
        };
        let listed = list(connection, snapshot.clone(), wait_budget, deps).await;
        let Some(message) = work.messages.get_mut(newest) else {
            return;
        };
        match listed {
            Ok(snapshot) => {
                work.permissions_listed = true;
                work.permissions_unlisted = snapshot.permissions_need_listing();
                message.snapshot = Some(snapshot);
            }
            // The file does not wait for them for ever: it is asked for them again later.
            Err(CallError::Drive(error)) if error.is_outage() && work.is_received_often() => {
                let error = telemetry::chain(&error);
                tracing::warn!(
                    file = %snapshot.file, error, metric = "permissions_unlisted",
                    "Drive does not list the permissions; the file is applied without them"
                );
                work.permissions_unlisted = true;
            }
            Err(error) => work.permissions_error = Some(error),
        }
    });
    join_all(listings).await;
}

/// Returns the index of the message with the newest snapshot.
fn newest(messages: &[SnapshotMessage]) -> Option<usize> {
    let versions = messages.iter().enumerate();
    let versions =
        versions.filter_map(|(at, message)| Some((message.snapshot.as_ref()?.version, at)));
    versions.max().map(|(_, at)| at)
}

async fn list(
    connection: &Connection,
    snapshot: Snapshot,
    wait_budget: WaitBudget,
    deps: &Deps,
) -> Result<Snapshot, CallError> {
    let drive = deps.drives.throttled(connection, wait_budget).await?;
    let listing = || drive.client().with_permissions(snapshot.clone());
    let with = drive.call_with_retries(CallKind::List, listing).await?;
    let known = with.metadata.permissions_known;
    tracing::info!(
        connection = %connection.key, file = %with.file, known,
        left_out = with.metadata.permissions_left_out, metric = "permissions_listed",
        "listed permissions"
    );
    Ok(with)
}

/// Adds permissions to a looked-up snapshot if they have to be listed and there is a reason to: a
/// lookup is as thorough as a resync.
pub(crate) async fn with_permissions(
    drive: &ThrottledDrive,
    snapshot: Snapshot,
    record: Option<&FileRecord>,
) -> Result<Snapshot, CallError> {
    if snapshot.needs_permissions(record, true) {
        let listing = || drive.client().with_permissions(snapshot.clone());
        drive.call_with_retries(CallKind::List, listing).await
    } else {
        Ok(snapshot)
    }
}
