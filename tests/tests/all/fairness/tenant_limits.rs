//! The limits of a tenant: no number of requests at once passes them.

use domain::rate_limit::TenantLimits;
use futures_util::future::join_all;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use crate::support::{Answer, Folder, Setup, World, eventually, own_with};

/// Returns a setup whose tenant has these limits and no others.
fn limited(limits: &str) -> Setup {
    Setup {
        limits: TenantLimits::none().with(limits).unwrap(),
        ..Setup::default()
    }
}

/// Asserts that an answer names the limit, and says when to try again.
fn refused(answer: &Answer, limit: &str) {
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert_eq!(answer.body["type"], "urn:drivesync:problem:limit-reached");
    assert_eq!(answer.body["limit"], limit, "{}", answer.body);
    let seconds = answer.headers["retry-after"].to_str().unwrap();
    assert!(
        (1..=60).contains(&seconds.parse::<u32>().unwrap()),
        "{seconds}"
    );
}

/// Returns those of the answers that succeeded, and asserts that the others name the limit.
fn accepted<'a>(answers: &'a [Answer], limit: &str) -> Vec<&'a Answer> {
    let (good, bad): (Vec<&Answer>, _) = answers.iter().partition(|answer| answer.status < 300);
    bad.iter().for_each(|answer| refused(answer, limit));
    good
}

async fn used(world: &World, name: &str) -> Value {
    let listed = world
        .call(Some(&world.token), Method::GET, "/v1/limits", &[], None)
        .await;
    let items = listed.body["items"].as_array().unwrap().clone();
    let limit = items.into_iter().find(|limit| limit["name"] == name);
    limit.unwrap()["used"].clone()
}

#[test]
fn regression_a_tenant_makes_no_more_connections_than_it_may_have() {
    own_with(limited("connections=3"), async |world| {
        let body = json!({"name": "x", "scope": {"type": "user"}, "secret": "drive"}).to_string();
        let connect = |_| {
            let token = Some(world.token.as_str());
            world.call(token, Method::POST, "/v1/connections", &[], Some(&body))
        };
        let answers = join_all((0..6).map(connect)).await;
        assert_eq!(accepted(&answers, "connections").len(), 2);
        assert_eq!(used(world, "connections").await, 3);
        let made = accepted(&answers, "connections")[0].body["id"].clone();
        let path = format!("/v1/connections/{}", made.as_str().unwrap());
        let deleted = world
            .call(Some(&world.token), Method::DELETE, &path, &[], None)
            .await;
        assert!(deleted.status < 300, "{}", deleted.body);
        let again = connect(0).await;
        assert_eq!(again.status, 201, "{}", again.body);
        let restored = world
            .call(
                Some(&world.token),
                Method::POST,
                &format!("{path}/restore"),
                &[],
                None,
            )
            .await;
        refused(&restored, "connections");
    });
}

#[test]
fn an_erasure_counts_as_an_operation_and_its_repeat_as_no_other() {
    own_with(limited("operations=1"), async |world| {
        let body = json!({"name": "x", "scope": {"type": "user"}, "secret": "drive"}).to_string();
        let token = Some(world.token.as_str());
        let made = world
            .call(token, Method::POST, "/v1/connections", &[], Some(&body))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
        let path = format!("/v1/connections/{}", made.body["id"].as_str().unwrap());
        let delete =
            |path: String| async move { world.call(token, Method::DELETE, &path, &[], None).await };
        assert_eq!(delete(path.clone()).await.status, 204);
        assert_eq!(used(world, "operations").await, 0, "it is kept for a month");
        for _ in 0..2 {
            let erased = delete(format!("{path}?erase=true")).await;
            assert_eq!(erased.status, 202, "{}", erased.body);
            assert_eq!(used(world, "operations").await, 1);
        }
        let full = json!({"mode": "full"});
        let full = world.api(Method::POST, "/sync", &[], Some(full)).await;
        refused(&full, "operations");
    });
}

#[test]
fn regression_a_log_is_audited_once_at_a_time() {
    own_with(limited("operations=1"), async |world| {
        let audit = |_| {
            let audit = json!({"mode": "audit", "dry_run": true});
            world.api(Method::POST, "/sync", &[], Some(audit))
        };
        let answers = join_all((0..6).map(audit)).await;
        let (begun, others): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 202);
        assert_eq!(begun.len(), 1);
        let id = begun[0].body["operation"]["id"].as_str().unwrap();
        for other in others {
            assert_eq!(other.status, 409, "{}", other.body);
            assert_eq!(other.body["current"]["id"], id, "{}", other.body);
        }
        let full = json!({"mode": "full"});
        let full = world.api(Method::POST, "/sync", &[], Some(full)).await;
        refused(&full, "operations");
        world.operation_in(id, "done").await;
        assert_eq!(audit(0).await.status, 202, "the first one has ended");
    });
}

