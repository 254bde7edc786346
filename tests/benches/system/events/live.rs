//! Live viewers: what they are sent of a first sync and of edits beside it, and how long a commit
//! takes to a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drive_simulator::{Edit, Simulator};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all};
use http::Method;
use serde_json::{Value, json};
use store::EventsRead;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::report::{Report, Target, count, quantile};
use crate::rig::{Rig, credentials, serve, until};

const VIEWERS: usize = 20;
/// Edits in Drive beside the first sync.
const EDITS_PER_SECOND: u64 = 200;
/// Edits through the API when nothing else happens.
const ALONE: usize = 30;
const ALONE_EVERY: Duration = Duration::from_millis(500);
/// The most frames of a viewer for a first sync.
const FRAMES_MAX: f64 = 100.0;

/// What a viewer has received.
#[derive(Default)]
struct Received {
    frames: usize,
    /// The time at which each event arrived, by its id.
    events: BTreeMap<String, Instant>,
    /// The cursors of the events, and those up to which it was told to read the log.
    head: Option<String>,
}

struct Viewer {
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

/// Measures a first sync of this many files with viewers from its beginning, then edits.
pub async fn measure(report: &mut Report, files: usize) {
    let simulator = Simulator::new(drive_simulator::Options::default());
    simulator.load_synthetic(files, (files / 100).max(1));
    let drive_url = serve(&simulator).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    let key = system
        .connect(&credentials(&drive_url), None)
        .await
        .unwrap();
    let rig = Rig::new(simulator, system, key, folder);
    let viewers = join_all((0..VIEWERS).map(|_| view(&rig))).await;
    let began = Instant::now();
    let editing = edit_until_synced(&rig);
    let edits = editing.await;
    let seconds = began.elapsed().as_secs_f64();
    told_all(&rig, &viewers).await;
    let frames = |viewer: &Viewer| viewer.received.lock().unwrap().frames;
    let most = viewers.iter().map(frames).max().unwrap_or_default();
    report.part(&format!(
        "Live: {VIEWERS} viewers, a first sync of {files} files and {EDITS_PER_SECOND} edits/s"
    ));
    report.line("until the first sync is done", seconds, "s");
    report.line("edits in Drive meanwhile", count(edits), "edits");
    report.against(
        "frames that a viewer was sent, the most",
        count(most),
        "frames",
        Target::Below(FRAMES_MAX),
    );
    let mut took = alone(&rig, &viewers).await;
    took.sort_by(f64::total_cmp);
    report.line("commit to socket, p50", quantile(&took, 0.5), "ms");
    report.against(
        "commit to socket, p95",
        quantile(&took, 0.95),
        "ms",
        Target::Below(150.0),
    );
    let unknown = unknown(&rig, &viewers).await;
    report.line(
        "events sent that the log does not have",
        count(unknown),
        "events",
    );
    for viewer in viewers {
        viewer.task.abort();
    }
    rig.stop().await;
}

/// Opens a socket and subscribes.
async fn view(rig: &Rig) -> Viewer {
    let (status, ticket) = rig
        .system
        .call(Method::POST, "/v1/live/tickets", &[], None)
        .await;
    assert_eq!(status, 201, "{ticket}");
    let url = ticket["url"].as_str().unwrap();
    let host = url.split('/').nth(2).unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    let connection = rig.key.connection.as_str();
    let subscribe = json!({"action": "subscribe", "connection": connection});
    socket
        .send(Message::text(subscribe.to_string()))
        .await
        .unwrap();
    let received = Arc::<Mutex<Received>>::default();
    let task = tokio::spawn(receive(socket, Arc::clone(&received)));
    Viewer { received, task }
}

async fn receive(mut socket: WebSocketStream<TcpStream>, received: Arc<Mutex<Received>>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let now = Instant::now();
        let frame: Value = serde_json::from_str(&text).unwrap();
        let mut received = received.lock().unwrap();
        received.frames += 1;
        let events = frame["events"].as_array().into_iter().flatten();
        for event in events {
            let id = event["id"].as_str().unwrap().to_owned();
            received.events.entry(id).or_insert(now);
        }
        received.head = frame["head"]
            .as_str()
            .map(str::to_owned)
            .or(received.head.take());
    }
}

/// Edits files in Drive until the first sync is done; returns how many.
async fn edit_until_synced(rig: &Rig) -> usize {
    let ids = rig.files(usize::MAX);
    let pause = Duration::from_millis(1_000 / EDITS_PER_SECOND);
    let mut edits = 0;
    let mut due = Instant::now();
    for id in ids.iter().cycle() {
        if edits % 100 == 0 && crate::first_sync::is_done(&rig.system, &rig.key).await {
            break;
        }
        let edit = Edit::Describe(format!("edit {edits}"));
        let _ = rig.simulator.apply(Simulator::library_owner(), id, edit);
        edits += 1;
        due += pause;
        tokio::time::sleep_until(due.into()).await;
    }
    edits
}

/// Waits until nothing is left to be told.
async fn told_all(rig: &Rig, viewers: &[Viewer]) {
    rig.drained().await;
    until("every viewer has the newest event", async || {
        let end = rig.store().event_log_end(&rig.key).await.unwrap();
        let head = end.map(|end| end.cursor().to_string());
        let knows = |viewer: &Viewer| viewer.received.lock().unwrap().head == head;
        viewers.iter().all(knows).then_some(())
    })
    .await;
}

/// Edits through the API, one after the other. Returns the milliseconds from each answer to the
/// arrival of its event, at every viewer.
async fn alone(rig: &Rig, viewers: &[Viewer]) -> Vec<f64> {
    let mut committed = Vec::new();
    for id in rig.files(ALONE) {
        let path = format!("/v1/connections/{}/files/{id}", rig.key.connection);
        let body = Some(json!({ "description": "timed" }));
        let call = rig
            .system
            .call(Method::PATCH, &path, &[("if-match", "*")], body);
        let (status, body) = call.await;
        assert_eq!(status, 200, "{body}");
        let event = format!("{id}.{}.file:modified", body["revision"]);
        committed.push((event, Instant::now()));
        tokio::time::sleep(ALONE_EVERY).await;
    }
    told_all(rig, viewers).await;
    let mut took = Vec::new();
    for viewer in viewers {
        let received = viewer.received.lock().unwrap();
        for (event, at) in &committed {
            let arrived = received.events.get(event);
            let arrived = arrived.unwrap_or_else(|| panic!("{event} never arrived"));
            took.push(arrived.saturating_duration_since(*at).as_secs_f64() * 1e3);
        }
    }
    took
}

/// Returns how many events viewers were sent that the log does not have.
async fn unknown(rig: &Rig, viewers: &[Viewer]) -> usize {
    let mut after = None;
    let mut logged = BTreeSet::new();
    let now = rig.system.now();
    loop {
        let read = rig.store().read_events(&rig.key, after.as_ref(), 100, now);
        let EventsRead::Page { events, next, head } = read.await.unwrap() else {
            panic!("the cursor has expired");
        };
        logged.extend(events.into_iter().map(|(_, event)| event.id()));
        if next == head {
            break;
        }
        after = next;
    }
    let of = |viewer: &Viewer| {
        let received = viewer.received.lock().unwrap();
        received
            .events
            .keys()
            .filter(|id| !logged.contains(*id))
            .count()
    };
    viewers.iter().map(of).sum()
}
