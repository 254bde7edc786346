//! The item of a webhook endpoint.
//!
//! The names `created_by` and `filter.by` are those under which items say who someone is: what is
//! in them is replaced when that person is erased.

use domain::event::{EventCursor, EventFilter, EventType};
use domain::webhook::{
    Course, DisabledReason, Endpoint, EndpointScope, EndpointState, EndpointUrl, Lease, LeaseToken,
    Maker, OwedTest, Reachable, SigningSecret, Telling, Trouble,
};
use domain::{ConnectionId, EndpointId, FileId, Role, TenantId};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::file::value_item::{ItemDefect, at};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Index, Item, Key, due_place};
use crate::webhook::endpoints::StoredEndpoint;

/// The prefix of the sort key.
pub(crate) const HOOK: &str = "HOOK#";

/// The partition of a tenant's endpoints.
pub(crate) fn endpoints_pk(tenant: &TenantId) -> String {
    format!("T#{tenant}#HOOKS")
}

/// The partition of what belongs to one endpoint.
pub(crate) fn endpoint_pk(tenant: &TenantId, id: &EndpointId) -> String {
    format!("{}{id}", endpoint_pk_prefix(tenant))
}

/// The partition key of what belongs to an endpoint, before its id.
pub(crate) fn endpoint_pk_prefix(tenant: &TenantId) -> String {
    format!("T#{tenant}#HOOK#")
}

