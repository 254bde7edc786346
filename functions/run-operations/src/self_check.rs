//! Checks the stored items for inconsistencies at the start of an audit, item by item, before
//! anything is compared with Drive. Inconsistencies are recorded, and repaired where the correct
//! state is known: a file's record is authoritative for its conflicts and for what it owes. Drive
//! is not called.
//!
//! The check proceeds page by page, and a page may be checked twice. An inconsistency is recorded
//! before it is repaired, so that an interruption does not lose it; and a suspect item is read
//! again, consistently, before it counts as an inconsistency. The modules below contain the checks.

mod conflicts;
mod files;
mod logs;
mod stalled_operations;

use std::collections::BTreeSet;

use domain::operation::SelfCheckPhase;
use domain::{ConnectionKey, Context, FileRecord, InconsistencyKind, LogId, Operation, Timestamp};
use store::{Connection, Inconsistency, Indexed, Log, LogPosition, Subject};
use worker::WorkError;

use crate::{Deps, inconsistencies};

/// The time after which an unprocessed due item counts as forgotten, in milliseconds. Due items are
/// processed once a minute.
const FORGOTTEN_MILLIS: i64 = 10 * 60_000;

/// The self-check of one audit.
pub(crate) struct SelfCheck<'a> {
    operation: &'a Operation,
    connection: &'a Connection,
    deps: &'a Deps,
    now: Timestamp,
    /// Set if its log is the one that the connection starts with. That audit covers everything
    /// that no other audit covers.
    is_own_log: bool,
    /// The followed logs: each has an audit of its own.
    followed: BTreeSet<LogId>,
}

/// Checks one page.
pub(crate) async fn check_page(
    phase: SelfCheckPhase,
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Operation, WorkError> {
    let logs = deps
        .store
        .list_logs_with_index_state(&operation.key)
        .await?;
    let self_check = SelfCheck::new(operation, connection, &logs, deps);
    let next = match &phase {
        SelfCheckPhase::LogsAndOperations => {
            self_check.check_logs(&logs).await?;
            self_check.check_operations().await?;
            None
        }
        SelfCheckPhase::Files(cursor) => self_check.check_files(cursor.clone()).await?,
        SelfCheckPhase::Conflicts(cursor) => self_check.check_conflicts(cursor.clone()).await?,
    };
    let following = phase.following(next);
    let is_last = following.is_none();
    let after = operation.on_self_check(following, deps.clock.now());
    if is_last {
        return Ok(after.with_inconsistencies(inconsistencies::count(operation, deps).await?));
    }
    Ok(after)
}

impl<'a> SelfCheck<'a> {
    pub(crate) fn new(
        operation: &'a Operation,
        connection: &'a Connection,
        logs: &[Indexed<Log>],
        deps: &'a Deps,
    ) -> Self {
        let followed = logs
            .iter()
            .filter(|log| log.value.position == LogPosition::Following);
        Self {
            operation,
            connection,
            deps,
            now: deps.clock.now(),
            is_own_log: connection.scope.own_log().as_ref() == Some(&operation.log),
            followed: followed.map(|log| log.value.log.clone()).collect(),
        }
    }

    fn key(&self) -> &ConnectionKey {
        &self.operation.key
    }

    /// Returns whether this audit covers items of a log: its own, or one that currently has no
    /// audit of its own.
    fn covers(&self, log: &LogId) -> bool {
        *log == self.operation.log || (self.is_own_log && !self.followed.contains(log))
    }

    fn covers_file(&self, record: &FileRecord) -> bool {
        self.covers(&record.metadata.log())
    }

    /// Returns the context of a repair. Nothing is merged, so no policy decides.
    fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            drive_at: None,
            above: None,
            policies: &self.connection.policies,
        }
    }

    fn inconsistency(
        &self,
        kind: InconsistencyKind,
        subject: Subject,
        detail: impl Into<String>,
    ) -> Inconsistency {
        Inconsistency {
            kind,
            subject,
            repaired: !self.operation.is_dry_run(),
            detail: detail.into(),
            found_at: self.now,
        }
    }

    async fn record(&self, inconsistency: &Inconsistency) -> Result<(), WorkError> {
        inconsistencies::record(self.operation, inconsistency, self.deps).await
    }

    /// Records an inconsistency that only a person can repair.
    async fn record_unrepairable(&self, inconsistency: Inconsistency) -> Result<(), WorkError> {
        let inconsistency = Inconsistency {
            repaired: false,
            ..inconsistency
        };
        self.record(&inconsistency).await
    }
}
