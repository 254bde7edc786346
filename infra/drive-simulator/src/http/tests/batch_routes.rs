//! Batches with mixed outcomes.

use axum::body::Body;
use http::{Request, header};
use serde_json::json;

use super::World;

impl World {
    /// Sends calls in one batch; returns (status, body) of each response, in their order.
    async fn batch(&self, version: &str, calls: &[String]) -> Vec<(u16, String)> {
        let parts: String = calls
            .iter()
            .map(|call| format!("--b\r\nContent-Type: application/http\r\n\r\n{call}\r\n"))
            .collect();
        let request = Request::post(format!("/batch/drive/{version}"))
            .header(header::AUTHORIZATION, "Bearer user:owner")
            .header(header::CONTENT_TYPE, "multipart/mixed; boundary=b");
        let reply = self
            .send(
                request
                    .body(Body::from(format!("{parts}--b--")))
                    .expect("a request"),
            )
            .await;
        assert!(reply.status.is_success());
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        let mut answers = text.split("HTTP/1.1 ");
        answers.next();
        answers
            .map(|answer| {
                let status = answer[..3].parse().expect("a status");
                (status, answer.to_owned())
            })
            .collect()
    }
}

#[tokio::test]
async fn the_calls_of_a_batch_succeed_and_fail_independently() {
    let world = World::new();
    let ids: Vec<String> = ["a", "b", "c", "d"].map(|name| world.file(name)).into();
    let etag = |id: &str| world.simulator.file(id).expect("there").etag;
    let patch = |id: &str, etag: &str| {
        format!(
            "PATCH /drive/v2/files/{id}?fields=title HTTP/1.1\r\n\
             Content-Type: application/json\r\nIf-Match: {etag}\r\n\r\n{{\"title\":\"new\"}}"
        )
    };
    let fault = json!({"match": format!("PATCH /drive/v2/files/{}", ids[2]), "applied": true,
        "respond": {"status": 403, "reason": "userRateLimitExceeded"}});
    world.control("POST", "faults", fault).await;
    let lost = json!({"match": format!("PATCH /drive/v2/files/{}", ids[3]), "drop": true});
    world.control("POST", "faults", lost).await;
    let answers = world
        .batch(
            "v2",
            &[
                format!("GET /drive/v2/files/{}?fields=title HTTP/1.1\r\n", ids[0]),
                patch(&ids[0], &etag(&ids[0])),
                patch(&ids[1], "\"stale\""),
                patch(&ids[2], &etag(&ids[2])),
                patch(&ids[3], &etag(&ids[3])),
                "GET /drive/v2/files/missing HTTP/1.1\r\n".to_owned(),
            ],
        )
        .await;
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 412, 403, 503, 404]);
    assert!(
        answers[0].1.contains("{\"title\":\"a\"}"),
        "{}",
        answers[0].1
    );
    assert!(answers[3].1.contains("userRateLimitExceeded"));
    let names: Vec<String> = ids
        .iter()
        .map(|id| world.simulator.file(id).expect("there").name)
        .collect();
    assert_eq!(names, ["new", "b", "new", "d"]);
}

#[tokio::test]
async fn a_fault_on_the_batch_executes_none_of_its_calls() {
    let world = World::new();
    let id = world.file("a");
    let fault = json!({"match": "POST /batch/*", "respond": {"status": 503}});
    world.control("POST", "faults", fault).await;
    let request = Request::post("/batch/drive/v2")
        .header(header::AUTHORIZATION, "Bearer user:owner")
        .header(header::CONTENT_TYPE, "multipart/mixed; boundary=b");
    let call = format!(
        "--b\r\n\r\nPATCH /drive/v2/files/{id} HTTP/1.1\r\n\r\n{{\"title\":\"b\"}}\r\n--b--"
    );
    let reply = world
        .send(request.body(Body::from(call)).expect("a request"))
        .await;
    assert_eq!(reply.refused(), (503, "backendError".to_owned()));
    assert_eq!(world.simulator.file(&id).expect("there").name, "a");
}

#[tokio::test]
async fn a_download_in_a_batch_is_redirected_to_where_the_bytes_are() {
    let world = World::new();
    let id = world.file("a");
    let call = format!("GET /drive/v3/files/{id}?alt=media HTTP/1.1\r\n");
    let answers = world.batch("v3", &[call]).await;
    let [(302, answer)] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    let location = answer
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a location");
    let (_, path) = location.split_once("/download/").expect("a path");
    let content = world.get(&format!("/download/{path}")).await;
    assert_eq!(content.bytes, "content");
}
