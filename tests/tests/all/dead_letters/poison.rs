//! A message that can never succeed is set aside with its reason and blocks no other.

use domain::{ConnectionId, ConnectionKey, FileId, TenantId};
use local::aws::Queue;
use serde_json::json;
use sqs_fifo::NewMessage;
use store::{DeadLetter, PageRequest};
use worker::queue::file_group;

use crate::support::{World, eventually, own};

fn send(world: &World, queue: Queue, group: &str, id: &str, body: &str) {
    world
        .system
        .aws
        .sqs()
        .send(queue.name(), NewMessage::new(group, id, body))
        .unwrap();
}

/// Returns the dead letters of no known tenant.
async fn unknown(world: &World) -> Vec<DeadLetter> {
    let key = ConnectionKey {
        tenant: TenantId::parse("_unknown").unwrap(),
        connection: ConnectionId::parse("_unknown").unwrap(),
    };
    world
        .store()
        .list_dead_letters(&key, &PageRequest::first(100))
        .await
        .unwrap()
        .items
}

#[test]
fn a_poison_message_on_any_queue_is_parked_and_its_group_continues() {
    own(async |world| {
        let file = world.take();
        let group = file_group(&world.key, &FileId::parse(&file).unwrap());
        let key = format!("{}.{}", world.key.tenant, world.connection);
        send(
            world,
            Queue::Snapshots,
            &group,
            "poison-1",
            "not JSON at all",
        );
        send(
            world,
            Queue::Snapshots,
            &group,
            "poison-2",
            r#"{"v":99,"what":"newer code wrote this"}"#,
        );
        send(
            world,
            Queue::LogWakes,
            &format!("{key}.user"),
            "poison-3",
            "[]",
        );
        send(
            world,
            Queue::PushWakes,
            &key,
            "poison-4",
            r#"{"v":2,"tenant":"local","connection":"x"}"#,
        );
        let parked = eventually("all four are parked", async || {
            let parked = unknown(world).await;
            (parked.len() == 4).then_some(parked)
        })
        .await;
        let of = |body: &str| parked.iter().find(|letter| letter.body == body).unwrap();
        assert_eq!(of("not JSON at all").queue, "snapshots.fifo");
        let newer = of(r#"{"v":99,"what":"newer code wrote this"}"#);
        assert!(newer.reason.contains("newer"), "{}", newer.reason);
        assert_eq!(of("[]").queue, "log-wakes.fifo");

        // The groups of the poison messages continue.
        world.owner().rename(&file, "behind the poison.txt").await;
        world
            .file_until("the rename", &file, |f| {
                f["fields"]["name"] == "behind the poison.txt"
            })
            .await;
        world
            .edit_ok(&file, json!({"description": "pushed behind the poison"}))
            .await;
        world.converge().await;
    });
}

#[test]
fn messages_in_a_dead_letter_queue_become_records_that_the_api_lists() {
    own(async |world| {
        let file = world.take();
        let body = json!({
            "v": 1, "tenant": world.key.tenant.as_str(),
                "connection": world.key.connection.as_str(),
            "cause": "live", "file": file, "at": "2026-01-01T00:00:00.000Z", "removed": true,
        })
        .to_string();
        let dead = Queue::Snapshots.dead_letter_name();
        world
            .system
            .aws
            .sqs()
            .send(dead, NewMessage::new("g", "1", &body))
            .unwrap();
        let token = Some(world.token.as_str());
        let letter = eventually("it is listed", async || {
            let listed = world
                .call(token, http::Method::GET, "/v1/dead-letters", &[], None)
                .await;
            listed.body["items"]
                .as_array()
                .and_then(|items| items.first().cloned())
        })
        .await;
        assert_eq!(letter["file_id"], file.as_str());
        assert_eq!(letter["queue"], "snapshots-dead.fifo");
        assert_eq!(letter["body"], body.as_str());
        assert!(
            letter["reason"].as_str().unwrap().contains("too often"),
            "{letter}"
        );
    });
}

#[test]
fn every_listed_file_is_counted_as_verified() {
    own(async |world| {
        // Every listed file counts, whether it was applied or parked.
        world.disable_notifications();
        let operation =
            world.post("/sync", json!({"mode": "full"})).await["operation"]["id"].clone();
        let path = format!("/operations/{}", operation.as_str().unwrap());
        let done = eventually("the listing is done", async || {
            let operation = world.get(&path).await;
            (operation["state"] == "done").then_some(operation)
        })
        .await;
        assert_eq!(
            (&done["listed"], &done["verified"]),
            (&json!(28), &json!(28)),
            "{done}"
        );
    });
}
