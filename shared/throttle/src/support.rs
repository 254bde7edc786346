//! One table, and workers of one connection that share nothing else. Time is tokio's paused clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domain::rate_limit::{Limits, RateLimit, TenantLimits};
use domain::{ConnectionId, ConnectionKey, TenantId, Timestamp};
use drive::{Access, Drives, Transport};
use local::aws::in_process::latency_layer;
use local::aws::{self, Aws};
use runtime::{Clock, Entropy};
use store::Store;

use crate::budget::{Budgets, LocalBudget};
use crate::{TenantBudgets, ThrottledDrive, WaitBudget};

const EPOCH_MILLIS: i64 = 1_795_251_600_000;
const SECRET: &str = "drivesync/acme/drive";

pub(crate) struct Table {
    aws: Aws,
    clock: Clock,
    /// The next random number.
    random: Arc<AtomicU64>,
    /// The statuses of Drive's next responses; afterwards 200.
    pub(crate) statuses: Arc<Mutex<VecDeque<u16>>>,
    /// The number of requests to Drive, without those for tokens.
    pub(crate) requests: Arc<AtomicU64>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let now = aws::tokio_clock(EPOCH_MILLIS);
        let aws = Aws::open(aws::Options {
            // A request takes a little of the paused time, so that workers take turns.
            layer: Some(latency_layer(Duration::from_millis(1))),
            ..aws::Options::memory(Arc::clone(&now))
        });
        Self {
            aws: aws.unwrap(),
            clock: Clock::new(move || Timestamp::from_millis(now())),
            random: Arc::new(AtomicU64::new(1)),
            statuses: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// Makes every random delay the longest possible from now on.
    pub(crate) fn use_longest_delays(&self) {
        self.random.store(u64::MAX - 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn key() -> ConnectionKey {
        ConnectionKey {
            tenant: TenantId::parse("acme").unwrap(),
            connection: ConnectionId::parse("c_01").unwrap(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.aws.dynamodb_client(), aws::NAME)
    }

    /// A worker that has leased nothing yet.
    pub(crate) fn worker(&self) -> LocalBudget {
        let random = Arc::clone(&self.random);
        // Distinct, since it makes the nonces of writes, and nearly constant as a jitter.
        let entropy = Entropy::new(move || random.fetch_add(1, Ordering::SeqCst));
        Budgets::new(self.store(), self.clock.clone(), entropy).for_connection(&Self::key())
    }

    /// The budgets of a worker that has leased nothing yet, of tenants with these limits.
    pub(crate) fn tenant_budgets(&self, limits: TenantLimits) -> TenantBudgets {
        let random = Arc::clone(&self.random);
        let entropy = Entropy::new(move || random.fetch_add(1, Ordering::SeqCst));
        TenantBudgets::new(self.store(), self.clock.clone(), entropy, limits)
    }

    pub(crate) async fn rate_limit(&self) -> (u64, RateLimit) {
        let stored = self
            .store()
            .load_rate_limit(&Self::key())
            .await
            .unwrap()
            .unwrap();
        (stored.revision, stored.rate_limit)
    }

    /// A worker's client for a Drive that responds with the `statuses`.
    pub(crate) async fn throttled_drive(
        &self,
        limits: Limits,
        wait_budget: WaitBudget,
    ) -> ThrottledDrive {
        let secrets = self.aws.secrets_client();
        let credentials = serde_json::json!({
            "type": "authorized_user", "client_id": "x", "client_secret": "y",
            "refresh_token": "z", "token_uri": "http://drive.test/token",
        });
        let create = secrets.create_secret().name(SECRET);
        // A client that was opened before this one may have created it.
        let _ = create.secret_string(credentials.to_string()).send().await;
        let clock = self.clock.clone();
        let drives = Drives::new(
            self.drive(),
            "http://drive.test",
            secrets,
            Arc::new(move || clock.now()),
        );
        let access = Access {
            secret_id: SECRET.to_owned(),
            subject: None,
            quota_user: None,
            within: None,
        };
        let client = drives.client(&access).await.unwrap();
        ThrottledDrive::new(client, self.worker(), limits, wait_budget)
    }

    fn drive(&self) -> Transport {
        let (statuses, requests) = (Arc::clone(&self.statuses), Arc::clone(&self.requests));
        Arc::new(move |request: http::Request<Bytes>| {
            let (status, body) = if request.uri().path() == "/token" {
                let token = r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#;
                (200, token.to_owned())
            } else {
                requests.fetch_add(1, Ordering::SeqCst);
                let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
                (status, response_body(status))
            };
            let response = http::Response::builder().status(status);
            let response = response.body(Bytes::from(body)).unwrap();
            Box::pin(async move { Ok(response) })
        })
    }
}

fn response_body(status: u16) -> String {
    let reason = match status {
        200 => return r#"{"user":{"emailAddress":"a@example.com","permissionId":"1"}}"#.to_owned(),
        403 => "userRateLimitExceeded",
        404 => "notFound",
        429 => "rateLimitExceeded",
        _ => "backendError",
    };
    let errors = serde_json::json!([{"reason": reason}]);
    serde_json::json!({"error": {"code": status, "message": reason, "errors": errors}}).to_string()
}
