//! What can't be taken back, or leaves the tenant, is for an operator to decide.

use domain::Role;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use crate::support::{Answer, LATER, World, own_with_key};

const ANN: &str = "user:ann@example.com";
const EVE: &str = "user:eve@evil.example";

/// An editor and an operator beside the administrator of the world.
struct Team<'w> {
    world: &'w World,
    editor: String,
    operator: String,
}

impl Team<'_> {
    async fn ask(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        let path = format!("/v1/connections/{}{path}", self.world.connection);
        let body = Some(body.to_string());
        let any = [("if-match", "*")];
        self.world
            .call(Some(token), method, &path, &any, body.as_deref())
            .await
    }

    async fn edit(&self, token: &str, file: &str, fields: Value) -> Answer {
        self.ask(token, Method::PATCH, &format!("/files/{file}"), fields)
            .await
    }

    /// Resolves a conflict as an editor, who may not, and then as an operator.
    async fn needs_operator(&self, conflict: &Value, choice: Value) {
        let path = format!("/conflicts/{}/resolution", conflict["id"].as_str().unwrap());
        let refused = self
            .ask(&self.editor, Method::POST, &path, choice.clone())
            .await;
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert_eq!(refused.body["role_needed"], "operator", "{}", refused.body);
        let taken = self.ask(&self.operator, Method::POST, &path, choice).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    }
}

