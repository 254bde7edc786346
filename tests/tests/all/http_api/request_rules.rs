//! The rules of the HTTP API that callers rely on: conditions, repetitions, rejections.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, World, eventually, own, shared};

async fn patch(world: &World, file: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let path = format!("/v1/connections/{}/files/{file}", world.connection);
    world
        .call(
            Some(&world.token),
            Method::PATCH,
            &path,
            headers,
            Some(body),
        )
        .await
}

#[test]
fn an_edit_without_if_match_is_428_and_a_stale_one_412_with_the_current_file() {
    shared(async |world| {
        let file = world.take();
        let path = format!("/files/{file}");
        let seen = world.api(Method::GET, &path, &[], None).await.etag();
        let answer = patch(world, &file, &[], r#"{"starred":true}"#).await;
        assert_eq!(answer.status, 428, "{}", answer.body);
        world.owner().rename(&file, "faster.txt").await;
        world
            .file_until("the rename", &file, |f| f["fields"]["name"] == "faster.txt")
            .await;
        let answer = patch(world, &file, &[("if-match", &seen)], r#"{"starred":true}"#).await;
        assert_eq!(answer.status, 412, "{}", answer.body);
        assert_eq!(answer.body["current"]["fields"]["name"], "faster.txt");
        let answer = patch(
            world,
            &file,
            &[("if-match", &answer.etag())],
            r#"{"starred":true}"#,
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json");
    });
}

/// The file has not changed: the problem says what is wrong with the tag.
#[test]
fn regression_a_tag_that_could_never_match_is_not_reported_as_a_change() {
    shared(async |world| {
        let file = world.take();
        let path = format!("/files/{file}");
        let seen = world.api(Method::GET, &path, &[], None).await.etag();
        let weak = format!("W/{seen}");
        for (tag, word) in [(weak.as_str(), "weak"), ("\"abc\"", "no ETag of this API")] {
            let answer = patch(world, &file, &[("if-match", tag)], r#"{"starred":true}"#).await;
            assert_eq!(answer.status, 412, "{}", answer.body);
            assert_eq!(
                answer.body["type"],
                "urn:drivesync:problem:if-match-unusable"
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(word), "{detail}");
        }
        let both = format!("{weak}, {seen}");
        let answer = patch(world, &file, &[("if-match", &both)], r#"{"starred":true}"#).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = patch(world, &file, &[("if-match", "7")], r#"{"starred":true}"#).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("double quotes"), "{detail}");
    });
}

#[test]
fn a_version_only_change_does_not_make_an_etag_stale() {
    own(async |world| {
        let file = world.take();
        let id = domain::FileId::parse(&file).unwrap();
        let version = async || {
            let record = world.store().load_file(&world.key, &id).await.unwrap();
            record.unwrap().version
        };
        let path = format!("/files/{file}");
        let seen = world.api(Method::GET, &path, &[], None).await.etag();
        let before = version().await;
        // Another user's star changes only Drive's version, which a listing delivers.
        let alice = world.person("alice");
        alice.update(&file, json!({"starred": true})).await;
        world.post("/sync", json!({"mode": "full"})).await;
        eventually("the noise has arrived", async || {
            (version().await > before).then_some(())
        })
        .await;
        let answer = patch(
            world,
            &file,
            &[("if-match", &seen)],
            r#"{"description":"still mine"}"#,
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    });
}

#[test]
fn a_repeated_idempotency_key_replays_the_response() {
    shared(async |world| {
        let file = world.take();
        let seen = world
            .api(Method::GET, &format!("/files/{file}"), &[], None)
            .await
            .etag();
        let headers = [
            ("if-match", seen.as_str()),
            ("idempotency-key", "once-only"),
        ];
        let first = patch(world, &file, &headers, r#"{"name":"once.txt"}"#).await;
        assert_eq!(first.status, 200, "{}", first.body);
        let again = patch(world, &file, &headers, r#"{"name":"once.txt"}"#).await;
        assert_eq!(
            again.status, 200,
            "a repeat is answered before If-Match: {}",
            again.body
        );
        assert_eq!(again.headers["idempotent-replayed"], "true");
        assert_eq!(again.body["fields"]["name"], "once.txt");
        let other = patch(world, &file, &headers, r#"{"name":"twice.txt"}"#).await;
        assert_eq!(
            other.status, 422,
            "the same key with another request: {}",
            other.body
        );
    });
}

#[test]
fn invalid_members_are_named_by_a_pointer() {
    shared(async |world| {
        let file = world.take();
        let before = world.file(&file).await;
        let long = format!(r#"{{"properties":{{"stage":"{}"}}}}"#, "x".repeat(120));
        for (body, status, pointer) in [
            (r#"{"name":""}"#, 422, "/name"),
            (r#"{"name":null}"#, 422, "/name"),
            (r#"{"starred":"yes"}"#, 422, "/starred"),
            (r#"{"colour":"red"}"#, 422, "/colour"),
            (r#"{"size":"1"}"#, 422, "/size"),
            (r#"{"parent":"a/b"}"#, 422, "/parent"),
            (r#"{"properties":{"a":1}}"#, 422, "/properties/a"),
            (&long, 422, "/properties/stage"),
        ] {
            let answer = patch(world, &file, &[("if-match", "*")], body).await;
            assert_eq!(
                (answer.status, &answer.body["pointer"]),
                (status, &json!(pointer)),
                "{body}: {}",
                answer.body
            );
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
        for (body, status) in [(r#"{"name": "#, 400), ("[]", 400), ("", 400)] {
            let answer = patch(world, &file, &[("if-match", "*")], body).await;
            assert_eq!(answer.status, status, "{body}: {}", answer.body);
        }
        assert_eq!(
            world.file(&file).await["revision"],
            before["revision"],
            "nothing of it was stored"
        );
    });
}

#[test]
fn regression_a_problem_speaks_of_the_request_and_points_into_it() {
    own(async |world| {
        let file = world.take();
        let connection = format!("/v1/connections/{}", world.connection);
        let at = |below: &str| format!("{connection}{below}");
        let (patch, post) = (&Method::PATCH, &Method::POST);
        let (files, all) = (at(&format!("/files/{file}")), "/v1/connections".to_owned());
        for (method, path, body, status, pointer, words) in [
            (
                patch,
                at(""),
                r#"{"limits":5}"#,
                422,
                "/limits",
                "an object or null",
            ),
            (
                patch,
                at(""),
                r#"{"limits":{"breaker_failures":"5"}}"#,
                422,
                "/limits/breaker_failures",
                "a whole number from 1 to 100",
            ),
            (
                patch,
                at(""),
                r#"{"policies":{"fields":{"name":{"last_writer_wins":{}}}}}"#,
                422,
                "/policies/fields/name/last_writer_wins/window_seconds",
                "is required",
            ),
            (
                patch,
                at(""),
                r#"{"rules":{"include":[{"name":"x"},{"folder":"1x","name":"y"}]}}"#,
                422,
                "/rules/include/1/name",
                "can't be set",
            ),
            (
                patch,
                at(""),
                r#"{"content":{"storage_class":"GLACIER"}}"#,
                422,
                "/content/storage_class",
                "GLACIER_IR",
            ),
            (
                post,
                all.clone(),
                r#"{"name":"x","secret":"s","scope":{"type":"shared_drive"}}"#,
                422,
                "/scope/drive_id",
                "is required",
            ),
            (
                post,
                all,
                r#"{"name":"x","secret":"s","scope":{"type":"user"},"limits":null}"#,
                422,
                "/limits",
                "an object",
            ),
            (post, at("/sync"), "{}", 422, "/mode", "is required"),
            (
                post,
                "/v1/dead-letters/redrive".to_owned(),
                r#"{"ids":["x",1]}"#,
                422,
                "/ids/1",
                "a text",
            ),
            (
                patch,
                files.clone(),
                r#"{"name":"a","name":"b"}"#,
                400,
                "/name",
                "twice",
            ),
            (
                patch,
                files,
                r#"{"properties":{"a":{"b":1}}}"#,
                422,
                "/properties/a",
                "a text",
            ),
        ] {
            let headers = [("if-match", "*")];
            let token = Some(world.token.as_str());
            let answer = world
                .call(token, method.clone(), &path, &headers, Some(body))
                .await;
            let problem = (answer.status, &answer.body["pointer"]);
            assert_eq!(
                problem,
                (status, &json!(pointer)),
                "{body}: {}",
                answer.body
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(words), "{body}: {detail}");
        }
        let page = world.api(Method::GET, "/files?limit=many", &[], None).await;
        assert_eq!(
            (page.status, &page.body["parameter"]),
            (400, &json!("limit"))
        );
        let several = json!({"resolutions": [{"id": "x", "choose": "mine"}, {"choose": "app"}]});
        let answer = world.post("/conflicts/resolutions", several).await;
        for (number, pointer) in [(0, "/resolutions/0/choose"), (1, "/resolutions/1/id")] {
            let problem = &answer["results"][number]["problem"];
            assert_eq!(problem["pointer"], pointer, "{answer}");
        }
    });
}

#[test]
fn regression_null_sets_every_setting_back_to_its_default() {
    own(async |world| {
        let token = Some(world.token.as_str());
        let path = format!("/v1/connections/{}", world.connection);
        let patch = async |body: Value| {
            let headers = [("if-match", "*")];
            let body = body.to_string();
            let answer = world
                .call(token, Method::PATCH, &path, &headers, Some(&body))
                .await;
            assert_eq!(answer.status, 200, "{body}: {}", answer.body);
            answer.body
        };
        let defaults = patch(json!({"limits": null, "policies": null, "rules": null})).await;
        let changed = patch(json!({
            "limits": {"writes_base_per_minute": 500},
            "policies": {"default": "app_wins", "fields": {"name": "manual"}},
            "rules": {"exclude": [{"name": "*.tmp"}]},
            "removals_unasked_max": 3,
        }))
        .await;
        assert_ne!(changed["limits"], defaults["limits"]);
        let back = patch(json!({
            "limits": {"writes_base_per_minute": null},
            "policies": {"default": null, "fields": null},
            "rules": {"exclude": null},
            "removals_unasked_max": null,
        }))
        .await;
        for member in ["limits", "policies", "rules", "removals_unasked_max"] {
            assert_eq!(back[member], defaults[member], "{member}");
        }
    });
}

#[test]
fn without_a_valid_token_only_health_and_the_description_are_served() {
    shared(async |world| {
        let path = format!("/v1/connections/{}/files", world.connection);
        for token in [None, Some(""), Some("x"), Some("eyJhbGciOiJub25lIn0.e30.")] {
            let answer = world.call(token, Method::GET, &path, &[], None).await;
            assert_eq!(answer.status, 401, "{token:?}");
            assert!(answer.headers.contains_key("www-authenticate"));
        }
        assert_eq!(
            world
                .call(None, Method::GET, "/health", &[], None)
                .await
                .status,
            200
        );
        let api = world
            .call(None, Method::GET, "/openapi.json", &[], None)
            .await;
        assert_eq!(api.status, 200);
        assert!(
            api.body["openapi"].as_str().unwrap().starts_with("3."),
            "{}",
            api.body["openapi"]
        );
        for path in [
            "/v1/connections",
            "/v1/connections/{connection}/files/{file}",
        ] {
            assert!(api.body["paths"][path].is_object(), "{path}");
        }
    });
}

#[test]
fn unknown_resources_are_404_and_unknown_methods_405() {
    shared(async |world| {
        let token = Some(world.token.as_str());
        for path in [
            "/v1/nothing".to_owned(),
            "/v1/connections/c_none/files".to_owned(),
            format!("/v1/connections/{}/files/1none", world.connection),
            format!("/v1/connections/{}/conflicts/none", world.connection),
            format!("/v1/connections/{}/operations/none", world.connection),
        ] {
            let answer = world.call(token, Method::GET, &path, &[], None).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.body);
            assert_eq!(
                answer.headers["content-type"], "application/problem+json",
                "{path}"
            );
        }
        let answer = world.api(Method::DELETE, "/status", &[], None).await;
        assert_eq!(answer.status, 405);
    });
}

#[test]
fn lists_page_by_opaque_cursors_and_filter() {
    shared(async |world| {
        let mut seen = 0;
        let mut path = "/files?limit=7".to_owned();
        loop {
            let page = world.get(&path).await;
            let items = page["items"].as_array().unwrap().len();
            assert!(items <= 7);
            seen += items;
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/files?limit=7&cursor={cursor}"),
                None => break,
            }
        }
        assert!(seen >= 120, "{seen}");
        let file = world.take();
        world.owner().rename(&file, "A Very Unusual Name.txt").await;
        world
            .file_until("the name", &file, |f| {
                f["fields"]["name"] == "A Very Unusual Name.txt"
            })
            .await;
        let found = world.get("/files?q=unusual").await;
        let ids: Vec<&Value> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| &f["id"])
            .collect();
        assert_eq!(ids, [file.as_str()]);
        for bad in [
            "/files?limit=0",
            "/files?limit=x",
            "/files?cursor=nonsense",
            "/files?nope=1",
        ] {
            let answer = world.api(Method::GET, bad, &[], None).await;
            assert_eq!(answer.status, 400, "{bad}: {}", answer.body);
        }
    });
}

#[test]
fn status_shows_the_state_of_the_connection() {
    shared(async |world| {
        let status = world.get("/status").await;
        assert_eq!(status["state"], "active", "{status}");
        let stats = world
            .call(Some(&world.token), Method::GET, "/v1/stats", &[], None)
            .await;
        assert_eq!(stats.status, 200, "{}", stats.body);
    });
}
