//! OAuth grants: their revocation and delegation, and the access tokens issued for them.

use std::collections::BTreeSet;

use crate::{
    ids::{UserId, random_text},
    state::State,
};

/// The lifetime of an access token in seconds, as Google's token endpoint reports it.
pub(crate) const ACCESS_TOKEN_SECONDS: i64 = 3_599;

/// An issued access token.
#[derive(Debug, Clone)]
pub(crate) struct AccessToken {
    pub(crate) grant: Grant,
    expires_ms: i64,
}

/// The credential that an access token was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantSource {
    /// A refresh token, verbatim.
    RefreshToken(String),
    /// A service account, by its email address.
    ServiceAccount(String),
}

/// A grant: the user it acts as, and its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) user: UserId,
    pub(crate) source: GrantSource,
}

/// The reason why a grant is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantRefusal {
    /// Revoked, by its user or by an administrator: 400 `invalid_grant`.
    Revoked,
    /// A service account without domain-wide delegation: 401 `unauthorized_client`.
    NotDelegated,
}

/// The revoked grants, and the lifetime of access tokens.
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

/// The grants that a control command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantSubject {
    /// Every grant that acts as this user.
    User(UserId),
    /// One refresh token.
    RefreshToken(String),
    /// One service account, whichever user it acts as.
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
    /// Checks that a grant is valid.
    ///
    /// # Errors
    /// The reason why it is not.
    pub(crate) fn check_grant(&self, grant: &Grant) -> Result<(), GrantRefusal> {
        match self.grants.refusal(grant) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Revokes or restores grants. Access tokens of a revoked grant are invalid permanently, as
    /// Google's are: a restored grant issues new ones.
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
        self.remove_refused_tokens();
    }

    /// Allows or forbids a service account to act as other users (domain-wide delegation).
    pub(crate) fn set_delegated(&mut self, account: String, delegated: bool) {
        if delegated {
            self.grants.undelegated.remove(&account);
        } else {
            self.grants.undelegated.insert(account);
        }
        self.remove_refused_tokens();
    }

    fn remove_refused_tokens(&mut self) {
        let Self {
            grants,
            access_tokens,
            ..
        } = self;
        access_tokens.retain(|_, token| grants.refusal(&token.grant).is_none());
    }

    /// Issues an access token.
    pub(crate) fn issue_token(&mut self, grant: Grant) -> String {
        let text = format!("ya29.{}", random_text(self.rng(), 64));
        let lifetime_ms = self.grants.access_token_seconds.saturating_mul(1_000);
        let expires_ms = self.now_ms.saturating_add(lifetime_ms);
        self.root_of(&grant.user);
        self.access_tokens
            .insert(text.clone(), AccessToken { grant, expires_ms });
        text
    }

    /// Returns the user of a bearer token: `user:NAME`, or an access token that has not expired.
    pub(crate) fn user_of_bearer(&mut self, bearer: &str) -> Option<UserId> {
        let user = match bearer.strip_prefix("user:") {
            Some("") => return None,
            Some(name) => UserId::from_email(name),
            None => self
                .access_tokens
                .get(bearer)
                .filter(|token| self.now_ms < token.expires_ms)?
                .grant
                .user
                .clone(),
        };
        self.root_of(&user);
        Some(user)
    }

    /// Invalidates every access token issued so far.
    pub(crate) fn invalidate_access_tokens(&mut self) {
        self.access_tokens.clear();
    }
}
