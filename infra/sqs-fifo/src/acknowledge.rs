//! Requests with a receipt handle: deleting messages and changing their visibility timeout.

use super::engine::{Deleted, Sqs, State, check_batch, queue_name};
use super::error::SqsError;
use super::message::Receipt;
use super::queue::{Queue, ReceiptState};
use super::storage;

impl Sqs {
    /// Deletes messages by their receipt handles in one transaction (`DeleteMessage`, and
    /// `DeleteMessageBatch` for several). Returns one result for each, in their order. Deleting a
    /// message that no longer exists succeeds.
    ///
    /// A handle whose visibility timeout has passed, or whose message has been received again, is
    /// refused on a FIFO queue (`InvalidParameterValue`, "The receipt handle has expired": AWS
    /// re:Post, "receipt handle error"). On a standard queue the latest handle deletes in any case,
    /// and an earlier one succeeds without an effect (API reference, `DeleteMessage`).
    ///
    /// # Errors
    /// As a whole: the queue does not exist, there are not one to ten handles, or the database
    /// failed.
    pub fn delete(
        &self,
        queue: &str,
        handles: &[String],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        self.count(
            if handles.len() == 1 {
                "DeleteMessage"
            } else {
                "DeleteMessageBatch"
            },
            0,
        );
        check_batch(handles.len())?;
        let now = self.now_ms();
        let mut state = self.state();
        let State {
            connection, queues, ..
        } = &mut *state;
        let name = queue_name(queue);
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let mut count = Deleted::default();
        let transaction = connection.transaction()?;
        let mut deleted = Vec::with_capacity(handles.len());
        let mut results = Vec::with_capacity(handles.len());
        for handle in handles {
            results.push(match parse_receipt(queue, handle) {
                Err(refusal) => Err(refusal),
                Ok(receipt) => match queue.receipt_state(receipt, now) {
                    ReceiptState::Expired { latest: false } if !queue.settings.fifo => Ok(()),
                    ReceiptState::Expired { latest } if queue.settings.fifo || !latest => {
                        Err(SqsError::ReceiptHandleExpired(handle.clone()))
                    }
                    ReceiptState::InFlight | ReceiptState::Expired { .. } => {
                        storage::delete(&transaction, receipt.sequence)?;
                        deleted.push(receipt.sequence);
                        count.all += 1;
                        count.at_first += u64::from(receipt.receive_count == 1);
                        Ok(())
                    }
                    ReceiptState::Gone => Ok(()),
                },
            });
        }
        transaction.commit()?;
        for sequence in deleted {
            queue.remove(sequence, now);
        }
        queue.notify.notify_waiters();
        self.count_deleted(name, count);
        Ok(results)
    }

    /// Sets the time for which messages stay in flight from now on, in seconds; 0 makes them
    /// visible at once (`ChangeMessageVisibility`, and `ChangeMessageVisibilityBatch` for several).
    /// Returns one result for each, in their order.
    ///
    /// # Errors
    /// As a whole: the queue does not exist, or there are not one to ten entries.
    pub fn change_visibility(
        &self,
        queue: &str,
        changes: &[(String, i64)],
    ) -> Result<Vec<Result<(), SqsError>>, SqsError> {
        let single = changes.len() == 1;
        let actions = ["ChangeMessageVisibilityBatch", "ChangeMessageVisibility"];
        self.count(if single { actions[1] } else { actions[0] }, 0);
        check_batch(changes.len())?;
        let now = self.now_ms();
        let mut state = self.state();
        let queue = state
            .queues
            .get_mut(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        let results = changes.iter().map(|(handle, seconds)| {
            let receipt = parse_receipt(queue, handle)?;
            if !(0..=43_200).contains(seconds) {
                return Err(SqsError::InvalidParameterValue(format!(
                    "Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total \
                     VisibilityTimeout for the message is beyond the limit [43200 seconds]"
                )));
            }
            match queue.receipt_state(receipt, now) {
                ReceiptState::InFlight => {
                    queue.forget_attempts_of(receipt.sequence);
                    queue.set_visible_at(receipt.sequence, now + seconds * 1000, now);
                    Ok(())
                }
                ReceiptState::Expired { latest: true } => Err(SqsError::MessageNotInflight),
                ReceiptState::Expired { latest: false } => {
                    Err(SqsError::ReceiptHandleExpired(handle.clone()))
                }
                ReceiptState::Gone => Err(SqsError::InvalidParameterValue(format!(
                    "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does \
                     not exist or is not available for visibility timeout change."
                ))),
            }
        });
        let results = results.collect();
        queue.notify.notify_waiters();
        Ok(results)
    }
}

fn parse_receipt(queue: &Queue, handle: &str) -> Result<Receipt, SqsError> {
    Receipt::parse(handle)
        .filter(|receipt| receipt.queue == queue.id)
        .ok_or_else(|| SqsError::ReceiptHandleIsInvalid(handle.to_owned()))
}
