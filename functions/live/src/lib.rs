#![doc = include_str!("../README.md")]

mod deliver;
mod frames;
mod open_socket;
mod requests;
mod sockets;
mod subscribe;
#[cfg(test)]
mod tests;
mod webhooks;

use ::webhooks::{Client, PostError, RootSecret, Rules, TIMEOUT, system_lookup};
use aws_lambda_events::event::apigw::ApiGatewayWebsocketProxyRequest;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::live::SocketId;
use domain::{Cause, ConnectionKey};
use runtime::metrics::MEASURED;
use runtime::{Clock, Deadline, Entropy, Settings, SettingsError, VersionCheck, telemetry};
use serde_json::{Value, json};
use store::Store;
use tracing::Instrument as _;
use worker::version_check::{check_receiving, check_sending, check_table};
use worker::{Consumer, DeliveryWake, Failure, LiveWake, Queue, ReceivedMessage, WorkError};

use crate::requests::{Refusal, Request};
pub use crate::sockets::Sockets;

/// The most connections whose readers are sent to concurrently.
const CONNECTIONS_AT_ONCE: usize = 10;
/// The most endpoints that are delivered to concurrently: a whole batch.
const ENDPOINTS_AT_ONCE: usize = 10;
/// The receives of a wake up to which it is kept in the queue for an attempt that is due soon. The
/// index of due items has the attempt in any case; a wake that returns often returns late.
const KEPT_RECEIVES_MAX: u32 = 3;

/// The function can't start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The client of endpoints can't be built.
    #[error("the client of webhook endpoints can't be built")]
    Endpoints(#[from] PostError),
}

/// The dependencies of the function.
#[derive(Clone)]
pub struct Deps {
    /// The table of connections, event logs, tickets, sockets and subscriptions.
    pub store: Store,
    /// The open sockets.
    pub sockets: Sockets,
    /// The queue of wakes of live readers, which is consumed.
    pub wakes: Queue,
    /// The queue of wakes of webhook endpoints, which is consumed. What is left receives another.
    pub deliver: Queue,
    /// The queue of pushes, for what the decision of a resolver owes.
    pub pushes: Queue,
    /// The client that posts to endpoints.
    pub endpoints: Client,
    /// The secret that signing secrets are derived from.
    pub webhook_key: RootSecret,
    /// The source of the current time.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

impl Deps {
    /// Builds the dependencies from the environment.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed, or says why TLS can't be set up.
    pub async fn load(settings: &Settings) -> Result<Self, LoadError> {
        let aws = runtime::aws::config().await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        let secrets = aws_sdk_secretsmanager::Client::new(&aws);
        let rules = Rules::of_internet(&settings.required("OWN_HOSTS")?);
        Ok(Self {
            store: Store::new(aws_sdk_dynamodb::Client::new(&aws), settings.table()?)
                .keeping_events_for(settings.event_days()?)
                .with_stream(settings.optional("TABLE_STREAM_ARN").as_deref()),
            sockets: Sockets::at(&aws, &settings.required("LIVE_ENDPOINT")?),
            wakes: Queue::from_setting(&sqs, settings, "LIVE_QUEUE_URL")?,
            deliver: Queue::from_setting(&sqs, settings, "DELIVER_QUEUE_URL")?,
            pushes: Queue::from_setting(&sqs, settings, "PUSH_WAKES_QUEUE_URL")?,
            endpoints: Client::new(rules, system_lookup(), TIMEOUT)?,
            webhook_key: RootSecret::new(secrets, settings.required("WEBHOOK_KEY_SECRET")?),
            clock: Clock::system(),
            entropy: Entropy::system(),
        })
    }

    /// Returns the same dependencies on behalf of this cause.
    fn caused_by(&self, cause: Cause) -> Self {
        Self {
            store: self.store.caused_by(cause),
            wakes: self.wakes.caused_by(cause),
            deliver: self.deliver.caused_by(cause),
            pushes: self.pushes.caused_by(cause),
            ..self.clone()
        }
    }
}

/// Handles any event of the function: a batch of wakes of one queue, or what happens on a socket.
///
/// # Errors
/// The event is neither.
pub async fn handle(
    event: Value,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Value, serde_json::Error> {
    if event.get("Records").is_some() {
        let wakes: SqsEvent = serde_json::from_value(event)?;
        let first = wakes.records.first();
        let source = first.and_then(|first| first.event_source_arn.as_deref());
        let is_delivery = source.is_some_and(|arn| is_of(&deps.deliver, arn));
        let response = if is_delivery {
            Box::pin(handle_deliveries(wakes, deadline, deps)).await
        } else {
            Box::pin(handle_wakes(wakes, deadline, deps)).await
        };
        return serde_json::to_value(response);
    }
    let request = serde_json::from_value(event)?;
    let status = handle_socket(request, deadline, deps).await;
    Ok(json!({ "statusCode": status }))
}

/// Handles a batch of wakes. Each group is one connection.
pub async fn handle_wakes(event: SqsEvent, deadline: Deadline, deps: &Deps) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.wakes),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: CONNECTIONS_AT_ONCE,
        failure_metric: "live_failed",
        failure_text: "could not send to all readers; the wake is delivered again",
    };
    let process = |received: ReceivedMessage, wake: LiveWake, cause| async move {
        let deps = &deps.caused_by(cause);
        let told = Box::pin(deliver::to_all(&wake.key, deadline, deps)).await;
        told.map_err(Failure::Retry)?;
        let lag_millis = deps.clock.now().millis_since(received.sent_at);
        tracing::trace!(target: MEASURED, metric = "live_sent", lag_millis);
        Ok(())
    };
    consumer.consume(event, process).await
}

