//! `local` in a process of its own, which is killed and started again on its directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// The time limit for a process to be ready: unoptimised, on busy cores, with its directory to
/// read.
const START_SECONDS_MAX: u64 = 120;
/// The interval at which the memory of `local` is read.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The memory of one life of `local`, in MB, by its age in seconds.
#[derive(Debug, Clone, Default)]
pub struct Life {
    pub ready_seconds: f64,
    pub samples: Vec<(f64, f64)>,
}

/// The invocations of each function in one life, as `local` counts them.
type Counted = Arc<Mutex<Value>>;

/// The lives of `local`.
pub struct Local {
    binary: PathBuf,
    arguments: Vec<String>,
    log: File,
    process: Child,
    /// The `ready` event of the first life.
    pub ready: Value,
    pub lives: Arc<Mutex<Vec<Life>>>,
    /// How many invocations ran where, in each life: the last `canary` event.
    counted: Vec<Counted>,
    sampling: tokio::task::JoinHandle<()>,
}

impl Local {
    /// Starts it beside a Drive. Its address is the same in every life, since Drive's channel names
    /// it.
    pub async fn start(
        binary: &Path,
        drive_url: &str,
        data_dir: &Path,
        log: &Path,
        more: impl Iterator<Item = String>,
    ) -> Self {
        let binary = binary.to_owned();
        // A port outside the ephemeral range: no other process takes it while `local` is down.
        let port = fastrand::u16(20_000..30_000);
        let arguments = ["--json", "--api-addr", &format!("127.0.0.1:{port}")]
            .into_iter()
            .chain(["--drive-url", drive_url, "--data-dir"])
            .map(str::to_owned)
            .chain([data_dir.to_string_lossy().into_owned()])
            .chain(more)
            .collect::<Vec<_>>();
        let log = File::create(log).unwrap();
        let began = Instant::now();
        let counted = Counted::default();
        let started = live(&binary, &arguments, &log, &counted).await;
        let (process, ready) = started.unwrap();
        let lives = Arc::default();
        let sampling = sample(&process, began, &lives);
        Self {
            binary,
            arguments,
            log,
            process,
            ready,
            lives,
            counted: vec![counted],
            sampling,
        }
    }

    /// Kills the process with `kill -9` and starts another life.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn kill_and_restart(&mut self) -> Result<(), String> {
        self.kill().await;
        self.restart().await
    }

    /// Starts another life, after it was killed.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn restart(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let counted = Counted::default();
        let (process, _) = live(&self.binary, &self.arguments, &self.log, &counted).await?;
        self.counted.push(counted);
        self.process = process;
        self.sampling = sample(&self.process, began, &self.lives);
        Ok(())
    }

    /// Returns the invocations of each function in all lives: `other`, `this` and `failed`.
    pub fn by_build(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for counted in &self.counted {
            let counted = counted.lock().unwrap();
            for (function, counts) in counted.as_object().into_iter().flatten() {
                let sum = all.entry(function.clone()).or_default();
                for (build, count) in counts.as_object().into_iter().flatten() {
                    *sum.entry(build.clone()).or_default() += count.as_u64().unwrap();
                }
            }
        }
        all
    }

    /// Kills the process with `kill -9`.
    pub async fn kill(&mut self) {
        self.sampling.abort();
        self.process.start_kill().unwrap();
        self.process.wait().await.unwrap();
    }
}

/// Starts a life, waits until it is ready, and returns its `ready` event.
async fn live(
    binary: &Path,
    arguments: &[String],
    log: &File,
    counted: &Counted,
) -> Result<(Child, Value), String> {
    let mut process = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = within(ready(&mut lines)).await;
    let ready = ready.ok_or("`local` ended, and was not ready")?;
    let counted = Arc::clone(counted);
    // Further output is read and discarded: a full pipe would block the process.
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "canary" {
                *counted.lock().unwrap() = event["functions"].take();
            }
        }
    });
    Ok((process, ready))
}

async fn ready(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>) -> Option<Value> {
    while let Some(line) = lines.next_line().await.unwrap() {
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "ready" {
            return Some(event);
        }
    }
    None
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(START_SECONDS_MAX);
    tokio::time::timeout(bound, what)
        .await
        .expect("a program that answers in time")
}

/// Reads the memory of a life until it ends.
fn sample(
    process: &Child,
    began: Instant,
    lives: &Arc<Mutex<Vec<Life>>>,
) -> tokio::task::JoinHandle<()> {
    let status = format!("/proc/{}/status", process.id().unwrap());
    let ready = Instant::now();
    let lives = Arc::clone(lives);
    lives.lock().unwrap().push(Life {
        ready_seconds: (ready - began).as_secs_f64(),
        samples: Vec::new(),
    });
    let mine = lives.lock().unwrap().len() - 1;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SAMPLE_EVERY).await;
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes =
                line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
            if let Some(kilobytes) = kilobytes {
                let sample = (ready.elapsed().as_secs_f64(), kilobytes / 1024.0);
                lives.lock().unwrap()[mine].samples.push(sample);
            }
        }
    })
}
