//! A worker that has claimed an endpoint.

use std::collections::{BTreeMap, BTreeSet};

use ::webhooks::{Answer as HttpAnswer, PostError};
use ::worker::WorkError;
use ::worker::queue::wake_readers;
use domain::event::{
    Author, Details, Epoch, Event, EventCursor, EventFilter, EventType, LogEnd, Subject,
};
use domain::live::{EXAMINED_MAX, Examined};
use domain::webhook::{
    Answer, Batch, Delivery, DeliveryKind, DeliveryOutcome, Duty, EVENTS_MAX, Endpoint,
    EndpointScope, EndpointState, LeaseToken, OwedTest, Place, Rest, Told, batch, misses_events,
    next_connection,
};
use domain::{ConnectionId, ConnectionKey, Timestamp};
use events::EventView;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, header};
use runtime::Deadline;
use store::{Appending, Connection, EventsRead, Nonce, PageRequest, StoredEndpoint, Updated};

use super::message::{Message, of_events, of_reset, of_test};
use super::{signed, unwritable};
use crate::Deps;

/// The time that a delivery takes at most, with what is written afterwards, in milliseconds.
const DELIVERY_MILLIS: i64 = 17_000;
/// The connections whose logs are looked at concurrently.
const LOGS_AT_ONCE: usize = 16;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json");

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing is left to be done now.
    Done,
    /// There is more.
    More,
}

/// Whether a worker goes on.
enum Step {
    On,
    End(Ended),
}

