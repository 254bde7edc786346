//! What a person can do to a system on their own machine, below `/v1/play`.

use domain::Role;
use http::Method;
use local::gateway::Identity;
use serde_json::{Value, json};

use crate::support::{World, own, own_with_key};

async fn play(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/play{path}");
    world.system.call(method, &path, &headers, Some(body)).await
}

#[test]
fn a_person_of_drive_edits_over_the_api_of_the_local_system() {
    own(async |world| {
        let file = world.take();
        let path = format!("/as/alice/drive/v3/files/{file}");
        let (status, answer) = play(world, Method::PATCH, &path, json!({"name": "b.txt"})).await;
        assert_eq!((status, &answer["name"]), (200, &json!("b.txt")));
        let edited = world
            .file_until("the name", &file, |f| f["fields"]["name"] == "b.txt")
            .await;
        assert!(
            edited.to_string().contains("alice@example.com"),
            "who changed it: {edited}"
        );
        let order = json!({"silent": true});
        let (status, _) = play(world, Method::POST, "/control/notifications", order).await;
        assert_eq!(status, 200);
        for unknown in ["/as/alice", "/control", "/kill/all", "/control/no_such"] {
            let (status, _) = play(world, Method::POST, unknown, json!({})).await;
            assert_eq!(status, 404, "{unknown}");
        }
    });
}

#[test]
fn a_killed_function_loses_nothing_and_the_clock_moves_for_both_sides() {
    own(async |world| {
        let kill = json!({"function": "publish-events"});
        let (status, killed) = play(world, Method::POST, "/kill", kill).await;
        assert_eq!(status, 200, "{killed}");
        assert_eq!(killed["next"], killed["killed"] == 0);
        let file = world.take();
        world.owner().rename(&file, "after a kill.txt").await;
        world.converge().await;
        let drive_before = world.simulator.now_ms();
        let (_, before) = play(world, Method::GET, "", Value::Null).await;
        let hours = json!({"advance_seconds": 7_200});
        let (status, after) = play(world, Method::POST, "/clock", hours).await;
        assert_eq!(status, 200, "{after}");
        assert_eq!(
            [&before["ahead_seconds"], &after["ahead_seconds"]],
            [&json!(0), &json!(7_200)]
        );
        assert!(world.simulator.now_ms() >= drive_before + 7_200_000);
        // The channel has expired meanwhile, and is made anew.
        world.owner().rename(&file, "two hours later.txt").await;
        world.converge().await;
        for (path, wrong) in [
            ("/clock", json!({"advance_seconds": -1})),
            ("/clock", json!({"advance_seconds": 4_000_000_000_u32})),
            ("/clock", json!({"seconds": 1})),
            ("/kill", json!({"function": "api"})),
            ("/kill", json!([])),
        ] {
            let (status, problem) = play(world, Method::POST, path, wrong.clone()).await;
            assert_eq!(status, 400, "{wrong}: {problem}");
            assert!(problem["detail"].is_string(), "{problem}");
        }
    });
}

#[test]
fn only_an_administrator_plays() {
    own_with_key(async |world, folder| {
        let identity = Identity::open(folder).unwrap();
        let url = format!("{}/v1/play", world.api_url);
        let status = async |token: &str| {
            let request = world.http.get(&url).bearer_auth(token);
            request.send().await.unwrap().status().as_u16()
        };
        for (role, expected) in [
            (Role::Viewer, 403),
            (Role::Operator, 403),
            (Role::Admin, 200),
        ] {
            let token = identity.own_token(role, world.now()).unwrap();
            assert_eq!(status(&token).await, expected, "{role:?}");
        }
        assert_eq!(status("forged").await, 401);
    });
}
