//! Shared drives and their members.

use serde_json::{Value, json};

use super::World;

/// The parameters of calls about shared drives, and of lists of changes.
pub(super) const ALL: &str = "supportsAllDrives=true";
pub(super) const CHANGES: &str = "supportsAllDrives=true&includeItemsFromAllDrives=true";

impl World {
    /// Creates a shared drive with `owner` as organizer, over HTTP.
    pub(super) async fn shared_drive(&self, name: &str) -> String {
        let path = format!("/drive/v3/drives?requestId={name}");
        let made = self.call("POST", &path, json!({"name": name})).await.ok();
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Shares a file, or a whole drive by its id; returns the permission's id.
    pub(super) async fn share(&self, id: &str, user: &str, role: &str) -> String {
        let path = format!("/drive/v3/files/{id}/permissions?{ALL}");
        let email = format!("{user}@example.com");
        let body = json!({"type": "user", "role": role, "emailAddress": email});
        let made = self.call("POST", &path, body).await.ok();
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Removes a permission.
    pub(super) async fn unshare(&self, id: &str, permission: &str) {
        let path = format!("/drive/v3/files/{id}/permissions/{permission}?{ALL}");
        self.call("DELETE", &path, Value::Null).await.ok();
    }

    /// Creates a file or a folder over HTTP.
    pub(super) async fn make_as(
        &self,
        user: &str,
        name: &str,
        parent: &str,
        folder: bool,
    ) -> String {
        let mut body = json!({"name": name, "parents": [parent]});
        if folder {
            body["mimeType"] = json!(super::FOLDER);
        }
        let path = format!("/drive/v3/files?{ALL}");
        let made = self.call_as(user, "POST", &path, body).await.ok();
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Returns the changes of the type `drive` after a token, as (drive, removed), and the number
    /// of the others.
    async fn drive_changes(&self, user: &str, token: &str) -> (Vec<(String, bool)>, usize) {
        let path = format!("/drive/v3/changes?pageToken={token}&pageSize=1000&{CHANGES}");
        let page = self.call_as(user, "GET", &path, Value::Null).await.ok();
        let changes = page["changes"].as_array().expect("changes");
        let drives: Vec<_> = changes
            .iter()
            .filter(|change| change["changeType"] == "drive")
            .map(|change| {
                let id = change["driveId"].as_str().expect("an id");
                (id.to_owned(), change["removed"] == true)
            })
            .collect();
        let others = changes.len() - drives.len();
        (drives, others)
    }
}

fn of_drive(drive: &str) -> String {
    format!("driveId={drive}&{CHANGES}")
}

#[tokio::test]
async fn a_request_id_creates_one_drive_with_its_creator_as_organizer() {
    let world = World::new();
    let refused = world
        .call("POST", "/drive/v3/drives", json!({"name": "Team"}))
        .await;
    assert_eq!(refused.refused(), (400, "required".to_owned()));
    let drive = world.shared_drive("Team").await;
    let again = world
        .call(
            "POST",
            "/drive/v3/drives?requestId=Team",
            json!({"name": "Team"}),
        )
        .await;
    assert_eq!(again.refused(), (409, "conflict".to_owned()));
    let path =
        format!("/drive/v3/drives/{drive}?fields=id,name,hidden,capabilities/canManageMembers");
    assert_eq!(
        world.get(&path).await.ok(),
        json!({
            "id": drive, "name": "Team", "hidden": false,
            "capabilities": {"canManageMembers": true},
        })
    );
    let stranger = world.call_as("alice", "GET", &path, Value::Null).await;
    assert_eq!(stranger.refused(), (404, "notFound".to_owned()));
}

#[tokio::test]
async fn shared_drives_are_listed_in_pages() {
    let world = World::new();
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.push(world.shared_drive(&format!("d{number}")).await);
    }
    expected.sort();
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = world
            .get(&format!("/drive/v3/drives?pageSize=2{token}"))
            .await
            .ok();
        let drives = page["drives"].as_array().expect("drives");
        assert!(drives.len() <= 2);
        found.extend(
            drives
                .iter()
                .map(|drive| drive["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        token = format!("&pageToken={next}");
    }
    assert_eq!(found, expected);
    let refused = world.get("/drive/v3/drives?pageToken=nonsense").await;
    assert_eq!(refused.refused(), (400, "invalid".to_owned()));
    let refused = world.get("/drive/v3/drives?pageSize=101").await;
    assert_eq!(refused.refused(), (400, "invalidParameter".to_owned()));
}

#[tokio::test]
async fn joining_and_leaving_a_drive_log_one_change_each_and_leaving_revokes_access() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let file = world.make_as("owner", "a", &drive, false).await;
    let token = world.start_token("bob", "").await;
    let permission = world.share(&drive, "bob", "writer").await;
    assert_eq!(
        world.drive_changes("bob", &token).await,
        (vec![(drive.clone(), false)], 0)
    );
    let listed = world.call_as(
        "bob",
        "GET",
        "/drive/v3/drives?fields=drives(id)",
        Value::Null,
    );
    assert_eq!(listed.await.ok(), json!({"drives": [{"id": drive}]}));
    let of_log = world
        .start_token(
            "bob",
            &of_drive(&drive).replace("&includeItemsFromAllDrives=true", ""),
        )
        .await;
    world.make_as("bob", "b", &drive, false).await;
    assert_eq!(
        world
            .changes("bob", of_log.clone(), &of_drive(&drive))
            .await
            .0
            .len(),
        1
    );

    world.unshare(&drive, &permission).await;
    assert_eq!(
        world.drive_changes("bob", &token).await,
        (vec![(drive.clone(), true)], 0),
        "no entry for any item"
    );
    let get = async |path: String| world.call_as("bob", "GET", &path, Value::Null).await;
    for path in [
        format!("/drive/v3/drives/{drive}"),
        format!("/drive/v3/files/{file}?{ALL}"),
        format!("/drive/v3/files/{drive}/permissions?{ALL}"),
        format!("/drive/v3/changes?pageToken={of_log}&{}", of_drive(&drive)),
        format!("/drive/v3/changes/startPageToken?driveId={drive}&{ALL}"),
        format!("/drive/v3/files?corpora=drive&{}", of_drive(&drive)),
    ] {
        assert_eq!(
            get(path.clone()).await.refused(),
            (404, "notFound".to_owned()),
            "{path}"
        );
    }
    let listed = get(format!("/drive/v3/files?{CHANGES}")).await.ok();
    assert_eq!(listed["files"], json!([]));

    world.share(&drive, "bob", "reader").await;
    assert_eq!(
        world.drive_changes("bob", &token).await,
        (vec![(drive.clone(), false)], 0),
        "a returning member has only the change of joining"
    );
}

#[tokio::test]
async fn a_members_role_is_a_permission_of_the_drive() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let permission = world.share(&drive, "bob", "reader").await;
    let make = json!({"name": "a", "parents": [drive]});
    let path = format!("/drive/v3/files?{ALL}");
    let refused = world.call_as("bob", "POST", &path, make.clone()).await;
    assert_eq!(
        refused.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
    let member = format!("/drive/v3/files/{drive}/permissions/{permission}?{ALL}");
    let itself = world
        .call_as("bob", "PATCH", &member, json!({"role": "organizer"}))
        .await;
    assert_eq!(
        itself.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
    world
        .call("PATCH", &member, json!({"role": "writer"}))
        .await
        .ok();
    world.call_as("bob", "POST", &path, make).await.ok();
    let shown = world
        .get(&format!(
            "{member}&fields=role,type,emailAddress,permissionDetails"
        ))
        .await
        .ok();
    assert_eq!(
        shown,
        json!({
            "role": "writer", "type": "user", "emailAddress": "bob@example.com",
            "permissionDetails": [
                {"permissionType": "member", "role": "writer", "inherited": false},
            ],
        })
    );
    world
        .call_as("bob", "DELETE", &member, Value::Null)
        .await
        .ok();
    assert_eq!(
        world.get(&member).await.refused(),
        (404, "notFound".to_owned())
    );
}

#[tokio::test]
async fn renaming_a_drive_logs_a_drive_change_in_its_log_and_for_every_member() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world.share(&drive, "bob", "reader").await;
    let (owner_token, bob_token) = (
        world.start_token("owner", "").await,
        world.start_token("bob", "").await,
    );
    let own = world
        .start_token("owner", &format!("driveId={drive}&{ALL}"))
        .await;
    let path = format!("/drive/v3/drives/{drive}");
    let refused = world
        .call_as("bob", "PATCH", &path, json!({"name": "Other"}))
        .await;
    assert_eq!(
        refused.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
    world
        .call("PATCH", &path, json!({"name": "Other"}))
        .await
        .ok();
    let expected = (vec![(drive.clone(), false)], 0);
    assert_eq!(world.drive_changes("owner", &owner_token).await, expected);
    assert_eq!(world.drive_changes("bob", &bob_token).await, expected);
    assert_eq!(
        world.changes("owner", own, &of_drive(&drive)).await.0,
        expected.0
    );
}

#[tokio::test]
async fn only_an_empty_drive_can_be_deleted_with_one_change_per_member() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world.share(&drive, "bob", "organizer").await;
    let file = world.make_as("bob", "a", &drive, false).await;
    let path = format!("/drive/v3/drives/{drive}");
    assert_eq!(
        world.call("DELETE", &path, Value::Null).await.refused(),
        (403, "cannotDeleteResourceWithChildren".to_owned())
    );
    let with_items = format!("{path}?allowItemDeletion=true");
    assert_eq!(
        world
            .call("DELETE", &with_items, Value::Null)
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
    let as_admin = format!("{with_items}&useDomainAdminAccess=true");
    let refused = world.call_as("bob", "DELETE", &as_admin, Value::Null).await;
    assert_eq!(
        refused.refused(),
        (403, "insufficientAdministratorPrivileges".to_owned())
    );
    let token = world.start_token("bob", "").await;
    let trash = format!("/drive/v3/files/{file}?{ALL}");
    world
        .call("PATCH", &trash, json!({"trashed": true}))
        .await
        .ok();
    world.call("DELETE", &path, Value::Null).await.ok();
    assert_eq!(
        world.drive_changes("bob", &token).await,
        (vec![(drive.clone(), true)], 0)
    );
    for gone in [path, trash] {
        assert_eq!(
            world.get(&gone).await.refused(),
            (404, "notFound".to_owned()),
            "{gone}"
        );
    }
}

#[tokio::test]
async fn an_administrator_can_delete_a_drive_with_its_items() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    let folder = world.make_as("owner", "f", &drive, true).await;
    world.make_as("owner", "a", &folder, false).await;
    let path = format!("/drive/v3/drives/{drive}?allowItemDeletion=true&useDomainAdminAccess=true");
    world.call("DELETE", &path, Value::Null).await.ok();
    let totals = world.simulator.totals();
    assert_eq!((totals.files, totals.folders), (0, 0));
}

#[tokio::test]
async fn a_members_log_repeats_the_set_share_of_the_drives_log() {
    for (share, least, most) in [(0.0, 0, 0), (0.5, 1, 39), (1.0, 40, 40)] {
        let world = World::new();
        let drive = world.shared_drive("Team").await;
        let token = world.start_token("owner", "").await;
        let own = world
            .start_token("owner", &format!("driveId={drive}&{ALL}"))
            .await;
        world
            .control("POST", "logs", json!({"user_log_repeats": share}))
            .await;
        for number in 0..40 {
            world
                .make_as("owner", &number.to_string(), &drive, false)
                .await;
        }
        let (_, repeated) = world.drive_changes("owner", &token).await;
        assert!((least..=most).contains(&repeated), "{share}: {repeated}");
        assert_eq!(
            world.changes("owner", own, &of_drive(&drive)).await.0.len(),
            40
        );
    }
}

#[tokio::test]
async fn hiding_a_drive_affects_one_user_and_keeps_it_listed() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world.share(&drive, "bob", "reader").await;
    for (action, hidden) in [("hide", true), ("unhide", false)] {
        let path = format!("/drive/v3/drives/{drive}/{action}?fields=hidden");
        assert_eq!(
            world.call("POST", &path, Value::Null).await.ok(),
            json!({"hidden": hidden})
        );
        let listed = world
            .get("/drive/v3/drives?fields=drives(hidden)")
            .await
            .ok();
        assert_eq!(listed, json!({"drives": [{"hidden": hidden}]}));
        let path = format!("/drive/v3/drives/{drive}?fields=hidden");
        assert_eq!(
            world.call_as("bob", "GET", &path, Value::Null).await.ok(),
            json!({"hidden": false})
        );
    }
}

#[tokio::test]
async fn the_accounts_of_a_member_group_are_members() {
    let world = World::new();
    let drive = world.shared_drive("Team").await;
    world
        .control(
            "POST",
            "groups",
            json!({"email": "staff@example.com", "members": ["bob"]}),
        )
        .await;
    let token = world.start_token("bob", "").await;
    let path = format!("/drive/v3/files/{drive}/permissions?{ALL}");
    let group = json!({"type": "group", "role": "writer", "emailAddress": "staff@example.com"});
    world.call("POST", &path, group).await.ok();
    assert_eq!(
        world.drive_changes("bob", &token).await,
        (vec![(drive.clone(), false)], 0)
    );
    world.make_as("bob", "a", &drive, false).await;
    let everyone = json!({"type": "anyone", "role": "reader"});
    assert_eq!(
        world.call("POST", &path, everyone).await.refused(),
        (
            403,
            "cannotShareTeamDriveTopFolderWithAnyoneOrDomains".to_owned()
        )
    );
}

#[tokio::test]
async fn about_names_the_formats_and_what_can_be_created() {
    let world = World::new();
    let about = world.get("/drive/v3/about?fields=*").await.ok();
    let document = &about["exportFormats"]["application/vnd.google-apps.document"];
    assert!(document.as_array().is_some_and(|formats| formats.len() > 5));
    assert!(about["importFormats"]["text/csv"].is_array());
    assert_eq!(about["canCreateDrives"], json!(true));
}
