//! The exact requests to Drive.

use std::collections::BTreeMap;

use domain::{AttemptId, ChannelId, Field, FileId, LogId, PageToken, Patch, Timestamp, Value};
use drive::{ChannelRequest, Kind, Scope};
use http::{Method, header};
use serde_json::json;

use crate::support::{BASE, Fake, NOW, answer, fixture, ok, query};

const FILE: &str = "id,version,name,description,starred,explicitlyTrashed,parents,properties,\
    mimeType,\
    size,md5Checksum,sha256Checksum,headRevisionId,createdTime,modifiedTime,\
    lastModifyingUser(emailAddress),owners(emailAddress),driveId,\
    shortcutDetails(targetId,targetMimeType),\
    capabilities(canEdit,canRename,canTrash,canUntrash,canDelete,canDownload,canShare,\
    canAddChildren),\
    permissions(id,type,role,emailAddress,domain,expirationTime,deleted,pendingOwner,view,\
    permissionDetails(role,inherited,inheritedFrom)),permissionIds,\
    hasAugmentedPermissions,inheritedPermissionsDisabled";
const FILE_V2: &str = "etag,id,version,title,description,labels(starred),explicitlyTrashed,\
    parents(id),\
    properties(key,value,visibility),mimeType,fileSize,md5Checksum,sha256Checksum,headRevisionId,\
    createdDate,modifiedDate,lastModifyingUser(emailAddress),owners(emailAddress),driveId,\
    shortcutDetails(targetId,targetMimeType),\
    capabilities(canEdit,canRename,canTrash,canUntrash,canDelete,canDownload,canShare,\
    canAddChildren),\
    permissions(id,type,role,additionalRoles,emailAddress,domain,expirationDate,deleted,\
    pendingOwner,view,\
    permissionDetails(role,additionalRoles,inherited,inheritedFrom)),permissionIds,\
    hasAugmentedPermissions,inheritedPermissionsDisabled";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    pairs.sort();
    pairs
}

fn address(request: &http::Request<bytes::Bytes>) -> String {
    let uri = request.uri().to_string();
    uri.split('?').next().unwrap().to_owned()
}

fn shared() -> LogId {
    LogId::parse("0AShared").unwrap()
}

#[tokio::test]
async fn a_start_token_belongs_to_one_log() {
    let token = || ok(&json!({"kind": "drive#startPageToken", "startPageToken": "9"}));
    let fake = Fake::answering([token(), token()]);
    let start = fake
        .client()
        .start_page_token(&LogId::user())
        .await
        .unwrap();
    assert_eq!(start, PageToken::new("9"));
    let request = fake.only_request();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(
        address(&request),
        format!("{BASE}/drive/v3/changes/startPageToken")
    );
    assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer t0ken");
    assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
    let user = [("fields", "startPageToken"), ("supportsAllDrives", "true")];
    assert_eq!(query(&request), pairs(&user));

    fake.client().start_page_token(&shared()).await.unwrap();
    let drive = [user[0], user[1], ("driveId", "0AShared")];
    assert_eq!(query(&fake.only_request()), pairs(&drive));
}

#[tokio::test]
async fn changes_are_listed_with_all_flags_that_include_items() {
    let end = || ok(&json!({"newStartPageToken": "2"}));
    let fake = Fake::answering([end(), end()]);
    let token = PageToken::new("1&x=y");
    fake.client()
        .list_changes(&LogId::user(), &token)
        .await
        .unwrap();
    let request = fake.only_request();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(address(&request), format!("{BASE}/drive/v3/changes"));
    let fields = format!(
        "nextPageToken,newStartPageToken,\
         changes(changeType,time,removed,driveId,drive(id,name),fileId,file({FILE}))"
    );
    let mut wanted = vec![
        ("pageToken", "1&x=y"),
        ("pageSize", "1000"),
        ("supportsAllDrives", "true"),
        ("includeItemsFromAllDrives", "true"),
        ("includeRemoved", "true"),
        ("includeCorpusRemovals", "true"),
        ("restrictToMyDrive", "false"),
        ("spaces", "drive"),
        ("fields", &fields),
    ];
    assert_eq!(query(&request), pairs(&wanted));

    fake.client().list_changes(&shared(), &token).await.unwrap();
    wanted.push(("driveId", "0AShared"));
    assert_eq!(query(&fake.only_request()), pairs(&wanted));
}

