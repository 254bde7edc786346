//! One notification at a time, against a table and queues in memory.

use domain::LogId;
use lambda_http::{Body, Request};
use sha2::{Digest as _, Sha256};
use store::{Channel, ChannelState};
use worker::LogWake;
use worker_testing::World;

use super::{Deps, handle};

const WAKES: &str = "log-wakes.fifo";
const TOKEN: &str = "channel-token";
const RESOURCE: &str = "resource-1";

fn deps(world: &World) -> Deps {
    Deps {
        store: world.store.clone(),
        log_wakes: world.queue(WAKES),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
    }
}

/// Returns a world with a channel, after `edit` has changed it.
async fn watched(edit: impl FnOnce(&mut Channel)) -> World {
    let world = World::new().await;
    let mut channel = Channel {
        id: World::channel_id(),
        key: World::key(),
        log: LogId::user(),
        token_hash: Sha256::digest(TOKEN).into(),
        resource_id: Some(RESOURCE.to_owned()),
        state: ChannelState::Active,
        expires_at: world.clock.now().plus_millis(3_600_000),
        due_at: world.clock.now().plus_millis(3_000_000),
    };
    edit(&mut channel);
    world.store.create_channel(&channel).await.unwrap();
    world
}

/// Returns a notification with these headers changed.
fn notification(changed: &[(&'static str, &str)]) -> Request {
    let mut request = Request::new(Body::Empty);
    let id = World::channel_id().to_string();
    let headers = [
        ("x-goog-channel-id", id.as_str()),
        ("x-goog-channel-token", TOKEN),
        ("x-goog-resource-id", RESOURCE),
        ("x-goog-resource-state", "change"),
    ];
    for (name, value) in headers.iter().chain(changed) {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// Returns the status of the response, and the wakes that were sent.
async fn run(world: &World, request: Request) -> (u16, Vec<String>) {
    let response = handle(&request, &deps(world)).await;
    (response.status().as_u16(), world.bodies(WAKES).await)
}

async fn assert_ignored(world: &World, request: Request) {
    assert_eq!(run(world, request).await, (204, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_the_log_of_the_channel() {
    let world = watched(|_| {}).await;
    let (status, wakes) = run(&world, notification(&[])).await;
    assert_eq!((status, wakes.len()), (204, 1));
    let wake = LogWake::from_body(&wakes[0]).unwrap();
    assert_eq!((wake.key, wake.log), (World::key(), LogId::user()));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_notifications_is_one_wake() {
    let world = watched(|_| {}).await;
    for _ in 0..20 {
        handle(&notification(&[]), &deps(&world)).await;
    }
    assert_eq!(world.bodies(WAKES).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_state_is_a_change_and_sync_is_none() {
    let world = watched(|_| {}).await;
    assert_ignored(&world, notification(&[("x-goog-resource-state", "sync")])).await;
    let unknown = notification(&[("x-goog-resource-state", "teleported")]);
    assert_eq!(run(&world, unknown).await.1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forged_notification_is_answered_like_a_genuine_one_and_wakes_nothing() {
    let world = watched(|_| {}).await;
    for forged in [
        ("x-goog-channel-token", "guessed"),
        ("x-goog-channel-id", "11111111-6f2e-4a8e-9d5b-0d6c1b6f7a11"),
        ("x-goog-resource-id", "resource-2"),
    ] {
        assert_ignored(&world, notification(&[forged])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_notification_before_the_response_to_watch_is_accepted() {
    let world = watched(|channel| {
        channel.state = ChannelState::Pending;
        channel.resource_id = None;
    });
    assert_eq!(run(&world.await, notification(&[])).await.1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_channel_wakes_nothing() {
    let world = watched(|channel| channel.expires_at = channel.expires_at.plus_millis(-7_200_000));
    assert_ignored(&world.await, notification(&[])).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_or_a_missing_header_is_ignored() {
    let world = watched(|_| {}).await;
    let mut with_body = notification(&[]);
    *with_body.body_mut() = Body::Text("{}".to_owned());
    assert_ignored(&world, with_body).await;
    let mut without_token = notification(&[]);
    without_token.headers_mut().remove("x-goog-channel-token");
    assert_ignored(&world, without_token).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_ours_is_answered_so_that_drive_sends_again() {
    let world = watched(|_| {}).await;
    world.aws_refuses("SendMessage", 1);
    assert_eq!(run(&world, notification(&[])).await, (503, Vec::new()));
    world.aws_refuses("GetItem", 1);
    assert_eq!(run(&world, notification(&[])).await, (503, Vec::new()));
    assert_eq!(run(&world, notification(&[])).await.1.len(), 1);
}

/// Returns the notification of a channel that no item names, and the channel.
async fn stray(world: &World, changed: &[(&'static str, &str)]) -> Request {
    let tokens = world.store.ensure_channel_tokens([7; 32]).await.unwrap();
    let token = tokens.token(&World::channel_id(), &World::key());
    let mut headers = vec![("x-goog-channel-token", token.as_str())];
    headers.extend(changed);
    notification(&headers)
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_no_item_names_is_remembered_if_its_token_proves_it() {
    let world = World::new().await;
    assert_ignored(&world, notification(&[])).await;
    let id = World::channel_id();
    assert_eq!(world.store.load_stray(&id).await.unwrap(), None);
    for changed in [
        ("x-goog-channel-id", "11111111-6f2e-4a8e-9d5b-0d6c1b6f7a11"),
        ("x-goog-channel-token", "1:t:c:00"),
        ("x-goog-resource-id", ""),
    ] {
        let forged = stray(&world, &[changed]).await;
        assert_ignored(&world, forged).await;
        assert_eq!(
            world.store.load_stray(&id).await.unwrap(),
            None,
            "{changed:?}"
        );
    }
    let first = stray(&world, &[]).await;
    assert_ignored(&world, first).await;
    let known = world.store.load_stray(&id).await.unwrap().unwrap();
    assert_eq!(
        (known.key, known.resource_id.as_str()),
        (World::key(), RESOURCE)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stray_that_could_not_be_remembered_is_notified_again() {
    let world = World::new().await;
    let request = stray(&world, &[]).await;
    world.aws_refuses("PutItem", 1);
    assert_eq!(run(&world, request).await, (503, Vec::new()));
}
