//! A soak test: twenty people edit in Drive and twenty programs at our API, Drive misbehaves, and
//! `local` is killed every half minute and restarted on its directory. In the end nothing may be
//! lost, and nothing may wait for a person.

pub mod erased;
mod memory;
mod processes;
mod trail;
mod troubles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::report::{Report, Target, count, quantile};
use crate::rig::Folder;
use local::rehearsal::process::Local;
use local::rehearsal::stage::Stage;
use local::rehearsal::{actors, judge};
use processes::Drive;

const PEOPLE: usize = 20;
const PROGRAMS: usize = 20;
/// The programs that also resolve conflicts.
const SETTLE: usize = 5;
/// The duration of a life of `local`, in milliseconds after it was ready.
const LIFE_MILLIS: std::ops::Range<u64> = 15_000..45_000;
/// The time limit of the first sync, of started edits, and of convergence.
const BOUND: Duration = Duration::from_secs(1_200);
/// The pause between two checks for convergence.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The most invocations of a function that may all have run in one build.
const FEW: u64 = 200;
/// The number of findings that are printed.
const SHOWN_MAX: usize = 30;

/// The most calls of Drive with a bad Google, in multiples of those without any fault.
const CALLS_MAX: f64 = 1.3;

/// How Drive behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Google {
    /// Without a fault.
    Good,
    /// It refuses some calls, loses some answers, and its notifications are unreliable.
    Unreliable,
    /// The same, and what else it does wrong in the field.
    Bad,
}

/// The options of a soak.
#[derive(Debug, Clone)]
pub struct Setup {
    pub files: usize,
    pub seconds: u64,
    pub kills: bool,
    pub google: Google,
    /// The value of `local --canary`.
    pub canary: Option<String>,
}

/// What a run came to.
struct Outcome {
    sound: bool,
    /// The calls of the product to Drive, for each edit that was accepted on either side.
    calls_an_edit: f64,
}

/// Runs the soak and returns whether it passed. With a bad Google a run without faults comes first.
pub async fn measure(report: &mut Report, setup: Setup) -> bool {
    let calm = match setup.google {
        Google::Bad => {
            let google = Google::Good;
            let calm = Setup {
                google,
                ..setup.clone()
            };
            Some(run(report, calm).await)
        }
        Google::Good | Google::Unreliable => None,
    };
    let outcome = run(report, setup).await;
    let Some(calm) = calm else {
        return outcome.sound;
    };
    let times = outcome.calls_an_edit / calm.calls_an_edit;
    report.against(
        "calls of Drive per edit, against the run without faults",
        times,
        "times",
        Target::AtMost(CALLS_MAX),
    );
    calm.sound && outcome.sound && times <= CALLS_MAX
}

