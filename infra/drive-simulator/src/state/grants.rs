//! What Google's account pages and an administrator decide: which grants stand, and how long an access token lives.

use std::collections::BTreeSet;

use crate::{
    ids::UserId,
    state::{State, users::ACCESS_TOKEN_SECONDS},
};

/// What an access token was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantSource {
    /// A refresh token, as it was sent.
    RefreshToken(String),
    /// A service account, by its address.
    ServiceAccount(String),
}

/// A grant: who is acted as, and by what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) user: UserId,
    pub(crate) source: GrantSource,
}

/// Why a grant does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantRefusal {
    /// Revoked, by its user or by an administrator: 400 `invalid_grant`.
    Revoked,
    /// A service account that may not act as others: 401 `unauthorized_client`.
    NotDelegated,
}

/// Which grants are revoked, and the lifetime of access tokens.
#[derive(Debug)]
pub(crate) struct Grants {
    users: BTreeSet<UserId>,
    refresh_tokens: BTreeSet<String>,
    service_accounts: BTreeSet<String>,
    undelegated: BTreeSet<String>,
    pub(crate) access_token_seconds: i64,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            users: BTreeSet::new(),
            refresh_tokens: BTreeSet::new(),
            service_accounts: BTreeSet::new(),
            undelegated: BTreeSet::new(),
            access_token_seconds: ACCESS_TOKEN_SECONDS,
        }
    }
}

/// What an order about grants is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantSubject {
    /// Every grant that acts as this user.
    User(UserId),
    /// One refresh token.
    RefreshToken(String),
    /// One service account, whomever it acts as.
    ServiceAccount(String),
}

impl Grants {
    fn refusal(&self, grant: &Grant) -> Option<GrantRefusal> {
        let revoked = self.users.contains(&grant.user)
            || match &grant.source {
                GrantSource::RefreshToken(token) => self.refresh_tokens.contains(token),
                GrantSource::ServiceAccount(account) => self.service_accounts.contains(account),
            };
        if revoked {
            return Some(GrantRefusal::Revoked);
        }
        match &grant.source {
            GrantSource::RefreshToken(_) => None,
            GrantSource::ServiceAccount(account) => (self.undelegated.contains(account)
                && UserId::from_email(account) != grant.user)
                .then_some(GrantRefusal::NotDelegated),
        }
    }
}

impl State {
    /// Whether a grant stands now.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn check_grant(&self, grant: &Grant) -> Result<(), GrantRefusal> {
        match self.grants.refusal(grant) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Revokes grants or mends them. Access tokens of a revoked grant are dead for good, as Google's are: a mended
    /// grant issues new ones.
    pub(crate) fn set_revoked(&mut self, subject: GrantSubject, revoked: bool) {
        fn set<T: Ord>(all: &mut BTreeSet<T>, one: T, present: bool) {
            if present {
                all.insert(one);
            } else {
                all.remove(&one);
            }
        }
        match subject {
            GrantSubject::User(user) => set(&mut self.grants.users, user, revoked),
            GrantSubject::RefreshToken(token) => {
                set(&mut self.grants.refresh_tokens, token, revoked);
            }
            GrantSubject::ServiceAccount(account) => {
                set(&mut self.grants.service_accounts, account, revoked);
            }
        }
        self.forget_refused_tokens();
    }

    /// Lets a service account act as other users, or forbids it (domain-wide delegation).
    pub(crate) fn set_delegated(&mut self, account: String, delegated: bool) {
        if delegated {
            self.grants.undelegated.remove(&account);
        } else {
            self.grants.undelegated.insert(account);
        }
        self.forget_refused_tokens();
    }

    fn forget_refused_tokens(&mut self) {
        let Self {
            grants,
            access_tokens,
            ..
        } = self;
        access_tokens.retain(|_, token| grants.refusal(&token.grant).is_none());
    }
}
