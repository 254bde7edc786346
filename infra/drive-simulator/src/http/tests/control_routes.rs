//! The control interface.

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::World;

#[tokio::test]
async fn a_fault_replaces_the_response_of_a_call_that_is_not_executed() {
    let world = World::new();
    let id = world.file("a");
    let fault = json!({
        "match": "PATCH /drive/v2/files/*", "times": 2,
        "respond": {"status": 403, "reason": "userRateLimitExceeded"},
    });
    world.control("POST", "faults", fault).await;
    for _ in 0..2 {
        let reply = world
            .call(
                "PATCH",
                &format!("/drive/v2/files/{id}"),
                json!({"title": "b"}),
            )
            .await;
        assert_eq!(reply.refused(), (403, "userRateLimitExceeded".to_owned()));
    }
    assert_eq!(world.simulator.file(&id).expect("there").name, "a");
    assert!(
        world
            .call(
                "PATCH",
                &format!("/drive/v2/files/{id}"),
                json!({"title": "b"})
            )
            .await
            .status
            .is_success()
    );
    assert_eq!(world.simulator.counters().calls["v2.files.patch"], 3);
}

#[tokio::test]
async fn an_applied_fault_executes_the_call_and_replaces_its_response() {
    let world = World::new();
    let id = world.file("a");
    let fault = json!({
        "match": "PATCH *",
        "respond": {"status": 503, "reason": "backendError", "retry_after_seconds": 7},
        "applied": true,
    });
    world.control("POST", "faults", fault).await;
    let reply = world
        .call(
            "PATCH",
            &format!("/drive/v3/files/{id}"),
            json!({"name": "b"}),
        )
        .await;
    assert_eq!(reply.refused(), (503, "backendError".to_owned()));
    assert_eq!(reply.headers[header::RETRY_AFTER], "7");
    assert_eq!(world.simulator.file(&id).expect("there").name, "b");
}

#[tokio::test]
async fn a_fault_on_the_token_endpoint_has_the_format_of_oauth() {
    let world = World::new();
    world
        .control(
            "POST",
            "faults",
            json!({"match": "POST /token", "respond": {"status": 400, "reason": "invalid_grant"}}),
        )
        .await;
    let form = "grant_type=refresh_token&refresh_token=user:owner";
    let ask = || {
        world.send(
            Request::post("/token")
                .body(Body::from(form))
                .expect("a request"),
        )
    };
    let refused: Value = serde_json::from_slice(&ask().await.bytes).expect("JSON");
    assert_eq!(refused["error"], "invalid_grant");
    assert!(ask().await.status.is_success());
}

