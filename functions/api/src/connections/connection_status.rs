//! The status of a connection, which costs a bounded number of reads.

use axum::Json;
use domain::rate_limit::{RateLimit, WritesRefused};
use domain::{ConnectionKey, LogId};
use serde::Serialize;
use store::{ChannelState, Log, LogPosition, PageRequest};
use utoipa::ToSchema;

use crate::connections::connection_view::{
    AttentionView, StateView, SuspensionView, count_attention,
};
use crate::connections::limits_body::RateLimitView;
use crate::connections::rule_status::{self, RuleStatusView};
use crate::http::{ConnectionPath, JsonResult, Problem, view_enum};
use crate::operations::operation_view::{OperationView, StopView};
use crate::{App, Deps, lookups};

/// The status of a connection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusView {
    connection: String,
    state: StateView,
    suspension: Option<SuspensionView>,
    /// The latest operation, which shows the progress of a first sync.
    last_operation: Option<OperationView>,
    attention: AttentionView,
    /// The state of its rate limits.
    pace: RateLimitView,
    writes: WritesView,
    logs: Vec<LogView>,
    /// The matches of each of its rules.
    rules: Vec<RuleStatusView>,
}

/// Whether Drive answers writes. While it does not, edits stay owed, and go on by themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Writes)]
pub(crate) struct WritesView {
    /// Since when Drive answers none; null if it does.
    refused_since: Option<String>,
    /// What it answers instead.
    reason: Option<String>,
}

impl WritesView {
    fn new(rate_limit: Option<&RateLimit>) -> Self {
        let refused = rate_limit.and_then(|rate_limit| rate_limit.writes_refused);
        let reason = |refused: WritesRefused| match refused.status {
            Some(status) => format!("Drive answers {status}"),
            None => "Drive does not answer".to_owned(),
        };
        Self {
            refused_since: refused.map(|refused| refused.since.to_string()),
            reason: refused.map(reason),
        }
    }
}

/// The progress in one of Drive's change logs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Log)]
pub(crate) struct LogView {
    /// `user`, or the id of a shared drive.
    log: String,
    /// The log's shared drive; null for the user's log.
    drive: Option<DriveView>,
    position: PositionView,
    /// The operation that is listing all files, if any.
    operation: Option<String>,
    /// Since when the shared drive can't be accessed.
    left_at: Option<String>,
    /// The start of the last complete read of the log.
    listed_from: Option<String>,
    /// The time of the last change in Drive that was read.
    last_change_at: Option<String>,
    /// The delay from that change in Drive until it was queued.
    lag_millis: Option<i64>,
    next_poll_at: String,
    /// The last stop of the reading of changes: Drive's pages did not lead to an end. Null once
    /// they have.
    stopped: Option<StopView>,
    /// The notification channel; a log without one is polled.
    channel: Option<ChannelView>,
}

/// A shared drive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SharedDrive)]
struct DriveView {
    id: String,
    /// Its name; null until it has been read from Drive.
    name: Option<String>,
}

/// `new`: nothing has been read yet. `listing`: all files are being listed. `following`: changes
/// are being read. `left`: the shared drive can no longer be accessed.
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

view_enum! {
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = ChannelState)]
    enum ChannelStateView = ChannelState {
        Pending,
        Active,
        Replaced,
    }
}

/// Returns the status of a connection.
#[utoipa::path(
    get, path = "/v1/connections/{connection}/status", tag = "connections",
    params(ConnectionPath),
    responses((status = 200, description = "The status.", body = StatusView))
)]
pub(crate) async fn get_status(deps: App, at: ConnectionPath) -> JsonResult<StatusView> {
    let connection = lookups::connection(&deps, &at.key).await?;
    let newest = PageRequest::first(1);
    let (operations, attention, pace, logs, rules) = tokio::try_join!(
        async { Ok(deps.store.list_operations(&at.key, &newest).await?) },
        count_attention(&deps, &at.key),
        async { Ok(deps.store.load_rate_limit(&at.key).await?) },
        logs(&deps, &at.key),
        async { Ok(rule_status::count_matches(&deps, &connection).await?) },
    )?;
    let (state, suspension) = StateView::of(&connection.state);
    Ok(Json(StatusView {
        connection: at.key.connection.to_string(),
        state,
        suspension,
        last_operation: operations.items.first().map(OperationView::new),
        attention,
        pace: RateLimitView::new(
            pace.as_ref().map(|stored| &stored.rate_limit),
            &deps.budgets.limits().bound(connection.limits),
            deps.clock.now(),
        ),
        writes: WritesView::new(pace.as_ref().map(|stored| &stored.rate_limit)),
        logs,
        rules,
    }))
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
                state: channel.state.into(),
                expires_at: channel.expires_at.to_string(),
            }),
            ..LogView::new(&log)
        });
    }
    Ok(views)
}

impl LogView {
    fn new(log: &Log) -> Self {
        let (position, operation, left_at) = match &log.position {
            LogPosition::New => (PositionView::New, None, None),
            LogPosition::Listing(id) => (PositionView::Listing, Some(id.to_string()), None),
            LogPosition::Following => (PositionView::Following, None, None),
            LogPosition::Left { at } => (PositionView::Left, None, Some(at.to_string())),
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
            stopped: log.stop.as_ref().map(StopView::from),
            channel: None,
        }
    }
}
