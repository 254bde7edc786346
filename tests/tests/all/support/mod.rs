//! What the tests stand on: a world of one Drive and one system, and ways to wait for it.

mod binaries;
mod both;
mod by_hand;
mod calls;
mod drive;
mod metrics;
mod operations;
mod runtime_api;
pub mod sim;
mod stage;
mod team;
mod wait;
mod webhook;
mod world;

pub use binaries::binary;
pub use both::{both_edit, both_rename};
pub use by_hand::{ByHand, by_hand};
pub use calls::Calls;
pub use drive::Person;
pub use metrics::{Metrics, listening};
pub use runtime_api::{Invoked, RuntimeApi};
pub use stage::{FILE, FILE_IN_CONFLICT, Stage};
pub use team::Team;
pub use wait::{eventually, never_within};
pub use world::{Answer, Outside, Setup, World, credentials, own, own_with, run, serve, shared};

use std::path::{Path, PathBuf};

/// The top folder of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A folder that goes away with the test.
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
