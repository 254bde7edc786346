//! Delivering to webhook endpoints what the logs of their connections have for them.
//!
//! `domain::webhook` decides; this executes. A worker claims the endpoint, reads the log of one
//! connection after the endpoint's place, posts, moves the place if that was accepted, and settles
//! the endpoint. Each of these is one conditional write. A crash between two of them leads to the
//! same delivery again, with the same id.

mod decision;
mod message;
mod resolver;
mod worker;

use ::webhooks::{sign, signing_secret};
use ::worker::queue::wake_endpoint;
use ::worker::{DeliveryWake, WorkError};
use domain::Timestamp;
use domain::webhook::{Claim, LeaseToken};
use http::HeaderMap;
use runtime::Deadline;
use std::sync::atomic::{AtomicBool, Ordering};
use store::{StoreError, StoredEndpoint};

use crate::Deps;
use message::Message;
pub(crate) use resolver::ask;
use worker::{Ended, Worker};

/// A message that can't be written as JSON, which no event leads to.
fn unwritable(error: serde_json::Error) -> WorkError {
    WorkError::Store(StoreError::Refused(error.into()))
}

/// Returns the headers of a message to an endpoint: its signatures with the secrets that are valid
/// at this time.
async fn signed(
    deps: &Deps,
    stored: &StoredEndpoint,
    message: &Message,
    at: Timestamp,
) -> Result<HeaderMap, WorkError> {
    let endpoint = &stored.endpoint;
    let root = deps.webhook_key.key().await;
    let root = root.map_err(|error| WorkError::SigningKey(error.into()))?;
    let generations = endpoint.secret.signs(at).into_iter();
    let secrets: Vec<_> = generations
        .map(|generation| signing_secret(&root, &stored.tenant, endpoint.id.as_str(), generation))
        .collect();
    let signed = sign(&secrets, &message.id, at.as_seconds(), &message.body);
    Ok(signed.into_iter().collect())
}

/// Delivers to an endpoint what it is owed, as far as the time allows. Returns the milliseconds
/// after which an attempt is due again, if that is soon.
///
/// # Errors
/// The table, a queue or the signing key is not there now, or another worker delivers. What is owed
/// stays so.
pub(crate) async fn deliver(
    wake: &DeliveryWake,
    deadline: Deadline,
    deps: &Deps,
) -> Result<Option<u64>, WorkError> {
    let (tenant, id) = (&wake.tenant, &wake.endpoint);
    let Some(stored) = deps.store.load_endpoint(tenant, id).await? else {
        return Ok(None);
    };
    let token = LeaseToken(deps.entropy.next());
    let Some(claimed) = claim(stored, token, deps).await? else {
        return Ok(None);
    };
    let mut worker = Worker::new(claimed, token, deadline, deps);
    let worked = Box::pin(worker.work()).await;
    match worked {
        Ok(Ended::Done) => Ok(worker.endpoint().due_soon_millis(deps.clock.now())),
        Ok(Ended::More) => {
            wake_endpoint(&deps.deliver, tenant, id, deps.clock.now()).await?;
            Ok(None)
        }
        Err(error) => {
            // Others need not wait for the end of the lease.
            if let Err(also) = worker.give_up().await {
                let also = runtime::telemetry::chain(&also);
                tracing::warn!(error = also, "an endpoint stays claimed for a while");
            }
            Err(error)
        }
    }
}

/// Claims an endpoint; `None` if there is nothing to do now.
async fn claim(
    stored: StoredEndpoint,
    token: LeaseToken,
    deps: &Deps,
) -> Result<Option<StoredEndpoint>, WorkError> {
    let now = deps.clock.now();
    let busy = AtomicBool::new(false);
    let claimed = deps.store.change_endpoint(stored, |endpoint| {
        let claim = endpoint.claim(token, now);
        busy.store(matches!(claim, Claim::Busy(_)), Ordering::Relaxed);
        match claim {
            Claim::Granted(claimed) => Some(*claimed),
            Claim::Busy(_) | Claim::Wait(_) | Claim::Nothing => None,
        }
    });
    let claimed = claimed.await?;
    // Its worker was stopped, or is about to end: the wake comes again.
    match claimed.is_none() && busy.load(Ordering::Relaxed) {
        true => Err(WorkError::Contended),
        false => Ok(claimed),
    }
}
