#![doc = include_str!("../README.md")]

mod error;
mod ledger;
mod look;
mod messages;
mod pass;
mod reach;
mod records;
mod services;
#[cfg(test)]
mod support;

pub use error::GateError;
pub use look::Question;
pub use messages::{NotParked, letter, park, read_group, suspend};
pub use pass::{Pass, Patience};
pub use reach::Reach;
pub use records::{Records, Settled, TRIES_MAX};
pub use services::{ConnectError, Services};

use drive::{Access, DriveClient, DriveError, Drives};
use runtime::{Clock, Entropy};
use store::{Connection, Store};

use crate::ledger::Ledgers;

/// Opens Drive for connections. Cloning is cheap; the clones share their access tokens, and what was taken of the
/// connections' paces.
#[derive(Clone)]
pub struct Gate {
    drives: Drives,
    ledgers: Ledgers,
}

impl Gate {
    /// A gate before these drives, whose paces are kept in `store`.
    #[must_use]
    pub fn new(drives: Drives, store: Store, clock: Clock, entropy: Entropy) -> Self {
        Self {
            drives,
            ledgers: Ledgers::new(store, clock, entropy),
        }
    }

    /// Drive, as the connection may see it, at the connection's pace.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn pass(
        &self,
        connection: &Connection,
        patience: Patience,
    ) -> Result<Pass, DriveError> {
        let drive = self.open(connection).await?;
        let ledger = self.ledgers.of(&connection.key);
        Ok(Pass::new(drive, ledger, connection.limits, patience))
    }

    /// Drive, as the connection may see it, at once: for the few calls that a person waits for, which come out of
    /// the part of the quota that the pace leaves alone.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn open(&self, connection: &Connection) -> Result<DriveClient, DriveError> {
        self.try_out(&access(connection)).await
    }

    /// Drive with credentials that no connection has yet: to try them out before one is made.
    ///
    /// # Errors
    /// As [`Drives::client`].
    pub async fn try_out(&self, access: &Access) -> Result<DriveClient, DriveError> {
        self.drives.client(access).await
    }
}

/// How a connection gets into Drive.
fn access(connection: &Connection) -> Access {
    Access {
        secret_id: connection.secret_id.clone(),
        subject: connection.subject.clone(),
        quota_user: connection.quota_user.clone(),
    }
}