async fn run(report: &mut Report, setup: Setup) -> Outcome {
    let Setup {
        files,
        seconds,
        kills,
        google,
        canary,
    } = setup;
    let folder = Folder::new();
    let build = processes::build(folder.path());
    let programs = folder.path();
    let log = folder.path().join("local.log");
    report.part(&format!(
        "Soak: {PEOPLE} people, {PROGRAMS} programs, {files} files, a Google that is {google:?}, \
            {}, for {seconds} s ({build} build)",
        if kills {
            "kill -9 every 15 to 45 s"
        } else {
            "nobody kills"
        }
    ));
    let drive = Drive::start(programs).await;
    let data_dir = folder.path().join("data");
    load(&drive, files).await;
    let began = Instant::now();
    // Contents are mirrored where Drive refuses them.
    let content = google == Google::Bad;
    let more = (!content).then(|| "--no-content".to_owned());
    let mixed = canary.is_some();
    let canary = canary.map(|canary| format!("--canary={canary}"));
    let more = more.into_iter().chain(canary);
    let binary = programs.join("local");
    let mut local = Local::start(&binary, &drive.url, &data_dir, &log, more).await;
    let mut stage = Stage::new(&drive.url, &drive.control_key, &local.ready, &data_dir);
    synced(&stage).await;
    let items = stage.list("/files?limit=1000").await;
    stage.know(&items);
    report.line("first sync", began.elapsed().as_secs_f64(), "s");
    stage.begin();
    let stage = Arc::new(stage);
    stage
        .control(Method::POST, "journal", json!({"kept": true}))
        .await;
    stage.control(Method::DELETE, "counters", json!({})).await;
    match google {
        Google::Good => {}
        Google::Unreliable | Google::Bad => stage.misbehave().await,
    }
    let mut actors = actors(&stage);
    if google == Google::Bad {
        let stage = Arc::clone(&stage);
        actors.spawn(async move { troubles::come_and_go(&stage, seconds).await });
    }
    let began = Instant::now();
    let mut wrong = live_and_die(&mut local, Duration::from_secs(seconds), kills).await;
    stage.end();
    let last = async { while actors.join_next().await.transpose().unwrap().is_some() {} };
    if tokio::time::timeout(BOUND, last).await.is_err() {
        wrong.push("some actors did not come to an end".to_owned());
    }
    report.line(
        "editing, with what had been begun",
        began.elapsed().as_secs_f64(),
        "s",
    );
    let faults = stage.behave().await;
    let began = Instant::now();
    let differences = rest(&stage).await;
    report.line(
        "from then until both sides were at rest",
        began.elapsed().as_secs_f64(),
        "s",
    );
    wrong.extend(
        differences
            .into_iter()
            .map(|what| format!("not at rest: {what}")),
    );
    wrong.extend(set_aside(&stage).await);
    wrong.extend(panics(&log));
    if content {
        wrong.extend(judge::contents(&stage, BOUND).await);
    }
    if mixed {
        wrong.extend(by_build(report, &local));
    }
    let (acts, broken) = trail::check(&stage).await;
    wrong.extend(broken);
    report.line("acts in the audit trail", count(acts), "");
    let calls_an_edit = stage.calls_an_edit().await;
    report.line("calls of Drive per accepted edit", calls_an_edit, "");
    let sound = verdict(report, &stage, wrong, faults).await;
    let lives = local.lives.lock().unwrap().clone();
    report.line("kills", count(lives.len() - 1), "");
    report.line("restarts", count(lives.len() - 1), "");
    memory::report(report, &lives);
    local.kill().await;
    let sound = sound && !memory::grew(&lives);
    if !sound {
        report.note(&format!(
            "everything is kept in {}",
            folder.path().display()
        ));
        folder.keep();
    }
    Outcome {
        sound,
        calls_an_edit,
    }
}

/// Reports where invocations ran, and returns what must not be.
fn by_build(report: &mut Report, local: &Local) -> Vec<String> {
    let mut wrong = Vec::new();
    let by_build = local.by_build();
    if by_build.is_empty() {
        wrong.push("no invocation was counted".to_owned());
    }
    for (function, counts) in by_build {
        let of = |build| counts.get(build).copied().unwrap_or(0);
        let (other, this, failed) = (of("other"), of("this"), of("failed"));
        report.note(&format!(
            "{function}: {other} invocations in the other build, {this} in this one"
        ));
        if failed > 0 {
            wrong.push(format!(
                "{function}: {failed} invocations in the other build failed"
            ));
        }
        // Of few, all may be drawn for one build.
        if other + this > FEW && (other == 0 || this == 0) {
            wrong.push(format!("{function} did not run in both builds"));
        }
    }
    wrong
}

async fn load(drive: &Drive, files: usize) {
    let url = format!("{}/_control/load", drive.url);
    let order = json!({"files": files, "folders": (files / 100).max(2)});
    let loaded = reqwest::Client::new().post(url).json(&order);
    let loaded = loaded.header("x-drive-control", &drive.control_key);
    let loaded = loaded.send().await.unwrap();
    assert_eq!(loaded.status().as_u16(), 200);
}

