//! Moves between corpora, and the limits of a tree.

use serde_json::{Value, json};

use super::{
    World,
    drive_routes::{ALL, CHANGES},
};

impl World {
    /// Moves an item from one folder to another.
    async fn move_as(&self, user: &str, id: &str, from: &str, to: &str) -> super::Reply {
        let path = format!(
            "/drive/v3/files/{id}?{ALL}&addParents={to}&removeParents={from}&fields=driveId"
        );
        self.call_as(user, "PATCH", &path, json!({})).await
    }

    async fn drive_log(&self, drive: &str, token: &str) -> Vec<(String, bool)> {
        let query = format!("driveId={drive}&{CHANGES}");
        self.changes("owner", token.to_owned(), &query).await.0
    }

    async fn drive_token(&self, drive: &str) -> String {
        self.start_token("owner", &format!("driveId={drive}&{ALL}"))
            .await
    }
}

#[tokio::test]
async fn a_move_into_a_drive_is_a_removal_in_the_users_log_and_a_change_in_the_drives() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let file = world.file("a");
    let (user_token, drive_token) = (
        world.start_token("owner", "").await,
        world.drive_token(&drive).await,
    );
    let moved = world.move_as("owner", &file, "root", &drive).await.ok();
    assert_eq!(moved, json!({"driveId": drive}));
    assert_eq!(
        world.changes("owner", user_token.clone(), CHANGES).await.0,
        [(file.clone(), true)]
    );
    assert_eq!(
        world.drive_log(&drive, &drive_token).await,
        [(file.clone(), false)]
    );
    let fields = "fields=changes(removed,file(id,driveId))";
    let path = format!(
        "/drive/v3/changes?pageToken={user_token}&{CHANGES}&includeCorpusRemovals=true&{fields}"
    );
    assert_eq!(
        world.get(&path).await.ok(),
        json!({"changes": [{"removed": true, "file": {"id": file, "driveId": drive}}]})
    );
    let alice = world.start_token("alice", "").await;
    let back = world.move_as("owner", &file, &drive, "root").await.ok();
    assert_eq!(back, json!({}));
    assert_eq!(
        world.drive_log(&drive, &drive_token).await,
        [(file.clone(), true)]
    );
    assert_eq!(
        world.changes("owner", user_token, CHANGES).await.0,
        [(file.clone(), false)]
    );
    assert_eq!(
        world.changes("alice", alice, CHANGES).await.0,
        [(file, false)],
        "everyone sees the library"
    );
}

#[tokio::test]
async fn a_move_between_drives_is_a_removal_in_one_log_and_a_change_in_the_other() {
    let world = World::new();
    let (from, to) = (
        world.shared_drive("From").await,
        world.shared_drive("To").await,
    );
    let folder = world.make_as("owner", "f", &from, true).await;
    world.make_as("owner", "a", &folder, false).await;
    let (old, new) = (world.drive_token(&from).await, world.drive_token(&to).await);
    world.move_as("owner", &folder, &from, &to).await.ok();
    assert_eq!(
        world.drive_log(&from, &old).await,
        [(folder.clone(), true)],
        "no entries for items below"
    );
    assert_eq!(world.drive_log(&to, &new).await, [(folder, false)]);
}

#[tokio::test]
async fn a_member_of_the_old_corpus_only_sees_the_file_removed() {
    let world = World::new();
    let (from, to) = (
        world.shared_drive("From").await,
        world.shared_drive("To").await,
    );
    world.share(&from, "bob", "writer").await;
    let file = world.make_as("owner", "a", &from, false).await;
    let token = world.start_token("bob", "").await;
    world.move_as("owner", &file, &from, &to).await.ok();
    assert_eq!(world.changes("bob", token, CHANGES).await.0, [(file, true)]);
}

#[tokio::test]
async fn refused_moves_have_googles_reasons() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world.share(&drive, "bob", "writer").await;
    let folder = world.folder("f", None);
    let file = world.file("a");
    let root = world.simulator.root_id("owner");
    let in_drive = world.make_as("owner", "b", &drive, false).await;
    let in_carols_drive = world.make_as("carol", "c", "root", false).await;
    let carols = world.simulator.root_id("carol");
    let open = world.make_as("owner", "open", &drive, true).await;
    world.share(&open, "carol", "writer").await;
    for (user, id, from, to, reason) in [
        (
            "owner",
            &folder,
            &root,
            &drive,
            "teamDrivesFolderMoveInNotSupported",
        ),
        (
            "bob",
            &file,
            &root,
            &drive,
            "fileWriterTeamDriveMoveInDisabled",
        ),
        (
            "carol",
            &in_carols_drive,
            &carols,
            &open,
            "fileOwnerNotMemberOfTeamDrive",
        ),
        (
            "bob",
            &in_drive,
            &drive,
            &root,
            "insufficientFilePermissions",
        ),
    ] {
        let refused = world.move_as(user, id, from, to).await;
        assert_eq!(refused.refused(), (403, reason.to_owned()), "{reason}");
    }
    let inside = world.make_as("owner", "d", &open, false).await;
    let refused = world.move_as("carol", &inside, &open, &carols).await;
    assert_eq!(
        refused.refused(),
        (403, "teamDriveMembershipRequired".to_owned())
    );
}

#[tokio::test]
async fn the_limits_bound_the_depth_and_the_size_of_a_tree() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let first = world.make_as("owner", "1", "root", true).await;
    let second = world.make_as("owner", "2", &first, true).await;
    let high = world.make_as("owner", "high", "root", true).await;
    world.make_as("owner", "below", &high, true).await;
    let command = json!({"depth": 2, "children": 1, "drive_items": 2});
    world.control("POST", "limits", command).await;
    let make = async |parent: &str, folder: bool| {
        let mut body = json!({"name": "x", "parents": [parent]});
        if folder {
            body["mimeType"] = json!(super::FOLDER);
        }
        world
            .call("POST", &format!("/drive/v3/files?{ALL}"), body)
            .await
    };
    let refused = |reply: super::Reply| reply.refused().1;
    assert_eq!(
        refused(make(&second, true).await),
        "myDriveHierarchyDepthLimitExceeded"
    );
    assert_eq!(
        refused(make(&first, false).await),
        "numChildrenInNonRootLimitExceeded"
    );
    make(&second, false).await.ok();
    let root = world.simulator.root_id("owner");
    let lone = make("root", true).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let deep = world.move_as("owner", &high, &root, &lone).await;
    assert_eq!(refused(deep), "myDriveHierarchyDepthLimitExceeded");
    let folder = make(&drive, true).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let inner = make(&folder, true).await.ok()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        refused(make(&inner, true).await),
        "teamDriveHierarchyTooDeep"
    );
    assert_eq!(
        refused(make(&drive, false).await),
        "teamDriveFileLimitExceeded"
    );
}

#[tokio::test]
async fn deleting_a_folder_logs_a_removal_for_everything_below_it() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let folder = world.make_as("owner", "f", &drive, true).await;
    let file = world.make_as("owner", "a", &folder, false).await;
    let token = world.drive_token(&drive).await;
    let path = format!("/drive/v3/files/{folder}?{ALL}");
    world.call("DELETE", &path, Value::Null).await.ok();
    let mut found = world.drive_log(&drive, &token).await;
    found.sort();
    let mut expected = vec![(folder, true), (file, true)];
    expected.sort();
    assert_eq!(found, expected);
}
