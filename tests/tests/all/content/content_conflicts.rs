//! Conflicts on content: open, kept as two files, merged.

use domain::content::{ContentHash, ObjectKey, ObjectLocation, StoredObject};
use domain::{ConnectionId, ConnectionKey};
use http::Method;
use serde_json::{Value, json};

use super::over_http::{contents, downloaded, problem, put, sha256, unique, upload_ok, version};
use crate::support::{Answer, World, both_rename, own};

/// Opens a conflict on content, with these sides. Drive rejects uploads of the file, so that it
/// stays open.
pub(super) async fn open_conflict(
    world: &World,
    base: &str,
    app: &str,
    drive: &str,
) -> (String, Value) {
    let file = world.take();
    let path = format!("* /upload/drive/*/files/{file}*");
    world.fault(json!({"match": path, "times": 0, "respond": {"status": 503}}));
    let before = version(world, &file).await;
    let replace = |text: &str| {
        let done = world
            .simulator
            .replace_content("owner", &file, text.to_owned().into());
        assert!(done.is_ok());
    };
    replace(base);
    world
        .file_until("Drive's content", &file, |seen| {
            seen["content"]["sha256"] == sha256(base.as_bytes())
        })
        .await;
    assert!(version(world, &file).await > before);
    upload_ok(world, &file, app.as_bytes()).await;
    replace(drive);
    let conflict = world.conflict_on(&file, "content").await;
    (file, conflict)
}

/// Resolves a conflict once Drive's side has been brought here.
async fn brought(world: &World, path: &str, body: Value) -> Answer {
    crate::support::eventually("Drive's side is stored here", async || {
        let answer = world.api(Method::POST, path, &[], Some(body.clone())).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

#[test]
fn a_conflict_on_content_holds_the_field_and_both_sides_can_be_kept() {
    contents(async |world| {
        let mark = String::from_utf8(unique("both")).unwrap();
        let (base, app, drive) = (format!("{mark}0"), format!("{mark}a"), format!("{mark}d"));
        let (file, conflict) = open_conflict(world, &base, &app, &drive).await;
        let number = version(world, &file).await;
        let held = put(world, &file, number, b"more").await;
        problem(&held, 409, "conflict-open");
        assert_eq!(held.body["conflicts"][0], conflict["id"]);

        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let choose = async |headers: &[(&str, &str)], body: Value| {
            world.api(Method::POST, &path, headers, Some(body)).await
        };
        let moved = choose(&[("if-match", "\"77\"")], json!({"choose": "both"})).await;
        problem(&moved, 409, "conflict-moved");
        let nowhere = choose(&[], json!({"value": "0".repeat(64)})).await;
        problem(&nowhere, 422, "value-not-allowed");
        let key = [("idempotency-key", "keep-both")];
        let kept = choose(&key, json!({"choose": "both"})).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
        assert_eq!(kept.body["status"], "resolving");
        assert_eq!(kept.body["resolution"]["choose"], "both");
        let copy = kept.body["resolution"]["copy"].as_str().unwrap();
        let again = choose(&key, json!({"choose": "both"})).await;
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.body["resolution"]["copy"], copy);
        crate::support::eventually("the conflict is resolved", async || {
            let id = conflict["id"].as_str().unwrap();
            let seen = world.get(&format!("/conflicts/{id}")).await;
            (seen["status"] == "resolved").then_some(())
        })
        .await;
        assert_eq!(
            world.file(&file).await["content"]["sha256"],
            sha256(drive.as_bytes())
        );
        let copied = world.file(copy).await;
        assert_eq!(copied["content"]["sha256"], sha256(app.as_bytes()));
        assert!(
            copied["fields"]["name"]
                .as_str()
                .unwrap()
                .contains("(conflicted copy you ")
        );
        assert_eq!(downloaded(world, copy, 1).await, app.as_bytes());
        let ended = choose(&[], json!({"choose": "both"})).await;
        problem(&ended, 409, "conflict-ended");
    });
}

#[test]
fn regression_texts_changed_on_both_sides_are_merged_if_no_lines_clash() {
    contents(async |world| {
        let mark = String::from_utf8(unique("merge")).unwrap();
        let text = |first: &str, last: &str| format!("{first}\n{mark}2\n3\n4\n5\n{last}\n");
        let (base, app, drive) = (text("1", "6"), text("one", "6"), text("1", "six"));
        let (file, conflict) = open_conflict(world, &base, &app, &drive).await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let merge = json!({"choose": "merge"});
        let merged = brought(world, &path, merge.clone()).await;
        assert_eq!(merged.status, 200, "{}", merged.body);
        let whole = text("one", "six");
        assert_eq!(
            world.file(&file).await["content"]["sha256"],
            sha256(whole.as_bytes())
        );

        let clashing = [text("eins", "6"), text("uno", "6")];
        let (file, conflict) = open_conflict(world, &base, &clashing[0], &clashing[1]).await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let clashed = brought(world, &path, merge).await;
        problem(&clashed, 409, "merge-clashes");
        assert_eq!(clashed.body["clashes"], 1);
        let still = world.conflict_on(&file, "content").await;
        assert_eq!(still["id"], conflict["id"]);
    });
}

#[test]
fn regression_a_decision_names_only_content_that_its_connection_holds() {
    contents(async |world| {
        let mark = String::from_utf8(unique("held")).unwrap();
        let (base, app, drive) = (format!("{mark}0"), format!("{mark}a"), format!("{mark}d"));
        let (_, conflict) = open_conflict(world, &base, &app, &drive).await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let decide = async |hash: &str| {
            let body = Some(json!({"value": hash}));
            world.api(Method::POST, &path, &[], body).await
        };

        // The tenant has it, by another connection.
        let theirs = sha256(format!("{mark} of another connection").as_bytes());
        let hash = ContentHash::parse(&theirs).unwrap();
        let tenant = &world.key.tenant;
        let place = ObjectLocation::plain(ObjectKey::content(tenant, &hash, 7), 1);
        let later = world.now().plus_millis(86_400_000);
        let object = StoredObject::new(hash, place, 1, world.now(), later);
        let store = world.store();
        store.put_object_if_absent(tenant, &object).await.unwrap();
        let other = ConnectionKey {
            connection: ConnectionId::parse("c_other").unwrap(),
            ..world.key.clone()
        };
        store.hold_object(&other, &hash).await.unwrap();
        let foreign = decide(&theirs).await;
        problem(&foreign, 422, "value-not-allowed");

        // What was brought to another file of this connection may be named.
        let ours = format!("{mark} merged by hand");
        upload_ok(world, &world.take(), ours.as_bytes()).await;
        let decided = decide(&sha256(ours.as_bytes())).await;
        assert_eq!(decided.status, 200, "{}", decided.body);
    });
}

#[test]
fn only_a_conflict_on_content_can_be_merged_or_kept_twice() {
    own(async |world| {
        let file = world.take();
        let conflict = both_rename(world, &file).await;
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        for how in ["both", "merge"] {
            let refused = world
                .api(Method::POST, &path, &[], Some(json!({"choose": how})))
                .await;
            assert_eq!(
                (refused.status, &refused.body["pointer"]),
                (422, &json!("/choose"))
            );
        }
    });
}