pub(crate) struct Worker<'a> {
    stored: StoredEndpoint,
    token: LeaseToken,
    deadline: Deadline,
    deps: &'a Deps,
    places: BTreeMap<ConnectionId, Place>,
    /// The connections that may have something, once they were looked at.
    ready: Option<BTreeSet<ConnectionId>>,
    /// The connection that was served last.
    last: Option<ConnectionId>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        stored: StoredEndpoint,
        token: LeaseToken,
        deadline: Deadline,
        deps: &'a Deps,
    ) -> Self {
        Self {
            stored,
            token,
            deadline,
            deps,
            places: BTreeMap::new(),
            ready: None,
            last: None,
        }
    }

    /// Works until nothing is left, the time is used, or the endpoint is somebody else's.
    pub(crate) async fn work(&mut self) -> Result<Ended, WorkError> {
        loop {
            let now = self.deps.clock.now();
            if self.deadline.passed(now.plus_millis(DELIVERY_MILLIS)) {
                self.release(Rest::More).await?;
                return Ok(Ended::More);
            }
            let step = match self.endpoint().duty(now) {
                Duty::Test(test) => Box::pin(self.test(test)).await?,
                Duty::Tell(after) => Box::pin(self.tell(after)).await?,
                Duty::Deliver => Box::pin(self.deliver()).await?,
                Duty::Wait(_) | Duty::Nothing => {
                    self.release(Rest::Nothing).await?;
                    Step::End(Ended::Done)
                }
            };
            if let Step::End(ended) = step {
                return Ok(ended);
            }
        }
    }

    /// Leaves the endpoint to others after an error.
    pub(crate) async fn give_up(&self) -> Result<(), WorkError> {
        self.release(Rest::More).await
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.stored.endpoint
    }

    fn key(&self, connection: &ConnectionId) -> ConnectionKey {
        ConnectionKey {
            tenant: self.stored.tenant.clone(),
            connection: connection.clone(),
        }
    }

    async fn release(&self, rest: Rest) -> Result<(), WorkError> {
        let (now, last) = (self.deps.clock.now(), self.last.as_ref());
        let released = |endpoint: &Endpoint| endpoint.released(self.token, last, rest, now);
        let stored = self.stored.clone();
        self.deps.store.change_endpoint(stored, released).await?;
        Ok(())
    }

    /// Changes the endpoint. It ends if the endpoint is not this worker's any more.
    async fn change(
        &mut self,
        change: impl Fn(&Endpoint) -> Option<Endpoint>,
    ) -> Result<Step, WorkError> {
        let stored = self.stored.clone();
        Ok(
            match self.deps.store.change_endpoint(stored, change).await? {
                Some(stored) => {
                    self.stored = stored;
                    Step::On
                }
                None => Step::End(Ended::Done),
            },
        )
    }

    /// Delivers a test, whatever comes of it.
    async fn test(&mut self, test: OwedTest) -> Result<Step, WorkError> {
        let message = of_test(&self.endpoint().id, test).map_err(unwritable)?;
        let posted = self.post(&message).await?;
        self.record(&message, &posted, (DeliveryKind::Test, None, None), 1)
            .await;
        let token = self.token;
        self.change(|endpoint| endpoint.tested(token, test)).await
    }

    /// Says in the log of the next connection that the endpoint was disabled.
    async fn tell(&mut self, after: Option<ConnectionId>) -> Result<Step, WorkError> {
        let token = self.token;
        let later = |id: &ConnectionId| after.as_ref().is_none_or(|after| id > after);
        let told = match self.connections().await?.into_iter().find(later) {
            Some(next) if self.deps.store.event_days() > 0 => {
                self.append_disabled(&next).await?;
                Told::UpTo(next)
            }
            Some(_) | None => Told::All,
        };
        self.change(|endpoint| endpoint.told(token, told.clone()))
            .await
    }

    async fn append_disabled(&self, connection: &ConnectionId) -> Result<(), WorkError> {
        let EndpointState::Disabled { reason, since, .. } = &self.endpoint().state else {
            return Ok(());
        };
        let (key, deps, now) = (self.key(connection), self.deps, self.deps.clock.now());
        let event = Event {
            kind: EventType::WebhookDisabled,
            subject: Subject::Webhook(self.endpoint().id.clone()),
            state: since.as_millis().to_string(),
            at: *since,
            by: Author::App,
            cause: deps.store.cause(),
            details: Details {
                reason: Some(reason.label().to_owned()),
                ..Details::default()
            },
        };
        let appending = Appending {
            table: None,
            fresh: Epoch(deps.entropy.next()),
            nonce: Nonce(deps.entropy.next()),
            now,
        };
        let end = deps.store.append_events(&key, &[event], &appending).await?;
        if let Some(end) = end {
            wake_readers(&deps.wakes, &key, &end).await;
        }
        Ok(())
    }

    /// Delivers what one connection has, at most one message.
    async fn deliver(&mut self) -> Result<Step, WorkError> {
        if self.ready.is_none() {
            self.look().await?;
        }
        let trouble = self.endpoint().course.trouble.clone();
        let left = trouble.as_ref().map(|trouble| trouble.connection.clone());
        let last = left.or(self.last.clone());
        let last = last.or(self.endpoint().course.last.clone());
        let ready = self.ready.clone().unwrap_or_default();
        let Some(next) = next_connection(trouble.as_ref(), last.as_ref(), &ready).cloned() else {
            self.release(Rest::Nothing).await?;
            return Ok(Step::End(Ended::Done));
        };
        // The maker's rights as they are now.
        let key = self.key(&next);
        let connection = self.deps.store.load_connection(&key).await?;
        if !connection.is_some_and(|connection| self.may_receive(&connection)) {
            self.has_nothing(&next);
            return Ok(Step::On);
        }
        let place = self.places.get(&next).copied().unwrap_or_default();
        let pinned = trouble.filter(|trouble| trouble.connection == next);
        let attempt = pinned.as_ref().map_or(0, |trouble| trouble.failures) + 1;
        let until = pinned.and_then(|trouble| trouble.head);
        let (message, kind, head) = match self.read(&key, &place, until.as_ref()).await? {
            Found::Nothing => {
                self.has_nothing(&next);
                return Ok(Step::On);
            }
            Found::Passed(head) => {
                self.move_place(&next, place, Some(head)).await?;
                return Ok(Step::On);
            }
            Found::Message(message, kind, head) => (message, kind, head),
        };
        let posted = self.post(&message).await?;
        let answer = posted.answer;
        if answer.moves_the_place() {
            self.move_place(&next, place, head).await?;
        }
        let about = (kind, Some(&next), head);
        self.record(&message, &posted, about, attempt).await;
        self.last = Some(next.clone());
        let (token, now) = (self.token, self.deps.clock.now());
        let jitter = self.deps.entropy.jitter();
        let step =
            self.change(|endpoint| endpoint.settled(token, (&next, head), answer, now, jitter));
        if let Step::End(ended) = step.await? {
            return Ok(Step::End(ended));
        }
        Ok(match (&self.endpoint().state, answer) {
            (EndpointState::Disabled { reason, .. }, _) => {
                tracing::error!(
                    endpoint = %self.endpoint().id, reason = reason.label(),
                    metric = "webhook_disabled",
                    "a webhook endpoint was disabled; its maker enables it again"
                );
                // The logs are to say so.
                Step::End(Ended::More)
            }
            (EndpointState::Active, Answer::Accepted) => Step::On,
            // It is due later.
            (EndpointState::Active, Answer::Gone | Answer::Failed { .. }) => Step::End(Ended::Done),
        })
    }

    fn has_nothing(&mut self, connection: &ConnectionId) {
        if let Some(ready) = &mut self.ready {
            ready.remove(connection);
        }
    }

    fn may_receive(&self, connection: &Connection) -> bool {
        let id = &connection.key.connection;
        self.endpoint().may_receive(id, connection.access.as_ref())
    }

    /// Returns the connections whose events the endpoint receives, in the order of their ids.
    async fn connections(&self) -> Result<BTreeSet<ConnectionId>, WorkError> {
        let store = &self.deps.store;
        let mut found = BTreeSet::new();
        if let EndpointScope::Connections(connections) = &self.endpoint().scope {
            let keys: Vec<_> = connections.iter().map(|id| self.key(id)).collect();
            let mut loading = stream::iter(keys)
                .map(|key| async move { store.load_connection(&key).await })
                .buffer_unordered(LOGS_AT_ONCE);
            while let Some(connection) = loading.try_next().await? {
                let told = connection.filter(|connection| self.may_receive(connection));
                found.extend(told.map(|connection| connection.key.connection));
            }
            return Ok(found);
        }
        let mut page = PageRequest::first(PageRequest::LIMIT_MAX);
        loop {
            let told = |connection: &Connection| self.may_receive(connection);
            let listed = store
                .list_connections(&self.stored.tenant, &page, told)
                .await?;
            found.extend(listed.items.into_iter().map(|one| one.key.connection));
            page.cursor = listed.next_cursor;
            if page.cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// Finds the connections whose logs end after the endpoint's places.
    async fn look(&mut self) -> Result<(), WorkError> {
        let (store, id) = (&self.deps.store, self.endpoint().id.clone());
        self.places = store.endpoint_places(&self.stored.tenant, &id).await?;
        let connections = self.connections().await?;
        let keys: Vec<_> = connections.iter().map(|id| self.key(id)).collect();
        let ends = stream::iter(keys).map(|key| async move {
            let end = store.event_log_end(&key).await?;
            Ok::<_, WorkError>((key, end.as_ref().map(LogEnd::cursor)))
        });
        let mut ends = ends.buffer_unordered(LOGS_AT_ONCE);
        let mut ready = BTreeSet::new();
        while let Some((key, head)) = ends.try_next().await? {
            let place = self
                .places
                .get(&key.connection)
                .and_then(|place| place.after);
            if head != place {
                ready.insert(key.connection.clone());
            }
        }
        drop(ends);
        self.ready = Some(ready);
        Ok(())
    }

    /// Reads a log after a place, and returns what the endpoint receives of it next.
    async fn read(
        &self,
        key: &ConnectionKey,
        place: &Place,
        until: Option<&EventCursor>,
    ) -> Result<Found, WorkError> {
        let (endpoint, now) = (self.endpoint(), self.deps.clock.now());
        let has_filter = endpoint.filter != EventFilter::default();
        let limit = if has_filter { EXAMINED_MAX } else { EVENTS_MAX };
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let after = place.after.as_ref();
        let read = self.deps.store.read_events(key, after, limit, now).await?;
        let reset = |head: Option<EventCursor>| {
            let message = of_reset(&endpoint.id, key, (after, head.as_ref()), now);
            let message = message.map_err(unwritable)?;
            Ok(Found::Message(message, DeliveryKind::Reset, head))
        };
        let (read, head) = match read {
            EventsRead::Expired { head } => return reset(head),
            EventsRead::Page { events, head, next } => (events, head.max(next)),
        };
        let first = read.first().map(|(cursor, _)| cursor);
        if misses_events(after, first) {
            return reset(head);
        }
        let views: Vec<EventView> = read
            .iter()
            .map(|(cursor, event)| EventView::of(key, cursor, event))
            .collect();
        let mut examined = Vec::new();
        for ((cursor, event), view) in read.iter().zip(&views) {
            examined.push(Examined {
                cursor: *cursor,
                bytes: serde_json::to_vec(view).map_err(unwritable)?.len(),
                selected: endpoint.filter.selects(event),
            });
        }
        let planned = match batch(&examined, until) {
            // The events of the attempt before are not selected any more.
            Batch::Nothing(None) if until.is_some() => batch(&examined, None),
            planned @ (Batch::Nothing(_) | Batch::Events { .. }) => planned,
        };
        Ok(match planned {
            Batch::Nothing(None) => Found::Nothing,
            Batch::Nothing(Some(head)) => Found::Passed(head),
            Batch::Events { range, head } => {
                let part = read.iter().zip(&views).skip(range.start).take(range.len());
                let selected: Vec<(&Event, &EventView)> = part
                    .filter(|((_, event), _)| endpoint.filter.selects(event))
                    .map(|((_, event), view)| (event, view))
                    .collect();
                let of = (&endpoint.id, &key.connection);
                let message = of_events(of, (after, &head), &selected);
                let message = message.map_err(unwritable)?;
                Found::Message(message, DeliveryKind::Events, Some(head))
            }
        })
    }

    /// Moves the place in a connection's log. One that was moved or set back by others is read
    /// again.
    async fn move_place(
        &mut self,
        connection: &ConnectionId,
        before: Place,
        after: Option<EventCursor>,
    ) -> Result<(), WorkError> {
        let (store, tenant) = (&self.deps.store, &self.stored.tenant);
        let of = (tenant, &self.endpoint().id);
        let moved = store.move_place(of, connection, &before, after.as_ref());
        match moved.await? {
            Updated::Done => {
                self.places
                    .insert(connection.clone(), Place { after, ..before });
            }
            Updated::Absent => self.places = store.endpoint_places(of.0, of.1).await?,
        }
        Ok(())
    }

    /// Posts a message, signed with the secrets that are valid now.
    async fn post(&self, message: &Message) -> Result<Posted, WorkError> {
        let (deps, endpoint) = (self.deps, self.endpoint());
        let at = deps.clock.now();
        let mut headers = signed(deps, &self.stored, message, at).await?;
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        let body = message.body.clone();
        let posted = deps.endpoints.post(&endpoint.url, headers, body, at);
        let posted = Box::pin(posted).await;
        let (answer, outcome) = judge(&posted);
        Ok(Posted {
            at,
            answer,
            outcome,
            status: posted.ok().map(|answer| answer.status.as_u16()),
        })
    }

    /// Records an attempt. People look at it; nothing depends on it.
    async fn record(
        &self,
        message: &Message,
        posted: &Posted,
        (kind, connection, head): (DeliveryKind, Option<&ConnectionId>, Option<EventCursor>),
        attempt: u32,
    ) {
        let id = &self.endpoint().id;
        let millis = self.deps.clock.now().millis_since(posted.at);
        let delivery = Delivery {
            at: posted.at,
            message: message.id.clone(),
            kind,
            connection: connection.cloned(),
            head,
            events: u32::try_from(message.events).unwrap_or(u32::MAX),
            attempt,
            outcome: posted.outcome,
            status: posted.status,
            millis: u32::try_from(millis).unwrap_or_default(),
        };
        tracing::info!(
            endpoint = %id, outcome = posted.outcome.label(), status = posted.status, attempt,
            metric = match posted.answer {
                Answer::Accepted => "webhook_accepted",
                Answer::Gone | Answer::Failed { .. } => "webhook_not_accepted",
            },
            "delivered to a webhook endpoint"
        );
        let nonce = Nonce(self.deps.entropy.next());
        let store = &self.deps.store;
        let recorded = store.record_delivery(&self.stored.tenant, id, &delivery, nonce);
        if let Err(error) = recorded.await {
            let error = runtime::telemetry::chain(&error);
            tracing::warn!(error, "a delivery is not shown");
        }
    }
}

/// What a log has for an endpoint.
enum Found {
    /// Nothing after the place.
    Nothing,
    /// Events that are not for it, up to here.
    Passed(EventCursor),
    /// This, which reaches this place.
    Message(Message, DeliveryKind, Option<EventCursor>),
}

/// The outcome of a message.
struct Posted {
    at: Timestamp,
    answer: Answer,
    outcome: DeliveryOutcome,
    status: Option<u16>,
}

fn judge(posted: &Result<HttpAnswer, PostError>) -> (Answer, DeliveryOutcome) {
    match posted {
        Ok(head) => {
            let seconds = head.retry_after_seconds;
            let millis = seconds.and_then(|seconds| i64::try_from(seconds * 1_000).ok());
            let answer = Answer::of_status(head.status.as_u16(), millis);
            let outcome = match answer {
                Answer::Accepted => DeliveryOutcome::Accepted,
                Answer::Gone | Answer::Failed { .. } => DeliveryOutcome::Refused,
            };
            (answer, outcome)
        }
        Err(PostError::Refused(_)) => (Answer::FAILED, DeliveryOutcome::Forbidden),
        Err(PostError::Timeout) => (Answer::FAILED, DeliveryOutcome::TimedOut),
        Err(PostError::NotConnected(_) | PostError::NoAnswer(_)) => {
            (Answer::FAILED, DeliveryOutcome::Unreachable)
        }
    }
}
