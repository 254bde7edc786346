//! v3 `files`.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use super::{FOLDER, World};

#[tokio::test]
async fn the_default_fields_are_few_and_a_selection_is_exact() {
    let world = World::new();
    let id = world.file("a.txt");
    let plain = world.get(&format!("/drive/v3/files/{id}")).await.ok();
    assert_eq!(
        plain,
        json!({
            "kind": "drive#file", "id": id, "name": "a.txt", "mimeType": "application/octet-stream",
        })
    );
    let some = world
        .get(&format!(
            "/drive/v3/files/{id}?fields=size,owners/me,md5Checksum"
        ))
        .await
        .ok();
    assert_eq!(
        some,
        json!({
            "size": "7", "owners": [{"me": true}],
            "md5Checksum": "9a0364b9e99bb480dd25e1f0284c8555",
        })
    );
    let refusal = world
        .get(&format!("/drive/v3/files/{id}?fields=id,etag"))
        .await;
    assert_eq!(refusal.refused(), (400, "invalidParameter".to_owned()));
}

#[tokio::test]
async fn an_invalid_selection_executes_nothing() {
    let world = World::new();
    let reply = world
        .call(
            "POST",
            "/drive/v3/files?fields=nonsense",
            json!({"name": "x"}),
        )
        .await;
    assert_eq!(reply.refused(), (400, "invalidParameter".to_owned()));
    assert_eq!(world.simulator.totals().files, 0);
}

#[tokio::test]
async fn the_root_has_an_alias_and_is_not_listed() {
    let world = World::new();
    let root = world
        .get("/drive/v3/files/root?fields=id,name,parents")
        .await
        .ok();
    assert_eq!(
        root,
        json!({"id": world.simulator.root_id("owner"), "name": "My Drive"})
    );
    let id = world.file("a");
    let listed = world
        .get("/drive/v3/files?q='root'+in+parents&fields=files(id)")
        .await
        .ok();
    assert_eq!(listed, json!({"files": [{"id": id}]}));
    assert_eq!(
        world.get("/drive/v3/files?fields=files(id)").await.ok(),
        json!({"files": [{"id": id}]})
    );
}

#[tokio::test]
async fn the_library_is_shared_with_everyone_and_other_my_drives_with_no_one() {
    let world = World::new();
    let id = world.file("a");
    let path = format!(
        "/drive/v3/files/{id}?fields=ownedByMe,shared,capabilities(canEdit,canTrash,canDelete)"
    );
    let seen = world.call_as("alice", "GET", &path, Value::Null);
    assert_eq!(
        seen.await.ok(),
        json!({
            "ownedByMe": false, "shared": true,
            "capabilities": {"canEdit": true, "canTrash": false, "canDelete": false},
        })
    );
    let private = world
        .simulator
        .create_folder("alice", "private", None)
        .expect("made");
    assert_eq!(
        world
            .get(&format!("/drive/v3/files/{private}"))
            .await
            .refused(),
        (404, "notFound".to_owned())
    );
    let trash = world
        .call_as(
            "alice",
            "PATCH",
            &format!("/drive/v3/files/{id}"),
            json!({"trashed": true}),
        )
        .await;
    assert_eq!(
        trash.refused(),
        (403, "insufficientFilePermissions".to_owned())
    );
}

#[tokio::test]
async fn a_star_belongs_to_one_user() {
    let world = World::new();
    let path = format!("/drive/v3/files/{}?fields=starred", world.file("a"));
    assert_eq!(
        world
            .call_as("alice", "PATCH", &path, json!({"starred": true}))
            .await
            .ok(),
        json!({"starred": true})
    );
    assert_eq!(world.get(&path).await.ok(), json!({"starred": false}));
}

