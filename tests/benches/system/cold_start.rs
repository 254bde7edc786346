//! The cold start of a function's binary, up to its first request for an invocation, and its size.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::report::{Report, Target, count, quantile};
use crate::rig::Folder;

const FUNCTIONS: [&str; 8] = [
    "receive-notification",
    "fetch-changes",
    "apply-snapshots",
    "push-intents",
    "run-operations",
    "live",
    "sweep",
    "api",
];
const RUNS: usize = 10;
const MB: f64 = 1024.0 * 1024.0;

pub async fn measure(report: &mut Report) {
    report.part(&format!(
        "Cold start: from exec to the first GET .../invocation/next, median of {RUNS}"
    ));
    let Some((folder, profile)) = folder() else {
        report.note("the functions are not built: run `cargo build --release` for them first");
        return;
    };
    report.note(&format!("binaries of the profile {profile}"));
    let (asked, mut questions) = mpsc::unbounded_channel();
    let address = runtime_api(asked).await;
    for function in FUNCTIONS {
        let binary = folder.join(function);
        if !binary.exists() {
            report.note(&format!("{function} is not built"));
            continue;
        }
        let mut took = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            took.push(start(&binary, &address, &mut questions).await);
        }
        took.sort_by(f64::total_cmp);
        report.against(
            &format!("{function}: start"),
            quantile(&took, 0.5),
            "ms",
            Target::Below(20.0),
        );
        report.line(
            &format!("{function}: slowest start"),
            quantile(&took, 1.0),
            "ms",
        );
        report.line(&format!("{function}: binary"), bytes(&binary) / MB, "MB");
        match zipped(&binary).await {
            Some(bytes) => report.against(
                &format!("{function}: zip"),
                bytes / MB,
                "MB",
                Target::Below(4.0),
            ),
            None => report.note("its zip was not made: there is no python3"),
        }
    }
}

/// Returns the folder of the functions' binaries: that of this program, else that of the
/// development profile.
fn folder() -> Option<(PathBuf, &'static str)> {
    let this = std::env::current_exe().ok()?;
    let built = this.parent()?.parent()?;
    let has = |folder: &Path| {
        FUNCTIONS
            .iter()
            .any(|function| folder.join(function).exists())
    };
    if has(built) {
        return Some((built.to_owned(), "release"));
    }
    let debug = built.parent()?.join("debug");
    has(&debug).then_some((debug, "dev"))
}

/// The part of Lambda's Runtime API that a start uses: a request for an invocation, which is never
/// answered.
async fn runtime_api(asked: mpsc::UnboundedSender<Instant>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let next = async |State(asked): State<mpsc::UnboundedSender<Instant>>| {
        let _ = asked.send(Instant::now());
        std::future::pending::<()>().await;
    };
    let router = Router::new()
        .route(
            "/2018-06-01/runtime/invocation/next",
            axum::routing::get(next),
        )
        .with_state(asked);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Starts a binary as Lambda does and returns the milliseconds until it requests an invocation.
async fn start(
    binary: &Path,
    address: &str,
    questions: &mut mpsc::UnboundedReceiver<Instant>,
) -> f64 {
    while questions.try_recv().is_ok() {}
    let queue = |name: &str| format!("http://127.0.0.1:9/000000000000/{name}.fifo");
    let began = Instant::now();
    let mut process = Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "f")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("TABLE_NAME", "drivesync")
        .env("LOG_WAKES_QUEUE_URL", queue("log-wakes"))
        .env("PUSH_WAKES_QUEUE_URL", queue("push-wakes"))
        .env("OPERATIONS_QUEUE_URL", queue("operations"))
        .env("LIVE_QUEUE_URL", queue("live"))
        .env("DELIVER_QUEUE_URL", queue("deliver"))
        .env("LIVE_ENDPOINT", "http://127.0.0.1:9")
        .env("OWN_HOSTS", "127.0.0.1:9")
        .env("WEBHOOK_KEY_SECRET", "drivesync-webhooks")
        .env("LIVE_URL", "ws://127.0.0.1:9/live")
        .env("SNAPSHOTS_QUEUE_URL", queue("snapshots"))
        .env("SNAPSHOTS_BULK_QUEUE_URL", queue("snapshots-bulk"))
        .env("DEAD_LETTER_QUEUE_URLS", queue("log-wakes-dead"))
        .env("HISTORY_DAYS", "90")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(30), questions.recv()).await;
    let asked = asked
        .expect("the function asked for no work within 30 s")
        .unwrap();
    process.kill().await.unwrap();
    (asked - began).as_secs_f64() * 1e3
}

fn bytes(file: &Path) -> f64 {
    count(std::fs::metadata(file).unwrap().len())
}

/// Returns the size of the deployed zip, in bytes.
async fn zipped(binary: &Path) -> Option<f64> {
    const SCRIPT: &str = "import sys, zipfile\n\
        archive = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n\
        with archive: archive.write(sys.argv[2], 'bootstrap')";
    let folder = Folder::new();
    let zip = folder.path().join("function.zip");
    let made = Command::new("python3")
        .arg("-c")
        .arg(SCRIPT)
        .arg(&zip)
        .arg(binary)
        .status()
        .await
        .ok()?;
    made.success().then(|| bytes(&zip))
}
