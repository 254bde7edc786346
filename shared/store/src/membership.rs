//! Shared drives that a connection's user joins and leaves: their logs come, go, and come back.
//!
//! A log that was left stays, so that what came by it can be told from what did not, and so that the
//! files of a drive that is joined again go on with their history.

use domain::{ConnectionKey, LogId, Timestamp};

use crate::logs::{decode_log, log_key, settle, unmoved};
use crate::operation_item::{encode_operation, operation_key};
use crate::operations::changed;
use crate::store::{Applied, Transacted};
use crate::update::{Replaces, Update};
use crate::{
    Log, Operation, OperationKind, OperationState, Position, Store, StoreError, Updated, Written,
};

/// Why a listing ends whose shared drive is not there any more.
const LEFT: &str = "the shared drive was left";

/// How far a walk through our own records has come: totals, not increments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// A cursor of [`Store::list_files`] to go on from; `None` to begin at the start.
    pub position: Option<String>,
    /// Files that something was queued for.
    pub listed: u64,
    /// How many of them had been queued when the present walk began.
    pub verified: u64,
    /// Whole walks that are done, in the place of pages.
    pub rounds: u32,
    /// When to go on.
    pub due_at: Timestamp,
}

impl Store {
    /// Leaves a shared drive, if its log is still as in `log`: nothing is read of it from now on, a
    /// listing of it that is under way has failed, and `leave` (of the kind [`OperationKind::Leave`])
    /// exists and is due at `at`; all or nothing.
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
            position: Position::Left { at },
            next_poll_at,
            ..log.clone()
        };
        let left = unmoved(log)
            .remove("cursor")
            .set_text("position", next.position.text())
            .set_number("next_poll_at", next_poll_at.as_millis())
            .due(Some(next_poll_at));
        let leave = Operation {
            kind: OperationKind::Leave,
            state: OperationState::Listed,
            due_at: Some(at),
            ..leave.clone()
        };
        let mut writes = vec![
            left.in_transaction(&self.table)?,
            Replaces::Nothing.in_transaction(encode_operation(&leave)?, &self.table)?,
        ];
        if let Position::Listing(listing) = &log.position {
            let failed = OperationState::Failed {
                reason: LEFT.to_owned(),
            };
            let ended = Update::of(operation_key(&log.key, listing))
                .when_text("state", OperationState::Listing.text())
                .set_text("state", failed.text())
                .set_text("reason", LEFT)
                .set_number("finished_at", at.as_millis());
            writes.push(ended.in_transaction(&self.table)?);
        }
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Written::Done(next));
        }
        let current = self.load_log(&log.key, &log.log).await?;
        Ok(settle(next, current))
    }

    /// Takes up the log of a shared drive that was left, if it is still as in `log`: as if nothing had
    /// been read of it, and due at `now`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rejoin_log(&self, log: &Log, now: Timestamp) -> Result<Written<Log>, StoreError> {
        let next = Log {
            cursor: None,
            position: Position::New,
            channel: None,
            next_poll_at: now,
            ..log.clone()
        };
        let update = unmoved(log)
            .set_text("position", next.position.text())
            .remove("channel")
            .set_number("next_poll_at", now.as_millis())
            .due(Some(now));
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(&log.key, item)?)),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_log(&log.key, item)).transpose()?;
                Ok(settle(next, current))
            }
        }
    }

    /// Records what the shared drive of a log is called.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn name_drive(
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

    /// Records that the user's shared drives were compared with our logs, if the user's log is still as in
    /// `log`: a listing that began meanwhile wants them compared again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_drives_checked(
        &self,
        log: &Log,
        at: Timestamp,
    ) -> Result<Written<Log>, StoreError> {
        let update = unmoved(log).set_number("drives_checked_at", at.as_millis());
        match self.update(update).await? {
            Applied::Done(item) => Ok(Written::Done(decode_log(&log.key, item)?)),
            Applied::Refused(current) => {
                let current = current.map(|item| decode_log(&log.key, item)).transpose()?;
                Ok(Written::Stale(current))
            }
        }
    }

    /// Records how far a walk of a `Listed` operation through our own records has come, if it still
    /// stands where `operation` has it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn record_walk(
        &self,
        operation: &Operation,
        walked: Walked,
    ) -> Result<Written<Operation>, StoreError> {
        let after = Operation {
            page_token: walked.position,
            listed: walked.listed,
            verified: walked.verified,
            pages: walked.rounds,
            due_at: Some(walked.due_at),
            ..operation.clone()
        };
        let update = Update::of(operation_key(&operation.key, &operation.id))
            .when_text("state", OperationState::Listed.text())
            .when_number("pages", operation.pages);
        self.replace_operation(changed(update, operation, &after), after)
            .await
    }
}
