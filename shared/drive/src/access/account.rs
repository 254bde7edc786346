//! The account that credentials belong to, compared with the one that they must belong to.

use domain::AccountId;

use crate::{DriveError, Kind};

/// The reason of credentials that work, but belong to another account than they must.
pub const ANOTHER_ACCOUNT: &str = "another_account";

/// The account that the credentials of a connection must belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAccount {
    /// Its id: `permissionId` of `about.user`.
    pub id: AccountId,
    /// The version of the secret that is known to be this account's.
    pub secret_version: Option<String>,
}

/// Returns the error for credentials of another account. Nothing was sent with them but the
/// question whose they are.
pub(crate) fn another_account() -> DriveError {
    let reason = ANOTHER_ACCOUNT.to_owned();
    DriveError::new("about.get", Kind::AuthLost { reason })
}

/// Returns the error for a call that was not sent, since it could not be found out whose the
/// credentials are.
pub(crate) fn not_identified(error: DriveError) -> DriveError {
    match error.kind() {
        Kind::AuthLost { .. }
        | Kind::RateLimited { .. }
        | Kind::DailyLimit
        | Kind::AccessDenied { .. } => error,
        Kind::CursorLost
        | Kind::NotFound
        | Kind::Stale
        | Kind::Permanent { .. }
        | Kind::BadContent(_)
        | Kind::Transient
        | Kind::Unanswered
        | Kind::NotSent => DriveError::new("about.get", Kind::NotSent).with_source(error),
    }
}
