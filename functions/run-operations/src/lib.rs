//! Runs everything that takes longer than a call: arrival checks, second looks, audits,
//! comparisons, repairs, content scans, marking the files of a drive that was left, erasing
//! connections, persons and tenants, exports, and restores.
//!
//! `domain::operation` decides what to do next and what a result means; this function does it, and
//! records each transition before the next step. An operation that can't continue now stays due,
//! and the sweep wakes it again: nothing here is retried by the queue.

mod candidates;
mod compare;
mod erasures {
    pub(crate) mod erase;
    pub(crate) mod erase_person;
    pub(crate) mod erase_tenant;
}
mod export {
    pub(crate) mod export_lines;
    pub(crate) mod write_export;
}
mod inconsistencies;
mod list_page;
mod mark_files;
mod repair;
mod restore {
    pub(crate) mod compare_with_history;
    pub(crate) mod file_at_time;
    pub(crate) mod restore_files;
}
mod run;
mod scan_content;
mod second_look;
mod self_check;
#[cfg(test)]
mod tests;
mod verify;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::Cause;
use objects::Objects;
use runtime::aws::SdkConfig;
use runtime::{Clock, Deadline, Entropy, Settings, SettingsError, VersionCheck};
use store::Store;
use throttle::{DriveFactory, WaitBudget};
use worker::version_check::{check_receiving, check_secrets, check_sending, check_table};
use worker::{ConnectError, Consumer, ContentQueues, OperationWake, Queue, Services, WakeQueues};

/// Timeouts of Drive calls. A page of a listing may take Drive a while.
const DRIVE_TIMEOUTS: drive::Timeouts = drive::Timeouts {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(10),
};

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of operations and of what they check.
    pub store: Store,
    /// Drive with each connection's credentials and rate limit.
    pub drives: DriveFactory,
    /// The queues of wakes; that of operations is consumed, and written to when time runs out.
    pub wakes: WakeQueues,
    /// The queues that wake `mirror-content`.
    pub contents: ContentQueues,
    /// The bucket that stores content.
    pub objects: Objects,
    /// Its copy in another region, if there is one.
    pub replica: Option<Objects>,
    /// The queue that receives repairs and lookups.
    pub snapshots_bulk: Queue,
    /// Whether Drive can reach the webhook, so that a log should have a channel.
    pub has_webhook: bool,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

impl Deps {
    /// Builds the dependencies from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn load(settings: &Settings) -> Result<Self, ConnectError> {
        let Services {
            store,
            drives,
            sqs,
            clock,
            entropy,
            aws,
            ..
        } = Services::connect(settings, DRIVE_TIMEOUTS).await?;
        Ok(Self {
            store,
            drives,
            wakes: WakeQueues::from_settings(&sqs, settings)?,
            contents: ContentQueues::from_settings(&sqs, settings)?,
            objects: Objects::new(objects::client(&aws), settings.content_bucket()?),
            replica: replica(settings, &aws)?,
            snapshots_bulk: Queue::from_setting(&sqs, settings, "SNAPSHOTS_BULK_QUEUE_URL")?,
            has_webhook: settings.optional("WEBHOOK_URL").is_some(),
            clock,
            entropy,
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            wakes: self.wakes.caused_by(cause),
            contents: self.contents.caused_by(cause),
            snapshots_bulk: self.snapshots_bulk.caused_by(cause),
            ..self.clone()
        }
    }
}

/// Connects the copy of the bucket in another region; both settings or none.
fn replica(settings: &Settings, aws: &SdkConfig) -> Result<Option<Objects>, SettingsError> {
    let Some(bucket) = settings.optional("REPLICA_BUCKET") else {
        return Ok(None);
    };
    let region = settings.required("REPLICA_REGION")?;
    let client = objects::client_in(aws, region);
    Ok(Some(Objects::new(client, bucket)))
}

/// Returns how long a call may wait for the rate limiter. An operation that is not admitted stays
/// due.
fn wait_budget(deps: &Deps) -> WaitBudget {
    WaitBudget {
        max_wait_millis: 1_000,
        deadline: deps.clock.now().plus_millis(10_000),
    }
}

/// Handles a batch of wakes. Each group is one operation. A wake is acknowledged even if the
/// operation can't continue now.
pub async fn handle(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.wakes.operations),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: usize::MAX,
        failure_metric: "operation_failed",
        failure_text: "could not continue the operation; it stays due",
    };
    let process = |_, wake: OperationWake, cause| async move {
        // Boxed, like its parts, to limit the caller's stack.
        Box::pin(run::run(&wake, cause, deadline, deps)).await;
        Ok(())
    };
    consumer.consume(event, process).await
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps, settings: &Settings) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_secrets(&mut check, &deps.drives, settings).await;
    check_receiving(&mut check, &[&deps.wakes.operations]).await;
    check_sending(
        &mut check,
        &[
            &deps.wakes.operations,
            &deps.wakes.logs,
            &deps.wakes.pushes,
            &deps.snapshots_bulk,
            &deps.contents.bulk,
        ],
    )
    .await;
    check
}
