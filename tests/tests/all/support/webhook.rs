//! Requests to the webhook, which is public.

use domain::{ChannelId, ConnectionKey, LogId, Timestamp};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, Store};

use super::ByHand;

/// Creates a channel for an hour, whose token the test knows. Returns its id and its token. Its
/// resource is `a resource`.
pub async fn known_channel(
    store: &Store,
    key: &ConnectionKey,
    now: Timestamp,
) -> (String, &'static str) {
    let token = "a token that the test knows";
    let channel = Channel {
        id: ChannelId::fresh(fastrand::u64(..), fastrand::u64(..)),
        key: key.clone(),
        log: LogId::user(),
        token_hash: Sha256::digest(token.as_bytes()).into(),
        resource_id: Some("a resource".to_owned()),
        state: ChannelState::Active,
        expires_at: now.plus_millis(3_600_000),
        due_at: now.plus_millis(3_600_000),
    };
    store.create_channel(&channel).await.unwrap();
    (channel.id.to_string(), token)
}

impl ByHand {
    /// As [`known_channel`].
    pub async fn known_channel(&self) -> (String, &'static str) {
        known_channel(self.store(), &self.key, self.now()).await
    }

    /// Returns a notification as Drive sends it, without a body.
    pub fn notification(
        &self,
        channel: &str,
        token: &str,
        resource: &str,
        number: &str,
    ) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/webhooks/drive", self.api_url));
        request
            .header("x-goog-channel-id", channel)
            .header("x-goog-channel-token", token)
            .header("x-goog-resource-id", resource)
            .header("x-goog-resource-state", "change")
            .header("x-goog-message-number", number)
    }

    /// Sends a notification and returns the status.
    pub async fn notify(&self, channel: &str, token: &str, resource: &str, number: &str) -> u16 {
        let request = self.notification(channel, token, resource, number);
        request.send().await.unwrap().status().as_u16()
    }
}
