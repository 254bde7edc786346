//! Permissions of files and folders: inheritance, the rights to change them, and their log entries.

use serde_json::{Value, json};

use super::{
    World,
    drive_routes::{ALL, CHANGES},
};

impl World {
    async fn permissions_of(&self, id: &str, fields: &str) -> Value {
        let path = format!("/drive/v3/files/{id}/permissions?{ALL}&fields=permissions({fields})");
        self.get(&path).await.ok()["permissions"].clone()
    }

    /// Returns the entries of a user's own log after a token, items of shared drives included.
    async fn log_of(&self, user: &str, token: &str) -> Vec<(String, bool)> {
        self.changes(user, token.to_owned(), CHANGES).await.0
    }

    async fn status_for(&self, user: &str, id: &str) -> u16 {
        let path = format!("/drive/v3/files/{id}?{ALL}");
        self.call_as(user, "GET", &path, Value::Null)
            .await
            .status
            .as_u16()
    }
}

#[tokio::test]
async fn a_folder_permission_is_inherited_and_logged_for_the_folder_only() {
    let world = World::new();
    let folder = world.make_as("alice", "f", "root", true).await;
    let inner = world.make_as("alice", "g", &folder, true).await;
    let file = world.make_as("alice", "a", &inner, false).await;
    assert_eq!(world.status_for("bob", &file).await, 404);
    let (alice_token, bob_token) = (
        world.start_token("alice", "").await,
        world.start_token("bob", "").await,
    );

    let path = format!("/drive/v3/files/{folder}/permissions");
    let body = json!({"type": "user", "role": "writer", "emailAddress": "bob@example.com"});
    let made = world.call_as("alice", "POST", &path, body).await.ok();
    let permission = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(world.status_for("bob", &file).await, 200);
    for (user, token) in [("alice", &alice_token), ("bob", &bob_token)] {
        assert_eq!(
            world.log_of(user, token).await,
            [(folder.clone(), false)],
            "{user}"
        );
    }
    let shown =
        format!("/drive/v3/files/{file}/permissions/{permission}?fields=role,permissionDetails");
    assert_eq!(
        world.call_as("bob", "GET", &shown, Value::Null).await.ok(),
        json!({
            "role": "writer",
            "permissionDetails": [
                {
                    "permissionType": "file", "role": "writer", "inherited": true,
                    "inheritedFrom": folder,
                },
            ],
        })
    );
    let of_file =
        format!("/drive/v3/files/{file}?fields=shared,permissions(id,role),permissionIds");
    let of_file = world
        .call_as("bob", "GET", &of_file, Value::Null)
        .await
        .ok();
    assert_eq!(of_file["shared"], true);
    assert_eq!(of_file["permissions"].as_array().expect("a list").len(), 2);
    assert_eq!(
        of_file["permissionIds"].as_array().expect("a list").len(),
        2
    );

    let inherited = format!("/drive/v3/files/{file}/permissions/{permission}");
    for (method, body) in [
        ("DELETE", Value::Null),
        ("PATCH", json!({"role": "reader"})),
    ] {
        let refused = world.call_as("alice", method, &inherited, body).await;
        assert_eq!(
            refused.refused(),
            (403, "cannotModifyInheritedPermission".to_owned())
        );
    }
    let token = world.start_token("bob", "").await;
    let direct = format!("{path}/{permission}");
    world
        .call_as("alice", "DELETE", &direct, Value::Null)
        .await
        .ok();
    assert_eq!(world.log_of("bob", &token).await, [(folder.clone(), true)]);
    assert_eq!(world.status_for("bob", &file).await, 404);
}

#[tokio::test]
async fn a_shared_drive_item_hides_permissions_but_flags_augmented_ones() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let file = world.make_as("owner", "a", &drive, false).await;
    let fields = "permissions,owners,ownedByMe,shared,writersCanShare,hasAugmentedPermissions";
    let path = format!("/drive/v3/files/{file}?{ALL}&fields={fields}");
    assert_eq!(
        world.get(&path).await.ok(),
        json!({"hasAugmentedPermissions": false})
    );
    let carol = world.share(&file, "carol", "reader").await;
    assert_eq!(
        world.get(&path).await.ok(),
        json!({"hasAugmentedPermissions": true})
    );
    let found = world
        .permissions_of(&file, "id,role,permissionDetails")
        .await;
    let of = |id: &str| {
        found
            .as_array()
            .expect("a list")
            .iter()
            .find(|known| known["id"] == *id)
            .cloned()
    };
    assert_eq!(
        of(&carol).expect("carol's")["permissionDetails"],
        json!([{"permissionType": "file", "role": "reader", "inherited": false}])
    );
    let member = crate::ids::UserId::from("owner").permission_id();
    assert_eq!(
        of(&member).expect("a member's")["permissionDetails"],
        json!([
            {
                "permissionType": "member", "role": "organizer", "inherited": true,
                "inheritedFrom": drive,
            },
        ])
    );
    let path = format!("/drive/v3/files/{file}/permissions/{member}?{ALL}");
    assert_eq!(
        world.call("DELETE", &path, Value::Null).await.refused(),
        (403, "cannotModifyInheritedTeamDrivePermission".to_owned())
    );
}

