//! Takes Drive's push notifications and turns each into a wake.
//!
//! A notification is only a wake: what it says is never believed. It is matched against the channel
//! that we made (id, token, and the resource id once we know it), and then the log is looked at.
//!
//! How Google reads our answer (Drive guide "Notifications for resource changes"): 200, 201, 202, 204 and
//! 102 are success; 500, 502, 503 and 504 are retried with exponential backoff; everything else is a
//! failure that is not retried. So only our own trouble is answered with 503, and whatever we don't
//! believe with 204: it tells a stranger nothing.

use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Request, Response};
use runtime::{Clock, Queue, Settings, queue, telemetry};
use sha2::{Digest, Sha256};
use store::{Channel, ChannelState, Store};
use subtle::ConstantTimeEq;

/// What the function works with.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Where the channels are.
    pub store: Store,
    /// Where wakes go.
    pub log_wakes: Queue,
    /// Now.
    pub clock: Clock,
}

impl Deps {
    /// Makes everything out of the environment.
    ///
    /// # Errors
    /// Says which setting is missing or can't be read.
    pub async fn load(
        settings: &Settings,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let aws = runtime::aws::config().await;
        let store = Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?);
        let sqs = aws_sdk_sqs::Client::new(&aws);
        let log_wakes = Queue::of_setting(&sqs, settings, "LOG_WAKES_QUEUE_URL")?;
        Ok(Self {
            store,
            log_wakes,
            clock: Clock::system(),
        })
    }
}

/// Longer than anything Google sends: ids have 64 characters at most, tokens 256.
const HEADER_BYTES_MAX: usize = 1024;

/// Why a notification led to nothing. Each is counted under its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignored {
    Body,
    Headers,
    UnknownChannel,
    WrongToken,
    WrongResource,
    Expired,
    Sync,
}

/// Answers one notification.
pub async fn handle(request: &Request, deps: &Deps) -> Response<Body> {
    match take(request, deps).await {
        Ok(Ok(())) => answer(StatusCode::NO_CONTENT),
        Ok(Err(ignored)) => {
            tracing::info!(reason = ?ignored, metric = "notification_ignored", "notification ignored");
            answer(StatusCode::NO_CONTENT)
        }
        Err(error) => {
            let error = telemetry::chain(error.as_ref());
            tracing::error!(
                error,
                metric = "notification_failed",
                "could not take a notification"
            );
            answer(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

async fn take(
    request: &Request,
    deps: &Deps,
) -> Result<Result<(), Ignored>, Box<dyn std::error::Error + Send + Sync>> {
    let notification = match Notification::read(request) {
        Ok(notification) => notification,
        Err(ignored) => return Ok(Err(ignored)),
    };
    let Some(channel) = deps.store.load_channel(&notification.channel).await? else {
        return Ok(Err(Ignored::UnknownChannel));
    };
    if let Err(ignored) = notification.check(&channel, deps.clock.now()) {
        return Ok(Err(ignored));
    }
    match notification.state {
        State::Sync => return Ok(Err(Ignored::Sync)),
        State::Change => {}
        // Looking once too often costs a call, not looking loses a change until the next poll.
        State::Unknown => tracing::info!(
            channel = %channel.id, state = notification.word, metric = "unknown_state",
            "a notification has a state that this build does not know"
        ),
    }
    queue::wake_log(
        &deps.log_wakes,
        &channel.key,
        &channel.log,
        deps.clock.now(),
    )
    .await?;
    Ok(Ok(()))
}

/// The states of a notification, as far as they matter: the first one says that the channel works. Others may be
/// added (Drive guide "Notifications for resource changes").
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
    /// The state in Google's word.
    word: &'r str,
}

impl<'r> Notification<'r> {
    fn read(request: &'r Request) -> Result<Self, Ignored> {
        if !matches!(request.body(), Body::Empty) && !request.body().is_empty() {
            return Err(Ignored::Body);
        }
        let headers = request.headers();
        let channel = header(headers, "x-goog-channel-id")?;
        let channel = domain::ChannelId::parse(channel).map_err(|_| Ignored::Headers)?;
        let word = header(headers, "x-goog-resource-state")?;
        let state = match word {
            "sync" => State::Sync,
            // The guide's table says `change`, its example `changed`; the others are of watched files.
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
            word,
        })
    }

    /// Whether it is of that channel. `sync` may arrive before the answer to our `watch` call, so the
    /// resource id counts only once it is known.
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

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}
