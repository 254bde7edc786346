//! The drill: the table is lost and restored to an earlier state, while Drive, the queues and
//! the bucket go on. Afterwards nothing that Drive has may be missing or undone, what is lost of
//! ours is named, and every reader knows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use drive_simulator::Simulator;
use http::Method;
use runtime::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::losses::{Facts, Losses, blind, judge};
use super::process::Local;
use super::stage::Stage;
use super::{actors, judge as sides};
use crate::aws::table_backup;

/// The programs that also resolve conflicts: every fourth.
const SETTLES_EVERY: usize = 4;
/// The time limit of each wait.
const BOUND: Duration = Duration::from_secs(1_800);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The files whose content is looked at.
const CONTENTS_MAX: usize = 500;
/// The findings that are printed of each kind.
const SHOWN_MAX: usize = 40;

/// What is drilled.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program `local`.
    pub binary: PathBuf,
    /// An empty folder.
    pub folder: PathBuf,
    pub files: usize,
    /// The people who edit in Drive, and as many programs that edit over the API.
    pub people: usize,
    /// The time of edits before the backup, and as long again until the table is lost.
    pub half: Duration,
    /// Whether contents are mirrored.
    pub content: bool,
}

/// Runs the drill, prints what it finds, and returns whether nothing is wrong.
pub async fn drill(setup: &Setup, say: impl Fn(&str)) -> bool {
    let simulator = Simulator::new(drive_simulator::Options::default());
    simulator.load_synthetic(setup.files, (setup.files / 100).max(2));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let drive_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(simulator.clone().serve(listener, std::future::pending()));
    let data_dir = setup.folder.join("data");
    let log = setup.folder.join("local.log");
    let began = Instant::now();
    let more = (!setup.content).then(|| "--no-content".to_owned());
    let more = more.into_iter();
    let mut local = Local::start(&setup.binary, &drive_url, &data_dir, &log, more).await;
    let control = simulator.control_key().unwrap();
    let mut stage = Stage::new(&drive_url, control, &local.ready, &data_dir);
    at_rest_first(&stage, setup.content).await;
    let items = stage.list("/files?limit=1000").await;
    stage.know(&items);
    stage.begin();
    say(&format!(
        "1. {} files and folders are in step after {:.1} s. {} people and {} programs edit.",
        items.len(),
        began.elapsed().as_secs_f64(),
        setup.people,
        setup.people,
    ));
    let stage = Arc::new(stage);
    stage
        .control(Method::POST, "journal", json!({"kept": true}))
        .await;
    let receiver = Receiver::start(&stage).await;
    let mut actors = JoinSet::new();
    for number in 0..setup.people {
        let of = Arc::clone(&stage);
        actors.spawn(async move { actors::person(&of, number).await });
        let (of, settles) = (Arc::clone(&stage), number % SETTLES_EVERY == 0);
        actors.spawn(async move { actors::program(&of, number, settles).await });
    }
    tokio::time::sleep(setup.half).await;

    let early = newest(&stage).await;
    let (kept_at, kept) = (Instant::now(), Clock::system().now().to_string());
    let copy = setup.folder.join("backup.db");
    table_backup::back_up(&data_dir, &copy).unwrap();
    say(&format!(
        "2. The table is backed up at {kept}. Everybody goes on."
    ));
    let tag = TagOfALostState::begin(&stage).await;
    tokio::time::sleep(setup.half).await;

    let tag = tag.follow(&stage).await;
    let late = newest(&stage).await;
    let conflicts_then = stage.list("/conflicts?status=all&limit=1000").await;
    local.kill().await;
    let lost_at = Instant::now();
    let journal_then = written(&stage).await;
    table_backup::restore(&data_dir, &copy).unwrap();
    table_backup::complete(&data_dir).unwrap();
    say(&format!(
        "3. The process is killed and the table lost, {:.1} s later. It is restored; Drive, the \
         queues and the bucket are as they were.",
        (lost_at - kept_at).as_secs_f64()
    ));
    let restarted = Instant::now();
    local.restart().await.unwrap();
    let answers = restarted.elapsed();
    stage.end();
    let last = async { while actors.join_next().await.transpose().unwrap().is_some() {} };
    tokio::time::timeout(BOUND, last).await.unwrap();

    let unaudited = audited(&stage, &kept).await;
    let taken_tags = tag.is_taken(&stage).await;
    let differences = rest(&stage).await;
    let in_step = restarted.elapsed();
    let mut unaware = unaware(&stage, [("before", &early), ("after", &late)]).await;
    let expired = restarted.elapsed();
    unaware.extend(receiver.unaware().await);
    let told = restarted.elapsed();
    let without_object = match setup.content {
        true => without_object(&stage).await,
        false => Vec::new(),
    };
    let conflicts = stage.list("/conflicts?status=all&limit=1000").await;
    let journal = stage.control(Method::GET, "journal", json!({})).await;
    let ledger = stage.ledger.lock().unwrap().clone();
    // A conflict that only the lost table had can't be decided any more: its decider learns it.
    let of_lost = |what: &String| what.starts_with("a decision was answered by 404");
    let mut wrong = ledger.wrong.clone();
    wrong.retain(|what| !of_lost(what));
    wrong.extend(letters(&stage).await);
    wrong.extend(panics(&log));
    let facts = Facts {
        ledger,
        journal,
        journal_then,
        conflicts_then,
        conflicts,
        kept_at,
        lost_at,
        kept,
        differences,
        without_object,
        unaware,
        unaudited,
        taken_tags,
        wrong,
    };
    let losses = judge(&facts);
    let unseen = blind(&facts);
    local.kill().await;
    report(&facts, &losses, &unseen, &say);
    say(&format!(
        "RPO of what Drive has: {} of {} texts of people are lost.\n\
         RPO of ours: {:.1} s of {:.1} s between the backup and the loss ({} edits, {} \
         decisions).\n\
         RTO: the API answers after {:.1} s, both sides are in step after {:.1} s, cursors of \
         before have expired after {:.1} s, and the webhook endpoint knows after {:.1} s.",
        losses.of_people.len(),
        facts.ledger.people.len(),
        losses.age(&facts).as_secs_f64(),
        (lost_at - kept_at).as_secs_f64(),
        losses.edits.len(),
        losses.decisions.len(),
        answers.as_secs_f64(),
        in_step.as_secs_f64(),
        expired.as_secs_f64(),
        told.as_secs_f64(),
    ));
    losses.breaches.is_empty() && unseen.is_empty()
}

