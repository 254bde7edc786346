//! How a connection is doing, in numbers that cost a bounded number of reads.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{ConnectionKey, LogId};
use serde::Serialize;
use store::{ChannelState, Log, PageRequest, Position};
use utoipa::ToSchema;

use crate::connection_view::{OperationView, StateView, SuspensionView};
use crate::extract::ConnectionPath;
use crate::limits::PaceView;
use crate::problem::Problem;
use crate::rule_status::{self, RuleStatusView};
use crate::{Deps, record};

/// How a connection is doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusView {
    connection: String,
    state: StateView,
    suspension: Option<SuspensionView>,
    /// The latest operation: of a first sync, how far it has come.
    last_operation: Option<OperationView>,
    attention: AttentionView,
    /// How fast Drive may be called for it.
    pace: PaceView,
    logs: Vec<LogView>,
    /// What each of its rules matches.
    rules: Vec<RuleStatusView>,
}

/// What waits for someone or something. Counted over an index that lags a little.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = Attention)]
pub(crate) struct AttentionView {
    open_conflicts: u64,
    /// Files with something to push.
    owed: u64,
    /// Files with something given up and nothing to push.
    failed: u64,
    /// Counting stopped at a bound: there are at least so many.
    more: bool,
}

/// Where we are in a change log of Drive's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(crate) struct LogView {
    /// `user`, or the id of a shared drive.
    log: String,
    /// The shared drive that the log is of; null for the user's own.
    drive: Option<DriveView>,
    position: PositionView,
    /// The operation that lists all files, where one does.
    operation: Option<String>,
    /// Since when the shared drive is left.
    left_at: Option<String>,
    /// When the last complete look at the log began.
    listed_from: Option<String>,
    /// When the last change that was seen happened, as Drive says.
    last_change_at: Option<String>,
    /// How far behind Drive that change was when it was queued.
    lag_millis: Option<i64>,
    next_poll_at: String,
    /// The notification channel; without one the log is polled.
    channel: Option<ChannelView>,
}

/// A shared drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SharedDrive)]
struct DriveView {
    id: String,
    /// What it is called; null until Drive has told us.
    name: Option<String>,
}

/// `new`: nothing was read yet. `listing`: all files are being listed. `following`: changes are.
/// `left`: the shared drive is not there for us any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Position)]
pub(crate) enum PositionView {
    New,
    Listing,
    Following,
    Left,
}

/// A push-notification channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
struct ChannelView {
    id: String,
    state: ChannelStateView,
    expires_at: String,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChannelState)]
enum ChannelStateView {
    Pending,
    Active,
    Replaced,
}

/// How a connection is doing.
#[utoipa::path(
    get, operation_id = "get_status", path = "/v1/connections/{connection}/status", tag = "connections",
    params(("connection" = String, Path)),
    responses((status = 200, description = "How it is doing.", body = StatusView))
)]
pub(crate) async fn get(
    State(deps): State<Arc<Deps>>,
    at: ConnectionPath,
) -> Result<Json<StatusView>, Problem> {
    let connection = record::connection(&deps, &at.key).await?;
    let newest = PageRequest::first(1);
    let (operations, attention, pace, logs, rules) = tokio::try_join!(
        async { Ok(deps.store.list_operations(&at.key, &newest).await?) },
        attention(&deps, &at.key),
        async { Ok(deps.store.load_pace(&at.key).await?) },
        logs(&deps, &at.key),
        async { Ok(rule_status::of(&deps, &connection).await?) },
    )?;
    let (state, suspension) = StateView::of(&connection.state);
    Ok(Json(StatusView {
        connection: at.key.connection.to_string(),
        state,
        suspension,
        last_operation: operations.items.first().map(OperationView::new),
        attention,
        pace: PaceView::new(
            pace.as_ref().map(|paced| &paced.pace),
            &connection.limits,
            deps.clock.now(),
        ),
        logs,
        rules,
    }))
}

/// What waits in a connection.
pub(crate) async fn attention(deps: &Deps, key: &ConnectionKey) -> Result<AttentionView, Problem> {
    let counted = deps.store.count_attention(key).await?;
    Ok(AttentionView {
        open_conflicts: counted.open_conflicts,
        owed: counted.owed,
        failed: counted.failed,
        more: counted.more,
    })
}

impl AttentionView {
    pub(crate) fn add(&mut self, other: Self) {
        self.open_conflicts += other.open_conflicts;
        self.owed += other.owed;
        self.failed += other.failed;
        self.more |= other.more;
    }
}

async fn logs(deps: &Deps, key: &ConnectionKey) -> Result<Vec<LogView>, Problem> {
    let mut views = Vec::new();
    for log in deps.store.list_logs(key).await? {
        let channel = match &log.channel {
            None => None,
            Some(id) => deps.store.load_channel(id).await?,
        };
        views.push(LogView {
            channel: channel.map(|channel| ChannelView {
                id: channel.id.to_string(),
                state: match channel.state {
                    ChannelState::Pending => ChannelStateView::Pending,
                    ChannelState::Active => ChannelStateView::Active,
                    ChannelState::Replaced => ChannelStateView::Replaced,
                },
                expires_at: channel.expires_at.to_string(),
            }),
            ..LogView::new(&log)
        });
    }
    Ok(views)
}

impl LogView {
    fn new(log: &Log) -> Self {
        let (position, operation) = match &log.position {
            Position::New => (PositionView::New, None),
            Position::Listing(operation) => (PositionView::Listing, Some(operation.to_string())),
            Position::Following => (PositionView::Following, None),
            Position::Left { .. } => (PositionView::Left, None),
        };
        let left_at = match log.position {
            Position::Left { at } => Some(at.to_string()),
            Position::New | Position::Listing(_) | Position::Following => None,
        };
        let drive = (log.log != LogId::user()).then(|| DriveView {
            id: log.log.to_string(),
            name: log.drive_name.clone(),
        });
        Self {
            log: log.log.to_string(),
            drive,
            position,
            operation,
            left_at,
            listed_from: log.listed_from.map(|at| at.to_string()),
            last_change_at: log.last_change_at.map(|at| at.to_string()),
            lag_millis: log.lag_millis,
            next_poll_at: log.next_poll_at.to_string(),
            channel: None,
        }
    }
}
