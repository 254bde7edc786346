//! Each shared drive has a change log, part of which the user's log repeats.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Outside, Setup, Team, World, eventually, own, own_with, serve};

async fn operations(world: &Outside) -> Vec<Value> {
    let list = world.get("/operations?limit=1000").await;
    list["items"].as_array().unwrap().clone()
}

/// Asserts that no log lost its cursor: a token of another log would have been rejected.
async fn no_cursor_was_lost(world: &Outside) {
    for operation in operations(world).await {
        assert_ne!(operation["kind"], "resync", "{operation}");
    }
}

#[test]
fn pain_09_an_item_in_both_logs_is_one_snapshot() {
    own(async |world| {
        let team = Team::make(world, "Team").await;
        let file = team.file("seen twice.txt").await;
        team.join().await;
        let shown = world.log_until(&team.id, "following").await;
        assert_eq!(shown["drive"], json!({"id": team.id, "name": "Team"}));
        world
            .all_until(std::slice::from_ref(&file), "present")
            .await;
        for number in 0..3 {
            let name = format!("renamed {number}.txt");
            team.rename(&file, &name).await;
            let renamed = |shown: &Value| shown["fields"]["name"] == name.as_str();
            world.file_until("the rename", &file, renamed).await;
        }
        // Each of the two logs reported it.
        for log in ["user", &team.id] {
            eventually("a log with a change", async || {
                let log = world.log_of(log).await?;
                (!log["last_change_at"].is_null()).then_some(())
            })
            .await;
        }
        eventually("the queues are empty", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        let seen = world.versions(&file).await;
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{seen:?}");
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
        let listed = world.get("/files?limit=1000").await;
        let listed = listed["items"].as_array().unwrap().iter();
        assert_eq!(listed.filter(|item| item["id"] == *file).count(), 1);
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_joining_a_drive_lists_the_files_that_no_log_reports() {
    own(async |world| {
        let team = Team::make(world, "Joined").await;
        let files = team.files(5).await;
        team.join().await;
        world.all_until(&files, "present").await;
        world.log_until(&team.id, "following").await;
        let listing = eventually("its own first listing is done", async || {
            let all = operations(world).await;
            all.into_iter()
                .find(|o| o["log"] == team.id.as_str() && o["state"] == "done")
        })
        .await;
        assert_eq!(listing["kind"], "initial_sync");
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_drives_that_were_joined_before_the_connection_are_found() {
    crate::support::run(async {
        let simulator = drive_simulator::Simulator::new(drive_simulator::Options::default());
        simulator.load_synthetic(3, 1);
        let drive_url = serve(&simulator).await;
        let before = Outside::new(simulator.clone(), &drive_url, "", "", "");
        let mut teams = Vec::new();
        for number in 0..3 {
            let team = Team::make(&before, &format!("Old{number}")).await;
            let files = team.files(2).await;
            team.join().await;
            teams.push((team, files));
        }
        let world = World::beside(simulator, &drive_url, None, true).await;
        for (team, files) in &teams {
            world.all_until(files, "present").await;
            world.log_until(&team.id, "following").await;
        }
        let watched = async |log: &str| {
            let log = world.log_of(log).await?;
            log["channel"]["id"].as_str().map(str::to_owned)
        };
        let mut channels = BTreeSet::new();
        for (team, _) in &teams {
            channels.insert(eventually("a channel", async || watched(&team.id).await).await);
        }
        assert_eq!(channels.len(), teams.len(), "each log has its own");
        no_cursor_was_lost(&world).await;
        world.system.stop().await;
    });
}

#[test]
fn pain_09_files_of_a_drive_that_was_left_are_inaccessible_until_it_is_rejoined() {
    own(async |world| {
        let mine = world.take();
        let team = Team::make(world, "Left").await;
        let files = team.files(4).await;
        let permission = team.join().await;
        world.all_until(&files, "present").await;
        eventually("its log has a channel", async || {
            world.log_of(&team.id).await?["channel"]["id"]
                .as_str()
                .map(drop)
        })
        .await;
        // An edit of ours that Drive can't have received before the membership ends.
        let owed = &files[0];
        let pattern = format!("GET /drive/v2/files/{owed}*");
        world.fault(json!({"match": pattern, "times": 0, "respond": {"status": 503}}));
        world.edit_ok(owed, json!({"description": "ours"})).await;
        let before = world.versions(&files[1]).await;

        team.expel(&permission).await;
        world.all_until(&files, "access_lost").await;
        let conflict = world.conflict_on(owed, "existence").await;
        assert_eq!(conflict["drive"], "access_lost", "{conflict}");
        let log = world.log_until(&team.id, "left").await;
        assert!(log["left_at"].is_string(), "{log}");
        eventually("its channel is stopped", async || {
            world.log_of(&team.id).await?["channel"]
                .is_null()
                .then_some(())
        })
        .await;
        let leave = eventually("all of its files are marked", async || {
            let all = operations(world).await;
            all.into_iter()
                .find(|o| o["kind"] == "leave" && o["state"] == "done")
        })
        .await;
        assert_eq!(leave["log"], team.id.as_str());
        assert_eq!(world.file(&mine).await["presence"], "present");
        assert_eq!(world.get("/status").await["state"], "active");

        world.simulator.clear_faults();
        team.rename(&files[1], "renamed meanwhile.txt").await;
        team.join().await;
        world.all_until(&files, "present").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "renamed meanwhile.txt";
        world.file_until("the rename", &files[1], renamed).await;
        let after = world.versions(&files[1]).await;
        assert!(after.ends_with(&before), "{before:?} {after:?}");
        let pushed = |shown: &Value| shown["intent"].is_null();
        world.file_until("our edit is pushed", owed, pushed).await;
        let path = format!("/drive/v3/files/{owed}?supportsAllDrives=true&fields=description");
        let theirs = team.organizer.done(Method::GET, &path, None).await;
        assert_eq!(theirs["description"], "ours");
        no_cursor_was_lost(world).await;
    });
}

#[test]
fn pain_09_the_files_of_a_deleted_drive_are_inaccessible() {
    own(async |world| {
        let team = Team::make(world, "Deleted").await;
        let files = team.files(2).await;
        team.join().await;
        world.all_until(&files, "present").await;
        let path = format!(
            "/drive/v3/drives/{}?allowItemDeletion=true&useDomainAdminAccess=true",
            team.id
        );
        world.owner().done(Method::DELETE, &path, None).await;
        world.all_until(&files, "access_lost").await;
        world.log_until(&team.id, "left").await;
        assert_eq!(world.get("/status").await["state"], "active");
    });
}

#[test]
fn pain_09_a_file_that_moves_into_a_followed_drive_is_not_removed() {
    own(async |world| {
        let team = Team::make(world, "Moved").await;
        team.join().await;
        world.log_until(&team.id, "following").await;
        // The user's log reports its removal, and for now no other log reports anything.
        let pattern = format!("GET /drive/v3/changes?*driveId={}*", team.id);
        let refused = json!({"status": 400, "reason": "notNow"});
        world.fault(json!({"match": pattern, "times": 0, "respond": refused}));
        let file = world.take();
        let before = world.versions(&file).await;
        let parents = world.owner().get(&file).await["parents"].clone();
        let path = format!(
            "/drive/v3/files/{file}?addParents={}&removeParents={}&supportsAllDrives=true",
            team.id,
            parents[0].as_str().unwrap()
        );
        world
            .owner()
            .done(Method::PATCH, &path, Some(json!({})))
            .await;
        let moved = |shown: &Value| shown["fields"]["parent"] == team.id.as_str();
        let shown = world.file_until("the move", &file, moved).await;
        assert_eq!(shown["presence"], "present");
        assert_eq!(shown["fields"]["drive_id"], team.id.as_str());
        world.simulator.clear_faults();
        // The drive's log reports the same, and later changes.
        team.rename(&file, "moved.txt").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "moved.txt";
        world.file_until("the rename", &file, renamed).await;
        eventually("the queues are empty", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        assert_eq!(world.file(&file).await["presence"], "present");
        let after = world.versions(&file).await;
        assert!(after.ends_with(&before), "{before:?} {after:?}");
    });
}

#[test]
fn pain_09_an_item_shared_from_a_foreign_drive_stays_in_the_users_log() {
    let setup = Setup {
        files: 3,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let team = Team::make(world, "Strangers").await;
        let (shared, other) = (team.file("shared.txt").await, team.file("other.txt").await);
        team.give(&shared, "writer").await;
        world
            .all_until(std::slice::from_ref(&shared), "present")
            .await;
        team.rename(&shared, "still shared.txt").await;
        let renamed = |shown: &Value| shown["fields"]["name"] == "still shared.txt";
        world.file_until("the rename", &shared, renamed).await;
        assert!(
            world.log_of(&team.id).await.is_none(),
            "it is no drive of ours"
        );
        assert!(world.find(&other).await.is_none());
    });
}
