//! Any caller can POST to the webhook: only channel, token and resource together are believed.

use std::time::Duration;

use local::aws::Queue;

use crate::support::by_hand;

#[test]
fn pain_05_a_forged_notification_sends_no_wake_and_learns_nothing() {
    by_hand(4, async |hand| {
        let (id, token) = hand.known_channel().await;
        let resource = "a resource";
        let stranger = domain::ChannelId::fresh(1, 2).to_string();
        let long = "x".repeat(2_000);
        for (channel, token, resource) in [
            (stranger.as_str(), token, resource),
            (&id, "another token", resource),
            (&id, "", resource),
            (&id, &token[1..], resource),
            (&id, token, "another resource"),
            (&id, token, ""),
            (&id, &long, resource),
            ("T#local#C#x/../META", token, resource),
        ] {
            let status = hand.notify(channel, token, resource, "7").await;
            assert_eq!(status, 204, "{channel} {token} {resource}");
            assert_eq!(hand.waiting(Queue::LogWakes), 0, "{channel} {token}");
        }
        let url = format!("{}/webhooks/drive", hand.api_url);
        let bare = hand.http.post(&url).send().await.unwrap();
        assert_eq!(bare.status().as_u16(), 204);
        assert_eq!(bare.bytes().await.unwrap().len(), 0);
        let body = r#"{"removed":true,"fileId":"x"}"#;
        let loud = hand.notification(&id, token, resource, "7").body(body);
        assert_eq!(loud.send().await.unwrap().status().as_u16(), 204);
        assert_eq!(hand.waiting(Queue::LogWakes), 0, "Drive's are empty");
        // The genuine notification is accepted.
        assert_eq!(hand.notify(&id, token, resource, "7").await, 204);
        assert_eq!(hand.waiting(Queue::LogWakes), 1);
    });
}

#[test]
fn pain_05_notifications_of_expired_and_stopped_channels_are_ignored() {
    by_hand(4, async |hand| {
        let (id, token) = hand.known_channel().await;
        // The channel was created for an hour.
        hand.advance_clock(Duration::from_secs(3_601));
        assert_eq!(hand.notify(&id, token, "a resource", "7").await, 204);
        assert_eq!(hand.waiting(Queue::LogWakes), 0);
        let channel = domain::ChannelId::parse(&id).unwrap();
        hand.sweep().await;
        assert!(hand.store().load_channel(&channel).await.unwrap().is_none());
        hand.pump().await;
        assert_eq!(hand.notify(&id, token, "a resource", "8").await, 204);
        assert_eq!(hand.waiting(Queue::LogWakes), 0);
    });
}

#[test]
fn pain_05_each_channel_has_its_own_token_which_is_stored_as_a_hash() {
    by_hand(4, async |hand| {
        let (id, token) = hand.known_channel().await;
        let known = domain::ChannelId::parse(&id).unwrap();
        let known = hand.store().load_channel(&known).await.unwrap().unwrap();
        assert_ne!(known.token_hash, hand.channel().await.token_hash);
        let kept = format!("{known:?}");
        assert!(!kept.contains(token), "{kept}");
    });
}