fn report(facts: &Facts, losses: &Losses, unseen: &[String], say: &impl Fn(&str)) {
    let accepted = facts.ledger.programs.iter().filter(|edit| edit.accepted);
    say(&format!(
        "4. Of {} accepted edits of programs, {} are lost; of {} decisions, {}:",
        accepted.count(),
        losses.edits.len(),
        facts.ledger.decisions,
        losses.decisions.len()
    ));
    let edits = losses.edits.iter().map(|edit| {
        let at = (facts.lost_at - edit.answered).as_secs_f64();
        format!(
            "{} {}: {:?}, {at:.1} s before the loss",
            edit.file, edit.field, edit.to
        )
    });
    let decisions = losses.decisions.iter().cloned();
    for what in edits.chain(decisions.take(SHOWN_MAX)) {
        say(&format!("   lost: {what}"));
    }
    say(&format!(
        "5. {} breaches, {} blind checks.",
        losses.breaches.len(),
        unseen.len()
    ));
    for what in losses.breaches.iter().chain(unseen).take(SHOWN_MAX) {
        say(&format!("   BREACH: {what}"));
    }
}

/// Waits until a look finds what is wanted.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn at_rest_first(stage: &Stage, content: bool) {
    until("the first sync", async || {
        let status = stage.get("/status").await;
        let log = &status["logs"][0];
        let done = status["last_operation"]["state"] == "done" && log["channel"] != Value::Null;
        done.then_some(())
    })
    .await;
    if content {
        until("the contents", async || {
            let files = stage.list("/files?limit=1000").await;
            let stored = files.iter().all(|file| {
                file["fields"]["md5"].is_null() || !file["content"]["sha256"].is_null()
            });
            stored.then_some(())
        })
        .await;
    }
}

/// Returns the newest cursor of the event log.
async fn newest(stage: &Stage) -> String {
    until("an event", async || {
        let page = stage.get("/events?after=latest").await;
        page["next_cursor"]
            .as_str()
            .or(page["head"].as_str())
            .map(str::to_owned)
    })
    .await
}

async fn written(stage: &Stage) -> usize {
    let journal = stage.control(Method::GET, "journal", json!({})).await;
    journal["written"].as_array().map_or(0, Vec::len)
}