#[tokio::test]
async fn a_listing_covers_the_user_or_one_shared_drive() {
    let page = || ok(&json!({"files": []}));
    let fake = Fake::answering([page(), page()]);
    fake.client().list_files(&Scope::User, None).await.unwrap();
    let request = fake.only_request();
    assert_eq!(address(&request), format!("{BASE}/drive/v3/files"));
    let fields = format!("nextPageToken,incompleteSearch,files({FILE})");
    let common = [
        ("supportsAllDrives", "true"),
        ("includeItemsFromAllDrives", "true"),
        ("spaces", "drive"),
        ("pageSize", "1000"),
        ("fields", fields.as_str()),
    ];
    let user = [&common[..], &[("corpora", "user")]].concat();
    assert_eq!(query(&request), pairs(&user));

    let scope = Scope::from(&shared());
    fake.client().list_files(&scope, Some("p")).await.unwrap();
    let own = [
        ("corpora", "drive"),
        ("driveId", "0AShared"),
        ("pageToken", "p"),
    ];
    assert_eq!(
        query(&fake.only_request()),
        pairs(&[&common[..], &own].concat())
    );
}

async fn read() -> drive::Read {
    let fake = Fake::answering([ok(&fixture(include_str!("fixtures/document.v2.json")))]);
    let file = FileId::parse("1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms").unwrap();
    let read = fake.client().read_file(&file).await.unwrap();
    let request = fake.only_request();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(address(&request), format!("{BASE}/drive/v2/files/{file}"));
    let wanted = [
        ("supportsAllDrives", "true"),
        ("updateViewedDate", "false"),
        ("fields", FILE_V2),
    ];
    assert_eq!(query(&request), pairs(&wanted));
    read
}

/// The request that writes values, and its body.
async fn patched(values: &[(Field, Value)]) -> (http::Request<bytes::Bytes>, serde_json::Value) {
    let fake = Fake::answering([ok(&fixture(include_str!("fixtures/document.v2.json")))]);
    let read = read().await;
    let after = fake
        .client()
        .patch_file(&read, &patch(values))
        .await
        .unwrap();
    assert_eq!(after, read.snapshot);
    let request = fake.only_request();
    let body = serde_json::from_slice(request.body()).unwrap();
    (request, body)
}

fn patch(values: &[(Field, Value)]) -> Patch {
    Patch {
        attempt: AttemptId(1),
        values: BTreeMap::from_iter(values.iter().cloned()),
    }
}

fn property(key: &str) -> Field {
    Field::Property(key.to_owned())
}

#[tokio::test]
async fn a_write_is_conditional_on_the_etag_that_was_read() {
    let (request, body) = patched(&[(Field::Name, Value::text("new"))]).await;
    assert_eq!(request.method(), Method::PATCH);
    assert!(address(&request).starts_with(&format!("{BASE}/drive/v2/files/1Bxi")));
    assert_eq!(
        request.headers()[header::IF_MATCH],
        "\"MTYzNzQ5NjAwMDAwMA\""
    );
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
    let wanted = [
        ("supportsAllDrives", "true"),
        ("updateViewedDate", "false"),
        ("fields", FILE_V2),
    ];
    assert_eq!(query(&request), pairs(&wanted));
    assert_eq!(body, json!({"title": "new"}));
}

#[tokio::test]
async fn every_field_is_patched_as_the_table_defines() {
    let (_, body) = patched(&[
        (Field::Description, Value::text("")),
        (Field::Starred, Value::Flag(false)),
        (Field::Trashed, Value::Flag(true)),
    ])
    .await;
    let labels = json!({"starred": false, "trashed": true});
    assert_eq!(body, json!({"description": "", "labels": labels}));
}

