//! One batch of wakes at a time, against a table and queues in memory.

use worker::LiveWake;
use worker_testing::World;

use super::{Deps, handle_wakes};

const WAKES: &str = "live.fifo";

fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        wakes: world.queue(WAKES),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_wake_becomes_a_dead_letter() {
    let world = World::new().await;
    let wake = LiveWake { key: World::key() };
    world.send(WAKES, "c", &wake.to_body());
    world.send(WAKES, "d", r#"{"v":1}"#);
    let event = world.deliver(WAKES).await;
    let response = handle_wakes(event, &deps(&world)).await;
    assert!(response.batch_item_failures.is_empty());
    assert_eq!(world.dead_letters_without_connection().await.len(), 1);
}
