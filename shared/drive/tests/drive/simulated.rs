//! The simulated Drive over real sockets, and clients of it.

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

/// A simulated Drive that answers until the test's runtime ends.
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

    /// An order to the simulator.
    pub(crate) async fn control(&self, order: &str, body: Value) {
        let request = http::Request::post(format!("{}/_control/{order}", self.url))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let transport = reqwest_transport(Timeouts::default()).unwrap();
        let answer = transport(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.body());
    }

    /// A fault that the next answers to a download meet.
    pub(crate) async fn spoil_downloads(&self, times: u32, spoil: Value) {
        let order =
            json!({"match": "GET /drive/v3/files/*?*alt=media*", "times": times, "spoil": spoil});
        self.control("faults", order).await;
    }

    /// A document of Google's, whose exports have so many bytes.
    pub(crate) async fn document(&self, export_bytes: u64) -> FileId {
        let id = self.client.generate_id("text/plain").await.unwrap();
        let body = json!({"id": id.as_str(), "name": "Minutes",
            "mimeType": "application/vnd.google-apps.document"});
        self.post("/drive/v3/files", body).await;
        let order = json!({"id": id.as_str(), "export_bytes": export_bytes});
        self.control("content", order).await;
        id
    }

    /// A call that the client under test does not have.
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

    /// How often a method was called.
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

/// All that comes, and what it ended with.
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

/// All of it.
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