#[tokio::test]
async fn a_non_member_sees_shared_items_in_their_own_log_only() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world
        .control("POST", "logs", json!({"user_log_repeats": 0.0}))
        .await;
    let folder = world.make_as("owner", "f", &drive, true).await;
    let file = world.make_as("owner", "a", &folder, false).await;
    let token = world.start_token("carol", "").await;
    let permission = world.share(&folder, "carol", "reader").await;
    assert_eq!(
        world.log_of("carol", &token).await,
        [(folder.clone(), false)]
    );
    let rename = format!("/drive/v3/files/{file}?{ALL}");
    world
        .call("PATCH", &rename, json!({"name": "b"}))
        .await
        .ok();
    assert_eq!(
        world.log_of("carol", &token).await,
        [(folder.clone(), false), (file.clone(), false)]
    );
    let log = format!("/drive/v3/changes/startPageToken?driveId={drive}&{ALL}");
    assert_eq!(
        world
            .call_as("carol", "GET", &log, Value::Null)
            .await
            .refused(),
        (404, "notFound".to_owned())
    );
    world.unshare(&folder, &permission).await;
    assert_eq!(
        world.log_of("carol", &token).await,
        [(file.clone(), true), (folder.clone(), true)],
        "a remaining entry becomes a removal"
    );
    assert_eq!(world.status_for("carol", &file).await, 404);
}

#[tokio::test]
async fn the_highest_of_direct_and_inherited_roles_applies() {
    let world = World::new();
    let folder = world.make_as("alice", "f", "root", true).await;
    let file = world.make_as("alice", "a", &folder, false).await;
    for (id, role) in [(&folder, "commenter"), (&file, "writer")] {
        let path = format!("/drive/v3/files/{id}/permissions");
        let body = json!({"type": "user", "role": role, "emailAddress": "bob@example.com"});
        world.call_as("alice", "POST", &path, body).await.ok();
    }
    let id = crate::ids::UserId::from("bob").permission_id();
    let path = format!("/drive/v3/files/{file}/permissions/{id}");
    let shown = format!("{path}?fields=role,permissionDetails(role,inherited)");
    assert_eq!(
        world
            .call_as("alice", "GET", &shown, Value::Null)
            .await
            .ok(),
        json!({"role": "writer", "permissionDetails": [
            {"role": "writer", "inherited": false}, {"role": "commenter", "inherited": true}]})
    );
    world
        .call_as("alice", "DELETE", &path, Value::Null)
        .await
        .ok();
    let left = world
        .call_as("alice", "GET", &shown, Value::Null)
        .await
        .ok();
    assert_eq!(left["role"], "commenter");
}

