//! A webhook endpoint, and what was delivered to it, as callers see them.

use domain::webhook::{
    Delivery, DeliveryKind, DeliveryOutcome, DisabledReason, Endpoint, EndpointState,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::endpoints::event_type_word::EventTypeWord;
use crate::endpoints::webhook_body::{WebhookState, connections};
use crate::http::digest;
use crate::http::view_enum::view_enum;

/// An address that events are posted to.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    id: String,
    name: String,
    url: String,
    /// The connections whose events it gets; null for all that `made_by` may read.
    connections: Option<Vec<String>>,
    /// Only these types; empty for all.
    types: Vec<EventTypeWord>,
    /// Only events of these files; empty for all.
    files: Vec<String>,
    /// Only events of files that are in this folder, or were before the change.
    folder: Option<String>,
    /// Only changes by this author.
    actor: Option<String>,
    state: WebhookState,
    /// Why and since when it is disabled.
    disabled: Option<DisabledView>,
    /// The number of its secrets so far. The current one signs.
    secret_generation: u32,
    /// Until when the secret before signs as well.
    #[schema(format = DateTime)]
    previous_secret_until: Option<String>,
    /// The caller whose rights it has: who made it, or last changed its `url`, its `connections`,
    /// or the events that it gets.
    made_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The delivery that it has not accepted so far; null if there is none.
    failing: Option<FailingView>,
    /// The secret that signs its deliveries. Shown once: when it was made, or after a rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Why and since when an endpoint is disabled.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WebhookDisabled)]
pub(crate) struct DisabledView {
    reason: DisabledReasonView,
    #[schema(format = DateTime)]
    since: String,
}

view_enum! {
    /// `person`: a person disabled it. `gone`: it answered 410. `failing`: it accepted none of ten
    /// attempts at a delivery. `no_connections`: none of its connections is left. `maker_erased`:
    /// the person in `made_by` was erased, and its rights are nobody's; who makes it active again
    /// answers for it.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = WebhookDisabledReason)]
    enum DisabledReasonView = DisabledReason {
        Person,
        Gone,
        Failing,
        NoConnections,
        MakerErased,
    }
}

/// A delivery that was not accepted so far.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WebhookFailing)]
pub(crate) struct FailingView {
    connection: String,
    /// The attempts that failed.
    attempts: u32,
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    next_attempt_at: String,
}

impl WebhookView {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let filter = &endpoint.filter;
        let disabled = match &endpoint.state {
            EndpointState::Active => None,
            EndpointState::Disabled { reason, since, .. } => Some(DisabledView {
                reason: (*reason).into(),
                since: since.to_string(),
            }),
        };
        let trouble = endpoint.course.trouble.as_ref();
        Self {
            id: endpoint.id.to_string(),
            name: endpoint.name.clone(),
            url: endpoint.url.to_string(),
            connections: connections(&endpoint.scope),
            types: filter.types.iter().map(|kind| (*kind).into()).collect(),
            files: filter.files.iter().map(ToString::to_string).collect(),
            folder: filter.folder.as_ref().map(ToString::to_string),
            actor: filter.actor.clone(),
            state: match disabled {
                None => WebhookState::Active,
                Some(_) => WebhookState::Disabled,
            },
            disabled,
            secret_generation: endpoint.secret.generation,
            previous_secret_until: endpoint.secret.both_until.map(|until| until.to_string()),
            made_by: endpoint.maker.subject.clone(),
            created_at: endpoint.created_at.to_string(),
            failing: trouble.map(|trouble| FailingView {
                connection: trouble.connection.to_string(),
                attempts: trouble.failures,
                since: trouble.since.to_string(),
                next_attempt_at: trouble.next_at.to_string(),
            }),
            secret: None,
        }
    }

    /// Returns it without what deliveries change: what a person has set.
    pub(crate) fn settings(endpoint: &Endpoint) -> Self {
        Self {
            failing: None,
            ..Self::new(endpoint)
        }
    }

    /// Returns it with its secret.
    pub(crate) fn with_secret(self, secret: String) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }
}

/// Returns the number of an endpoint's entity tag. It moves when a person changes the endpoint or
/// when it is disabled, and not with each delivery.
pub(crate) fn version(endpoint: &Endpoint) -> u64 {
    let settings = serde_json::to_vec(&WebhookView::settings(endpoint)).unwrap_or_default();
    let text = digest(&[&settings]);
    let bytes = text.bytes().take(8);
    bytes.fold(0, |number, byte| (number << 8) | u64::from(byte))
}

/// An attempt to deliver something. What the endpoint answered besides its status is neither read
/// nor kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(crate) struct DeliveryView {
    /// The header `webhook-id`: the same for all attempts at the same events.
    message: String,
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    kind: DeliveryKindView,
    /// The connection that it is about; null for a test.
    connection: Option<String>,
    /// The place in the connection's log that it would reach: the `after` of a replay of what
    /// follows.
    head: Option<String>,
    /// The number of events.
    events: u32,
    /// Which attempt it was, counted from 1.
    attempt: u32,
    outcome: DeliveryOutcomeView,
    /// The status of the answer, if there was one.
    status: Option<u16>,
    duration_ms: u32,
}

view_enum! {
    /// `events`: events of a log. `reset`: the notice that events are missing. `test`: a test.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = WebhookDeliveryKind)]
    enum DeliveryKindView = DeliveryKind {
        Events,
        Reset,
        Test,
    }
}

view_enum! {
    /// `accepted`: 2xx. `refused`: another status; a redirect is not followed. `timed_out`: no
    /// answer in time. `unreachable`: the host was not found, or no secure connection was made.
    /// `forbidden`: the host has an address that is not on the internet.
    #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    #[schema(as = WebhookDeliveryOutcome)]
    enum DeliveryOutcomeView = DeliveryOutcome {
        Accepted,
        Refused,
        TimedOut,
        Unreachable,
        Forbidden,
    }
}

impl DeliveryView {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        Self {
            message: delivery.message.clone(),
            at: delivery.at.to_string(),
            kind: delivery.kind.into(),
            connection: delivery.connection.as_ref().map(ToString::to_string),
            head: delivery.head.map(|head| head.to_string()),
            events: delivery.events,
            attempt: delivery.attempt,
            outcome: delivery.outcome.into(),
            status: delivery.status,
            duration_ms: delivery.millis,
        }
    }
}
