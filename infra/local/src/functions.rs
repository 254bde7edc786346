//! The Lambda functions, wired to this machine: the very `handle`s that run on AWS.

use std::sync::Arc;

use drive::{ContentTransport, Drives, Transport};
use gate::Gate;
use objects::Objects;
use runtime::{Clock, ContentQueues, Entropy, Queue, Snapshots, Wakes};
use store::Store;

use crate::aws::{self, Aws};

/// The dependencies of every function, over one set of services.
#[derive(Clone)]
pub struct Functions {
    /// Drive's notifications.
    pub receive_notification: Arc<receive_notification::Deps>,
    /// Wakes of logs.
    pub fetch_changes: Arc<fetch_changes::Deps>,
    /// Snapshots.
    pub apply_snapshots: Arc<apply_snapshots::Deps>,
    /// Wakes of connections.
    pub push_intents: Arc<push_intents::Deps>,
    /// Wakes of content.
    pub mirror_content: Arc<mirror_content::Deps>,
    /// The table's stream.
    pub publish_events: Arc<publish_events::Deps>,
    /// The schedule.
    pub sweep: Arc<sweep::Deps>,
    /// People and programs.
    pub api: Arc<api::Deps>,
}

/// What the functions are given besides the services.
#[derive(Clone)]
pub struct Setting {
    /// How Drive is reached.
    pub transport: Transport,
    /// How its content is reached; without it, as everything else: whole, and in memory.
    pub content: Option<ContentTransport>,
    /// Where Drive is, without a path.
    pub drive_url: String,
    /// Where Drive sends its notifications, if it can.
    pub webhook_url: Option<String>,
    /// How long snapshots are kept, in days.
    pub history_days: Option<u32>,
    /// Now.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

/// The claim of a token that names the tenant, as on AWS.
pub const TENANT_CLAIM: &str = "custom:tenant";
/// What the names of all secrets begin with, as on AWS.
pub const SECRETS_PREFIX: &str = "drivesync/";

impl Functions {
    /// Wires the functions to the services.
    #[must_use]
    pub fn new(aws: &Aws, setting: &Setting) -> Self {
        let Setting { clock, entropy, .. } = setting.clone();
        let store = Store::new(aws.dynamodb_client(), aws::NAME);
        let now = clock.clone();
        let drives = Drives::new(
            setting.transport.clone(),
            &setting.drive_url,
            aws.secrets_client(),
            Arc::new(move || now.now()),
        );
        let drives = match &setting.content {
            Some(content) => drives.with_content(Arc::clone(content)),
            None => drives,
        };
        let gate = Gate::new(drives, store.clone(), clock.clone(), entropy.clone());
        let queue = |queue| Queue::new(aws.sqs_client(), aws.queue_url(queue));
        let log_wakes = queue(aws::Queue::LogWakes);
        let push_wakes = queue(aws::Queue::PushWakes);
        let objects = Objects::new(aws.s3_client(), aws::CONTENT_BUCKET);
        let wakes = Wakes {
            logs: log_wakes.clone(),
            pushes: push_wakes.clone(),
        };
        let live = queue(aws::Queue::Snapshots);
        let bulk = queue(aws::Queue::SnapshotsBulk);
        let snapshots = Snapshots {
            live: live.clone(),
            bulk: bulk.clone(),
        };
        let contents = ContentQueues {
            prompt: queue(aws::Queue::Content),
            bulk: queue(aws::Queue::ContentBulk),
        };
        let dead = |queue| Queue::new(aws.sqs_client(), aws.dead_letter_queue_url(queue));
        Self {
            receive_notification: Arc::new(receive_notification::Deps {
                store: store.clone(),
                log_wakes: log_wakes.clone(),
                clock: clock.clone(),
            }),
            fetch_changes: Arc::new(fetch_changes::Deps {
                store: store.clone(),
                gate: gate.clone(),
                snapshots: snapshots.clone(),
                log_wakes,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            apply_snapshots: Arc::new(apply_snapshots::Deps {
                store: store.clone(),
                gate: gate.clone(),
                queues: vec![live, bulk.clone()],
                push_wakes: push_wakes.clone(),
                history_days: setting.history_days,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            push_intents: Arc::new(push_intents::Deps {
                store: store.clone(),
                gate: gate.clone(),
                push_wakes: push_wakes.clone(),
                contents: contents.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            mirror_content: Arc::new(mirror_content::Deps {
                store: store.clone(),
                gate: gate.clone(),
                objects: objects.clone(),
                contents: contents.clone(),
                push_wakes: push_wakes.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            publish_events: Arc::new(publish_events::Deps {
                store: store.clone(),
                contents: contents.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            sweep: Arc::new(sweep::Deps {
                store: store.clone(),
                gate: gate.clone(),
                wakes: wakes.clone(),
                contents: contents.clone(),
                objects: objects.clone(),
                snapshots_bulk: bulk,
                dead_letters: aws::Queue::ALL.into_iter().map(dead).collect(),
                webhook_url: setting.webhook_url.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            api: Arc::new(api::Deps {
                objects: Objects::new(aws.s3_client(), aws::CONTENT_BUCKET),
                store,
                wakes,
                snapshots,
                contents,
                gate,
                clock,
                entropy,
                tenant_claim: TENANT_CLAIM.to_owned(),
                secrets_prefix: SECRETS_PREFIX.to_owned(),
            }),
        }
    }

    /// The same, with URLs of contents that others can reach: the bucket is served at `url`.
    #[must_use]
    pub fn with_bucket_at(self, aws: &Aws, url: &str) -> Self {
        let api = api::Deps::clone(&self.api);
        let objects = api.objects.clone();
        let signer = aws::clients::s3(url, aws.http_client());
        let objects = objects.signing_with(signer);
        Self {
            api: Arc::new(api::Deps { objects, ..api }),
            ..self
        }
    }
}