#[tokio::test]
async fn all_properties_are_sent_with_private_ones_unchanged() {
    let (_, body) = patched(&[
        (property("client"), Value::Null),
        (property("stage"), Value::text("2")),
    ])
    .await;
    let wanted = json!({"properties": [
        {"key": "project", "visibility": "PUBLIC", "value": "north"},
        {"key": "client", "visibility": "PUBLIC", "value": null},
        {"key": "stage", "visibility": "PUBLIC", "value": "2"},
        {"key": "cursor", "visibility": "PRIVATE", "value": "17"},
    ]});
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_move_removes_the_parent_that_was_read() {
    let (request, body) = patched(&[(Field::Parent, Value::text("0ANew"))]).await;
    let query = query(&request);
    let has = |name: &str, value: &str| query.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("addParents", "0ANew") && has("removeParents", "0AFolderThatHoldsIt"));
    assert_eq!(body, json!({}));

    let (request, _) = patched(&[(Field::Parent, Value::text("0AFolderThatHoldsIt"))]).await;
    assert!(!request.uri().query().unwrap().contains("Parents="));
}

#[tokio::test]
async fn a_move_leaves_the_parents_that_it_does_not_mean() {
    let parents = json!([{"id": "b"}, {"id": "a"}, {"id": "c"}]);
    for (known, folder, added, removed) in [
        ("b", "z", Some("z"), Some("b")),
        // It is in the folder already.
        ("b", "c", None, Some("b")),
        ("b", "b", None, None),
        // Somebody took it out of that folder meanwhile.
        ("x", "z", Some("z"), None),
    ] {
        let mut file = fixture(include_str!("fixtures/document.v2.json"));
        file["parents"] = parents.clone();
        let fake = Fake::answering([ok(&file), ok(&file)]);
        let client = fake.client();
        let read = client
            .read_file(&FileId::parse("f").unwrap())
            .await
            .unwrap();
        assert_eq!(
            read.snapshot.value(&Field::Parent),
            Value::text("a"),
            "in any order"
        );
        let read = read.known_in(&Value::text(known));
        let patch = patch(&[(Field::Parent, Value::text(folder))]);
        client.patch_file(&read, &patch).await.unwrap();
        let query = query(fake.asked().last().unwrap());
        let of = |name: &str| {
            let found = query.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("addParents"), added, "{known} {folder}");
        assert_eq!(of("removeParents"), removed, "{known} {folder}");
    }
}

#[tokio::test]
async fn an_unwritable_value_is_never_sent() {
    let odd = [
        (Field::Existence, Value::Null),
        (Field::Parent, Value::Null),
        (Field::Name, Value::Flag(true)),
        (Field::Starred, Value::text("yes")),
        (property("a"), Value::Flag(true)),
    ];
    let read = read().await;
    for value in odd {
        let fake = Fake::answering([]);
        let error = fake
            .client()
            .patch_file(&read, &patch(&[value]))
            .await
            .unwrap_err();
        let reason = "notWritable".to_owned();
        assert_eq!(*error.kind(), Kind::Permanent { reason });
        assert!(fake.asked().is_empty());
    }
}

#[tokio::test]
async fn a_channel_covers_what_a_listing_shows() {
    let given =
        json!({"kind": "api#channel", "id": "c", "resourceId": "r", "expiration": "1795255200000"});
    let fake = Fake::answering([ok(&given), ok(&json!({"resourceId": "r"}))]);
    let id = ChannelId::parse("c").unwrap();
    let channel = ChannelRequest {
        id: &id,
        token: "tok",
        address: "https://hook.test/webhooks/drive",
        expires_at: NOW.plus_millis(604_800_000),
    };
    let token = PageToken::new("7");
    let watch = fake
        .client()
        .watch_changes(&shared(), &token, &channel)
        .await
        .unwrap();
    assert_eq!(watch.resource_id, "r");
    assert_eq!(watch.expires_at, Timestamp::from_millis(1_795_255_200_000));
    let request = fake.only_request();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(address(&request), format!("{BASE}/drive/v3/changes/watch"));
    let wanted = [
        ("pageToken", "7"),
        ("driveId", "0AShared"),
        ("supportsAllDrives", "true"),
        ("includeItemsFromAllDrives", "true"),
        ("includeRemoved", "true"),
        ("includeCorpusRemovals", "true"),
        ("restrictToMyDrive", "false"),
        ("spaces", "drive"),
        ("fields", "resourceId,expiration"),
    ];
    assert_eq!(query(&request), pairs(&wanted));
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(
        body,
        json!({"id": "c", "type": "web_hook", "token": "tok",
            "address": "https://hook.test/webhooks/drive", "expiration": "1795856400000"})
    );

    let unstated = fake
        .client()
        .watch_changes(&shared(), &token, &channel)
        .await
        .unwrap();
    assert_eq!(
        unstated.expires_at,
        NOW.plus_millis(3_600_000),
        "Drive's default is an hour"
    );
}

