//! The simulated Drive over real sockets, and its clients.

use bytes::Bytes;
use domain::FileId;
use drive::{
    ContentTimeouts, Download, DriveClient, DriveError, Secret, Timeouts,
    reqwest_content_transport, reqwest_transport,
};
use drive_simulator::{Options, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::clock;

/// A simulated Drive that runs until the end of the test's runtime.
pub(crate) struct Simulated {
    pub(crate) simulator: Simulator,
    pub(crate) client: DriveClient,
    url: String,
}

impl Simulated {
    pub(crate) async fn start() -> Self {
        let simulator = Simulator::new(Options {
            seed: Some(5),
            ..Options::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
        Self {
            client: client(&url, "owner"),
            simulator,
            url,
        }
    }

    pub(crate) fn client_of(&self, user: &str) -> DriveClient {
        client(&self.url, user)
    }

    /// A file of the library's owner.
    pub(crate) fn file(&self, name: &str, content: impl Into<Bytes>) -> FileId {
        let id = self
            .simulator
            .create_file("owner", name, None, content.into());
        FileId::parse(&id.unwrap()).unwrap()
    }

    /// Sends a control request to the simulator.
    pub(crate) async fn control(&self, order: &str, body: Value) {
        let key = self.simulator.control_key().unwrap();
        let request = http::Request::post(format!("{}/_control/{order}", self.url))
            .header("content-type", "application/json")
            .header("x-drive-control", key)
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let transport = reqwest_transport(Timeouts::default()).unwrap();
        let answer = transport(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
    }

    /// Corrupts the next responses to downloads.
    pub(crate) async fn spoil_downloads(&self, times: u32, spoil: Value) {
        let order =
            json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": times, "spoil": spoil});
        self.control("faults", order).await;
    }

    /// Creates a Google document whose exports have this size.
    pub(crate) async fn document(&self, export_bytes: u64) -> FileId {
        let id = self.client.generate_id("text/plain").await.unwrap();
        let body = json!({"id": id.as_str(), "name": "Minutes",
            "mimeType": "application/vnd.google-apps.document"});
        self.post("/drive/v3/files", body).await;
        let order = json!({"id": id.as_str(), "export_bytes": export_bytes});
        self.control("content", order).await;
        id
    }

    /// Makes a call that the client does not support.
    pub(crate) async fn post(&self, path: &str, body: Value) {
        let request = http::Request::post(format!("{}{path}", self.url))
            .header("authorization", "Bearer user:owner")
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let transport = reqwest_transport(Timeouts::default()).unwrap();
        let answer = transport(request).await.unwrap();
        assert!(answer.status().is_success(), "{:?}", answer.body());
    }

    /// Returns the number of calls of a method.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        let calls = self.simulator.counters().calls;
        calls.get(method).copied().unwrap_or(0)
    }
}

fn client(url: &str, user: &str) -> DriveClient {
    let transport = reqwest_transport(Timeouts::default()).unwrap();
    let content = reqwest_content_transport(ContentTimeouts::default()).unwrap();
    let token = Secret::new(format!("user:{user}"));
    DriveClient::with_token(transport, url, token, clock()).with_content(content)
}

/// Reads a download to its end or its error.
pub(crate) async fn drained(download: &mut Download) -> (Vec<u8>, Result<(), DriveError>) {
    let mut bytes = Vec::new();
    loop {
        match download.chunk().await {
            Ok(Some(chunk)) => {
                assert!(!chunk.is_empty());
                bytes.extend_from_slice(&chunk);
            }
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Reads a complete download.
pub(crate) async fn whole(download: Result<Download, DriveError>) -> Vec<u8> {
    let (bytes, outcome) = drained(&mut download.unwrap()).await;
    outcome.unwrap();
    bytes
}

pub(crate) fn random_bytes(rng: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes
}
