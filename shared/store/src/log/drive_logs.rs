//! The shared drives that a connection's user joins and leaves, and what Drive refuses of logs.
//!
//! The log of a drive that was left is kept, so that the files of that drive can be told from
//! others, and so that they continue their history when the drive is joined again.

use domain::operation::PageWalk;
use domain::{ConnectionKey, LogId, Operation, OperationState, Suspicion, Timestamp};

use crate::log::logs::{decode_log, if_unmoved, log_key, move_outcome};
use crate::operation::operation_item::{encode_operation, operation_key};
use crate::table::item::EXPIRES;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{Log, LogPosition, Store, StoreError, Updated, Written};

/// The failure reason of a listing whose shared drive was left.
const LEFT: &str = "the shared drive was left";

impl Store {
    /// Leaves a shared drive, if its log is unchanged since `log` was read: nothing of it is read
    /// from now on, a listing of it in progress has failed, and `leave` exists; all or nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn leave_log(
        &self,
        log: &Log,
        leave: &Operation,
        at: Timestamp,
        next_poll_at: Timestamp,
    ) -> Result<Written<Log>, StoreError> {
        let next = Log {
            cursor: None,
            position: LogPosition::Left { at },
            next_poll_at,
            walk: PageWalk::default(),
            stop: None,
            ..log.clone()
        };
        let left = if_unmoved(log)
            .remove("cursor")
            .remove("walk")
            .remove("stop")
            .set_text("position", next.position.text())
            .set_number("next_poll_at", next_poll_at.as_millis())
            .due(Some(next_poll_at));
        let mut writes = vec![
            Write::Update(left),
            Write::Put(
                encode_operation(&self.with_cause(leave))?,
                Replaces::Nothing,
            ),
        ];
        if let LogPosition::Listing(listing) = &log.position {
            let ended = Update::of(operation_key(&log.key, listing))
                .when_text("state", OperationState::Listing.label())
                .set_text("state", OperationState::Failed.label())
                .set_text("reason", LEFT)
                .set_number("finished_at", at.as_millis())
                .set_number(EXPIRES, self.retention.after(at).as_seconds());
            writes.push(Write::Update(ended));
        }
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Written::Done(next));
        }
        let current = self.load_log(&log.key, &log.log).await?;
        Ok(move_outcome(next, current))
    }

    /// Starts the log of a shared drive that was left and joined again, if it is unchanged since
    /// `log` was read: as if nothing had been read of it, and due at `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rejoin_log(&self, log: &Log, now: Timestamp) -> Result<Written<Log>, StoreError> {
        let next = Log {
            cursor: None,
            position: LogPosition::New,
            channel: None,
            next_poll_at: now,
            ..log.clone()
        };
        let update = if_unmoved(log)
            .set_text("position", next.position.text())
            .remove("channel")
            .set_number("next_poll_at", now.as_millis())
            .due(Some(now));
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(&log.key, item)?)),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_log(&log.key, item)).transpose()?;
                Ok(move_outcome(next, current))
            }
        }
    }

    /// Records the name of a log's shared drive.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_drive_name(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        name: &str,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(log_key(key, log)).set_text("drive_name", name);
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Records that the user's shared drives were compared with the stored logs, if the user's log
    /// is unchanged since `log` was read. A listing that started meanwhile requires another
    /// comparison.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_drives_checked(
        &self,
        log: &Log,
        at: Timestamp,
    ) -> Result<Written<Log>, StoreError> {
        let update = if_unmoved(log).set_number("drives_checked_at", at.as_millis());
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(&log.key, item)?)),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_log(&log.key, item)).transpose()?;
                Ok(Written::Stale(current))
            }
        }
    }

    /// Records that Drive answers that the log, or its cursor, does not exist; `None` that it does
    /// again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_log_missing(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        missing: Option<Suspicion>,
    ) -> Result<Updated, StoreError> {
        let (since, times) = missing.map_or((0, 0), |m| (m.since.as_millis(), m.times));
        let update = Update::of(log_key(key, log))
            .set_number("missing_since", since)
            .set_number("missing_times", times);
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Records that Drive refused to watch the log for the `failures`-th time in a row, and that
    /// the next attempt is not before `again_at`. Setting a channel clears both.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn postpone_watch(
        &self,
        key: &ConnectionKey,
        log: &LogId,
        failures: u32,
        again_at: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(log_key(key, log))
            .set_number("watch_failures", failures)
            .set_number("watch_again_at", again_at.as_millis());
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }
}
