#![doc = include_str!("../README.md")]

mod budget;
mod error;
mod lookup;
mod reachability;
#[cfg(test)]
mod support;
mod tenant_budget;
mod throttled;

pub use error::CallError;
pub use lookup::Lookup;
pub use reachability::DriveReachability;
pub use tenant_budget::TenantBudgets;
pub use throttled::{ThrottledDrive, WaitBudget};

use domain::rate_limit::TenantLimits;
use domain::trail::ErasedPersons;
use domain::{Account, LogId, TenantId};
use drive::{Access, DriveClient, DriveError, Drives, ExpectedAccount};
use runtime::{Clock, Entropy};
use sha2::{Digest as _, Sha256};
use store::{Connection, Scope, Store};

use crate::budget::Budgets;

/// Opens Drive clients for connections. Cloning is cheap: the clones share access tokens and the
/// quota that was leased for each connection.
#[derive(Clone)]
pub struct DriveFactory {
    drives: Drives,
    budgets: Budgets,
    limits: TenantLimits,
}

impl DriveFactory {
    /// A factory on top of `drives`; the rate limits are kept in `store`.
    #[must_use]
    pub fn new(drives: Drives, store: Store, clock: Clock, entropy: Entropy) -> Self {
        Self {
            drives,
            budgets: Budgets::new(store, clock, entropy),
            limits: TenantLimits::none(),
        }
    }

    /// Returns the same factory, whose connections use no more of Drive than these limits allow.
    #[must_use]
    pub fn within(self, limits: TenantLimits) -> Self {
        Self { limits, ..self }
    }

    /// Asks for a secret of this name, which need not exist, and returns whether that is permitted.
    ///
    /// # Errors
    /// As [`Drives::may_read_secret`].
    pub async fn may_read_secret(&self, name: &str) -> Result<(), DriveError> {
        self.drives.may_read_secret(name).await
    }

    /// Opens Drive with the connection's credentials, subject to the connection's rate limit.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn throttled(
        &self,
        connection: &Connection,
        wait_budget: WaitBudget,
    ) -> Result<ThrottledDrive, DriveError> {
        let client = self.unthrottled(connection).await?;
        let budget = self.budgets.for_connection(&connection.key);
        Ok(ThrottledDrive::new(
            client,
            budget,
            self.limits.bound(connection.limits),
            wait_budget,
        ))
    }

    /// Opens Drive with the connection's credentials, without rate limiting: for the few calls that
    /// a person waits for. They use the part of the quota that the rate limiter leaves free.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn unthrottled(&self, connection: &Connection) -> Result<DriveClient, DriveError> {
        let client = self.with_access(&access(connection)).await?;
        let client = client.without(self.erased_persons(&connection.key.tenant).await?);
        // A shared drive is its own identity.
        Ok(match (&connection.scope, &connection.account.id) {
            (Scope::User, Some(id)) => client.expecting(ExpectedAccount {
                id: id.clone(),
                secret_version: connection.account.secret_version.clone(),
            }),
            (Scope::User, None) | (Scope::SharedDrive(_), _) => client,
        })
    }

    /// Reads the persons who are not to be shown by their names, whatever Drive answers.
    async fn erased_persons(&self, tenant: &TenantId) -> Result<ErasedPersons, DriveError> {
        let erased = self.budgets.store().load_erased_persons(tenant).await;
        erased.map_err(|error| DriveError::not_sent("drivesync.erasedPersons", error))
    }

    /// Asks Drive whose a connection's credentials are, as the secret has them now. Its own rate
    /// limit does not count this one call.
    ///
    /// # Errors
    /// [`DriveError`]
    pub async fn identify(&self, connection: &Connection) -> Result<Account, DriveError> {
        let client = self.with_fresh_access(&access(connection)).await?;
        identify(&client).await
    }

    /// Opens Drive with credentials that belong to no connection yet, to check them before one is
    /// created.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn with_access(&self, access: &Access) -> Result<DriveClient, DriveError> {
        self.drives.client(access).await
    }

    /// Opens Drive as [`DriveFactory::with_access`] does, with the credentials that the secret has
    /// now.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn with_fresh_access(&self, access: &Access) -> Result<DriveClient, DriveError> {
        self.drives.fresh_client(access).await
    }
}

/// Asks Drive whose the credentials of a client are.
///
/// # Errors
/// [`DriveError`]
pub async fn identify(client: &DriveClient) -> Result<Account, DriveError> {
    Ok(Account {
        id: client.about().await?.account,
        secret_version: client.secret_version().await,
        ..Account::default()
    })
}

/// The credentials of a connection.
fn access(connection: &Connection) -> Access {
    Access {
        secret_id: connection.secret_id.clone(),
        subject: connection.subject.clone(),
        quota_user: quota_user(&connection.key.tenant, connection.quota_user.as_deref()),
        within: within(connection),
    }
}

/// Returns the `quotaUser` that Google sees for one of a tenant's: a digest, so that no tenant can
/// name the user of another, whose share it would use up. 40 characters, as Google accepts.
#[must_use]
pub fn quota_user(tenant: &TenantId, own: Option<&str>) -> Option<String> {
    let digest = Sha256::digest(format!("{tenant}#{}", own?));
    let hex = digest.iter().take(20).map(|byte| format!("{byte:02x}"));
    Some(hex.collect())
}

/// What is read with a connection's credentials, if it is bound to what its secret allows.
fn within(connection: &Connection) -> Option<LogId> {
    let bound = connection.account.bound;
    // An id of a shared drive that is no log's reads nothing, and is as little as all.
    bound.then(|| connection.scope.own_log().unwrap_or_else(LogId::user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_no_tenant_can_name_the_quota_user_of_another() {
        let user = |tenant, own| quota_user(&TenantId::parse(tenant).unwrap(), own);
        let acme = user("acme", Some("sync")).unwrap();
        assert_eq!(acme.len(), 40);
        assert_eq!(user("acme", Some("sync")), Some(acme.clone()));
        assert_ne!(user("globex", Some("sync")), Some(acme.clone()));
        assert_ne!(user("globex", Some(&acme)), Some(acme.clone()));
        assert_eq!(user("acme", None), None);
    }
}
