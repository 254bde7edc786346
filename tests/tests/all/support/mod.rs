//! Support for the tests: Drive, the system, ways to act on both, and ways to wait for results.

mod api_events;
mod binaries;
mod both;
mod by_hand;
mod calls;
mod metrics;
mod operations;
mod person;
mod runtime_api;
pub mod sim;
mod stage;
mod team;
mod wait;
mod webhook;
mod world;

pub use api_events::{ApiSample, api_event, api_samples};
pub use binaries::binary;
pub use both::{both_edit, both_rename};
pub use by_hand::{ByHand, by_hand};
pub use calls::Calls;
pub use metrics::{Metrics, logged};
pub use person::{FOLDER, Person};
pub use runtime_api::{Invoked, RuntimeApi};
pub use stage::{FILE, FILE_IN_CONFLICT, Stage};
pub use team::Team;
pub use wait::{eventually, never_within};
pub use webhook::known_channel;
pub use world::{Answer, Outside, Setup, World, credentials, own, own_with, run, serve, shared};

use std::path::{Path, PathBuf};

/// Returns the top folder of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Returns the Rust sources below a folder.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// A folder that is removed at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!(
            "drivesync-tests-{}-{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
