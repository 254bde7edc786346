//! Permissions: read from files, listed, and written.

use domain::{
    DriveVersion, Field, ObservedPermission, PERMISSIONS_MAX, Snapshot, Timestamp, Value,
};
use drive::{Kind, Listed, Scope};
use serde_json::{Value as Json, json};

use crate::support::{Fake, answer, fixture, google_error, ok, query};

fn who(principal: &str) -> Field {
    Field::Permission(principal.to_owned())
}

async fn listed(file: Json) -> Snapshot {
    let fake = Fake::answering([ok(&json!({"files": [file]}))]);
    let page = fake.client().list_files(&Scope::User, None).await.unwrap();
    let [Listed::Present(snapshot)] = page.files.as_slice() else {
        panic!("{page:?}");
    };
    snapshot.clone()
}

/// An item of a shared drive, as in every listing.
fn item(augmented: bool) -> Json {
    json!({"id": "f1", "version": "3", "name": "n", "driveId": "0ADrive",
        "permissionIds": ["b", "a"], "hasAugmentedPermissions": augmented})
}

fn of(snapshot: &Snapshot) -> Vec<(String, Value)> {
    let permission = |(field, value): (&Field, &Value)| {
        let Field::Permission(principal) = field else {
            return None;
        };
        Some((principal.clone(), value.clone()))
    };
    snapshot.fields.iter().filter_map(permission).collect()
}

#[tokio::test]
async fn direct_permissions_are_fields_and_inherited_ones_metadata() {
    let snapshot = listed(fixture(include_str!("fixtures/document.v3.json"))).await;
    assert!(snapshot.metadata.permissions_known);
    assert_eq!(
        snapshot.metadata.permission_ids, None,
        "the permissions are present"
    );
    let board = snapshot
        .metadata
        .permission("group:board@example.com")
        .unwrap();
    assert_eq!(
        *board,
        ObservedPermission {
            principal: "group:board@example.com".to_owned(),
            id: "0719".to_owned(),
            role: "writer".to_owned(),
            direct: true,
            inherited: true,
            expires_at: Timestamp::parse_rfc3339("2027-01-01T00:00:00Z"),
            ..ObservedPermission::default()
        }
    );
    assert_eq!(
        snapshot.fields[&who("group:board@example.com")],
        Value::text("commenter")
    );
    let gone = snapshot.metadata.permission("id:0720").unwrap();
    assert!(gone.deleted && gone.inherited && !gone.direct);
    assert!(!snapshot.fields.contains_key(&who("id:0720")));
    let sorted = snapshot.metadata.permissions.is_sorted();
    assert!(sorted, "sorted, independent of Drive's order");
}

#[tokio::test]
async fn absent_permissions_are_unknown_unless_drive_reports_none() {
    let private =
        listed(json!({"id": "f", "version": "1", "name": "n", "permissionIds": ["a"]})).await;
    assert!(!private.metadata.permissions_known && !private.permissions_need_listing());
    let plain = listed(item(false)).await;
    assert!(plain.metadata.permissions_known && of(&plain).is_empty());
    let augmented = listed(item(true)).await;
    assert!(!augmented.metadata.permissions_known && augmented.permissions_need_listing());
    let same = domain::ids_digest(["a", "b"]);
    assert_eq!(augmented.metadata.permission_ids, Some(same));
    let root = json!({
        "id": "0ADrive", "version": "1", "name": "Drive", "driveId": "0ADrive",
        "hasAugmentedPermissions": false,
    });
    assert!(
        listed(root).await.permissions_need_listing(),
        "its members are its permissions"
    );
}

#[tokio::test]
async fn a_view_or_a_second_link_is_not_a_role() {
    let snapshot = listed(json!({"id": "f", "version": "1", "name": "n", "permissions": [
        {"id": "anyoneWithLink", "type": "anyone", "role": "reader"},
        {"id": "anyone", "type": "anyone", "role": "writer"},
        {"id": "07", "type": "user", "role": "reader", "emailAddress": "a@b.c", "view": "metadata"},
        {"id": "08", "type": "user", "role": "writer", "emailAddress": "a@b.c"},
    ]}))
    .await;
    let text = |role: &str| Value::text(role);
    assert_eq!(
        of(&snapshot),
        [
            ("anyone".to_owned(), text("writer")),
            ("id:anyoneWithLink".to_owned(), text("reader")),
            ("user:a@b.c".to_owned(), text("writer")),
        ]
    );
    let inherited = json!([{"inherited": true, "role": "writer", "permissionType": "file"}]);
    let link = listed(
        json!({"id": "f", "version": "1", "name": "n", "permissions": [
            {"id": "anyone", "type": "anyone", "role": "writer", "permissionDetails": inherited},
            {"id": "anyoneWithLink", "type": "anyone", "role": "reader"},
        ]}),
    )
    .await;
    assert_eq!(
        of(&link),
        [("anyone".to_owned(), text("reader"))],
        "the permission on the file itself is the principal's"
    );
    let view = snapshot.metadata.permission("id:07").unwrap();
    assert!(!view.direct && view.view.as_deref() == Some("metadata"));
}

