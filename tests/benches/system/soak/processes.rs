//! The programs, and a Drive in a process of its own, which is never killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The time limit for a process to be ready: unoptimised, on busy cores, with its directory to
/// read.
const START_SECONDS_MAX: u64 = 120;
/// Builds both programs with the profile of this one, copies them to a folder, so that no later
/// build replaces them between two lives, and returns the profile's name.
pub fn build(into: &Path) -> &'static str {
    // This program is in the folder `deps` of its profile.
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(Path::parent).unwrap();
    let optimised = folder.file_name().is_some_and(|name| name == "release");
    let (profile, named) = if optimised {
        ("bench", "optimised")
    } else {
        ("dev", "unoptimised")
    };
    let built = std::process::Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--locked", "--workspace", "--bins"])
        // With a target of the tests in the build, the features are those of this program's build.
        .args(["--bench", "system", "--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .status()
        .unwrap();
    assert!(built.success(), "the programs could not be built");
    for program in ["local", "drive-simulator"] {
        std::fs::copy(folder.join(program), into.join(program)).unwrap();
    }
    named
}

/// A Drive in its own process.
pub struct Drive {
    pub url: String,
    /// The value of the header that its control commands need.
    pub control_key: String,
    _process: Child,
}

impl Drive {
    pub async fn start(folder: &Path) -> Self {
        let mut process = Command::new(folder.join("drive-simulator"))
            .args(["--addr", "127.0.0.1:0", "--seed", "7"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap().unwrap();
        let url = line.split_whitespace().find(|word| word.contains("://"));
        let (_, control_key) = line.rsplit_once("X-Drive-Control: ").unwrap();
        Self {
            url: url.unwrap().to_owned(),
            control_key: control_key.trim_end_matches(')').to_owned(),
            _process: process,
        }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(START_SECONDS_MAX);
    tokio::time::timeout(bound, what)
        .await
        .expect("a program that answers in time")
}