#[test]
fn regression_unfinished_uploads_are_counted_and_can_be_given_up() {
    let limits = "uploads=3,upload_bytes=20000000";
    own_with(limited(limits), async |world| {
        let content = json!({"content": {"enabled": true}});
        let any = [("if-match", "*")];
        let enabled = world.api(Method::PATCH, "", &any, Some(content)).await;
        assert_eq!(enabled.status, 200, "{}", enabled.body);
        let file = world.take();
        world
            .file_until("stored", &file, |shown| !shown["content"].is_null())
            .await;
        let path = format!("/files/{file}/uploads");
        let version = world.get(&format!("/files/{file}")).await["content"]["version"].clone();
        let begin = |bytes: u64, salt: u64| {
            let wanted = json!({"size_bytes": bytes, "expected_version": version,
                "content_hash": format!("{salt:064x}")});
            world.api(Method::POST, &path, &[], Some(wanted))
        };
        let left = || world.system.aws.open_uploads().unwrap();
        let before = left();
        let answers = join_all((0..8).map(|salt| begin(1_000, salt))).await;
        let begun = accepted(&answers, "uploads");
        assert_eq!((begun.len(), left() - before), (3, 3));
        assert_eq!(used(world, "upload_bytes").await, 3_000);

        for upload in begun {
            let upload = format!("{path}/{}", upload.body["id"].as_str().unwrap());
            let ended = world.api(Method::DELETE, &upload, &[], None).await;
            assert_eq!(ended.status, 204, "{}", ended.body);
            let gone = world.api(Method::GET, &upload, &[], None).await;
            assert_eq!(gone.status, 404, "{}", gone.body);
        }
        assert_eq!(
            (left() - before, used(world, "uploads").await),
            (0, json!(0))
        );
        assert_eq!(begin(19_999_999, 20).await.status, 201);
        refused(&begin(2, 21).await, "upload_bytes");
        assert_eq!(begin(1, 22).await.status, 201);
        assert_eq!(left() - before, 2);
    });
}

#[test]
fn regression_a_tenant_owes_no_more_files_than_it_may() {
    own_with(limited("owed_files=4"), async |world| {
        world.post("/pause", json!({})).await;
        let files: Vec<String> = (0..6).map(|_| world.take()).collect();
        let any = [("if-match", "*")];
        let edit = |file: &String, starred: bool| {
            let path = format!("/files/{file}");
            let edit = json!({"starred": starred});
            async move { world.api(Method::PATCH, &path, &any, Some(edit)).await }
        };
        let answers = join_all(files.iter().map(|file| edit(file, true))).await;
        assert_eq!(accepted(&answers, "owed_files").len(), 4);
        assert_eq!(used(world, "owed_files").await, 4);
        let owing = answers
            .iter()
            .position(|answer| answer.status == 200)
            .unwrap();
        let path = format!("/intents/{}/cancel", files[owing]);
        let more = world
            .api(
                Method::PATCH,
                &format!("/files/{}", files[owing]),
                &any,
                Some(json!({"description": "a file that owes something may owe more"})),
            )
            .await;
        assert_eq!(more.status, 200, "{}", more.body);
        let cancelled = world.api(Method::POST, &path, &[], None).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.body);
        let refused_one = answers
            .iter()
            .position(|answer| answer.status == 429)
            .unwrap();
        eventually("what is owed is counted again", async || {
            let answer = edit(&files[refused_one], true).await;
            (answer.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn regression_a_tenant_that_calls_too_often_waits_and_others_do_not() {
    let folder = Folder::new();
    let setup = Setup {
        data_dir: Some(folder.path().to_owned()),
        ..limited("requests_per_second=20")
    };
    own_with(setup, async |world| {
        let identity = Identity::open(folder.path()).unwrap();
        let other = identity.token("other", "ann", 4_000_000_000).unwrap();
        let call = |token: &str| {
            let token = token.to_owned();
            async move {
                world
                    .call(Some(&token), Method::GET, "/v1/connections", &[], None)
                    .await
            }
        };
        let answers = join_all((0..200).map(|_| call(&world.token))).await;
        let good = accepted(&answers, "requests_per_second").len();
        assert!((5..120).contains(&good), "{good}");
        assert_eq!(call(&other).await.status, 200);
        eventually("the tenant may call again", async || {
            (call(&world.token).await.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn regression_what_a_tenants_searches_read_is_charged() {
    let limits = "requests_per_second=100,reads_per_minute=2000";
    own_with(limited(limits), async |world| {
        let search = async || world.api(Method::GET, "/files?q=zzz", &[], None).await;
        for searches in 0..400 {
            let answer = search().await;
            if answer.status == 200 {
                continue;
            }
            refused(&answer, "reads_per_minute");
            // Each reads the library, and is charged with the lease after it.
            assert!(searches > 10, "{searches}");
            return;
        }
        panic!("four hundred searches of the whole library were answered");
    });
}
