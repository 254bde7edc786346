//! Receives Drive's push notifications and turns each into a wake.
//!
//! A notification is only a wake: its content is never trusted. It is matched against the channel
//! opened earlier (id, token, and the resource id once known), and the log is then read from its
//! cursor. A channel that nobody knows any more is remembered, if its token proves that this system
//! opened it, and stopped by the sweep.
//!
//! Google interprets the response as follows (Drive guide "Notifications for resource changes"):
//! 200, 201, 202, 204 and 102 are success; 500, 502, 503 and 504 are retried with exponential
//! backoff; everything else is a failure that is not retried. Only an internal failure is therefore
//! answered with 503. A rejected notification is answered with 204, which reveals nothing to the
//! sender.

#[cfg(test)]
mod tests;

use domain::channel::Stray;
use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Request, Response};
use runtime::{Clock, Entropy, Settings, SettingsError, VersionCheck, telemetry};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, ChannelTokens, Store, StoreError, StrayChannel};
use subtle::ConstantTimeEq;
use tracing::Instrument as _;
use worker::version_check::{check_sending, check_table};
use worker::{Queue, WorkError, queue};

/// The dependencies of the function.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The table that holds the channels.
    pub store: Store,
    /// The queue that receives the wakes.
    pub log_wakes: Queue,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of randomness: for the cause of each notification.
    pub entropy: Entropy,
}

impl Deps {
    /// Builds the dependencies from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn load(settings: &Settings) -> Result<Self, SettingsError> {
        let aws = runtime::aws::config().await;
        let store = Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?);
        let sqs = aws_sdk_sqs::Client::new(&aws);
        let log_wakes = Queue::from_setting(&sqs, settings, "LOG_WAKES_QUEUE_URL")?;
        Ok(Self {
            store,
            log_wakes,
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }
}

/// The largest accepted header. Google's channel ids have at most 64 characters, tokens at most
/// 256.
const HEADER_BYTES_MAX: usize = 1024;

/// The reason a notification is ignored; logged under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignored {
    Body,
    Headers,
    UnknownChannel,
    /// This system opened the channel, and no item names it any more.
    StrayChannel,
    WrongToken,
    WrongResource,
    Expired,
    Sync,
}

/// The outcome of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Woken,
    Ignored(Ignored),
}

/// Handles one notification, under a cause of its own.
pub async fn handle(request: &Request, deps: &Deps) -> Response<Body> {
    let cause = deps.entropy.cause();
    let deps = &Deps {
        log_wakes: deps.log_wakes.caused_by(cause),
        ..deps.clone()
    };
    answer(request, deps)
        .instrument(telemetry::span(cause))
        .await
}

