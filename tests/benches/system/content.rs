//! Content: how fast it is mirrored beside a plain copy of the same bytes, how many small files, in how much memory, how
//! soon after a notification, and at what cost.
//!
//! Drive, S3, the table and the queues are all in this process, on disk: what they take is taken from the mirror.

mod cost;
mod large;

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use domain::FileId;
use domain::content::ContentOutcome;
use drive_simulator::{GeneratedFile, Simulator};
use serde_json::Value;
use store::PageRequest;

use crate::report::{Report, Target, count, quantile};
use crate::resources::{forget_peak, memory as memory_now};
use crate::rig::{Rig, credentials, serve, until};

/// What measures memory, in a process of its own: what others have left in an allocator would hide a growth.
const MEMORY: &str = "content-memory";
/// Small files.
const SMALL: usize = 10_000;
/// The one file whose mirroring is looked at for its memory.
const HUGE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Files whose way from Drive is timed: of each kind so many, and one each so often.
const TIMED: u64 = 40;
const TIMED_EVERY: Duration = Duration::from_millis(500);
/// The largest of them.
const TIMED_BYTES_MAX: u64 = 10_000_000;
/// The growth of the whole process, in megabytes.
const GROWTH: &str = "growth of the process at its peak, Drive and S3 in it";

pub async fn measure(report: &mut Report) {
    grown(report);
    large::measure(report).await;
    small(report).await;
    cost::measure(report).await;
}

/// One of the parts by itself, if that is its name.
pub async fn measure_one(report: &mut Report, part: &str) {
    match part {
        MEMORY => memory(report).await,
        "content-large" => large::measure(report).await,
        "content-small" => small(report).await,
        "content-cost" => cost::measure(report).await,
        _ => {}
    }
}

/// Makes a file of made-up bytes, other ones for every number.
fn make(simulator: &Simulator, number: u64, size_bytes: u64) -> String {
    let file = GeneratedFile {
        name: format!("made-{number}.bin"),
        mime_type: "application/octet-stream".to_owned(),
        seed: number,
        size_bytes,
    };
    let owner = Simulator::library_owner();
    simulator.create_generated(owner, None, file).unwrap()
}

/// Waits until the content of each of these files is stored.
async fn stored(rig: &Rig, ids: &[String]) {
    for id in ids {
        let file = FileId::parse(id).unwrap();
        until("content is stored", async || {
            let state = rig.store().load_content(&rig.key, &file).await.unwrap();
            matches!(state.outcome, Some((_, ContentOutcome::Stored))).then_some(())
        })
        .await;
    }
}

async fn small(report: &mut Report) {
    let simulator = Simulator::new(drive_simulator::Options::default());
    simulator.load_synthetic(SMALL, SMALL / 100);
    let drive_url = serve(&simulator).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    let began = Instant::now();
    let owner = credentials(&drive_url);
    let key = system.connect_with(&owner, None, true).await.unwrap();
    let rig = Rig::new(simulator, system, key, folder);
    let ids = rig.files(SMALL);
    stored(&rig, &ids).await;
    let seconds = began.elapsed().as_secs_f64();
    report.part(&format!(
        "Content: {SMALL} files of 64 bytes to 4 KB, from the creation of the connection until all is stored"
    ));
    report.against(
        "first sync and content",
        count(ids.len()) / seconds,
        "files/s",
        Target::AtLeast(1_000.0 / 60.0),
    );
    report.line("time", seconds, "s");
    rig.watched().await;
    rig.drained().await;
    timed(report, &rig).await;
    rig.stop().await;
}

