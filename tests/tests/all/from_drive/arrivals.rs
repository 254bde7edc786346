//! Edits that people make in Drive arrive at the API with the right meaning.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::support::{Setup, eventually, never_within, own, own_with, shared};

#[test]
fn the_first_sync_is_complete_and_counted() {
    own_with(
        Setup {
            files: 230,
            folders: 20,
            ..Setup::default()
        },
        async |world| {
            let done = eventually("the first sync is done", async || {
                let operations = world.get("/operations").await;
                let first = operations["items"][0].clone();
                (first["state"] == "done").then_some(first)
            })
            .await;
            assert_eq!(done["kind"], "initial_sync");
            assert_eq!(done["listed"], 250, "{done}");
            assert_eq!(world.files().await.len(), 250);
            // 250 files are one page of the listing, and one of the second look.
            assert_eq!(world.calls("files.list"), 2);
        },
    );
}

#[test]
fn a_rename_arrives() {
    shared(async |world| {
        let file = world.take();
        world.owner().rename(&file, "Plan (final).txt").await;
        let at = world
            .file_until("the name", &file, |f| {
                f["fields"]["name"] == "Plan (final).txt"
            })
            .await;
        assert_eq!(at["conflicts"], json!([]));
        assert_eq!(at["intent"], json!(null));
        assert!(
            at["path"].as_str().unwrap().ends_with("/Plan (final).txt"),
            "{}",
            at["path"]
        );
    });
}

#[test]
fn description_star_and_properties_are_set_and_removed() {
    shared(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let fields = json!({"description": "Second draft", "starred": true,
            "properties": {"stage": "draft", "team": "a"}});
        owner.update(&file, fields).await;
        world
            .file_until("all of it", &file, |f| {
                f["fields"]["description"] == "Second draft"
                    && f["fields"]["starred"] == true
                    && f["fields"]["properties"] == json!({"stage": "draft", "team": "a"})
            })
            .await;
        let fields = json!({"description": "", "starred": false, "properties": {"stage": null,
            "team": "b"}});
        owner.update(&file, fields).await;
        world
            .file_until("what is left", &file, |f| {
                f["fields"]["description"] == ""
                    && f["fields"]["starred"] == false
                    && f["fields"]["properties"] == json!({"team": "b"})
            })
            .await;
        assert_eq!(world.conflicts_of(&file).await.len(), 0);
    });
}

#[test]
fn a_new_file_and_a_move_into_a_new_folder_arrive() {
    shared(async |world| {
        let owner = world.owner();
        let (file, folder) = (
            owner.create("minutes.txt", false).await,
            owner.create("Minutes", true).await,
        );
        owner.move_to(&file, &folder).await;
        let at = world
            .file_until("the move", &file, |f| {
                f["fields"]["parent"] == folder.as_str()
            })
            .await;
        assert_eq!(at["presence"], "present");
        eventually("the path", async || {
            let path = world.file(&file).await["path"].clone();
            (path == "/Minutes/minutes.txt").then_some(())
        })
        .await;
        let inside = world.get(&format!("/files?parent={folder}")).await;
        assert_eq!(inside["items"][0]["id"], file.as_str());
    });
}

#[test]
fn a_moved_folder_changes_the_paths_below_it_without_a_write() {
    shared(async |world| {
        let owner = world.owner();
        let (outer, inner) = (
            owner.create("Archive", true).await,
            owner.create("2025", true).await,
        );
        let file = owner.create("report.txt", false).await;
        owner.move_to(&file, &inner).await;
        let before = world
            .file_until("the file", &file, |f| f["path"] == "/2025/report.txt")
            .await;
        owner.move_to(&inner, &outer).await;
        let after = world
            .file_until("the path", &file, |f| {
                f["path"] == "/Archive/2025/report.txt"
            })
            .await;
        assert_eq!(before["revision"], after["revision"]);
    });
}

#[test]
fn trashing_and_restoring_arrive_and_remove_nothing() {
    shared(async |world| {
        let (file, owner) = (world.take(), world.owner());
        owner.update(&file, json!({"trashed": true})).await;
        let at = world
            .file_until("the trash", &file, |f| f["fields"]["trashed"] == true)
            .await;
        assert_eq!(
            at["presence"], "present",
            "what is in the trash is not removed"
        );
        owner.update(&file, json!({"trashed": false})).await;
        world
            .file_until("back", &file, |f| f["fields"]["trashed"] == false)
            .await;
    });
}