#[tokio::test]
async fn a_limited_access_folder_admits_only_owners_and_organizers() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world.share(&drive, "bob", "writer").await;
    let folder = world.make_as("owner", "f", &drive, true).await;
    let file = world.make_as("owner", "a", &folder, false).await;
    let path = format!("/drive/v3/files/{folder}?{ALL}&fields=inheritedPermissionsDisabled");
    let limited = json!({"inheritedPermissionsDisabled": true});
    let refused = world.call_as("bob", "PATCH", &path, limited.clone()).await;
    assert_eq!(
        refused.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
    let of_file = format!("/drive/v3/files/{file}?{ALL}");
    assert_eq!(
        world
            .call("PATCH", &of_file, limited.clone())
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
    let token = world.start_token("bob", "").await;
    assert_eq!(
        world.call("PATCH", &path, limited.clone()).await.ok(),
        limited
    );
    assert_eq!(
        (
            world.status_for("bob", &file).await,
            world.status_for("owner", &file).await
        ),
        (404, 200)
    );
    assert_eq!(
        world.log_of("bob", &token).await,
        [(folder.clone(), true)],
        "no entry for the file"
    );
    let ids = world.permissions_of(&file, "role").await;
    assert_eq!(ids, json!([{"role": "organizer"}]));
    world.share(&folder, "bob", "reader").await;
    assert_eq!(world.status_for("bob", &file).await, 200);
    let open = json!({"inheritedPermissionsDisabled": false});
    world.call("PATCH", &path, open).await.ok();
    let rename = world
        .call_as("bob", "PATCH", &of_file, json!({"name": "b"}))
        .await;
    assert!(
        rename.status.is_success(),
        "the inherited role applies again"
    );
}

#[tokio::test]
async fn invalid_roles_and_types_are_refused_with_googles_reasons() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let in_drive = world.make_as("owner", "a", &drive, false).await;
    let in_my_drive = world.file("m");
    let user =
        |role: &str| json!({"type": "user", "role": role, "emailAddress": "bob@example.com"});
    for (id, body, status, reason) in [
        (
            &in_my_drive,
            user("organizer"),
            403,
            "organizerOnNonTeamDriveNotSupported",
        ),
        (
            &in_my_drive,
            user("fileOrganizer"),
            403,
            "fileOrganizerOnNonTeamDriveNotSupported",
        ),
        (&in_my_drive, user("owner"), 403, "forbidden"),
        (&in_my_drive, user("king"), 400, "invalid"),
        (
            &in_my_drive,
            json!({"type": "user", "role": "reader"}),
            400,
            "invalid",
        ),
        (
            &in_my_drive,
            json!({"type": "planet", "role": "reader"}),
            400,
            "invalid",
        ),
        (&in_my_drive, json!({"role": "reader"}), 400, "required"),
        (&in_my_drive, json!({"type": "anyone"}), 400, "required"),
        (
            &in_my_drive,
            json!({"type": "anyone", "role": "reader", "deleted": true}),
            403,
            "fieldNotWritable",
        ),
        (
            &in_my_drive,
            json!({"type": "user", "role": "reader", "emailAddress": "x@nowhere.invalid"}),
            400,
            "invalidSharingRequest",
        ),
        (
            &in_drive,
            user("organizer"),
            403,
            "organizerOnNonTeamDriveItemNotSupported",
        ),
        (
            &in_drive,
            user("fileOrganizer"),
            403,
            "fileOrganizerOnFoldersInSharedDriveOnly",
        ),
    ] {
        let path = format!("/drive/v3/files/{id}/permissions?{ALL}");
        let reply = world.call("POST", &path, body.clone()).await;
        assert_eq!(reply.refused(), (status, reason.to_owned()), "{body}");
    }
    let path = format!("/drive/v3/files/{in_my_drive}/permissions/1234");
    assert_eq!(
        world.get(&path).await.refused(),
        (404, "notFound".to_owned())
    );
    let owners = crate::ids::UserId::from("owner").permission_id();
    let path = format!("/drive/v3/files/{in_my_drive}/permissions/{owners}");
    assert_eq!(
        world.call("DELETE", &path, Value::Null).await.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
}

#[tokio::test]
async fn a_link_gives_access_to_a_file_without_listing_it() {
    let world = World::new();
    let file = world.make_as("alice", "a", "root", false).await;
    let token = world.start_token("bob", "").await;
    let path = format!("/drive/v3/files/{file}/permissions");
    let link = json!({"type": "anyone", "role": "reader"});
    let made = world.call_as("alice", "POST", &path, link).await.ok();
    assert_eq!(made["id"], "anyoneWithLink");
    assert_eq!(world.status_for("bob", &file).await, 200);
    let listed = world
        .call_as("bob", "GET", "/drive/v3/files", Value::Null)
        .await
        .ok();
    assert_eq!(listed["files"], json!([]));
    assert_eq!(world.log_of("bob", &token).await, []);
}

#[tokio::test]
async fn a_permission_expires_without_a_log_entry() {
    let world = World::new();
    let file = world.make_as("alice", "a", "root", false).await;
    let end = crate::clock::rfc3339(world.simulator.now_ms() + 60_000);
    let path = format!("/drive/v3/files/{file}/permissions?fields=expirationTime");
    let body = json!({
        "type": "user", "role": "reader", "emailAddress": "bob@example.com", "expirationTime": end,
    });
    assert_eq!(
        world.call_as("alice", "POST", &path, body).await.ok(),
        json!({"expirationTime": end})
    );
    assert_eq!(world.status_for("bob", &file).await, 200);
    let token = world.start_token("bob", "").await;
    world.simulator.advance_clock(61);
    assert_eq!(world.status_for("bob", &file).await, 404);
    assert_eq!(world.log_of("bob", &token).await, []);
}

#[tokio::test]
async fn permissions_of_shared_drive_items_are_listed_in_pages_of_100() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    for number in 0..120 {
        world
            .simulator
            .set_member(&drive, &format!("user{number}"), Some(crate::Role::Reader));
    }
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world
            .get(&format!("/drive/v3/files/{drive}/permissions?{ALL}{token}"))
            .await
            .ok();
        let permissions = page["permissions"].as_array().expect("permissions");
        found.extend(
            permissions
                .iter()
                .map(|known| known["id"].clone().to_string()),
        );
        pages += 1;
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        token = format!("&pageToken={next}");
    }
    found.dedup();
    assert_eq!((pages, found.len()), (2, 121));
    let refused = world
        .get(&format!(
            "/drive/v3/files/{drive}/permissions?{ALL}&pageToken=x"
        ))
        .await;
    assert_eq!(refused.refused(), (400, "invalid".to_owned()));
}

