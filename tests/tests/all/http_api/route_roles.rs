//! Every route is open to the roles that the table of roles names, and to no others.

use std::path::Path;

use domain::Role;
use local::gateway::Identity;
use serde_json::{Value, json};

use super::route_authorization::{Resources, readable_state, routes};
use crate::support::{LATER, own_with_key};

/// Returns tokens of callers of the tenant, each with the role that it gives.
fn tokens(folder: &Path) -> Vec<(String, Role, String)> {
    let identity = Identity::open(folder).unwrap();
    let with = |claim: Option<Value>| {
        let mut claims = json!({"sub": "somebody", "custom:tenant": "local", "exp": LATER});
        if let Some(claim) = claim {
            claims["custom:role"] = claim;
        }
        identity.sign(claims).unwrap()
    };
    let mut tokens: Vec<_> = Role::ALL
        .map(|role| (role.to_string(), role, with(Some(json!(role.as_str())))))
        .into();
    let viewers = [
        ("no role", None),
        ("an unknown role", Some(json!("owner"))),
        ("another spelling", Some(json!("Admin"))),
        ("several roles", Some(json!(["admin", "operator"]))),
        ("several roles in a text", Some(json!("admin,operator"))),
        ("a truth", Some(json!(true))),
        ("an object", Some(json!({"role": "admin"}))),
    ];
    for (what, claim) in viewers {
        tokens.push((what.to_owned(), Role::Viewer, with(claim)));
    }
    tokens
}

#[test]
fn regression_every_route_refuses_the_roles_below_its_own_and_changes_nothing() {
    own_with_key(async |world, folder| {
        let resources = Resources::make(world).await;
        let before = readable_state(world).await;
        let tokens = tokens(folder);
        let all = routes(world, &resources).await;
        let mut tried = 0;
        println!("route                                      | viewer editor operator admin");
        for route in all.iter().filter(|route| route.described) {
            let Some(needed) = route.role else {
                continue;
            };
            let mut row = String::new();
            for (what, role, token) in &tokens {
                let name = format!("{} by {what}", route.name());
                let answer = if *role < needed {
                    route.call(world, Some(token)).await
                } else {
                    // Nothing is changed: the connection does not exist, and the body is not valid.
                    let path = route.path.replace(&resources.connection, "c_none");
                    let path = path.replace(&resources.webhook, "w_none");
                    let (method, token) = (route.method.clone(), Some(token.as_str()));
                    world
                        .call(token, method, &path, &[("if-match", "*")], Some("{}"))
                        .await
                };
                if *role < needed {
                    assert_eq!(answer.status, 403, "{name}: {}", answer.body);
                    assert_eq!(answer.body["role_needed"], needed.as_str(), "{name}");
                    assert!(!resources.is_shown_in(&answer), "{name}: {}", answer.body);
                } else {
                    assert!(
                        !matches!(answer.status, 401 | 403),
                        "{name}: {}",
                        answer.body
                    );
                    assert!(answer.status < 500, "{name}: {}", answer.body);
                }
                if Role::parse(what).is_some() {
                    row.push_str(if answer.status == 403 { "  -" } else { "  x" });
                }
                tried += 1;
            }
            println!("{} | {row}", route.name());
        }
        assert!(tried > 400, "{tried}");
        assert_eq!(readable_state(world).await, before);
    });
}
