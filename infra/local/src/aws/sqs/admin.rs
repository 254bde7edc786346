//! Queues themselves: made, listed, changed, purged, deleted; and dead letters moved back.

use super::engine::{Sqs, State, message_id, queue_name};
use super::error::SqsError;
use super::queue::{Depth, Entry, Queue};
use super::settings::{Attributes, Settings, queue_arn, queue_name_of_arn};
use super::storage::{self, Move};

/// A finished `StartMessageMoveTask`. A task runs to its end within the request, so there is nothing to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTask {
    /// Names the task.
    pub handle: String,
    /// The ARN of the dead-letter queue.
    pub source_arn: String,
    /// The ARN of the queue that all messages went to; None: each went back to the queue that it came from.
    pub destination_arn: Option<String>,
    /// Messages moved.
    pub moved: u64,
    /// Messages that were there when it started.
    pub to_move: u64,
    /// Why some messages stayed, in SQS's word.
    pub failure: Option<&'static str>,
    /// When it ran, in milliseconds of Unix time.
    pub started_at_ms: i64,
}

impl Sqs {
    /// Makes a queue. Making it again with the same attributes does nothing.
    ///
    /// # Errors
    /// The name is not a FIFO queue's (standard queues are not part of this server), an attribute is refused, a queue has the
    /// name and other attributes, or the database failed.
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

    /// Changes attributes of a queue. A changed delay also holds for messages that are already there.
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

    /// All attributes of a queue, the counts of its messages among them.
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

    /// How many messages a queue holds. Does not count as a request.
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

    /// Refuses a name or URL that is no queue's; gives the name.
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

    /// The names of the queues that begin with `prefix`, in order.
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

    /// The names of the queues whose dead-letter queue this is, in order.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn dead_letter_sources(&self, queue: &str) -> Result<Vec<String>, SqsError> {
        self.count("ListDeadLetterSourceQueues", 0);
        let state = self.state();
        let name = queue_name(queue);
        if !state.queues.contains_key(name) {
            return Err(SqsError::QueueDoesNotExist);
        }
        let mut sources = sources_of(&state, name);
        sources.sort();
        Ok(sources)
    }

    /// Deletes all messages of a queue, those in flight included.
    ///
    /// # Errors
    /// The queue does not exist, or the database failed.
    pub fn purge_queue(&self, queue: &str) -> Result<(), SqsError> {
        self.count("PurgeQueue", 0);
        self.empty(queue_name(queue), false)
    }

    /// Deletes a queue with its messages.
    ///
    /// # Errors
    /// The queue does not exist, or the database failed.
    pub fn delete_queue(&self, queue: &str) -> Result<(), SqsError> {
        self.count("DeleteQueue", 0);
        self.empty(queue_name(queue), true)
    }

    fn empty(&self, name: &str, whole: bool) -> Result<(), SqsError> {
        let mut state = self.state();
        let State {
            connection, queues, ..
        } = &mut *state;
        let queue = queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)?;
        let transaction = connection.transaction()?;
        storage::delete_queue(&transaction, queue.id, whole)?;
        transaction.commit()?;
        queue.clear();
        queue.notify.notify_waiters();
        if whole {
            queues.remove(name);
        }
        Ok(())
    }

    /// Moves every message of a dead-letter queue that is not in flight to `destination_arn`, or, without one, to the queue
    /// that it came from. As on AWS a moved message is a new one: new id, sent now, never received. Pacing is not part of
    /// this server: the task has finished when this returns.
    ///
    /// # Errors
    /// The source is no dead-letter queue, a queue does not exist, or the database failed.
    pub fn start_message_move_task(
        &self,
        source_arn: &str,
        destination_arn: Option<&str>,
    ) -> Result<MoveTask, SqsError> {
        self.count("StartMessageMoveTask", 0);
        let now = self.now_ms();
        let mut state = self.state();
        let not_found = || {
            SqsError::ResourceNotFound(
                "The resource that you specified for the SourceArn parameter doesn't exist.".into(),
            )
        };
        let source = queue_name_of_arn(source_arn)
            .ok_or_else(not_found)?
            .to_owned();
        let picks = state.queues.get(&source).ok_or_else(not_found)?.idle(now);
        if sources_of(&state, &source).is_empty() {
            let reason = "Source queue must be configured as a Dead Letter Queue.";
            return Err(SqsError::InvalidParameterValue(reason.into()));
        }
        let destination = match destination_arn {
            Some(arn) => Some(existing(&state, arn)?),
            None => None,
        };
        let mut moves = Vec::new();
        for pick in &picks {
            let sequence = pick.entry.sequence;
            let origin = match &destination {
                Some(name) => Some(name.clone()),
                None => storage::source_of(&state.connection, sequence)?,
            };
            if let Some(to) = origin.filter(|name| state.queues.contains_key(name)) {
                moves.push((pick, to, state.next_sequence(now)));
            }
        }
        let State {
            connection, queues, ..
        } = &mut *state;
        let transaction = connection.transaction()?;
        for (pick, to, sequence) in &moves {
            let to = Move {
                queue: queues.get(to).map_or(0, |queue| queue.id),
                sequence: *sequence,
                source: None,
                sent_at: now,
                new_message_id: Some(message_id(to, *sequence)),
            };
            storage::move_message(&transaction, pick.entry.sequence, &to)?;
        }
        transaction.commit()?;
        for (pick, to, sequence) in &moves {
            if let Some(queue) = queues.get_mut(&source) {
                queue.remove(pick.entry.sequence, now);
            }
            if let Some(queue) = queues.get_mut(to) {
                queue.push(&pick.group, Entry::new(*sequence, now), now);
                queue.notify.notify_waiters();
            }
        }
        let (moved, to_move) = (moves.len() as u64, picks.len() as u64);
        let task = MoveTask {
            handle: message_id(&source, state.next_sequence(now)),
            source_arn: source_arn.to_owned(),
            destination_arn: destination_arn.map(ToOwned::to_owned),
            moved,
            to_move,
            failure: (moved < to_move).then_some("CouldNotDetermineMessageSource"),
            started_at_ms: now,
        };
        state.tasks.push(task.clone());
        Ok(task)
    }

    /// The move tasks from this queue since the server was opened, the newest first.
    ///
    /// # Errors
    /// The queue does not exist.
    pub fn move_tasks(&self, source_arn: &str, max: usize) -> Result<Vec<MoveTask>, SqsError> {
        self.count("ListMessageMoveTasks", 0);
        let state = self.state();
        existing(&state, source_arn)?;
        let of_source = state
            .tasks
            .iter()
            .rev()
            .filter(|task| task.source_arn == source_arn);
        Ok(of_source.take(max).cloned().collect())
    }
}

