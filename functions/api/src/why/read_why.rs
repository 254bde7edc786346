//! Why a file or a connection is as it is. It costs a bounded number of reads, and no writes.

use axum::Json;
use domain::rate_limit::{Limits, RateLimit};
use domain::why::{
    AttentionCounts, FileFacts, LogFacts, LogReading, MissingContent, Parked, SyncFacts, SyncState,
    why_connection, why_file, why_not_stored,
};
use domain::{Asked, ConnectionKey, DesiredContent, Field, FileRecord, LogId, Operation, Side};
use store::{Connection, ConnectionState, DeadLetter, Log, LogPosition, PageRequest};

use crate::http::{ConnectionPath, FilePath, JsonResult, Problem};
use crate::why::why_view::WhyView;
use crate::{App, Deps, lookups};

/// What the reasons of a connection depend on, as it is stored.
struct Stored {
    logs: Vec<Log>,
    rate_limit: Option<RateLimit>,
    limits: Limits,
    operation: Option<Operation>,
}

impl Stored {
    async fn load(deps: &Deps, connection: &Connection) -> Result<Self, Problem> {
        let key = &connection.key;
        let newest = PageRequest::first(1);
        let (logs, pace, operations) = tokio::try_join!(
            deps.store.list_logs(key),
            deps.store.load_rate_limit(key),
            deps.store.list_operations(key, &newest),
        )?;
        Ok(Self {
            logs,
            rate_limit: pace.map(|stored| stored.rate_limit),
            limits: deps.budgets.limits().bound(connection.limits),
            operation: operations.items.into_iter().next(),
        })
    }

    /// Returns the facts, with those of the logs that `concerns` selects.
    fn facts<'a>(
        &'a self,
        deps: &Deps,
        connection: &'a Connection,
        concerns: impl Fn(&LogId) -> bool,
    ) -> SyncFacts<'a> {
        let state = match &connection.state {
            ConnectionState::Active => SyncState::Active,
            ConnectionState::Paused => SyncState::Paused,
            ConnectionState::Suspended { reason, at } => SyncState::Suspended { reason, at: *at },
            ConnectionState::Deleting => SyncState::Deleted,
        };
        let logs = self.logs.iter().filter(|log| concerns(&log.log));
        SyncFacts {
            state,
            owed_held: connection.owed_held,
            logs: logs.map(log_facts).collect(),
            rate_limit: self.rate_limit.as_ref(),
            limits: &self.limits,
            operation: self.operation.as_ref(),
            now: deps.clock.now(),
        }
    }
}

fn log_facts(log: &Log) -> LogFacts<'_> {
    LogFacts {
        log: &log.log,
        reading: match log.position {
            LogPosition::New | LogPosition::Listing(_) => LogReading::Listing,
            LogPosition::Following => LogReading::Following,
            LogPosition::Left { at } => LogReading::Left { at },
        },
        has_channel: log.channel.is_some(),
        next_poll_at: log.next_poll_at,
        read_at: log.listed_from,
        stop: log.stop,
    }
}

/// Says why a connection is as it is: in one sentence, with the reason by name.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/why", tag = "connections",
    params(ConnectionPath),
    responses((status = 200, description = "The reasons.", body = WhyView))
)]
pub(crate) async fn get_connection_why(deps: App, at: ConnectionPath) -> JsonResult<WhyView> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let letters = PageRequest::first(LETTERS);
    let (stored, counted, letters) = tokio::try_join!(
        Stored::load(&deps, &connection),
        async { Ok(deps.store.count_attention(&at.key).await?) },
        async { Ok(deps.store.list_dead_letters(&at.key, &letters).await?) },
    )?;
    let counts = AttentionCounts {
        conflicts: counted.open_conflicts,
        refused: counted.failed,
        owed: counted.owed,
        content: counted.content_unavailable,
        parked: letters
            .items
            .iter()
            .filter(|letter| waits_for_person(letter))
            .count() as u64,
    };
    let facts = stored.facts(&deps, &connection, |_| true);
    Ok(Json(WhyView::new(
        &why_connection(counts, &facts),
        facts.read_at(),
    )))
}

