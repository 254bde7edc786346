//! Every route of the API's description rejects the callers that it must not serve.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::content::{
    ContentHash, ContentOrigin, ObjectKey, ObjectLocation, StoredObject, StoredVersion,
};
use domain::{FileId, Role};
use http::Method;
use local::gateway::Identity;
use serde_json::{Map, Value, json};

use crate::support::{Answer, LATER, World, both_rename, eventually, own_with_key};

const TENANT_CLAIM: &str = "custom:tenant";
/// The paths for which the description requires no token.
const OPEN: [&str; 1] = ["/health"];
/// The methods that are tried on each path, described or not.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// One method of one path of the description, with all parameters filled in.
pub(super) struct Route {
    pub(super) template: String,
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) described: bool,
    /// The lowest role that may use it, by the description.
    pub(super) role: Option<Role>,
    body: Option<String>,
}

impl Route {
    pub(super) async fn call(&self, world: &World, token: Option<&str>) -> Answer {
        let headers = [("if-match", "*")];
        let (method, body) = (self.method.clone(), self.body.as_deref());
        world.call(token, method, &self.path, &headers, body).await
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// The resources of the tenant that the routes are about.
pub(super) struct Resources {
    pub(super) connection: String,
    file: String,
    conflict: String,
    operation: String,
    pub(super) webhook: String,
    /// A time at which all of it was there.
    at: String,
}

impl Resources {
    pub(super) async fn make(world: &World) -> Self {
        let file = world.take();
        let conflict = both_rename(world, &file).await["id"].clone();
        let audit = json!({"mode": "audit", "dry_run": true});
        let operation = world.post("/sync", audit).await["operation"]["id"].clone();
        let operation = operation.as_str().unwrap().to_owned();
        let path = format!("/operations/{operation}");
        eventually("the audit is done", async || {
            (world.get(&path).await["state"] == "done").then_some(())
        })
        .await;
        world.converge().await;
        store_content(world, &file).await;
        let body = json!({
            "name": "ours.txt", "url": "https://hooks.example.com/ours.txt",
            "connections": [world.connection],
        });
        let webhook = world.ask(Method::POST, "/v1/webhooks", Some(body)).await;
        assert_eq!(webhook.status, 201, "{}", webhook.body);
        Self {
            connection: world.connection.clone(),
            file,
            conflict: conflict.as_str().unwrap().to_owned(),
            operation,
            webhook: webhook.body["id"].as_str().unwrap().to_owned(),
            at: world.now().to_string(),
        }
    }

    /// Returns a path with our ids. Other parameters get a valid name.
    fn path(&self, template: &str) -> String {
        let part = |part: &str| match part {
            "{connection}" => self.connection.clone(),
            "{file}" => self.file.clone(),
            "{conflict}" => self.conflict.clone(),
            "{operation}" => self.operation.clone(),
            "{webhook}" => self.webhook.clone(),
            other => other.replace(['{', '}'], ""),
        };
        template.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// Returns a body that the operation would accept from its owner.
    fn body(&self, operation: &Value) -> Option<String> {
        operation.get("requestBody")?;
        let body = match operation["operationId"].as_str().unwrap() {
            "create_connection" => {
                json!({"name": "x", "scope": {"type": "user"}, "secret": "drive"})
            }
            "update_connection" | "update_file" => json!({"name": "changed by a stranger"}),
            "create_file" => json!({"name": "x", "mime_type": "text/plain"}),
            "start_sync" => json!({"mode": "full"}),
            "update_version" => json!({"pinned": true}),
            "restore_files" => json!({"folder": self.file, "at": self.at}),
            "restore_version" => json!({"version": 1}),
            "roll_back_file" => json!({"history_version": "1"}),
            "begin_upload" => {
                json!({"size_bytes": 1, "content_hash": "00".repeat(32), "expected_version": 1})
            }
            "create_webhook" => {
                json!({"name": "x", "url": "https://hooks.example.com/"})
            }
            "update_webhook" => json!({"name": "changed by a stranger"}),
            "replay_webhook" => {
                json!({"connection": self.connection, "after": "00000000000000ab.4.1"})
            }
            "resolve_conflict" => json!({"choose": "app"}),
            "retry_intents" | "cancel_intents" => json!({"all": true}),
            "resolve_conflicts" => {
                json!({"resolutions": [{"id": self.conflict, "choose": "app"}]})
            }
            _ => json!({}),
        };
        Some(body.to_string())
    }

    /// Returns whether a response contains anything of ours. Responses do not repeat the request's
    /// path.
    pub(super) fn is_shown_in(&self, answer: &Answer) -> bool {
        let text = format!("{} {:?}", answer.body, answer.headers);
        let ours = [
            self.connection.as_str(),
            &self.file,
            &self.conflict,
            &self.operation,
            &self.webhook,
            "ours.txt",
            "theirs.txt",
        ];
        ours.iter().any(|ours| text.contains(ours))
    }
}

/// Stores the current content of a file.
async fn store_content(world: &World, file: &str) {
    let (store, key) = (world.store(), &world.key);
    let file = FileId::parse(file).unwrap();
    let record = store.load_file(key, &file).await.unwrap().unwrap();
    let hash = ContentHash::from_bytes([7; 32]);
    let place = ObjectLocation::plain(ObjectKey::content(&key.tenant, &hash, 7), 1);
    let later = world.now().plus_millis(86_400_000);
    let stored = StoredObject::new(hash, place, 1, world.now(), later);
    store
        .put_object_if_absent(&key.tenant, &stored)
        .await
        .unwrap();
    let (number, text, now) = (record.content_version, "text/plain", world.now());
    let version = StoredVersion::new(number, &stored, text, ContentOrigin::Drive, now);
    let linked = store.link_version(key, &file, &version).await.unwrap();
    assert_eq!(linked, store::Linked::Done);
}

/// Returns the described routes, and every other method of their paths.
pub(super) async fn routes(world: &World, resources: &Resources) -> Vec<Route> {
    let api = world
        .call(None, Method::GET, "/openapi.json", &[], None)
        .await;
    assert_eq!(api.status, 200);
    let mut routes = Vec::new();
    for (template, item) in api.body["paths"].as_object().unwrap() {
        for method in METHODS {
            let operation = &item[method.as_str().to_lowercase()];
            let open = operation["security"] == json!([{}]) || operation["security"] == json!([]);
            assert_eq!(
                open && operation.is_object(),
                operation.is_object() && OPEN.contains(&template.as_str()),
                "{method} {template}"
            );
            routes.push(Route {
                template: template.clone(),
                path: resources.path(template),
                described: operation.is_object(),
                role: operation["x-role"].as_str().and_then(Role::parse),
                body: resources.body(operation),
                method,
            });
        }
    }
    let described = routes.iter().filter(|route| route.described).count();
    assert!(described >= 40, "{described}");
    routes
}

/// Returns everything of the connection that a caller can read.
pub(super) async fn readable_state(world: &World) -> Value {
    let mut all = Map::new();
    for path in [
        "",
        "/conflicts?status=all&limit=1000",
        "/intents",
        "/intents?status=failed",
        "/operations",
    ] {
        all.insert(path.to_owned(), world.get(path).await);
    }
    for path in ["/v1/connections", "/v1/dead-letters", "/v1/webhooks"] {
        let token = Some(world.token.as_str());
        let answer = world.call(token, Method::GET, path, &[], None).await;
        all.insert(path.to_owned(), answer.body);
    }
    all.insert("files".to_owned(), json!(world.files().await));
    Value::Object(all)
}

/// Signs a token with any claims, with the key of a data directory.
fn signed(folder: &Path, header: &Value, claims: &Value) -> String {
    let key = std::fs::read(folder.join("token.key")).unwrap();
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let said = format!("{}.{}", part(header), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = hmac::sign(&key, said.as_bytes());
    format!("{said}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// Returns invalid tokens, by the defect of each.
fn bad_tokens(folder: &Path, good: &str) -> Vec<(&'static str, Option<String>)> {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({
        "iss": "drivesync-local", "aud": "drivesync", "sub": "eve", TENANT_CLAIM: "local",
            "exp": LATER,
    });
    assert!(
        Identity::open(folder)
            .unwrap()
            .claims(&signed(folder, &header, &claims))
            .is_some(),
        "but for what is changed below, the token is good"
    );
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        Some(signed(folder, &header, &claims))
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        Some(signed(folder, &header, &claims))
    };
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let others = Identity::ephemeral().unwrap();
    let forged = URL_SAFE_NO_PAD.encode(with_tenant(&claims, "globex"));
    vec![
        ("no token", None),
        ("empty", Some(String::new())),
        ("no JWT", Some("x".to_owned())),
        ("three parts of nothing", Some("a.b.c".to_owned())),
        ("no algorithm", Some(format!("{unsigned}.{}.", parts[1]))),
        (
            "a signature cut off",
            Some(format!("{}.{}.", parts[0], parts[1])),
        ),
        (
            "other claims under our signature",
            Some(format!("{}.{forged}.{}", parts[0], parts[2])),
        ),
        (
            "another key",
            Some(others.token("local", "eve", LATER).unwrap()),
        ),
        ("expired", with("exp", json!(1))),
        ("without an end", without("exp")),
        ("not good yet", with("nbf", json!(LATER))),
        ("another audience", with("aud", json!("another"))),
        ("without an audience", without("aud")),
        ("another issuer", with("iss", json!("another"))),
        ("without an issuer", without("iss")),
        ("without a tenant", without(TENANT_CLAIM)),
        ("an empty tenant", with(TENANT_CLAIM, json!(""))),
        (
            "a tenant that breaks out of its key",
            with(TENANT_CLAIM, json!("local#C#x")),
        ),
        (
            "a tenant under another name",
            without(TENANT_CLAIM).map(|_| {
                let mut claims = claims.clone();
                claims.as_object_mut().unwrap().remove(TENANT_CLAIM);
                claims["tenant"] = json!("local");
                signed(folder, &header, &claims)
            }),
        ),
        ("without a subject", without("sub")),
    ]
}

fn with_tenant(claims: &Value, tenant: &str) -> String {
    let mut claims = claims.clone();
    claims[TENANT_CLAIM] = json!(tenant);
    claims.to_string()
}

#[test]
fn every_route_rejects_every_bad_token_and_changes_nothing() {
    own_with_key(async |world, folder| {
        let resources = Resources::make(world).await;
        let before = readable_state(world).await;
        for (what, token) in bad_tokens(folder, &world.token) {
            for route in routes(world, &resources).await {
                let answer = route.call(world, token.as_deref()).await;
                let name = route.name();
                if OPEN.contains(&route.template.as_str()) {
                    let open = if route.described {
                        &[200][..]
                    } else {
                        &[200, 401, 405]
                    };
                    assert!(open.contains(&answer.status), "{name} with {what}");
                    continue;
                }
                assert_eq!(
                    answer.headers["content-type"], "application/problem+json",
                    "{name} with {what}"
                );
                assert!(!resources.is_shown_in(&answer), "{name} with {what}");
                // A valid token without a tenant passes the gateway, and learns that there is no
                // such method, which the description shows too.
                if !route.described && answer.status == 405 {
                    continue;
                }
                assert_eq!(answer.status, 401, "{name} with {what}: {}", answer.body);
                assert_eq!(answer.headers["www-authenticate"], "Bearer", "{name}");
                if route.method != Method::HEAD {
                    assert_eq!(answer.body["status"], 401, "{name} with {what}");
                }
            }
        }
        assert_eq!(readable_state(world).await, before);
    });
}

#[test]
fn on_every_route_another_tenant_sees_and_changes_nothing() {
    own_with_key(async |world, folder| {
        let resources = Resources::make(world).await;
        let before = readable_state(world).await;
        let other = Identity::open(folder).unwrap();
        let other = other.token("globex", "hank", LATER).unwrap();
        for route in routes(world, &resources).await {
            let answer = route.call(world, Some(&other)).await;
            let name = route.name();
            assert!(!resources.is_shown_in(&answer), "{name}: {}", answer.body);
            assert!(answer.status < 500, "{name}: {}", answer.body);
            if route.described && route.template.contains("{connection}") {
                assert_eq!(answer.status, 404, "{name}: {}", answer.body);
            }
            if answer.status >= 400 {
                assert_eq!(
                    answer.headers["content-type"], "application/problem+json",
                    "{name}"
                );
            }
        }
        let path = format!("/v1/dead-letters?connection={}", resources.connection);
        let answer = world
            .call(Some(&other), Method::GET, &path, &[], None)
            .await;
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert_eq!(readable_state(world).await, before);

        // The same requests succeed for the owner, so the tenant was the reason.
        let known = ["{connection}", "{file}", "{conflict}", "{operation}"];
        for route in routes(world, &resources).await {
            let parts = route.template.split('/');
            let whole = parts
                .filter(|part| part.starts_with('{'))
                .all(|part| known.contains(&part));
            // This one shows deleted connections alone.
            let of_deleted = route.template.starts_with("/v1/erasures/");
            if whole && route.described && route.method == Method::GET && !of_deleted {
                let answer = route.call(world, Some(&world.token)).await;
                assert_eq!(answer.status, 200, "{}: {}", route.name(), answer.body);
            }
        }
    });
}

#[test]
fn only_the_webhook_and_the_description_need_no_token() {
    crate::support::shared(async |world| {
        for (method, path, status) in [
            (Method::GET, "/openapi.json", 200),
            (Method::POST, "/webhooks/drive", 204),
            (Method::GET, "/webhooks/drive", 401),
            (Method::PUT, "/webhooks/drive", 401),
            (Method::POST, "/webhooks/drive/", 401),
            (Method::POST, "/webhooks", 401),
            (Method::POST, "/openapi.json", 401),
            (Method::POST, "/health", 401),
            (Method::GET, "/health/", 401),
            (Method::GET, "//health", 401),
            (Method::GET, "/v1", 401),
            // The console's pages are no secret, and leave it to the API who may see what.
            (Method::GET, "/", 200),
            (Method::GET, "/console", 200),
            (Method::GET, "/console/c/c_1/files", 200),
            (Method::GET, "/console/a/none", 404),
            (Method::POST, "/console", 401),
            (Method::GET, "/consoles", 401),
            (Method::GET, "/nothing", 401),
        ] {
            let answer = world.call(None, method.clone(), path, &[], None).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        }
    });
}
