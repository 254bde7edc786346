//! What Drive does wrong on request: false refusals, foreign bodies, lists that lie, versions that
//! move by themselves.

use std::{fmt, slice};

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use super::{Reply, World};

/// The size of a chunk, in bytes.
const CHUNK: usize = 256 * 1024;

fn ids(page: &Value) -> Vec<String> {
    let files = page["files"].as_array().expect("files");
    files
        .iter()
        .map(|file| file["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_share_of_the_files_is_refused_always_and_the_others_never() {
    let world = World::new();
    let files: Vec<String> = (0..40).map(|n| world.file(&format!("f{n}"))).collect();
    let fault = json!({
        "match": "GET /drive/v2/files/*", "times": 0, "share": 0.3, "per": "file",
        "respond": {"status": 404},
    });
    world.control("POST", "faults", fault).await;
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let mut refused = Vec::new();
        for id in &files {
            let reply = world.get(&format!("/drive/v2/files/{id}")).await;
            refused.push(reply.status.as_u16() == 404);
        }
        rounds.push(refused);
    }
    let met = rounds[0].iter().filter(|refused| **refused).count();
    assert!((4..24).contains(&met), "{met}");
    assert_eq!(rounds[0], rounds[1]);
}

#[tokio::test]
async fn a_current_etag_can_be_refused_and_unconditional_writes_pass() {
    let world = World::new();
    let id = world.file("a");
    let fault = json!({
        "match": "* /drive/v2/files/*", "times": 0, "with_header": "If-Match",
        "respond": {"status": 412},
    });
    world.control("POST", "faults", fault).await;
    let path = format!("/drive/v2/files/{id}");
    let etag = world.simulator.file(&id).expect("there").etag;
    let patch = async |etag: Option<&str>| {
        let mut request = Request::patch(&path).header(header::AUTHORIZATION, "Bearer user:owner");
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        let body = Body::from(json!({"title": "b"}).to_string());
        world.send(request.body(body).expect("a request")).await
    };
    let refused = patch(Some(&etag)).await;
    assert_eq!(refused.refused(), (412, "conditionNotMet".to_owned()));
    assert_eq!(world.simulator.file(&id).expect("there").etag, etag);
    patch(None).await.ok();
}

#[tokio::test]
async fn a_response_can_have_any_body_and_any_content_type() {
    let world = World::new();
    let id = world.file("a");
    let path = format!("/drive/v3/files/{id}");
    for (respond, status, kind, body) in [
        (
            json!({"status": 200, "body": ""}),
            200,
            Some("application/json; charset=UTF-8"),
            "",
        ),
        (
            json!({"status": 404, "body": {"message": "no route"}}),
            404,
            Some("application/json; charset=UTF-8"),
            r#"{"message":"no route"}"#,
        ),
        (
            json!({"status": 502, "body": "upstream", "content_type": "text/plain"}),
            502,
            Some("text/plain"),
            "upstream",
        ),
        (
            json!({"status": 200, "body": "{", "content_type": ""}),
            200,
            None,
            "{",
        ),
    ] {
        let fault = json!({"match": "GET /drive/v3/files/*", "respond": respond});
        world.control("POST", "faults", fault).await;
        let reply = world.get(&path).await;
        assert_eq!(reply.status.as_u16(), status);
        let sent = reply.headers.get(header::CONTENT_TYPE);
        assert_eq!(sent.map(|sent| sent.to_str().expect("text")), kind);
        assert_eq!(reply.bytes, body);
    }
    let mislabelled = json!({"match": "GET *", "content_type": "text/html"});
    world.control("POST", "faults", mislabelled).await;
    let reply = world.get(&path).await;
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/html");
    assert_eq!(reply.ok()["id"], json!(id));
}

#[tokio::test]
async fn the_token_endpoint_can_answer_with_a_foreign_page() {
    let world = World::new();
    let fault = json!({"match": "POST /token", "respond": {"status": 404, "html": true}});
    world.control("POST", "faults", fault).await;
    let form = "grant_type=refresh_token&refresh_token=user:owner";
    let request = Request::post("/token").body(Body::from(form));
    let reply = world.send(request.expect("a request")).await;
    assert_eq!(reply.status.as_u16(), 404);
    assert!(reply.bytes.starts_with(b"<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_page_can_name_itself_as_the_next_one() {
    let world = World::new();
    let token = world.start_token("owner", "").await;
    world.file("a");
    let fault = json!({"match": "GET /drive/v3/changes", "times": 2, "repeat_token": 1});
    world.control("POST", "faults", fault).await;
    let path = format!("/drive/v3/changes?pageToken={token}&fields=*");
    for _ in 0..2 {
        let page = world.get(&path).await.ok();
        assert_eq!(page["nextPageToken"], json!(token));
        assert!(page.get("newStartPageToken").is_none());
        assert_eq!(page["changes"].as_array().expect("changes").len(), 1);
    }
    let last = world.get(&path).await.ok();
    assert!(last.get("newStartPageToken").is_some());
}

#[tokio::test]
async fn a_list_can_go_on_without_end() {
    let world = World::new();
    world.file("a");
    world
        .control("POST", "pages", json!({"empty_every": 1}))
        .await;
    let mut tokens = std::collections::BTreeSet::new();
    let mut path = "/drive/v3/files".to_owned();
    for _ in 0..20 {
        let page = world.get(&path).await.ok();
        assert!(ids(&page).is_empty());
        let token = page["nextPageToken"].as_str().expect("a token").to_owned();
        path = format!("/drive/v3/files?pageToken={token}");
        tokens.insert(token);
    }
    assert_eq!(tokens.len(), 20);
}

#[tokio::test]
async fn searches_can_lose_rows_and_say_that_they_are_incomplete() {
    let world = World::new();
    let folders = [world.folder("a", None), world.folder("b", None)];
    for n in 0..100 {
        let parent = folders[n % 2].as_str();
        let made = world.simulator.create_folder("owner", "x", Some(parent));
        made.expect("made");
    }
    let [a, b] = &folders;
    let either = format!("/drive/v3/files?q='{a}'+in+parents+or+'{b}'+in+parents");
    let one = format!("/drive/v3/files?q='{a}'+in+parents");
    let found = async |path: &str| {
        let reply = world.get(&path.replace('\'', "%27")).await;
        let page = reply.ok();
        let incomplete = page["incompleteSearch"].as_bool().expect("a word");
        (ids(&page).len(), incomplete)
    };
    world
        .control("POST", "pages", json!({"ored_parents_lose": 0.5}))
        .await;
    let (left, incomplete) = found(&either).await;
    assert!((20..80).contains(&left), "{left}");
    assert!(!incomplete, "Drive does not say so");
    assert_eq!(found(&one).await, (50, false));
    let pages = json!({"search_loses": 0.5, "incomplete_search": true});
    world.control("POST", "pages", pages).await;
    let (left, incomplete) = found(&one).await;
    assert!((5..45).contains(&left), "{left}");
    assert!(incomplete);
    let sorted = format!("{one}&orderBy=createdTime");
    assert_eq!(found(&sorted).await, (50, true));
    let refused = world
        .call("POST", "/_control/pages", json!({"search_loses": 2}))
        .await;
    assert_eq!(refused.status.as_u16(), 400);
}

#[tokio::test]
async fn a_version_can_move_by_itself_after_an_upload() {
    let world = World::new();
    let id = world.file("a");
    let drift = json!({"moves": 2, "every_ms": 5_000, "stale_answers": true});
    world.control("POST", "versions", drift).await;
    let before = world.simulator.file(&id).expect("there");
    let token = world.start_token("owner", "").await;
    let path = format!("/upload/drive/v2/files/{id}?uploadType=media&fields=etag");
    let answer = world.call("PUT", &path, json!("new")).await;
    assert_eq!(answer.ok()["etag"], json!(before.etag), "the old one");
    assert_eq!(answer.headers[header::ETAG], before.etag);
    let uploaded = world.simulator.file(&id).expect("there");
    assert!(uploaded.version > before.version);
    let mut last = uploaded.version;
    for moved in [true, true, false] {
        world
            .control("POST", "clock", json!({"advance_seconds": 5}))
            .await;
        let now = world.simulator.file(&id).expect("there").version;
        assert_eq!(now > last, moved);
        last = now;
    }
    let (changes, _) = world.changes("owner", token, "").await;
    assert_eq!(changes, [(id, false)]);
}

#[tokio::test]
async fn what_cannot_be_downloaded_moves_the_version_only_on_request() {
    let world = World::new();
    let id = world.file("a");
    let version = || world.simulator.file(&id).expect("there").version;
    let first = version();
    let quiet = json!({"id": id, "downloadable": false});
    world.control("POST", "content", quiet).await;
    assert_eq!(version(), first);
    let token = world.start_token("owner", "").await;
    let logged = json!({"id": id, "downloadable": true, "moves_version": true});
    world.control("POST", "content", logged).await;
    assert!(version() > first);
    let (changes, _) = world.changes("owner", token, "").await;
    assert_eq!(changes, [(id.clone(), false)]);
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.status)
    }
}

/// Begins an upload of `id` with an `If-Match`, and returns the path of its session.
async fn begin_upload(world: &World, id: &str, if_match: &str) -> Result<String, Reply> {
    let path = format!("/upload/drive/v2/files/{id}?uploadType=resumable");
    let request = Request::put(path)
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::IF_MATCH, if_match)
        .body(Body::empty());
    let reply = world.send(request.expect("a request")).await;
    let Some(location) = reply.headers.get(header::LOCATION) else {
        return Err(reply);
    };
    let location = location.to_str().expect("a URL");
    let (_, path) = location.split_once("/upload/").expect("a session");
    Ok(format!("/upload/{path}"))
}