#[tokio::test]
async fn a_move_keeps_one_parent_and_cannot_create_a_cycle() {
    let world = World::new();
    let (outer, root) = (
        world.folder("outer", None),
        world.simulator.root_id("owner"),
    );
    let inner = world.folder("inner", Some(&outer));
    let moved = |id: &str, to: &str, from: &str| {
        format!("/drive/v3/files/{id}?addParents={to}&removeParents={from}&fields=parents")
    };
    let cycle = world
        .call("PATCH", &moved(&outer, &inner, &root), json!({}))
        .await;
    assert_eq!(cycle.refused(), (400, "invalid".to_owned()));
    assert_eq!(
        world
            .call("PATCH", &moved(&outer, &outer, &root), json!({}))
            .await
            .refused()
            .0,
        400
    );
    let add = format!("/drive/v3/files/{inner}?addParents={root}&fields=parents");
    let added = world.call_as("alice", "PATCH", &add, json!({})).await;
    assert_eq!(added.refused(), (403, "cannotAddParent".to_owned()));
    let there = json!({"parents": [root]});
    assert_eq!(world.call("PATCH", &add, json!({})).await.ok(), there);
    let back = moved(&inner, &outer, "root");
    world.call("PATCH", &back, json!({})).await.ok();
    let again = moved(&inner, "root", &outer);
    assert_eq!(world.call("PATCH", &again, json!({})).await.ok(), there);
    let file = world.file("a");
    assert_eq!(
        world
            .call("PATCH", &moved(&outer, &file, &root), json!({}))
            .await
            .refused()
            .0,
        403
    );
    let here = world
        .get(&format!(
            "/drive/v3/files?q='{outer}'+in+parents&fields=files(id)"
        ))
        .await
        .ok();
    assert_eq!(here, json!({"files": []}));
}

