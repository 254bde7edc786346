//! The change logs.

use serde_json::{Value, json};

use super::World;
use crate::simulator::Edit;

#[tokio::test]
async fn the_log_has_one_entry_per_file_with_its_latest_state() {
    let world = World::new();
    let token = world.start_token("owner", "").await;
    let (first, second) = (world.file("a"), world.file("b"));
    world
        .simulator
        .apply("alice", &first, Edit::Rename("c".to_owned()))
        .expect("a writer");
    let fields = "changes(fileId,changeType,file(name,lastModifyingUser/displayName))";
    let path = format!("/drive/v3/changes?pageToken={token}&fields={fields}");
    let page = world.get(&path).await.ok();
    assert_eq!(
        page,
        json!({
            "changes": [
                {
                    "fileId": second, "changeType": "file",
                    "file": {"name": "b", "lastModifyingUser": {"displayName": "owner"}},
                },
                {
                    "fileId": first, "changeType": "file",
                    "file": {"name": "c", "lastModifyingUser": {"displayName": "alice"}},
                },
            ],
        })
    );
}

#[tokio::test]
async fn short_and_empty_pages_still_lead_to_the_end_of_the_log() {
    let world = World::new();
    let token = world.start_token("owner", "").await;
    let mut expected: Vec<(String, bool)> = Vec::new();
    for number in 0..10 {
        expected.push((world.file(&number.to_string()), false));
    }
    world
        .control("POST", "pages", json!({"size": 3, "empty_every": 2}))
        .await;
    world.simulator.zero_counters();
    let (found, end) = world.changes("owner", token, "pageSize=5000").await;
    assert_eq!(found, expected);
    assert!(world.simulator.counters().calls["changes.list"] >= 7);
    assert_eq!(world.changes("owner", end, "").await.0, []);
}

