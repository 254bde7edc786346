//! Shortcuts: items of their own that do not follow their targets.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::World;

const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

impl World {
    async fn shortcut(&self, body: Value) -> super::Reply {
        let path = "/drive/v3/files?supportsAllDrives=true\
                    &fields=id,name,mimeType,shortcutDetails,size,md5Checksum";
        self.call("POST", path, body).await
    }
}

#[tokio::test]
async fn a_shortcut_has_the_id_and_type_of_its_target_and_no_content() {
    let world = World::new();
    let target = world.file("report.pdf");
    let details = json!({"targetId": target});
    let made = world
        .shortcut(json!({"mimeType": SHORTCUT, "shortcutDetails": details}))
        .await
        .ok();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        made,
        json!({"id": id, "name": "report.pdf", "mimeType": SHORTCUT,
            "shortcutDetails": {"targetId": target, "targetMimeType": "application/octet-stream"}})
    );
    let content = world.get(&format!("/drive/v3/files/{id}?alt=media")).await;
    assert_eq!(content.refused(), (403, "fileNotDownloadable".to_owned()));
    let change = json!({"shortcutDetails": {"targetId": id}});
    let refused = world
        .call("PATCH", &format!("/drive/v3/files/{id}"), change)
        .await;
    assert_eq!(refused.refused(), (403, "fieldNotWritable".to_owned()));
}

#[tokio::test]
async fn a_shortcut_needs_an_accessible_target_other_than_a_shortcut() {
    let world = World::new();
    let target = world.file("a");
    let first = world
        .shortcut(json!({"mimeType": SHORTCUT, "shortcutDetails": {"targetId": target}}))
        .await
        .ok();
    for (body, status, reason) in [
        (json!({"mimeType": SHORTCUT}), 400, "required"),
        (
            json!({"mimeType": SHORTCUT, "shortcutDetails": {"targetId": "nothing"}}),
            404,
            "notFound",
        ),
        (
            json!({"mimeType": SHORTCUT, "shortcutDetails": {"targetId": first["id"]}}),
            400,
            "shortcutTargetInvalid",
        ),
    ] {
        let reply = world.shortcut(body.clone()).await;
        assert_eq!(reply.refused(), (status, reason.to_owned()), "{body}");
    }
    let below = json!({"name": "x", "parents": [first["id"]]});
    let refused = world.call("POST", "/drive/v3/files", below).await;
    assert_eq!(refused.refused(), (403, "parentNotAFolder".to_owned()));
}

#[tokio::test]
async fn a_shortcut_is_not_updated_with_its_target_and_outlives_it() {
    let world = World::new();
    let target = world.file("old name");
    let made = world
        .shortcut(json!({"shortcutDetails": {"targetId": target}}))
        .await
        .ok();
    let path = format!(
        "/drive/v3/files/{}?fields=name,version,modifiedTime,shortcutDetails",
        made["id"].as_str().expect("an id")
    );
    let before = world.get(&path).await.ok();
    let token = world.start_token("owner", "").await;
    let of_target = format!("/drive/v3/files/{target}");
    world
        .call(
            "PATCH",
            &of_target,
            json!({"name": "new name", "mimeType": "text/plain"}),
        )
        .await
        .ok();
    assert_eq!(
        world.get(&path).await.ok(),
        before,
        "a shortcut does not follow its target"
    );
    world.call("DELETE", &of_target, Value::Null).await.ok();
    assert_eq!(
        world.get(&path).await.ok(),
        before,
        "a shortcut outlives its target"
    );
    assert_eq!(
        world.get(&of_target).await.refused(),
        (404, "notFound".to_owned())
    );
    assert_eq!(
        world.changes("owner", token, "").await.0,
        [(target, true)],
        "the shortcut has no entry"
    );
}