async fn send_chunk(world: &World, session: &str, first: usize, total: usize) -> Reply {
    let last = (first + CHUNK).min(total) - 1;
    let request = Request::put(session)
        .header(
            header::CONTENT_RANGE,
            format!("bytes {first}-{last}/{total}"),
        )
        .body(Body::from(vec![b'x'; last - first + 1]));
    world.send(request.expect("a request")).await
}

#[tokio::test]
async fn a_resumable_upload_can_ignore_if_match() {
    let world = World::new();
    let id = world.file("a");
    let refused = begin_upload(&world, &id, "\"old\"").await;
    assert_eq!(refused.expect_err("refused").status.as_u16(), 412);
    world
        .control("POST", "uploads", json!({"condition": "never"}))
        .await;
    let session = begin_upload(&world, &id, "\"old\"").await.ok();
    let session = session.expect("begins");
    send_chunk(&world, &session, 0, 5).await.ok();
    assert_eq!(world.simulator.file(&id).expect("there").size, Some(5));
}

#[tokio::test]
async fn drive_can_keep_only_the_beginning_of_a_chunk() {
    let world = World::new();
    let id = world.file("a");
    let etag = world.simulator.file(&id).expect("there").etag;
    world
        .control("POST", "uploads", json!({"keep_bytes": 1_000}))
        .await;
    let session = begin_upload(&world, &id, &etag).await.ok();
    let (session, total) = (session.expect("begins"), CHUNK + 1_000);
    let short = send_chunk(&world, &session, 0, total).await;
    assert_eq!(short.status.as_u16(), 308);
    assert_eq!(short.headers[header::RANGE], "bytes=0-999");
    send_chunk(&world, &session, 1_000, total).await.ok();
    let size = world.simulator.file(&id).expect("there").size;
    assert_eq!(size, u64::try_from(total).ok());
}

