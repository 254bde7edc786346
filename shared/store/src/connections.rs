//! Connections: which Drive accounts a tenant syncs, and how.

use std::collections::BTreeMap;

use domain::pace::Limits;
use domain::{
    ConnectionId, ConnectionKey, ContentSettings, FileId, Gone, LogId, Observation, Policies,
    Policy, Request, Rules, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::content_settings_item::ContentSettingsItem;
use crate::file_item::RequestItem;
use crate::item::{decode, encode};
use crate::key::{Item, Key, tenant_pk};
use crate::limits_item::LimitsItem;
use crate::range::Range;
use crate::rules_item::RulesItem;
use crate::store::Applied;
use crate::update::Replaces;
use crate::value_item::at;
use crate::{Created, Page, PageRequest, RemovalLimits, Store, StoreError, Written};

/// One Drive account or shared drive that we sync for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Whose and which.
    pub key: ConnectionKey,
    /// The condition of the next write; 0 has never been stored.
    pub revision: u64,
    /// What people call it.
    pub name: String,
    /// What of Drive it covers.
    pub scope: Scope,
    /// Names the secret that holds the credentials. Never the credentials.
    pub secret_id: String,
    /// Whom a service account acts for; `None` for itself, or where the secret is a person's own grant.
    pub subject: Option<String>,
    /// Whose share of Google's quota its calls count against (`quotaUser`, at most 40 characters).
    pub quota_user: Option<String>,
    /// How much of Drive's quota it may use, how fast it writes, when it leaves Drive alone.
    pub limits: Limits,
    /// Who decides conflicts.
    pub policies: Policies,
    /// What of it the application sees.
    pub rules: Rules,
    /// What of its content is mirrored.
    pub content: ContentSettings,
    /// The root folder of the user's My Drive; `None` where there is none, or nobody has asked Drive.
    pub my_drive: Option<FileId>,
    /// How much a comparison may remove without asking a person.
    pub removals: RemovalLimits,
    /// Whether it is synced.
    pub state: ConnectionState,
    /// When it was made.
    pub created_at: Timestamp,
    /// The subject of the token that made it.
    pub created_by: String,
    /// The last write request that carried an idempotency key.
    pub last_request: Option<Request>,
}

/// What of Drive a connection covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The user's own log: My Drive and what is shared with them.
    User,
    /// One shared drive, by its id.
    SharedDrive(String),
}

/// Whether a connection is synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is.
    Active,
    /// Not until someone resumes it; someone paused it.
    Paused,
    /// Not until someone resumes it; nothing could succeed (a revoked grant, a bad configuration).
    Suspended {
        /// What was wrong.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
    /// It is being deleted.
    Deleting,
}

impl Scope {
    /// Whether the files of a log belong to it. A user's whole Drive has every shared drive that the user
    /// can see.
    #[must_use]
    pub fn covers(&self, log: &LogId) -> bool {
        match self {
            Self::User => true,
            Self::SharedDrive(drive) => log.as_str() == drive,
        }
    }

    /// The log that such a connection follows from the start; `None` where a shared drive's id names none.
    #[must_use]
    pub fn own_log(&self) -> Option<LogId> {
        match self {
            Self::User => Some(LogId::user()),
            Self::SharedDrive(drive) => LogId::parse(drive).ok(),
        }
    }

    /// What a look at a file means for a connection of this scope: a file that is there, but in a drive that
    /// the connection does not cover, has moved away.
    #[must_use]
    pub fn seen(&self, look: Observation) -> Observation {
        match look {
            Observation::Present(snapshot) if !self.covers(&snapshot.mirror.log()) => {
                Observation::Gone(Gone::MovedAway)
            }
            Observation::Present(_) | Observation::Gone(_) => look,
        }
    }
}

impl Store {
    /// Makes a connection, whatever `revision` the value has: it is stored with revision 1.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_connection(
        &self,
        connection: &Connection,
    ) -> Result<Created<Connection>, StoreError> {
        let stored = Connection {
            revision: 1,
            ..connection.clone()
        };
        match self
            .put(encode_connection(&stored)?, Replaces::Nothing)
            .await?
        {
            Applied::Done(_) => Ok(Created::Created),
            // Our own, whose answer was lost before the SDK tried again.
            Applied::Refused(Some(item)) => {
                let current = decode_connection(&connection.key.tenant, item)?;
                Ok(if current == stored {
                    Created::Created
                } else {
                    Created::Exists(current)
                })
            }
            Applied::Refused(None) => Err(StoreError::busy("what exists was not returned")),
        }
    }

    /// One connection, read consistently.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_connection(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<Connection>, StoreError> {
        let item = self.get(&Key::connection(key)).await?;
        item.map(|item| decode_connection(&key.tenant, item))
            .transpose()
    }

    /// A tenant's connections, by id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_connections(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<Connection>, StoreError> {
        let all = Range::prefix(None, tenant_pk(tenant), "CONN#");
        let decode = |item| decode_connection(tenant, item);
        self.list_range("connections", all, page, decode).await
    }

    /// Replaces a connection on condition of its `revision`; `Done` has the next one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_connection(
        &self,
        connection: &Connection,
    ) -> Result<Written<Connection>, StoreError> {
        let next = Connection {
            revision: connection.revision + 1,
            ..connection.clone()
        };
        let replaces = Replaces::Revision(connection.revision);
        let current = match self.put(encode_connection(&next)?, replaces).await? {
            Applied::Done(_) => return Ok(Written::Done(next)),
            Applied::Refused(current) => current,
        };
        let decode = |item| decode_connection(&connection.key.tenant, item);
        let current = current.map(decode).transpose()?;
        // What stands is what was to be written: our own write, whose answer was lost.
        Ok(if current.as_ref() == Some(&next) {
            Written::Done(next)
        } else {
            Written::Stale(current)
        })
    }

    /// [`Store::save_connection`] with another state.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn set_connection_state(
        &self,
        connection: &Connection,
        state: ConnectionState,
    ) -> Result<Written<Connection>, StoreError> {
        self.save_connection(&Connection {
            state,
            ..connection.clone()
        })
        .await
    }

    /// Deletes the connection's own item; its files and logs are items of their own.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_connection(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        self.delete(&Key::connection(key)).await
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    name: String,
    /// The shared drive's id; absent where it is the user's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_drive: Option<String>,
    secret_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_user: Option<String>,
    #[serde(default)]
    limits: LimitsItem,
    policy: PolicyItem,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    policies: BTreeMap<String, PolicyItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rules: Option<RulesItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<ContentSettingsItem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    my_drive: Option<String>,
    #[serde(default)]
    removals: RemovalLimits,
    state: StateItem,
    created_at: i64,
    created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_request: Option<RequestItem>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PolicyItem {
    Manual,
    DriveWins,
    AppWins,
    LastWriterWins { window_millis: i64 },
    MostRestrictive,
    KeepBoth,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateItem {
    Active,
    Paused,
    Suspended { reason: String, at: i64 },
    Deleting,
}

impl From<Policy> for PolicyItem {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Manual => Self::Manual,
            Policy::DriveWins => Self::DriveWins,
            Policy::AppWins => Self::AppWins,
            Policy::LastWriterWins { window_millis } => Self::LastWriterWins { window_millis },
            Policy::MostRestrictive => Self::MostRestrictive,
            Policy::KeepBoth => Self::KeepBoth,
        }
    }
}

