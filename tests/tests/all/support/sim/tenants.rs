//! Further tenants of a world, each with a Drive account of its own.

use domain::{ConnectionId, ConnectionKey, TenantId};
use http::Method;
use local::system::SECRETS_PREFIX;
use serde_json::{Value, json};

use super::{DRIVE_URL, EPOCH_MS, Reply, Sim};
use crate::support::credentials;

/// A tenant with a connection.
#[derive(Clone)]
pub struct Tenant {
    sim: Sim,
    token: String,
    /// The user of the Drive.
    pub user: &'static str,
    pub key: ConnectionKey,
}

impl Sim {
    /// Connects the Drive of a user for a tenant, which may have connections already.
    pub async fn tenant(&self, name: &str, user: &'static str) -> Tenant {
        let secret = format!("{SECRETS_PREFIX}{name}/{user}");
        let created = self.0.aws.secrets_client().create_secret().name(secret);
        let created = created.secret_string(credentials(DRIVE_URL, user));
        // It exists if the tenant has a connection to this Drive.
        let _ = created.send().await;
        let expires_at = (EPOCH_MS / 1_000) + 3_650 * 86_400;
        let token = self.0.identity.token(name, user, expires_at).unwrap();
        let body = json!({"name": "Drive", "scope": {"type": "user"}, "secret": user});
        let made = self
            .call_as(&token, Method::POST, "/v1/connections", &[], Some(body))
            .await;
        let made = made.unwrap();
        assert_eq!(made.status, 201, "{}", made.body);
        let key = ConnectionKey {
            tenant: TenantId::parse(name).unwrap(),
            connection: ConnectionId::parse(made.body["id"].as_str().unwrap()).unwrap(),
        };
        if self.tells_events() {
            self.make_receiver(&key, &token).await;
        }
        Tenant {
            sim: self.clone(),
            token,
            user,
            key,
        }
    }
}

impl Tenant {
    /// Calls the API about the connection; `path` follows `/v1/connections/{c}`.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let path = format!("/v1/connections/{}{path}", self.key.connection);
        let any = [("if-match", "*")];
        let reply = self
            .sim
            .call_as(&self.token, method, &path, &any, body)
            .await;
        reply.unwrap()
    }
}
