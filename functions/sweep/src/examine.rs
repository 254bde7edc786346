//! With this an audit begins: what must hold among our own items is proven, item by item, before anything is compared
//! with Drive. What does not hold is written down as a flaw, and repaired where the truth can be told: the record of a
//! file is the truth about its conflicts and about what it owes; Drive is not asked.
//!
//! It goes page by page, and each page may be looked through twice. A flaw is written down before it is repaired, so
//! that one that was repaired just before everything broke off is not forgotten; what looks wrong is read again,
//! consistently, before it is called a flaw. What each part of it looks at is in the modules below.

mod conflicts;
mod files;
mod logs;
mod operations;

use std::collections::{BTreeMap, BTreeSet};

use domain::{ConnectionKey, FileRecord, FlawCount, FlawKind, LogId, Moment, Timestamp};
use store::{
    Connection, Flaw, Kept, Log, Operation, OperationKind, OperationState, PageRequest, Position,
    Subject,
};

use crate::operations::moved;
use crate::{Deps, Stopped, is_own};

/// What is due is looked at once a minute. What was not looked at for so long was forgotten, in milliseconds.
const FORGOTTEN_MILLIS: i64 = 10 * 60_000;
/// Rounds against others who write the same file. Whoever writes it puts it where it belongs, too.
const ROUNDS_MAX: usize = 4;

/// How far it is.
enum Part {
    /// Logs, channels and operations.
    Things,
    /// Our records, from this cursor of `Store::list_kept_files` on.
    Files(Option<String>),
    /// Open conflicts, from this cursor of `Store::list_conflicts` on.
    Conflicts(Option<String>),
}

impl Part {
    fn of(position: Option<&str>) -> Self {
        let cursor = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match position.and_then(|position| position.split_once('#')) {
            Some(("files", rest)) => Self::Files(cursor(rest)),
            Some(("conflicts", rest)) => Self::Conflicts(cursor(rest)),
            Some(_) | None => Self::Things,
        }
    }

    fn position(self) -> Option<String> {
        match self {
            Self::Things => None,
            Self::Files(cursor) => Some(format!("files#{}", cursor.unwrap_or_default())),
            Self::Conflicts(cursor) => Some(format!("conflicts#{}", cursor.unwrap_or_default())),
        }
    }
}

/// One audit's look at what is ours.
pub(crate) struct Examination<'a> {
    operation: &'a Operation,
    connection: &'a Connection,
    deps: &'a Deps,
    now: Timestamp,
    /// Whether its log is the one that the connection has from the start: what no other audit looks at is then its.
    is_own: bool,
    /// The logs that are followed: each is audited by itself.
    followed: BTreeSet<LogId>,
}

/// Looks through the next page. `None` where another sweep is at it.
pub(crate) async fn go_on(
    operation: &Operation,
    connection: &Connection,
    deps: &Deps,
) -> Result<Option<Operation>, Stopped> {
    let logs = deps.store.list_kept_logs(&operation.key).await?;
    let examination = Examination::new(operation, connection, &logs, deps);
    let next = match Part::of(operation.position.as_deref()) {
        Part::Things => {
            Box::pin(examination.look_at_logs(&logs)).await?;
            Box::pin(examination.look_at_operations()).await?;
            Some(Part::Files(None))
        }
        Part::Files(cursor) => match Box::pin(examination.look_at_files(cursor)).await? {
            Some(next) => Some(Part::Files(Some(next))),
            None => Some(Part::Conflicts(None)),
        },
        Part::Conflicts(cursor) => {
            let next = Box::pin(examination.look_at_conflicts(cursor)).await?;
            next.map(|next| Part::Conflicts(Some(next)))
        }
    };
    let now = deps.clock.now();
    let after = match next {
        Some(part) => Operation {
            position: part.position(),
            due_at: Some(now),
            ..operation.clone()
        },
        None => Operation {
            state: OperationState::Listing,
            position: None,
            flaws: counted(operation, deps).await?,
            due_at: Some(now),
            ..operation.clone()
        },
    };
    moved(operation, &after, deps).await
}

/// How many flaws of each kind are written down.
pub(crate) async fn counted(
    operation: &Operation,
    deps: &Deps,
) -> Result<BTreeMap<FlawKind, FlawCount>, Stopped> {
    let (key, id) = (&operation.key, &operation.id);
    let mut counts: BTreeMap<FlawKind, FlawCount> = BTreeMap::new();
    let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
    loop {
        let found = deps.store.list_flaws(key, id, None, &page).await?;
        for flaw in found.items {
            let count = counts.entry(flaw.kind).or_default();
            count.found += 1;
            count.repaired += u64::from(flaw.repaired);
        }
        match found.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(counts),
        }
    }
}

/// Writes down that the cursor of an audit's log has passed changes that we do not have: Drive shows files later than
/// our records, or files that we have no record of, although the log was read to its end.
pub(crate) async fn note_cursor(
    operation: &Operation,
    repaired: bool,
    deps: &Deps,
) -> Result<(), Stopped> {
    let behind = operation.drift.stale + operation.drift.missing_here;
    if operation.kind != OperationKind::Audit || behind == 0 {
        return Ok(());
    }
    let flaw = Flaw {
        kind: FlawKind::CursorAhead,
        subject: Subject::Log(operation.log.clone()),
        repaired,
        detail: format!("{behind} files: the operation's drift names them"),
        found_at: deps.clock.now(),
    };
    note(operation, &flaw, deps).await
}

async fn note(operation: &Operation, flaw: &Flaw, deps: &Deps) -> Result<(), Stopped> {
    let (kind, repaired) = (flaw.kind.label(), flaw.repaired);
    tracing::warn!(
        connection = %operation.key, operation = %operation.id, kind, repaired, dry_run = operation.dry_run,
        metric = "flaw", "a promise did not hold"
    );
    Ok(deps.store.note_flaw(operation, flaw).await?)
}

impl<'a> Examination<'a> {
    pub(crate) fn new(
        operation: &'a Operation,
        connection: &'a Connection,
        logs: &[Kept<Log>],
        deps: &'a Deps,
    ) -> Self {
        let followed = logs
            .iter()
            .filter(|log| log.value.position == Position::Following);
        Self {
            operation,
            connection,
            deps,
            now: deps.clock.now(),
            is_own: is_own(connection, &operation.log),
            followed: followed.map(|log| log.value.log.clone()).collect(),
        }
    }

    fn key(&self) -> &ConnectionKey {
        &self.operation.key
    }

    /// Whether this audit looks at what is about a log: its own, or one that has no audit of its own now.
    fn covers(&self, log: &LogId) -> bool {
        *log == self.operation.log || (self.is_own && !self.followed.contains(log))
    }

    fn covers_file(&self, record: &FileRecord) -> bool {
        self.covers(&record.mirror.log())
    }

    /// Nothing is merged, so no policy decides.
    fn moment(&self) -> Moment<'_> {
        Moment {
            now: self.now,
            drive_at: None,
            policies: &self.connection.policies,
        }
    }

    fn flaw(&self, kind: FlawKind, subject: Subject, detail: impl Into<String>) -> Flaw {
        Flaw {
            kind,
            subject,
            repaired: !self.operation.dry_run,
            detail: detail.into(),
            found_at: self.now,
        }
    }

    async fn note(&self, flaw: &Flaw) -> Result<(), Stopped> {
        note(self.operation, flaw, self.deps).await
    }

    /// Writes down what nobody but a person can put right.
    async fn report(&self, flaw: Flaw) -> Result<(), Stopped> {
        let flaw = Flaw {
            repaired: false,
            ..flaw
        };
        self.note(&flaw).await
    }
}
