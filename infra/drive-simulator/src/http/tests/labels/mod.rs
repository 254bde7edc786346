//! Labels of files.

use serde_json::{Value, json};

use super::World;

/// Defines two labels: one of all types of fields, and one that Alice does not see.
async fn define_labels(world: &World) {
    let fields = json!({
        "text": {"type": "text"}, "count": {"type": "integer"}, "day": {"type": "dateString"},
        "colour": {"type": "selection", "choices": ["red", "blue"]}, "who": {"type": "user"},
    });
    world
        .control("POST", "labels", json!({"id": "all", "fields": fields}))
        .await;
    let secret = json!({
        "id": "secret", "fields": {"text": {"type": "text"}}, "hidden_from": ["alice"],
    });
    world.control("POST", "labels", secret).await;
}

/// Returns a modification of one label.
fn label(id: &str, fields: Value) -> Value {
    json!({"labelModifications": [{"labelId": id, "fieldModifications": fields}]})
}

#[tokio::test]
async fn labels_are_set_listed_and_shown_to_those_who_ask_for_them() {
    let world = World::new();
    define_labels(&world).await;
    let id = world.file("a.txt");
    let path = format!("/drive/v3/files/{id}");
    let fields = json!([
        {"fieldId": "text", "setTextValues": ["draft"]},
        {"fieldId": "count", "setIntegerValues": ["7"]},
        {"fieldId": "day", "setDateValues": ["2026-12-01"]},
        {"fieldId": "colour", "setSelectionValues": ["red"]},
        {"fieldId": "who", "setUserValues": ["alice@example.com"]},
    ]);
    let before = world.get(&format!("{path}?fields=version")).await.ok();
    let modify = format!("{path}/modifyLabels");
    let set = world.call("POST", &modify, label("all", fields)).await.ok();
    assert_eq!(set["kind"], "drive#modifyLabelsResponse");
    let all = &set["modifiedLabels"][0];
    assert_eq!(
        (&all["id"], &all["revisionId"]),
        (&json!("all"), &json!("1"))
    );
    let text = &all["fields"]["text"];
    let shown = json!({
        "kind": "drive#labelField", "id": "text", "valueType": "text", "text": ["draft"],
    });
    assert_eq!(*text, shown);
    assert_eq!(all["fields"]["count"]["integer"], json!(["7"]));
    assert_eq!(all["fields"]["day"]["dateString"], json!(["2026-12-01"]));
    assert_eq!(all["fields"]["colour"]["selection"], json!(["red"]));
    let who = &all["fields"]["who"]["user"][0];
    assert_eq!(who["emailAddress"], "alice@example.com");
    let after = world.get(&format!("{path}?fields=version")).await.ok();
    assert_ne!(before, after);

    let secret = json!([{"fieldId": "text", "setTextValues": ["hidden"]}]);
    world
        .call("POST", &modify, label("secret", secret))
        .await
        .ok();
    let listed = async |user: &str| {
        let list = format!("{path}/listLabels");
        let listed = world.call_as(user, "GET", &list, Value::Null).await.ok();
        let labels = listed["labels"].as_array().unwrap().iter();
        labels
            .map(|label| label["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("owner").await, ["all", "secret"]);
    assert_eq!(listed("alice").await, ["all"]);
    let page = world
        .get(&format!("{path}/listLabels?maxResults=1"))
        .await
        .ok();
    assert_eq!(page["labels"][0]["id"], "all");
    let token = page["nextPageToken"].as_str().unwrap();
    let next = world
        .get(&format!("{path}/listLabels?pageToken={token}"))
        .await
        .ok();
    assert_eq!(next["labels"][0]["id"], "secret");
    assert_eq!(next["nextPageToken"], Value::Null);

    for (user, included, shown) in [
        ("owner", "", Value::Null),
        ("owner", "&includeLabels=none", json!([])),
        ("owner", "&includeLabels=all", json!(["all"])),
        (
            "owner",
            "&includeLabels=secret,all",
            json!(["all", "secret"]),
        ),
        ("alice", "&includeLabels=secret", json!([])),
    ] {
        for at in [
            format!("{path}?fields=*{included}"),
            format!("/drive/v2/files/{id}?fields=labelInfo{included}"),
        ] {
            let file = world.call_as(user, "GET", &at, Value::Null).await.ok();
            let labels = file["labelInfo"]["labels"].as_array();
            let ids = labels.map(|all| all.iter().map(|label| label["id"].clone()).collect());
            assert_eq!(ids.unwrap_or(Value::Null), shown, "{user} {at}");
        }
    }
    let found = world
        .get("/drive/v3/files?includeLabels=all&fields=files(id,labelInfo(labels(id)))")
        .await
        .ok();
    assert_eq!(
        found["files"][0]["labelInfo"],
        json!({"labels": [{"id": "all"}]})
    );
}

#[tokio::test]
async fn labels_are_changed_all_at_once_and_appear_in_changes() {
    let world = World::new();
    define_labels(&world).await;
    let id = world.file("a.txt");
    let modify = format!("/drive/v3/files/{id}/modifyLabels");
    let start = world.get("/drive/v3/changes/startPageToken").await.ok();
    let start = start["startPageToken"].as_str().unwrap().to_owned();
    let set = |field: &str, values: Value| json!([{"fieldId": field, "setTextValues": values}]);
    for (user, body, refusal) in [
        (
            "owner",
            label("unknown", set("text", json!(["a"]))),
            (404, "notFound"),
        ),
        (
            "alice",
            label("secret", set("text", json!(["a"]))),
            (404, "notFound"),
        ),
        (
            "owner",
            label("all", set("unknown", json!(["a"]))),
            (400, "invalid"),
        ),
        (
            "owner",
            label("all", set("count", json!(["a"]))),
            (400, "invalid"),
        ),
        (
            "owner",
            label("all", set("text", json!([""]))),
            (400, "invalid"),
        ),
        (
            "owner",
            label("all", json!([{"fieldId": "text"}])),
            (400, "invalid"),
        ),
        (
            "owner",
            json!({"labelModifications": [
                {"labelId": "all", "fieldModifications": set("text", json!(["a"]))},
                {"labelId": "all", "fieldModifications": set("count", json!(["a"]))},
            ]}),
            (400, "invalid"),
        ),
    ] {
        let refused = world.call_as(user, "POST", &modify, body.clone()).await;
        let (status, reason) = refused.refused();
        assert_eq!((status, reason.as_str()), refusal, "{body}");
    }
    let changes = async |token: &str| {
        let path = format!(
            "/drive/v3/changes?pageToken={token}&includeLabels=all&fields=newStartPageToken,\
             changes(fileId,file(labelInfo))"
        );
        world.get(&path.replace(' ', "")).await.ok()
    };
    let none = changes(&start).await;
    assert_eq!(
        none["changes"],
        json!([]),
        "nothing of what was refused was done"
    );

    let body = label("all", set("text", json!(["a"])));
    world.call("POST", &modify, body.clone()).await.ok();
    let one = changes(&start).await;
    let seen = &one["changes"][0]["file"]["labelInfo"]["labels"][0];
    assert_eq!(seen["fields"]["text"]["text"], json!(["a"]));
    let next = one["newStartPageToken"].as_str().unwrap();
    world.call("POST", &modify, body).await.ok();
    assert_eq!(
        changes(next).await["changes"],
        json!([]),
        "the same value is no change"
    );

    let unset = json!([{"fieldId": "text", "unsetValues": true}]);
    let unset = world.call("POST", &modify, label("all", unset)).await.ok();
    assert_eq!(unset["modifiedLabels"][0]["fields"], json!({}));
    assert_eq!(unset["modifiedLabels"][0]["revisionId"], "2");
    let remove = json!({"labelModifications": [{"labelId": "all", "removeLabel": true}]});
    let removed = world.call("POST", &modify, remove).await.ok();
    assert_eq!(removed["modifiedLabels"], json!([]));
    let last = changes(next).await;
    assert_eq!(last["changes"][0]["fileId"], json!(id));
    assert_eq!(last["changes"][0]["file"]["labelInfo"], Value::Null);
}
