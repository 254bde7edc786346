//! The event sources around the functions, in virtual time, and the convergence of a world.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::dynamodb::Event as StreamEvent;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use bytes::Bytes;
use domain::{ConnectionKey, Field, FileId, FileRecord, LogId};
use http::{Method, Request};
use local::aws::Queue;
use local::sources::{StreamSource, event};
use sqs_fifo::Received;
use store::LogPosition;
use store::stream::item_of_keys;

use super::{FaultRates, Sim, recorder};

/// The messages of a batch, as in the deployment.
const BATCH_MAX: usize = 10;
/// The time that a poller waits for a first message, as on Lambda.
const POLL: Duration = Duration::from_secs(20);
/// The concurrent batches of one queue.
const POLLERS: usize = 2;
/// The interval of the schedule, as on AWS.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_SECONDS: i64 = 60;
/// The interval at which Lambda polls a stream's shard.
const STREAM_EVERY: Duration = Duration::from_millis(250);
/// The polls, at least, after which the stream's shard is split: ten seconds.
const WHOLE_POLLS: u64 = 40;
/// The checks after which a world counts as not converging: three hours.
const CHECKS_MAX: usize = 540;
const CHECK_EVERY: Duration = Duration::from_secs(20);
/// The time for which functions are short of time.
const LIMITED: Duration = Duration::from_secs(30);
/// The pause before a write is repeated, if that bug is seeded.
const PAUSE: Duration = Duration::from_millis(900);

/// Seeded bugs of event sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceBugs {
    /// A batch is deleted although its function failed some of it.
    pub acknowledges_errors: bool,
    /// A batch is deleted although its function's process ended.
    pub acknowledges_crashes: bool,
    /// A function that failed once fails always.
    pub keeps_failures: bool,
    /// An unanswered write to Drive is repeated, unconditionally.
    pub writes_blindly_again: bool,
    /// A delivery to a webhook endpoint counts as accepted before its answer is there.
    pub accepts_before_answer: bool,
}

/// Returns a transport that repeats an unanswered write, unconditionally.
pub(super) fn writes_blindly_again(inner: drive::Transport) -> drive::Transport {
    Arc::new(move |request: Request<Bytes>| {
        let inner = Arc::clone(&inner);
        let mut again = request.clone();
        again.headers_mut().remove("if-match");
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let writes = *request.method() == Method::PATCH || body.contains("PATCH ");
        if writes {
            *again.body_mut() = Bytes::from(body.replace("If-Match:", "X-Match:"));
        }
        Box::pin(async move {
            match inner(request).await {
                Err(_) if writes => {
                    tokio::time::sleep(PAUSE).await;
                    inner(again).await
                }
                answer => answer,
            }
        })
    })
}