async fn timed(report: &mut Report, rig: &Rig) {
    rig.notifications(true);
    report.part("Content: from a change in Drive until it is stored, files of 10 KB to 10 MB, notification over HTTP included");
    let size = |n: u64| 10_000 + n.wrapping_mul(7_368_787) % (TIMED_BYTES_MAX - 10_000);
    let mut ids = Vec::new();
    let simulator = &rig.simulator;
    let new = delays(rig, 1, |n| {
        let id = make(simulator, 1_000 + n, size(n));
        ids.push(id.clone());
        id
    });
    let new = new.await;
    let replaced = delays(rig, 2, |n| {
        let id = ids[usize::try_from(n).unwrap()].clone();
        let owner = Simulator::library_owner();
        simulator
            .replace_generated(owner, &id, 2_000 + n, size(n + TIMED))
            .unwrap();
        id
    });
    let replaced = replaced.await;
    for (name, mut delays) in [("new files", new), ("new content of files", replaced)] {
        delays.sort_by(f64::total_cmp);
        let line = |what: &str| format!("{TIMED} {name}, one each {TIMED_EVERY:?}: {what}");
        report.line(&line("p50"), quantile(&delays, 0.5), "s");
        let p95 = quantile(&delays, 0.95);
        report.against(&line("p95"), p95, "s", Target::Below(5.0));
        report.line(&line("max"), quantile(&delays, 1.0), "s");
    }
    report.note("Drive's checksums are made in this process, in the time that is measured; a real one has them already");
}

/// Changes one file after the other, and gives the seconds until each has its stored version of this number.
async fn delays(rig: &Rig, number: u32, mut change: impl FnMut(u64) -> String) -> Vec<f64> {
    let mut outstanding: HashMap<FileId, Instant> = HashMap::new();
    let mut delays = Vec::new();
    let (mut next, mut due) = (0, Instant::now());
    until("everything timed is stored", async || {
        if next < TIMED && Instant::now() >= due {
            let began = Instant::now();
            outstanding.insert(FileId::parse(&change(next)).unwrap(), began);
            next += 1;
            due += TIMED_EVERY;
        }
        for (file, began) in outstanding.clone() {
            let newest = PageRequest::first(1);
            let versions = rig.store().list_versions(&rig.key, &file, &newest);
            let versions = versions.await.unwrap().items;
            if versions.first().is_some_and(|v| v.number >= number) {
                delays.push(began.elapsed().as_secs_f64());
                outstanding.remove(&file);
            }
        }
        (next == TIMED && outstanding.is_empty()).then_some(())
    })
    .await;
    delays
}

/// Lets a process of its own measure memory.
fn grown(report: &mut Report) {
    let measured = Command::new(std::env::current_exe().unwrap())
        .args(["--json", "--only", MEMORY])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&measured.stdout).into_owned();
    let whole: Value = serde_json::from_str(&text).unwrap_or_default();
    let lines = whole["measurements"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    report.part(&format!(
        "Content: memory of mirroring one file of {} MB, in a process of its own",
        HUGE_BYTES / 1_000_000
    ));
    for line in &lines {
        let name = line["name"].as_str().unwrap_or_default();
        let value = line["value"].as_f64().unwrap_or(f64::NAN);
        let unit = line["unit"].as_str().unwrap_or_default();
        if name == GROWTH {
            report.against(name, value, unit, Target::AtMost(64.0));
        } else {
            report.line(name, value, unit);
        }
    }
    assert!(!lines.is_empty(), "memory was not measured: {text}");
}

/// Measures memory; nothing else may have run in this process.
async fn memory(report: &mut Report) {
    let simulator = Simulator::new(drive_simulator::Options::default());
    let drive_url = serve(&simulator).await;
    let (system, folder) = Rig::start(drive_url.clone()).await;
    let owner = credentials(&drive_url);
    let key = system.connect_with(&owner, None, true).await.unwrap();
    let rig = Rig::new(simulator, system, key, folder);
    rig.watched().await;
    // One small file goes the whole way first: what every way needs is there, and is not of the large file.
    let first = make(&rig.simulator, 1, 20_000_000);
    stored(&rig, std::slice::from_ref(&first)).await;
    forget_peak();
    let before = memory_now().now_mb;
    let began = Instant::now();
    let huge = make(&rig.simulator, 2, HUGE_BYTES);
    stored(&rig, std::slice::from_ref(&huge)).await;
    let seconds = began.elapsed().as_secs_f64();
    let peak = memory_now().peak_mb;
    report.part("memory");
    report.line("before", before, "MB");
    report.line("peak (VmHWM)", peak, "MB");
    report.line(GROWTH, peak - before, "MB");
    report.line("time, Drive's checksums included", seconds, "s");
    rig.stop().await;
}
