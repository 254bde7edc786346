//! Machines call in the name of the tenant that an operator gave them.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use crate::support::{Answer, LATER, World, own_with_key, top};

/// Returns the item that the operator's command of the documentation writes.
fn documented_item(client: &str, tenant: &str, role: &str) -> HashMap<String, AttributeValue> {
    let text = std::fs::read_to_string(top().join("infra/README.md")).unwrap();
    let start = text.find("{\"PK\":{\"S\":\"CLIENT#").expect("the command");
    let end = start + text[start..].find("}}'").unwrap() + 2;
    let json = text[start..end]
        .replace("'\"$MACHINE\"'", client)
        .replace("\"acme\"", &json!(tenant).to_string())
        .replace("\"editor\"", &json!(role).to_string());
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let attribute = |value: &Value| match (&value["S"], &value["N"]) {
        (Value::String(text), _) => AttributeValue::S(text.clone()),
        (_, Value::String(number)) => AttributeValue::N(number.clone()),
        _ => panic!("{value}"),
    };
    let members = json.as_object().unwrap().iter();
    members
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect()
}

async fn register(world: &World, client: &str, tenant: &str, role: &str) {
    let table = world.system.aws.dynamodb_client();
    let put = table.put_item().table_name(local::aws::NAME);
    let item = documented_item(client, tenant, role);
    put.set_item(Some(item)).send().await.unwrap();
}

/// Calls with the claims of a token of the client-credentials grant, some of them replaced.
async fn call(world: &World, folder: &Path, claims: &Value, method: Method, path: &str) -> Answer {
    let mut all = json!({
        "sub": "machine1", "client_id": "machine1", "token_use": "access", "version": 2,
        "scope": "drivesync/admin", "exp": LATER,
    });
    for (name, value) in claims.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    let token = Identity::open(folder).unwrap().sign(all).unwrap();
    let any = [("if-match", "*")];
    world
        .call(Some(&token), method, path, &any, Some("{}"))
        .await
}

#[test]
fn a_machine_has_the_lower_of_its_items_role_and_its_scopes() {
    own_with_key(async |world, folder| {
        let connection = format!("/v1/connections/{}", world.connection);
        let resume = format!("{connection}/resume");
        let tried = async |claims: Value| {
            let reads = call(world, folder, &claims, Method::GET, &connection).await;
            let resumes = call(world, folder, &claims, Method::POST, &resume).await;
            (reads.status, resumes.status)
        };
        assert_eq!(tried(json!({})).await, (401, 401), "no operator knows it");
        register(world, "machine1", "local", "operator").await;
        register(world, "machine2", "local", "viewer").await;
        register(world, "machine3", "local", "superuser").await;
        register(world, "machine4", "globex", "admin").await;
        for (claims, wanted) in [
            (json!({}), (200, 200)),
            (json!({"scope": "drivesync/viewer"}), (200, 403)),
            (
                json!({"scope": "x/y drivesync/operator drivesync/viewer"}),
                (200, 200),
            ),
            (json!({"scope": "x/admin openid"}), (403, 403)),
            (json!({"scope": null}), (403, 403)),
            // A claim of a tenant or a role gives a machine nothing.
            (
                json!({"custom:tenant": "globex", "custom:role": "admin"}),
                (200, 200),
            ),
            (
                json!({"sub": "machine2", "client_id": "machine2"}),
                (200, 403),
            ),
            (
                json!({"sub": "machine3", "client_id": "machine3"}),
                (200, 403),
            ),
            (
                json!({"sub": "machine4", "client_id": "machine4"}),
                (404, 404),
            ),
            (
                json!({"sub": "machine9", "client_id": "machine9"}),
                (401, 401),
            ),
            (json!({"sub": "a#b", "client_id": "a#b"}), (401, 401)),
        ] {
            assert_eq!(tried(claims.clone()).await, wanted, "{claims}");
        }
        let none = call(
            world,
            folder,
            &json!({"scope": ""}),
            Method::GET,
            &connection,
        )
        .await;
        assert_eq!(none.body["role_needed"], "viewer", "{}", none.body);

        // By its id, the access of a connection names it like a user.
        world
            .configure(json!({"access": [{"principal": "user:machine2", "role": "admin"}]}))
            .await;
        assert_eq!(tried(json!({})).await, (404, 404));
        let named = json!({"sub": "machine2", "client_id": "machine2"});
        assert_eq!(tried(named).await, (200, 403));
    });
}

#[test]
fn an_access_token_of_a_user_gives_no_access() {
    own_with_key(async |world, folder| {
        register(world, "machine1", "local", "admin").await;
        for claims in [
            json!({"sub": "5f0c1a2b", "username": "ann"}),
            json!({"sub": "5f0c1a2b", "username": "ann", "custom:tenant": "local"}),
            json!({"sub": "5f0c1a2b", "custom:tenant": "local", "custom:role": "admin"}),
            json!({"client_id": null, "custom:tenant": "local"}),
        ] {
            let answer = call(world, folder, &claims, Method::GET, "/v1/connections").await;
            assert_eq!(answer.status, 401, "{claims}: {}", answer.body);
        }
    });
}
