//! A change of a folder's permissions is not reported for the files that inherit them.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Outside, Person, Team, eventually, own};

/// Creates a shared drive of Alice's in which the connection's user is a file organizer.
async fn team(world: &Outside) -> (Person, String) {
    let team = Team::make(world, "Team").await;
    team.join().await;
    (team.organizer, team.id)
}

/// Returns a principal's effective role on a file, and the item that grants it.
fn access(file: &Value, who: &str) -> (Value, Value) {
    let found = &file["effective"]["permissions"][who];
    (found["role"].clone(), found["inherited_from"].clone())
}

async fn access_until(world: &Outside, file: &str, who: &str, wanted: (Value, Value)) -> Value {
    let what = format!("{who} has {wanted:?} on {file}");
    world
        .file_until(&what, file, |file| access(file, who) == wanted)
        .await
}

const BOB: &str = "user:bob@example.com";

#[test]
fn pain_15_a_folders_permissions_apply_to_all_descendants_without_a_write() {
    own(async |world| {
        let owner = world.owner();
        let top = owner.create("Top", true).await;
        let middle = owner.create_in(&top, "Middle", true).await;
        let mut below = Vec::new();
        for number in 0..5 {
            below.push(
                owner
                    .create_in(&middle, &format!("deep {number}.txt"), false)
                    .await,
            );
        }
        for file in &below {
            let role = (json!("owner"), Value::Null);
            access_until(world, file, "user:owner@example.com", role).await;
        }
        let mut before = Vec::new();
        for file in &below {
            before.push(world.file(file).await["revision"].clone());
        }
        let bob = owner.grant(&top, "bob", "commenter").await;
        for file in &below {
            access_until(world, file, BOB, (json!("commenter"), json!(top))).await;
        }
        // A folder with limited access inherits nothing, and neither do its files.
        let limit = |limited: bool| json!({ "inheritedPermissionsDisabled": limited });
        let path = format!("/drive/v3/files/{middle}");
        owner.done(Method::PATCH, &path, Some(limit(true))).await;
        for file in below.iter().chain([&middle]) {
            access_until(world, file, BOB, (Value::Null, Value::Null)).await;
        }
        owner.done(Method::PATCH, &path, Some(limit(false))).await;
        for file in &below {
            access_until(world, file, BOB, (json!("commenter"), json!(top))).await;
        }
        owner.unshare(&top, &bob).await;
        for file in &below {
            access_until(world, file, BOB, (Value::Null, Value::Null)).await;
        }
        for (file, revision) in below.iter().zip(before) {
            assert_eq!(
                world.file(file).await["revision"],
                revision,
                "nothing of its own changed"
            );
        }
    });
}

#[test]
fn pain_15_permissions_in_a_shared_drive_are_listed_only_when_they_may_have_changed() {
    own(async |world| {
        let (alice, drive) = team(world).await;
        let folder = alice.create_in(&drive, "Folder", true).await;
        let file = alice.create_in(&folder, "shared.txt", false).await;
        let arrived = |f: &Value| f["presence"] == "present";
        world.file_until("it arrives", &file, arrived).await;
        // The drive's members are the permissions of its root, and apply to everything in it.
        let alices = (json!("organizer"), json!(drive));
        access_until(world, &file, "user:alice@example.com", alices.clone()).await;

        let mut guests = Vec::new();
        for number in 0..110 {
            guests.push(
                alice
                    .grant(&file, &format!("guest{number:03}"), "commenter")
                    .await,
            );
        }
        let shown = world
            .file_until("all guests", &file, |f| {
                f["fields"]["permissions"]
                    .as_object()
                    .is_some_and(|all| all.len() == 110)
            })
            .await;
        let all = shown["permissions"].as_array().unwrap();
        assert_eq!(all.len(), 112, "the guests, on two pages, and two members");
        let of = |who: &str| all.iter().find(|p| p["principal"] == who).unwrap();
        let guest = of("user:guest109@example.com");
        assert_eq!(
            (&guest["direct"], &guest["inherited"]),
            (&json!(true), &json!(false))
        );
        let member = of("user:alice@example.com");
        assert_eq!(
            (&member["direct"], &member["inherited"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(member["inherited_from"], json!(drive));

        // A changed role changes nothing but the version.
        let path = format!(
            "/drive/v3/files/{file}/permissions/{}?supportsAllDrives=true",
            guests[7]
        );
        alice
            .done(Method::PATCH, &path, Some(json!({"role": "reader"})))
            .await;
        world
            .file_until("the guest reads", &file, |f| {
                f["fields"]["permissions"]["user:guest007@example.com"] == "reader"
            })
            .await;
        eventually("nothing is on its way", async || {
            (world.queued() == 0).then_some(())
        })
        .await;

        // A new name explains a new version: nothing is listed for it.
        world.simulator.zero_counters();
        let rename = format!("/drive/v3/files/{file}?supportsAllDrives=true");
        alice
            .done(Method::PATCH, &rename, Some(json!({"name": "renamed.txt"})))
            .await;
        world
            .file_until("the name", &file, |f| f["fields"]["name"] == "renamed.txt")
            .await;
        assert_eq!(world.calls("permissions.list"), 0);

        // A change of the members is an entry about the drive, and applies to everything in it.
        alice.grant(&drive, "bob", "writer").await;
        access_until(world, &file, BOB, (json!("writer"), json!(drive))).await;
    });
}

#[test]
fn pain_15_inherited_permissions_can_not_be_removed() {
    own(async |world| {
        let (alice, drive) = team(world).await;
        let plain = alice.create_in(&drive, "plain.txt", false).await;
        let shared = alice.create_in(&drive, "shared.txt", false).await;
        let guest = alice.grant(&shared, "bob", "reader").await;
        let members = (json!("organizer"), json!(drive));
        for file in [&plain, &shared] {
            access_until(world, file, "user:alice@example.com", members.clone()).await;
        }
        world
            .file_until("Bob reads", &shared, |f| {
                f["fields"]["permissions"][BOB] == "reader"
            })
            .await;
        for file in [&plain, &shared] {
            let remove = json!({"permissions": {"user:alice@example.com": null}});
            let answer = world.edit(file, remove).await;
            assert_eq!(answer.status, 422, "{}", answer.body);
            assert_eq!(
                answer.body["pointer"],
                "/permissions/user:alice@example.com"
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(
                detail.contains("inherited from") && detail.contains(&drive),
                "{detail}"
            );
            assert!(
                world.file(file).await["fields"]["permissions"]["user:alice@example.com"].is_null()
            );
        }
        // The direct permission is removed, and no other.
        world
            .edit_ok(&shared, json!({"permissions": {BOB: null}}))
            .await;
        eventually("Bob's own role is gone", async || {
            let path = format!(
                "/drive/v3/files/{shared}/permissions?supportsAllDrives=true&fields=permissions(id)"
            );
            let left = alice.done(Method::GET, &path, None).await;
            let ids = left["permissions"].as_array().unwrap();
            (ids.len() == 2 && ids.iter().all(|p| p["id"] != guest.as_str())).then_some(())
        })
        .await;
        // In My Drive the library's root is shared with everyone, and each file shows only that.
        let file = world.take();
        let answer = world
            .edit(&file, json!({"permissions": {"anyone": null}}))
            .await;
        assert_eq!(answer.status, 422, "{}", answer.body);
    });
}
