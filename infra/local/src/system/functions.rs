//! The Lambda functions, wired to the local services: the same `handle` functions that run on AWS.

use std::sync::Arc;

use domain::rate_limit::TenantLimits;
use drive::{ContentTransport, Drives, Transport};
use objects::Objects;
use runtime::{Clock, Entropy, Settings, VersionCheck};
use store::Store;
use throttle::{DriveFactory, TenantBudgets};
use webhooks::RootSecret;
use worker::{ContentQueues, Queue, SnapshotQueues, WakeQueues};

use crate::aws::{self, Aws};
use crate::canary::Canary;
use crate::gateway::websocket;

/// The dependencies of every function, over one set of services.
#[derive(Clone)]
pub struct Functions {
    /// Handles Drive's notifications.
    pub receive_notification: Arc<receive_notification::Deps>,
    /// Handles wakes of change logs.
    pub fetch_changes: Arc<fetch_changes::Deps>,
    /// Handles snapshots.
    pub apply_snapshots: Arc<apply_snapshots::Deps>,
    /// Handles wakes for owed writes.
    pub push_intents: Arc<push_intents::Deps>,
    /// Handles wakes for content.
    pub mirror_content: Arc<mirror_content::Deps>,
    /// Handles the table's stream.
    pub publish_events: Arc<publish_events::Deps>,
    /// Handles the schedule.
    pub sweep: Arc<sweep::Deps>,
    /// Wakes of operations.
    pub run_operations: Arc<run_operations::Deps>,
    /// Handles WebSockets, and wakes for their readers.
    pub live: Arc<live::Deps>,
    /// Handles HTTP requests.
    pub api: Arc<api::Deps>,
    /// Has the pages of the console.
    pub console: Arc<console::Site>,
    /// Another build that some invocations run in.
    pub canary: Option<Canary>,
}