/// The dead letters of a connection that are looked at.
const LETTERS: u32 = 100;

fn waits_for_person(letter: &DeadLetter) -> bool {
    letter.is_waiting() && letter.redrive_at().is_none()
}

/// Returns what the resolvers of a file's open conflicts are asked.
async fn asked(
    deps: &Deps,
    key: &ConnectionKey,
    record: &FileRecord,
) -> Result<Vec<(Field, Asked)>, Problem> {
    let mut found = Vec::new();
    let open = record.open.iter();
    for (field, _) in open.filter(|(_, open)| open.question.is_some()) {
        let Some(id) = record.open_conflict(field) else {
            continue;
        };
        let conflict = deps.store.load_conflict(key, &id).await?;
        let asked = conflict.and_then(|conflict| conflict.asked);
        found.extend(asked.map(|asked| (field.clone(), asked)));
    }
    Ok(found)
}

/// Says why a file is as it is: in one sentence, with the reason by name.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/files/{file}/why", tag = "files",
    params(FilePath),
    responses((status = 200, description = "The reasons.", body = WhyView))
)]
pub(crate) async fn get_file_why(deps: App, at: FilePath) -> JsonResult<WhyView> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let store = &deps.store;
    let (stored, record, letters) = tokio::try_join!(
        Stored::load(&deps, &connection),
        async { Ok(store.load_file(&at.key, &at.file).await?) },
        async { Ok(store.dead_letters_of_file(&at.key, &at.file).await?) },
    )?;
    // One that a person must look at comes before one that is sent again by itself.
    let letter = letters.iter().min_by_key(|letter| letter.redrive_at());
    let parked = letter.map(|letter| Parked {
        reason: &letter.reason,
        at: letter.parked_at,
        redrive_at: letter.redrive_at(),
    });
    let Some(record) = record else {
        let parked = parked.ok_or_else(|| Problem::not_found("the file"))?;
        let facts = stored.facts(&deps, &connection, |_| true);
        let why = why_not_stored(parked, &facts);
        return Ok(Json(WhyView::new(&why, facts.read_at())));
    };
    let newest = PageRequest::first(1);
    let (ancestry, content, history) = tokio::try_join!(
        store.ancestry(&connection, [&record]),
        store.load_content(&at.key, &at.file),
        store.history(&at.key, &at.file, &newest, deps.clock.now()),
    )?;
    let asked = asked(&deps, &at.key, &record).await?;
    let in_drive = ancestry.lineage(&record.file, Side::Drive);
    let here = ancestry.lineage(&record.file, Side::App);
    let wanted = connection.content.desired_content(&record);
    let trouble = content.trouble.as_ref();
    let file = FileFacts {
        record: &record,
        excluded: connection.rules.excluded(&in_drive),
        trashed_by: here.trashed_by(),
        // Nothing is asked for any more that the settings do not want.
        content: trouble
            .filter(|_| wanted != DesiredContent::Nothing)
            .map(|trouble| MissingContent {
                trouble,
                failures: content.failures,
                due_at: content.due_at,
            }),
        content_left_out: match wanted {
            DesiredContent::Skipped(skipped) => Some(skipped),
            DesiredContent::Bytes(_) | DesiredContent::Export(_) | DesiredContent::Nothing => None,
        },
        parked,
        asked: &asked,
        changed_at: history.items.first().map(|entry| entry.at),
    };
    let own = record.metadata.log();
    let is_known = stored.logs.iter().any(|log| log.log == own);
    let facts = stored.facts(&deps, &connection, |log| *log == own || !is_known);
    Ok(Json(WhyView::new(
        &why_file(&file, &facts),
        facts.read_at(),
    )))
}
