//! The TCP server. Unlike `axum::serve` it can close a connection without a response, as a fault
//! may require.

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::{http::response::CloseConnection, simulator::Simulator};

/// The time that calls in flight have after the shutdown is requested.
const GRACE: Duration = Duration::from_secs(2);
/// The delay after a failed accept, e.g. without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The response is withheld on purpose.
#[derive(Debug, thiserror::Error)]
#[error("connection closed without a response by a fault")]
struct Withheld;

impl Simulator {
    /// Serves calls until `shutdown` completes; calls in flight have two more seconds.
    ///
    /// # Errors
    /// None at present: failed accepts are retried.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let router = self.router();
        let connections = GracefulShutdown::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => serve_connection(stream, router.clone(), &connections),
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        // Connections that are open after the grace period are cut off.
        let _cut_off = tokio::time::timeout(GRACE, connections.shutdown()).await;
        Ok(())
    }
}

fn serve_connection(stream: TcpStream, router: Router, connections: &GracefulShutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let request: Request = request.map(Body::new);
            let response = router
                .oneshot(request)
                .await
                .unwrap_or_else(|never: Infallible| match never {});
            if response.extensions().get::<CloseConnection>().is_some() {
                Err(Withheld)
            } else {
                Ok(response)
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection failed");
        }
    });
}
