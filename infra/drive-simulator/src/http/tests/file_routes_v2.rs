//! v2 `files`.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use super::{Reply, World};

impl World {
    async fn patch_if(&self, id: &str, etag: &str, body: Value) -> Reply {
        let request = Request::patch(format!("/drive/v2/files/{id}"))
            .header(header::AUTHORIZATION, "Bearer user:owner")
            .header(header::IF_MATCH, etag);
        self.send(
            request
                .body(Body::from(body.to_string()))
                .expect("a request"),
        )
        .await
    }
}

#[tokio::test]
async fn a_conditional_patch_is_applied_once() {
    let world = World::new();
    let id = world.file("a");
    let before = world.get(&format!("/drive/v2/files/{id}")).await;
    let etag = before.ok()["etag"].as_str().expect("an etag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    assert_eq!(before.headers[header::ETAG], etag.as_str());
    let after = world
        .patch_if(
            &id,
            &etag,
            json!({"title": "b", "labels": {"starred": true}}),
        )
        .await
        .ok();
    assert_eq!(
        (&after["title"], &after["labels"]["starred"]),
        (&json!("b"), &json!(true))
    );
    assert_ne!(after["etag"], etag.as_str());
    assert_eq!(
        world
            .patch_if(&id, &etag, json!({"title": "c"}))
            .await
            .refused(),
        (412, "conditionNotMet".to_owned())
    );
    assert_eq!(world.simulator.file(&id).expect("there").name, "b");
    assert!(
        world
            .patch_if(&id, "*", json!({"title": "d"}))
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn stars_moves_trash_and_properties_change_the_etag() {
    let world = World::new();
    let (id, folder) = (world.file("a"), world.folder("f", None));
    let mut etag = world.simulator.file(&id).expect("there").etag;
    let root = world.simulator.root_id("owner");
    for (query, body) in [
        (String::new(), json!({"labels": {"starred": true}})),
        (
            format!("?addParents={folder}&removeParents={root}"),
            json!({}),
        ),
        (String::new(), json!({"labels": {"trashed": true}})),
        (
            String::new(),
            json!({"properties": [{"key": "k", "value": "v", "visibility": "PUBLIC"}]}),
        ),
    ] {
        let after = world
            .call(
                "PATCH",
                &format!("/drive/v2/files/{id}{query}"),
                body.clone(),
            )
            .await
            .ok();
        assert_ne!(after["etag"], etag.as_str(), "{body}");
        etag = after["etag"].as_str().expect("an etag").to_owned();
    }
}

#[tokio::test]
async fn properties_are_merged_by_key_and_visibility_and_null_deletes() {
    let world = World::new();
    let path = format!(
        "/drive/v2/files/{}?fields=properties(key,value,visibility)",
        world.file("a")
    );
    let put = |properties: Value| world.call("PATCH", &path, json!({"properties": properties}));
    put(json!([
        {"key": "k", "value": "public", "visibility": "PUBLIC"}, {"key": "k", "value": "private"},
    ]))
    .await
    .ok();
    let after = put(json!([{"key": "n", "value": "1", "visibility": "PUBLIC"}]))
        .await
        .ok();
    assert_eq!(
        after["properties"],
        json!([
            {"key": "k", "value": "public", "visibility": "PUBLIC"},
            {"key": "n", "value": "1", "visibility": "PUBLIC"},
            {"key": "k", "value": "private", "visibility": "PRIVATE"},
        ])
    );
    let after = put(json!([{"key": "k", "value": null, "visibility": "PUBLIC"}]))
        .await
        .ok();
    assert_eq!(after["properties"].as_array().expect("properties").len(), 2);
    assert_eq!(
        put(json!([{"key": "k", "value": "v", "visibility": "OTHER"}]))
            .await
            .refused()
            .0,
        400
    );
}

#[tokio::test]
async fn trash_and_parents_have_the_format_of_v2() {
    let world = World::new();
    let folder = world.folder("f", None);
    let file = world
        .simulator
        .create_file("owner", "a", Some(&folder), bytes::Bytes::new())
        .expect("made");
    world
        .call(
            "PATCH",
            &format!("/drive/v2/files/{folder}"),
            json!({"labels": {"trashed": true}}),
        )
        .await
        .ok();
    let fields = "labels/trashed,explicitlyTrashed,parents(id,isRoot),fileSize";
    let path = format!("/drive/v2/files/{file}?fields={fields}");
    let below = world.get(&path).await.ok();
    assert_eq!(
        below,
        json!({
            "labels": {"trashed": false}, "explicitlyTrashed": false,
            "parents": [{"id": folder, "isRoot": false}], "fileSize": "0",
        })
    );
    let top = world
        .get(&format!(
            "/drive/v2/files/{folder}?fields=labels/trashed,explicitlyTrashed,parents/isRoot"
        ))
        .await
        .ok();
    assert_eq!(
        top,
        json!({
            "labels": {"trashed": true}, "explicitlyTrashed": true, "parents": [{"isRoot": true}],
        })
    );
}

#[tokio::test]
async fn a_whole_resource_can_be_sent_back_unless_its_parents_changed() {
    let world = World::new();
    let (id, folder) = (world.file("a"), world.folder("f", None));
    let path = format!("/drive/v2/files/{id}");
    let mut whole = world.get(&path).await.ok();
    whole["title"] = json!("b");
    whole["description"] = json!("text");
    let after = world.call("PUT", &path, whole.clone()).await.ok();
    assert_eq!(
        (&after["title"], &after["description"]),
        (&json!("b"), &json!("text"))
    );
    let emptied = world
        .call("PATCH", &path, json!({"description": null}))
        .await
        .ok();
    assert!(emptied.get("description").is_none());
    whole["parents"] = json!([{"id": folder}]);
    assert_eq!(
        world.call("PUT", &path, whole).await.refused(),
        (403, "fieldNotWritable".to_owned())
    );
}

#[tokio::test]
async fn the_modified_date_follows_the_behavior_parameter() {
    let world = World::new();
    let path = format!("/drive/v2/files/{}", world.file("a"));
    let body = json!({"modifiedDate": "2020-01-02T03:04:05.678Z", "title": "b"});
    let set = world
        .call(
            "PATCH",
            &format!("{path}?modifiedDateBehavior=fromBody"),
            body.clone(),
        )
        .await
        .ok();
    assert_eq!(set["modifiedDate"], "2020-01-02T03:04:05.678Z");
    let kept = world
        .call(
            "PATCH",
            &format!("{path}?modifiedDateBehavior=noChange"),
            json!({"title": "c"}),
        )
        .await
        .ok();
    assert_eq!(kept["modifiedDate"], "2020-01-02T03:04:05.678Z");
    let now = world.call("PATCH", &path, json!({"title": "d"})).await.ok();
    assert_ne!(now["modifiedDate"], "2020-01-02T03:04:05.678Z");
}

#[tokio::test]
async fn an_upload_can_be_conditional() {
    let world = World::new();
    let id = world.file("a");
    let etag = world.simulator.file(&id).expect("there").etag;
    let put = async |content: &'static str| {
        let request = Request::put(format!(
            "/upload/drive/v2/files/{id}?uploadType=media&fields=fileSize,md5Checksum"
        ))
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::IF_MATCH, &etag);
        world
            .send(request.body(Body::from(content)).expect("a request"))
            .await
    };
    assert_eq!(
        put("hello").await.ok(),
        json!({"fileSize": "5", "md5Checksum": "5d41402abc4b2a76b9719d911017c592"})
    );
    assert_eq!(
        put("stale").await.refused(),
        (412, "conditionNotMet".to_owned())
    );
}

#[tokio::test]
async fn v2_inserts_lists_trashes_untrashes_and_deletes_files() {
    let world = World::new();
    let folder = world.folder("box", None);
    let body = json!({"title": "it's", "parents": [{"id": folder}], "labels": {"starred": true}});
    let made = world.call("POST", "/drive/v2/files", body).await;
    let etag = made.headers[header::ETAG].clone();
    let made = made.ok();
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(made["etag"], etag.to_str().expect("text"));
    assert_eq!(made["labels"]["starred"], json!(true));
    let uploaded = "/upload/drive/v2/files?uploadType=media";
    let second = world.call("POST", uploaded, json!("bytes")).await.ok();
    let address = second["downloadUrl"].as_str().expect("a link").to_owned();
    let (_, path) = address.split_once("/drive/").expect("a path");
    let content = world.get(&format!("/drive/{path}")).await;
    assert_eq!(content.bytes, "\"bytes\"");
    assert!(second["webContentLink"].is_string());

    let found = async |q: &str| {
        let q: String = url::form_urlencoded::byte_serialize(q.as_bytes()).collect();
        let path = format!("/drive/v2/files?maxResults=1000&orderBy=title,modifiedDate&q={q}");
        let list = world.get(&path).await.ok();
        assert_eq!(list["kind"], "drive#fileList");
        let items = list["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    let in_folder = format!("'{folder}' in parents and title = 'it\\'s'");
    assert_eq!(found(&in_folder).await, [id.as_str()]);
    assert_eq!(found("name = 'x'").await.len(), 0);

    let trash = format!("/drive/v2/files/{id}/trash");
    let trashed = world.call("POST", &trash, Value::Null).await.ok();
    assert_eq!(trashed["labels"]["trashed"], json!(true));
    let untrash = format!("/drive/v2/files/{id}/untrash");
    let back = world.call("POST", &untrash, Value::Null).await.ok();
    assert_eq!(back["labels"]["trashed"], json!(false));
    world.call("POST", &trash, Value::Null).await.ok();
    let empty = world.call("DELETE", "/drive/v2/files/trash", Value::Null);
    assert_eq!(empty.await.status.as_u16(), 204);
    assert!(world.simulator.file(&id).is_none());
    let ids = world
        .get("/drive/v2/files/generateIds?maxResults=3")
        .await
        .ok();
    assert_eq!(ids["ids"].as_array().expect("ids").len(), 3);
}

#[tokio::test]
async fn a_document_has_no_size_and_its_links_lead_to_exports() {
    let world = World::new();
    let document = json!({"name": "d", "mimeType": "application/vnd.google-apps.document"});
    let made = world
        .call("POST", "/drive/v3/files?fields=*", document)
        .await
        .ok();
    assert!(made.get("size").is_none() && made.get("md5Checksum").is_none());
    let links = made["exportLinks"].as_object().expect("links").clone();
    assert_eq!(links.len(), 9);
    for link in links.values() {
        let (_, path) = link
            .as_str()
            .expect("text")
            .split_once("/feeds/")
            .expect("a path");
        let export = world.get(&format!("/feeds/{path}")).await;
        assert_eq!(export.status.as_u16(), 200, "{link}");
    }
    let unknown = format!(
        "/feeds/download/documents/export/Export?id={}&exportFormat=exe",
        made["id"].as_str().expect("an id")
    );
    assert_eq!(world.get(&unknown).await.status.as_u16(), 400);
    let selected = world.get("/drive/v3/files?fields=").await.ok();
    assert_eq!(selected, json!({}));
}
