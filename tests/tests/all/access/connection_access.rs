//! A connection that is narrowed to some callers does not exist for the others, wherever they look.

use std::collections::BTreeMap;
use std::path::Path;

use domain::{Access, ConnectionId, ConnectionKey, Principal, Role};
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};
use store::{Connection, ConnectionState, DeadLetter, FailedMessage};

use crate::support::{Answer, LATER, World, own_with_key};

/// Somebody of the tenant.
struct Caller<'w> {
    world: &'w World,
    token: String,
}

impl Caller<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.keyed(method, path, body, None).await
    }

    async fn keyed(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Answer {
        let mut headers = vec![("if-match", "*")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = body.map(|body| body.to_string());
        let token = Some(self.token.as_str());
        let world = self.world;
        world
            .call(token, method, path, &headers, body.as_deref())
            .await
    }

    async fn status(&self, method: Method, path: &str, body: Option<Value>) -> u16 {
        self.ask(method, path, body).await.status
    }

    /// Returns the ids that a list of connections has, page by page.
    async fn connections(&self, limit: u32) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut path = format!("/v1/connections?limit={limit}");
        loop {
            let page = self.ask(Method::GET, &path, None).await.body;
            let items = page["items"].as_array().unwrap().iter();
            pages.push(
                items
                    .map(|item| item["id"].as_str().unwrap().to_owned())
                    .collect(),
            );
            let Some(cursor) = page["next_cursor"].as_str() else {
                return pages;
            };
            path = format!("/v1/connections?limit={limit}&cursor={cursor}");
        }
    }
}

fn caller<'w>(
    world: &'w World,
    folder: &Path,
    subject: &str,
    role: Role,
    groups: &[&str],
) -> Caller<'w> {
    let token = Identity::open(folder).unwrap().sign(json!({
        "sub": subject, "custom:tenant": "local", "custom:role": role.as_str(),
        "cognito:groups": groups, "exp": LATER,
    }));
    let token = token.unwrap();
    Caller { world, token }
}

/// Sets an input of the connection aside.
async fn set_aside(world: &World) -> String {
    let message = FailedMessage {
        queue: "snapshots.fifo",
        id: "m-1",
        body: "{",
        sent_at: world.now(),
        receives: 3,
    };
    let key = world.key.clone();
    let letter = DeadLetter::from_message(message, key, None, "not a snapshot", world.now());
    world.store().record_dead_letter(&letter).await.unwrap();
    let letters = world.ask(Method::GET, "/v1/dead-letters", None).await.body;
    letters["items"][0]["id"].as_str().unwrap().to_owned()
}

fn narrowed() -> Value {
    json!([
        {"principal": "user:ann", "role": "viewer"},
        {"principal": "group:finance", "role": "editor"},
    ])
}

