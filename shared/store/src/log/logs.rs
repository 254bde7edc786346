//! Change logs: the cursor only moves on condition of its last value.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::operation::{PageWalk, Stop};
use domain::{
    ChannelId, ConnectionKey, LogId, Operation, OperationId, PageToken, Suspicion, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::file::index_state::indexed_log;
use crate::file::value_item::at;
use crate::operation::operation_item::encode_operation;
use crate::operation::page_walk_item::{StopItem, WalkItem};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, connection_pk, due_place};
use crate::table::page::PageRequest;
use crate::table::range::Range;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{Created, Indexed, Store, StoreError, Updated, Written};

/// The state of one Drive change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The connection that it belongs to.
    pub key: ConnectionKey,
    /// The id of the log.
    pub log: LogId,
    /// The token of the next `changes.list`; `None` before the first listing starts.
    pub cursor: Option<PageToken>,
    /// Whether the log is followed, or waits for a listing of all files.
    pub position: LogPosition,
    /// The start of the last complete listing of changes: an earlier wake carries no news.
    pub listed_from: Option<Timestamp>,
    /// The latest time of its next poll.
    pub next_poll_at: Timestamp,
    /// Its notification channel.
    pub channel: Option<ChannelId>,
    /// The number of `watch` requests in a row that Drive refused.
    pub watch_failures: u32,
    /// The time before which Drive is not asked for a channel again.
    pub watch_again_at: Option<Timestamp>,
    /// The time of the last observed change, as Drive reports it.
    pub last_change_at: Option<Timestamp>,
    /// The delay between that change and its queuing, in milliseconds.
    pub lag_millis: Option<i64>,
    /// The name of its shared drive; `None` for the user's log, and until the name is known.
    pub drive_name: Option<String>,
    /// The time at which the shared drives of the log's user were last compared with the stored
    /// logs; `None` until that is done after the start of the last listing of files. Only set on
    /// the user's log.
    pub drives_checked_at: Option<Timestamp>,
    /// Set while Drive answers that the log, or the cursor, does not exist, which is not believed
    /// yet.
    pub missing: Option<Suspicion>,
    /// The way along the pages of changes since the end of the log was last reached.
    pub walk: PageWalk,
    /// The last time that the reading of changes was stopped, until the end of the log is reached.
    pub stop: Option<Stop>,
    /// The time at which a comparison of the log's files with the stored records last began by
    /// itself, or at which the intervals between them began; `None` until the first check.
    pub compared_at: Option<Timestamp>,
}

/// The way in which a log is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPosition {
    /// Nothing was read yet.
    New,
    /// An operation lists all files; `changes.list` waits until they are queued.
    Listing(OperationId),
    /// Changes are followed from the cursor.
    Following,
    /// The shared drive is no longer accessible: nothing is read, and there is no cursor.
    Left {
        /// The time at which it was left.
        at: Timestamp,
    },
}

/// The values that are saved along with a moved cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogProgress {
    /// The start of the listing of changes, if it has reached the end of the log; `None` leaves the
    /// stored value.
    pub complete_listing_began: Option<Timestamp>,
    /// The time of the next poll; `None` leaves it to the sweep, which schedules the polls of a log
    /// without notifications.
    pub next_poll_at: Option<Timestamp>,
    /// As in [`Log`]; `None` leaves the stored value.
    pub last_change_at: Option<Timestamp>,
    /// As in [`Log`]; `None` leaves the stored value.
    pub lag_millis: Option<i64>,
    /// The way along the pages to here; `None` at the end of the log, which also ends a stop.
    pub walk: Option<PageWalk>,
}

impl Log {
    /// Returns a log of which nothing was read yet, due for its first poll at `next_poll_at`.
    #[must_use]
    pub fn new(key: ConnectionKey, log: LogId, next_poll_at: Timestamp) -> Self {
        Self {
            key,
            log,
            cursor: None,
            position: LogPosition::New,
            listed_from: None,
            next_poll_at,
            channel: None,
            watch_failures: 0,
            watch_again_at: None,
            last_change_at: None,
            lag_millis: None,
            drive_name: None,
            drives_checked_at: None,
            missing: None,
            walk: PageWalk::default(),
            stop: None,
            compared_at: None,
        }
    }
}