#[tokio::test]
async fn too_many_permissions_are_counted_but_not_kept() {
    let permission = |n: usize| {
        json!({
            "id": format!("{n}"), "type": "user", "role": "reader",
            "emailAddress": format!("p{n}@b.c"),
        })
    };
    let all: Vec<_> = (0..=PERMISSIONS_MAX).map(permission).collect();
    let file = json!({"id": "f", "version": "1", "name": "n", "permissions": all});
    let snapshot = listed(file).await;
    assert!(!snapshot.metadata.permissions_known && of(&snapshot).is_empty());
    assert_eq!(
        snapshot.metadata.permissions_left_out as usize,
        PERMISSIONS_MAX + 1
    );
}

#[tokio::test]
async fn a_permission_without_an_id_makes_its_entry_unreadable() {
    let file = json!({
        "id": "f", "version": "1", "name": "n",
        "permissions": [{"type": "user", "role": "reader"}],
    });
    let fake = Fake::answering([ok(&json!({"files": [file]}))]);
    let page = fake.client().list_files(&Scope::User, None).await.unwrap();
    let [Listed::Unreadable(unreadable)] = page.files.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!(unreadable.reason, "a permission without an id");
}

#[tokio::test]
async fn the_permissions_of_a_shared_drive_item_are_listed_page_by_page() {
    let member = json!({"id": "b", "type": "user", "role": "writer", "emailAddress": "bo@b.c",
        "permissionDetails": [
        {"permissionType": "member", "role": "reader", "inherited": true,
            "inheritedFrom": "0ADrive"},
        {"permissionType": "file", "role": "writer", "inherited": false}]});
    let group = json!({"id": "a", "type": "group", "role": "organizer", "emailAddress": "all@b.c",
        "permissionDetails": [{"permissionType": "member", "role": "organizer", "inherited": true,
            "inheritedFrom": "0ADrive"}]});
    let fake = Fake::answering([
        ok(&json!({"nextPageToken": "2", "permissions": [member]})),
        ok(&json!({"permissions": [group]})),
    ]);
    let snapshot = listed(item(true)).await;
    let with = fake
        .client()
        .with_permissions(snapshot.clone())
        .await
        .unwrap();
    assert!(with.metadata.permissions_known);
    assert_eq!(
        of(&with),
        [("user:bo@b.c".to_owned(), Value::text("writer"))]
    );
    let inherited = with.metadata.permission("group:all@b.c").unwrap();
    assert!(inherited.inherited && !inherited.direct);
    assert_eq!(inherited.inherited_from.as_deref(), Some("0ADrive"));
    let asked = fake.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].uri().path(), "/drive/v3/files/f1/permissions");
    let tokens: Vec<_> = asked
        .iter()
        .map(|request| {
            query(request)
                .into_iter()
                .find(|(name, _)| name == "pageToken")
        })
        .collect();
    assert_eq!(
        tokens,
        [None, Some(("pageToken".to_owned(), "2".to_owned()))]
    );
    // No request is repeated.
    assert_eq!(
        fake.client().with_permissions(with.clone()).await.unwrap(),
        with
    );
}

#[tokio::test]
async fn a_denied_permission_listing_leaves_them_unknown() {
    let snapshot = listed(item(true)).await;
    for refusal in [
        google_error(403, "insufficientFilePermissions", None),
        google_error(404, "notFound", None),
    ] {
        let fake = Fake::answering([refusal]);
        let with = fake.client().with_permissions(snapshot.clone()).await;
        assert_eq!(with.unwrap(), snapshot);
    }
    for failure in [
        google_error(403, "userRateLimitExceeded", None),
        google_error(500, "backendError", None),
    ] {
        let fake = Fake::answering([failure]);
        assert!(
            fake.client()
                .with_permissions(snapshot.clone())
                .await
                .is_err()
        );
    }
}

/// A file with a direct role of Bo, and an inherited one of Cy.
async fn shared() -> Snapshot {
    listed(
        json!({"id": "f1", "version": "1", "name": "n", "permissions": [
            {"id": "b/1", "type": "user", "role": "reader", "emailAddress": "bo@b.c"},
            {"id": "c1", "type": "user", "role": "reader", "emailAddress": "cy@b.c",
             "permissionDetails": [{"role": "reader", "inherited": true}]},
        ]}),
    )
    .await
}

