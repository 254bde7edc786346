//! Appends what a batch tells to the event logs, and wakes their live readers.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::{Epoch, Event, LogEnd, TableMark};
use domain::{AskDuty, ConflictRecord, ConnectionKey};
use futures_util::{StreamExt as _, stream};
use runtime::telemetry;
use store::{Appending, Nonce, StoreError};
use tokio::time::{Instant, sleep, timeout};
use worker::WorkError;
use worker::queue::{wake_endpoint, wake_readers, wake_resolver};

use crate::{Deps, is_earlier};

/// The time within which the events of a connection are appended, or a reset is owed.
const APPEND: Duration = Duration::from_secs(10);
/// The time within which those of all connections are, and the time to note that a reset is owed:
/// together less than the function's timeout.
const APPEND_ALL: Duration = Duration::from_secs(30);
const OWE: Duration = Duration::from_secs(10);
/// The time for waking the webhook endpoints of a connection.
const WAKE: Duration = Duration::from_secs(5);
/// The connections whose events are appended concurrently.
const AT_ONCE: usize = 32;
/// The pause after the first refusal; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The events of one connection.
pub(crate) struct Told {
    /// The sequence number of the first record that tells one.
    pub(crate) first: String,
    /// The identity of the table's stream.
    pub(crate) table: Option<TableMark>,
    /// The events, in the order of the stream.
    pub(crate) events: Vec<Event>,
}

/// Appends the events of each connection to its log. A log that can't be appended to does not delay
/// the others: it owes a reset. An error comes with the sequence number of the first record whose
/// connection has neither.
pub(crate) async fn append_all(
    told: BTreeMap<ConnectionKey, Told>,
    deps: &Deps,
) -> Result<(), (String, WorkError)> {
    let until = Instant::now() + APPEND_ALL;
    let appended = stream::iter(told).map(async |(key, told)| {
        let appended = append_or_owe(&key, &told, until, deps).await;
        appended.map_err(|error| (told.first, error))
    });
    let failed = appended
        .buffer_unordered(AT_ONCE)
        .filter_map(async |appended| appended.err());
    let first = failed.fold(
        None,
        async |first: Option<(String, WorkError)>, failed| match first {
            Some(first) if is_earlier(&first.0, &failed.0) => Some(first),
            Some(_) | None => Some(failed),
        },
    );
    first.await.map_or(Ok(()), Err)
}

async fn append_or_owe(
    key: &ConnectionKey,
    told: &Told,
    until: Instant,
    deps: &Deps,
) -> Result<(), WorkError> {
    let limit = APPEND.min(until.saturating_duration_since(Instant::now()));
    let error = match timeout(limit, append(key, told, deps)).await {
        Ok(Ok(end)) => {
            let events = told.events.len();
            tracing::info!(
                connection = %key, events, metric = "events_appended", "appended events"
            );
            if let Some(end) = end {
                // A batch that is repeated for a lost wake would append its events again.
                wake_readers(&deps.live, key, &end).await;
                wake_endpoints(key, deps).await;
            }
            return Ok(());
        }
        Ok(Err(error)) => telemetry::chain(&error),
        Err(_) => "it took too long".to_owned(),
    };
    tracing::warn!(
        connection = %key, error, metric = "event_append_failed",
        "could not append to the event log: readers will be told to reload"
    );
    let owed = deps.store.owe_reset(key, deps.clock.now());
    match timeout(OWE, owed).await {
        Ok(owed) => owed.map_err(WorkError::from),
        Err(_) => Err(WorkError::OutOfTime),
    }
}

/// Wakes the webhook endpoints that receive the events of a connection. A wake that is lost is only
/// logged: the index of due items has every endpoint.
async fn wake_endpoints(key: &ConnectionKey, deps: &Deps) {
    let now = deps.clock.now();
    let woken = async {
        let told = match deps.endpoints.of(key, now) {
            Some(told) => told,
            None => {
                let (all, _) = deps.store.list_endpoints(&key.tenant).await?;
                let active = all.into_iter().map(|stored| stored.endpoint);
                let active = active.filter(domain::webhook::Endpoint::is_active);
                let active = active.map(|endpoint| (endpoint.id, endpoint.scope));
                deps.endpoints.remember(key, active.collect(), now)
            }
        };
        for endpoint in &told {
            wake_endpoint(&deps.deliver, &key.tenant, endpoint, now).await?;
        }
        Ok::<_, WorkError>(())
    };
    let error = match timeout(WAKE, woken).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => telemetry::chain(&error),
        Err(_) => "it took too long".to_owned(),
    };
    tracing::warn!(
        connection = %key, error, metric = "webhook_wake_failed",
        "could not wake webhook endpoints"
    );
}

/// Wakes the resolver that is to be asked about a conflict, if the conflict has opened or moved. A
/// wake that is lost is only logged: the index of due items has the conflict.
pub(crate) async fn wake_resolver_of(
    key: &ConnectionKey,
    before: Option<&ConflictRecord>,
    after: &ConflictRecord,
    deps: &Deps,
) {
    let Some(asked) = &after.asked else {
        return;
    };
    let now = deps.clock.now();
    if asked.duty(now) != AskDuty::Ask || before.is_some_and(|before| before.moves == after.moves) {
        return;
    }
    let endpoint = &asked.question.resolver.endpoint;
    let woken = wake_resolver(&deps.deliver, key, &after.id, endpoint, now);
    if let Err(error) = woken.await {
        let error = telemetry::chain(&error);
        tracing::warn!(
            connection = %key, error, metric = "webhook_wake_failed",
            "could not wake the resolver of a conflict"
        );
    }
}

/// Appends until it succeeds, or can't.
async fn append(
    key: &ConnectionKey,
    told: &Told,
    deps: &Deps,
) -> Result<Option<LogEnd>, StoreError> {
    // The same in each attempt, so that an append whose answer was lost is recognised.
    let (fresh, nonce) = (Epoch(deps.entropy.next()), Nonce(deps.entropy.next()));
    let mut pause = PAUSE;
    loop {
        let appending = Appending {
            table: told.table,
            fresh,
            nonce,
            now: deps.clock.now(),
        };
        let appended = deps
            .store
            .append_events(key, &told.events, &appending)
            .await;
        match appended {
            Ok(end) => return Ok(end),
            Err(StoreError::Busy(_)) => {}
            Err(
                error @ (StoreError::Refused(_)
                | StoreError::TooLarge { .. }
                | StoreError::NewerItem { .. }
                | StoreError::Corrupt { .. }
                | StoreError::InvalidCursor),
            ) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