#[tokio::test]
async fn a_search_can_end_early_without_a_next_page_token() {
    let world = World::new();
    for number in 0..10 {
        world.file(&number.to_string());
    }
    world
        .control("POST", "pages", json!({"search_ends_after": 3}))
        .await;
    let page = world.get("/drive/v3/files").await.ok();
    assert_eq!(page["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(page["nextPageToken"], Value::Null);
}

#[tokio::test]
async fn changes_list_requires_a_page_token_of_the_same_log() {
    let world = World::new();
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let of_drive = format!("driveId={drive}&supportsAllDrives=true");
    let (user_token, drive_token) = (
        world.start_token("owner", "").await,
        world.start_token("owner", &of_drive).await,
    );
    for path in [
        format!("/drive/v3/changes?pageToken={drive_token}"),
        format!("/drive/v3/changes?pageToken={user_token}&{of_drive}"),
        "/drive/v3/changes?pageToken=1".to_owned(),
    ] {
        assert_eq!(
            world.get(&path).await.refused(),
            (400, "invalid".to_owned()),
            "{path}"
        );
    }
    let with_users_token = world
        .call_as(
            "alice",
            "GET",
            &format!("/drive/v3/changes?pageToken={user_token}"),
            Value::Null,
        )
        .await;
    assert_eq!(with_users_token.refused(), (400, "invalid".to_owned()));
    assert_eq!(
        world.get("/drive/v3/changes").await.refused(),
        (400, "required".to_owned())
    );
    let as_alice = world
        .call_as(
            "alice",
            "GET",
            &format!("/drive/v3/changes/startPageToken?{of_drive}"),
            Value::Null,
        )
        .await;
    assert_eq!(as_alice.refused(), (404, "notFound".to_owned()));
}

#[tokio::test]
async fn a_reset_and_an_invalidation_invalidate_earlier_page_tokens() {
    let world = World::new();
    let token = world.start_token("owner", "").await;
    world
        .control("POST", "invalidate_tokens", json!({"page_tokens": true}))
        .await;
    assert_eq!(
        world
            .get(&format!("/drive/v3/changes?pageToken={token}"))
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
    let token = world.start_token("owner", "").await;
    world.control("POST", "reset", Value::Null).await;
    assert_eq!(
        world
            .get(&format!("/drive/v3/changes?pageToken={token}"))
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
}

#[tokio::test]
async fn a_change_in_a_shared_drive_is_in_both_logs_if_requested() {
    let world = World::new();
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let of_drive = format!("driveId={drive}&supportsAllDrives=true&includeItemsFromAllDrives=true");
    let all = "supportsAllDrives=true&includeItemsFromAllDrives=true";
    let (user_token, drive_token) = (
        world.start_token("owner", "").await,
        world
            .start_token("owner", &format!("driveId={drive}&supportsAllDrives=true"))
            .await,
    );
    let file = world
        .simulator
        .create_file("owner", "a", Some(&drive), bytes::Bytes::new())
        .expect("made");
    let expected = vec![(file, false)];
    assert_eq!(
        world.changes("owner", drive_token, &of_drive).await.0,
        expected
    );
    assert_eq!(
        world.changes("owner", user_token.clone(), all).await.0,
        expected
    );
    assert_eq!(world.changes("owner", user_token, "").await.0, []);
}

#[tokio::test]
async fn joining_a_drive_is_one_change_of_the_type_drive() {
    let world = World::new();
    let token = world.start_token("owner", "").await;
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let all = "supportsAllDrives=true&includeItemsFromAllDrives=true";
    let fields = "changes(changeType,driveId,drive/name,fileId)";
    let path = format!("/drive/v3/changes?pageToken={token}&{all}&fields={fields}");
    let page = world.get(&path).await.ok();
    assert_eq!(
        page,
        json!({"changes": [{"changeType": "drive", "driveId": drive, "drive": {"name": "Team"}}]})
    );
}

#[tokio::test]
async fn a_move_to_a_shared_drive_removes_the_file_from_the_users_log() {
    let world = World::new();
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let file = world.file("a");
    let token = world.start_token("owner", "").await;
    world
        .simulator
        .apply("owner", &file, Edit::Move(drive))
        .expect("the owner may");
    assert_eq!(
        world.changes("owner", token.clone(), "").await.0,
        [(file.clone(), true)]
    );
    let query = "includeCorpusRemovals=true&fields=changes(removed,file(id))";
    let path = format!("/drive/v3/changes?pageToken={token}&{query}");
    let kept = world.get(&path).await.ok();
    assert_eq!(
        kept,
        json!({"changes": [{"removed": true, "file": {"id": file}}]})
    );
}

#[tokio::test]
async fn a_star_is_logged_for_its_user_only() {
    let world = World::new();
    let file = world.file("a");
    let (user_token, alice_token) = (
        world.start_token("owner", "").await,
        world.start_token("alice", "").await,
    );
    world
        .simulator
        .apply("alice", &file, Edit::Star(true))
        .expect("anyone may");
    assert_eq!(world.changes("owner", user_token, "").await.0, []);
    assert_eq!(
        world.changes("alice", alice_token, "").await.0,
        [(file, false)]
    );
}

#[tokio::test]
async fn trashing_and_untrashing_a_folder_log_one_entry_each() {
    let world = World::new();
    let folder = world.folder("f", None);
    let file = world
        .simulator
        .create_file("owner", "a", Some(&folder), bytes::Bytes::new())
        .expect("made");
    let mut token = world.start_token("owner", "").await;
    for trashed in [true, false] {
        world
            .simulator
            .apply("owner", &folder, Edit::Trash(trashed))
            .expect("the owner may");
        let (found, next) = world.changes("owner", token, "").await;
        assert_eq!(found, [(folder.clone(), false)]);
        let state = world.simulator.file(&file).expect("there");
        assert_eq!((state.trashed, state.explicitly_trashed), (trashed, false));
        token = next;
    }
}

#[tokio::test]
async fn the_page_tokens_of_one_log_can_be_invalidated_alone() {
    let world = World::new();
    let drive = world
        .simulator
        .create_drive("Team", &[("owner", crate::Role::Organizer)]);
    let of_drive = format!("driveId={drive}&supportsAllDrives=true");
    let (user, shared, alice) = (
        world.start_token("owner", "").await,
        world.start_token("owner", &of_drive).await,
        world.start_token("alice", "").await,
    );
    let status = async |caller: &str, token: &str, query: &str| {
        let path = format!("/drive/v3/changes?pageToken={token}&{query}");
        let reply = world.call_as(caller, "GET", &path, Value::Null).await;
        reply.status.as_u16()
    };
    world
        .control("POST", "invalidate_tokens", json!({"drive": drive}))
        .await;
    assert_eq!(status("owner", &shared, &of_drive).await, 400);
    assert_eq!(status("owner", &user, "").await, 200);
    world
        .control("POST", "invalidate_tokens", json!({"user": "owner"}))
        .await;
    assert_eq!(status("owner", &user, "").await, 400);
    assert_eq!(status("alice", &alice, "").await, 200);
    let fresh = world.start_token("owner", &of_drive).await;
    assert_eq!(status("owner", &fresh, &of_drive).await, 200);
}

#[tokio::test]
async fn an_entry_replaced_between_pages_is_listed_again_with_its_latest_state() {
    let world = World::new();
    let start = world.start_token("owner", "").await;
    let ids = ["a", "b", "c"].map(|name| world.file(name));
    let page = async |token: &str| {
        let path = format!("/drive/v3/changes?pageToken={token}&pageSize=1&fields=*");
        world.get(&path).await.ok()
    };
    let first = page(&start).await;
    assert_eq!(first["changes"][0]["fileId"], ids[0]);
    world
        .simulator
        .apply("owner", &ids[0], crate::Edit::Rename("again".to_owned()))
        .expect("the owner may");
    let token = first["nextPageToken"].as_str().expect("a token");
    let (rest, _) = world.changes("owner", token.to_owned(), "").await;
    let order: Vec<&str> = rest.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(order, [&ids[1], &ids[2], &ids[0]]);
    let (all, _) = world.changes("owner", start, "").await;
    assert_eq!(all.len(), 3, "one entry for each file");
}
