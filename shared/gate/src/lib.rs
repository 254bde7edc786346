#![doc = include_str!("../README.md")]

mod reach;
mod services;

pub use reach::told_apart;
pub use services::{ConnectError, Services};

use drive::{Access, DriveClient, DriveError, Drives};
use store::Connection;

/// Opens Drive for connections. Cloning is cheap, and the clones share their access tokens.
#[derive(Clone)]
pub struct Gate {
    drives: Drives,
}

impl Gate {
    /// A gate before these drives.
    #[must_use]
    pub fn new(drives: Drives) -> Self {
        Self { drives }
    }

    /// Drive, as the connection may see it.
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