fn existing(state: &State, arn: &str) -> Result<String, SqsError> {
    let name = queue_name_of_arn(arn).filter(|name| state.queues.contains_key(*name));
    name.map(ToOwned::to_owned).ok_or_else(|| {
        SqsError::ResourceNotFound("One or more of the specified resources don't exist.".into())
    })
}

fn sources_of(state: &State, dead_letter_queue: &str) -> Vec<String> {
    let redrives_here = |queue: &&Queue| {
        queue
            .settings
            .redrive
            .as_ref()
            .is_some_and(|r| r.dead_letter_queue == dead_letter_queue)
    };
    state
        .queues
        .values()
        .filter(redrives_here)
        .map(|queue| queue.name.clone())
        .collect()
}

/// A dead-letter queue exists before a queue names it, and is another queue.
fn check_redrive(state: &State, name: &str, settings: &Settings) -> Result<(), SqsError> {
    match &settings.redrive {
        Some(redrive)
            if redrive.dead_letter_queue == name
                || !state.queues.contains_key(&redrive.dead_letter_queue) =>
        {
            let reason = "Value for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.";
            Err(SqsError::InvalidParameterValue(reason.into()))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_name(name: &str, attributes: &Attributes) -> Result<(), SqsError> {
    let fifo = attributes
        .get("FifoQueue")
        .is_some_and(|value| value == "true");
    let stem = name.strip_suffix(".fifo");
    if stem.is_none() && !fifo {
        let reason =
            "Only FIFO queues are served here: a name that ends in .fifo, and FifoQueue=true.";
        return Err(SqsError::UnsupportedOperation(reason.into()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match stem {
        Some(stem) if fifo && !stem.is_empty() && name.len() <= 80 && stem.chars().all(allowed) => {
            Ok(())
        }
        Some(_) | None => Err(SqsError::InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.".into(),
        )),
    }
}
