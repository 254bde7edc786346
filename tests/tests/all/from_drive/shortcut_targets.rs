//! Shortcuts go stale, break, and form cycles.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Outside, Person, shared};

/// Creates a shortcut, optionally in a folder.
async fn shortcut(owner: &Person, name: &str, target: &str, folder: Option<&str>) -> String {
    let mut body = json!({
        "name": name, "mimeType": "application/vnd.google-apps.shortcut",
        "shortcutDetails": {"targetId": target},
    });
    if let Some(folder) = folder {
        body["parents"] = json!([folder]);
    }
    let (status, made) = owner
        .call(Method::POST, "/drive/v3/files", Some(body))
        .await;
    assert_eq!(status, 200, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

async fn until(world: &Outside, id: &str, state: &str) -> Value {
    world
        .file_until(state, id, |file| file["shortcut"]["state"] == state)
        .await
}

#[test]
fn pain_18_a_shortcut_shows_the_current_state_of_its_target() {
    shared(async |world| {
        let owner = world.owner();
        let folder = owner.create("Plans", true).await;
        let target = owner.create("plan.txt", false).await;
        owner.move_to(&target, &folder).await;
        let link = shortcut(&owner, "Shortcut to plan", &target, None).await;
        let made = until(world, &link, "ok").await;
        assert_eq!(made["shortcut"]["target_id"], target.as_str());
        assert_eq!(made["shortcut"]["target_mime_type"], "text/plain");
        assert_eq!(
            made["fields"]["mime_type"],
            "application/vnd.google-apps.shortcut"
        );

        owner.rename(&target, "final.txt").await;
        let renamed = world
            .file_until("the target's new name", &link, |file| {
                file["shortcut"]["target"]
                    == json!({"name": "final.txt", "path": "/Plans/final.txt"})
            })
            .await;
        assert_eq!(
            renamed["fields"]["name"], "Shortcut to plan",
            "stale, and harmless"
        );
        assert_eq!(
            renamed["revision"], made["revision"],
            "nothing of its own has moved"
        );

        owner.update(&folder, json!({"trashed": true})).await;
        until(world, &link, "trashed").await;
        owner.update(&folder, json!({"trashed": false})).await;
        until(world, &link, "ok").await;
    });
}

#[test]
fn pain_18_a_shortcut_with_a_lost_target_is_kept_and_shown_as_broken() {
    shared(async |world| {
        let owner = world.owner();
        let target = owner.create("gone.txt", false).await;
        let link = shortcut(&owner, "Link", &target, None).await;
        until(world, &link, "ok").await;
        owner.delete(&target).await;
        let broken = until(world, &link, "broken").await;
        assert_eq!(broken["presence"], "present");
        assert_eq!(broken["path"], "/Link");
        // It can be renamed like any file, and the new name reaches Drive.
        world.edit_ok(&link, json!({"name": "Dead link"})).await;
        world
            .file_until("the push", &link, |file| file["intent"].is_null())
            .await;
        assert_eq!(owner.name_of(&link).await, "Dead link");
    });
}

#[test]
fn pain_18_cycles_of_shortcuts_end() {
    shared(async |world| {
        let owner = world.owner();
        let (a, b) = (
            owner.create("Circle A", true).await,
            owner.create("Circle B", true).await,
        );
        let to_b = shortcut(&owner, "to B", &b, Some(&a)).await;
        let to_a = shortcut(&owner, "to A", &a, Some(&b)).await;
        let own = shortcut(&owner, "to itself", &a, Some(&a)).await;
        for (link, path) in [
            (&to_b, "/Circle A/to B"),
            (&to_a, "/Circle B/to A"),
            (&own, "/Circle A/to itself"),
        ] {
            let found = until(world, link, "ok").await;
            assert_eq!(found["path"], path);
        }
        let inside = world.get(&format!("/files?path=true&parent={a}")).await;
        let inside = inside["items"].as_array().unwrap();
        assert_eq!(inside.len(), 2);
        assert!(inside.iter().all(|file| file["shortcut"]["state"] == "ok"));
    });
}