#[tokio::test]
async fn values_beyond_drives_limits_are_refused_and_change_nothing() {
    let world = World::new();
    let id = world.file("a");
    let before = world.simulator.file(&id);
    for body in [
        json!({"name": "b", "properties": {"k": "v".repeat(124)}}),
        json!({"name": "b", "modifiedTime": "yesterday"}),
        json!({"name": 5}),
        json!({"name": "b", "unknownMember": 1}),
        json!(["name"]),
    ] {
        let reply = world
            .call("PATCH", &format!("/drive/v3/files/{id}"), body.clone())
            .await;
        assert_eq!(reply.refused().0, 400, "{body}");
    }
    for body in [
        json!({"parents": ["root"]}),
        json!({"id": "x"}),
        json!({"size": "1"}),
    ] {
        let reply = world
            .call("PATCH", &format!("/drive/v3/files/{id}"), body.clone())
            .await;
        assert_eq!(
            reply.refused(),
            (403, "fieldNotWritable".to_owned()),
            "{body}"
        );
    }
    assert_eq!(world.simulator.file(&id), before);
    let limit = json!({"properties": {"k": "v".repeat(123)}});
    assert!(
        world
            .call("PATCH", &format!("/drive/v3/files/{id}"), limit)
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn writing_the_current_value_keeps_the_version_and_a_change_increases_it() {
    let world = World::new();
    let id = world.file("a");
    let version = || world.simulator.file(&id).expect("there").version;
    let before = version();
    world
        .call(
            "PATCH",
            &format!("/drive/v3/files/{id}"),
            json!({"name": "a", "starred": false, "description": ""}),
        )
        .await
        .ok();
    assert_eq!(version(), before);
    world
        .call(
            "PATCH",
            &format!("/drive/v3/files/{id}"),
            json!({"name": "b"}),
        )
        .await
        .ok();
    assert!((1..=3).contains(&(version() - before)));
}

#[tokio::test]
async fn a_file_id_can_be_used_once() {
    let world = World::new();
    let ids = world.get("/drive/v3/files/generateIds?count=2").await.ok();
    let id = ids["ids"][0].as_str().expect("an id");
    let body = json!({"id": id, "name": "a"});
    assert_eq!(
        world
            .call("POST", "/drive/v3/files", body.clone())
            .await
            .ok()["id"],
        id
    );
    assert_eq!(
        world.call("POST", "/drive/v3/files", body).await.refused(),
        (409, "fileIdInUse".to_owned())
    );
}

#[tokio::test]
async fn deleting_a_folder_deletes_everything_below_it() {
    let world = World::new();
    let outer = world.folder("outer", None);
    let inner = world.folder("inner", Some(&outer));
    let file = world
        .simulator
        .create_file("owner", "a", Some(&inner), bytes::Bytes::new())
        .expect("made");
    let token = world.start_token("owner", "").await;
    world
        .call("DELETE", &format!("/drive/v3/files/{outer}"), Value::Null)
        .await
        .ok();
    assert_eq!(
        world
            .get(&format!("/drive/v3/files/{file}"))
            .await
            .refused(),
        (404, "notFound".to_owned())
    );
    let (mut changes, _) = world.changes("owner", token, "").await;
    changes.sort();
    let mut expected = vec![(outer, true), (inner, true), (file, true)];
    expected.sort();
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn emptying_the_trash_deletes_only_trashed_items() {
    let world = World::new();
    let (kept, binned) = (world.file("kept"), world.file("binned"));
    world
        .call(
            "PATCH",
            &format!("/drive/v3/files/{binned}"),
            json!({"trashed": true}),
        )
        .await
        .ok();
    world
        .call("DELETE", "/drive/v3/files/trash", Value::Null)
        .await
        .ok();
    assert!(world.simulator.file(&binned).is_none());
    assert!(world.simulator.file(&kept).is_some());
}

#[tokio::test]
async fn range_requests_follow_http() {
    let world = World::new();
    let path = format!("/drive/v3/files/{}?alt=media", world.file("a"));
    let ranged = async |range: &str| {
        let request = Request::get(&path)
            .header(header::AUTHORIZATION, "Bearer user:owner")
            .header(header::RANGE, range);
        world
            .send(request.body(Body::empty()).expect("a request"))
            .await
    };
    let part = ranged("bytes=1-3").await;
    assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &b"ont"[..]));
    assert_eq!(part.headers[header::CONTENT_RANGE], "bytes 1-3/7");
    assert_eq!(
        ranged("bytes=7-").await.refused(),
        (416, "requestedRangeNotSatisfiable".to_owned())
    );
    assert_eq!(&world.get(&path).await.bytes[..], b"content");
}

#[tokio::test]
async fn a_sorted_list_returns_every_item_once() {
    let world = World::new();
    for name in ["c", "a", "e", "b", "d"] {
        world.file(name);
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    for _ in 0..5 {
        let query = "orderBy=name+desc&pageSize=2&fields=nextPageToken,files(name)";
        let path = format!("/drive/v3/files?{query}&pageToken={token}");
        let page = world.get(&path).await.ok();
        names.extend(
            page["files"]
                .as_array()
                .expect("files")
                .iter()
                .map(|file| file["name"].as_str().expect("a name").to_owned()),
        );
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        token = next.to_owned();
    }
    assert_eq!(names, ["e", "d", "c", "b", "a"]);
    assert_eq!(
        world
            .get(&format!("/drive/v3/files?pageToken={token}"))
            .await
            .refused(),
        (400, "invalid".to_owned())
    );
}

#[tokio::test]
async fn a_library_is_loaded_from_a_directory_and_read_on_download() {
    let directory = std::env::temp_dir().join(format!("drive-simulator-{}", fastrand::u64(..)));
    std::fs::create_dir_all(directory.join("sub/.git")).expect("made");
    std::fs::write(directory.join("sub/hello.txt"), "hello").expect("written");
    std::fs::write(directory.join("sub/.git/config"), "ignored").expect("written");
    #[cfg(unix)]
    std::os::unix::fs::symlink("hello.txt", directory.join("sub/link")).expect("linked");
    let world = World::beside(Some(&directory));
    let report = world
        .control("POST", "load", json!({"path": directory}))
        .await;
    assert_eq!(
        (&report["files"], &report["folders"], &report["skipped"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let found = world
        .get("/drive/v3/files?q=name+%3D+'hello.txt'&fields=files(id,size,mimeType,md5Checksum)")
        .await
        .ok();
    let file = &found["files"][0];
    assert_eq!(
        (&file["size"], &file["mimeType"]),
        (&json!("5"), &json!("text/plain"))
    );
    assert_eq!(file["md5Checksum"], "5d41402abc4b2a76b9719d911017c592");
    let id = file["id"].as_str().expect("an id");
    assert_eq!(
        &world
            .get(&format!("/drive/v3/files/{id}?alt=media"))
            .await
            .bytes[..],
        b"hello"
    );
    std::fs::remove_dir_all(&directory).expect("removed");
    let missing = world
        .call("POST", "/_control/load", json!({"path": directory}))
        .await;
    assert_eq!(missing.status.as_u16(), 400);
}

#[tokio::test]
async fn a_file_can_be_copied_and_a_folder_cannot() {
    let world = World::new();
    let (file, folder) = (world.file("a"), world.folder("f", None));
    let copy = world
        .call(
            "POST",
            &format!("/drive/v3/files/{file}/copy?fields=name,size,mimeType"),
            json!({"name": "b"}),
        )
        .await
        .ok();
    assert_eq!(
        copy,
        json!({"name": "b", "size": "7", "mimeType": "application/octet-stream"})
    );
    assert_eq!(
        world
            .call("POST", &format!("/drive/v3/files/{folder}/copy"), json!({}))
            .await
            .refused()
            .1,
        "cannotCopyFile"
    );
    let shortcut = json!({"name": "s", "shortcutDetails": {"targetId": folder}});
    let made = world
        .call(
            "POST",
            "/drive/v3/files?fields=shortcutDetails,size",
            shortcut,
        )
        .await
        .ok();
    assert_eq!(
        made,
        json!({"shortcutDetails": {"targetId": folder, "targetMimeType": FOLDER}})
    );
}