#[tokio::test]
async fn a_shortcut_to_a_folder_above_it_is_allowed() {
    let world = World::new();
    let outer = world.folder("outer", None);
    let inner = world.folder("inner", Some(&outer));
    let body = json!({"parents": [inner], "shortcutDetails": {"targetId": outer}});
    let made = world.shortcut(body).await.ok();
    assert_eq!(made["shortcutDetails"]["targetMimeType"], super::FOLDER);
    let listed = world
        .get(&format!(
            "/drive/v3/files?q='{inner}'+in+parents&fields=files(id)"
        ))
        .await
        .ok();
    assert_eq!(listed, json!({"files": [{"id": made["id"]}]}));
}

#[tokio::test]
async fn access_to_a_shortcut_does_not_include_its_target() {
    let world = World::new();
    let target = world.make_as("alice", "secret", "root", false).await;
    let path = "/drive/v3/files?fields=id,shortcutDetails/targetId";
    let body = json!({"shortcutDetails": {"targetId": target}});
    let made = world.call_as("alice", "POST", path, body).await.ok();
    let id = made["id"].as_str().expect("an id");
    let share = json!({"type": "user", "role": "reader", "emailAddress": "bob@example.com"});
    let permissions = format!("/drive/v3/files/{id}/permissions");
    world
        .call_as("alice", "POST", &permissions, share)
        .await
        .ok();
    let shown = format!("/drive/v3/files/{id}?fields=shortcutDetails/targetId");
    let shown = world.call_as("bob", "GET", &shown, Value::Null).await.ok();
    assert_eq!(shown, json!({"shortcutDetails": {"targetId": target}}));
    let refused = world
        .call_as(
            "bob",
            "GET",
            &format!("/drive/v3/files/{target}"),
            Value::Null,
        )
        .await;
    assert_eq!(refused.refused(), (404, "notFound".to_owned()));
}

#[tokio::test]
async fn an_item_that_only_a_link_shows_can_need_a_resource_key() {
    let world = World::new();
    let bob = json!({"name": "note", "parents": ["root"]});
    let made = world.call_as("bob", "POST", "/drive/v3/files", bob).await;
    let id = made.ok()["id"].as_str().expect("an id").to_owned();
    let path = format!("/drive/v3/files/{id}");
    let link = json!({"type": "anyone", "role": "reader", "allowFileDiscovery": false});
    let permissions = format!("{path}/permissions");
    world.call_as("bob", "POST", &permissions, link).await.ok();
    world.get(&path).await.ok();
    let key = json!({"id": id, "key": "0-secret"});
    world.control("POST", "resource_keys", key).await;
    let with = async |header: &str| {
        let request = Request::get(format!("{path}?fields=resourceKey,webViewLink"))
            .header("authorization", "Bearer user:owner")
            .header("x-goog-drive-resource-keys", header)
            .body(Body::empty());
        world.send(request.expect("a request")).await
    };
    let missing = (404, "notFound".to_owned());
    assert_eq!(world.get(&path).await.refused(), missing);
    assert_eq!(with("other/0-secret").await.refused(), missing);
    assert_eq!(with(&format!("{id}/0-wrong")).await.refused(), missing);
    let file = with(&format!("other/1,{id}/0-secret")).await.ok();
    assert_eq!(file["resourceKey"], "0-secret");
    let shown = file["webViewLink"].as_str().expect("a link");
    assert!(shown.ends_with("&resourcekey=0-secret"), "{shown}");
    // A user with a permission of their own needs none, and a shortcut tells its target's.
    let owners = world.call_as("bob", "GET", &path, Value::Null).await;
    owners.ok();
    let shortcut = json!({
        "name": "s", "mimeType": SHORTCUT, "shortcutDetails": {"targetId": id},
    });
    let made = "/drive/v3/files?fields=shortcutDetails";
    let made = world.call_as("bob", "POST", made, shortcut).await.ok();
    assert_eq!(made["shortcutDetails"]["targetResourceKey"], "0-secret");
    let none = json!({"id": id, "key": null});
    world.control("POST", "resource_keys", none).await;
    world.get(&path).await.ok();
}
