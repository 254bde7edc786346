//! The tenant is in every key: two tenants that sync the same files never see each other.

use http::Method;
use local::gateway::Identity;
use serde_json::json;

use crate::support::{LATER, World, both_rename, credentials, eventually, own_with_key};

async fn call(
    world: &World,
    token: &str,
    method: Method,
    path: &str,
    body: Option<&str>,
) -> (u16, serde_json::Value) {
    let headers = [("if-match", "*")];
    let answer = world.call(Some(token), method, path, &headers, body).await;
    (answer.status, answer.body)
}

#[test]
fn two_tenants_with_the_same_files_never_see_one_another() {
    own_with_key(async |world, folder| {
        let identity = Identity::open(folder).unwrap();
        let other = identity.token("globex", "hank", LATER).unwrap();
        let mine = world.token.clone();
        let name = "drivesync/globex/drive";
        let secrets = world.system.aws.secrets_client();
        let secret = credentials(&world.drive_url, "owner");
        secrets
            .create_secret()
            .name(name)
            .secret_string(secret)
            .send()
            .await
            .unwrap();
        let body =
            json!({"name": "Theirs", "scope": {"type": "user"}, "secret": "drive"}).to_string();
        let (status, made) =
            call(world, &other, Method::POST, "/v1/connections", Some(&body)).await;
        assert_eq!(status, 201, "{made}");
        let (ours, theirs) = (
            world.key.connection.to_string(),
            made["id"].as_str().unwrap().to_owned(),
        );
        let file = world.take();
        let at = |connection: &str| format!("/v1/connections/{connection}/files/{file}");

        // Each tenant has its own record of the same file.
        eventually("theirs has arrived", async || {
            (call(world, &other, Method::GET, &at(&theirs), None).await.0 == 200).then_some(())
        })
        .await;
        for (token, connection) in [(&mine, &theirs), (&other, &ours)] {
            for path in [
                "",
                "/files",
                "/status",
                "/conflicts",
                "/intents",
                "/operations",
            ] {
                let path = format!("/v1/connections/{connection}{path}");
                assert_eq!(
                    call(world, token, Method::GET, &path, None).await.0,
                    404,
                    "{path}"
                );
            }
            assert_eq!(
                call(world, token, Method::GET, &at(connection), None)
                    .await
                    .0,
                404
            );
            assert_eq!(
                call(
                    world,
                    token,
                    Method::PATCH,
                    &at(connection),
                    Some(r#"{"name":"x"}"#)
                )
                .await
                .0,
                404
            );
            for path in ["/pause", "/resume", "/sync"] {
                let path = format!("/v1/connections/{connection}{path}");
                let (status, body) = call(
                    world,
                    token,
                    Method::POST,
                    &path,
                    Some(r#"{"mode":"delta"}"#),
                )
                .await;
                assert_eq!(status, 404, "{path}: {body}");
            }
            let path = format!("/v1/connections/{connection}");
            assert_eq!(call(world, token, Method::DELETE, &path, None).await.0, 404);
        }
        for (token, connection) in [(&mine, &ours), (&other, &theirs)] {
            let (_, listed) = call(world, token, Method::GET, "/v1/connections", None).await;
            let ids: Vec<&str> = listed["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["id"].as_str().unwrap())
                .collect();
            assert_eq!(ids, [connection.as_str()]);
        }

        // A conflict of one tenant can't be resolved by another, even with its id.
        let conflict = both_rename(world, &file).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        eventually("the rename has arrived there too", async || {
            let (_, at) = call(world, &other, Method::GET, &at(&theirs), None).await;
            (at["fields"]["name"] == "theirs.txt" && at["conflicts"] == json!([])).then_some(())
        })
        .await;
        for connection in [&ours, &theirs] {
            let path = format!("/v1/connections/{connection}/conflicts/{conflict}/resolution");
            let (status, body) = call(
                world,
                &other,
                Method::POST,
                &path,
                Some(r#"{"choose":"app"}"#),
            )
            .await;
            assert_eq!(status, 404, "{body}");
        }
        // A valid token with an invalid tenant gives no access.
        let odd = identity.token("local#C#x", "eve", LATER).unwrap();
        assert_eq!(
            call(world, &odd, Method::GET, "/v1/connections", None)
                .await
                .0,
            401
        );
    });
}

#[test]
fn a_secret_of_another_tenant_cannot_be_named() {
    crate::support::shared(async |world| {
        for secret in [
            "../globex/drive",
            "globex/drive",
            "drivesync/globex/drive",
            "",
            "..",
        ] {
            let body =
                json!({"name": "x", "scope": {"type": "user"}, "secret": secret}).to_string();
            let token = Some(world.token.as_str());
            let answer = world
                .call(token, Method::POST, "/v1/connections", &[], Some(&body))
                .await;
            assert_eq!(
                (answer.status, &answer.body["pointer"]),
                (422, &json!("/secret")),
                "{secret}"
            );
        }
    });
}
