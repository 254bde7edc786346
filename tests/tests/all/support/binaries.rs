//! The binaries of other packages, which `cargo test` builds only for tests of their own package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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
