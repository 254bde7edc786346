//! Two builds work on one table, as during a canary: each invocation runs in this process or in
//! the functions' binaries. Here they are of one build; `.ci/mixed_versions.sh` takes the binaries
//! of the release before.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use drive_simulator::Edit;
use local::canary::{self, Counts};
use serde_json::{Value, json};

use crate::support::{Folder, Setup, World, binary, both_rename, eventually, own_with, top};

/// Lays the binaries of this build, and what they need to know, into a folder.
fn build_in(folder: &Path) {
    for function in canary::functions() {
        symlink(binary(function), folder.join(function)).unwrap();
    }
    let environments = folder.join(canary::ENVIRONMENTS);
    std::fs::copy(top().join("events/env.json"), environments).unwrap();
}

/// Runs a test in a world of which half of the invocations run in the binaries of a folder.
fn mixed_with(folder: &Path, test: impl AsyncFnOnce(&World)) {
    let setup = Setup {
        canary: Some(canary::Setup {
            folder: folder.to_owned(),
            probability: 0.5,
            seed: 7,
        }),
        ..Setup::default()
    };
    own_with(setup, test);
}

fn counts(world: &World, function: &str) -> Counts {
    let canary = world.system.functions.canary.as_ref().unwrap();
    canary.counts().get(function).copied().unwrap_or_default()
}

#[test]
fn two_builds_keep_both_sides_equal_over_one_table() {
    let folder = Folder::new();
    build_in(folder.path());
    mixed_with(folder.path(), async |world| {
        let files = world.simulator.file_ids();
        both_rename(world, &files[20]).await;
        let mut round = 0;
        let functions = ["fetch-changes", "apply-snapshots", "push-intents", "api"];
        let in_both = |function: &&str| {
            let Counts { other, this, .. } = counts(world, function);
            other > 0 && this > 0
        };
        while !functions.iter().all(in_both) {
            assert!(
                round < 20,
                "{:?}",
                functions.map(|name| counts(world, name))
            );
            let theirs = Edit::Rename(format!("theirs {round}"));
            let file = &files[round % 8];
            world.simulator.apply("alice", file, theirs).unwrap();
            let ours = json!({"description": format!("ours {round}")});
            world.edit_ok(&files[8 + round % 8], ours).await;
            world.converge().await;
            round += 1;
        }
        world.converge().await;
        for function in functions {
            assert_eq!(counts(world, function).failed, 0, "{function}");
        }
    });
}

#[test]
fn an_invocation_whose_process_crashes_is_made_again() {
    let folder = Folder::new();
    build_in(folder.path());
    let crashing = folder.path().join("publish-events");
    std::fs::remove_file(&crashing).unwrap();
    std::fs::write(&crashing, "#!/bin/sh\nexit 1\n").unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&crashing, executable).unwrap();
    mixed_with(folder.path(), async |world| {
        let files = world.simulator.file_ids();
        eventually("a crash", async || {
            let starred = json!({"starred": fastrand::bool()});
            // A busy machine may answer one with 503: another one follows.
            world.edit(&files[0], starred).await;
            (counts(world, "publish-events").failed > 0).then_some(())
        })
        .await;
        let file = &files[1];
        let subject = format!("files/{file}");
        // The log begins with the first event, whose invocations may have crashed so far.
        let end = eventually("a first event", async || {
            let latest = world.get("/events?after=latest").await;
            latest["head"].as_str().map(str::to_owned)
        })
        .await;
        let after = format!("/events?after={end}");
        let last = json!({"description": "after the crash"});
        eventually("the last edit is accepted", async || {
            let answer = world.edit(file, last.clone()).await;
            (answer.status == 200).then_some(())
        })
        .await;
        eventually("the event of an edit", async || {
            let listed = world.get(&after).await;
            let items = listed["items"].as_array().unwrap();
            let is_edit = |event: &Value| event["subject"] == *subject;
            items.iter().any(is_edit).then_some(())
        })
        .await;
        world.converge().await;
    });
}
