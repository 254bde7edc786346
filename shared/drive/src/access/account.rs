//! The account that credentials belong to, compared with the one that they must belong to.

use domain::{AccountId, LogId, OutOfReach};

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

/// What the credentials of a client are checked for, before they are used.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// The account that they must belong to, if it is known.
    pub(crate) account: Option<&'a ExpectedAccount>,
    /// What is read with them, if the secret's bounds are held to.
    pub(crate) within: Option<&'a LogId>,
}

/// Returns the error for a use of credentials that their secret does not allow. Nothing was sent
/// with them.
pub(crate) fn out_of_reach(refused: OutOfReach) -> DriveError {
    let reason = refused.reason().to_owned();
    DriveError::new("oauth2.token", Kind::AuthLost { reason }).with_source(refused)
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
