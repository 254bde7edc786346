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

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    ConnectionKey, Context, FileRecord, InconsistencyCount, InconsistencyKind, LogId, Timestamp,
};
use store::{
    Connection, Inconsistency, Indexed, Log, LogPosition, Operation, OperationKind, OperationState,
    PageRequest, Subject,
};

use crate::operations::record_progress;
use crate::{Deps, WorkError, is_own_log};

/// The time after which an unprocessed due item counts as forgotten, in milliseconds. Due items are
/// processed once a minute.
const FORGOTTEN_MILLIS: i64 = 10 * 60_000;
/// The number of attempts against concurrent writers of the same file. Every write also corrects
/// the file's index entries.
const ATTEMPTS_MAX: usize = 4;

/// The current phase.
enum Phase {
    /// Checks logs, channels and operations.
    LogsAndOperations,
    /// Checks file records, from this cursor of the index listing on.
    Files(Option<String>),
    /// Checks open conflicts, from this cursor of `Store::list_conflicts` on.
    Conflicts(Option<String>),
}

impl Phase {
    fn from_position(position: Option<&str>) -> Self {
        let cursor = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match position.and_then(|position| position.split_once('#')) {
            Some(("files", rest)) => Self::Files(cursor(rest)),
            Some(("conflicts", rest)) => Self::Conflicts(cursor(rest)),
            Some(_) | None => Self::LogsAndOperations,
        }
    }

    fn position(self) -> Option<String> {
        match self {
            Self::LogsAndOperations => None,
            Self::Files(cursor) => Some(format!("files#{}", cursor.unwrap_or_default())),
            Self::Conflicts(cursor) => Some(format!("conflicts#{}", cursor.unwrap_or_default())),
        }
    }
}

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

/// Checks the next page. Returns `None` if another sweep is processing the operation.
pub(crate) async fn check_page(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, WorkError> {
    let logs = deps
        .store
        .list_logs_with_index_state(&operation.key)
        .await?;
    let self_check = SelfCheck::new(operation, connection, &logs, deps);
    let next = match Phase::from_position(operation.position.as_deref()) {
        Phase::LogsAndOperations => {
            Box::pin(self_check.check_logs(&logs)).await?;
            Box::pin(self_check.check_operations()).await?;
            Some(Phase::Files(None))
        }
        Phase::Files(cursor) => match Box::pin(self_check.check_files(cursor)).await? {
            Some(next) => Some(Phase::Files(Some(next))),
            None => Some(Phase::Conflicts(None)),
        },
        Phase::Conflicts(cursor) => {
            let next = Box::pin(self_check.check_conflicts(cursor)).await?;
            next.map(|next| Phase::Conflicts(Some(next)))
        }
    };
    let now = deps.clock.now();
    let after = match next {
        Some(phase) => Operation {
            position: phase.position(),
            due_at: Some(now),
            ..operation.clone()
        },
        None => Operation {
            state: OperationState::Listing,
            position: None,
            inconsistencies: count_inconsistencies(operation, deps).await?,
            due_at: Some(now),
            ..operation.clone()
        },
    };
    record_progress(operation, &after, deps).await
}

/// Counts the recorded inconsistencies by kind.
pub(crate) async fn count_inconsistencies(
    operation: &Operation,
    deps: &Deps,
) -> Result<BTreeMap<InconsistencyKind, InconsistencyCount>, WorkError> {
    let (key, id) = (&operation.key, &operation.id);
    let mut counts: BTreeMap<InconsistencyKind, InconsistencyCount> = BTreeMap::new();
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps
            .store
            .list_inconsistencies(key, id, None, &page)
            .await?;
        for inconsistency in found.items {
            let count = counts.entry(inconsistency.kind).or_default();
            count.found += 1;
            count.repaired += u64::from(inconsistency.repaired);
        }
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(counts),
        }
    }
}

/// Records that the cursor of an audit's log has passed changes that were not applied: Drive has
/// newer files than the records, or files without a record, although the log was read to its end.
pub(crate) async fn record_cursor_ahead(
    operation: &Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<(), WorkError> {
    let behind = operation.drift.stale + operation.drift.missing_here;
    if operation.kind != OperationKind::Audit || behind == 0 {
        return Ok(());
    }
    let inconsistency = Inconsistency {
        kind: InconsistencyKind::CursorAhead,
        subject: Subject::Log(operation.log.clone()),
        repaired,
        detail: format!("{behind} files, listed in the operation's drift"),
        found_at: deps.clock.now(),
    };
    record_inconsistency(operation, &inconsistency, deps).await
}

async fn record_inconsistency(
    operation: &Operation,
    inconsistency: &Inconsistency,
    deps: &Deps,
) -> Result<(), WorkError> {
    let (kind, repaired) = (inconsistency.kind.label(), inconsistency.repaired);
    tracing::warn!(
        connection = %operation.key, operation = %operation.id, kind, repaired,
        dry_run = operation.dry_run, metric = "flaw",
        "stored items are inconsistent"
    );
    Ok(deps
        .store
        .record_inconsistency(operation, inconsistency)
        .await?)
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
            is_own_log: is_own_log(connection, &operation.log),
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
            repaired: !self.operation.dry_run,
            detail: detail.into(),
            found_at: self.now,
        }
    }

    async fn record(&self, inconsistency: &Inconsistency) -> Result<(), WorkError> {
        record_inconsistency(self.operation, inconsistency, self.deps).await
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
