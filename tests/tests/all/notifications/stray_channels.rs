//! Channels that Drive notifies and no item names are found by their notifications, and stopped.

use std::time::Duration;

use domain::ChannelId;
use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};

use crate::support::{ByHand, by_hand, eventually};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the channels that no item names, as the API lists them.
async fn strays(hand: &ByHand) -> Vec<Value> {
    let listed = hand.get("/stray-channels").await;
    listed["items"].as_array().unwrap().clone()
}

/// Waits until a notification made a channel known as a stray, and returns it.
async fn stray(hand: &ByHand) -> Value {
    eventually("the stray is known", async || strays(hand).await.pop()).await
}

/// Removes the item of the log's channel, as a table has none that was restored to a time before
/// the channel was opened.
async fn lose_channel(hand: &ByHand) -> ChannelId {
    let lost = hand.channel().await.id;
    let (store, log) = (hand.store(), hand.log().await);
    store.delete_channel(&lost).await.unwrap();
    let detached = store.set_channel(&hand.key, &log.log, Some(&lost), None);
    detached.await.unwrap();
    let due = store.postpone_poll(&hand.key, &log.log, hand.now());
    due.await.unwrap();
    lost
}

/// Returns how many notifications Drive has delivered.
fn delivered(hand: &ByHand) -> u64 {
    let outcomes = hand.simulator.counters().notifications;
    outcomes.get("delivered").copied().unwrap_or(0)
}

#[test]
fn a_channel_that_the_table_lost_is_found_and_stopped_after_its_grace() {
    by_hand(4, async |hand| {
        let lost = lose_channel(hand).await;
        let file = hand.take();
        hand.owner().rename(&file, "notified.txt").await;
        let found = stray(hand).await;
        assert_eq!(found["id"], lost.to_string());
        assert_eq!(hand.waiting(Queue::LogWakes), 0, "it wakes nothing");

        hand.advance_clock(8 * MINUTE);
        hand.sweep_and_pump().await;
        assert_eq!(hand.calls("channels.stop"), 0, "not yet");
        assert_eq!(strays(hand).await.len(), 1);
        hand.advance_clock(3 * MINUTE);
        hand.sweep_and_pump().await;
        hand.sweep_and_pump().await;
        assert_eq!(hand.calls("channels.stop"), 1);
        assert_eq!(strays(hand).await, Vec::<Value>::new());

        // The log has another channel, and Drive notifies no other any more.
        assert_ne!(hand.channel().await.id, lost);
        let before = delivered(hand);
        hand.owner().rename(&file, "once.txt").await;
        hand.wait_for_wake().await;
        hand.pump().await;
        eventually("the notification is delivered", async || {
            (delivered(hand) > before).then_some(())
        })
        .await;
        assert_eq!(delivered(hand), before + 1);
        assert_eq!(strays(hand).await, Vec::<Value>::new());
        assert_eq!(hand.file(&file).await["fields"]["name"], "once.txt");
    });
}

#[test]
fn a_channel_that_drive_opened_without_answering_is_found_and_stopped() {
    by_hand(4, async |hand| {
        let old = hand.channel().await.id;
        hand.advance_clock(Duration::from_secs(86_400).mul_f64(5.3));
        hand.fault(json!({"match": "POST /drive/v3/changes/watch", "times": 1,
            "respond": {"status": 500}, "applied": true}));
        hand.sweep_and_pump().await;
        // Its `sync` may have come while its item was still there.
        hand.owner()
            .rename(&hand.take(), "notified by both.txt")
            .await;
        let found = stray(hand).await;
        assert_ne!(found["id"], old.to_string());
        for _ in 0..20 {
            hand.advance_clock(MINUTE);
            hand.sweep_and_pump().await;
        }
        assert_eq!(strays(hand).await, Vec::<Value>::new());
        let current = hand.channel().await.id;
        assert!(![old.as_str(), found["id"].as_str().unwrap()].contains(&current.as_str()));
        assert_eq!(hand.calls("channels.stop"), 2, "the old one, and the stray");
    });
}

