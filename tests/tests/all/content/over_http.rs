//! Content over the HTTP API: uploaded, listed, downloaded, restored.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::support::{Answer, Setup, World, own, run};

/// Runs a test in the shared world whose connection mirrors content. It takes files of its own and
/// affects no other test.
pub(super) fn contents(test: impl AsyncFnOnce(&'static World)) {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    run(async {
        let start = async || {
            let setup = Setup {
                files: 48,
                ..Setup::default()
            };
            let world = World::start(setup).await;
            world.configure(json!({"content": {"enabled": true}})).await;
            world
        };
        test(WORLD.get_or_init(start).await).await;
    });
}

pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns bytes that no other test uses.
pub(super) fn unique(what: &str) -> Vec<u8> {
    static DRAWN: AtomicUsize = AtomicUsize::new(0);
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    format!("{what} {number}\n").into_bytes()
}

pub(super) async fn send(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    bytes: &[u8],
) -> Answer {
    let url = format!(
        "{}/v1/connections/{}{path}",
        world.api_url, world.connection
    );
    let mut request = world.http.post(url).body(bytes.to_vec());
    request = request.header("authorization", format!("Bearer {}", world.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.json().await.unwrap_or(Value::Null),
    }
}

/// Uploads content with its hash.
pub(super) async fn put(world: &World, file: &str, expected: u64, bytes: &[u8]) -> Answer {
    let path = format!("/files/{file}/content?expected_version={expected}");
    let headers = [
        ("content-type", "text/plain"),
        ("content-sha256", &*sha256(bytes)),
    ];
    send(world, &path, &headers, bytes).await
}

/// Uploads content, expects success, and returns its version.
pub(super) async fn upload_ok(world: &World, file: &str, bytes: &[u8]) -> u64 {
    let expected = version(world, file).await;
    let answer = put(world, file, expected, bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["content"]["sha256"], sha256(bytes));
    answer.body["content"]["version"].as_u64().unwrap()
}

pub(super) async fn version(world: &World, file: &str) -> u64 {
    let file = world.file(file).await;
    file["content"]["version"].as_u64().unwrap_or(0)
}

/// Returns the listed version of a number.
async fn listed(world: &World, file: &str, number: u64) -> Value {
    let all = world
        .get(&format!("/files/{file}/versions?limit=1000"))
        .await;
    let items = all["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["number"] == number);
    found.unwrap_or_else(|| panic!("{number} of {all}")).clone()
}

pub(super) async fn downloaded(world: &World, file: &str, number: u64) -> Vec<u8> {
    let shown = world
        .get(&format!("/files/{file}/content?version={number}"))
        .await;
    assert_eq!(shown["version"], number, "{shown}");
    let answer = world.http.get(shown["url"].as_str().unwrap()).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let saved = answer.headers()["content-disposition"].to_str().unwrap();
    assert!(saved.starts_with("attachment"), "{saved}");
    let bytes = answer.bytes().await.unwrap().to_vec();
    assert_eq!(shown["sha256"], sha256(&bytes));
    assert_eq!(shown["size_bytes"], bytes.len());
    bytes
}

pub(super) fn problem(answer: &Answer, status: u16, word: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let named = format!("urn:drivesync:problem:{word}");
    assert_eq!(answer.body["type"], named, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
}

#[test]
fn uploaded_content_is_a_version_that_is_listed_and_downloaded() {
    contents(async |world| {
        let file = world.take();
        let before = version(world, &file).await;
        let bytes = unique("upload_ok");
        let number = upload_ok(world, &file, &bytes).await;
        assert_eq!(number, before + 1);
        let shown = listed(world, &file, number).await;
        assert_eq!(shown["sha256"], sha256(&bytes));
        assert_eq!(shown["size_bytes"], bytes.len());
        assert_eq!(shown["origin"], "application");
        assert_eq!(shown["by"], "you");
        assert_eq!(
            (&shown["pinned"], &shown["current"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(downloaded(world, &file, number).await, bytes);
        let current = world.get(&format!("/files/{file}/content")).await;
        assert_eq!(current["version"], number);

        let empty = upload_ok(world, &file, b"").await;
        assert_eq!(downloaded(world, &file, empty).await, b"");
        let again = upload_ok(world, &file, &bytes).await;
        assert_eq!(
            again,
            number + 2,
            "what was there before is a version of its own"
        );
        assert_eq!(listed(world, &file, number).await["current"], false);
    });
}

#[test]
fn identical_content_is_no_new_version_and_a_repeat_is_replayed() {
    contents(async |world| {
        let file = world.take();
        let bytes = unique("once");
        let before = version(world, &file).await;
        let path = format!("/files/{file}/content?expected_version={before}");
        let hash = sha256(&bytes);
        let headers = [("content-sha256", &*hash), ("idempotency-key", "k-once")];
        let first = send(world, &path, &headers, &bytes).await;
        assert_eq!(first.status, 200, "{}", first.body);
        let repeated = send(world, &path, &headers, &bytes).await;
        assert_eq!(repeated.status, 200, "{}", repeated.body);
        assert_eq!(repeated.headers["idempotent-replayed"], "true");
        assert_eq!(repeated.body["content"]["version"], before + 1);
        let other = unique("another");
        let hash = sha256(&other);
        let headers = [("content-sha256", &*hash), ("idempotency-key", "k-once")];
        let reused = send(world, &path, &headers, &other).await;
        problem(&reused, 422, "idempotency-key-reused");

        let same = put(world, &file, before + 1, &bytes).await;
        assert_eq!(same.status, 200, "{}", same.body);
        assert_eq!(same.body["content"]["version"], before + 1);
    });
}

#[test]
fn content_is_rejected_if_hash_version_or_size_differ() {
    contents(async |world| {
        let file = world.take();
        let bytes = unique("refused");
        let now = version(world, &file).await;
        let hash = sha256(&bytes);
        let path = format!("/files/{file}/content");
        let expecting = format!("{path}?expected_version={now}");
        let said = [("content-sha256", &*hash)];

        let wrong = send(world, &expecting, &said, b"something else").await;
        problem(&wrong, 400, "content-hash-mismatch");
        for headers in [&[][..], &[("content-sha256", "abc")]] {
            let unsaid = send(world, &expecting, headers, &bytes).await;
            problem(&unsaid, 400, "malformed-request");
        }
        let unconditional = send(world, &path, &said, &bytes).await;
        problem(&unconditional, 428, "condition-required");
        let other = put(world, &file, now + 1, &bytes).await;
        problem(&other, 409, "version-mismatch");
        assert_eq!(other.body["current_version"], now);
        assert_eq!(other.body["current"]["id"], file.as_str());
        let stale = [("content-sha256", &*hash), ("if-match", "\"99999\"")];
        problem(&send(world, &path, &stale, &bytes).await, 412, "stale");
        let large = vec![b'a'; 4 * 1024 * 1024 + 1];
        let large = put(world, &file, now, &large).await;
        problem(&large, 413, "body-too-large");
        assert!(large.body["detail"].as_str().unwrap().contains("uploads"));
        assert_eq!(version(world, &file).await, now, "nothing of it was taken");

        let folder = json!({"name": "f", "mime_type": "application/vnd.google-apps.folder"});
        let folder = world.post("/files", folder).await["id"].clone();
        let refused = put(world, folder.as_str().unwrap(), 0, &bytes).await;
        problem(&refused, 422, "value-not-allowed");
        problem(&put(world, "1none", 0, &bytes).await, 404, "not-found");

        let query = format!("{path}?content_hash={hash}");
        let by_tag = send(world, &query, &[("if-match", "*")], &bytes).await;
        assert_eq!(by_tag.status, 200, "{}", by_tag.body);
    });
}

#[test]
fn of_twenty_concurrent_uploads_exactly_one_wins() {
    contents(async |world| {
        let file = world.take();
        let now = version(world, &file).await;
        let mut racers = JoinSet::new();
        for racer in 0..20 {
            let file = file.clone();
            racers.spawn(async move {
                let bytes = unique(&format!("racer {racer}"));
                (put(world, &file, now, &bytes).await, bytes)
            });
        }
        let mut winners = Vec::new();
        while let Some(raced) = racers.join_next().await {
            let (answer, bytes) = raced.unwrap();
            if answer.status == 200 {
                winners.push(bytes);
            } else {
                problem(&answer, 409, "version-mismatch");
            }
        }
        let [winner] = winners.as_slice() else {
            panic!("{} won", winners.len())
        };
        assert_eq!(version(world, &file).await, now + 1);
        assert_eq!(&downloaded(world, &file, now + 1).await, winner);
    });
}

#[test]
fn content_is_rejected_while_the_connection_mirrors_none() {
    own(async |world| {
        let file = world.take();
        let answer = put(world, &file, version(world, &file).await, b"x").await;
        problem(&answer, 409, "content-off");
        assert!(answer.body["detail"].as_str().unwrap().contains("PATCH"));
        let answer = world
            .api(Method::GET, &format!("/files/{file}/content"), &[], None)
            .await;
        problem(&answer, 404, "content-not-stored");
        assert_eq!(answer.body["content"]["state"], "off");
        let made = json!({
            "name": "a.txt", "mime_type": "text/plain",
            "content": {"text": "a"}, "content_hash": sha256(b"a"),
        });
        let answer = world.api(Method::POST, "/files", &[], Some(made)).await;
        problem(&answer, 409, "content-off");
        let versions = world.get(&format!("/files/{file}/versions")).await;
        assert_eq!(versions["items"], json!([]));
        let missing = world
            .api(
                Method::GET,
                &format!("/files/{file}/content?version=999"),
                &[],
                None,
            )
            .await;
        problem(&missing, 404, "not-found");
    });
}

#[test]
fn a_file_is_created_with_its_content() {
    contents(async |world| {
        let text = String::from_utf8(unique("made with")).unwrap();
        let of = |content: Value, hash: String, expected: Value| {
            json!({
                "name": "made.txt", "mime_type": "text/plain",
                "content": content, "content_hash": hash, "expected_version": expected,
            })
        };
        let hash = sha256(text.as_bytes());
        let make = async |body: Value| world.api(Method::POST, "/files", &[], Some(body)).await;
        let made = make(of(json!({"text": text}), hash.clone(), json!(0))).await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(made.body["content"], json!({"version": 1, "sha256": hash}));
        let id = made.body["id"].as_str().unwrap();
        assert_eq!(downloaded(world, id, 1).await, text.as_bytes());

        let bytes = [0_u8, 159, 146, 150];
        let base64 = json!({"base64": STANDARD.encode(bytes)});
        let made = make(of(base64, sha256(&bytes), Value::Null)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.body["id"].as_str().unwrap();
        assert_eq!(downloaded(world, id, 1).await, bytes);

        let other = make(of(json!({"text": text}), hash.clone(), json!(1))).await;
        problem(&other, 409, "version-mismatch");
        assert_eq!(other.body["current_version"], 0);
        let wrong = make(of(json!({"text": "else"}), hash.clone(), json!(0))).await;
        problem(&wrong, 400, "content-hash-mismatch");
        for (content, pointer) in [
            (json!({"text": "a", "base64": "YQ=="}), "/content"),
            (json!({}), "/content"),
            (json!({"base64": "!"}), "/content/base64"),
            (json!({"bytes": "a"}), "/content/bytes"),
        ] {
            let refused = make(of(content, hash.clone(), json!(0))).await;
            assert_eq!(refused.status, 422, "{}", refused.body);
            assert_eq!(refused.body["pointer"], pointer, "{}", refused.body);
        }
        let mut folder = of(json!({"text": text}), hash, json!(0));
        folder["mime_type"] = json!("application/vnd.google-apps.folder");
        problem(&make(folder).await, 422, "value-not-allowed");
    });
}

#[test]
fn a_version_is_restored_as_a_new_one_with_author_and_reason() {
    contents(async |world| {
        let file = world.take();
        let (old, new) = (unique("old"), unique("new"));
        let first = upload_ok(world, &file, &old).await;
        let second = upload_ok(world, &file, &new).await;
        let path = format!("/files/{file}/restore");
        let restore = async |headers: &[(&str, &str)], body: Value| {
            world.api(Method::POST, &path, headers, Some(body)).await
        };
        let asked =
            json!({"version": first, "reason": "it was better", "expected_version": second});
        let answer = restore(&[("idempotency-key", "back")], asked.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let third = answer.body["content"]["version"].as_u64().unwrap();
        assert_eq!(third, second + 1);
        assert_eq!(answer.body["content"]["sha256"], sha256(&old));
        let shown = listed(world, &file, third).await;
        assert_eq!(
            (&shown["by"], &shown["reason"]),
            (&json!("you"), &json!("it was better"))
        );
        assert_eq!(downloaded(world, &file, third).await, old);
        let again = restore(&[("idempotency-key", "back")], asked).await;
        assert_eq!(again.headers["idempotent-replayed"], "true");

        let unseen = restore(&[], json!({"version": first})).await;
        problem(&unseen, 428, "condition-required");
        let mismatch = restore(&[], json!({"version": first, "expected_version": second})).await;
        problem(&mismatch, 409, "version-mismatch");
        let unknown = restore(&[("if-match", "*")], json!({"version": third + 1})).await;
        problem(&unknown, 404, "not-found");
        let bad = restore(
            &[("if-match", "*")],
            json!({"version": first, "reason": "a\nb"}),
        )
        .await;
        assert_eq!((bad.status, &bad.body["pointer"]), (422, &json!("/reason")));

        let released = world
            .store()
            .release_version(
                &world.key,
                &file_id(&file),
                u32::try_from(second).unwrap(),
                world.now(),
            )
            .await;
        assert_eq!(released.unwrap(), store::Released::Done { last: true });
        let gone = restore(&[("if-match", "*")], json!({"version": second})).await;
        problem(&gone, 410, "version-released");
    });
}

fn file_id(id: &str) -> domain::FileId {
    domain::FileId::parse(id).unwrap()
}

#[test]
fn versions_are_compared_and_pinned() {
    contents(async |world| {
        let file = world.take();
        let mark = String::from_utf8(unique("compared")).unwrap();
        let first = upload_ok(world, &file, format!("{mark}one\ntwo\n").as_bytes()).await;
        let second = upload_ok(world, &file, format!("{mark}one\n2\n").as_bytes()).await;
        let compared = world.get(&format!("/files/{file}/versions/compare")).await;
        assert_eq!(compared["same"], false);
        assert_eq!(
            (&compared["from"]["number"], &compared["to"]["number"]),
            (&json!(first), &json!(second))
        );
        let diff = compared["diff"].as_str().unwrap();
        assert!(diff.contains("\n-two\n+2\n"), "{diff}");
        let same = format!("/files/{file}/versions/compare?from={first}&to={first}");
        let same = world.get(&same).await;
        assert_eq!((&same["same"], &same["diff"]), (&json!(true), &Value::Null));
        let binary = upload_ok(world, &file, &[&[0, 255][..], mark.as_bytes()].concat()).await;
        let compared = world
            .get(&format!("/files/{file}/versions/compare?from={first}"))
            .await;
        assert_eq!(compared["to"]["number"], binary);
        assert_eq!(compared["no_diff"], "one of them is no text");

        let pin = async |number: u64, body: Value| {
            let path = format!("/files/{file}/versions/{number}");
            world.api(Method::PATCH, &path, &[], Some(body)).await
        };
        let pinned = pin(first, json!({"pinned": true})).await;
        assert_eq!((pinned.status, &pinned.body["pinned"]), (200, &json!(true)));
        let number = u32::try_from(first).unwrap();
        let released = world
            .store()
            .release_version(&world.key, &file_id(&file), number, world.now())
            .await;
        assert_eq!(released.unwrap(), store::Released::Pinned);
        let unpinned = pin(first, json!({"pinned": false})).await;
        assert_eq!(unpinned.body["pinned"], false);
        problem(
            &pin(binary + 1, json!({"pinned": true})).await,
            404,
            "not-found",
        );
        let odd = pin(first, json!({"number": 7})).await;
        assert_eq!(odd.status, 422, "{}", odd.body);
    });
}

#[test]
fn fields_are_rolled_back_to_a_version_of_the_history() {
    contents(async |world| {
        let file = world.take();
        let before = world.file(&file).await;
        let name = before["fields"]["name"].clone();
        world.owner().rename(&file, "changed by mistake.txt").await;
        world
            .file_until("the other name", &file, |file| {
                file["fields"]["name"] == "changed by mistake.txt"
            })
            .await;
        let history = world.get(&format!("/files/{file}/history")).await;
        let entries = history["items"].as_array().unwrap();
        let then = entries.iter().find(|entry| entry["fields"]["name"] == name);
        let then = then.unwrap()["version"].clone();
        let path = format!("/files/{file}/rollback");
        let back = async |headers: &[(&str, &str)], body: Value| {
            world.api(Method::POST, &path, headers, Some(body)).await
        };
        let any = [("if-match", "*")];
        let asked = json!({"history_version": then, "reason": "a mistake"});
        problem(&back(&[], asked.clone()).await, 428, "if-match-required");
        problem(
            &back(&[("if-match", "\"99999\"")], asked.clone()).await,
            412,
            "stale",
        );
        let answer = back(
            &any,
            json!({"history_version": "999999", "fields": ["name"]}),
        )
        .await;
        problem(&answer, 404, "not-found");
        for bad in [
            json!({"history_version": "x"}),
            json!({"history_version": then, "fields": ["size"]}),
            json!({}),
        ] {
            assert_eq!(back(&any, bad).await.status, 422);
        }
        let other = back(
            &any,
            json!({"history_version": then, "fields": ["starred"]}),
        )
        .await;
        assert_eq!(other.body["fields"]["name"], "changed by mistake.txt");
        let answer = back(&any, asked).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["fields"]["name"], name);
        crate::support::eventually("Drive has the name", async || {
            let there = world.simulator.file(&file).unwrap();
            (json!(there.name) == name).then_some(())
        })
        .await;
    });
}