/// Waits for the audits that a restored table begins by itself, and returns what did not end well.
async fn audited(stage: &Stage, kept: &str) -> Vec<String> {
    let logs = stage.get("/status").await["logs"]
        .as_array()
        .map_or(0, Vec::len);
    let end = Instant::now() + BOUND;
    let audits = loop {
        let operations = stage.get("/operations?limit=100").await;
        let operations = operations["items"].as_array().cloned().unwrap_or_default();
        let audits = operations.into_iter().filter(|one| {
            one["kind"] == "audit" && one["started_at"].as_str().unwrap_or_default() > kept
        });
        let audits: Vec<Value> = audits.collect();
        let ended = audits.iter().filter(|one| !one["finished_at"].is_null());
        if audits.len() >= logs && ended.count() == audits.len() {
            break audits;
        }
        if Instant::now() > end {
            return vec![format!("{} of {logs} logs are audited", audits.len())];
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let bad = audits.iter().filter(|audit| {
        let unrepaired = audit["findings"].as_object().into_iter().flatten();
        let mut unrepaired = unrepaired.filter(|(_, found)| found["found"] != found["repaired"]);
        audit["state"] != "done" || unrepaired.next().is_some()
    });
    bad.map(|audit| format!("an audit did not end well: {audit}"))
        .collect()
}

async fn rest(stage: &Stage) -> Vec<String> {
    let look = Some(json!({"mode": "delta"}));
    stage.insist(Method::POST, "/sync", &[], look).await;
    let end = Instant::now() + BOUND;
    loop {
        let differences = sides::differences(stage).await;
        if differences.is_empty() || Instant::now() > end {
            return differences;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the readers whose cursor is still taken.
async fn unaware(stage: &Stage, readers: [(&str, &String); 2]) -> Vec<String> {
    let mut unaware = Vec::new();
    for (when, cursor) in readers {
        let path = format!("/events?after={cursor}");
        let (answer, _) = stage.insist(Method::GET, &path, &[], None).await;
        if answer.status != 410 {
            unaware.push(format!(
                "a reader whose cursor is from {when} the backup is answered {}: {}",
                answer.status, answer.body
            ));
        }
    }
    unaware
}

/// Returns the files whose content can't be had although their record names it.
async fn without_object(stage: &Stage) -> Vec<String> {
    let mut without = Vec::new();
    for file in stage.files.iter().take(CONTENTS_MAX) {
        let path = format!("/files/{file}/content");
        let (answer, _) = stage.insist(Method::GET, &path, &[], None).await;
        let url = answer.body["url"].as_str().unwrap_or_default().to_owned();
        let got = match answer.status {
            200 => stage.http.get(url).send().await.unwrap().status().as_u16(),
            other => other,
        };
        if got != 200 {
            without.push(format!("the content of {file} is answered {got}"));
        }
    }
    without
}

async fn letters(stage: &Stage) -> Vec<String> {
    let url = format!("{}/v1/dead-letters", stage.api);
    let request = stage.http.get(url).bearer_auth(stage.token());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let letters = answer["items"].as_array().cloned().unwrap_or_default();
    letters
        .iter()
        .map(|letter| format!("set aside: {letter}"))
        .collect()
}

fn panics(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("panicked"));
    lines.map(str::to_owned).collect()
}

/// The `ETag` of a state that a caller saw and that is lost: after the restore, the same number may
/// stand for another state.
struct TagOfALostState {
    file: String,
    tag: String,
}

impl TagOfALostState {
    /// Takes a file that nobody else edits.
    async fn begin(stage: &Stage) -> Self {
        let file = stage.folders.last().unwrap().clone();
        Self {
            file,
            tag: String::new(),
        }
    }

    /// Stars it, or takes its star.
    async fn edit(&self, stage: &Stage, starred: bool, tag: &str) -> (u16, String) {
        let path = format!("/files/{}", self.file);
        let body = Some(json!({"starred": starred}));
        let (answer, _) = stage
            .insist(Method::PATCH, &path, &[("if-match", tag)], body)
            .await;
        (answer.status, answer.etag)
    }

    /// Edits it, and keeps the last tag.
    async fn follow(mut self, stage: &Stage) -> Self {
        for starred in [true, false, true] {
            let (status, tag) = self.edit(stage, starred, "*").await;
            assert_eq!(status, 200);
            self.tag = tag;
        }
        self
    }

    /// Edits it again until the number of its state is at least that of the tag. Returns the tag if
    /// it was taken on the way.
    async fn is_taken(&self, stage: &Stage) -> Vec<String> {
        for round in 0..12 {
            let starred = round % 2 == 0;
            let (status, _) = self.edit(stage, starred, &self.tag).await;
            if status == 200 {
                return vec![format!("{} was taken for another state", self.tag)];
            }
            let (status, _) = self.edit(stage, starred, "*").await;
            assert!(matches!(status, 200 | 409), "{status}");
        }
        Vec::new()
    }
}

/// A webhook endpoint that hears everything.
struct Receiver {
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    async fn start(stage: &Stage) -> Self {
        let heard: Arc<Mutex<Vec<Value>>> = Arc::default();
        let ears = Arc::clone(&heard);
        let take = move |body: String| {
            let events: Value = serde_json::from_str(&body).unwrap_or_default();
            ears.lock()
                .unwrap()
                .extend(events.as_array().cloned().unwrap_or_default());
            async { http::StatusCode::NO_CONTENT }
        };
        let router = axum::Router::new().route("/", axum::routing::post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let made = stage.http.post(format!("{}/v1/webhooks", stage.api));
        let made = made
            .bearer_auth(stage.token())
            .json(&json!({"name": "Drill", "url": url}));
        let made = made.send().await.unwrap();
        assert_eq!(made.status().as_u16(), 201);
        Self { heard }
    }

    /// Waits for the word to reload.
    async fn unaware(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(180);
        while Instant::now() < end {
            let is_reset = |event: &Value| event["type"] == "sync:reset";
            let heard = self.heard.lock().unwrap().iter().any(is_reset);
            if heard {
                return Vec::new();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        vec!["the webhook endpoint did not hear sync:reset".to_owned()]
    }
}
