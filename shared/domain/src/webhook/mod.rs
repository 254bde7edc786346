//! Webhook endpoints: readers of event logs whose events are posted to an address.
//!
//! An endpoint has its place in the log of each connection whose events it receives. A delivery
//! posts what comes after the place; only an answer that accepts it moves the place. So every event
//! is delivered at least once and in the order of its log, or the endpoint is disabled and says so.

mod changes;
mod course;
mod delivery;
mod delivery_batch;
#[cfg(test)]
mod delivery_search;
mod endpoint_url;
mod public_address;
mod retries;
mod signing;

pub use changes::Changes;
pub use course::{
    Answer, Claim, Course, Duty, FIRST_LOOK_MILLIS, LEASE_MILLIS, LOOK_MILLIS, Lease, LeaseToken,
    OwedTest, Place, Rest, SOON_MILLIS, Told, Trouble, next_connection,
};
pub use delivery::{Delivery, DeliveryKind, DeliveryOutcome};
pub use delivery_batch::{BODY_BYTES_MAX, Batch, EVENTS_MAX, batch, misses_events};
pub use endpoint_url::{EndpointUrl, Host, InvalidUrl, Reachable, URL_BYTES_MAX};
pub use public_address::is_public;
pub use retries::{ATTEMPTS_MAX, FAILING_MILLIS_MAX, RETRY_AFTER_MILLIS_MAX};
pub use signing::{BOTH_SIGN_MILLIS, SigningSecret};

use std::collections::BTreeSet;

use crate::event::EventFilter;
use crate::labels::labels;
use crate::trail::is_erased_name;
use crate::{Access, ConnectionId, EndpointId, Role, Timestamp, effective_role};

/// The most connections that the scope of an endpoint names.
pub const CONNECTIONS_MAX: usize = 100;
/// The most files that the filter of an endpoint names.
pub const FILES_MAX: usize = 100;
/// The longest name of an endpoint, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// The days that a delivery is shown.
pub const DELIVERY_DAYS: i64 = 7;

/// A webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The id.
    pub id: EndpointId,
    /// The name that people see.
    pub name: String,
    /// The address that deliveries are posted to.
    pub url: EndpointUrl,
    /// The connections whose events it receives.
    pub scope: EndpointScope,
    /// The events that it receives.
    pub filter: EventFilter,
    /// Who answers for it.
    pub maker: Maker,
    /// Whether it receives anything.
    pub state: EndpointState,
    /// The secrets that sign its deliveries.
    pub secret: SigningSecret,
    /// Where its deliveries are.
    pub course: Course,
    /// The time of its creation.
    pub created_at: Timestamp,
}

/// The connections whose events an endpoint receives, as far as its maker reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointScope {
    /// All of the tenant, later ones included.
    All,
    /// These.
    Connections(BTreeSet<ConnectionId>),
}

impl EndpointScope {
    /// Returns whether it includes a connection.
    #[must_use]
    pub fn includes(&self, connection: &ConnectionId) -> bool {
        match self {
            Self::All => true,
            Self::Connections(connections) => connections.contains(connection),
        }
    }
}

/// Who made an endpoint, or last changed where it goes or what it receives. Nothing is delivered
/// that this caller may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// The subject of the token.
    pub subject: String,
    /// The role in the tenant.
    pub role: Role,
    /// The groups.
    pub groups: BTreeSet<String>,
}

impl Maker {
    /// Returns whether the maker reads a connection with this access: the rule for the holder of a
    /// socket, without a token that expires.
    #[must_use]
    pub fn reads(&self, access: Option<&Access>) -> bool {
        effective_role(self.role, &self.subject, &self.groups, access).is_some()
    }

    /// Returns whether the maker was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        is_erased_name(&self.subject)
    }
}

/// Whether an endpoint receives anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// It is.
    Active,
    /// It is not, until a person enables it.
    Disabled {
        /// The reason.
        reason: DisabledReason,
        /// Since when.
        since: Timestamp,
        /// Whether the logs of its connections say so.
        telling: Telling,
    },
}

/// Why an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisabledReason {
    /// A person disabled it.
    Person,
    /// It answered 410: it wants no more deliveries.
    Gone,
    /// It accepted none of the attempts to deliver something.
    Failing,
    /// None of its connections is left.
    NoConnections,
    /// The person who answered for it was erased: its rights are nobody's.
    MakerErased,
}

labels!(DisabledReason {
    Person = "person",
    Gone = "gone",
    Failing = "failing",
    NoConnections = "no_connections",
    MakerErased = "maker_erased",
});

/// Whether the logs of an endpoint's connections say that it was disabled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Telling {
    /// Those after this connection do not yet; all, if there is none.
    Owed(Option<ConnectionId>),
    /// They do, or need not: a person knows.
    Done,
}

impl Endpoint {
    /// Returns whether an event log's gain may concern it.
    #[must_use]
    pub fn may_receive(&self, connection: &ConnectionId, access: Option<&Access>) -> bool {
        self.scope.includes(connection) && self.maker.reads(access)
    }

    /// Returns whether it is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == EndpointState::Active
    }
}