/// The settings of the functions besides the services.
#[derive(Clone)]
pub struct FunctionSettings {
    /// The transport to Drive.
    pub transport: Transport,
    /// The transport of content; without it, content passes through `transport`, buffered in
    /// memory.
    pub content: Option<ContentTransport>,
    /// The URL of Drive, without a path.
    pub drive_url: String,
    /// The URL for Drive's notifications, if Drive can reach this machine.
    pub webhook_url: Option<String>,
    /// The retention of snapshots, in days.
    pub history_days: Option<u32>,
    /// The retention of events, in days; 0 appends none.
    pub event_days: u32,
    /// What each tenant may use.
    pub tenant_limits: TenantLimits,
    /// The client that posts to webhook endpoints.
    pub endpoints: webhooks::Client,
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

/// The prefix of the names of all secrets, as on AWS.
pub const SECRETS_PREFIX: &str = "drivesync/";
/// The most requests that wait for an event at once.
const WAITS_MAX: usize = 100;

impl Functions {
    /// Creates the dependencies of all functions.
    #[must_use]
    pub fn new(aws: &Aws, settings: &FunctionSettings) -> Self {
        let FunctionSettings { clock, entropy, .. } = settings.clone();
        let store =
            Store::new(aws.dynamodb_client(), aws::NAME).keeping_events_for(settings.event_days);
        let store = store.with_stream(aws.dynamodb().stream_arn().as_deref());
        let now = clock.clone();
        let drives = Drives::new(
            settings.transport.clone(),
            &settings.drive_url,
            aws.secrets_client(),
            Arc::new(move || now.now()),
        );
        let drives = match &settings.content {
            Some(content) => drives.with_content(Arc::clone(content)),
            None => drives,
        };
        let limits = settings.tenant_limits;
        let drives =
            DriveFactory::new(drives, store.clone(), clock.clone(), entropy.clone()).within(limits);
        let budgets = TenantBudgets::new(store.clone(), clock.clone(), entropy.clone(), limits);
        let queue = |queue| Queue::new(aws.sqs_client(), aws.queue_url(queue));
        let log_wakes = queue(aws::Queue::LogWakes);
        let push_wakes = queue(aws::Queue::PushWakes);
        let objects = Objects::new(aws.s3_client(), aws::CONTENT_BUCKET);
        let wakes = WakeQueues {
            logs: log_wakes.clone(),
            pushes: push_wakes.clone(),
            operations: queue(aws::Queue::Operations),
            live: queue(aws::Queue::Live),
            deliver: queue(aws::Queue::Deliver),
        };
        let webhook_key = RootSecret::new(aws.secrets_client(), aws::WEBHOOK_KEY);
        let changes = queue(aws::Queue::Snapshots);
        let bulk = queue(aws::Queue::SnapshotsBulk);
        let snapshots = SnapshotQueues {
            live: changes.clone(),
            bulk: bulk.clone(),
        };
        let contents = ContentQueues {
            high: queue(aws::Queue::Content),
            bulk: queue(aws::Queue::ContentBulk),
        };
        let dead = |queue| Queue::new(aws.sqs_client(), aws.dead_letter_queue_url(queue));
        Self {
            receive_notification: Arc::new(receive_notification::Deps {
                store: store.clone(),
                log_wakes: log_wakes.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            fetch_changes: Arc::new(fetch_changes::Deps {
                store: store.clone(),
                drives: drives.clone(),
                snapshots: snapshots.clone(),
                budgets: budgets.clone(),
                log_wakes,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            apply_snapshots: Arc::new(apply_snapshots::Deps {
                store: store.clone(),
                drives: drives.clone(),
                queues: vec![changes, bulk.clone()],
                push_wakes: push_wakes.clone(),
                history_days: settings.history_days,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            push_intents: Arc::new(push_intents::Deps {
                store: store.clone(),
                drives: drives.clone(),
                push_wakes: push_wakes.clone(),
                contents: contents.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            mirror_content: Arc::new(mirror_content::Deps {
                store: store.clone(),
                drives: drives.clone(),
                objects: objects.clone(),
                contents: contents.clone(),
                push_wakes: push_wakes.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            publish_events: Arc::new(publish_events::Deps {
                store: store.clone(),
                contents: contents.clone(),
                live: wakes.live.clone(),
                deliver: wakes.deliver.clone(),
                endpoints: publish_events::EndpointMemory::default(),
                memory: publish_events::Memory::default(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            run_operations: Arc::new(run_operations::Deps {
                store: store.clone(),
                drives: drives.clone(),
                wakes: wakes.clone(),
                contents: contents.clone(),
                objects: objects.clone(),
                replica: None,
                snapshots_bulk: bulk,
                has_webhook: settings.webhook_url.is_some(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            live: Arc::new(live::Deps {
                store: store.clone(),
                sockets: live::Sockets::new(&aws.sockets_client()),
                wakes: wakes.live.clone(),
                deliver: wakes.deliver.clone(),
                pushes: wakes.pushes.clone(),
                endpoints: settings.endpoints.clone(),
                webhook_key: webhook_key.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            sweep: Arc::new(sweep::Deps {
                store: store.clone(),
                drives: drives.clone(),
                wakes: wakes.clone(),
                snapshots: snapshots.clone(),
                contents: contents.clone(),
                objects: objects.clone(),
                acts: Some(Objects::new(aws.s3_client(), aws::AUDIT_BUCKET)),
                dead_letters: aws::Queue::ALL.into_iter().map(dead).collect(),
                webhook_url: settings.webhook_url.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            api: Arc::new(api::Deps {
                objects: Objects::new(aws.s3_client(), aws::CONTENT_BUCKET),
                distribution: None,
                store,
                wakes,
                snapshots,
                contents,
                drives,
                budgets,
                clock,
                entropy,
                claims: api::ClaimNames::default(),
                secrets_prefix: SECRETS_PREFIX.to_owned(),
                waits_max: WAITS_MAX,
                live_url: format!("ws://localhost{}", websocket::PATH),
                webhook_key,
                webhook_hosts: settings.endpoints.rules().clone(),
                history_days: settings.history_days,
            }),
            console: console_at(&format!("ws://localhost{}", websocket::PATH), None),
            canary: None,
        }
    }

    /// Lets every function check itself, as a new version does before it gets traffic, and returns
    /// what is missing.
    pub async fn missing(&self) -> Vec<String> {
        let settings = &Settings::from_pairs([("SECRETS_PREFIX", SECRETS_PREFIX)]);
        let all = [
            receive_notification::version_check(&self.receive_notification).await,
            fetch_changes::version_check(&self.fetch_changes, settings).await,
            apply_snapshots::version_check(&self.apply_snapshots, settings).await,
            push_intents::version_check(&self.push_intents, settings).await,
            mirror_content::version_check(&self.mirror_content, settings).await,
            publish_events::version_check(&self.publish_events).await,
            run_operations::version_check(&self.run_operations, settings).await,
            live::version_check(&self.live).await,
            sweep::version_check(&self.sweep, settings).await,
            Box::pin(api::version_check(&self.api, settings)).await,
        ];
        all.iter().flat_map(VersionCheck::missing).collect()
    }

    /// Returns the same functions, whose tickets are for the WebSocket at `url`.
    #[must_use]
    pub fn with_live_at(self, url: &str) -> Self {
        let api = api::Deps {
            live_url: url.to_owned(),
            ..api::Deps::clone(&self.api)
        };
        Self {
            api: Arc::new(api),
            console: console_at(url, None),
            ..self
        }
    }

    /// Returns the same functions, which presign URLs of the bucket at `url`, reachable by other
    /// processes.
    #[must_use]
    pub fn with_bucket_at(self, aws: &Aws, url: &str) -> Self {
        let api = api::Deps::clone(&self.api);
        let objects = api.objects.clone();
        let objects = objects.with_signer(aws.s3_client_at(url));
        Self {
            console: console_at(&api.live_url, Some(url)),
            api: Arc::new(api::Deps { objects, ..api }),
            ..self
        }
    }
}

/// Returns the pages of the console, which `local` itself signs people in to.
fn console_at(live_url: &str, content_url: Option<&str>) -> Arc<console::Site> {
    let sign_in = console::SignIn {
        issuer: None,
        client_id: String::new(),
        origins: Vec::new(),
        role_claim: api::ClaimNames::default().role,
        live_url: live_url.to_owned(),
        content_url: content_url.map(str::to_owned),
    };
    Arc::new(console::Site::new(&sign_in))
}