/// Whose log a listing begins for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListedLog {
    /// The one that was followed before.
    Same,
    /// Another account's: the channel was on the log of the one before.
    OfAnotherAccount,
}

/// Returns the writes that begin a listing of every file of a log, if its cursor and position are
/// still those of `log`.
pub(crate) fn listing_writes(
    log: &Log,
    start: &PageToken,
    operation: &Operation,
    listed: ListedLog,
) -> Result<Vec<Write>, StoreError> {
    let position = LogPosition::Listing(operation.id.clone());
    let update = if_unmoved(log)
        .set_text("cursor", start.as_str())
        .set_text("position", position.text())
        .remove("drives_checked_at")
        .remove("walk")
        .remove("stop");
    let update = match listed {
        ListedLog::Same => update,
        ListedLog::OfAnotherAccount => update.remove("channel"),
    };
    Ok(vec![
        Write::Update(update),
        Write::Put(encode_operation(operation)?, Replaces::Nothing),
    ])
}

impl Store {
    /// Creates a log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_log(&self, log: &Log) -> Result<Created<Log>, StoreError> {
        match self.put(encode_log(log)?, Replaces::Nothing).await? {
            Applied::Done(_) => Ok(Created::Created),
            Applied::Refused(Some(item)) => {
                let current = decode_log(&log.key, item)?;
                Ok(if current == *log {
                    Created::Created
                } else {
                    Created::Exists(current)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("the existing item was not returned")),
        }
    }

    /// Reads one log consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_log(
        &self,
        key: &ConnectionKey,
        log: &LogId,
    ) -> Result<Option<Log>, StoreError> {
        let item = self
            .get(&Key::of_connection(key, "LOG", log.as_str()))
            .await?;
        item.map(|item| decode_log(key, item)).transpose()
    }

