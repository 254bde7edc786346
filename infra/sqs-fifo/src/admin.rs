//! Queue management: creating, listing, configuring and deleting queues.

use super::engine::{Sqs, State, queue_name};
use super::error::SqsError;
use super::queue::{Depth, Queue};
use super::settings::{Attributes, Settings, queue_arn};
use super::storage;

impl Sqs {
    /// Creates a queue. Creating it again with the same attributes does nothing.
    ///
    /// # Errors
    /// The name does not suit the type of the queue, an attribute is refused, a queue of this name
    /// has other attributes, or the database failed.
    pub fn create_queue(&self, name: &str, attributes: &Attributes) -> Result<(), SqsError> {
        self.count("CreateQueue", 0);
        check_name(name, attributes)?;
        let settings = Settings::default().with(attributes)?;
        let now = self.now_ms();
        let mut state = self.state();
        check_redrive(&state, name, &settings)?;
        if let Some(queue) = state.queues.get(name) {
            let wanted = queue.settings.with(attributes)?;
            if wanted == queue.settings {
                return Ok(());
            }
            let (is, wanted) = (queue.settings.attributes(), wanted.attributes());
            let different = wanted
                .into_iter()
                .find(|(key, value)| is.get(key) != Some(value));
            return Err(SqsError::QueueNameExists(different.unwrap_or_default().0));
        }
        let text = serde_json::to_string(&settings.attributes())?;
        let id = storage::put_queue(&state.connection, name, &text, now, now)?;
        state
            .queues
            .insert(name.to_owned(), Queue::new(id, name, settings, now));
        Ok(())
    }

    /// Changes attributes of a queue. A new delay also applies to messages already in the queue.
    ///
    /// # Errors
    /// The queue does not exist, an attribute is refused, or the database failed.
    pub fn set_queue_attributes(
        &self,
        queue: &str,
        attributes: &Attributes,
    ) -> Result<(), SqsError> {
        self.count("SetQueueAttributes", 0);
        let now = self.now_ms();
        let mut state = self.state();
        let name = queue_name(queue);
        let queue = state.queues.get(name).ok_or(SqsError::QueueDoesNotExist)?;
        if attributes.contains_key("FifoQueue") {
            return Err(SqsError::InvalidAttributeName("FifoQueue".into()));
        }
        let settings = queue.settings.with(attributes)?;
        check_redrive(&state, name, &settings)?;
        let text = serde_json::to_string(&settings.attributes())?;
        storage::put_queue(&state.connection, name, &text, now, now)?;
        if let Some(queue) = state.queues.get_mut(name) {
            queue.set_settings(settings, now);
            queue.modified_at = now;
            queue.notify.notify_waiters();
        }
        Ok(())
    }

    /// Returns all attributes of a queue, including the numbers of its messages.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn queue_attributes(&self, queue: &str) -> Result<Attributes, SqsError> {
        self.count("GetQueueAttributes", 0);
        let now = self.now_ms();
        let state = self.state();
        let queue = state
            .queues
            .get(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        let depth = queue.depth(now);
        let mut attributes = queue.settings.attributes();
        attributes.extend(
            [
                ("QueueArn", queue_arn(&queue.name)),
                ("ApproximateNumberOfMessages", depth.visible.to_string()),
                (
                    "ApproximateNumberOfMessagesNotVisible",
                    depth.in_flight.to_string(),
                ),
                (
                    "ApproximateNumberOfMessagesDelayed",
                    depth.delayed.to_string(),
                ),
                ("CreatedTimestamp", (queue.created_at / 1000).to_string()),
                (
                    "LastModifiedTimestamp",
                    (queue.modified_at / 1000).to_string(),
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        Ok(attributes)
    }

    /// Returns the number of messages in a queue. Does not count as a request.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn depth(&self, queue: &str) -> Result<Depth, SqsError> {
        let now = self.now_ms();
        let state = self.state();
        let queue = state
            .queues
            .get(queue_name(queue))
            .ok_or(SqsError::QueueDoesNotExist)?;
        Ok(queue.depth(now))
    }

    /// Returns the name of the queue with this name or URL.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn find_queue(&self, queue: &str) -> Result<String, SqsError> {
        self.count("GetQueueUrl", 0);
        let name = queue_name(queue);
        let found = self.state().queues.contains_key(name);
        if found {
            Ok(name.to_owned())
        } else {
            Err(SqsError::QueueDoesNotExist)
        }
    }

    /// Returns the names of the queues that begin with `prefix`, in order.
    #[must_use]
    pub fn list_queues(&self, prefix: &str) -> Vec<String> {
        self.count("ListQueues", 0);
        let state = self.state();
        let mut names: Vec<String> = state
            .queues
            .keys()
            .filter(|name| name.starts_with(prefix))
            .cloned()
            .collect();
        names.sort();
        names
    }

    /// Deletes a queue with its messages.
    ///
    /// # Errors
    /// The queue does not exist, or the database failed.
    pub fn delete_queue(&self, queue: &str) -> Result<(), SqsError> {
        self.count("DeleteQueue", 0);
        let name = queue_name(queue);
        let mut state = self.state();
        let State {
            connection, queues, ..
        } = &mut *state;
        let queue = queues.get(name).ok_or(SqsError::QueueDoesNotExist)?;
        let transaction = connection.transaction()?;
        storage::delete_queue(&transaction, queue.id)?;
        transaction.commit()?;
        queue.notify.notify_waiters();
        queues.remove(name);
        Ok(())
    }
}

/// Checks that the dead-letter queue exists and is not the queue itself.
fn check_redrive(state: &State, name: &str, settings: &Settings) -> Result<(), SqsError> {
    match &settings.redrive {
        Some(redrive)
            if redrive.dead_letter_queue == name
                || !state.queues.contains_key(&redrive.dead_letter_queue) =>
        {
            let reason = "Value for parameter RedrivePolicy is invalid. \
                          Reason: Dead letter target does not exist.";
            Err(SqsError::InvalidParameterValue(reason.into()))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_name(name: &str, attributes: &Attributes) -> Result<(), SqsError> {
    let fifo = attributes
        .get("FifoQueue")
        .is_some_and(|value| value == "true");
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = |stem: &str| !stem.is_empty() && name.len() <= 80 && stem.chars().all(allowed);
    match (fifo, name.strip_suffix(".fifo")) {
        (true, Some(stem)) if fits(stem) => Ok(()),
        (false, None) if fits(name) => Ok(()),
        (true, _) => Err(SqsError::InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
             underscores, must end with .fifo suffix and be 1 to 80 in length."
                .into(),
        )),
        (false, _) => Err(SqsError::InvalidParameterValue(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
                .into(),
        )),
    }
}
