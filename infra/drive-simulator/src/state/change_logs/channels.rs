//! Notification channels: `watch`, `stop`, and the notifications to send.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use url::{Host, Url};

use crate::{
    errors::DriveError,
    ids::{DriveId, FileId, UserId},
};

/// The default lifetime of a channel, in milliseconds.
pub(crate) const LIFETIME_DEFAULT_MS: i64 = 3_600_000;
/// The maximum lifetime of a channel on a log, in milliseconds.
pub(crate) const LIFETIME_CHANGES_MAX_MS: i64 = 604_800_000;
/// The maximum lifetime of a channel on one file, in milliseconds.
pub(crate) const LIFETIME_FILE_MAX_MS: i64 = 86_400_000;

/// The watched resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    /// A user's change log.
    UserLog(UserId),
    /// A shared drive's change log.
    DriveLog(DriveId),
    /// One file.
    File(FileId),
}

/// The body of a `watch` call.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchRequest {
    pub(crate) id: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) expiration_ms: Option<i64>,
}

/// A channel, as needed for deliveries.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) resource_id: String,
    pub(crate) resource_uri: String,
    pub(crate) address: Url,
    pub(crate) token: Option<String>,
    pub(crate) expires_ms: i64,
    pub(crate) watched: Watched,
    pub(crate) user: UserId,
    /// A channel on a user's log also reports items of shared drives.
    pub(crate) include_all_drives: bool,
    stopped: AtomicBool,
}

impl Channel {
    /// Returns whether notifications may still be sent.
    pub(crate) fn is_live(&self, now_ms: i64) -> bool {
        !self.stopped.load(Ordering::Relaxed) && now_ms < self.expires_ms
    }
}

/// One notification to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) channel: Arc<Channel>,
    pub(crate) number: u64,
    pub(crate) state: &'static str,
    /// For `update` of a file: the changed aspects, comma-separated.
    pub(crate) changed: Option<String>,
}

/// All channels of the simulated project.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    live: HashMap<String, (Arc<Channel>, u64)>,
    by_watched: HashMap<Watched, Vec<String>>,
    /// Every id ever used: Drive refuses to use one again, even after `stop`.
    used: HashSet<String>,
}

impl Channels {
    /// Opens a channel and returns its `sync` notification.
    ///
    /// # Errors
    /// 400 with Google's reason for an id that was used before, an address that is not HTTPS
    /// (unless its host is this machine), or a value out of bounds.
    pub(crate) fn open(
        &mut self,
        request: WatchRequest,
        watched: Watched,
        user: UserId,
        resource: WatchedResource,
        now_ms: i64,
    ) -> Result<Notification, DriveError> {
        let id = checked_id(request.id)?;
        check_kind(request.kind.as_deref())?;
        let address = checked_address(request.address)?;
        if request
            .token
            .as_ref()
            .is_some_and(|token| token.chars().count() > 256)
        {
            return Err(DriveError::invalid_because(
                "token",
                "The channel token must not be longer than 256 characters.",
            ));
        }
        let lifetime_max_ms = match watched {
            Watched::UserLog(_) | Watched::DriveLog(_) => LIFETIME_CHANGES_MAX_MS,
            Watched::File(_) => LIFETIME_FILE_MAX_MS,
        };
        let expires_ms = match request.expiration_ms {
            None => now_ms.saturating_add(LIFETIME_DEFAULT_MS),
            Some(requested) if requested <= now_ms => {
                return Err(DriveError::invalid_because(
                    "expiration",
                    "The channel expiration must be in the future.",
                ));
            }
            Some(requested) => requested.min(now_ms.saturating_add(lifetime_max_ms)),
        };
        if !self.used.insert(id.clone()) {
            return Err(DriveError::new(
                400,
                "channelIdNotUnique",
                format!("Channel id {id} not unique"),
            ));
        }
        let channel = Arc::new(Channel {
            id: id.clone(),
            resource_id: resource.id,
            resource_uri: resource.uri,
            address,
            token: request.token,
            expires_ms,
            watched: watched.clone(),
            user,
            include_all_drives: resource.include_all_drives,
            stopped: AtomicBool::new(false),
        });
        self.live.insert(id.clone(), (Arc::clone(&channel), 1));
        self.by_watched.entry(watched).or_default().push(id);
        Ok(Notification {
            channel,
            number: 1,
            state: "sync",
            changed: None,
        })
    }

