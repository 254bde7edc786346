//! One table, and workers of one connection who share nothing else. Time is tokio's, which the tests stop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domain::pace::{Limits, Pace};
use domain::{ConnectionId, ConnectionKey, TenantId, Timestamp};
use drive::{Access, Drives, Transport};
use local::aws::in_process::slow;
use local::aws::{self, Aws};
use runtime::{Clock, Entropy};
use store::Store;

use crate::ledger::{Ledger, Ledgers};
use crate::{Pass, Patience};

const EPOCH_MILLIS: i64 = 1_795_251_600_000;
const SECRET: &str = "drivesync/acme/drive";

pub(crate) struct Table {
    aws: Aws,
    clock: Clock,
    /// What all random numbers are.
    random: Arc<AtomicU64>,
    /// What Drive answers next; then it is 200.
    pub(crate) answers: Arc<Mutex<VecDeque<u16>>>,
    /// The requests to Drive, those for a token left out.
    pub(crate) asked: Arc<AtomicU64>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let now = aws::tokio_clock(EPOCH_MILLIS);
        let aws = Aws::open(aws::Options {
            // A request takes a little of the stopped time, so that workers take turns.
            layer: Some(slow(Duration::from_millis(1))),
            ..aws::Options::memory(Arc::clone(&now))
        });
        Self {
            aws: aws.unwrap(),
            clock: Clock::new(move || Timestamp::from_millis(now())),
            random: Arc::new(AtomicU64::new(1)),
            answers: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// Draws the latest of all moments from now on.
    pub(crate) fn draw_the_most(&self) {
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

    /// A worker that has taken nothing yet.
    pub(crate) fn worker(&self) -> Ledger {
        let random = Arc::clone(&self.random);
        // Different for each write, since it tells them apart, and nearly the same as a share of the most.
        let entropy = Entropy::new(move || random.fetch_add(1, Ordering::SeqCst));
        Ledgers::new(self.store(), self.clock.clone(), entropy).of(&Self::key())
    }

    pub(crate) async fn pace(&self) -> (u64, Pace) {
        let paced = self.store().load_pace(&Self::key()).await.unwrap().unwrap();
        (paced.revision, paced.pace)
    }

    /// A worker's way to a Drive that gives the `answers`.
    pub(crate) async fn pass(&self, limits: Limits, patience: Patience) -> Pass {
        let secrets = self.aws.secrets_client();
        let credentials = serde_json::json!({
            "type": "authorized_user", "client_id": "x", "client_secret": "y",
            "refresh_token": "z", "token_uri": "http://drive.test/token",
        });
        let create = secrets.create_secret().name(SECRET);
        // Made by the pass before this one, perhaps.
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
        };
        let drive = drives.client(&access).await.unwrap();
        Pass::new(drive, self.worker(), limits, patience)
    }

    fn drive(&self) -> Transport {
        let (answers, asked) = (Arc::clone(&self.answers), Arc::clone(&self.asked));
        Arc::new(move |request: http::Request<Bytes>| {
            let (status, body) = if request.uri().path() == "/token" {
                let token = r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#;
                (200, token.to_owned())
            } else {
                asked.fetch_add(1, Ordering::SeqCst);
                let status = answers.lock().unwrap().pop_front().unwrap_or(200);
                (status, answer(status))
            };
            let response = http::Response::builder().status(status);
            let response = response.body(Bytes::from(body)).unwrap();
            Box::pin(async move { Ok(response) })
        })
    }
}

fn answer(status: u16) -> String {
    let reason = match status {
        200 => return r#"{"user":{"emailAddress":"a@example.com","permissionId":"1"}}"#.to_owned(),
        403 => "userRateLimitExceeded",
        404 => "notFound",
        429 => "rateLimitExceeded",
        _ => "backendError",
    };
    serde_json::json!({"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}})
        .to_string()
}