#[test]
fn a_trashed_folder_is_one_change_and_its_files_keep_their_own_trash() {
    shared(async |world| {
        let owner = world.owner();
        let folder = owner.create("Old", true).await;
        let file = owner.create("in-old.txt", false).await;
        owner.move_to(&file, &folder).await;
        world
            .file_until("the file", &file, |f| {
                f["fields"]["parent"] == folder.as_str()
            })
            .await;
        owner.update(&folder, json!({"trashed": true})).await;
        world
            .file_until("the folder", &folder, |f| f["fields"]["trashed"] == true)
            .await;
        assert_eq!(world.file(&file).await["fields"]["trashed"], false);
        // A file that changes within a trashed folder is still not trashed itself.
        owner.rename(&file, "in-old-2.txt").await;
        let at = world
            .file_until("the name", &file, |f| f["fields"]["name"] == "in-old-2.txt")
            .await;
        assert_eq!(at["fields"]["trashed"], false);
    });
}

#[test]
fn a_permanently_deleted_file_becomes_a_tombstone() {
    shared(async |world| {
        let owner = world.owner();
        let file = owner.create("brief.txt", false).await;
        world
            .file_until("the file", &file, |f| f["presence"] == "present")
            .await;
        owner.delete(&file).await;
        let at = world
            .file_until("the tombstone", &file, |f| f["presence"] == "removed")
            .await;
        assert!(at["gone_at"].is_string(), "{at}");
        let listed = world.files().await;
        assert!(!listed.contains_key(&file), "a tombstone is not listed");
        let answer = world.edit(&file, json!({"name": "x"})).await;
        assert_eq!(answer.status, 410, "{}", answer.body);
    });
}

#[test]
fn history_lists_the_versions_of_drive() {
    shared(async |world| {
        let (file, owner) = (world.take(), world.owner());
        for name in ["first.txt", "second.txt"] {
            owner.rename(&file, name).await;
            world
                .file_until(name, &file, |f| f["fields"]["name"] == name)
                .await;
        }
        let history = world.get(&format!("/files/{file}/history")).await;
        let names: Vec<&str> = history["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["fields"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(&names[..2], ["second.txt", "first.txt"], "the newest first");
        assert_eq!(names.len(), 3);
    });
}

#[test]
fn two_and_a_half_thousand_changes_on_short_and_empty_pages_all_arrive() {
    own(async |world| {
        // Each new file is one change; every third page is empty.
        world.disable_notifications();
        world
            .control(
                Method::POST,
                "pages",
                json!({"size": 180, "empty_every": 3}),
            )
            .await;
        world.simulator.load_synthetic(2_440, 60);
        world.sync().await;
        world.converge().await;
        assert_eq!(world.files().await.len(), 2_528);
        assert!(world.calls("changes.list") > 15, "the pages were short");
    });
}

#[test]
fn pause_stops_and_resume_catches_up() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        world.post("/pause", json!({})).await;
        let held = world.take();
        let edit = world
            .edit(&held, json!({"name": "edited while paused.txt"}))
            .await;
        assert_eq!(edit.status, 200, "an edit is taken and owed: {}", edit.body);
        owner.rename(&file, "renamed while paused.txt").await;
        never_within(
            "a paused connection moves",
            Duration::from_secs(3),
            async || {
                world.file(&file).await["fields"]["name"] == "renamed while paused.txt"
                    || owner.name_of(&held).await == "edited while paused.txt"
            },
        )
        .await;
        world.post("/resume", json!({})).await;
        world.converge().await;
        assert_eq!(owner.name_of(&held).await, "edited while paused.txt");
        assert_eq!(
            world.file(&file).await["fields"]["name"],
            "renamed while paused.txt"
        );
    });
}

#[test]
fn a_deleted_connection_stops_all_work() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let answer = world.api(Method::DELETE, "", &[], None).await;
        assert!(
            (200..300).contains(&answer.status),
            "{} {}",
            answer.status,
            answer.body
        );
        eventually("the connection is gone", async || {
            (world.api(Method::GET, "", &[], None).await.status == 404).then_some(())
        })
        .await;
        eventually("the queues are empty", async || {
            (world.queued() == 0).then_some(())
        })
        .await;
        world.simulator.zero_counters();
        owner.rename(&file, "after the deletion.txt").await;
        never_within("Drive is listed", Duration::from_secs(3), async || {
            world.calls("changes.list") > 0
        })
        .await;
        assert_eq!(
            world
                .api(Method::GET, &format!("/files/{file}"), &[], None)
                .await
                .status,
            404
        );
    });
}
