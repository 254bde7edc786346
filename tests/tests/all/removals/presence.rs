//! Removed, trashed, unshared and moved files look alike in the change log.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Outside, eventually, own};

/// Waits until a file's history has grown, and asserts that the earlier versions are kept.
async fn wait_until_history_grows(world: &Outside, file: &str, before: &[String]) {
    // A state that a lookup showed becomes history when the log reports it.
    eventually("its history goes on", async || {
        let after = world.versions(file).await;
        assert!(after.ends_with(before), "{after:?} keeps {before:?}");
        (after.len() > before.len()).then_some(())
    })
    .await;
}

#[test]
fn pain_11_a_trashed_file_is_not_removed_and_keeps_its_history_when_restored() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let modified = world.file(&file).await["fields"]["modified_at"].clone();
        owner.update(&file, json!({"trashed": true})).await;
        let at = world
            .file_until("the bin", &file, |f| f["fields"]["trashed"] == true)
            .await;
        assert_eq!(at["presence"], "present");
        let before = world.versions(&file).await;
        owner.update(&file, json!({"trashed": false})).await;
        let at = world
            .file_until("it is back", &file, |f| f["fields"]["trashed"] == false)
            .await;
        assert_eq!(at["presence"], "present");
        assert_eq!(at["fields"]["modified_at"], modified, "no time has moved");
        wait_until_history_grows(world, &file, &before).await;
    });
}

#[test]
fn pain_11_a_deleted_file_is_looked_up_once_and_keeps_its_history() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let before = world.versions(&file).await;
        world.simulator.zero_counters();
        owner.delete(&file).await;
        world
            .file_until("the tombstone", &file, |f| f["presence"] == "removed")
            .await;
        world.converge().await;
        assert_eq!(world.calls("v2.files.get"), 1);
        assert_eq!(world.versions(&file).await, before);
    });
}

#[test]
fn pain_11_an_unshared_file_that_is_shared_again_is_the_same_file() {
    own(async |world| {
        let alice = world.person("alice");
        let file = alice.create("of alice.txt", false).await;
        let permission = alice.share(&file, "owner").await;
        world
            .file_until("it is shared", &file, |f| f["presence"] == "present")
            .await;
        let before = world.versions(&file).await;
        alice.unshare(&file, &permission).await;
        // Drive reports a file without access as not found.
        world
            .file_until("it is removed", &file, |f| f["presence"] == "removed")
            .await;
        alice.rename(&file, "renamed out of sight.txt").await;
        alice.share(&file, "owner").await;
        let back = world
            .file_until("it is back", &file, |f| f["presence"] == "present")
            .await;
        assert_eq!(back["fields"]["name"], "renamed out of sight.txt");
        wait_until_history_grows(world, &file, &before).await;
    });
}

#[test]
fn pain_11_lost_access_is_distinguished_if_drive_reports_it() {
    own(async |world| {
        let alice = world.person("alice");
        let file = alice.create("of alice.txt", false).await;
        let permission = alice.share(&file, "owner").await;
        world
            .file_until("it is shared", &file, |f| f["presence"] == "present")
            .await;
        let denied = json!({"status": 403, "reason": "insufficientFilePermissions"});
        let pattern = format!("GET /drive/v2/files/{file}");
        world.fault(json!({"match": pattern, "times": 0, "respond": denied}));
        alice.unshare(&file, &permission).await;
        world
            .file_until("it is out of reach", &file, |f| {
                f["presence"] == "access_lost"
            })
            .await;
    });
}

#[test]
fn pain_11_a_file_that_moves_to_another_drive_and_back_stays_the_same_file() {
    own(async |world| {
        let (file, owner) = (world.take(), world.owner());
        let home = world.file(&file).await["fields"]["parent"].clone();
        let drive = owner.create_drive("Team").await;
        let before = world.versions(&file).await;
        // An owed edit would cause a conflict if the file counted as removed.
        let busy = json!({"status": 403, "reason": "userRateLimitExceeded"});
        let pattern = format!("PATCH /drive/v2/files/{file}");
        world.fault(json!({"match": pattern, "times": 0, "respond": busy}));
        world.edit_ok(&file, json!({"description": "ours"})).await;
        owner.move_to(&file, &drive).await;
        let there = world
            .file_until("the other corpus", &file, |f| {
                f["fields"]["drive_id"] == drive.as_str() && f["presence"] == "present"
            })
            .await;
        assert_eq!(there["fields"]["parent"], drive.as_str());
        assert_eq!(there["intent"]["fields"], json!(["description"]));
        wait_until_history_grows(world, &file, &before).await;
        let before = world.versions(&file).await;
        owner.move_to(&file, home.as_str().unwrap()).await;
        world
            .file_until("back home", &file, |f| {
                f["fields"]["parent"] == home && f["presence"] == "present"
            })
            .await;
        wait_until_history_grows(world, &file, &before).await;
        world.simulator.clear_faults();
        let pushed = |f: &Value| f["intent"].is_null();
        world.file_until("our edit is pushed", &file, pushed).await;
        assert_eq!(world.get("/conflicts?status=all").await["items"], json!([]));
    });
}

#[test]
fn pain_11_a_file_moved_out_of_the_connections_drive_is_moved_away_and_may_return() {
    own(async |world| {
        let owner = world.owner();
        let drive = owner.create_drive("Team").await;
        let file = world.take();
        let home = world.file(&file).await["fields"]["parent"].clone();
        owner.move_to(&file, &drive).await;
        let scope = json!({"type": "shared_drive", "drive_id": drive});
        let body = json!({"name": "Team", "scope": scope, "secret": "drive"}).to_string();
        let token = Some(world.token.as_str());
        let made = world
            .call(token, Method::POST, "/v1/connections", &[], Some(&body))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        let connection = made.body["id"].as_str().unwrap();
        let path = format!("/v1/connections/{connection}/files/{file}");
        let until = async |presence: &str| {
            eventually(presence, async || {
                let at = world.call(token, Method::GET, &path, &[], None).await;
                (at.body["presence"] == presence).then_some(at.body)
            })
            .await
        };
        until("present").await;
        owner.move_to(&file, home.as_str().unwrap()).await;
        let away = until("moved_away").await;
        assert!(away["gone_at"].is_string(), "{away}");
        assert_eq!(world.file(&file).await["presence"], "present");
        owner.move_to(&file, &drive).await;
        until("present").await;
        let history = format!("{path}/history");
        eventually("its history goes on", async || {
            let history = world.call(token, Method::GET, &history, &[], None).await;
            (history.body["items"].as_array().unwrap().len() >= 2).then_some(())
        })
        .await;
    });
}

#[test]
fn pain_11_an_unreported_deletion_is_found_by_an_audit() {
    own(async |world| {
        let (gone, kept) = (world.take(), world.take());
        world.hide_changes().await;
        world.owner().delete(&gone).await;
        world.sync().await;
        let id = world.audit(false).await;
        let done = world.operation_in(&id, "done").await;
        assert_eq!(done["drift"]["missing_there"], 1, "{done}");
        let found = world.drift(&id).await;
        assert_eq!(
            found
                .iter()
                .map(|item| &item["file_id"])
                .collect::<Vec<&Value>>(),
            [gone.as_str()]
        );
        world
            .file_until("the tombstone", &gone, |f| f["presence"] == "removed")
            .await;
        assert_eq!(world.file(&kept).await["presence"], "present");
    });
}
