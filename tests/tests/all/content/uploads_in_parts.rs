//! Content that is uploaded in parts.

use http::Method;
use serde_json::{Value, json};

use super::over_http::{contents, downloaded, problem, sha256, unique, upload_ok, version};
use crate::support::{Answer, World};

/// Starts an upload of a file's next content.
async fn begin(world: &World, file: &str, bytes: &[u8]) -> Answer {
    let wanted = json!({
        "size_bytes": bytes.len(), "content_hash": sha256(bytes),
        "expected_version": version(world, file).await,
    });
    let path = format!("/files/{file}/uploads");
    world.api(Method::POST, &path, &[], Some(wanted)).await
}

/// PUTs these bytes to the URLs of an upload's parts.
async fn send_parts(world: &World, upload: &Value, bytes: &[u8]) {
    let mut rest = bytes;
    for part in upload["parts"].as_array().unwrap() {
        let size = usize::try_from(part["size_bytes"].as_u64().unwrap()).unwrap();
        let (body, behind) = rest.split_at(size);
        rest = behind;
        let sent = world.http.put(part["url"].as_str().unwrap());
        let sent = sent.body(body.to_vec()).send().await.unwrap();
        assert_eq!(
            sent.status().as_u16(),
            200,
            "{}",
            sent.text().await.unwrap()
        );
    }
    assert!(rest.is_empty());
}

#[test]
fn large_content_is_sent_in_parts_and_committed() {
    contents(async |world| {
        let file = world.take();
        let bytes = unique("large ").repeat(9 * 1024 * 1024 / 8);
        let begun = begin(world, &file, &bytes).await;
        assert_eq!(begun.status, 201, "{}", begun.body);
        let upload = begun.body["id"].as_str().unwrap().to_owned();
        let parts = begun.body["parts"].as_array().unwrap().len();
        assert_eq!(begun.body["part_count"], parts);
        assert!(parts >= 2, "{parts}");
        let path = format!("/files/{file}/uploads/{upload}");
        let location = begun.headers["location"].to_str().unwrap();
        assert!(location.ends_with(&path), "{location}");
        let later = world.get(&format!("{path}?from=2")).await;
        assert_eq!(later["parts"][0]["number"], 2);
        assert_eq!(later["parts"].as_array().unwrap().len(), parts - 1);

        let commit = format!("{path}/commit");
        let key = [("idempotency-key", "commit-large")];
        let early = world.api(Method::POST, &commit, &key, None).await;
        problem(&early, 409, "state-not-allowed");
        send_parts(world, &begun.body, &bytes).await;
        let done = world.api(Method::POST, &commit, &key, None).await;
        assert_eq!(done.status, 200, "{}", done.body);
        let number = done.body["content"]["version"].as_u64().unwrap();
        assert_eq!(downloaded(world, &file, number).await, bytes);
        let again = world.api(Method::POST, &commit, &key, None).await;
        assert_eq!(again.status, 200, "{}", again.body);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        let over = world.api(Method::POST, &commit, &[], None).await;
        problem(&over, 404, "not-found");
    });
}

#[test]
fn an_upload_in_parts_is_rejected_if_hash_version_or_size_differ() {
    contents(async |world| {
        let file = world.take();
        let said = unique("said");
        let begun = begin(world, &file, &said).await;
        let path = format!("/files/{file}/uploads");
        let commit = format!("{path}/{}/commit", begun.body["id"].as_str().unwrap());
        let mut spoilt = said.clone();
        spoilt[0] ^= 1;
        send_parts(world, &begun.body, &spoilt).await;
        let wrong = world.api(Method::POST, &commit, &[], None).await;
        problem(&wrong, 400, "content-hash-mismatch");
        let over = world.api(Method::POST, &commit, &[], None).await;
        problem(&over, 404, "not-found");

        let overtaken = begin(world, &file, &said).await;
        send_parts(world, &overtaken.body, &said).await;
        let number = upload_ok(world, &file, &unique("faster")).await;
        let commit = format!("{path}/{}/commit", overtaken.body["id"].as_str().unwrap());
        let late = world.api(Method::POST, &commit, &[], None).await;
        problem(&late, 409, "version-mismatch");
        assert_eq!(late.body["current_version"], number);

        let hash = sha256(&said);
        for (size, expected, status) in [
            (0_u64, number, 422),
            (1 << 31, number, 413),
            (5, number + 1, 409),
        ] {
            let wanted =
                json!({"size_bytes": size, "content_hash": hash, "expected_version": expected});
            let refused = world.api(Method::POST, &path, &[], Some(wanted)).await;
            assert_eq!(refused.status, status, "{}", refused.body);
        }
        for id in ["x", &"0".repeat(32)] {
            let unknown = world
                .api(Method::GET, &format!("{path}/{id}"), &[], None)
                .await;
            problem(&unknown, 404, "not-found");
        }
    });
}
