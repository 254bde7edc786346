//! Support for the tests: Drive, the system, ways to act on both, and ways to wait for results.

mod api_events;
mod binaries;
mod both;
mod by_hand;
mod calls;
mod metrics;
mod operations;
mod person;
pub mod sim;
mod stage;
mod team;
mod wait;
mod webhook;
mod world;

pub use api_events::{ApiSample, api_event, api_samples};
pub use binaries::{binary, spawn_local, start_local};
pub use both::{both_edit, both_rename};
pub use by_hand::{ByHand, by_hand};
pub use calls::Calls;
pub use local::canary::Invoked;
pub use metrics::{Metrics, logged, measured};
pub use person::{FOLDER, Person};
pub use stage::{FILE, FILE_IN_CONFLICT, RunningFunction, Stage};
pub use team::Team;
pub use wait::{eventually, never_within};
pub use webhook::known_channel;
pub use world::{Answer, Outside, Setup, World, credentials, own, own_with, run, serve, shared};

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::event::{Author, Details, Event, EventType, Subject};
use domain::{FileId, Timestamp};

/// Returns the top folder of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Returns an event about each of these files: an edit in Drive, like no other.
pub fn edits(files: &[impl AsRef<str>], now: Timestamp) -> Vec<Event> {
    let state = fastrand::u64(..).to_string();
    let event = |file: &str| Event {
        kind: EventType::FileModified,
        subject: Subject::File(FileId::parse(file).unwrap()),
        state: state.clone(),
        at: now,
        by: Author::Drive,
        cause: None,
        details: Details::default(),
    };
    files.iter().map(|file| event(file.as_ref())).collect()
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

/// Returns every item of the table.
pub async fn items(client: &aws_sdk_dynamodb::Client) -> Vec<HashMap<String, AttributeValue>> {
    let scan = client.scan().table_name(local::aws::NAME).into_paginator();
    let items = scan.items().send().collect::<Result<_, _>>();
    items.await.unwrap()
}

/// The end of tokens that outlive every test, in seconds of Unix time.
pub const LATER: i64 = 4_000_000_000;

/// Runs a test in a world of its own, with the folder that has the key of its tokens.
pub fn own_with_key(test: impl AsyncFnOnce(&World, &Path)) {
    let folder = Folder::new();
    let setup = Setup {
        data_dir: Some(folder.path().to_owned()),
        ..Setup::default()
    };
    own_with(setup, async |world| test(world, folder.path()).await);
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
