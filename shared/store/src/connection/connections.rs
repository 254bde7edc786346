//! Connections: the Drive accounts and shared drives that a tenant syncs, and their settings.

use std::collections::BTreeMap;

use domain::PageToken;
use domain::operation::{ComparisonInterval, ConnectionFacts, Operation};
use domain::rate_limit::Limits;
use domain::{
    Account, AccountCheck, AccountId, ConnectionId, ConnectionKey, ContentSettings, FileId, Gone,
    LogId, Observation, OperationId, Policies, Policy, RemovalLimits, Request, Rules, TenantId,
    Timestamp, check_account,
};
use serde::{Deserialize, Serialize};

use crate::connection::content_settings_item::ContentSettingsItem;
use crate::connection::limits_item::LimitsItem;
use crate::connection::removal_limits_item::RemovalLimitsItem;
use crate::connection::rules_item::RulesItem;
use crate::file::file_item::RequestItem;
use crate::file::value_item::at;
use crate::log::logs::{ListedLog, encode_log, listing_writes};
use crate::table::item::{Encoded, decode, encode};
use crate::table::key::{Item, Key, tenant_pk};
use crate::table::range::Range;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{
    Attempt, Created, Log, Page, PageRequest, Store, StoreError, Swapped, Updated, Written,
    compare_and_swap,
};

/// One Drive account or shared drive that is synced for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The tenant and the id.
    pub key: ConnectionKey,
    /// The revision: the condition of the next write. 0 before it is stored.
    pub revision: u64,
    /// The name that people see.
    pub name: String,
    /// The part of Drive that it covers.
    pub scope: Scope,
    /// The name of the secret that holds the credentials. Never the credentials.
    pub secret_id: String,
    /// The user that a service account impersonates; `None` for the service account itself, or if
    /// the secret is a user's own grant.
    pub subject: Option<String>,
    /// The user whose share of Google's quota its calls are charged to (`quotaUser`, at most 40
    /// characters).
    pub quota_user: Option<String>,
    /// The rate limits of its calls to Drive, and the settings of its circuit breaker.
    pub limits: Limits,
    /// The policies that decide its conflicts.
    pub policies: Policies,
    /// The rules that select the files that the application sees.
    pub rules: Rules,
    /// The settings of its content mirror.
    pub content: ContentSettings,
    /// The account that it acts as.
    pub account: Account,
    /// The root folder of the user's My Drive; `None` if there is none, or if Drive has not been
    /// asked yet.
    pub my_drive: Option<FileId>,
    /// The removals that one comparison may make without confirmation.
    pub removals: RemovalLimits,
    /// The interval between the comparisons of its files with Drive that run by themselves.
    pub comparison_interval: ComparisonInterval,
    /// The state of its synchronization.
    pub state: ConnectionState,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// The subject of the token that created it.
    pub created_by: String,
    /// The last write request with an idempotency key, of a release that kept it here. It stays as
    /// it is.
    pub last_request: Option<Request>,
}

impl Connection {
    /// Returns what its operations depend on.
    #[must_use]
    pub fn facts(&self, operation: &OperationId) -> ConnectionFacts {
        ConnectionFacts {
            active: self.state == ConnectionState::Active,
            mirrors_content: self.content.enabled,
            has_rules: !self.rules.is_empty(),
            removals: self.removals_of(operation),
        }
    }

    /// Returns how many files an operation may remove without confirmation: none, if it compares
    /// the files with those of an account that took the place of another.
    #[must_use]
    pub fn removals_of(&self, operation: &OperationId) -> RemovalLimits {
        if self.account.comparison.as_ref() == Some(operation) {
            RemovalLimits::NONE
        } else {
            self.removals
        }
    }

    /// Returns what an account means that Drive shows for its credentials.
    #[must_use]
    pub fn check_account(&self, shown: Option<&AccountId>) -> AccountCheck {
        let is_shared_drive = matches!(self.scope, Scope::SharedDrive(_));
        check_account(is_shared_drive, self.account.id.as_ref(), shown)
    }
}

/// The part of Drive that a connection covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The user's own log: My Drive and everything shared with the user.
    User,
    /// One shared drive, by its id.
    SharedDrive(String),
}

/// The state of a connection's synchronization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is synced.
    Active,
    /// A person paused it; it is not synced until a person resumes it.
    Paused,
    /// Nothing could succeed (a revoked grant, a wrong configuration); it is not synced until a
    /// person resumes it.
    Suspended {
        /// The cause.
        reason: String,
        /// The time of the suspension.
        at: Timestamp,
    },
    /// It is being deleted.
    Deleting,
}