#[test]
fn only_a_token_of_this_system_for_this_channel_makes_a_stray_known() {
    by_hand(4, async |hand| {
        let tokens = hand.store().load_channel_tokens().await.unwrap().unwrap();
        let (mine, other) = (ChannelId::fresh(1, 2), ChannelId::fresh(1, 3));
        let token = tokens.token(&mine, &hand.key);
        let guessed = token.replace('0', "1");
        let (named, _) = token.rsplit_once(':').unwrap();
        let bare = format!("{named}:{}", "0".repeat(64));
        for (channel, token) in [
            (&other, token.as_str()),
            (&mine, &guessed),
            (&mine, &bare),
            (&mine, named),
            (&mine, ""),
            (&mine, &format!("{token}0")),
        ] {
            let status = hand
                .notify(channel.as_str(), token, "a resource", "1")
                .await;
            assert_eq!(status, 204);
            assert_eq!(strays(hand).await, Vec::<Value>::new(), "{channel} {token}");
        }
        assert_eq!(hand.notify(mine.as_str(), &token, "", "1").await, 204);
        assert_eq!(
            strays(hand).await,
            Vec::<Value>::new(),
            "nothing to stop it by"
        );

        assert_eq!(
            hand.notify(mine.as_str(), &token, "a resource", "1").await,
            204
        );
        let known = stray(hand).await;
        hand.advance_clock(MINUTE);
        assert_eq!(
            hand.notify(mine.as_str(), &token, "another", "2").await,
            204
        );
        assert_eq!(
            strays(hand).await,
            [known],
            "once, by its first notification"
        );
        assert_eq!(hand.waiting(Queue::LogWakes), 0);
        // Drive knows no such channel.
        hand.advance_clock(10 * MINUTE);
        hand.sweep_and_pump().await;
        assert_eq!(hand.calls("channels.stop"), 1);
        assert_eq!(strays(hand).await, Vec::<Value>::new());
    });
}

#[test]
fn a_channel_whose_item_appears_within_the_grace_is_not_stopped() {
    by_hand(4, async |hand| {
        let channel = hand.channel().await;
        let lost = lose_channel(hand).await;
        hand.owner().rename(&hand.take(), "early.txt").await;
        stray(hand).await;
        hand.store().create_channel(&channel).await.unwrap();
        let attached = hand
            .store()
            .set_channel(&hand.key, &channel.log, None, Some(&lost));
        attached.await.unwrap();
        hand.advance_clock(11 * MINUTE);
        hand.sweep_and_pump().await;
        assert_eq!(hand.calls("channels.stop"), 0);
        assert_eq!(strays(hand).await, Vec::<Value>::new(), "it is known");
        assert_eq!(hand.channel().await.id, lost);
    });
}

#[test]
fn a_stop_that_drive_refuses_is_repeated_and_at_once_on_request() {
    by_hand(4, async |hand| {
        lose_channel(hand).await;
        hand.owner().rename(&hand.take(), "refused.txt").await;
        stray(hand).await;
        hand.fault(json!({"match": "POST /drive/v3/channels/stop", "times": 2,
            "respond": {"status": 500}}));
        let stop = format!("{}/stray-channels/stop", path(hand));
        let asked = hand.ask(Method::POST, &stop, None).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        hand.sweep_and_pump().await;
        assert_eq!(
            hand.calls("channels.stop"),
            0,
            "a request does not shorten the grace"
        );
        hand.advance_clock(11 * MINUTE);
        for refused in 1..=2_u64 {
            hand.sweep_and_pump().await;
            assert_eq!(strays(hand).await[0]["failures"], refused);
            hand.sweep_and_pump().await;
            assert_eq!(hand.calls("channels.stop"), refused, "it waits");
            let again = hand.ask(Method::POST, &stop, None).await;
            assert_eq!(again.status, 202);
        }
        hand.sweep_and_pump().await;
        assert_eq!(hand.calls("channels.stop"), 3);
        assert_eq!(strays(hand).await, Vec::<Value>::new());
    });
}

/// Returns the path of the connection.
fn path(hand: &ByHand) -> String {
    format!("/v1/connections/{}", hand.connection)
}

#[test]
fn a_stray_goes_with_its_connection() {
    by_hand(4, async |hand| {
        let lost = lose_channel(hand).await;
        hand.owner().rename(&hand.take(), "gone.txt").await;
        stray(hand).await;
        let any = [("if-match", "*")];
        let path = path(hand);
        let deleted = hand.call(Some(&hand.token), Method::DELETE, &path, &any, None);
        assert!(deleted.await.status < 300);
        hand.advance_clock(11 * MINUTE);
        hand.sweep_and_pump().await;
        assert_eq!(hand.store().load_stray(&lost).await.unwrap(), None);
    });
}