#[tokio::test]
async fn an_item_can_be_in_several_folders() {
    let world = World::new();
    let (a, b) = (world.folder("a", None), world.folder("b", None));
    let id = world.file("f");
    let token = world.start_token("owner", "").await;
    let both = json!({"id": id, "parents": [a, b]});
    world.control("POST", "parents", both).await;
    let (changes, _) = world.changes("owner", token, "").await;
    assert_eq!(changes, [(id.clone(), false)]);
    let parents = async || {
        let path = format!("/drive/v3/files/{id}?fields=parents");
        let file = world.get(&path).await.ok();
        let parents = file["parents"].as_array().expect("parents").clone();
        parents
            .iter()
            .map(|parent| parent.as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    let mut orders = std::collections::BTreeSet::new();
    for n in 0..20 {
        let edit = json!({"description": n.to_string()});
        let path = format!("/drive/v3/files/{id}");
        world.call("PATCH", &path, edit).await.ok();
        orders.insert(parents().await);
    }
    assert_eq!(orders.len(), 2, "the order has no meaning: {orders:?}");
    for folder in [&a, &b] {
        let path = format!("/drive/v3/files?q=%27{folder}%27+in+parents");
        assert_eq!(ids(&world.get(&path).await.ok()), slice::from_ref(&id));
    }
    let moves = async |query: String| {
        let path = format!("/drive/v3/files/{id}?{query}");
        world.call("PATCH", &path, json!({})).await
    };
    moves(format!("removeParents={a}")).await.ok();
    assert_eq!(parents().await, slice::from_ref(&b));
    let refused = world
        .call_as(
            "alice",
            "PATCH",
            &format!("/drive/v3/files/{id}?addParents={a}"),
            json!({}),
        )
        .await;
    assert_eq!(refused.refused(), (403, "cannotAddParent".to_owned()));
    moves(format!("addParents={a}")).await.ok();
    assert_eq!(
        parents().await,
        slice::from_ref(&a),
        "the owner's file moves"
    );
    moves(format!("removeParents={a}")).await.ok();
    assert_eq!(parents().await, [world.simulator.root_id("owner")]);
    let again = json!({"id": id, "parents": [a, b]});
    world.control("POST", "parents", again).await;
    let path = format!("/drive/v3/files/{b}");
    world.call("DELETE", &path, Value::Null).await.ok();
    assert_eq!(
        parents().await,
        slice::from_ref(&a),
        "only the other folder is gone"
    );
}