impl Scope {
    /// Returns whether it covers the files of a log. A user's whole Drive includes every shared
    /// drive that the user can see.
    #[must_use]
    pub fn covers(&self, log: &LogId) -> bool {
        match self {
            Self::User => true,
            Self::SharedDrive(drive) => log.as_str() == drive,
        }
    }

    /// Returns the log that a connection of this scope follows from the start; `None` if the shared
    /// drive's id is no valid log id.
    #[must_use]
    pub fn own_log(&self) -> Option<LogId> {
        match self {
            Self::User => Some(LogId::user()),
            Self::SharedDrive(drive) => LogId::parse(drive).ok(),
        }
    }

    /// Interprets an observation for a connection of this scope: a file that is present, but in a
    /// drive that the connection does not cover, has moved away.
    #[must_use]
    pub fn restrict(&self, observation: Observation) -> Observation {
        match observation {
            Observation::Present(snapshot) if !self.covers(&snapshot.metadata.log()) => {
                Observation::Gone(Gone::MovedAway)
            }
            Observation::Present(_) | Observation::Gone(_) => observation,
        }
    }
}

impl Store {
    /// Creates a connection, with its own log if it is given: both or neither, since a connection
    /// without its log is never synced. It is stored with revision 1, whatever `revision` the value
    /// has.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_connection(
        &self,
        connection: &Connection,
        log: Option<&Log>,
    ) -> Result<Created<Connection>, StoreError> {
        let stored = Connection {
            revision: 1,
            ..connection.clone()
        };
        let mut writes = vec![Write::Put(encode_connection(&stored)?, Replaces::Nothing)];
        if let Some(log) = log {
            writes.push(Write::Put(encode_log(log)?, Replaces::Nothing));
        }
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Created::Created);
        }
        match self.load_connection(&connection.key).await? {
            Some(current) => Ok(Created::Exists(current)),
            None => Err(StoreError::busy(
                "the connection's log exists, and it does not",
            )),
        }
    }

    /// Reads one connection consistently.
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

    /// Reads a connection as [`Store::load_connection`] does, and whether a file of it was ever too
    /// large to be stored ([`Store::mark_oversized`]).
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_marked_connection(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<(Connection, bool)>, StoreError> {
        let Some(item) = self.get(&Key::connection(key)).await? else {
            return Ok(None);
        };
        let oversized = item.contains_key(OVERSIZED);
        Ok(Some((decode_connection(&key.tenant, item)?, oversized)))
    }

    /// Records that a file of the connection was too large to be stored: from then on, each file
    /// that is stored is checked for a dead letter of this kind, which other connections save.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn mark_oversized(
        &self,
        key: &ConnectionKey,
        now: Timestamp,
    ) -> Result<Updated, StoreError> {
        let update = Update::of(Key::connection(key)).set_number(OVERSIZED, now.as_millis());
        Ok(match self.update(update).await? {
            Applied::Done(_) => Updated::Done,
            Applied::Refused(_) => Updated::Absent,
        })
    }

    /// Lists a tenant's connections by id.
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

    /// Replaces a connection on condition of its `revision`; `Done` carries the next one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_connection(
        &self,
        connection: &Connection,
    ) -> Result<Written<Connection>, StoreError> {
        let (next, replaces) = successor(connection);
        let current = match self.put(encode_connection(&next)?, replaces).await? {
            Applied::Done(_) => return Ok(Written::Done(next)),
            Applied::Refused(current) => current,
        };
        let decode = |item| decode_connection(&connection.key.tenant, item);
        let current = current.map(decode).transpose()?;
        Ok(after_refusal(next, current))
    }

    /// Replaces a connection as [`Store::save_connection`] does, and in the same transaction begins
    /// `operation`, which lists the files of its own log from `start`: the log of another account,
    /// which has no channel yet. `Stale` if the connection or the log was changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_account(
        &self,
        connection: &Connection,
        log: &Log,
        start: &PageToken,
        operation: &Operation,
    ) -> Result<Written<Connection>, StoreError> {
        let (next, replaces) = successor(connection);
        let mut writes = vec![Write::Put(encode_connection(&next)?, replaces)];
        writes.extend(listing_writes(
            log,
            start,
            operation,
            ListedLog::OfAnotherAccount,
        )?);
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Written::Done(next));
        }
        let current = self.load_connection(&connection.key).await?;
        Ok(after_refusal(next, current))
    }

    /// Stores the account that Drive showed first, if none is known yet.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn take_account(
        &self,
        connection: &Connection,
        account: &Account,
    ) -> Result<(), StoreError> {
        let taken = compare_and_swap(connection.clone(), |connection| async move {
            if connection.account.id.is_some() {
                return Ok::<_, StoreError>(Attempt::Done(()));
            }
            let next = Connection {
                account: account.clone(),
                ..connection
            };
            match self.save_connection(&next).await? {
                Written::Done(_) | Written::Stale(None) => Ok(Attempt::Done(())),
                Written::Stale(Some(current)) => Ok(Attempt::Stale(current)),
            }
        });
        match taken.await? {
            Swapped::Done(()) => Ok(()),
            Swapped::Contended(_) => Err(StoreError::busy("concurrent writes of the connection")),
        }
    }

    /// Calls [`Store::save_connection`] with another state.
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

    /// Deletes the connection's own item; its files and logs are separate items.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_connection(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        self.delete(&Key::connection(key)).await
    }
}

