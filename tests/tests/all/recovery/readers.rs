//! Readers who have seen what never happened in the restored table.

use http::Method;
use serde_json::{Value, json};

use super::Recovery;
use crate::support::{World, eventually, run};

async fn newest(world: &World) -> String {
    let page = world.get("/events?after=latest").await;
    page["next_cursor"].as_str().unwrap().to_owned()
}

async fn read_after(world: &World, cursor: &str) -> (u16, Value) {
    let path = format!("/events?after={cursor}");
    let answer = world.api(Method::GET, &path, &[], None).await;
    (answer.status, answer.body)
}

async fn stars(world: &World, file: &str, times: usize) {
    for number in 0..times {
        world
            .edit_ok(file, json!({"starred": number % 2 == 0}))
            .await;
    }
    world.converge().await;
}

#[test]
fn every_cursor_of_before_a_restore_has_expired_and_the_log_begins_with_a_reset() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = world.take();
        stars(&world, &file, 2).await;
        let before = newest(&world).await;
        let channel = world.log().await.channel;
        recovery.back_up();
        stars(&world, &file, 4).await;
        let lost = newest(&world).await;
        let world = recovery.restore(world).await;
        for cursor in [&before, &lost] {
            eventually("the cursor has expired", async || {
                (read_after(&world, cursor).await.0 == 410).then_some(())
            })
            .await;
        }
        let (_, body) = read_after(&world, &lost).await;
        assert!(
            body["type"].as_str().unwrap().ends_with("cursor-expired"),
            "{body}"
        );
        // The numbers are given again, and the cursor is still none of this log.
        stars(&world, &file, 8).await;
        assert_eq!(read_after(&world, &lost).await.0, 410);
        assert_eq!(read_after(&world, &before).await.0, 410);
        let kept = world.get("/events?types=sync:reset").await;
        assert_eq!(kept["items"][0]["type"], "sync:reset", "{kept}");
        eventually("the channel is renewed", async || {
            (world.log().await.channel != channel).then_some(())
        })
        .await;
        world.system.stop().await;
    });
}

#[test]
fn an_etag_of_a_state_that_was_lost_stands_for_no_other() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let file = world.take();
        let path = format!("/files/{file}");
        let before = world.api(Method::GET, &path, &[], None).await.etag();
        recovery.back_up();
        stars(&world, &file, 3).await;
        let lost = world.api(Method::GET, &path, &[], None).await.etag();
        let world = recovery.restore(world).await;
        for number in 0..8 {
            let body = Some(json!({"description": format!("unseen {number}")}));
            for tag in [&before, &lost] {
                let condition = [("if-match", tag.as_str())];
                let answer = world
                    .api(Method::PATCH, &path, &condition, body.clone())
                    .await;
                assert_eq!(answer.status, 412, "{tag}: {}", answer.body);
            }
            world
                .edit_ok(&file, json!({"starred": number % 2 == 1}))
                .await;
        }
        world.converge().await;
        let now = world.api(Method::GET, &path, &[], None).await.etag();
        let condition = [("if-match", now.as_str())];
        let body = Some(json!({"description": "seen"}));
        assert_eq!(
            world
                .api(Method::PATCH, &path, &condition, body)
                .await
                .status,
            200
        );
        world.system.stop().await;
    });
}

#[test]
fn a_table_that_was_not_restored_is_not_taken_for_one_after_a_restart() {
    run(async {
        let (recovery, world) = Recovery::begin().await;
        let cursor = newest(&world).await;
        let world = recovery.restart(world).await;
        world.converge().await;
        assert_eq!(read_after(&world, &cursor).await.0, 200);
        let identity = world
            .store()
            .identify_table(world.now())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((identity.restored_at, identity.pass), (None, None));
        world.system.stop().await;
    });
}
