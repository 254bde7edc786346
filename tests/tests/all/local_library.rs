//! `local` as a newcomer starts it: the content of a directory is mirrored, and `compare` verifies
//! it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use drive_simulator::{Options, Simulator};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Folder, binary, run, serve, spawn_local};

/// A line of the file that is stored compressed.
const LINE: &[u8] = b"a line that is there again\n";

/// Creates a tree with empty files, a file of several parts, duplicates, and names that are invalid
/// as keys.
fn library(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("empty", b"");
    write("also empty.txt", b"");
    write("a.txt", b"the same");
    write("below/#a & ?b=1%20.txt", b"the same");
    write("below/deeper/new\nline, \u{65e5}\u{672c}.txt", b"another");
    write("large.bin", &vec![7; 17_000_000]);
    write("below/log.txt", &LINE.repeat(1_000));
    // A file that is not loaded into Drive is no difference.
    write(".git/HEAD", b"ref");
}

/// Runs `local` on a Drive until it reports that all content is stored, kills it, and returns the
/// report.
async fn mirrored(drive_url: &str, data_dir: &Path) -> Value {
    let arguments = ["--compress", "--drive-url", drive_url];
    let (mut process, mut lines) = spawn_local(&arguments, data_dir);
    let report = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let event: Value = serde_json::from_str(&line).expect("one JSON object per line");
            if event["event"] == "mirrored" {
                return event;
            }
        }
        panic!("it ended before all was stored");
    };
    let report = tokio::time::timeout(Duration::from_secs(120), report).await;
    process.start_kill().unwrap();
    process.wait().await.unwrap();
    report.unwrap()
}

async fn compared(library: &Path, data_dir: &Path) -> Output {
    let compared = Command::new(binary("local"))
        .args(["compare", "--library"])
        .arg(library)
        .arg("--data-dir")
        .arg(data_dir)
        .output();
    compared.await.unwrap()
}

/// Returns every object in a folder of the bucket.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = entries.map(|path| {
        if path.is_dir() {
            objects(&path)
        } else {
            vec![path]
        }
    });
    below.flatten().collect()
}

#[test]
fn a_directory_is_mirrored_without_duplicates_and_a_corrupt_object_is_found() {
    run(async {
        let (files, data) = (Folder::new(), Folder::new());
        library(files.path());
        let simulator = Simulator::new(Options::default());
        simulator.load_directory(files.path()).unwrap();
        let drive_url = serve(&simulator).await;

        let report = mirrored(&drive_url, data.path()).await;
        assert_eq!(report["files"], 7, "{report}");
        assert_eq!(report["linked"], 2, "{report}");
        assert_eq!(report["bytes"], 17_000_000 + 27_000 + 8 + 7, "{report}");
        // A later start reports the same without further work.
        let again = mirrored(&drive_url, data.path()).await;
        assert_eq!(again["files"], 7, "{again}");

        let equal = compared(files.path(), data.path()).await;
        let text = String::from_utf8_lossy(&equal.stdout).into_owned();
        assert!(equal.status.success(), "{text}");
        assert!(text.contains("identical content is stored once"), "{text}");
        assert!(text.contains("of these compressed"), "{text}");
        assert!(text.contains("27.00 kB of text in "), "{text}");

        fs::write(files.path().join("a.txt"), b"edited since").unwrap();
        let stored = objects(&data.path().join("aws/s3/content"));
        assert_eq!(stored.len(), 5, "{stored:?}");
        let large = stored
            .iter()
            .find(|path| fs::metadata(path).unwrap().len() > 1_000);
        let large = large.unwrap();
        let mut bytes = fs::read(large).unwrap();
        bytes[9_000_000] = 8;
        fs::write(large, bytes).unwrap();
        let differs = compared(files.path(), data.path()).await;
        let text = String::from_utf8_lossy(&differs.stdout).into_owned();
        assert_eq!(differs.status.code(), Some(1), "{text}");
        assert!(text.contains("different: a.txt"), "{text}");
        // The corrupt object and the edited file.
        assert!(
            text.contains("differences                               2"),
            "{text}"
        );
    });
}

#[test]
fn comparing_a_missing_data_directory_prints_one_line() {
    run(async {
        let files = Folder::new();
        let output = compared(files.path(), &files.path().join("none")).await;
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.starts_with("local: nothing is stored in"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    });
}

#[test]
fn two_clients_that_edit_one_file_lose_nothing() {
    run(async {
        let output = Command::new(binary("local")).arg("stories").output();
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}\n{errors}");
        for line in [
            "[ClientA] Upload successful: document.txt v1 -> v2",
            "[ClientB] CONFLICT detected for document.txt!",
            "  Expected version: 1",
            "  Server version: 2",
            "  document.txt: \"Hello World - EDITED BY CLIENT A (offline)\"",
            "  document (conflicted copy ClientB).txt: \"Hello World - EDITED BY CLIENT B \
                (offline)\"",
            "  Upload succeeded (v1 -> v2)",
            "  Upload rejected (version conflict)",
        ] {
            assert!(text.lines().any(|report| report == line), "{line}\n{text}");
        }
        // Both edits are in Drive in the end, in either order.
        let end = text.rsplit("In Drive").next().unwrap();
        assert!(
            end.contains("PYTHON is") && end.contains("RUST is"),
            "{text}"
        );
    });
}