pub(crate) fn endpoint_key(tenant: &TenantId, id: &EndpointId) -> Key {
    Key::new(endpoints_pk(tenant), format!("{HOOK}{id}"))
}

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    name: String,
    url: String,
    /// Absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<String>>,
    #[serde(default)]
    filter: FilterItem,
    created_by: String,
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    /// Absent while it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<DisabledItem>,
    generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    both_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<(u64, i64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<TroubleItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    look_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<(u64, i64)>,
    created_at: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct FilterItem {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct DisabledItem {
    reason: String,
    since: i64,
    /// Whether its logs do not all say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    telling: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct TroubleItem {
    connection: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    failures: u32,
    since: i64,
    next_at: i64,
}

pub(crate) fn encode_endpoint(
    tenant: &TenantId,
    endpoint: &Endpoint,
    revision: u64,
) -> Result<Encoded, StoreError> {
    let Endpoint {
        id,
        name,
        url,
        scope,
        filter,
        maker,
        state,
        secret,
        course,
        created_at,
    } = endpoint;
    let texts = |ids: &std::collections::BTreeSet<ConnectionId>| {
        ids.iter().map(ToString::to_string).collect()
    };
    let body = Body {
        revision,
        name: name.clone(),
        url: url.to_string(),
        connections: match scope {
            EndpointScope::All => None,
            EndpointScope::Connections(connections) => Some(texts(connections)),
        },
        filter: FilterItem {
            types: filter.types.iter().map(ToString::to_string).collect(),
            files: filter.files.iter().map(ToString::to_string).collect(),
            folder: filter.folder.as_ref().map(ToString::to_string),
            by: filter.actor.clone(),
        },
        created_by: maker.subject.clone(),
        role: maker.role.as_str().to_owned(),
        groups: maker.groups.iter().cloned().collect(),
        disabled: match state {
            EndpointState::Active => None,
            EndpointState::Disabled {
                reason,
                since,
                telling,
            } => Some(DisabledItem {
                reason: reason.label().to_owned(),
                since: since.as_millis(),
                telling: *telling != Telling::Done,
                told: match telling {
                    Telling::Owed(told) => told.as_ref().map(ToString::to_string),
                    Telling::Done => None,
                },
            }),
        },
        generation: secret.generation,
        both_until: secret.both_until.map(|until| until.as_millis()),
        lease: course
            .lease
            .map(|lease| (lease.token.0, lease.until.as_millis())),
        trouble: course.trouble.as_ref().map(|trouble| TroubleItem {
            connection: trouble.connection.to_string(),
            head: trouble.head.map(|head| head.to_string()),
            failures: trouble.failures,
            since: trouble.since.as_millis(),
            next_at: trouble.next_at.as_millis(),
        }),
        last: course.last.as_ref().map(ToString::to_string),
        look_at: course.look_at.as_millis(),
        test: course.test.map(|test| (test.id, test.at.as_millis())),
        created_at: created_at.as_millis(),
    };
    let place = endpoint_key(tenant, id);
    let mut item = encode(&place, &body)?;
    if let Some(due_at) = endpoint.due_at() {
        item.place(Index::Due, due_place(&place, due_at));
    }
    Ok(item)
}

pub(crate) fn decode_endpoint(tenant: &TenantId, item: Item) -> Result<StoredEndpoint, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place.sk.strip_prefix(HOOK).map(EndpointId::parse);
    let Some(Ok(id)) = id else {
        return Err(place.corrupt("its id is invalid"));
    };
    let revision = body.revision;
    let endpoint = body
        .into_endpoint(id)
        .map_err(|defect| place.corrupt(defect))?;
    Ok(StoredEndpoint {
        tenant: tenant.clone(),
        endpoint,
        revision,
    })
}

fn connection(text: &str) -> Result<ConnectionId, ItemDefect> {
    ConnectionId::parse(text).map_err(|_| "a connection is invalid")
}

fn cursor(text: &str) -> Result<EventCursor, ItemDefect> {
    EventCursor::parse(text).map_err(|_| "a cursor is invalid")
}

impl FilterItem {
    fn into_filter(self) -> Result<EventFilter, ItemDefect> {
        let file = |text: &String| FileId::parse(text).map_err(|_| "a file is invalid");
        // A type of a later build is left out: this build reads no event of it.
        let types = self.types.iter();
        Ok(EventFilter {
            types: types
                .filter_map(|label| EventType::from_label(label))
                .collect(),
            files: self.files.iter().map(file).collect::<Result<_, _>>()?,
            folder: self.folder.as_ref().map(file).transpose()?,
            actor: self.by,
        })
    }
}

impl Body {
    fn into_endpoint(self, id: EndpointId) -> Result<Endpoint, ItemDefect> {
        let scope = match &self.connections {
            None => EndpointScope::All,
            Some(texts) => {
                let connections = texts.iter().map(|text| connection(text));
                EndpointScope::Connections(connections.collect::<Result<_, _>>()?)
            }
        };
        let state = match self.disabled {
            None => EndpointState::Active,
            Some(disabled) => {
                let told = disabled.told.as_deref().map(connection).transpose()?;
                EndpointState::Disabled {
                    reason: DisabledReason::from_label(&disabled.reason)
                        .ok_or("its reason is unknown")?,
                    since: at(disabled.since),
                    telling: match disabled.telling {
                        true => Telling::Owed(told),
                        false => Telling::Done,
                    },
                }
            }
        };
        let trouble = match self.trouble {
            None => None,
            Some(trouble) => Some(Trouble {
                connection: connection(&trouble.connection)?,
                head: trouble.head.as_deref().map(cursor).transpose()?,
                failures: trouble.failures,
                since: at(trouble.since),
                next_at: at(trouble.next_at),
            }),
        };
        // Whether this machine is reached is asked where an address is given, and before each call.
        let url = EndpointUrl::parse(&self.url, Reachable::PublicAndLoopback);
        Ok(Endpoint {
            id,
            name: self.name,
            url: url.map_err(|_| "its address is invalid")?,
            scope,
            filter: self.filter.into_filter()?,
            maker: Maker {
                subject: self.created_by,
                // A role that this build does not know is the lowest one.
                role: Role::parse(&self.role).unwrap_or(Role::Viewer),
                groups: self.groups.into_iter().collect(),
            },
            state,
            secret: SigningSecret {
                generation: self.generation,
                both_until: self.both_until.map(at),
            },
            course: Course {
                lease: self.lease.map(|(token, until)| Lease {
                    token: LeaseToken(token),
                    until: at(until),
                }),
                trouble,
                last: self.last.as_deref().map(connection).transpose()?,
                look_at: at(self.look_at),
                test: self.test.map(|(id, asked_at)| OwedTest {
                    id,
                    at: at(asked_at),
                }),
            },
            created_at: at(self.created_at),
        })
    }
}