async fn answer(request: &Request, deps: &Deps) -> Response<Body> {
    match process(request, deps).await {
        Ok(Outcome::Woken) => {
            tracing::info!("notification accepted");
            respond(StatusCode::NO_CONTENT)
        }
        Ok(Outcome::Ignored(ignored)) => {
            tracing::info!(
                reason = ?ignored, metric = "notification_ignored",
                "notification ignored"
            );
            respond(StatusCode::NO_CONTENT)
        }
        Err(error) => {
            let error = telemetry::chain(&error);
            tracing::error!(
                error,
                metric = "notification_failed",
                "could not process notification"
            );
            respond(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

async fn process(request: &Request, deps: &Deps) -> Result<Outcome, WorkError> {
    let notification = match Notification::read(request) {
        Ok(notification) => notification,
        Err(ignored) => return Ok(Outcome::Ignored(ignored)),
    };
    let Some(channel) = deps.store.load_channel(&notification.channel).await? else {
        let ignored = remember_stray(&notification, deps).await?;
        return Ok(Outcome::Ignored(ignored));
    };
    if let Err(ignored) = notification.check(&channel, deps.clock.now()) {
        return Ok(Outcome::Ignored(ignored));
    }
    match notification.state {
        State::Sync => return Ok(Outcome::Ignored(Ignored::Sync)),
        State::Change => {}
        // A superfluous read costs one call; a missed one delays a change until the next poll.
        State::Unknown => tracing::info!(
            channel = %channel.id, state = notification.state_name, metric = "unknown_state",
            "unknown notification state; handled as a change"
        ),
    }
    queue::wake_log(
        &deps.log_wakes,
        &channel.key,
        &channel.log,
        deps.clock.now(),
    )
    .await?;
    Ok(Outcome::Woken)
}

/// Remembers a channel that no item names if its token proves that this system opened it, so that
/// it is stopped. A stranger has no such token, and can make nothing remembered.
async fn remember_stray(
    notification: &Notification<'_>,
    deps: &Deps,
) -> Result<Ignored, StoreError> {
    if notification.resource.is_empty() || !ChannelTokens::has_form(notification.token) {
        return Ok(Ignored::UnknownChannel);
    }
    let tokens = deps.store.load_channel_tokens().await?;
    let owner = tokens.and_then(|tokens| tokens.owner(&notification.channel, notification.token));
    let Some(key) = owner else {
        return Ok(Ignored::UnknownChannel);
    };
    let stray = StrayChannel {
        id: notification.channel.clone(),
        key,
        resource_id: notification.resource.to_owned(),
        stray: Stray::seen(deps.clock.now()),
    };
    if deps.store.remember_stray(&stray).await? {
        tracing::warn!(
            connection = %stray.key, channel = %stray.id, metric = "stray_channel_found",
            "Drive notifies a channel that no item names; it will be stopped"
        );
    }
    Ok(Ignored::StrayChannel)
}

/// The notification states that matter here: the first one confirms that the channel works. Google
/// may add others (Drive guide "Notifications for resource changes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sync,
    Change,
    Unknown,
}

struct Notification<'r> {
    channel: domain::ChannelId,
    token: &'r str,
    resource: &'r str,
    state: State,
    /// The state as Google names it.
    state_name: &'r str,
}

impl<'r> Notification<'r> {
    fn read(request: &'r Request) -> Result<Self, Ignored> {
        if !matches!(request.body(), Body::Empty) && !request.body().is_empty() {
            return Err(Ignored::Body);
        }
        let headers = request.headers();
        let channel = header(headers, "x-goog-channel-id")?;
        let channel = domain::ChannelId::parse(channel).map_err(|_| Ignored::Headers)?;
        let state_name = header(headers, "x-goog-resource-state")?;
        let state = match state_name {
            "sync" => State::Sync,
            // The guide's table says `change`, its example `changed`; the others belong to watched
            // files.
            "change" | "changed" | "add" | "remove" | "update" | "trash" | "untrash" => {
                State::Change
            }
            _ => State::Unknown,
        };
        Ok(Self {
            channel,
            token: header(headers, "x-goog-channel-token")?,
            resource: header(headers, "x-goog-resource-id")?,
            state,
            state_name,
        })
    }

    /// Checks that the notification belongs to `channel`. `sync` may arrive before the response to
    /// the `watch` call, so the resource id is compared only once it is known.
    fn check(&self, channel: &Channel, now: domain::Timestamp) -> Result<(), Ignored> {
        let given: [u8; 32] = Sha256::digest(self.token.as_bytes()).into();
        if !bool::from(given.ct_eq(&channel.token_hash)) {
            return Err(Ignored::WrongToken);
        }
        if channel
            .resource_id
            .as_deref()
            .is_some_and(|known| known != self.resource)
        {
            return Err(Ignored::WrongResource);
        }
        match channel.state {
            ChannelState::Pending | ChannelState::Active | ChannelState::Replaced => {}
        }
        if now > channel.expires_at {
            Err(Ignored::Expired)
        } else {
            Ok(())
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Ignored> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value
        .filter(|text| text.len() <= HEADER_BYTES_MAX)
        .ok_or(Ignored::Headers)
}

fn respond(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_sending(&mut check, &[&deps.log_wakes]).await;
    check
}