#[test]
fn regression_a_narrowed_connection_does_not_exist_for_others() {
    own_with_key(async |world, folder| {
        let file = world.take();
        let letter = set_aside(world).await;
        let bob = caller(world, folder, "bob", Role::Operator, &["sales", "fin"]);
        let connection = format!("/v1/connections/{}", world.connection);
        let path = format!("{connection}/files/{file}");
        let edit = Some(json!({"description": "by Bob"}));
        let edited = bob
            .keyed(Method::PATCH, &path, edit.clone(), Some("k"))
            .await;
        assert_eq!(edited.status, 200, "{}", edited.body);
        let redrive = Some(json!({"ids": [letter]}));
        let again = "/v1/dead-letters/redrive";
        let sent = bob
            .keyed(Method::POST, again, redrive.clone(), Some("r"))
            .await;
        assert_eq!(sent.status, 200, "{}", sent.body);

        world.configure(json!({"access": narrowed()})).await;
        let api = world.ask(Method::GET, "/openapi.json", None).await.body;
        let mut tried = 0;
        for (template, item) in api["paths"].as_object().unwrap() {
            if !template.contains("{connection}") {
                continue;
            }
            let fill = |connection: &str| {
                template
                    .replace("{connection}", connection)
                    .replace("{file}", &file)
                    .replace(['{', '}'], "")
            };
            for method in item.as_object().unwrap().keys() {
                let method: Method = method.to_uppercase().parse().unwrap();
                if item[method.as_str().to_lowercase()]["x-role"] == "admin" {
                    continue;
                }
                let here = bob
                    .ask(method.clone(), &fill(&world.connection), None)
                    .await;
                let none = bob.ask(method.clone(), &fill("c_none"), None).await;
                assert_eq!(here.status, 404, "{method} {template}: {}", here.body);
                assert_eq!(here.body["detail"], "the connection does not exist");
                assert_eq!(none.status, 404, "{method} {template}: {}", none.body);
                assert_eq!(
                    here.body["detail"], none.body["detail"],
                    "{method} {template}"
                );
                tried += 1;
            }
        }
        assert!(tried > 30, "{tried}");

        // No list, count or repeat shows it either.
        assert_eq!(bob.connections(100).await, [Vec::<String>::new()]);
        let stats = bob.ask(Method::GET, "/v1/stats", None).await.body;
        assert_eq!(stats["connections"]["active"], 0, "{stats}");
        let all = "/v1/dead-letters?status=all";
        let letters = bob.ask(Method::GET, all, None).await.body;
        assert_eq!(letters["items"], json!([]));
        let only = format!("{all}&connection={}", world.connection);
        assert_eq!(bob.status(Method::GET, &only, None).await, 404);
        let one = format!("/v1/dead-letters/{letter}");
        assert_eq!(bob.status(Method::GET, &one, None).await, 404);
        let drop = Some(json!({"reason": "x"}));
        assert_eq!(
            bob.status(Method::POST, &format!("{one}/drop"), drop).await,
            404
        );
        for key in [None, Some("r")] {
            let sent = bob.keyed(Method::POST, again, redrive.clone(), key).await;
            assert_eq!(sent.body["results"][0]["status"], 404, "{}", sent.body);
            assert!(sent.body["results"][0]["letter"].is_null(), "{}", sent.body);
        }
        let whole = json!({"all": true, "connection": world.connection});
        assert_eq!(bob.status(Method::POST, again, Some(whole)).await, 404);
        let repeated = bob.keyed(Method::PATCH, &path, edit, Some("k")).await;
        assert_eq!(repeated.status, 404, "{}", repeated.body);

        // It is all there for an administrator.
        let letters = world.ask(Method::GET, all, None).await.body;
        assert_eq!(letters["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn the_role_at_a_connection_is_the_lower_one() {
    own_with_key(async |world, folder| {
        let file = world.take();
        let connection = format!("/v1/connections/{}", world.connection);
        let path = format!("{connection}/files/{file}");
        world.configure(json!({"access": narrowed()})).await;
        let edit = |who: &str| Some(json!({"description": who}));
        for (subject, role, groups, wanted) in [
            ("ann", Role::Operator, &[][..], Some(Role::Viewer)),
            ("ann", Role::Operator, &["finance"], Some(Role::Editor)),
            ("ann", Role::Viewer, &["finance"], Some(Role::Viewer)),
            ("bob", Role::Operator, &["finance"], Some(Role::Editor)),
            ("bob", Role::Editor, &["x", "finance"], Some(Role::Editor)),
            ("bob", Role::Operator, &["finance,x"], None),
            ("finance", Role::Operator, &["ann"], None),
            ("root", Role::Admin, &[], Some(Role::Admin)),
        ] {
            let who = caller(world, folder, subject, role, groups);
            let what = format!("{subject}, {role}, {groups:?}");
            let reads = who.status(Method::GET, &path, None).await;
            let edits = who.ask(Method::PATCH, &path, edit(&what)).await;
            let pauses = who
                .ask(Method::POST, &format!("{connection}/resume"), None)
                .await;
            let statuses = (reads, edits.status, pauses.status);
            let expected = match wanted {
                None => (404, 404, 404),
                Some(Role::Viewer) => (200, 403, 403),
                Some(Role::Editor) => (200, 200, 403),
                Some(Role::Operator | Role::Admin) => (200, 200, 200),
            };
            assert_eq!(statuses, expected, "{what}");
            if edits.status == 403 {
                assert_eq!(edits.body["role_needed"], "editor", "{}", edits.body);
            }
        }
        // Without entries, administrators alone are left; without access, everybody is back.
        let ann = caller(world, folder, "ann", Role::Operator, &["finance"]);
        world.configure(json!({"access": []})).await;
        assert_eq!(ann.status(Method::GET, &path, None).await, 404);
        let open = world.configure(json!({"access": null})).await;
        assert_eq!(open["access"], Value::Null);
        assert_eq!(ann.status(Method::GET, &path, None).await, 200);
    });
}

#[test]
fn credentials_and_access_are_an_administrators() {
    own_with_key(async |world, folder| {
        let connection = format!("/v1/connections/{}", world.connection);
        let bob = caller(world, folder, "bob", Role::Operator, &[]);
        for change in [
            json!({"access": []}),
            json!({"access": [{"principal": "user:bob", "role": "admin"}]}),
            json!({"subject": "ceo@example.com"}),
            json!({"secret": "other"}),
            json!({"replace_account": true}),
            json!({"name": "x", "subject": "ceo@example.com"}),
        ] {
            let refused = bob
                .ask(Method::PATCH, &connection, Some(change.clone()))
                .await;
            assert_eq!(refused.status, 403, "{change}: {}", refused.body);
            assert_eq!(refused.body["role_needed"], "admin", "{change}");
        }
        let body = json!({"name": "x", "scope": {"type": "user"}, "secret": "drive"});
        let made = bob.ask(Method::POST, "/v1/connections", Some(body)).await;
        assert_eq!(
            (made.status, &made.body["role_needed"]),
            (403, &json!("admin"))
        );
        let gone = bob.ask(Method::DELETE, &connection, None).await;
        assert_eq!(gone.status, 403, "{}", gone.body);
        let rules = json!({"name": "Renamed", "access": null, "removals_unasked_max": 7});
        let kept = bob.ask(Method::PATCH, &connection, Some(rules)).await;
        assert_eq!(kept.status, 200, "{}", kept.body);
    });
}

#[test]
fn pages_of_the_connections_that_a_caller_can_reach_are_full() {
    own_with_key(async |world, folder| {
        let model = world
            .store()
            .load_connection(&world.key)
            .await
            .unwrap()
            .unwrap();
        let mut ours = Vec::new();
        for number in 0..23 {
            let id = ConnectionId::parse(&format!("z{number:02}")).unwrap();
            let who = if number % 5 == 3 { "ann" } else { "bob" };
            let access = Access {
                entries: BTreeMap::from([(Principal::User(who.to_owned()), Role::Editor)]),
            };
            if who == "ann" {
                ours.push(id.to_string());
            }
            let connection = Connection {
                key: ConnectionKey {
                    connection: id,
                    ..world.key.clone()
                },
                state: ConnectionState::Paused,
                access: Some(access),
                ..model.clone()
            };
            world
                .store()
                .create_connection(&connection, None)
                .await
                .unwrap();
        }
        ours.insert(0, world.connection.clone());
        let ann = caller(world, folder, "ann", Role::Viewer, &[]);
        for limit in 1..=6_u32 {
            let size = usize::try_from(limit).unwrap();
            let wanted: Vec<_> = ours.chunks(size).map(<[_]>::to_vec).collect();
            assert_eq!(ann.connections(limit).await, wanted, "{limit}");
        }
        let stats = ann.ask(Method::GET, "/v1/stats", None).await.body;
        assert_eq!(stats["connections"]["paused"], ours.len() - 1, "{stats}");
    });
}
