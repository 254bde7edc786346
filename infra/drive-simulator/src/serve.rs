//! Serving over TCP. Unlike `axum::serve` this can close a connection without an answer, which a fault may ask for.

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::{Simulator, http::CloseConnection};

/// How long calls under way may take after the shutdown was asked for.
const GRACE: Duration = Duration::from_secs(2);
/// The pause after a failure to accept, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The answer was withheld on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without an answer, as a fault asked")]
struct Withheld;

impl Simulator {
    /// Answers calls until `shutdown` completes; calls under way are given two seconds.
    ///
    /// # Errors
    /// None at present: failures to accept are waited out.
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
                        tracing::warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        // Whoever is still waiting after the grace period is cut off: that is what stopping means.
        let _cut_off = tokio::time::timeout(GRACE, connections.shutdown()).await;
        Ok(())
    }
}

fn serve_connection(stream: TcpStream, router: Router, connections: &GracefulShutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
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
            tracing::debug!(%error, "a connection ended");
        }
    });
}