#[tokio::test]
async fn a_channel_is_stopped_by_its_id_and_resource() {
    let fake = Fake::answering([Ok(http::Response::builder()
        .status(204)
        .body("".into())
        .unwrap())]);
    let id = ChannelId::parse("c").unwrap();
    fake.client().stop_channel(&id, "r").await.unwrap();
    let request = fake.only_request();
    assert_eq!(
        request.uri().to_string(),
        format!("{BASE}/drive/v3/channels/stop")
    );
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body, json!({"id": "c", "resourceId": "r"}));
}

#[tokio::test]
async fn the_account_and_a_shared_drive_can_be_read() {
    let user = json!({"user": {"emailAddress": "ada@example.com", "permissionId": "07"}});
    let fake = Fake::answering([
        ok(&user),
        answer(200, &json!({"id": "0AShared", "name": "Team"})),
    ]);
    assert_eq!(
        fake.client().about().await.unwrap().email,
        "ada@example.com"
    );
    let wanted = [("fields", "user(emailAddress,permissionId)")];
    let request = fake.only_request();
    assert_eq!(address(&request), format!("{BASE}/drive/v3/about"));
    assert_eq!(query(&request), pairs(&wanted));
    assert_eq!(
        fake.client().get_drive(&shared()).await.unwrap().name,
        "Team"
    );
    assert_eq!(
        address(&fake.only_request()),
        format!("{BASE}/drive/v3/drives/0AShared")
    );
}

/// Half of a character is kept where all properties are sent again.
#[tokio::test]
async fn what_can_not_be_read_is_written_back_as_it_was() {
    let mut file = fixture(include_str!("fixtures/document.v2.json"));
    file["title"] = "HALF.txt".into();
    let property = |key: &str, value: &str, visibility: &str| {
        let (key, visibility) = (json!(key), json!(visibility));
        json!({"key": key, "value": value, "visibility": visibility})
    };
    file["properties"] = vec![
        property("cut", "a HALF", "PUBLIC"),
        property("HALF key", "b", "PUBLIC"),
        property("own", "HALF", "PRIVATE"),
        property("plain", "c", "PUBLIC"),
    ]
    .into();
    let halved = file.to_string().replace("HALF", r"\ud83d");
    let halved = || Ok(http::Response::new(halved.clone().into()));
    let fake = Fake::answering([halved(), halved(), halved()]);
    let id = FileId::parse(file["id"].as_str().unwrap()).unwrap();
    let read = fake.client().read_file(&id).await.unwrap();
    let key = |key: &str| Field::Property(key.to_owned());
    assert_eq!(
        read.snapshot.value(&Field::Name),
        Value::text("\u{fffd}.txt")
    );
    assert_eq!(read.snapshot.value(&key("cut")), Value::text("a \u{fffd}"));
    assert_eq!(read.snapshot.value(&key("\u{fffd} key")), Value::text("b"));

    let starred = patch(&[(Field::Starred, Value::Flag(true))]);
    fake.client().patch_file(&read, &starred).await.unwrap();
    let changed = patch(&[
        (key("\u{fffd} key"), Value::text("new")),
        (key("plain"), Value::Null),
        (key("more"), Value::text("d")),
    ]);
    fake.client().patch_file(&read, &changed).await.unwrap();
    let bodies: Vec<String> = fake
        .asked()
        .iter()
        .map(|request| String::from_utf8(request.body().to_vec()).unwrap())
        .collect();
    assert_eq!(bodies[1], r#"{"labels":{"starred":true}}"#);
    let wanted = r#"{"properties":[
        {"key":"cut","visibility":"PUBLIC","value":"a \ud83d"},
        {"key":"\ud83d key","visibility":"PUBLIC","value":"new"},
        {"key":"own","visibility":"PRIVATE","value":"\ud83d"},
        {"key":"plain","visibility":"PUBLIC","value":null},
        {"key":"more","visibility":"PUBLIC","value":"d"}]}"#;
    assert_eq!(bodies[2], wanted.replace("\n        ", ""));
}
