//! Sending to sockets, and closing them.

use std::time::Duration;

use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::Builder;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::error::SdkError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use domain::live::SocketId;
use runtime::aws::SdkConfig;
use worker::WorkError;

use crate::Deps;

/// The time within which API Gateway takes a frame. A reader that holds up longer is cut.
const SEND_SECONDS: u64 = 3;

/// The open sockets, by API Gateway's management API.
#[derive(Debug, Clone)]
pub struct Sockets {
    client: Client,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// API Gateway took it.
    Taken,
    /// The socket is closed, and deleted.
    Closed,
}

impl Sockets {
    /// Uses a client with the timeouts and retries of sending.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(SEND_SECONDS - 1))
            .operation_timeout(Duration::from_secs(SEND_SECONDS))
            .build();
        let config = client.config().to_builder();
        let config = config
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard());
        Self {
            client: Client::from_conf(config.build()),
        }
    }

    /// Connects to the sockets of an API's stage, which `endpoint` names.
    pub(crate) fn at(aws: &SdkConfig, endpoint: &str) -> Self {
        let config = Builder::from(aws).endpoint_url(endpoint);
        Self::new(&Client::from_conf(config.build()))
    }
}

/// Sends a frame. A socket that is gone is deleted with its subscriptions. One that does not take
/// the frame in time is closed: its reader opens another one, and goes on from where it stands.
///
/// # Errors
/// API Gateway refuses frames now, or the table does not answer.
pub(crate) async fn send(socket: &SocketId, frame: &str, deps: &Deps) -> Result<Sent, WorkError> {
    let request = deps.sockets.client.post_to_connection();
    let request = request
        .connection_id(socket.as_str())
        .data(Blob::new(frame));
    let error = match Box::pin(request.send()).await {
        Ok(_) => return Ok(Sent::Taken),
        Err(error) => error,
    };
    let gone = error
        .as_service_error()
        .is_some_and(|error| error.is_gone_exception());
    if gone {
        tracing::info!(metric = "live_gone", "a socket is gone");
        deps.store.close_socket(socket).await?;
        return Ok(Sent::Closed);
    }
    if matches!(error, SdkError::TimeoutError(_)) {
        tracing::warn!(
            metric = "live_cut",
            "a socket does not take what is sent; it is closed"
        );
        cut(socket, deps).await?;
        return Ok(Sent::Closed);
    }
    Err(WorkError::Socket(error.into()))
}

/// Closes a socket, and deletes it.
///
/// # Errors
/// It may still be open.
pub(crate) async fn cut(socket: &SocketId, deps: &Deps) -> Result<(), WorkError> {
    let request = deps.sockets.client.delete_connection();
    let closed = Box::pin(request.connection_id(socket.as_str()).send()).await;
    if let Err(error) = closed {
        let gone = error
            .as_service_error()
            .is_some_and(|error| error.is_gone_exception());
        if !gone {
            return Err(WorkError::Socket(error.into()));
        }
    }
    Ok(deps.store.close_socket(socket).await?)
}