    /// Stops a channel: nothing more is sent, including deliveries in flight.
    ///
    /// # Errors
    /// 404 for a pair of id and resource id that is not a live channel of this user.
    pub(crate) fn stop(
        &mut self,
        id: &str,
        resource_id: &str,
        user: &UserId,
    ) -> Result<(), DriveError> {
        let theirs =
            |channel: &Channel| channel.resource_id == resource_id && channel.user == *user;
        if !self
            .live
            .get(id)
            .is_some_and(|(channel, _)| theirs(channel))
        {
            return Err(DriveError::new(
                404,
                "notFound",
                format!("Channel '{id}' not found for project 'drive-simulator'"),
            ));
        }
        self.remove_channel(id);
        Ok(())
    }

    /// Returns the notifications for all channels on `watched` that pass `wanted`; `step` gives the
    /// gaps between message numbers.
    pub(crate) fn notifications_for(
        &mut self,
        watched: &Watched,
        state: &'static str,
        now_ms: i64,
        mut step: impl FnMut() -> u64,
        wanted: impl Fn(&Channel) -> bool,
    ) -> Vec<Notification> {
        let (mut due, mut expired) = (Vec::new(), Vec::new());
        for id in self.by_watched.get(watched).into_iter().flatten() {
            let Some((channel, number)) = self.live.get_mut(id) else {
                continue;
            };
            if !channel.is_live(now_ms) {
                expired.push(id.clone());
            } else if wanted(channel) {
                *number += step();
                due.push(Notification {
                    channel: Arc::clone(channel),
                    number: *number,
                    state,
                    changed: None,
                });
            }
        }
        for id in expired {
            self.remove_channel(&id);
        }
        due
    }

    /// Stops the channels on a shared drive's log of a user who is no longer a member.
    pub(crate) fn stop_on_drive(&mut self, user: &UserId, drive: &DriveId) {
        let watched = Watched::DriveLog(drive.clone());
        let theirs: Vec<String> = self
            .by_watched
            .get(&watched)
            .into_iter()
            .flatten()
            .filter(|id| {
                self.live
                    .get(*id)
                    .is_some_and(|(channel, _)| channel.user == *user)
            })
            .cloned()
            .collect();
        for id in theirs {
            self.remove_channel(&id);
        }
    }

    /// Returns whether nothing is watched, as usual while a library is loaded.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_watched.is_empty()
    }

    fn remove_channel(&mut self, id: &str) {
        let Some((channel, _)) = self.live.remove(id) else {
            return;
        };
        channel.stopped.store(true, Ordering::Relaxed);
        if let Some(ids) = self.by_watched.get_mut(&channel.watched) {
            ids.retain(|known| known != id);
            if ids.is_empty() {
                self.by_watched.remove(&channel.watched);
            }
        }
    }
}