fn team(test: impl AsyncFnOnce(&World, &Team<'_>)) {
    own_with_key(async |world, folder| {
        let identity = Identity::open(folder).unwrap();
        let token = |role| {
            identity
                .token_with_role("local", "member", role, LATER)
                .unwrap()
        };
        let team = Team {
            world,
            editor: token(Role::Editor),
            operator: token(Role::Operator),
        };
        test(world, &team).await;
    });
}

#[test]
fn regression_only_an_operator_shares_beyond_the_own_domains() {
    team(async |world, team| {
        let file = world.take();
        for (principal, role) in [(ANN, "reader"), ("anyone", "reader")] {
            let shared = json!({"permissions": {principal: role}});
            let refused = team.edit(&team.editor, &file, shared).await;
            assert_eq!(
                refused.status, 403,
                "no domain is its own: {}",
                refused.body
            );
        }
        world
            .configure(json!({"own_domains": ["example.com"]}))
            .await;
        let within = json!({"permissions": {ANN: "writer", "domain:example.com": "reader"}});
        let shared = team.edit(&team.editor, &file, within).await;
        assert_eq!(shared.status, 200, "{}", shared.body);
        for principal in [
            EVE,
            "anyone",
            "group:all@example.com.evil.example",
            "domain:evil.example",
        ] {
            let shared = json!({"name": "x", "permissions": {principal: "reader"}});
            let refused = team.edit(&team.editor, &file, shared.clone()).await;
            assert_eq!(refused.status, 403, "{principal}: {}", refused.body);
            assert_eq!(refused.body["role_needed"], "operator", "{principal}");
            let pointer = format!("/permissions/{principal}");
            assert_eq!(refused.body["pointer"], pointer, "{principal}");
        }
        assert_eq!(
            world.file(&file).await["fields"]["permissions"]["anyone"],
            Value::Null
        );
        let shared = json!({"permissions": {EVE: "writer"}});
        assert_eq!(team.edit(&team.operator, &file, shared).await.status, 200);
        // Less than before is no sharing.
        for less in [json!("reader"), Value::Null] {
            let narrowed = team
                .edit(&team.editor, &file, json!({"permissions": {EVE: less}}))
                .await;
            assert_eq!(narrowed.status, 200, "{}", narrowed.body);
        }
    });
}

#[test]
fn a_move_into_a_folder_that_is_shared_outside_shares_the_file() {
    team(async |world, team| {
        world
            .configure(json!({"own_domains": ["example.com"]}))
            .await;
        let file = world.take();
        let mut folders = Vec::new();
        for name in ["inside", "outside"] {
            let folder = world.owner().create(name, true).await;
            world
                .file_until(name, &folder, |f| f["presence"] == "present")
                .await;
            folders.push(folder);
        }
        let shared = json!({"permissions": {"anyone": "reader"}});
        assert_eq!(
            team.edit(&team.operator, &folders[1], shared).await.status,
            200
        );
        let owned =
            |f: &Value| f["intent"].is_null() && !f["fields"]["permissions"]["anyone"].is_null();
        world.file_until("the share", &folders[1], owned).await;
        let to = |folder: &String| json!({"parent": folder});
        let within = team.edit(&team.editor, &file, to(&folders[0])).await;
        assert_eq!(within.status, 200, "{}", within.body);
        let refused = team.edit(&team.editor, &file, to(&folders[1])).await;
        assert_eq!(
            (refused.status, &refused.body["pointer"]),
            (403, &json!("/parent"))
        );
        assert_eq!(
            team.edit(&team.operator, &file, to(&folders[1]))
                .await
                .status,
            200
        );
        let back = team.edit(&team.editor, &file, to(&folders[0])).await;
        assert_eq!(back.status, 200, "{}", back.body);
    });
}

#[test]
fn only_an_operator_deletes_for_good_or_decides_a_conflict_so() {
    team(async |world, team| {
        let file = world.take();
        let path = format!("/files/{file}");
        let refused = team
            .ask(&team.editor, Method::DELETE, &path, json!({}))
            .await;
        assert_eq!(
            (refused.status, &refused.body["role_needed"]),
            (403, &json!("operator"))
        );
        let trashed = team
            .edit(&team.editor, &file, json!({"trashed": true}))
            .await;
        assert_eq!(trashed.status, 200, "{}", trashed.body);

        let file = world.take();
        world.post("/pause", json!({})).await;
        world
            .owner()
            .rename(&file, "edited at the last moment.txt")
            .await;
        let path = format!("/files/{file}");
        let deleted = team
            .ask(&team.operator, Method::DELETE, &path, json!({}))
            .await;
        assert_eq!(deleted.status, 200, "{}", deleted.body);
        world.post("/resume", json!({})).await;
        let conflict = world.conflict_on(&file, "existence").await;
        team.needs_operator(&conflict, json!({"choose": "app"}))
            .await;
    });
}

#[test]
fn only_an_operator_decides_that_a_file_is_shared_outside() {
    team(async |world, team| {
        const BOB: &str = "user:bob@example.com";
        world
            .configure(json!({"own_domains": ["acme.example"]}))
            .await;
        let file = world.take();
        let bob = world.owner().grant(&file, "bob", "reader").await;
        let shown = |f: &Value| f["fields"]["permissions"][BOB] == "reader";
        world.file_until("the share", &file, shown).await;
        let held = format!("* /drive/v2/files/{file}");
        world.fault(json!({"match": held, "times": 1, "respond": {"status": 503}}));
        let more = json!({"permissions": {BOB: "writer"}});
        assert_eq!(team.edit(&team.operator, &file, more).await.status, 200);
        let path = format!("/drive/v3/files/{file}/permissions/{bob}?supportsAllDrives=true");
        let body = Some(json!({"role": "commenter"}));
        assert_eq!(world.owner().call(Method::PATCH, &path, body).await.0, 200);
        let conflict = world
            .conflict_on(&file, &format!("permissions.{BOB}"))
            .await;
        team.needs_operator(&conflict, json!({"choose": "app"}))
            .await;
    });
}

#[test]
fn the_removal_guard_is_an_operators() {
    team(async |_, team| {
        let lifted = json!({"removal_share_percent_max": 100});
        let refused = team
            .ask(&team.editor, Method::PATCH, "", lifted.clone())
            .await;
        assert_eq!(
            (refused.status, &refused.body["role_needed"]),
            (403, &json!("operator"))
        );
        let taken = team.ask(&team.operator, Method::PATCH, "", lifted).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    });
}