/// Returns whether an ARN is that of a queue: both end with its name.
fn is_of(queue: &Queue, arn: &str) -> bool {
    arn.rsplit(':').next() == queue.url().rsplit('/').next()
}

/// Handles a batch of wakes of webhook endpoints. Each group is one endpoint: what it is delivered,
/// or the conflicts that it is asked about, one after another.
pub async fn handle_deliveries(
    event: SqsEvent,
    deadline: Deadline,
    deps: &Deps,
) -> SqsBatchResponse {
    let consumer = Consumer {
        store: &deps.store,
        queues: std::slice::from_ref(&deps.deliver),
        clock: &deps.clock,
        entropy: &deps.entropy,
        groups_at_once: ENDPOINTS_AT_ONCE,
        failure_metric: "deliver_failed",
        failure_text: "could not deliver to an endpoint; the wake is delivered again",
    };
    let process = |received: ReceivedMessage, wake: DeliveryWake, cause| async move {
        let deps = &deps.caused_by(cause);
        let again = match &wake.conflict {
            None => Box::pin(webhooks::deliver(&wake, deadline, deps)).await,
            Some((connection, id)) => {
                let key = &ConnectionKey {
                    tenant: wake.tenant.clone(),
                    connection: connection.clone(),
                };
                let asked = Box::pin(webhooks::ask(key, id, deadline, deps)).await;
                asked.map(|()| None)
            }
        };
        match again.map_err(Failure::Retry)? {
            Some(after_millis) if received.receives <= KEPT_RECEIVES_MAX => {
                Err(Failure::Later { after_millis })
            }
            Some(_) | None => Ok(()),
        }
    };
    consumer.consume(event, process).await
}

/// Handles what happens on a socket, and returns the status of the response to API Gateway. A
/// socket is opened only if it is 200. Errors of later messages are sent as frames.
pub async fn handle_socket(
    request: ApiGatewayWebsocketProxyRequest,
    deadline: Deadline,
    deps: &Deps,
) -> u16 {
    let cause = deps.entropy.cause();
    let deps = &deps.caused_by(cause);
    let handled = Box::pin(answer(request, deadline, deps));
    match handled.instrument(telemetry::span(cause)).await {
        Ok(status) => status,
        Err(error) => telemetry::span(cause).in_scope(|| {
            tracing::error!(
                error = telemetry::chain(&error),
                metric = "live_request_failed",
                "could not handle what happened on a socket"
            );
            500
        }),
    }
}

async fn answer(
    request: ApiGatewayWebsocketProxyRequest,
    deadline: Deadline,
    deps: &Deps,
) -> Result<u16, WorkError> {
    let context = &request.request_context;
    let socket = context.connection_id.as_deref().and_then(SocketId::parse);
    let Some(socket) = socket else {
        return Ok(400);
    };
    match context.route_key.as_deref() {
        Some("$connect") => {
            let ticket = request.query_string_parameters.first("ticket");
            return open_socket::open(&socket, ticket, deps).await;
        }
        Some("$disconnect") => {
            deps.store.close_socket(&socket).await?;
            return Ok(200);
        }
        Some(_) | None => {}
    }
    let done = match requests::read(request.body.as_deref(), request.is_base64_encoded) {
        Ok(Request::Subscribe(wanted)) => {
            subscribe::subscribe(&socket, *wanted, deadline, deps).await
        }
        Ok(Request::Unsubscribe(connection)) => {
            subscribe::unsubscribe(&socket, &connection, deps).await
        }
        Err(refusal) => Ok(Err(refusal)),
    };
    let refusal = match done {
        Ok(Ok(())) => return Ok(200),
        Ok(Err(refusal)) => refusal,
        Err(error) => {
            // The client is to hear of it, whatever becomes of the invocation.
            sockets::send(&socket, &frames::error(&Refusal::unavailable()), deps).await?;
            return Err(error);
        }
    };
    sockets::send(&socket, &frames::error(&refusal), deps).await?;
    Ok(200)
}

/// Tries everything that the function needs, with its own role. Changes nothing.
pub async fn version_check(deps: &Deps) -> VersionCheck {
    let mut check = VersionCheck::default();
    check_table(&mut check, &deps.store).await;
    check_receiving(&mut check, &[&deps.wakes, &deps.deliver]).await;
    check_sending(&mut check, &[&deps.wakes, &deps.deliver, &deps.pushes]).await;
    let key = deps.webhook_key.key().await;
    check.record(
        "the key of webhooks",
        key.map(|_| ()).map_err(|error| telemetry::chain(&error)),
    );
    check
}