async fn synced(stage: &Stage) {
    let end = Instant::now() + BOUND;
    loop {
        let status = stage.get("/status").await;
        let log = &status["logs"][0];
        if status["last_operation"]["state"] == "done" && log["channel"] != Value::Null {
            return;
        }
        assert!(Instant::now() < end, "the first sync is not done: {status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn actors(stage: &Arc<Stage>) -> JoinSet<()> {
    let mut actors = JoinSet::new();
    for number in 0..PEOPLE {
        let stage = Arc::clone(stage);
        actors.spawn(async move { actors::person(&stage, number).await });
    }
    for number in 0..PROGRAMS {
        let stage = Arc::clone(stage);
        actors.spawn(async move { actors::program(&stage, number, number < SETTLE).await });
    }
    actors
}

/// Kills `local` repeatedly for this time, or lets it live.
async fn live_and_die(local: &mut Local, long: Duration, kills: bool) -> Vec<String> {
    let end = tokio::time::Instant::now() + long;
    if !kills {
        tokio::time::sleep_until(end).await;
        return Vec::new();
    }
    loop {
        let life = Duration::from_millis(fastrand::u64(LIFE_MILLIS));
        let until = tokio::time::Instant::now() + life;
        tokio::time::sleep_until(until.min(end)).await;
        if until >= end {
            return Vec::new();
        }
        if let Err(what) = local.kill_and_restart().await {
            return vec![what];
        }
    }
}

/// Waits until both sides are equal or in open conflicts, and nothing is owed. Returns the
/// remaining differences.
async fn rest(stage: &Stage) -> Vec<String> {
    // A poll would find the change of a dropped notification within a quarter of an hour.
    let look = Some(json!({"mode": "delta"}));
    stage.insist(Method::POST, "/sync", &[], look).await;
    let end = Instant::now() + BOUND;
    loop {
        let differences = judge::differences(stage).await;
        if differences.is_empty() || Instant::now() > end {
            return differences;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the dead letters; there should be none.
async fn set_aside(stage: &Stage) -> Vec<String> {
    let url = format!("{}/v1/dead-letters", stage.api);
    let request = stage.http.get(url).bearer_auth(stage.token());
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let letters = answer["items"].as_array().unwrap();
    letters
        .iter()
        .map(|letter| format!("set aside: {letter}"))
        .collect()
}

fn panics(log: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("panicked"));
    lines.map(str::to_owned).collect()
}

async fn verdict(report: &mut Report, stage: &Stage, wrong: Vec<String>, faults: u64) -> bool {
    let mut verdict = judge::judge(stage).await;
    verdict.wrong.extend(wrong);
    let ledger = stage.ledger.lock().unwrap();
    let accepted = ledger.programs.iter().filter(|edit| edit.accepted).count();
    let line = |report: &mut Report, what: &str, value: usize| report.line(what, count(value), "");
    line(
        report,
        "edits accepted in Drive",
        ledger.people.len() + ledger.others.0,
    );
    line(
        report,
        "edits accepted at the API",
        accepted + ledger.others.1,
    );
    line(
        report,
        "edits at the API whose fate the program never learnt",
        ledger.programs.len() - accepted,
    );
    report.line(
        "repetitions of programs",
        count(stage.retries.load(std::sync::atomic::Ordering::Relaxed)),
        "",
    );
    report.line("calls of Drive that met a fault", count(faults), "");
    line(report, "conflicts opened", verdict.conflicts);
    line(
        report,
        "  of these writes of unknown fate (`unsure`)",
        verdict.unsure,
    );
    line(
        report,
        "  ended: decided, or by themselves",
        verdict.conflicts - verdict.open,
    );
    line(report, "  decisions that were accepted", ledger.decisions);
    line(report, "  still open", verdict.open);
    for (minute, took) in &ledger.took {
        let mut took = took.clone();
        took.sort_by(f64::total_cmp);
        report.note(&format!(
            "minute {minute}: {} answers of the API, median {:.0} ms, p95 {:.0} ms",
            took.len(),
            1e3 * quantile(&took, 0.5),
            1e3 * quantile(&took, 0.95)
        ));
    }
    for (kind, answers) in &ledger.answers {
        report.note(&format!("answers, {kind}: {answers}"));
    }
    line(report, "texts followed to their end", verdict.followed);
    report.against(
        "edits lost",
        count(verdict.lost.len()),
        "edits",
        Target::AtMost(0.0),
    );
    report.against(
        "whatever else must not be",
        count(verdict.wrong.len()),
        "",
        Target::AtMost(0.0),
    );
    for what in verdict.lost.iter().chain(&verdict.wrong).take(SHOWN_MAX) {
        report.note(what);
    }
    verdict.lost.is_empty() && verdict.wrong.is_empty()
}