#[tokio::test]
async fn faults_can_be_cleared_and_invalid_ones_are_refused() {
    let world = World::new();
    world
        .control(
            "POST",
            "faults",
            json!({"match": "* /drive/*", "times": 0, "respond": {"status": 500}}),
        )
        .await;
    assert_eq!(world.get("/drive/v3/files").await.status.as_u16(), 500);
    world.control("DELETE", "faults", Value::Null).await;
    assert_eq!(world.get("/drive/v3/files").await.status.as_u16(), 200);
    for bad in [
        json!({"match": "GET"}),
        json!({"match": "GET /x"}),
        json!({"match": "GET /x", "respond": {"status": 99}}),
        json!({}),
    ] {
        assert_eq!(
            world
                .call("POST", "/_control/faults", bad.clone())
                .await
                .status
                .as_u16(),
            400,
            "{bad}"
        );
    }
    assert_eq!(
        world
            .call("POST", "/_control/nothing", json!({}))
            .await
            .status
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn a_dropped_connection_has_no_response_but_may_execute_the_call() {
    let world = World::new();
    let id = world.file("a");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/drive/v3/files/{id}",
        listener.local_addr().expect("an address")
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(
        world
            .simulator
            .clone()
            .serve(listener, async { stopped.await.unwrap_or_default() }),
    );
    world
        .control(
            "POST",
            "faults",
            json!({"match": "PATCH *", "drop": true, "applied": true}),
        )
        .await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let patch = || {
        client
            .patch(&url)
            .bearer_auth("user:owner")
            .body(r#"{"name":"b"}"#)
            .send()
    };
    let error = patch().await.expect_err("no answer");
    assert!(error.is_request(), "{error:?}");
    assert_eq!(world.simulator.file(&id).expect("there").name, "b");
    assert!(patch().await.expect("an answer").status().is_success());
    drop(client);
    stop.send(()).expect("still serving");
    serving.await.expect("ends").expect("cleanly");
}

#[tokio::test]
async fn calls_and_quota_units_are_counted_by_method() {
    let world = World::new();
    let id = world.file("a");
    world.get("/drive/v3/files").await.ok();
    world.get(&format!("/drive/v3/files/{id}")).await.ok();
    world.get(&format!("/drive/v3/files/{id}?alt=media")).await;
    world
        .call("PATCH", &format!("/drive/v2/files/{id}"), json!({}))
        .await
        .ok();
    let counters = world.control("GET", "counters", Value::Null).await;
    assert_eq!(
        counters["calls"],
        json!({"files.list": 1, "files.get": 2, "v2.files.patch": 1})
    );
    assert_eq!(counters["quota_units"], 100 + 5 + 200 + 50);
    world.control("DELETE", "counters", Value::Null).await;
    assert_eq!(
        world.control("GET", "counters", Value::Null).await["quota_units"],
        0
    );
}

#[tokio::test]
async fn calls_beyond_the_user_quota_are_refused_until_the_next_minute() {
    let world = World::new();
    world
        .control("POST", "quota", json!({"units_per_minute_per_user": 150}))
        .await;
    world.get("/drive/v3/files").await.ok();
    assert_eq!(
        world.get("/drive/v3/files").await.refused(),
        (403, "userRateLimitExceeded".to_owned())
    );
    world
        .call_as("alice", "GET", "/drive/v3/files", Value::Null)
        .await
        .ok();
    world
        .control("POST", "clock", json!({"advance_seconds": 60}))
        .await;
    world.get("/drive/v3/files").await.ok();
}

#[tokio::test]
async fn issued_tokens_can_be_invalidated() {
    let world = World::new();
    let form = "grant_type=refresh_token&refresh_token=user:owner";
    let token = world
        .send(
            Request::post("/token")
                .body(Body::from(form))
                .expect("a request"),
        )
        .await
        .ok()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let list = || {
        Request::get(format!("/drive/v3/files?access_token={token}"))
            .body(Body::empty())
            .expect("a request")
    };
    assert!(world.send(list()).await.status.is_success());
    world
        .control("POST", "invalidate_tokens", Value::Null)
        .await;
    assert_eq!(
        world.send(list()).await.refused(),
        (401, "authError".to_owned())
    );
}

#[tokio::test]
async fn a_synthetic_library_has_the_requested_size() {
    let world = World::new();
    let report = world
        .control("POST", "load", json!({"files": 2_500, "folders": 40}))
        .await;
    assert_eq!(
        (&report["files"], &report["folders"]),
        (&json!(2_500), &json!(40))
    );
    let totals = world.simulator.totals();
    assert_eq!((totals.files, totals.folders), (2_500, 40));
    assert_eq!(world.simulator.random_files("owner", 20).len(), 20);
    let (mut seen, mut token) = (std::collections::BTreeSet::new(), String::new());
    for _ in 0..4 {
        let page = world
            .get(&format!(
                "/drive/v3/files?pageSize=1000&fields=nextPageToken,files(id)&pageToken={token}"
            ))
            .await
            .ok();
        seen.extend(
            page["files"]
                .as_array()
                .expect("files")
                .iter()
                .map(|file| file["id"].to_string()),
        );
        let Some(next) = page["nextPageToken"].as_str() else {
            break;
        };
        token = next.to_owned();
    }
    assert_eq!(seen.len(), 2_540);
    let again = World::new();
    again.simulator.load_synthetic(2_500, 40);
    assert_eq!(
        again.simulator.file_ids(),
        world.simulator.file_ids(),
        "reproducible from the seed"
    );
}

#[tokio::test]
async fn a_fault_can_replace_texts_in_the_response_of_an_executed_call() {
    let world = World::new();
    let path = format!("/drive/v3/files/{}?fields=name", world.file("a"));
    let words = json!({"\"name\":\"b\"": "\"name\":\"c\""});
    let command = json!({"match": "PATCH /drive/v3/*", "replace": words});
    world.control("POST", "faults", command).await;
    let answer = world.call("PATCH", &path, json!({"name": "b"})).await;
    assert_eq!(answer.ok(), json!({"name": "c"}));
    assert_eq!(world.get(&path).await.ok(), json!({"name": "b"}));
    for bad in [
        json!({"match": "GET /x", "replace": {"": "x"}}),
        json!({"match": "GET /x", "replace": {"a": "b"}, "drop": true}),
    ] {
        let refused = world.call("POST", "/_control/faults", bad).await;
        assert_eq!(refused.status.as_u16(), 400);
    }
}

#[tokio::test]
async fn the_journal_records_every_replaced_text_of_all_users_in_order() {
    let world = World::new();
    let id = world.file("a");
    let (v3, v2) = (
        format!("/drive/v3/files/{id}"),
        format!("/drive/v2/files/{id}"),
    );
    world
        .call("PATCH", &v3, json!({"name": "unrecorded"}))
        .await;
    world
        .control("POST", "journal", json!({"kept": true}))
        .await;
    let edit = json!({"name": "b", "properties": {"stage": "draft"}, "starred": true});
    world.call_as("ann", "PATCH", &v3, edit).await;
    world.call("PATCH", &v2, json!({"title": "c"})).await;
    world.call("PATCH", &v2, json!({"title": "c"})).await;
    let gone = json!({"description": "d", "properties": {"stage": null}});
    world.call("PATCH", &v3, gone).await;
    let journal = world.control("GET", "journal", json!({})).await;
    let entry = |field: &str, from: Value, to: Value, by: &str| {
        json!({
            "file": &id, "field": field, "from": from, "to": to, "by": by,
        })
    };
    let wanted = json!([
        entry("name", json!("unrecorded"), json!("b"), "ann"),
        entry("properties.stage", Value::Null, json!("draft"), "ann"),
        entry("name", json!("b"), json!("c"), "owner"),
        entry("description", Value::Null, json!("d"), "owner"),
        entry("properties.stage", json!("draft"), Value::Null, "owner"),
    ]);
    assert_eq!(journal["written"], wanted);
    world
        .control("POST", "journal", json!({"kept": false}))
        .await;
    let journal = world.control("GET", "journal", json!({})).await;
    assert_eq!(journal["written"], json!([]));
}

#[tokio::test]
async fn a_directory_is_loaded_only_from_the_library_and_below_it() {
    let folder = std::env::temp_dir().join(format!("drive-simulator-{}", std::process::id()));
    let (library, beside) = (folder.join("library"), folder.join("library-beside"));
    std::fs::create_dir_all(library.join("docs")).expect("made");
    std::fs::create_dir_all(&beside).expect("made");
    std::fs::write(library.join("docs/a.txt"), "a").expect("written");
    std::fs::write(beside.join("secret.txt"), "s").expect("written");
    std::os::unix::fs::symlink(&beside, library.join("link")).expect("linked");
    let world = World::beside(Some(&library));
    let load = async |path: &std::path::Path| {
        let command = json!({ "path": path });
        world.call("POST", "/_control/load", command).await
    };
    for outside in [
        beside.as_path(),
        &folder,
        &library.join(".."),
        &library.join("docs/../../library-beside"),
        &library.join("link"),
        &library.join("docs/a.txt"),
        &library.join("absent"),
        "..".as_ref(),
        "/etc".as_ref(),
    ] {
        let refused = load(outside).await;
        assert_eq!(refused.status.as_u16(), 400, "{}", outside.display());
    }
    assert_eq!(world.simulator.totals().files, 0);
    assert_eq!(load("docs".as_ref()).await.ok()["files"], 1);
    assert_eq!(load(&library).await.ok()["files"], 1);
    // Without a library nothing of this machine is loaded.
    let bare = World::new();
    let command = json!({ "path": library });
    let refused = bare.call("POST", "/_control/load", command).await;
    assert_eq!(refused.status.as_u16(), 400);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test]
async fn a_link_with_a_token_cannot_act_as_a_person() {
    let world = World::new();
    for token in ["access_token=user:owner", "oauth_token=user:owner"] {
        let request = Request::get(format!("/drive/v3/files?{token}")).body(Body::empty());
        let refused = world.send(request.expect("a request")).await;
        assert_eq!(refused.refused(), (403, "forbidden".to_owned()), "{token}");
    }
}

#[tokio::test]
async fn a_socket_refuses_foreign_pages_and_commands_without_the_key() {
    let world = World::new();
    let id = world.file("a.html");
    let key = world.simulator.control_key().expect("a key").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(
        world
            .simulator
            .clone()
            .serve(listener, std::future::pending()),
    );
    let client = reqwest::Client::new();
    let content = || {
        let url = format!("{url}/drive/v3/files/{id}?alt=media");
        client.get(url).bearer_auth("user:owner")
    };
    let answer = content().send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-disposition"], "attachment");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert!(answer.headers().contains_key("content-security-policy"));
    for (name, value, status) in [
        ("host", "evil.example", 421),
        ("origin", "http://127.0.0.1:8000", 403),
        ("sec-fetch-site", "same-site", 403),
    ] {
        let refused = content()
            .header(name, value)
            .send()
            .await
            .expect("an answer");
        assert_eq!(refused.status(), status, "{name}");
    }
    let reset = || client.post(format!("{url}/_control/reset")).body("{}");
    let json =
        |request: reqwest::RequestBuilder| request.header("content-type", "application/json");
    let refused = json(reset()).send().await.expect("an answer");
    assert_eq!(refused.status(), 403);
    let refused = reset().header("x-drive-control", &key);
    assert_eq!(refused.send().await.expect("an answer").status(), 415);
    assert_eq!(world.simulator.totals().files, 1);
    let done = json(reset()).header("x-drive-control", &key);
    assert_eq!(done.send().await.expect("an answer").status(), 200);
    assert_eq!(world.simulator.totals().files, 0);
}
