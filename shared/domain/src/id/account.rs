//! The Google account that a connection acts as: known by its id, whatever its address is.

use crate::{AccountId, OperationId};

/// The account of a connection, as it was last found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its id; `None` until Drive has been asked.
    pub id: Option<AccountId>,
    /// The version of the secret whose credentials were found to be this account's. Other versions
    /// are checked before they are used.
    pub secret_version: Option<String>,
    /// The comparison that began when a person replaced the account: it removes nothing without
    /// confirmation.
    pub comparison: Option<OperationId>,
    /// Whether the secret's [`Reach`](crate::Reach) is held to whenever the credentials are used.
    /// False for a connection that was made before secrets had one: it keeps what it has until its
    /// secret or its subject is edited.
    pub bound: bool,
}

/// What the account of the present credentials means to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountCheck {
    /// They are the account's, or there is nothing to compare: this is the account from now on.
    Accepted,
    /// They are another account's. Nothing may be read or written with them, unless a person says
    /// that the account is to be replaced.
    Another,
}

/// Compares the account that Drive shows with the one that is known.
///
/// A shared drive is its own identity: read by another account, a rotated service account for
/// example, its files are the same. An id that is not known yet is taken from the first look, and
/// one that Drive does not show says nothing.
#[must_use]
pub fn check_account(
    is_shared_drive: bool,
    known: Option<&AccountId>,
    shown: Option<&AccountId>,
) -> AccountCheck {
    match (known, shown) {
        (Some(known), Some(shown)) if known != shown && !is_shared_drive => AccountCheck::Another,
        (Some(_) | None, Some(_) | None) => AccountCheck::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_id_of_a_users_connection_is_another_account() {
        let (ann, bob) = (AccountId::parse("01").ok(), AccountId::parse("02").ok());
        for (is_shared_drive, known, shown, wanted) in [
            (false, &ann, &ann, AccountCheck::Accepted),
            (false, &ann, &bob, AccountCheck::Another),
            (false, &ann, &None, AccountCheck::Accepted),
            (false, &None, &bob, AccountCheck::Accepted),
            (false, &None, &None, AccountCheck::Accepted),
            (true, &ann, &bob, AccountCheck::Accepted),
            (true, &ann, &ann, AccountCheck::Accepted),
            (true, &None, &bob, AccountCheck::Accepted),
        ] {
            let found = check_account(is_shared_drive, known.as_ref(), shown.as_ref());
            assert_eq!(found, wanted, "{is_shared_drive} {known:?} {shown:?}");
        }
    }
}
