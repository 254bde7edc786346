//! The TCP server. Unlike `axum::serve` it can close a connection without a response, as a fault
//! may require.

mod guard;
pub(crate) mod hosts;

use std::{convert::Infallible, future::Future, io, pin::pin, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response};
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
    /// A call for another host than [`Hosts`](crate::Hosts), or of a page from another origin, is
    /// refused; so is a control command without the header `X-Drive-Control` of
    /// [`Simulator::control_key`].
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
                    Ok((stream, _)) => self.serve_connection(stream, router.clone(), &connections),
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

    fn serve_connection(&self, stream: TcpStream, router: Router, connections: &GracefulShutdown) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let simulator = self.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (simulator, router) = (simulator.clone(), router.clone());
            simulator.answer(router, request)
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

    async fn answer(
        self,
        router: Router,
        request: hyper::Request<Incoming>,
    ) -> Result<Response, Withheld> {
        if let Some(refused) = guard::refuse(&request, self.hosts(), self.control_key()) {
            return Ok(refused);
        }
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
}
