//! Edits and decisions of the time that is lost.

use http::Method;
use serde_json::{Value, json};

use super::Recovery;
use crate::support::{World, both_edit, eventually, run};

/// Returns a file that owes a name to Drive, which refuses writes until [`written`].
async fn owing(world: &World) -> String {
    let file = world.take();
    for pattern in ["* /batch/*", "PATCH /drive/v2/*"] {
        world.fault(json!({
            "match": pattern, "times": 0,
            "respond": {"status": 503, "reason": "backendError"},
        }));
    }
    world.edit_ok(&file, json!({"name": "ours.txt"})).await;
    file
}

/// Lets Drive take the name.
async fn written(world: &World, file: &str) {
    world.control(Method::DELETE, "faults", json!({})).await;
    named_in_drive(world, file, "ours.txt").await;
}

async fn named_in_drive(world: &World, file: &str, name: &str) {
    eventually(&format!("Drive has {name}"), async || {
        (world.owner().get(file).await["name"] == name).then_some(())
    })
    .await;
}

#[test]
fn an_edit_that_was_confirmed_and_is_owed_again_settles_without_a_write() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = owing(&world).await;
        recovery.back_up();
        written(&world, &file).await;
        world.converge().await;
        let version = world.owner().get(&file).await["version"].clone();
        let world = recovery.restore(world).await;
        world.converge().await;
        assert!(world.file(&file).await["intent"].is_null());
        assert_eq!(world.owner().get(&file).await["version"], version);
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
        world.system.stop().await;
    });
}

#[test]
fn what_a_person_made_of_our_confirmed_edit_is_a_conflict_and_not_overwritten() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = owing(&world).await;
        recovery.back_up();
        written(&world, &file).await;
        world.owner().rename(&file, "theirs.txt").await;
        world.converge().await;
        let world = recovery.restore(world).await;
        let conflict = world.conflict_on(&file, "name").await;
        assert_eq!(conflict["app"], "ours.txt");
        assert_eq!(conflict["drive"], "theirs.txt");
        world.converge().await;
        named_in_drive(&world, &file, "theirs.txt").await;
        world.system.stop().await;
    });
}

#[test]
fn a_write_that_was_answered_after_the_backup_is_known_as_our_own() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = world.take();
        // Drive carries it out, and the answer is lost: the claim stands at the backup.
        for pattern in ["* /batch/*", "PATCH /drive/v2/*"] {
            world.fault(json!({"match": pattern, "times": 1, "applied": true, "drop": true}));
        }
        world.edit_ok(&file, json!({"name": "ours.txt"})).await;
        named_in_drive(&world, &file, "ours.txt").await;
        recovery.back_up();
        world.converge().await;
        let world = recovery.restore(world).await;
        world.converge().await;
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
        named_in_drive(&world, &file, "ours.txt").await;
        world.system.stop().await;
    });
}

/// Returns a file with an open conflict on its name.
async fn in_conflict(world: &World) -> (String, Value) {
    let file = world.take();
    let (ours, theirs) = (json!({"name": "ours.txt"}), json!({"name": "theirs.txt"}));
    both_edit(world, &file, ours, theirs).await;
    let conflict = world.conflict_on(&file, "name").await;
    (file, conflict)
}

async fn choose(world: &World, conflict: &Value, choice: &str) {
    let id = conflict["id"].as_str().unwrap();
    let path = format!("/conflicts/{id}/resolution");
    world.post(&path, json!({ "choose": choice })).await;
    world.converge().await;
}

#[test]
fn a_conflict_that_was_decided_for_the_application_closes_again_by_itself() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let (file, conflict) = in_conflict(&world).await;
        recovery.back_up();
        choose(&world, &conflict, "app").await;
        named_in_drive(&world, &file, "ours.txt").await;
        let world = recovery.restore(world).await;
        eventually("the conflict closes", async || {
            let conflicts = world.conflicts_of(&file).await;
            conflicts
                .iter()
                .all(|conflict| conflict["status"] != "open")
                .then_some(())
        })
        .await;
        named_in_drive(&world, &file, "ours.txt").await;
        world.system.stop().await;
    });
}

#[test]
fn a_conflict_that_was_decided_for_drive_is_open_again_with_both_values() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let (file, conflict) = in_conflict(&world).await;
        recovery.back_up();
        choose(&world, &conflict, "drive").await;
        let world = recovery.restore(world).await;
        world.converge().await;
        let again = world.conflict_on(&file, "name").await;
        assert_eq!(
            (&again["app"], &again["drive"]),
            (&conflict["app"], &conflict["drive"])
        );
        named_in_drive(&world, &file, "theirs.txt").await;
        world.system.stop().await;
    });
}

#[test]
fn a_change_that_was_queued_at_the_backup_is_found_by_the_audit() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = world.take();
        let cursor = world.log().await.cursor;
        let kill = json!({"function": "apply-snapshots"});
        let killed = world.ask(Method::POST, "/v1/play/kill", Some(kill)).await;
        assert!((200..300).contains(&killed.status), "{}", killed.body);
        world.owner().rename(&file, "queued.txt").await;
        eventually("the cursor is past the change", async || {
            (world.log().await.cursor != cursor).then_some(())
        })
        .await;
        assert_ne!(world.file(&file).await["fields"]["name"], "queued.txt");
        recovery.back_up();
        // What was in flight is delivered at once after a restart, to the table that will be lost.
        let world = recovery.restart(world).await;
        world
            .file_until("the change is applied", &file, |file| {
                file["fields"]["name"] == "queued.txt"
            })
            .await;
        world.converge().await;
        world.disable_notifications();
        let world = recovery.restore(world).await;
        world
            .file_until("the change is found again", &file, |file| {
                file["fields"]["name"] == "queued.txt"
            })
            .await;
        let operations = world.get("/operations").await;
        let audit = operations["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["kind"] == "audit" && one["by"] == "drivesync");
        assert!(audit.is_some(), "{operations}");
        world.system.stop().await;
    });
}

#[test]
fn a_cursor_that_drive_no_longer_knows_after_the_restore_leads_to_a_resync() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = world.take();
        recovery.back_up();
        world.owner().rename(&file, "later.txt").await;
        world.converge().await;
        world.disable_notifications();
        world.invalidate_cursor().await;
        let world = recovery.restore(world).await;
        world.latest_in("resync", "done").await;
        world.converge().await;
        assert_eq!(world.file(&file).await["fields"]["name"], "later.txt");
        world.system.stop().await;
    });
}