impl From<PolicyItem> for Policy {
    fn from(item: PolicyItem) -> Self {
        match item {
            PolicyItem::Manual => Self::Manual,
            PolicyItem::DriveWins => Self::DriveWins,
            PolicyItem::AppWins => Self::AppWins,
            PolicyItem::LastWriterWins { window_millis } => Self::LastWriterWins { window_millis },
            PolicyItem::MostRestrictive => Self::MostRestrictive,
            PolicyItem::KeepBoth => Self::KeepBoth,
        }
    }
}

impl From<&ConnectionState> for StateItem {
    fn from(state: &ConnectionState) -> Self {
        match state {
            ConnectionState::Active => Self::Active,
            ConnectionState::Paused => Self::Paused,
            ConnectionState::Suspended { reason, at } => Self::Suspended {
                reason: reason.clone(),
                at: at.as_millis(),
            },
            ConnectionState::Deleting => Self::Deleting,
        }
    }
}

impl From<StateItem> for ConnectionState {
    fn from(item: StateItem) -> Self {
        match item {
            StateItem::Active => Self::Active,
            StateItem::Paused => Self::Paused,
            StateItem::Suspended { reason, at: millis } => Self::Suspended {
                reason,
                at: at(millis),
            },
            StateItem::Deleting => Self::Deleting,
        }
    }
}

fn encode_connection(connection: &Connection) -> Result<Item, StoreError> {
    let exceptions = connection.policies.fields.iter();
    let body = Body {
        revision: connection.revision,
        name: connection.name.clone(),
        shared_drive: match &connection.scope {
            Scope::User => None,
            Scope::SharedDrive(id) => Some(id.clone()),
        },
        secret_id: connection.secret_id.clone(),
        subject: connection.subject.clone(),
        quota_user: connection.quota_user.clone(),
        limits: (&connection.limits).into(),
        policy: connection.policies.default.into(),
        policies: exceptions
            .map(|(label, policy)| (label.clone(), (*policy).into()))
            .collect(),
        rules: RulesItem::of(&connection.rules),
        content: ContentSettingsItem::of(&connection.content),
        my_drive: connection.my_drive.as_ref().map(FileId::to_string),
        removals: connection.removals,
        state: (&connection.state).into(),
        created_at: connection.created_at.as_millis(),
        created_by: connection.created_by.clone(),
        last_request: connection.last_request.as_ref().map(Into::into),
    };
    encode(&Key::connection(&connection.key), &body)
}

fn decode_connection(tenant: &TenantId, item: Item) -> Result<Connection, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place
        .sk
        .strip_prefix("CONN#")
        .and_then(|id| ConnectionId::parse(id).ok());
    let Some(connection) = id.filter(|_| place.pk == tenant_pk(tenant)) else {
        return Err(place.corrupt("its key names no connection of this tenant"));
    };
    let my_drive = body.my_drive.as_deref().map(FileId::parse).transpose();
    let my_drive = my_drive.map_err(|_| place.clone().corrupt("its My Drive has no id"))?;
    let rules = body.rules.unwrap_or_default().into_rules();
    let rules = rules.map_err(|what| place.clone().corrupt(what))?;
    let content = body.content.map(ContentSettingsItem::into_settings);
    let content = content.transpose().map_err(|what| place.corrupt(what))?;
    let exceptions = body.policies.into_iter();
    Ok(Connection {
        key: ConnectionKey {
            tenant: tenant.clone(),
            connection,
        },
        revision: body.revision,
        name: body.name,
        scope: body.shared_drive.map_or(Scope::User, Scope::SharedDrive),
        secret_id: body.secret_id,
        subject: body.subject,
        quota_user: body.quota_user,
        limits: body.limits.into(),
        policies: Policies {
            default: body.policy.into(),
            fields: exceptions
                .map(|(label, policy)| (label, policy.into()))
                .collect(),
        },
        rules,
        content: content.unwrap_or_default(),
        my_drive,
        removals: body.removals,
        state: body.state.into(),
        created_at: at(body.created_at),
        created_by: body.created_by,
        last_request: body.last_request.map(Into::into),
    })
}
