//! The binaries of other packages, which `cargo test` builds only for tests of their own package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::top;

/// Returns the path of a binary, built from the checkout.
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

/// Builds all binaries with the features of `cargo test --workspace`, so that all libraries are
/// reused, and returns their folder.
fn build() -> PathBuf {
    // This test is in the folder `deps` of this build's profile.
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(top());
    cargo.args(["build", "--quiet", "--locked", "--workspace"]);
    // With a test target, the features are those of a build of tests, so its libraries are reused.
    cargo.args(["--bins", "--test", "all"]);
    if folder
        .file_name()
        .is_some_and(|profile| profile == "release")
    {
        cargo.arg("--release");
    }
    let built = cargo
        .arg("--target-dir")
        .arg(folder.parent().unwrap())
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    folder.to_owned()
}

/// Starts `local --json` in its own process, and returns it with the lines that it prints.
pub fn spawn_local(arguments: &[&str], data_dir: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut process = tokio::process::Command::new(binary("local"))
        .args(["--json", "--api-addr", "127.0.0.1:0"])
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    (process, lines)
}

/// Starts `local --json` in its own process, and returns it with its first line: it is ready.
pub async fn start_local(arguments: &[&str], data_dir: &Path) -> (Child, Value) {
    let (process, mut lines) = spawn_local(arguments, data_dir);
    let first = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
    let first = first.unwrap().unwrap().expect("a ready line");
    // Further output is read and discarded: a full pipe would block the process.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let ready: Value = serde_json::from_str(&first).expect("one JSON object per line");
    assert_eq!(ready["event"], "ready", "{ready}");
    (process, ready)
}