#[tokio::test]
async fn only_the_last_of_overlapping_permission_writes_lasts() {
    let world = World::new();
    let file = world.make_as("owner", "a", "root", false).await;
    world
        .control("POST", "permissions", json!({"overlap_ms": 3_600_000}))
        .await;
    world.share(&file, "bob", "reader").await;
    world.share(&file, "carol", "writer").await;
    let ids = |found: &Value| -> Vec<String> {
        let found = found.as_array().expect("a list");
        found
            .iter()
            .filter_map(|known| known["emailAddress"].as_str().map(str::to_owned))
            .collect()
    };
    let mut found = ids(&world.permissions_of(&file, "emailAddress").await);
    found.sort();
    assert_eq!(found, ["carol@example.com", "owner@example.com"]);
    world.simulator.advance_clock(3_600);
    world.share(&file, "bob", "reader").await;
    assert_eq!(
        ids(&world.permissions_of(&file, "emailAddress").await).len(),
        3
    );
}

#[tokio::test]
async fn v2_renders_permissions_in_its_own_terms() {
    let world = World::new();
    let file = world.make_as("alice", "a", "root", false).await;
    let path = format!("/drive/v3/files/{file}/permissions");
    let body = json!({"type": "user", "role": "commenter", "emailAddress": "bob@example.com"});
    world.call_as("alice", "POST", &path, body).await.ok();
    let fields = "userPermission(role,additionalRoles),\
                  permissions(type,role,additionalRoles,emailAddress,name)";
    let path = format!("/drive/v2/files/{file}?fields={fields}");
    let mut shown = world.call_as("alice", "GET", &path, Value::Null).await.ok();
    let permissions = shown["permissions"].as_array_mut().expect("a list");
    permissions.sort_by_key(|known| known["name"].to_string());
    assert_eq!(
        shown,
        json!({
            "userPermission": {"role": "owner"},
            "permissions": [
                {
                    "type": "user", "role": "owner", "emailAddress": "alice@example.com",
                    "name": "alice",
                },
                {
                    "type": "user", "role": "reader", "additionalRoles": ["commenter"],
                    "emailAddress": "bob@example.com", "name": "bob",
                },
            ],
        })
    );
    let as_bob = world.call_as("bob", "GET", &path, Value::Null).await.ok();
    assert_eq!(
        as_bob,
        json!({"userPermission": {"role": "reader", "additionalRoles": ["commenter"]}}),
        "only users who can change permissions see the list"
    );
}

#[tokio::test]
async fn a_permission_change_increases_the_version_but_keeps_the_modified_time() {
    let world = World::new();
    let file = world.file("a");
    let path = format!("/drive/v3/files/{file}?fields=version,modifiedTime");
    let before = world.get(&path).await.ok();
    world.share(&file, "bob", "reader").await;
    let after = world.get(&path).await.ok();
    assert_ne!(before["version"], after["version"]);
    assert_eq!(before["modifiedTime"], after["modifiedTime"]);
    let token = world.start_token("owner", "").await;
    world.share(&file, "bob", "reader").await;
    assert_eq!(
        world.log_of("owner", &token).await,
        [],
        "writing the current role changes nothing"
    );
}