    /// Lists all logs of a connection: one, or a few.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_logs(&self, key: &ConnectionKey) -> Result<Vec<Log>, StoreError> {
        let logs = self.list_logs_with_index_state(key).await?;
        Ok(logs.into_iter().map(|log| log.value).collect())
    }

    /// Lists the same as [`Store::list_logs`], each with the state of its index entries.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_logs_with_index_state(
        &self,
        key: &ConnectionKey,
    ) -> Result<Vec<Indexed<Log>>, StoreError> {
        let range = Range::prefix(None, connection_pk(key), "LOG#");
        let items = self.whole_range(range, PageRequest::LIMIT_MAX).await?;
        let logs = items.into_iter().map(|item| indexed_log(key, item));
        logs.collect()
    }

    /// Starts a listing of all files, if the log is unchanged since `log` was read: the log waits
    /// for `operation`, the cursor is `start` (taken before the listing), and the operation exists;
    /// all or nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_listing(
        &self,
        log: &Log,
        start: &PageToken,
        operation: &Operation,
    ) -> Result<Written<Log>, StoreError> {
        let next = Log {
            cursor: Some(start.clone()),
            position: LogPosition::Listing(operation.id.clone()),
            drives_checked_at: None,
            walk: PageWalk::default(),
            stop: None,
            ..log.clone()
        };
        let writes = listing_writes(log, start, &self.with_cause(operation), ListedLog::Same)?;
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Written::Done(next));
        }
        let current = self.load_log(&log.key, &log.log).await?;
        Ok(move_outcome(next, current))
    }

    /// Moves the cursor to `to`, if the cursor and the position are still those of `log`. The
    /// caller must have durably queued everything before `to`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn advance(
        &self,
        log: &Log,
        to: &PageToken,
        progress: LogProgress,
    ) -> Result<Written<Log>, StoreError> {
        let mut update = if_unmoved(log).set_text("cursor", to.as_str());
        if let Some(at) = progress.next_poll_at {
            update = update
                .set_number("next_poll_at", at.as_millis())
                .due(Some(at));
        }
        if let Some(began) = progress.complete_listing_began {
            update = update.set_number("listed_from", began.as_millis());
        }
        if let Some(at) = progress.last_change_at {
            update = update.set_number("last_change_at", at.as_millis());
        }
        if let Some(lag) = progress.lag_millis {
            update = update.set_number("lag_millis", lag);
        }
        update = match progress.walk.and_then(WalkItem::of) {
            Some(walk) => update.set("walk", walk.value()?),
            None => update.remove("walk"),
        };
        if progress.walk.is_none() {
            update = update.remove("stop");
        }
        let next = Log {
            cursor: Some(to.clone()),
            ..log.clone()
        };
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(&log.key, item)?)),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_log(&log.key, item)).transpose()?;
                Ok(move_outcome(next, current))
            }
        }
    }

    /// Records that the reading of changes was stopped, if the cursor and the position are still
    /// those of `log`; it is due again at the end of the wait.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stop_reading(&self, log: &Log, stop: Stop) -> Result<Updated, StoreError> {
        let update = if_unmoved(log);
        let update = match WalkItem::of(log.walk.after(stop.reason)) {
            Some(walk) => update.set("walk", walk.value()?),
            None => update.remove("walk"),
        };
        let update = update
            .set("stop", StopItem::from(stop).value()?)
            .set_number("next_poll_at", stop.until.as_millis())
            .due(Some(stop.until));
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Ends the wait of a log whose reading was stopped: a person asks at once.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn end_stop(&self, log: &Log) -> Result<Updated, StoreError> {
        let update = Update::of(log_key(&log.key, &log.log)).remove("stop");
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Begins a comparison of a followed log's files with the stored records, if none has begun
    /// since `log` was read: the operation exists and the log has the time, or neither.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_comparison(
        &self,
        log: &Log,
        comparison: &Operation,
    ) -> Result<Updated, StoreError> {
        let writes = vec![
            Write::Update(mark_compared(log, comparison.started_at)),
            Write::Put(
                encode_operation(&self.with_cause(comparison))?,
                Replaces::Nothing,
            ),
        ];
        Ok(match self.transact(writes).await? {
            Transacted::Done => Updated::Done,
            Transacted::Refused(_) => Updated::Absent,
        })
    }

    /// Records the time from which the intervals between a log's comparisons are counted, if the
    /// log still has the one of `log`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_comparisons_from(
        &self,
        log: &Log,
        at: Timestamp,
    ) -> Result<Updated, StoreError> {
        Ok(match self.update(mark_compared(log, at)).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Sets the log's channel, if it is still `old`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_channel(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        old: Option<&ChannelId>,
        new: Option<&ChannelId>,
    ) -> Result<Written<Log>, StoreError> {
        let was = old.map(|id| AttributeValue::S(id.as_str().to_owned()));
        let update = Update::of(log_key(key, log)).when("channel", was);
        let update = match new {
            Some(id) => update
                .set_text("channel", id.as_str())
                .remove("watch_failures")
                .remove("watch_again_at"),
            None => update.remove("channel"),
        };
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(key, item)?)),
            Applied::Refused(None) => Ok(Written::Stale(None)),
            Applied::Refused(Some(item)) => {
                let current = decode_log(key, item)?;
                Ok(if current.channel.as_ref() == new {
                    Written::Done(current)
                } else {
                    Written::Stale(Some(current))
                })
            }
        }
    }

    /// Sets the latest time of the log's next poll.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_poll(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        next_poll_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(log_key(key, log))
            .set_number("next_poll_at", next_poll_at.as_millis())
            .due(Some(next_poll_at));
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Deletes a log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_log(&self, key: &ConnectionKey, log: &LogId) -> Result<(), StoreError> {
        self.delete(&log_key(key, log)).await
    }
}

/// Interprets the refused move of a log to `next`. If the log is there already, it was moved by our
/// own write, whose response was lost, or by another worker that queued the very same: either way
/// the move is done.
pub(crate) fn move_outcome(next: Log, current: Option<Log>) -> Written<Log> {
    match current {
        Some(log) if log.cursor == next.cursor && log.position == next.position => {
            Written::Done(log)
        }
        other => Written::Stale(other),
    }
}

impl LogPosition {
    /// Encodes the position as one attribute, so that one condition compares it whole.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Listing(operation) => format!("listing#{operation}"),
            Self::Following => "following".to_owned(),
            Self::Left { at } => format!("left#{}", at.as_millis()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "new" => Some(Self::New),
            "following" => Some(Self::Following),
            other => match other.strip_prefix("left#") {
                Some(millis) => millis
                    .parse()
                    .ok()
                    .map(|millis| Self::Left { at: at(millis) }),
                None => {
                    let operation = other.strip_prefix("listing#")?;
                    OperationId::parse(operation).ok().map(Self::Listing)
                }
            },
        }
    }
}