impl Sim {
    /// Starts the event sources. They end with the world.
    pub(super) fn start_sources(&self) {
        for queue in Queue::ALL {
            for _ in 0..POLLERS {
                let sim = self.clone();
                tokio::spawn(async move {
                    loop {
                        sim.poll(queue).await;
                    }
                });
            }
        }
        tokio::spawn(self.clone().read_stream());
        let sim = self.clone();
        tokio::spawn(async move {
            loop {
                sim.sweep().await;
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        });
    }

    /// Delivers the stream as it grows, for as long as the world lasts. Where events are told, its
    /// shard is split after a while, and two publishers go on.
    async fn read_stream(self) {
        let mut source = StreamSource::new(&self.0.aws);
        let polls = WHOLE_POLLS + self.0.seed % WHOLE_POLLS;
        let mut polled = 0;
        while !self.0.tells_events || polled < polls {
            self.poll_stream(&mut source).await;
            polled += 1;
        }
        for mut part in source.split() {
            let sim = self.clone();
            tokio::spawn(async move {
                loop {
                    sim.poll_stream(&mut part).await;
                }
            });
        }
    }

    async fn poll_stream(&self, source: &mut StreamSource) {
        let handle = async |event: StreamEvent| {
            if !self.is_published(&event).await {
                return Some(DynamoDbEventResponse::default());
            }
            let deps = self.warm().functions.publish_events;
            let work = async move { publish_events::handle(event, &deps).await };
            let answer = self.run("publish-events", work).await;
            match self.0.source_bugs.acknowledges_crashes {
                true => answer.or_else(|| Some(DynamoDbEventResponse::default())),
                false => answer,
            }
        };
        // A failed batch is read again, with later records.
        let _ = source.poll(handle).await;
        tokio::time::sleep(STREAM_EVERY).await;
    }

    /// Returns whether a batch is delivered: without events, if it is of a connection that mirrors
    /// content. That is read past the wire, so that the stream does not affect other worlds.
    async fn is_published(&self, event: &StreamEvent) -> bool {
        if self.0.tells_events {
            return true;
        }
        let keys = event.records.iter();
        let keys = keys.filter_map(|record| item_of_keys(&record.change.keys));
        let keys: BTreeSet<ConnectionKey> = keys.map(|(key, _)| key).collect();
        for key in keys {
            let connection = self.store().load_connection(&key).await.unwrap();
            if connection.is_some_and(|connection| connection.content.enabled) {
                return true;
            }
        }
        false
    }

    /// Runs the sweep.
    pub async fn sweep(&self) {
        let deps = self.warm().functions.sweep;
        let deadline = self.deadline(SWEEP_SECONDS);
        let work = async move { sweep::handle(deadline, &deps).await };
        self.run("sweep", work).await;
    }

    async fn poll(&self, queue: Queue) {
        let received = self
            .0
            .aws
            .sqs()
            .receive(queue.name(), BATCH_MAX, POLL)
            .await;
        let received = received.unwrap();
        if received.is_empty() {
            return;
        }
        let answer = self.invoke(queue, &received).await;
        let crashed = answer.is_none();
        let failed: BTreeSet<String> = answer
            .into_iter()
            .flat_map(|answer| answer.batch_item_failures)
            .map(|failure| failure.item_identifier)
            .collect();
        let source_bugs = self.0.source_bugs;
        if source_bugs.keeps_failures {
            let mut spoilt = self.0.spoilt.lock().unwrap();
            if spoilt.contains(queue.name()) {
                return;
            }
            if crashed || !failed.is_empty() {
                spoilt.insert(queue.name());
            }
        }
        let done = |message: &&Received| match crashed {
            true => source_bugs.acknowledges_crashes,
            false => source_bugs.acknowledges_errors || !failed.contains(&message.message_id),
        };
        let done = received.iter().filter(done);
        let done: Vec<String> = done.map(|message| message.receipt_handle.clone()).collect();
        if !done.is_empty() {
            self.0.aws.sqs().delete(queue.name(), &done).unwrap();
        }
    }

    async fn invoke(&self, queue: Queue, received: &[Received]) -> Option<SqsBatchResponse> {
        let event = event(queue, received).unwrap();
        let functions = self.warm().functions;
        let deadline = self.deadline(i64::from(queue.function_timeout_seconds()));
        match queue {
            Queue::LogWakes => {
                let deps = functions.fetch_changes;
                let work = async move { fetch_changes::handle(event, deadline, &deps).await };
                self.run("fetch-changes", work).await
            }
            Queue::Snapshots | Queue::SnapshotsBulk => {
                let deps = functions.apply_snapshots;
                let work = async move { apply_snapshots::handle(event, deadline, &deps).await };
                self.run("apply-snapshots", work).await
            }
            Queue::PushWakes => {
                let deps = functions.push_intents;
                let work = async move { push_intents::handle(event, deadline, &deps).await };
                self.run("push-intents", work).await
            }
            Queue::Operations => {
                let deps = functions.run_operations;
                let work = async move { run_operations::handle(event, deadline, &deps).await };
                self.run("run-operations", work).await
            }
            Queue::Live => {
                let deps = functions.live;
                let work = async move { live::handle_wakes(event, deadline, &deps).await };
                self.run("live", work).await
            }
            Queue::Deliver => {
                let deps = functions.live;
                let work = async move { live::handle_deliveries(event, deadline, &deps).await };
                self.run("live", work).await
            }
            Queue::Content | Queue::ContentBulk => {
                let deps = functions.mirror_content;
                let work = async move { mirror_content::handle(event, deadline, &deps).await };
                self.run("mirror-content", work).await
            }
        }
    }

    /// Waits without faults until all queues are empty, and both sides are equal or in an open
    /// conflict.
    ///
    /// # Errors
    /// The remaining differences after hours.
    pub async fn converge(&self) -> Result<(), String> {
        self.come_to_rest(true).await
    }

    /// The same, without a person who retries failed intents.
    ///
    /// # Errors
    /// The remaining differences after hours.
    pub async fn converge_alone(&self) -> Result<(), String> {
        self.come_to_rest(false).await
    }

    async fn come_to_rest(&self, retries: bool) -> Result<(), String> {
        if self.has_time_limit() {
            // Long enough for functions to run out of time.
            tokio::time::sleep(LIMITED).await;
            self.lift_time_limit();
        }
        self.wire().set_fault_rates(FaultRates::NONE);
        let mut wrong = Vec::new();
        for _ in 0..CHECKS_MAX {
            if self.queued() == 0 {
                wrong = self.differences().await;
                if wrong.is_empty() {
                    return Ok(());
                }
                if retries {
                    self.retry_failed_intents().await;
                }
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
        Err(format!(
            "does not come to rest: {} messages queued; {}",
            self.queued(),
            wrong.join("; ")
        ))
    }

    /// Retries failed intents.
    async fn retry_failed_intents(&self) {
        let Some(failed) = self
            .api(Method::GET, "/intents?status=failed", &[], None)
            .await
        else {
            return;
        };
        for intent in failed.body["items"].as_array().into_iter().flatten() {
            let file = intent["file_id"].as_str().unwrap();
            let path = format!("/intents/{file}/retry");
            self.api(Method::POST, &path, &[], None).await;
        }
    }

    /// Returns the differences that no open conflict explains, and the owed edits.
    pub async fn differences(&self) -> Vec<String> {
        let mut wrong = self.log_problems().await;
        for (file, record) in self.records().await {
            let there = self.simulator().file(file.as_str());
            match there {
                None if record.is_present() => wrong.push(format!("{file} is gone from Drive")),
                None => {}
                Some(_) if !record.is_present() => {
                    wrong.push(format!(
                        "{file} is {:?} here, and in Drive",
                        record.presence
                    ));
                }
                Some(there) => {
                    let theirs = recorder::fields_of(&there);
                    let fields: BTreeSet<&Field> =
                        theirs.keys().chain(record.fields.keys()).collect();
                    for field in fields {
                        // Drive shows permissions only to the owner; they do not change here.
                        if matches!(field, Field::Permission(_) | Field::Existence) {
                            continue;
                        }
                        let sides = record.sides(field);
                        let drive = theirs.get(field).cloned().unwrap_or_else(|| field.unset());
                        if *sides.drive() != drive {
                            wrong.push(format!(
                                "{file} {field:?}: Drive has {drive:?}, we hold {sides:?}"
                            ));
                        }
                        if sides.conflict.is_none() && sides.app != sides.base {
                            wrong.push(format!(
                                "{file} {field:?}: owed: {sides:?} {:?}",
                                record.push
                            ));
                        }
                        if sides.conflict.is_some() != record.open.contains_key(field) {
                            wrong.push(format!("{file} {field:?}: half a conflict: {sides:?}"));
                        }
                    }
                    if record.due().is_some() {
                        wrong.push(format!("{file} is due: {:?}", record.push));
                    }
                }
            }
        }
        wrong
    }

    /// Returns a problem if Drive's log is not followed or has no channel.
    async fn log_problems(&self) -> Vec<String> {
        let log = self
            .store()
            .load_log(self.key(), &LogId::user())
            .await
            .unwrap()
            .unwrap();
        let channel = match &log.channel {
            Some(id) => self.store().load_channel(id).await.unwrap(),
            None => None,
        };
        let lives = channel.is_some_and(|channel| channel.expires_at > self.now());
        match log.position {
            LogPosition::Following if lives => Vec::new(),
            position => vec![format!("{position:?}, with a channel that lives: {lives}")],
        }
    }

    /// Returns our record of a file.
    pub async fn record(&self, id: &str) -> Option<FileRecord> {
        let file = FileId::parse(id).unwrap();
        self.store().load_file(self.key(), &file).await.unwrap()
    }

    /// Returns our records of all files that Drive has or had.
    pub async fn records(&self) -> Vec<(FileId, FileRecord)> {
        let mut ids: BTreeSet<String> = self.simulator().file_ids().into_iter().collect();
        ids.extend(self.recording().files().map(str::to_owned));
        let mut records = Vec::new();
        for id in ids {
            let file = FileId::parse(&id).unwrap();
            if let Some(record) = self.record(&id).await {
                records.push((file, record));
            } else if self.simulator().file(&id).is_some() {
                // A tombstone shows that Drive's file is missing here.
                let unmade = FileRecord::tombstone(file.clone(), domain::Gone::Removed, self.now());
                records.push((file, unmade));
            }
        }
        records
    }
}