impl Drop for Channels {
    /// Stops the channels on a reset, for deliveries in flight.
    fn drop(&mut self) {
        for (channel, _) in self.live.values() {
            channel.stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// The watched resource in the terms of the channel.
#[derive(Debug)]
pub(crate) struct WatchedResource {
    pub(crate) id: String,
    pub(crate) uri: String,
    pub(crate) include_all_drives: bool,
}

fn checked_id(id: Option<String>) -> Result<String, DriveError> {
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| DriveError::required("id"))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_+/=".contains(c);
    if id.len() > 64 || !id.chars().all(allowed) {
        return Err(DriveError::invalid_because(
            "id",
            "The channel id must be at most 64 characters of [A-Za-z0-9-_+/=].",
        ));
    }
    Ok(id)
}

fn check_kind(kind: Option<&str>) -> Result<(), DriveError> {
    match kind {
        Some("web_hook" | "webhook") => Ok(()),
        Some(other) => Err(DriveError::invalid_because(
            "type",
            format!("Unknown channel type: {other}"),
        )),
        None => Err(DriveError::required("type")),
    }
}

fn checked_address(address: Option<String>) -> Result<Url, DriveError> {
    let text = address
        .filter(|text| !text.is_empty())
        .ok_or_else(|| DriveError::required("address"))?;
    let url = Url::parse(&text).map_err(|_| {
        DriveError::invalid_because("address", format!("Invalid WebHook address: {text}"))
    })?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match (url.scheme(), loopback) {
        ("https", _) | ("http", true) => Ok(url),
        _ => Err(DriveError::new(
            400,
            "push.webhookUrlNotHttps",
            format!("WebHook callback must be HTTPS: {text}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> WatchRequest {
        WatchRequest {
            id: Some(id.to_owned()),
            kind: Some("web_hook".to_owned()),
            address: Some("https://example.com/hook".to_owned()),
            ..WatchRequest::default()
        }
    }

    fn open(
        channels: &mut Channels,
        request: WatchRequest,
        watched: Watched,
    ) -> Result<Notification, DriveError> {
        let resource = WatchedResource {
            id: "resource".to_owned(),
            uri: "uri".to_owned(),
            include_all_drives: false,
        };
        channels.open(request, watched, UserId::from("owner"), resource, 1_000)
    }

    fn user_log() -> Watched {
        Watched::UserLog(UserId::from("owner"))
    }

    #[test]
    fn a_channel_id_cannot_be_reused_even_after_stop() {
        let mut channels = Channels::default();
        open(&mut channels, request("a"), user_log()).expect("new");
        channels
            .stop("a", "resource", &UserId::from("owner"))
            .expect("live");
        assert_eq!(
            open(&mut channels, request("a"), user_log())
                .expect_err("used")
                .reason,
            "channelIdNotUnique"
        );
    }

    #[test]
    fn a_refused_request_does_not_use_up_its_id() {
        let mut channels = Channels::default();
        let refused = WatchRequest {
            expiration_ms: Some(5),
            ..request("a")
        };
        open(&mut channels, refused, user_log()).expect_err("in the past");
        open(&mut channels, request("a"), user_log()).expect("still unused");
    }

    #[test]
    fn the_lifetime_is_an_hour_by_default_and_bounded_by_the_resource() {
        let mut channels = Channels::default();
        let far = |id: &str| WatchRequest {
            expiration_ms: Some(i64::MAX),
            ..request(id)
        };
        let expires = |notification: Notification| notification.channel.expires_ms - 1_000;
        assert_eq!(
            expires(open(&mut channels, request("a"), user_log()).expect("opens")),
            LIFETIME_DEFAULT_MS
        );
        assert_eq!(
            expires(open(&mut channels, far("b"), user_log()).expect("opens")),
            LIFETIME_CHANGES_MAX_MS
        );
        let file = Watched::File(FileId::from("f"));
        assert_eq!(
            expires(open(&mut channels, far("c"), file).expect("opens")),
            LIFETIME_FILE_MAX_MS
        );
    }

    #[test]
    fn an_address_must_be_https_unless_it_is_loopback() {
        let with = |address: &str| checked_address(Some(address.to_owned()));
        assert_eq!(
            with("http://example.com/hook").expect_err("plain").reason,
            "push.webhookUrlNotHttps"
        );
        for address in [
            "https://example.com/hook",
            "http://127.0.0.1:9/hook",
            "http://localhost/hook",
            "http://[::1]:9/hook",
        ] {
            assert!(with(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn ids_and_tokens_have_a_maximum_length() {
        let mut channels = Channels::default();
        open(&mut channels, request(&"i".repeat(65)), user_log()).expect_err("65 characters");
        let token = |length: usize| WatchRequest {
            token: Some("t".repeat(length)),
            ..request("a")
        };
        open(&mut channels, token(257), user_log()).expect_err("257 characters");
        open(&mut channels, token(256), user_log()).expect("256 characters");
    }

    #[test]
    fn stop_requires_the_matching_resource_and_user() {
        let mut channels = Channels::default();
        open(&mut channels, request("a"), user_log()).expect("new");
        assert_eq!(
            channels
                .stop("a", "other", &UserId::from("owner"))
                .expect_err("wrong pair")
                .status,
            404
        );
        assert_eq!(
            channels
                .stop("a", "resource", &UserId::from("alice"))
                .expect_err("wrong user")
                .status,
            404
        );
        channels
            .stop("a", "resource", &UserId::from("owner"))
            .expect("the right one");
    }

    #[test]
    fn expired_channels_are_not_notified_and_message_numbers_increase() {
        let mut channels = Channels::default();
        open(&mut channels, request("a"), user_log()).expect("new");
        let mut due =
            |now_ms| channels.notifications_for(&user_log(), "change", now_ms, || 3, |_| true);
        let numbers: Vec<u64> = [due(2_000), due(3_000)]
            .iter()
            .flatten()
            .map(|notification| notification.number)
            .collect();
        assert_eq!(numbers, [4, 7]);
        assert!(due(1_000 + LIFETIME_DEFAULT_MS).is_empty());
        assert!(
            due(2_000).is_empty(),
            "an expired channel does not come back"
        );
    }
}