/// Returns an update of a log on condition that its cursor and position are those of `log`.
pub(crate) fn if_unmoved(log: &Log) -> Update {
    let cursor = log
        .cursor
        .as_ref()
        .map(|token| AttributeValue::S(token.as_str().to_owned()));
    Update::of(log_key(&log.key, &log.log))
        .when("cursor", cursor)
        .when_text("position", &log.position.text())
}

/// Returns the update that marks a log as compared at a time, on condition of its last time.
fn mark_compared(log: &Log, at: Timestamp) -> Update {
    let before = log.compared_at.map(Timestamp::as_millis);
    Update::of(log_key(&log.key, &log.log))
        .when_text("position", &log.position.text())
        .when(
            "compared_at",
            before.map(|at| AttributeValue::N(at.to_string())),
        )
        .set_number("compared_at", at.as_millis())
}

pub(crate) fn log_key(key: &ConnectionKey, log: &LogId) -> Key {
    Key::of_connection(key, "LOG", log.as_str())
}

#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    position: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listed_from: Option<i64>,
    next_poll_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(default)]
    watch_failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch_again_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_change_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag_millis: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drive_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drives_checked_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing_since: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing_times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    walk: Option<WalkItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<StopItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compared_at: Option<i64>,
}

pub(crate) fn encode_log(log: &Log) -> Result<Encoded, StoreError> {
    let body = Body {
        cursor: log.cursor.as_ref().map(|token| token.as_str().to_owned()),
        position: log.position.text(),
        listed_from: log.listed_from.map(Timestamp::as_millis),
        next_poll_at: log.next_poll_at.as_millis(),
        channel: log.channel.as_ref().map(|id| id.as_str().to_owned()),
        watch_failures: log.watch_failures,
        watch_again_at: log.watch_again_at.map(Timestamp::as_millis),
        last_change_at: log.last_change_at.map(Timestamp::as_millis),
        lag_millis: log.lag_millis,
        drive_name: log.drive_name.clone(),
        drives_checked_at: log.drives_checked_at.map(Timestamp::as_millis),
        missing_since: log.missing.map(|missing| missing.since.as_millis()),
        missing_times: log.missing.map(|missing| missing.times),
        walk: WalkItem::of(log.walk),
        stop: log.stop.map(Into::into),
        compared_at: log.compared_at.map(Timestamp::as_millis),
    };
    let place = log_key(&log.key, &log.log);
    let mut item = encode(&place, &body)?;
    item.place(Index::Due, due_place(&place, log.next_poll_at));
    Ok(item)
}

/// No time at all stands for no suspicion.
fn missing_of(since: Option<i64>, times: Option<u32>) -> Option<Suspicion> {
    let times = times.filter(|times| *times > 0)?;
    Some(Suspicion {
        since: at(since?),
        times,
    })
}

pub(crate) fn decode_log(key: &ConnectionKey, item: Item) -> Result<Log, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let log = place
        .sk
        .strip_prefix("LOG#")
        .and_then(|id| LogId::parse(id).ok());
    let position = LogPosition::parse(&body.position);
    let (Some(log), Some(position)) = (log, position) else {
        return Err(place.corrupt("its key or position is invalid"));
    };
    let channel = body.channel.map(|id| ChannelId::parse(&id)).transpose();
    Ok(Log {
        key: key.clone(),
        log,
        cursor: body.cursor.map(PageToken::new),
        position,
        listed_from: body.listed_from.map(at),
        next_poll_at: at(body.next_poll_at),
        channel: channel.map_err(|_| place.corrupt("the id of its channel is invalid"))?,
        watch_failures: body.watch_failures,
        watch_again_at: body.watch_again_at.map(at),
        last_change_at: body.last_change_at.map(at),
        lag_millis: body.lag_millis,
        drive_name: body.drive_name,
        drives_checked_at: body.drives_checked_at.map(at),
        missing: missing_of(body.missing_since, body.missing_times),
        walk: body.walk.map(Into::into).unwrap_or_default(),
        stop: body.stop.and_then(StopItem::into_stop),
        compared_at: body.compared_at.map(at),
    })
}
