//! Connections: the Drive accounts and shared drives that a tenant syncs, and their settings.

use crate::connection::connection_item::{decode_connection, encode_connection};
use crate::connection::deletion_item::Deletion;
use crate::log::logs::{ListedLog, encode_log, listing_writes};
use crate::table::key::{Key, tenant_pk};
use crate::table::page::Position;
use crate::table::range::Range;
use crate::table::store::{Applied, Transacted};
use crate::table::update::{Replaces, Update, Write};
use crate::{
    Attempt, Created, Log, Page, PageRequest, Store, StoreError, Swapped, Updated, Written,
    compare_and_swap,
};
use std::collections::BTreeSet;

use domain::PageToken;
use domain::operation::{ComparisonInterval, ConnectionFacts, Operation};
use domain::rate_limit::Limits;
use domain::{
    Access, Account, AccountCheck, AccountId, ConnectionKey, ContentSettings, FileId, Gone, LogId,
    Observation, OperationId, Policies, RemovalLimits, Request, Rules, TenantId, Timestamp,
    check_account,
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
    /// The callers that it is narrowed to; `None` if it is open to the tenant's.
    pub access: Option<Access>,
    /// The domains within which sharing stays with the tenant; `None` for that of its subject.
    pub own_domains: Option<BTreeSet<String>>,
    /// The removals that one comparison may make without confirmation.
    pub removals: RemovalLimits,
    /// The interval between the comparisons of its files with Drive that run by themselves.
    pub comparison_interval: ComparisonInterval,
    /// The state of its synchronization.
    pub state: ConnectionState,
    /// How often it was deleted: what began under an earlier generation does not go on.
    pub generation: u32,
    /// Its deletion, while it is deleted. What is left of it in the end keeps the id from being
    /// used again.
    pub deletion: Option<Deletion>,
    /// What is owed to Drive is held back until a person confirms it, since it was restored.
    pub owed_held: bool,
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

    /// Returns whether what is owed is written to Drive now.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.state == ConnectionState::Active && !self.owed_held
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
    /// It was deleted: nothing works on it any more.
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
        match self.load_any_connection(&connection.key).await? {
            Some(current) => Ok(Created::Exists(current)),
            None => Err(StoreError::busy(
                "the connection's log exists, and it does not",
            )),
        }
    }

    /// Reads one connection consistently; `None` if there is none or it was deleted. Every
    /// function calls this before its first write, so that nothing that begins after the deletion
    /// writes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_connection(
        &self,
        key: &ConnectionKey,
    ) -> Result<Option<Connection>, StoreError> {
        let found = self.load_any_connection(key).await?;
        Ok(found.filter(Connection::exists))
    }

    /// Reads one connection consistently, even if it was deleted.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn load_any_connection(
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
        let connection = decode_connection(&key.tenant, item)?;
        Ok(connection.exists().then_some((connection, oversized)))
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

    /// Lists those of a tenant's connections that were not deleted and that `accepts` returns true
    /// for, by id. Every page but the last is full.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_connections(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
        accepts: impl Fn(&Connection) -> bool,
    ) -> Result<Page<Connection>, StoreError> {
        let exists = move |connection: &Connection| connection.exists() && accepts(connection);
        self.list_any_connections(tenant, page, exists).await
    }

    /// Lists connections, deleted ones included, as [`Store::list_connections`] does.
    pub(crate) async fn list_any_connections(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
        accepts: impl Fn(&Connection) -> bool,
    ) -> Result<Page<Connection>, StoreError> {
        const LIST: &str = "connections";
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let all = Range::prefix(None, tenant_pk(tenant), CONNECTION);
        let mut after = page.position(LIST)?.and_then(|position| position.after);
        let mut items: Vec<Connection> = Vec::new();
        loop {
            let rest = match &after {
                Some(after) => all.clone().after(after)?,
                None => all.clone(),
            };
            // One more than the page has says whether there is another page.
            let slice = self.slice(&rest, page.limit() + 1).await?;
            after = slice.last_sk()?;
            for item in slice.items {
                let connection = decode_connection(tenant, item)?;
                if !accepts(&connection) {
                    continue;
                }
                if let (true, Some(last)) = (items.len() == wanted, items.last()) {
                    let last = Key::connection(&last.key).sk;
                    let next_cursor = Some(Position::after(0, last).cursor(LIST)?);
                    return Ok(Page { items, next_cursor });
                }
                items.push(connection);
            }
            if !slice.more || after.is_none() {
                let next_cursor = None;
                return Ok(Page { items, next_cursor });
            }
        }
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
        let listing = listing_writes(log, start, operation, ListedLog::OfAnotherAccount)?;
        self.save_with(connection, listing).await
    }

    /// Replaces a connection as [`Store::save_connection`] does, and makes the other writes in the
    /// same transaction.
    pub(crate) async fn save_with(
        &self,
        connection: &Connection,
        others: Vec<Write>,
    ) -> Result<Written<Connection>, StoreError> {
        let (next, replaces) = successor(connection);
        let mut writes = vec![Write::Put(encode_connection(&next)?, replaces)];
        writes.extend(others);
        if let Transacted::Done = self.transact(writes).await? {
            return Ok(Written::Done(next));
        }
        let current = self.load_any_connection(&next.key).await?;
        Ok(after_refusal(next, current))
    }

    /// Stores the account that Drive showed first, if none is known yet. `bound` is kept.
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
            let mut next = connection;
            let bound = std::mem::replace(&mut next.account, account.clone()).bound;
            next.account.bound = bound;
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
}

/// The prefix of the sort key of a connection.
const CONNECTION: &str = "CONN#";

/// The attribute with the time at which a file was last too large to be stored. It is not part of
/// the body, so that no write of the connection changes it.
const OVERSIZED: &str = "oversized_at";

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
