//! Writes to Drive in batches, and the creation and deletion of files.

use http::Method;
use serde_json::{Value, json};

use crate::support::{FOLDER, Setup, World, eventually, own, own_with, shared};

const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

/// Creates a file at the API and returns its id.
async fn create(world: &World, body: Value) -> String {
    let answer = world.api(Method::POST, "/files", &[], Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.body["presence"], "creating");
    assert_eq!(answer.body["intent"]["status"], "owed");
    answer.body["id"].as_str().unwrap().to_owned()
}

/// Deletes a file at the API, unconditionally.
async fn delete(world: &World, id: &str) {
    let path = format!("/files/{id}");
    let answer = world
        .api(Method::DELETE, &path, &[("if-match", "*")], None)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn wait_until_created(world: &World, id: &str) -> Value {
    world
        .file_until("it is made", id, |f| {
            f["presence"] == "present" && f["intent"].is_null()
        })
        .await
}

async fn wait_until_removed(world: &World, id: &str) {
    world
        .file_until("it is gone", id, |f| f["presence"] == "removed")
        .await;
    assert!(world.simulator.file(id).is_none(), "gone from Drive, too");
}

/// Returns the number of files of this name in Drive.
fn count_named(world: &World, name: &str) -> usize {
    let ids = world.simulator.file_ids().into_iter();
    ids.filter(|id| world.simulator.file(id).is_some_and(|f| f.name == name))
        .count()
}

/// Edits files while the connection is paused, so that all edits are due together.
async fn edit_together(world: &World, files: &[String]) {
    world.post("/pause", json!({})).await;
    for (number, file) in files.iter().enumerate() {
        world
            .edit_ok(file, json!({"description": format!("ours {number}")}))
            .await;
    }
    world.simulator.zero_counters();
}

#[test]
fn two_hundred_and_fifty_edits_take_three_reads_and_three_writes() {
    let setup = Setup {
        files: 250,
        ..Setup::default()
    };
    own_with(setup, async |world| {
        let files: Vec<String> = (0..250).map(|_| world.take()).collect();
        edit_together(world, &files).await;
        world.post("/resume", json!({})).await;
        world.converge().await;
        assert_eq!(world.calls("v2.files.patch"), 250, "each is written once");
        let batches = world.calls("batch");
        assert!((6..=12).contains(&batches), "{batches} batches");
        for (number, file) in files.iter().enumerate().step_by(50) {
            let at = world.owner().get(file).await;
            assert_eq!(at["description"], format!("ours {number}"));
        }
    });
}

#[test]
fn an_error_of_one_file_in_a_batch_affects_no_other() {
    own(async |world| {
        let files: Vec<String> = (0..6).map(|_| world.take()).collect();
        edit_together(world, &files).await;
        for (file, method, status, reason) in [
            (&files[0], "PATCH", 412, "conditionNotMet"),
            (&files[1], "PATCH", 403, "insufficientFilePermissions"),
            (&files[2], "PATCH", 500, "backendError"),
            (&files[3], "GET", 403, "userRateLimitExceeded"),
            (&files[4], "PATCH", 429, "rateLimitExceeded"),
        ] {
            let pattern = format!("{method} /drive/v2/files/{file}");
            let respond = json!({"status": status, "reason": reason});
            world.fault(json!({"match": pattern, "respond": respond}));
        }
        world.post("/resume", json!({})).await;
        let refused = world
            .file_until("one is refused", &files[1], |f| {
                f["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(refused["intent"]["reason"], "insufficientFilePermissions");
        for (number, file) in files.iter().enumerate().filter(|(n, _)| *n != 1) {
            world
                .file_until("it is pushed", file, |f| f["intent"].is_null())
                .await;
            let at = world.owner().get(file).await;
            assert_eq!(at["description"], format!("ours {number}"));
            assert_eq!(world.conflicts_of(file).await, Vec::<Value>::new());
        }
        assert!(world.simulator.pending_faults().is_empty());
    });
}

#[test]
fn a_batch_whose_answer_is_lost_is_written_once_and_is_no_conflict() {
    own(async |world| {
        let files: Vec<String> = (0..5).map(|_| world.take()).collect();
        edit_together(world, &files).await;
        // The first batch is the read; the write is executed, and its response is lost.
        world.fault(
            json!({"match": "POST /batch/drive/v2", "after": 1, "applied": true, "drop": true}),
        );
        world.post("/resume", json!({})).await;
        for file in &files {
            world
                .file_until("it is pushed", file, |f| f["intent"].is_null())
                .await;
            assert_eq!(world.conflicts_of(file).await, Vec::<Value>::new());
        }
        world.converge().await;
        assert!(world.simulator.pending_faults().is_empty());
        assert_eq!(world.calls("v2.files.patch"), 5);
    });
}

#[test]
fn an_html_page_instead_of_a_batch_response_loses_nothing() {
    own(async |world| {
        let files: Vec<String> = (0..3).map(|_| world.take()).collect();
        edit_together(world, &files).await;
        world.fault(
            json!({"match": "POST /batch/drive/v2", "times": 2, "respond": {"status": 502}}),
        );
        world.post("/resume", json!({})).await;
        world.converge().await;
        assert_eq!(world.calls("v2.files.patch"), 3);
    });
}

#[test]
fn a_file_is_created_as_requested_and_its_echo_is_recognised() {
    shared(async |world| {
        let id = create(
            world,
            json!({"name": "Notes.md", "mime_type": "text/markdown", "description": "new",
                "starred": true, "properties": {"stage": "draft"}}),
        )
        .await;
        let there = wait_until_created(world, &id).await;
        assert_eq!(there["fields"]["mime_type"], "text/markdown");
        let at = world.owner().get(&id).await;
        assert_eq!(
            (&at["name"], &at["starred"]),
            (&json!("Notes.md"), &json!(true))
        );
        assert_eq!(at["properties"], json!({"stage": "draft"}));
        world.owner().rename(&id, "Their notes.md").await;
        world
            .file_until("their name", &id, |f| {
                f["fields"]["name"] == "Their notes.md"
            })
            .await;
        world.edit_ok(&id, json!({"description": "later"})).await;
        eventually("our edit", async || {
            (world.owner().get(&id).await["description"] == "later").then_some(())
        })
        .await;
        assert_eq!(world.conflicts_of(&id).await, Vec::<Value>::new());
    });
}

#[test]
fn an_unanswered_creation_creates_one_file() {
    own(async |world| {
        for (name, how) in [
            ("dropped.txt", json!({"applied": true, "drop": true})),
            (
                "failed.txt",
                json!({"applied": true, "respond": {"status": 500}}),
            ),
            ("not done.txt", json!({"drop": true})),
            (
                "throttled.txt",
                json!({"respond": {"status": 403, "reason": "userRateLimitExceeded"}}),
            ),
        ] {
            let mut fault = how.clone();
            fault["match"] = json!("POST /drive/v3/files");
            world.fault(fault);
            let id = create(world, json!({"name": name, "mime_type": "text/plain"})).await;
            wait_until_created(world, &id).await;
            assert_eq!(count_named(world, name), 1, "{name}");
            assert!(world.simulator.pending_faults().is_empty());
        }
        world.converge().await;
    });
}

#[test]
fn a_folder_and_its_new_files_are_created_in_order() {
    own(async |world| {
        let moved = world.take();
        world.post("/pause", json!({})).await;
        let folder = create(world, json!({"name": "Outer", "mime_type": FOLDER})).await;
        let inner = json!({"name": "Inner", "mime_type": FOLDER, "parent": folder});
        let inner = create(world, inner).await;
        let file = json!({"name": "plan.txt", "mime_type": "text/plain", "parent": inner});
        let file = create(world, file).await;
        let shortcut = json!({"name": "link", "mime_type": SHORTCUT, "shortcut_target": file,
            "parent": folder});
        let shortcut = create(world, shortcut).await;
        world.edit_ok(&moved, json!({"parent": inner})).await;
        let listed = world.get(&format!("/files?parent={inner}&path=true")).await;
        assert_eq!(
            listed["items"].as_array().unwrap().len(),
            2,
            "there at once"
        );
        world.simulator.zero_counters();
        world.post("/resume", json!({})).await;
        for id in [&folder, &inner, &file, &shortcut, &moved] {
            wait_until_created(world, id).await;
        }
        assert_eq!(world.calls("files.create"), 4, "none was tried too early");
        let owner = world.owner();
        assert_eq!(owner.get(&inner).await["parents"], json!([folder]));
        assert_eq!(owner.get(&file).await["parents"], json!([inner]));
        assert_eq!(owner.get(&moved).await["parents"], json!([inner]));
        let link = world.file(&shortcut).await;
        assert_eq!(link["fields"]["shortcut_target"], file.as_str());
        world.converge().await;
    });
}

#[test]
fn a_repeated_request_creates_one_file() {
    shared(async |world| {
        let body = json!({"name": "only once.txt", "mime_type": "text/plain"});
        let key = [("idempotency-key", "make-only-once")];
        let post = async |body: Value| world.api(Method::POST, "/files", &key, Some(body)).await;
        let (first, again) = (post(body.clone()).await, post(body).await);
        assert_eq!((first.status, again.status), (201, 200));
        assert_eq!(first.body["id"], again.body["id"]);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        let other = post(json!({"name": "other.txt", "mime_type": "text/plain"})).await;
        assert_eq!(other.status, 422);
        wait_until_created(world, first.body["id"].as_str().unwrap()).await;
        assert_eq!(count_named(world, "only once.txt"), 1);
    });
}

#[test]
fn an_invalid_new_file_is_rejected_with_the_invalid_member() {
    shared(async |world| {
        let editor = "application/vnd.google-apps.document";
        for (body, pointer) in [
            (json!({"name": "a"}), "/mime_type"),
            (json!({"name": "a", "mime_type": editor}), "/mime_type"),
            (json!({"name": "a", "mime_type": "text"}), "/mime_type"),
            (json!({"mime_type": "text/plain"}), "/name"),
            (json!({"name": "", "mime_type": "text/plain"}), "/name"),
            (
                json!({"name": "a", "mime_type": SHORTCUT}),
                "/shortcut_target",
            ),
            (
                json!({"name": "a", "mime_type": "text/plain", "shortcut_target": "x"}),
                "/shortcut_target",
            ),
            (
                json!({"name": "a", "mime_type": "text/plain", "trashed": true}),
                "/trashed",
            ),
            (
                json!({"name": "a", "mime_type": "text/plain", "size": 3}),
                "/size",
            ),
        ] {
            let answer = world
                .api(Method::POST, "/files", &[], Some(body.clone()))
                .await;
            assert_eq!(answer.status, 422, "{body}: {}", answer.body);
            assert_eq!(answer.body["pointer"], pointer, "{body}");
        }
    });
}

#[test]
fn a_creation_without_its_folder_is_shown_and_can_be_corrected_or_cancelled() {
    own(async |world| {
        let nowhere = "1NoSuchFolderAnywhere";
        let body = json!({"name": "lost.txt", "mime_type": "text/plain", "parent": nowhere});
        let id = create(world, body.clone()).await;
        let not_found = |f: &Value| f["intent"]["trouble"]["reason"] == "notFound";
        let waiting = world.file_until("it is refused", &id, not_found).await;
        assert_eq!(waiting["intent"]["status"], "owed", "a 404 is doubted");
        assert_eq!(waiting["presence"], "creating");
        let folder = world.owner().create("Somewhere", true).await;
        world.edit_ok(&id, json!({"parent": folder})).await;
        wait_until_created(world, &id).await;

        let id = create(world, body).await;
        world.file_until("it is refused", &id, not_found).await;
        world
            .post(&format!("/intents/{id}/cancel"), json!({}))
            .await;
        let gone = world.file(&id).await;
        assert_eq!(
            (&gone["presence"], &gone["intent"]),
            (&json!("removed"), &json!(null))
        );
        world.converge().await;
        assert_eq!(count_named(world, "lost.txt"), 1);
    });
}

#[test]
fn a_file_is_deleted_permanently() {
    shared(async |world| {
        let (file, conditional) = (world.take(), world.take());
        let path = format!("/files/{conditional}");
        let missing = world.api(Method::DELETE, &path, &[], None).await;
        assert_eq!(missing.status, 428);
        let stale = world
            .api(Method::DELETE, &path, &[("if-match", "\"0\"")], None)
            .await;
        assert_eq!(stale.status, 412);
        delete(world, &file).await;
        wait_until_removed(world, &file).await;
        let again = world
            .api(
                Method::DELETE,
                &format!("/files/{file}"),
                &[("if-match", "*")],
                None,
            )
            .await;
        assert_eq!(again.status, 410);
        assert_eq!(world.conflicts_of(&file).await, Vec::<Value>::new());
    });
}

#[test]
fn a_deletion_of_a_file_that_was_just_edited_in_drive_is_a_conflict() {
    own(async |world| {
        let (kept, dropped) = (world.take(), world.take());
        world.post("/pause", json!({})).await;
        for file in [&kept, &dropped] {
            world
                .owner()
                .rename(file, "edited at the last moment.txt")
                .await;
            delete(world, file).await;
        }
        world.post("/resume", json!({})).await;
        for (file, choose) in [(&kept, "drive"), (&dropped, "app")] {
            let conflict = world.conflict_on(file, "existence").await;
            assert_eq!(
                (&conflict["app"], &conflict["drive"]),
                (&json!("removed"), &json!("present"))
            );
            assert!(world.simulator.file(file).is_some(), "it is still there");
            let id = conflict["id"].as_str().unwrap();
            world
                .post(
                    &format!("/conflicts/{id}/resolution"),
                    json!({"choose": choose}),
                )
                .await;
        }
        wait_until_removed(world, &dropped).await;
        world.converge().await;
        let at = world.file(&kept).await;
        assert_eq!(at["fields"]["name"], "edited at the last moment.txt");
        assert_eq!(
            (&at["presence"], &at["intent"]),
            (&json!("present"), &json!(null))
        );
    });
}

#[test]
fn a_deletion_with_any_temporary_failure_happens_once() {
    own(async |world| {
        for how in [
            json!({"applied": true, "drop": true}),
            json!({"drop": true}),
            json!({"respond": {"status": 412, "reason": "conditionNotMet"}}),
            json!({"respond": {"status": 503}}),
            json!({"respond": {"status": 404, "reason": "notFound"}, "applied": true}),
        ] {
            let file = world.take();
            let mut fault = how.clone();
            fault["match"] = json!(format!("DELETE /drive/v2/files/{file}"));
            world.fault(fault);
            delete(world, &file).await;
            wait_until_removed(world, &file).await;
            assert_eq!(
                world.conflicts_of(&file).await,
                Vec::<Value>::new(),
                "{how}"
            );
        }
        world.converge().await;
    });
}

#[test]
fn a_deletion_rejected_by_drive_fails_with_its_reason_and_can_be_cancelled() {
    shared(async |world| {
        let file = world.take();
        let respond = json!({"status": 403, "reason": "insufficientFilePermissions"});
        let pattern = format!("DELETE /drive/v2/files/{file}");
        world.fault(json!({"match": pattern, "times": 0, "respond": respond}));
        delete(world, &file).await;
        let failed = world
            .file_until("it fails", &file, |f| f["intent"]["status"] == "failed")
            .await;
        assert_eq!(failed["intent"]["reason"], "insufficientFilePermissions");
        assert_eq!(failed["intent"]["fields"], json!(["existence"]));
        // It delays no other field.
        world
            .edit_ok(&file, json!({"name": "still here.txt"}))
            .await;
        world
            .file_until("the name is there and confirmed", &file, |f| {
                f["intent"]["fields"] == json!(["existence"])
            })
            .await;
        assert_eq!(world.owner().name_of(&file).await, "still here.txt");
        world
            .post(&format!("/intents/{file}/cancel"), json!({}))
            .await;
        let kept = world.file(&file).await;
        assert_eq!(
            (&kept["presence"], &kept["intent"]),
            (&json!("present"), &json!(null))
        );
    });
}

#[test]
fn a_folder_with_files_is_deleted_only_recursively() {
    own(async |world| {
        let folder = create(world, json!({"name": "Full", "mime_type": FOLDER})).await;
        let file = json!({"name": "in it.txt", "mime_type": "text/plain", "parent": folder});
        let file = create(world, file).await;
        wait_until_created(world, &file).await;
        let delete = async |path: String| {
            let any = [("if-match", "*")];
            world.api(Method::DELETE, &path, &any, None).await.status
        };
        assert_eq!(delete(format!("/files/{folder}")).await, 409);
        assert_eq!(delete(format!("/files/{folder}?recursive=true")).await, 200);
        wait_until_removed(world, &folder).await;
        wait_until_removed(world, &file).await;
        world.converge().await;
    });
}

#[test]
fn a_rejected_move_fails_alone_with_its_reason() {
    own(async |world| {
        let owner = world.owner();
        let (outer, inner) = (
            owner.create("Outer", true).await,
            owner.create("Inner", true).await,
        );
        owner.move_to(&inner, &outer).await;
        world
            .file_until("the move arrives", &inner, |f| {
                f["fields"]["parent"] == outer.as_str()
            })
            .await;
        world
            .edit_ok(
                &outer,
                json!({"parent": inner, "description": "goes through"}),
            )
            .await;
        let at = world
            .file_until("the move fails", &outer, |f| {
                f["intent"]["status"] == "failed"
            })
            .await;
        assert_eq!(at["intent"]["fields"], json!(["parent"]));
        assert_eq!(at["intent"]["reason"], "invalid");
        assert_eq!(owner.get(&outer).await["description"], "goes through");
    });
}