/// The attribute with the time at which a file was last too large to be stored. It is not part of
/// the body, so that no write of the connection changes it.
const OVERSIZED: &str = "oversized_at";

#[derive(Serialize, Deserialize)]
struct Body {
    revision: u64,
    name: String,
    /// The shared drive's id; absent for the user's own log.
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
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account_comparison: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bound: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    my_drive: Option<String>,
    #[serde(default)]
    removals: RemovalLimitsItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comparison_days: Option<u16>,
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

/// Returns the connection under its next revision, and what that replaces.
fn successor(connection: &Connection) -> (Connection, Replaces) {
    let next = Connection {
        revision: connection.revision + 1,
        ..connection.clone()
    };
    (next, Replaces::Revision(connection.revision))
}

/// Returns the outcome of a write of `next` that was refused. If it is what is stored, the refused
/// write was a repetition of our own, whose response was lost.
fn after_refusal(next: Connection, current: Option<Connection>) -> Written<Connection> {
    if current.as_ref() == Some(&next) {
        Written::Done(next)
    } else {
        Written::Stale(current)
    }
}

pub(crate) fn encode_connection(connection: &Connection) -> Result<Encoded, StoreError> {
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
        account: connection.account.id.as_ref().map(AccountId::to_string),
        secret_version: connection.account.secret_version.clone(),
        account_comparison: connection
            .account
            .comparison
            .as_ref()
            .map(ToString::to_string),
        bound: connection.account.bound,
        my_drive: connection.my_drive.as_ref().map(FileId::to_string),
        removals: connection.removals.into(),
        comparison_days: Some(connection.comparison_interval.days),
        state: (&connection.state).into(),
        created_at: connection.created_at.as_millis(),
        created_by: connection.created_by.clone(),
        last_request: connection.last_request.as_ref().map(Into::into),
    };
    encode(&Key::connection(&connection.key), &body)
}

pub(crate) fn decode_connection(tenant: &TenantId, item: Item) -> Result<Connection, StoreError> {
    let (place, body) = decode::<Body>(item)?;
    let id = place
        .sk
        .strip_prefix("CONN#")
        .and_then(|id| ConnectionId::parse(id).ok());
    let Some(connection) = id.filter(|_| place.pk == tenant_pk(tenant)) else {
        return Err(place.corrupt("its key is not that of a connection of this tenant"));
    };
    let my_drive = body.my_drive.as_deref().map(FileId::parse).transpose();
    let my_drive =
        my_drive.map_err(|_| place.clone().corrupt("the id of its My Drive is invalid"))?;
    let account = body.account.as_deref().map(AccountId::parse).transpose();
    let comparison = body.account_comparison.as_deref().map(OperationId::parse);
    let (Ok(account), Ok(comparison)) = (account, comparison.transpose()) else {
        return Err(place.corrupt("the id of its account or of a comparison is invalid"));
    };
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
        account: Account {
            id: account,
            secret_version: body.secret_version,
            comparison,
            bound: body.bound,
        },
        my_drive,
        removals: body.removals.into(),
        comparison_interval: body
            .comparison_days
            .map_or_else(ComparisonInterval::default, |days| ComparisonInterval {
                days,
            }),
        state: body.state.into(),
        created_at: at(body.created_at),
        created_by: body.created_by,
        last_request: body.last_request.map(Into::into),
    })
}
