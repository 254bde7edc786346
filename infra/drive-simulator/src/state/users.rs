//! Bearers.

use crate::{
    ids::{UserId, random_text},
    state::{State, grants::Grant},
};

/// The lifetime of an access token, in seconds, as Google's token endpoint reports it.
pub(crate) const ACCESS_TOKEN_SECONDS: i64 = 3_599;
/// What an access token stands for.
#[derive(Debug, Clone)]
pub(crate) struct AccessToken {
    pub(crate) grant: Grant,
    expires_ms: i64,
}

impl State {
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

    /// The user behind a bearer: `user:NAME`, or a token that was issued and has not expired.
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

    /// Refuses every access token issued so far.
    pub(crate) fn invalidate_access_tokens(&mut self) {
        self.access_tokens.clear();
    }
}
