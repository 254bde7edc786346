//! Measures the whole system on this machine, and prints each result beside its target.
//!
//! `cargo bench -p tests` runs everything with 20,000 files, and the part `real` with 50,000.
//! Options, after `--`: `--files N` sets the number of files; `--only NAME` runs one part (`sync`,
//! `latency`, `burst`, `cost`, `events`, `push`, `faults`, in which Drive rejects one call in
//! twenty, `content`, or its parts `content-memory`, `content-large`, `content-small` and
//! `content-cost`, `cold-start`, `real`: shared drives, lost tokens, mass changes; and, only on
//! request, `live`: viewers of a first sync); `--memory` runs only the first sync and measures its
//! memory (100,000 files by default); `--json` prints one JSON object. The exit code does not
//! depend on the targets.
//!
//! `--only soak` is a test rather than a measurement, and runs only on request: ten minutes
//! (`--soak-seconds N`) of edits on both sides, faults and `kill -9` (`--no-kills`: one long life,
//! to measure its memory). With `--bad-google` Drive also does wrong what it does wrong in the
//! field, content is mirrored, and the same run without any fault comes first, to compare the
//! calls. With `--canary DIR:PROBABILITY[:SEED]` invocations run in the functions of another build
//! too, as `local --canary` does it. Its exit code is 1 if anything was lost.
//!
//! `--only erase`, also on request only, erases a connection with content under `kill -9`; its exit
//! code is 1 if anything of it is left, or of the connection beside it is not.

mod bare;
mod burst;
mod cold_start;
mod content;
mod cost;
mod events;
mod faults;
mod first_sync;
mod latency;
mod push;
mod real;
mod report;
mod resources;
mod rig;
mod soak;
mod steady;

use report::Report;
use rig::Rig;

/// The files of a run, by default.
const FILES: usize = 20_000;
/// The files of a run that measures memory, by default.
const FILES_FOR_MEMORY: usize = 100_000;
/// The files that people edit at once.
const EDITS: usize = 5_000;
/// The duration of the soak, by default.
const SOAK_SECONDS: u64 = 600;

/// The options of the command line.
struct Arguments {
    files: usize,
    files_real: usize,
    json: bool,
    memory: bool,
    only: Option<String>,
    soak_seconds: u64,
    kills: bool,
    bad_google: bool,
    /// The value of `local --canary`.
    canary: Option<String>,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = Self {
            files: 0,
            files_real: 0,
            json: false,
            memory: false,
            only: None,
            soak_seconds: SOAK_SECONDS,
            kills: true,
            bad_google: false,
            canary: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                // Cargo passes this to every benchmark.
                "--bench" => {}
                "--json" => arguments.json = true,
                "--memory" => arguments.memory = true,
                "--no-kills" => arguments.kills = false,
                "--bad-google" => arguments.bad_google = true,
                "--canary" => arguments.canary = Some(value()?),
                "--only" => arguments.only = Some(value()?),
                "--soak-seconds" => {
                    let text = value()?;
                    arguments.soak_seconds = text
                        .parse()
                        .map_err(|_| format!("{text} is not a number of seconds"))?;
                }
                "--files" => {
                    let text = value()?;
                    arguments.files = text
                        .parse()
                        .map_err(|_| format!("{text} is not a number of files"))?;
                }
                other => {
                    return Err(format!(
                        "{other} is not known: see the head of tests/benches/system/main.rs"
                    ));
                }
            }
        }
        arguments.files_real = match arguments.files {
            0 => real::FILES,
            told => told,
        };
        if arguments.files == 0 {
            arguments.files = if arguments.memory {
                FILES_FOR_MEMORY
            } else {
                FILES
            };
        }
        Ok(arguments)
    }

    fn wants(&self, part: &str) -> bool {
        if self.memory {
            return part == "sync";
        }
        self.only.as_deref().is_none_or(|only| only == part)
    }
}

fn main() {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("{what}");
            std::process::exit(2);
        }
    };
    let mut report = Report::new(arguments.json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let sound = runtime.block_on(run(&arguments, &mut report));
    report.end();
    if !sound {
        std::process::exit(1);
    }
}

/// Runs the requested parts. Returns false if the soak found a violation.
async fn run(arguments: &Arguments, report: &mut Report) -> bool {
    report.begin(match arguments.only.as_deref() {
        Some("real") => arguments.files_real,
        Some(_) | None => arguments.files,
    });
    let live = ["sync", "latency", "burst", "push"];
    if live.into_iter().any(|part| arguments.wants(part)) {
        let (rig, synced) = first_sync::measure(arguments.files).await;
        if arguments.wants("sync") {
            synced.report(report);
        }
        rig.drained().await;
        live_parts(arguments, report, &rig).await;
        rig.stop().await;
    }
    if arguments.wants("cost") {
        cost::measure(report).await;
    }
    if arguments.wants("events") {
        events::event_cost::measure(report).await;
    }
    if arguments.wants("faults") {
        faults::measure(report).await;
    }
    if arguments.wants("content") {
        content::measure(report).await;
    }
    if arguments.only.as_deref() == Some("live") {
        events::live::measure(report, arguments.files).await;
    }
    if let Some(part) = arguments.only.as_deref() {
        content::measure_one(report, part).await;
    }
    if arguments.wants("real") {
        real::measure(report, arguments.files_real).await;
    }
    if arguments.wants("cold-start") {
        cold_start::measure(report).await;
    }
    if arguments.only.as_deref() == Some("erase") {
        return soak::erased::measure(report, arguments.files).await;
    }
    if arguments.only.as_deref() == Some("soak") {
        let setup = soak::Setup {
            files: arguments.files,
            seconds: arguments.soak_seconds,
            kills: arguments.kills,
            canary: arguments.canary.clone(),
            google: match arguments.bad_google {
                true => soak::Google::Bad,
                false => soak::Google::Unreliable,
            },
        };
        return soak::measure(report, setup).await;
    }
    true
}

/// The measurements on a running system after its first sync.
async fn live_parts(arguments: &Arguments, report: &mut Report, rig: &Rig) {
    let edits = EDITS.min(arguments.files);
    if arguments.wants("sync") && !arguments.memory {
        steady::measure(report, rig, edits).await;
    }
    if arguments.wants("latency") {
        latency::measure(report, rig).await;
    }
    if arguments.wants("burst") {
        burst::measure(report, rig).await;
    }
    if arguments.wants("push") {
        push::measure(report, rig).await;
    }
}