const BO: &str = "user:bo@b.c";

fn direct<'s>(read: &'s Snapshot, principal: &str) -> Option<&'s ObservedPermission> {
    let shown = read.metadata.permission(principal);
    shown.filter(|permission| permission.direct)
}

#[tokio::test]
async fn a_grant_returns_the_permission_that_drive_answered_with() {
    let read = shared().await;
    let granted = json!({"id": "a1", "type": "user", "role": "reader", "emailAddress": "Ann@B.c",
        "permissionDetails": [{"role": "writer", "inherited": true},
            {"role": "reader", "inherited": false}]});
    let fake = Fake::answering([answer(200, &granted)]);
    let (alias, writer) = ("user:a.smith@b.c", Value::text("writer"));
    let client = fake.client();
    let answer = client.write_permission(&read.file, None, alias, &writer);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(
        (
            answer.principal.as_str(),
            answer.id.as_str(),
            answer.role.as_str()
        ),
        ("user:ann@b.c", "a1", "reader")
    );
    assert!(answer.direct && answer.inherited);
}

#[tokio::test]
async fn a_role_is_created_updated_or_deleted_as_needed() {
    let writer = Value::text("writer");
    let table = [
        (
            "user:bo@b.c",
            writer.clone(),
            "PATCH",
            "/permissions/b%2F1",
            json!({"role": "writer"}),
        ),
        (
            "user:bo@b.c",
            Value::Null,
            "DELETE",
            "/permissions/b%2F1",
            Json::Null,
        ),
        (
            "user:cy@b.c",
            writer.clone(),
            "POST",
            "/permissions",
            json!({"type": "user", "role": "writer", "emailAddress": "cy@b.c"}),
        ),
        (
            "group:g@b.c",
            writer.clone(),
            "POST",
            "/permissions",
            json!({"type": "group", "role": "writer", "emailAddress": "g@b.c"}),
        ),
        (
            "domain:b.c",
            writer.clone(),
            "POST",
            "/permissions",
            json!({"type": "domain", "role": "writer", "domain": "b.c"}),
        ),
        (
            "anyone",
            writer,
            "POST",
            "/permissions",
            json!({"type": "anyone", "role": "writer"}),
        ),
    ];
    let read = shared().await;
    for (principal, role, verb, path, body) in table {
        let fake = Fake::answering([answer(200, &json!({"id": "x"}))]);
        fake.client()
            .write_permission(&read.file, direct(&read, principal), principal, &role)
            .await
            .unwrap();
        let request = fake.only_request();
        assert_eq!(request.method(), verb, "{principal}");
        assert_eq!(request.uri().path(), format!("/drive/v3/files/f1{path}"));
        let sent = serde_json::from_slice(request.body()).unwrap_or(Json::Null);
        assert_eq!(sent, body);
        let query = query(&request);
        assert!(query.contains(&("supportsAllDrives".to_owned(), "true".to_owned())));
        let silent = query.contains(&("sendNotificationEmail".to_owned(), "false".to_owned()));
        let to_somebody =
            verb == "POST" && (principal.starts_with("user") || principal.starts_with("group"));
        assert_eq!(silent, to_somebody, "no notification e-mail: {principal}");
    }
}

#[tokio::test]
async fn an_absent_or_unwritable_permission_sends_no_request() {
    let fake = Fake::answering([]);
    let read = shared().await;
    let client = fake.client();
    client
        .write_permission(&read.file, None, "user:cy@b.c", &Value::Null)
        .await
        .unwrap();
    let error = client
        .write_permission(&read.file, None, "id:9", &Value::text("reader"))
        .await
        .unwrap_err();
    assert_eq!(
        *error.kind(),
        Kind::Permanent {
            reason: "notWritable".to_owned()
        }
    );
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_permission_that_was_removed_meanwhile_is_stale() {
    let read = shared().await;
    let fake = Fake::answering([google_error(404, "notFound", None)]);
    let error = fake
        .client()
        .write_permission(&read.file, direct(&read, BO), BO, &Value::Null)
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), Kind::Stale);
    for (reason, lasts) in [
        ("cannotModifyInheritedTeamDrivePermission", false),
        ("invalidSharingRequest", true),
        ("insufficientFilePermissions", false),
    ] {
        let fake = Fake::answering([google_error(403, reason, None)]);
        let error = fake
            .client()
            .write_permission(&read.file, direct(&read, BO), BO, &Value::Null)
            .await
            .unwrap_err();
        let refusal = match lasts {
            true => domain::Refusal::Permanent(reason.to_owned()),
            false => domain::Refusal::Passing(reason.to_owned()),
        };
        assert_eq!(error.refusal(), refusal);
    }
    assert_eq!(read.version, DriveVersion(1));
}
